#!/usr/bin/env python3
"""LSSED: 206 h of English speech that pretraining hears, labels unused.

`python run.py --help` shows the options, `--list-stages` the stages.
"""

from prepare import records
from sertools.recipe import Recipe
from sertools.stages import prepare

recipe = Recipe(
    __file__,
    stages=[
        prepare(records),  # wav_all and its table -> data/all: manifest
    ],
)

if __name__ == "__main__":
    recipe.main()
