#!/usr/bin/env python3
"""eNTERFACE'05: English, elicited and acted in videos, 43 speakers, 6 emotions.

`python run.py --help` shows the options, `--list-stages` the stages.
"""

from decode import download as decode
from prepare import records
from sertools.recipe import Recipe
from sertools.stages import download, evaluate, features, prepare, report, train

recipe = Recipe(
    __file__,
    stages=[
        download(decode),  # the sound of the videos, where it is not there yet
        prepare(records),  # official release -> data/all: manifest and folds
        features(),  # a frozen upstream's layers, where the configuration names one
        train(),  # one model per fold and seed
        evaluate(),  # predictions and scores per fold and seed
        report(),  # RESULTS.md, results.json, report.html
    ],
)

if __name__ == "__main__":
    recipe.main()
