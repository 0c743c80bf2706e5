#!/usr/bin/env python3
"""CREMA-D: English, acted, 91 actors, 6 emotions, 12 sentences.

`python run.py --help` shows the options, `--list-stages` the stages.
"""

from prepare import records
from sertools.recipe import Recipe
from sertools.stages import evaluate, features, prepare, pretrain, report, train

recipe = Recipe(
    __file__,
    stages=[
        prepare(records),  # release on GitHub -> data/all: manifest and folds
        features(),  # what is frozen, once: an upstream's layers, a teacher's targets
        pretrain(),  # an encoder, where the configuration has a pretrainer
        train(),  # one model per fold and seed
        evaluate(),  # predictions and scores per fold and seed
        report(),  # RESULTS.md, results.json, report.html
    ],
)

if __name__ == "__main__":
    recipe.main()
