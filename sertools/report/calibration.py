"""Calibration over folds and seeds: every unit's own temperature, then all utterances together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sertools.report.units import UnitResult
from sertools.scoring.calibration import confidence_of, ece, reliability


def summarise_calibration(
    runs: Sequence[Sequence[UnitResult]], classes: Sequence[str]
) -> dict[str, Any]:
    """Return the ECE before and after (pooled, mean over seeds) and the bins of all seeds.

    Args:
        runs: the units of each seed that counts.
        classes: class order.

    Returns:
        `ece_before`, `ece_after`, `bins_before`, `bins_after`; None and empty where a unit lacks
        probabilities or a temperature, then `note` says so.
    """
    units = [unit for run in runs for unit in run]
    notes = {unit.scores.get("calibration_note") for unit in units} - {None}
    result: dict[str, Any] = {"note": "; ".join(sorted(notes)) or None}
    probable = all(item.probabilities is not None for unit in units for item in unit.test)
    fitted = probable and all(unit.scores.get("temperature") for unit in units)
    for name, possible in (("before", probable), ("after", fitted)):
        pairs = [_pooled(run, classes, name == "after") for run in runs] if possible else []
        result[f"ece_{name}"] = float(np.mean([ece(*pair) for pair in pairs])) if pairs else None
        result[f"bins_{name}"] = _bins(pairs)
    return result


def _pooled(
    run: Sequence[UnitResult], classes: Sequence[str], scaled: bool
) -> tuple[np.ndarray, np.ndarray]:
    parts = [
        confidence_of(unit.test, classes, unit.scores["temperature"] if scaled else 1.0)
        for unit in run
    ]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def _bins(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[dict[str, Any]]:
    if not pairs:
        return []
    return reliability(np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs]))
