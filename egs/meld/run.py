#!/usr/bin/env python3
"""MELD: English, dialogues of a television series, 304 speakers, 7 emotions.

`python run.py --help` shows the options, `--list-stages` the stages.
"""

from decode import download as decode
from prepare import records
from sertools.recipe import Recipe
from sertools.stages import download, evaluate, features, prepare, pretrain, report, train

recipe = Recipe(
    __file__,
    stages=[
        download(decode),  # the sound of the video clips, where it is not there yet
        prepare(records),  # official release -> data/all: manifest and folds
        features(),  # what is frozen, once: an upstream's layers, a teacher's targets
        pretrain(),  # an encoder, where the configuration has a pretrainer
        train(),  # one model per fold and seed
        evaluate(),  # predictions and scores per fold and seed
        report(),  # RESULTS.md, results.json, report.html
    ],
)

if __name__ == "__main__":
    recipe.main()
