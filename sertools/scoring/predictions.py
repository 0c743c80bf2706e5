"""Predictions of one model on one list of utterances, and their file: one JSON object a line."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sertools.errors import DataError
from sertools.files import write_text

SIGNIFICANT_DIGITS = 7
"""Digits kept of every written number; about what a 32-bit float holds."""

_FIELDS = ("id", "speaker", "reference", "prediction", "probabilities")


@dataclass(slots=True)
class Prediction:
    """What a model said about one utterance, beside what the annotators said.

    A classification carries class names, a dimensional task one number per dimension
    (`{"arousal": 4.5, ...}`) on both sides.
    """

    id: str
    speaker: str | None
    reference: str | dict[str, float]
    prediction: str | dict[str, float]
    probabilities: list[float] | None = None
    """One per class, in the class order of the task; None for dimensions."""

    @property
    def dimensional(self) -> bool:
        """Say whether this is about dimensions (numbers) rather than a class."""
        return isinstance(self.reference, dict)


def round_number(value: float) -> float:
    """Round to the digits that are written; applying it twice changes nothing."""
    return float(f"{float(value):.{SIGNIFICANT_DIGITS}g}")


def write_predictions(path: str | Path, predictions: Iterable[Prediction]) -> Path:
    """Publish predictions, sorted by id, so that equal predictions give equal bytes.

    Raises:
        DataError: an id occurs twice, a number is not finite, or a field has the wrong type.
    """
    ordered = sorted(predictions, key=lambda item: item.id)
    rows = [_to_row(item) for item in ordered]
    problems = [f"{row['id']}: {fault}" for row in rows for fault in _faults(row)]
    problems += _repeated([(row["id"], row["id"]) for row in rows])
    if problems:
        raise DataError(f"{path}: these predictions cannot be written", problems)
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows)
    return write_text(path, "".join(line + "\n" for line in lines))


def read_predictions(path: str | Path) -> list[Prediction]:
    """Read what `write_predictions` wrote.

    Raises:
        DataError: the file is missing, empty or broken; every fault comes with file and line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})", remedy="run evaluate again") from error
    if lines == [""]:
        raise DataError(f"{path}: holds no prediction", remedy="run evaluate again")
    rows: list[dict[str, Any]] = []
    places: list[tuple[str, str]] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        row, faults = _parse(line)
        problems += [f"{path}:{number}: {fault}" for fault in faults]
        if not faults:
            rows.append(row)
            places.append((f"{path}:{number}", row["id"]))
    problems += _repeated(places)
    if problems:
        raise DataError(f"{path}: not a file of predictions", problems, remedy="run evaluate again")
    return [Prediction(**row) for row in rows]


def _to_row(item: Prediction) -> dict[str, Any]:
    probabilities = item.probabilities
    if probabilities is not None:
        probabilities = [round_number(value) for value in probabilities]
    return {
        "id": item.id,
        "speaker": item.speaker,
        "reference": _plain(item.reference),
        "prediction": _plain(item.prediction),
        "probabilities": probabilities,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: round_number(number) for name, number in value.items()}
    return value


def _parse(line: str) -> tuple[dict[str, Any], list[str]]:
    try:
        row = json.loads(line)
    except ValueError as error:
        return {}, [f"not JSON ({error})"]
    if not isinstance(row, dict) or set(row) != set(_FIELDS):
        return {}, [f"must be an object with the keys {', '.join(_FIELDS)}"]
    return row, _faults(row)


def _faults(row: dict[str, Any]) -> list[str]:
    faults = []
    if not isinstance(row["id"], str) or not row["id"]:
        faults.append("id must be a text that is not empty")
    if not isinstance(row["speaker"], str | None):
        faults.append("speaker must be a text or null")
    for side in ("reference", "prediction"):
        if not isinstance(row[side], str) and not _numbers(row[side], dict):
            faults.append(f"{side} must be a class name, or finite numbers by dimension")
    if isinstance(row["reference"], str) != isinstance(row["prediction"], str):
        faults.append("reference and prediction must both be class names or both dimensions")
    if row["probabilities"] is not None and not _numbers(row["probabilities"], list):
        faults.append("probabilities must be a list of finite numbers or null")
    return faults


def _numbers(value: Any, kind: type) -> bool:
    if not isinstance(value, kind) or not value:
        return False
    numbers = value.values() if isinstance(value, dict) else value
    return all(
        isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
        for number in numbers
    )


def _repeated(places: list[tuple[str, str]]) -> list[str]:
    first: dict[str, str] = {}
    faults = []
    for place, name in places:
        if name in first:
            faults.append(f"{place}: id {name!r} occurs twice")
        first.setdefault(name, place)
    return faults
