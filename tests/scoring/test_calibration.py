"""ECE by hand; the temperature against a grid and against a known over-confidence."""

import numpy as np
import pytest
from sertools.errors import DataError
from sertools.scoring.calibration import (
    apply_temperature,
    calibrate,
    ece,
    fit_temperature,
    probability_matrix,
    reliability,
)
from sertools.scoring.predictions import Prediction
from sklearn.metrics import log_loss


def test_ece_by_hand():
    """Two bins of two: |1/2 - 0.9| and |1 - 0.55|, equally heavy."""
    confidence = np.array([0.9, 0.9, 0.55, 0.55])
    right = np.array([True, False, True, True])
    assert ece(confidence, right) == pytest.approx((0.4 + 0.45) / 2)


def test_ece_equals_a_plain_loop():
    generator = np.random.default_rng(2)
    confidence, right = generator.random(500), generator.random(500) < 0.5
    expected = 0.0
    for low in range(15):
        inside = [i for i, c in enumerate(confidence) if low / 15 < c <= (low + 1) / 15]
        gap = sum(confidence[i] for i in inside) - sum(right[i] for i in inside)
        expected += abs(gap) / 500
    assert ece(confidence, right) == pytest.approx(expected)


def test_bins_hold_every_utterance_once():
    confidence = np.array([0.0, 1 / 15, 0.5, 1.0])
    table = reliability(confidence, np.ones(4, bool))
    assert [row["n"] for row in table] == [2, 1, 1]
    assert all(row["low"] <= row["confidence"] <= row["high"] for row in table)


def test_temperature_is_the_best_of_a_grid():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 4, 400)
    logits = generator.normal(size=(400, 4)) * 3
    logits[np.arange(400), truth] += 2
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    ours = fit_temperature(probabilities, truth)
    grid = np.exp(np.linspace(np.log(0.1), np.log(10), 301))
    losses = [log_loss(truth, apply_temperature(probabilities, t)) for t in grid]
    assert ours == pytest.approx(grid[int(np.argmin(losses))], rel=2e-2)


def test_known_overconfidence_is_undone():
    generator = np.random.default_rng(1)
    logits = 2 * generator.normal(size=(20_000, 3))
    honest = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = (honest.cumsum(1) > generator.random((20_000, 1))).argmax(1)
    boastful = apply_temperature(honest, 1 / 3)
    temperature = fit_temperature(boastful[:10_000], truth[:10_000])
    assert temperature == pytest.approx(3, rel=0.05)
    mended = apply_temperature(boastful[10_000:], temperature)
    right = boastful[10_000:].argmax(1) == truth[10_000:]
    before, after = ece(boastful[10_000:].max(1), right), ece(mended.max(1), right)
    assert before > 0.1 > 0.03 > after
    assert (mended.argmax(1) == boastful[10_000:].argmax(1)).all()


def test_certain_and_wrong_stays_finite():
    temperature = fit_temperature(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]))
    assert 0.05 <= temperature <= 20.01
    assert np.isfinite(apply_temperature(np.array([[1.0, 0.0]]), temperature)).all()


def test_calibrate_fits_on_dev_only(make_run, classes):
    dev, test = make_run(seed=1, sharpness=4), make_run(seed=2, sharpness=4)
    result = calibrate(dev, test, classes)
    assert result["temperature"] > 1.5
    assert result["ece_after"] < result["ece_before"]
    wrong = [Prediction(p.id, p.speaker, "sad", p.prediction, p.probabilities) for p in test]
    assert calibrate(dev, wrong, classes)["temperature"] == result["temperature"]


def test_what_is_missing_is_said(make_run, classes):
    test = make_run()
    assert "no dev" in calibrate([], test, classes)["calibration_note"]
    assert calibrate([], test, classes)["ece_before"] is not None
    bare = [Prediction(p.id, p.speaker, p.reference, p.prediction) for p in test]
    result = calibrate(test, bare, classes)
    assert result["ece_before"] is None
    assert "no probabilities" in result["calibration_note"]


def test_unusable_probabilities_are_named(classes):
    bad = [
        Prediction("short", "s", "sad", "sad", [0.5, 0.5]),
        Prediction("odd", "s", "sad", "sad", [0.5, 0.5, 0.5]),
        Prediction("none", "s", "sad", "sad"),
    ]
    with pytest.raises(DataError, match="(?s)short: 2 .* for 3.*odd: .*sum to 1.*none: none"):
        probability_matrix(bad, classes)
