"""CCC, Pearson's correlation and mean absolute error of arousal, valence and dominance.

The concordance correlation coefficient (Lin 1989, "A concordance correlation coefficient to
evaluate reproducibility", Biometrics 45) with population statistics over the whole partition:
CCC = 2 cov(x, y) / (var(x) + var(y) + (mean(x) - mean(y))^2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from sertools.errors import DataError

DIMENSIONS = ("arousal", "valence", "dominance")


def dimensional_scores(
    references: Sequence[Mapping[str, float]], predictions: Sequence[Mapping[str, float]]
) -> dict[str, float | int | None]:
    """Score numbers against numbers, over all utterances at once.

    Returns:
        CCC (mean over the dimensions), CCC_<dimension>, Pearson_<dimension>, MAE_<dimension> and
        `n` utterances. A coefficient that is not defined (nothing varies) is None.

    Raises:
        DataError: nothing to score, lengths differ, or an utterance lacks a dimension.
    """
    names = dimensions_of(references)
    if len(references) != len(predictions):
        raise DataError(f"{len(references)} references but {len(predictions)} predictions")
    truth, said = to_matrix(references, names), to_matrix(predictions, names)
    shift = truth.mean(0)
    moments = moments_of(truth - shift, said - shift).sum(0)
    scores: dict[str, float | int | None] = {}
    ccc = ccc_of(moments)
    scores["CCC"] = _number(ccc.mean())
    for index, name in enumerate(names):
        scores[f"CCC_{name}"] = _number(ccc[index])
        scores[f"Pearson_{name}"] = _number(_pearson(moments[index]))
        scores[f"MAE_{name}"] = float(np.abs(truth[:, index] - said[:, index]).mean())
    scores["n"] = len(references)
    return scores


def dimensions_of(references: Sequence[Mapping[str, float]]) -> list[str]:
    """Return the dimensions that the first reference names: A, V, D first, others by name."""
    if not len(references):
        raise DataError("no utterance to score", remedy="check that the part is not empty")
    names = set(references[0])
    return [name for name in DIMENSIONS if name in names] + sorted(names - set(DIMENSIONS))


def to_matrix(values: Sequence[Mapping[str, float]], names: Sequence[str]) -> np.ndarray:
    """Return numbers by utterance and dimension, float64 (n, D).

    Raises:
        DataError: an utterance lacks a dimension or holds a number that is not finite.
    """
    matrix = np.array([[row.get(name, np.nan) for name in names] for row in values], dtype=float)
    broken = np.flatnonzero(~np.isfinite(matrix).all(1))
    if len(broken):
        problems = [f"utterance {index + 1}: {dict(values[index])}" for index in broken]
        raise DataError(f"each utterance needs finite numbers for {', '.join(names)}", problems)
    return matrix


def moments_of(truth: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Return n, sums and products by utterance and dimension, (n, D, 6); they add up freely."""
    ones = np.ones_like(truth)
    return np.stack([ones, truth, said, truth * truth, said * said, truth * said], -1)


def ccc_of(moments: np.ndarray) -> np.ndarray:
    """Return the CCC, (...), of summed moments (..., 6); NaN where nothing varies at all."""
    mean_x, mean_y, var_x, var_y, covariance = _central(moments)
    spread = var_x + var_y + (mean_x - mean_y) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 0, 2 * covariance / spread, np.nan)


def _pearson(moments: np.ndarray) -> np.ndarray:
    _, _, var_x, var_y, covariance = _central(moments)
    product = var_x * var_y
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(product > 0, covariance / np.sqrt(product), np.nan)


def _central(moments: np.ndarray) -> tuple[np.ndarray, ...]:
    count = moments[..., 0]
    mean_x, mean_y, xx, yy, xy = (moments[..., index] / count for index in range(1, 6))
    tiny = 1e-12  # relative rounding error of a difference of sums: below it, nothing varies
    var_x, var_y = xx - mean_x**2, yy - mean_y**2
    var_x = np.where(var_x > tiny * xx, var_x, 0.0)
    var_y = np.where(var_y > tiny * yy, var_y, 0.0)
    return mean_x, mean_y, var_x, var_y, xy - mean_x * mean_y


def _number(value: np.ndarray | float) -> float | None:
    return float(value) if np.isfinite(value) else None
