"""Draw clusters with replacement, thousands of times in one matrix product.

Every score here is a function of additive statistics (confusion counts, moments), so that one
draw is a weighted sum over clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sertools.scoring.classification import class_indices, metrics_of, recall_and_f1
from sertools.scoring.dimensions import ccc_of, dimensions_of, moments_of, to_matrix
from sertools.scoring.predictions import Prediction

Measure = Callable[[np.ndarray], dict[str, np.ndarray]]
"""From summed statistics (..., statistics of one cluster) to scores by name, (...) each."""

Run = Sequence[Prediction]
"""All predictions of one seed, pooled over folds."""

_WEIGHTS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Clusters:
    """What is drawn with replacement."""

    unit: str
    """`speaker` or `utterance`; where only some speakers are known, `speaker` too."""
    names: list[str]
    reason: str | None
    """Why utterances are drawn, or why there is no interval."""


def choose_clusters(run: Run) -> Clusters:
    """Return the speakers, or the utterances where no speaker is known, and say why.

    Where some are known, an utterance without a speaker is drawn by itself: two of them may be one
    person's, but to draw all utterances so would hide what is known of the others.
    """
    unknown = sum(item.speaker is None for item in run)
    names = sorted({cluster_of(item) for item in run})
    if unknown == len(run):
        reason = f"{unknown} of {len(run)} utterances have no speaker, so utterances are drawn"
        return Clusters("utterance", names, reason)
    if unknown:
        reason = f"{unknown} of {len(run)} utterances have no speaker, each is drawn by itself"
        return Clusters("speaker", names, reason)
    few = "one speaker only: nothing can be said about other speakers" if len(names) < 2 else None
    return Clusters("speaker", names, few)


def cluster_of(item: Prediction) -> str:
    """Return the name of what an utterance is drawn with."""
    return f"utterance {item.id}" if item.speaker is None else f"speaker {item.speaker}"


def cluster_statistics(
    runs: Sequence[Run], classes: Sequence[str], clusters: Clusters
) -> tuple[np.ndarray, Measure]:
    """Return additive statistics (runs, clusters, ...) and the scores as a function of sums."""
    place = {name: index for index, name in enumerate(clusters.names)}
    if runs[0][0].dimensional:
        names = dimensions_of([item.reference for item in runs[0]])
        rows = [_moments(run, names) for run in runs]
        measure = _measure_dimensions(names)
    else:
        rows = [_confusions(run, classes) for run in runs]
        measure = _measure_classes(classes)
    result = np.zeros((len(runs), len(clusters.names), *rows[0].shape[1:]))
    for index, run in enumerate(runs):
        keys = [place[cluster_of(item)] for item in run]
        np.add.at(result[index], keys, rows[index])
    return result, measure


def _confusions(run: Run, classes: Sequence[str]) -> np.ndarray:
    truth = class_indices([item.reference for item in run], classes, "reference")
    said = class_indices([item.prediction for item in run], classes, "prediction")
    one_hot = np.zeros((len(run), len(classes), len(classes)))
    one_hot[np.arange(len(run)), truth, said] = 1
    return one_hot


def _moments(run: Run, names: Sequence[str]) -> np.ndarray:
    truth = to_matrix([item.reference for item in run], names)
    said = to_matrix([item.prediction for item in run], names)
    shift = truth.mean(0)  # the CCC does not change when both move; the sums stay exact
    return moments_of(truth - shift, said - shift)


def _measure_classes(classes: Sequence[str]) -> Measure:
    def measure(confusion: np.ndarray) -> dict[str, np.ndarray]:
        recall, _ = recall_and_f1(confusion)
        by_class = {f"recall {name}": recall[..., index] for index, name in enumerate(classes)}
        return metrics_of(confusion) | by_class

    return measure


def _measure_dimensions(names: Sequence[str]) -> Measure:
    def measure(moments: np.ndarray) -> dict[str, np.ndarray]:
        ccc = ccc_of(moments)
        by_name = {f"CCC_{name}": ccc[..., index] for index, name in enumerate(names)}
        return {"CCC": ccc.mean(-1)} | by_name

    return measure


def draw(
    statistics: np.ndarray,
    measure: Measure,
    draws: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Return the scores of every draw, name -> (runs, draws)."""
    generator = np.random.default_rng(seed)
    runs, count = statistics.shape[:2]
    flat = statistics.reshape(runs, count, -1)
    step = max(1, _WEIGHTS_AT_ONCE // count)
    parts: list[dict[str, np.ndarray]] = []
    for begin in range(0, draws, step):
        size = min(step, draws - begin)
        chosen = generator.integers(0, count, (size, count))
        chosen += np.arange(size)[:, None] * count
        weights = np.bincount(chosen.ravel(), minlength=size * count).reshape(size, count)
        sums = weights.astype(np.float64) @ flat
        parts.append(measure(sums.reshape(runs, size, *statistics.shape[2:])))
    return {name: np.concatenate([part[name] for part in parts], 1) for name in parts[0]}
