"""WA, UA and F1 of a classification, all from one confusion matrix.

| name | meaning | chance |
|---|---|---|
| WA  | weighted accuracy: share of utterances that are right | share of the largest class |
| UA  | unweighted accuracy: mean recall of the classes that occur in the references | 1 / classes |
| WF1 | F1 per class, weighted by the class's utterances | of always the largest class |
| MF1 | F1 per class, plain mean over the classes that occur in the references | likewise |

A class without a reference has no recall; it enters no mean and is listed under `absent`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sertools.errors import DataError

METRICS = ("UA", "WA", "WF1", "MF1")


def confusion_matrix(
    references: Sequence[str], predictions: Sequence[str], classes: Sequence[str]
) -> np.ndarray:
    """Count utterances by reference (row) and prediction (column), in the order of `classes`.

    Returns:
        int64 matrix (K, K).

    Raises:
        DataError: nothing to score, lengths differ, or a name is not one of `classes`.
    """
    rows = class_indices(references, classes, "reference")
    columns = class_indices(predictions, classes, "prediction")
    if len(rows) != len(columns):
        raise DataError(f"{len(rows)} references but {len(columns)} predictions")
    if not len(rows):
        raise DataError("no utterance to score", remedy="check that the part is not empty")
    counts = np.bincount(rows * len(classes) + columns, minlength=len(classes) ** 2)
    return counts.reshape(len(classes), len(classes))


def class_indices(names: Sequence[str], classes: Sequence[str], what: str = "class") -> np.ndarray:
    """Return the place of every name in `classes`, int64 (n,).

    Raises:
        DataError: a name is not one of `classes`, or `classes` repeats one.
    """
    place = {name: index for index, name in enumerate(classes)}
    if len(place) != len(classes):
        raise DataError(f"a class is named twice in {list(classes)}")
    unknown = sorted({str(name) for name in names if name not in place})
    if unknown:
        raise DataError(
            f"{what} names that are no class of this task",
            [f"{name!r} is none of {', '.join(classes)}" for name in unknown],
            remedy="use the class names and the label map of the corpus for both sides",
        )
    return np.fromiter((place[name] for name in names), dtype=np.int64, count=len(names))


def recall_and_f1(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return recall and F1 per class, (..., K) each; NaN where a class has no reference."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    support = confusion.sum(-1).astype(np.float64)
    answered = confusion.sum(-2).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = right / support
        f1 = np.where(support > 0, 2 * right / (support + answered), np.nan)
    return recall, f1


def precision_of(confusion: np.ndarray) -> np.ndarray:
    """Return the precision per class (..., K): 0 where never answered, NaN without a reference."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    precision = right / np.maximum(confusion.sum(-2), 1)
    return np.where(confusion.sum(-1) > 0, precision, np.nan)


def metrics_of(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Return UA, WA, WF1 and MF1, each (...), of confusion matrices (..., K, K)."""
    recall, f1 = recall_and_f1(confusion)
    support = confusion.sum(-1).astype(np.float64)
    total = support.sum(-1)
    present = support > 0
    count = present.sum(-1)
    zeroed = np.where(present, f1, 0.0)
    return {
        "UA": np.where(present, recall, 0.0).sum(-1) / count,
        "WA": np.trace(confusion, axis1=-2, axis2=-1) / total,
        "WF1": (zeroed * support).sum(-1) / total,
        "MF1": zeroed.sum(-1) / count,
    }


def classification_scores(
    references: Sequence[str], predictions: Sequence[str], classes: Sequence[str]
) -> dict[str, Any]:
    """Score class names against class names.

    Returns:
        WA, UA, WF1, MF1 as fractions of 1; `recall`, `precision` and `f1` by class (None where
        absent), `macro_precision`, `absent` classes; `confusion` (rows: references, order of
        `classes`); `n` utterances.

    Raises:
        DataError: nothing to score, lengths differ, or a name is not one of `classes`.
    """
    return scores_of_confusion(confusion_matrix(references, predictions, classes), classes)


def scores_of_confusion(confusion: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Return what `classification_scores` returns, from counts (K, K)."""
    recall, f1 = recall_and_f1(confusion)
    present = confusion.sum(-1) > 0
    scores: dict[str, Any] = {name: float(value) for name, value in metrics_of(confusion).items()}
    scores["recall"] = _by_class(recall, present, classes)
    precision = precision_of(confusion)
    scores["precision"] = _by_class(precision, present, classes)
    scores["macro_precision"] = float(precision[present].mean())
    scores["f1"] = _by_class(f1, present, classes)
    scores["absent"] = [name for name, here in zip(classes, present, strict=True) if not here]
    scores["confusion"] = confusion.tolist()
    scores["n"] = int(confusion.sum())
    return scores


def chance_levels(confusion: np.ndarray) -> dict[str, float]:
    """Return UA, WA, WF1 and MF1 of always answering the most frequent class of the references.

    UA is then 1 / (classes that occur) and WA the share of that class.
    """
    support = confusion.sum(-1)
    constant = np.zeros_like(confusion)
    constant[:, int(support.argmax())] = support
    return {name: float(value) for name, value in metrics_of(constant).items()}


def _by_class(
    values: np.ndarray, present: np.ndarray, classes: Sequence[str]
) -> dict[str, float | None]:
    return {
        name: float(value) if here else None
        for name, value, here in zip(classes, values, present, strict=True)
    }
