"""How well one kind of thing finds another by a score: average precision, recall at k."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def average_precision(scores: np.ndarray, right: np.ndarray) -> float | None:
    """Return the sum over thresholds of precision times the gain in recall, 0 to 1.

    Equal scores are one threshold, so that their order does not matter.

    Args:
        scores: (n,), higher is nearer.
        right: (n,) bool; None is returned if none is right.
    """
    right = np.asarray(right, dtype=bool)
    if not right.any():
        return None
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    sorted_scores, hits = np.asarray(scores)[order], np.cumsum(right[order])
    last = np.flatnonzero(np.r_[np.diff(sorted_scores) != 0, True])  # of each threshold
    precision = hits[last] / (last + 1)
    return float(np.sum(precision * np.diff(np.r_[0, hits[last]])) / hits[-1])


def recall_at(scores: np.ndarray, right: np.ndarray, k: int) -> float:
    """Return the share of rows that have a right column among their k best.

    Args:
        scores: (n, m); of equal scores the first column counts as better.
        right: (n, m) bool.
    """
    best = np.argsort(-np.asarray(scores, dtype=np.float64), axis=1, kind="stable")[:, :k]
    return float(np.take_along_axis(np.asarray(right, dtype=bool), best, 1).any(1).mean())


def retrieval_scores(
    cosines: np.ndarray, labels: Sequence[str], classes: Sequence[str], ks: Sequence[int] = (1, 5)
) -> dict[str, Any]:
    """Return how well sentences find utterances, and utterances sentences.

    Args:
        cosines: of utterances and the sentences of the classes, (n, K).
        labels: class of every utterance.
        classes: K names.
        ks: depths of recall for the sentences.

    Returns:
        `average_precision` by class (None: no utterance), `mAP` its mean over the classes that
        have utterances, `recall@k` of the sentences of these classes, `utterance_recall@1` (the
        share of utterances whose nearest sentence is right), `utterance_recall@1_by_class`, and
        their mean `mean_class_recall`.
    """
    right = np.array([[label == name for name in classes] for label in labels])
    precision = {name: average_precision(cosines[:, column], right[:, column])
                 for column, name in enumerate(classes)}
    there = right.any(0)
    known = [value for value in precision.values() if value is not None]
    rows = {name: recall_at(cosines[right[:, column]], right[right[:, column]], 1)
            for column, name in enumerate(classes) if there[column]}
    return {
        "utterances": len(labels),
        "average_precision": precision,
        "mAP": float(np.mean(known)),
        **{f"recall@{k}": recall_at(cosines.T[there], right.T[there], k) for k in ks},
        "utterance_recall@1": recall_at(cosines, right, 1),
        "utterance_recall@1_by_class": rows,
        "mean_class_recall": float(np.mean(list(rows.values()))),
    }
