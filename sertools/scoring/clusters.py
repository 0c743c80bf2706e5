"""How well groups separate in a space of embeddings: figures that need no drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_ROWS = 512  # rows of the distance matrix at a time


@dataclass(frozen=True)
class Separation:
    """Figures of one grouping; None where they are not defined."""

    number: int
    """Utterances whose group is known."""
    groups: int
    silhouette: float | None
    """Mean silhouette (Rousseeuw 1987), -1 to 1; above 0 the own group is nearer than others."""
    knn: float | None
    """Share whose group is that of most of their k nearest neighbours, themselves left out."""
    knn_other_speakers: float | None
    """The same among other speakers' utterances alone: voices do not help."""
    largest: float
    """Share of the largest group: what always answering it would reach."""


def separation(
    vectors: np.ndarray,
    groups: Sequence[str | None],
    speakers: Sequence[str | None] | None = None,
    k: int = 5,
) -> Separation:
    """Return the figures of a grouping in the Euclidean space of (n, dim) vectors.

    Utterances of unknown group are left out. Of neighbours in equal number the group with the
    nearest member wins; among `knn_other_speakers` only utterances with a known speaker count.
    """
    known = [index for index, group in enumerate(groups) if group is not None]
    names, classes = np.unique([groups[index] for index in known], return_inverse=True)
    chosen = np.asarray(vectors, dtype=np.float64)[known]
    counts = np.bincount(classes, minlength=len(names))
    largest = float(counts.max() / len(known)) if known else 0.0
    if len(names) < 2:
        return Separation(len(known), len(names), None, None, None, largest)
    silhouette = None
    if len(names) < len(known):
        from sklearn.metrics import silhouette_score

        silhouette = float(silhouette_score(chosen, classes))
    own = [None if speakers is None else speakers[index] for index in known]
    voices = np.unique(["" if voice is None else voice for voice in own], return_inverse=True)[1]
    voiced = np.array([voice is not None for voice in own])
    apart = None
    if voiced.any() and len(np.unique(voices[voiced])) > 1:
        apart = _accuracy(chosen[voiced], classes[voiced], voices[voiced], k)
    alone = _accuracy(chosen, classes, np.arange(len(known)), k)
    return Separation(len(known), len(names), silhouette, alone, apart, largest)


def _accuracy(vectors: np.ndarray, classes: np.ndarray, units: np.ndarray, k: int) -> float:
    """Return the k-nearest-neighbour accuracy when neighbours of the own unit do not count."""
    squares = (vectors ** 2).sum(1)
    right = 0
    for first in range(0, len(vectors), _ROWS):
        rows = slice(first, first + _ROWS)
        distances = squares[rows, None] + squares - 2 * vectors[rows] @ vectors.T
        distances[units[rows, None] == units] = np.inf
        near = np.argsort(distances, axis=1, kind="stable")[:, :k]
        for row, neighbours in enumerate(near):
            neighbours = neighbours[np.isfinite(distances[row, neighbours])]
            right += bool(len(neighbours)) and _vote(classes[neighbours]) == classes[first + row]
    return right / len(vectors)


def _vote(classes: np.ndarray) -> int:
    """Return the most frequent class; of several the one that comes first, which is nearest."""
    counts = np.bincount(classes)
    return next(int(name) for name in classes if counts[name] == counts.max())
