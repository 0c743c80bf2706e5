"""A made-up experiment of folds and seeds, every number from a seeded generator."""

import numpy as np
import pytest
from sertools.report.units import ReportMeta, UnitResult
from sertools.scoring.predictions import Prediction
from sertools.scoring.unit import score_unit

CLASSES = ["neutral", "happy", "angry", "sad"]


def _part(generator, fold, seed, skill, size):
    truth = np.random.default_rng(100 + fold).choice(4, size, p=[0.4, 0.2, 0.2, 0.2])
    run = []
    for index, label in enumerate(truth):
        logits = 2.5 * generator.normal(size=4)
        logits[label] += skill
        values = np.exp(logits - logits.max())
        values /= values.sum()
        said = CLASSES[int(values.argmax())]
        speaker = f"s{fold}{'ab'[index % 2]}"
        name = f"mini-{fold}-{index:03d}"
        run.append(Prediction(name, speaker, CLASSES[label], said, values.tolist()))
    return run


def _history(generator, epochs=12):
    lines = []
    for epoch in range(1, epochs + 1):
        loss = 1.4 * np.exp(-epoch / 5) + 0.02 * generator.random()
        score = 0.7 - 0.45 * np.exp(-epoch / 3) + 0.03 * generator.random()
        dev = {"loss": loss, "UA": score, "WA": score}
        lines.append({"epoch": epoch, "step": 9 * epoch, "train": {"loss": loss}, "dev": dev})
    return lines


@pytest.fixture
def make_units():
    """Return a function that makes units of an experiment."""

    def make(folds=4, seeds=(1,), skill=3.0, size=60, history=True):
        units = []
        for seed in seeds:
            for fold in range(1, folds + 1):
                generator = np.random.default_rng([seed, fold])
                test = _part(generator, fold, seed, skill, size)
                dev = _part(generator, fold % folds + 1, seed, skill, size)
                units.append(
                    UnitResult(
                        fold=str(fold),
                        seed=seed,
                        scores=score_unit(dev, test, CLASSES),
                        test=test,
                        dev=dev,
                        history=_history(generator) if history else [],
                        parameters={"total": 94_400_000, "trainable": 199_000},
                        seconds=75.0 + fold,
                        device="cpu",
                        finished=f"2026-01-0{fold}",
                    )
                )
        return units

    return make


@pytest.fixture
def make_meta():
    """Return a function that makes the facts of an experiment."""

    def make(folds=4, seeds=(1,), **more):
        facts = {
            "tag": "small",
            "system": "Small <Net> & Co",
            "corpus": "Mini|Corpus",
            "protocol_name": "loso-speaker-clean",
            "folds": [str(fold) for fold in range(1, folds + 1)],
            "seeds": list(seeds),
            "language": "en",
            "provenance": {
                "command": "python run.py hparams/small.yaml --data_folder '/a & b'",
                "config_hash": "0123abcd",
                "commit": "deadbeef",
                "dirty": True,
                "versions": {"torch": "2.13.0"},
            },
            "artefacts": {"log": "exp/small/log/train.log"},
        }
        return ReportMeta(**(facts | more))

    return make


@pytest.fixture
def classes():
    """Return the class order of `make_units`."""
    return list(CLASSES)


@pytest.fixture
def dimensional_units():
    """Return units of a dimensional task."""
    units = []
    for fold in (1, 2):
        generator = np.random.default_rng(fold)
        run = []
        for index in range(40):
            values = generator.normal(4, 1, 3)
            truth = dict(zip(("arousal", "valence", "dominance"), values, strict=True))
            said = {name: value + generator.normal(0, 0.8) for name, value in truth.items()}
            run.append(Prediction(f"d-{fold}-{index}", f"s{fold}{index % 3}", truth, said))
        units.append(UnitResult(str(fold), 1, score_unit(run, run), run, run))
    return units
