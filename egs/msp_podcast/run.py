#!/usr/bin/env python3
"""MSP-Podcast: English, turns of podcasts, 8 emotions; arousal, valence and dominance.

`python run.py --help` shows the options, `--list-stages` the stages.
"""

from prepare import records
from sertools.recipe import Recipe
from sertools.stages import evaluate, features, prepare, pretrain, report, train

recipe = Recipe(
    __file__,
    stages=[
        prepare(records),  # official release -> data/<set>: manifest and folds
        features(),  # what is frozen, once: an upstream's layers, a teacher's targets
        pretrain(),  # an encoder, where the configuration has a pretrainer
        train(),  # one model per fold and seed
        evaluate(),  # predictions and scores per fold and seed, Test1 and Test2 once each
        report(),  # RESULTS.md, results.json, report.html
    ],
)

if __name__ == "__main__":
    recipe.main()
