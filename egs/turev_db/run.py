#!/usr/bin/env python3
"""TurEV-DB: Turkish, acted, single words, 6 speakers, 4 emotions.

`python run.py --help` shows the options, `--list-stages` the stages.
"""

from prepare import records
from sertools.recipe import Recipe
from sertools.stages import evaluate, features, prepare, report, train

recipe = Recipe(
    __file__,
    stages=[
        prepare(records),  # official release -> data/all: manifest and folds
        features(),  # a frozen upstream's layers, where the configuration names one
        train(),  # one model per fold and seed
        evaluate(),  # predictions and scores per fold and seed
        report(),  # RESULTS.md, results.json, report.html
    ],
)

if __name__ == "__main__":
    recipe.main()
