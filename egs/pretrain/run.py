#!/usr/bin/env python3
"""pretrain: encoders from the audio of any number of prepared corpora, labels unused.

`python run.py --help` shows the options, `--list-stages` the stages.
"""

from sertools.recipe import Recipe
from sertools.stages import features, pretrain

recipe = Recipe(
    __file__,
    stages=[
        features(),  # what a teacher says about all audio, where the pretrainer has one
        pretrain(),  # audio without labels -> exp/<tag>/pretrain/best/encoder
    ],
)

if __name__ == "__main__":
    recipe.main()
