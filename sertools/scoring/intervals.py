"""Bootstrap intervals of scores: speakers are drawn with replacement, not utterances.

Utterances of one speaker resemble each other, so an interval that draws utterances is too narrow
(Bisani and Ney 2004, "Bootstrap estimates for confidence intervals in ASR performance
evaluation", draw speakers for the same reason).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sertools.errors import DataError
from sertools.scoring.resampling import Clusters, Run, choose_clusters, cluster_statistics, draw


def bootstrap_intervals(
    runs: Sequence[Run],
    classes: Sequence[str] = (),
    *,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Return percentile intervals of the scores of one system.

    With several runs (seeds) each draw takes the same speakers of every run, and the score of the
    draw is the mean over the runs: the interval says what other speakers would change.

    Args:
        runs: predictions of each seed on the same utterances.
        classes: class order; empty for dimensions.
        draws: number of bootstrap samples, at least 1000.
        level: covered share, 0.95 for a 95 % interval.
        seed: of the draws; equal arguments give equal intervals.

    Returns:
        `metrics`: name -> [low, high] or None (UA, WA, WF1, MF1 and `recall <class>`, or CCC and
        `CCC_<dimension>`); beside it `unit`, `clusters`, `draws`, `level`, `seed`, `reason`.
        A class absent from a draw is left out of that draw's means.

    Raises:
        DataError: nothing to score, unequal utterances, too few draws, unknown classes.
    """
    clusters = _check(runs, draws, level)
    statistics, measure = cluster_statistics(runs, classes, clusters)
    intervals: dict[str, list[float] | None]
    if len(clusters.names) < 2:
        intervals = dict.fromkeys(measure(statistics.sum(1)))
    else:
        samples = _mean_over_runs(draw(statistics, measure, draws, seed))
        intervals = {name: _percentiles(values, level) for name, values in samples.items()}
    return {
        "metrics": intervals,
        "unit": clusters.unit,
        "clusters": len(clusters.names),
        "draws": draws,
        "level": level,
        "seed": seed,
        "reason": clusters.reason,
    }


def paired_difference(
    first: Sequence[Run],
    second: Sequence[Run],
    classes: Sequence[str] = (),
    *,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare two systems on the same utterances: scores of `first` minus scores of `second`.

    Each draw takes the same speakers for both, so what makes a speaker hard cancels out.

    Returns:
        Like `bootstrap_intervals`, but each metric holds `difference`, `low`, `high` and `p`, the
        two-sided share of draws on the other side of zero ((1 + k) / (1 + draws), doubled);
        `low`, `high` and `p` are None when there are fewer than two clusters.

    Raises:
        DataError: as `bootstrap_intervals`, or the systems saw other utterances or references.
    """
    clusters = _check([*first, *second], draws, level)
    statistics, measure = cluster_statistics([*first, *second], classes, clusters)
    count = len(first)

    def difference(values: np.ndarray) -> np.ndarray:
        return values[:count].mean(0) - values[count:].mean(0)

    point = {name: difference(v) for name, v in measure(statistics.sum(1)).items()}
    result: dict[str, Any] = {
        name: {"difference": _finite(value), "low": None, "high": None, "p": None}
        for name, value in point.items()
    }
    if len(clusters.names) >= 2:
        for name, values in draw(statistics, measure, draws, seed).items():
            sample = difference(values)
            low, high = _percentiles(sample, level) or (None, None)
            result[name] |= {"low": low, "high": high, "p": _two_sided(sample)}
    return {
        "metrics": result,
        "unit": clusters.unit,
        "clusters": len(clusters.names),
        "draws": draws,
        "level": level,
        "seed": seed,
        "reason": clusters.reason,
    }


def _check(runs: Sequence[Run], draws: int, level: float) -> Clusters:
    if not runs or not all(len(run) for run in runs):
        raise DataError("no utterance to score", remedy="check that the part is not empty")
    if draws < 1000 or not 0 < level < 1:
        raise DataError(f"{draws} draws at level {level}: needs at least 1000, between 0 and 1")
    first = sorted((item.id, str(item.speaker), str(item.reference)) for item in runs[0])
    for run in runs[1:]:
        other = sorted((item.id, str(item.speaker), str(item.reference)) for item in run)
        if first != other:
            odd = sorted({row[0] for row in set(first) ^ set(other)}) or ["repeated utterances"]
            raise DataError(
                "the runs to compare differ in utterances, speakers or references",
                odd,
                remedy="compare only systems evaluated on the same folds of the same manifest",
            )
    return choose_clusters(runs[0])


def _mean_over_runs(samples: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: values.mean(0) for name, values in samples.items()}


def _percentiles(values: np.ndarray, level: float) -> list[float] | None:
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return [float(low), float(high)]


def _two_sided(values: np.ndarray) -> float | None:
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    smaller = min((values <= 0).sum(), (values >= 0).sum())
    return float(min(1.0, 2 * (1 + smaller) / (1 + len(values))))


def _finite(value: np.ndarray) -> float | None:
    return float(value) if np.isfinite(value) else None
