"""The recipe engine: command line, configuration, stages, markers, lock, launch.

A recipe's `run.py` needs two names: `Stage` says what a step does and what it depends on, and
`Recipe(__file__, stages=[...]).main()` turns the list into a command line. Nothing in this room
imports torch or numpy; stages do, when they run.
"""

from sertools.recipe.job import Job
from sertools.recipe.recipe import Recipe
from sertools.recipe.stage import Stage

__all__ = ["Job", "Recipe", "Stage"]
