"""Made-up predictions with a known grain."""

import numpy as np
import pytest
from sertools.scoring.predictions import Prediction

CLASSES = ["neutral", "happy", "sad"]


@pytest.fixture
def make_run():
    """Return a function that makes class predictions of several speakers with probabilities."""

    def make(seed=0, speakers=8, each=25, skill=1.5, sharpness=1.0, unknown=0, truth_seed=9):
        truths = np.random.default_rng(truth_seed).integers(0, 3, speakers * each)
        generator = np.random.default_rng(seed)
        run = []
        for index, truth in enumerate(truths):
            logits = generator.normal(size=3)
            logits[truth] += skill
            said = int(logits.argmax())
            values = np.exp(sharpness * logits) / np.exp(sharpness * logits).sum()
            speaker = None if index < unknown else f"s{index // each}"
            name = f"mini-{index:04d}"
            run.append(Prediction(name, speaker, CLASSES[truth], CLASSES[said], values.tolist()))
        return run

    return make


@pytest.fixture
def classes():
    """Return the class order of `make_run`."""
    return list(CLASSES)
