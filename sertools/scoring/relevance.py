"""How much each layer of an encoder knows of a dimension, and where in depth it knows most.

The place in depth is one number, sum_l l s_l / sum_l s_l over the layers l: s_l is the weight of
a layer in a learned mixture, or how far the score of a head on it lies above the worst layer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sertools.files import publish, read_json, write_json
from sertools.scoring.classification import metrics_of
from sertools.scoring.dimensions import ccc_of, moments_of

FILES = ("relevance.json", "relevance.safetensors")


def depth_of(shares: np.ndarray) -> np.ndarray:
    """Return sum l s_l / sum s_l of shares (..., L), none below 0; NaN where all are 0."""
    total = shares.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, shares @ np.arange(shares.shape[-1]) / total, np.nan)


def above_worst(scores: np.ndarray) -> np.ndarray:
    """Return how far scores (..., L) lie above the worst layer's."""
    return scores - scores.min(-1, keepdims=True)


def additive_statistics(
    truth: np.ndarray, said: np.ndarray, places: Sequence[int], clusters: int
) -> np.ndarray:
    """Return sums by cluster (clusters, heads, ...): moments of numbers, or counts of answers.

    Args:
        truth: (n, heads) numbers, or classes as whole numbers (n,).
        said: (n, heads) numbers, or (n, heads, K) outputs of classes.
        places: the cluster of each utterance.
        clusters: how many there are.
    """
    places = np.asarray(places)
    if said.ndim == 2:
        parts = [moments_of(truth[places == c], said[places == c]).sum(0) for c in range(clusters)]
        return np.stack(parts)
    count = said.shape[-1]
    found = np.zeros((clusters, said.shape[1], count, count))
    heads = np.arange(said.shape[1])
    for place, label, answers in zip(places, truth, said.argmax(-1), strict=True):
        found[place, heads, label, answers] += 1
    return found


def score_of(statistics: np.ndarray, score: str) -> np.ndarray:
    """Return the CCC of summed moments (..., 6), or the UA of summed counts (..., K, K)."""
    return ccc_of(statistics) if score == "CCC" else metrics_of(statistics)["UA"]


def interval_over_folds(values: np.ndarray, level: float = 0.95) -> tuple[float, float] | None:
    """Return the delete-a-group jackknife interval of the mean of values (folds,).

    Each fold leaves other speakers out and shares most of its training with the others, so that
    the spread of the folds' values, taken for independent ones, would be far too small. (Quenouille
    1956, Biometrika 43; the interval is Student's with folds - 1 degrees of freedom.)
    """
    return _student(values, len(values) - 1, level)


def interval_over_draws(values: np.ndarray, level: float = 0.95) -> tuple[float, float] | None:
    """Return Student's interval of the mean of independent values (draws,)."""
    return _student(values, 1, level)


def _student(values: np.ndarray, inflation: float, level: float) -> tuple[float, float] | None:
    from scipy.special import stdtrit

    count = len(values)
    if count < 2 or not np.isfinite(values).all():
        return None
    error = inflation * values.std(ddof=1) / np.sqrt(count)
    width = float(stdtrit(count - 1, 0.5 + level / 2) * error)
    return float(values.mean() - width), float(values.mean() + width)


def write_relevance(folder: str | Path, measured: dict[str, Any]) -> list[Path]:
    """Publish what a trainer measured of a unit: its curves as JSON, its sums as safetensors."""
    from safetensors.numpy import save_file

    paths = [Path(folder) / name for name in FILES]
    curves = {key: value for key, value in measured.items() if key != "statistics"}
    write_json(paths[0], curves)
    with publish(paths[1]) as temporary:
        save_file({"statistics": np.ascontiguousarray(measured["statistics"])}, temporary)
    return paths


def read_relevance(folder: str | Path) -> dict[str, Any] | None:
    """Return what `write_relevance` wrote; None where there is none."""
    from safetensors.numpy import load_file

    paths = [Path(folder) / name for name in FILES]
    if not all(path.is_file() for path in paths):
        return None
    return read_json(paths[0]) | load_file(paths[1])
