#!/usr/bin/env python3
"""pretrain: encoders from the audio of any number of prepared corpora, labels unused.

`python run.py --help` shows the options, `--list-stages` the stages.
"""

from sertools.recipe import Recipe
from sertools.stages import pretrain

recipe = Recipe(
    __file__,
    stages=[
        pretrain(),  # audio without labels -> exp/<tag>/pretrain/best/encoder
    ],
)

if __name__ == "__main__":
    recipe.main()
