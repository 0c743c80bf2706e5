"""Calibration: expected calibration error, and one temperature fitted on the dev part.

Guo, Pleiss, Sun and Weinberger 2017, "On calibration of modern neural networks": ECE is its
equation 3, temperature scaling its equation 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from sertools.errors import DataError
from sertools.scoring.classification import class_indices
from sertools.scoring.predictions import Prediction

BINS = 15
TEMPERATURES = (0.05, 20.0)
"""Range in which the temperature is sought."""

_LEAST = float(np.finfo(np.float32).tiny)


def probability_matrix(predictions: Sequence[Prediction], classes: Sequence[str]) -> np.ndarray:
    """Return the probabilities of every utterance, float64 (n, K), rows summing to 1.

    Raises:
        DataError: an utterance has none, too few or too many, or they do not sum to 1.
    """
    problems = []
    for item in predictions:
        values = item.probabilities
        if values is None or len(values) != len(classes):
            found = "none" if values is None else len(values)
            problems.append(f"{item.id}: {found} probabilities for {len(classes)} classes")
        elif min(values) < 0 or abs(sum(values) - 1) > 1e-3:
            problems.append(f"{item.id}: probabilities {values} do not sum to 1")
    if problems or not predictions:
        raise DataError("these predictions have no usable probabilities", problems)
    matrix = np.array([item.probabilities for item in predictions], dtype=np.float64)
    return matrix / matrix.sum(1, keepdims=True)


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return softmax(log p / T) of probabilities (n, K); the largest stays the largest."""
    logits = np.log(np.maximum(probabilities, _LEAST)) / temperature
    logits -= logits.max(1, keepdims=True)
    scaled = np.exp(logits)
    return scaled / scaled.sum(1, keepdims=True)


def fit_temperature(probabilities: np.ndarray, references: np.ndarray) -> float:
    """Return the temperature with the least negative log-likelihood.

    Args:
        probabilities: (n, K) of the dev part, never of the test part.
        references: class indices (n,).
    """
    logits = np.log(np.maximum(probabilities, _LEAST))
    rows = np.arange(len(references))

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        top = scaled.max(1)
        total = top + np.log(np.exp(scaled - top[:, None]).sum(1))
        return float((total - scaled[rows, references]).mean())

    bounds = tuple(np.log(TEMPERATURES))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> list[dict]:
    """Return the bins of equal width that hold an utterance.

    Args:
        confidence: probability of the given answer, (n,).
        right: whether the answer is right, (n,).

    Returns:
        Per bin `low`, `high`, `n`, mean `confidence` and `accuracy`; a bin includes its upper end.
    """
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    result = []
    for number in np.unique(index):
        inside = index == number
        result.append(
            {
                "low": float(number / bins),
                "high": float((number + 1) / bins),
                "n": int(inside.sum()),
                "confidence": float(confidence[inside].mean()),
                "accuracy": float(right[inside].mean()),
            }
        )
    return result


def ece(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Return the expected calibration error: mean |accuracy - confidence| over bins, by size."""
    table = reliability(confidence, right, bins)
    gaps = [row["n"] * abs(row["accuracy"] - row["confidence"]) for row in table]
    return float(sum(gaps) / len(confidence))


def confidence_of(
    predictions: Sequence[Prediction], classes: Sequence[str], temperature: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return confidence in the given answer (n,) and whether it is right (n,)."""
    scaled = apply_temperature(probability_matrix(predictions, classes), temperature)
    said = class_indices([item.prediction for item in predictions], classes, "prediction")
    truth = class_indices([item.reference for item in predictions], classes, "reference")
    return scaled[np.arange(len(said)), said], said == truth


def calibrate(
    dev: Sequence[Prediction], test: Sequence[Prediction], classes: Sequence[str]
) -> dict[str, Any]:
    """Fit the temperature on dev; return it with the ECE on test before and after.

    Returns:
        `temperature`, `ece_before`, `ece_after`, `calibration_note`. Without probabilities or
        without dev utterances the numbers that need them are None and the note says why.
    """
    result = dict.fromkeys(("temperature", "ece_before", "ece_after", "calibration_note"))
    if any(item.probabilities is None for item in [*dev, *test]):
        return result | {"calibration_note": "this system gives no probabilities"}
    result["ece_before"] = ece(*confidence_of(test, classes))
    if not dev:
        return result | {"calibration_note": "no dev utterances to fit a temperature on"}
    truth = class_indices([item.reference for item in dev], classes, "reference")
    temperature = fit_temperature(probability_matrix(dev, classes), truth)
    result["temperature"] = temperature
    result["ece_after"] = ece(*confidence_of(test, classes, temperature))
    return result
