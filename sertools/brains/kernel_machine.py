"""Classical models on vectors: support vectors or linear weights, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_FAR = 5.0
"""Standard deviations at which values are cut: one odd statistic must not decide alone."""
_NEVER = -1.0
"""Output of a class without an example: what a one-against-rest machine says to a clear no."""


@dataclass
class Machine:
    """Outputs of vectors: `kernel(z, vectors) @ weights + intercept`, or `z @ weights + ...`.

    z is a vector of S statistics, standardised and cut at 5 standard deviations; the kernel is
    exp(-|z - v|^2 / S).
    """

    mean: np.ndarray
    """(S,) of the training part."""
    scale: np.ndarray
    """(S,) standard deviations; 1 where a statistic never changes."""
    weights: np.ndarray
    """(V, K) over the vectors, or (S, K) without."""
    intercept: np.ndarray
    """(K,)."""
    vectors: np.ndarray | None = None
    """(V, S) support vectors, standardised; None for a linear machine."""

    def standardise(self, table: np.ndarray) -> np.ndarray:
        """Return (n, S) statistics as the machine sees them."""
        return np.clip((table - self.mean) / self.scale, -_FAR, _FAR)

    def outputs(self, table: np.ndarray) -> np.ndarray:
        """Return outputs (n, K) of statistics (n, S)."""
        seen = self.standardise(table)
        if self.vectors is not None:
            seen = kernel(seen, self.vectors)
        return seen @ self.weights + self.intercept

    def tensors(self) -> dict[str, np.ndarray]:
        """Return what must be saved."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @property
    def size(self) -> int:
        """Count the numbers that were learned."""
        return self.weights.size + self.intercept.size


def kernel(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the Gaussian kernel (n, m) of standardised vectors (n, S) and (m, S)."""
    squares = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T
    return np.exp(-np.maximum(squares, 0) / one.shape[1])


def standardiser(table: np.ndarray, outputs: int) -> Machine:
    """Return a machine that standardises as the training part (n, S) wants, and knows nothing."""
    scale = table.std(0)
    scale[scale < 1e-9] = 1.0
    return Machine(
        table.mean(0), scale, np.zeros((table.shape[1], outputs)), np.zeros(outputs), None
    )


class SupportVectors:
    """Gaussian support vector machines, one per class against the rest or one per dimension.

    Args:
        start: what standardises.
        table: statistics (n, S) of the training part.
    """

    def __init__(self, start: Machine, table: np.ndarray):
        self.start, self.seen = start, start.standardise(table)
        self.gram = kernel(self.seen, self.seen)

    def classify(self, targets: np.ndarray, cost: float, balanced: bool) -> Machine:
        """Learn classes (n,) with the given cost of errors."""
        from sklearn.svm import SVC

        columns = []
        for index in range(len(self.start.intercept)):
            positive = targets == index
            if positive.all() or not positive.any():
                columns.append((np.zeros(len(targets)), -_NEVER if positive.all() else _NEVER))
                continue
            weight = "balanced" if balanced else None
            machine = SVC(C=cost, kernel="precomputed", class_weight=weight, cache_size=500)
            columns.append(self._column(machine.fit(self.gram, positive)))
        return self._machine(columns)

    def regress(self, targets: np.ndarray, cost: float) -> Machine:
        """Learn dimensions (n, K) on 0 to 1 with the given cost of errors."""
        from sklearn.svm import SVR

        columns = [
            self._column(SVR(kernel="precomputed", C=cost, epsilon=0.05).fit(self.gram, column))
            for column in targets.T
        ]
        return self._machine(columns)

    def _column(self, machine: Any) -> tuple[np.ndarray, float]:
        weights = np.zeros(len(self.seen))
        weights[machine.support_] = machine.dual_coef_[0]
        return weights, float(machine.intercept_[0])

    def _machine(self, columns: list[tuple[np.ndarray, float]]) -> Machine:
        weights = np.stack([weights for weights, _ in columns], 1)
        used = weights.any(1)
        intercept = np.array([intercept for _, intercept in columns])
        return Machine(self.start.mean, self.start.scale, weights[used], intercept, self.seen[used])


class Logistic:
    """Multinomial logistic regression; the arguments are those of `SupportVectors`."""

    def __init__(self, start: Machine, table: np.ndarray):
        self.start, self.seen = start, start.standardise(table)

    def classify(self, targets: np.ndarray, cost: float, balanced: bool) -> Machine:
        """Learn classes (n,); `cost` is the inverse strength of the L2 penalty."""
        from sklearn.linear_model import LogisticRegression

        start, present = self.start, np.unique(targets)
        weights, intercept = np.zeros_like(start.weights), np.full_like(start.intercept, -30.0)
        if len(present) == 1:
            intercept[present] = 0.0
            return Machine(start.mean, start.scale, weights, intercept)
        weight = "balanced" if balanced else None
        model = LogisticRegression(C=cost, class_weight=weight, max_iter=2000)
        model.fit(self.seen, targets)
        coefficients, offsets = model.coef_, model.intercept_
        if len(present) == 2:  # scikit-learn keeps one row: the second class against the first
            coefficients = np.concatenate([-coefficients, coefficients]) / 2
            offsets = np.concatenate([-offsets, offsets]) / 2
        weights[:, present], intercept[present] = coefficients.T, offsets
        return Machine(start.mean, start.scale, weights, intercept)


def from_tensors(tensors: Mapping[str, np.ndarray]) -> Machine:
    """Return the machine whose `tensors` were saved."""
    return Machine(**tensors)
