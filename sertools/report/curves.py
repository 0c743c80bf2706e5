"""Training curves of units, from the lines of their metrics.jsonl."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sertools.report.units import UnitResult

_DEV_SCORES = ("UA", "CCC", "WA")


def training_curves(units: Sequence[UnitResult]) -> dict[str, Any]:
    """Return epochs, train loss, dev score and best epoch of every unit with a history.

    Returns:
        `dev_score`: the score drawn (UA, CCC or WA; None if no line has one); `units`: a list of
        `fold`, `seed`, `epochs`, `train_loss`, `dev` (None where a line lacks it), `best_epoch`.
    """
    dev = [line.get("dev") or {} for unit in units for line in unit.history]
    score = next((name for name in _DEV_SCORES if any(name in row for row in dev)), None)
    return {"dev_score": score, "units": [_curve(u, score) for u in units if u.history]}


def _curve(unit: UnitResult, score: str | None) -> dict[str, Any]:
    lines = {line["epoch"]: line for line in unit.history}  # a repeated epoch: the later line
    epochs = sorted(lines)
    dev = [(lines[epoch].get("dev") or {}).get(score) for epoch in epochs]
    known = [(value, -epoch) for epoch, value in zip(epochs, dev, strict=True) if value is not None]
    best = unit.best_epoch if unit.best_epoch is not None else -max(known)[1] if known else None
    return {
        "fold": unit.fold,
        "seed": unit.seed,
        "epochs": epochs,
        "train_loss": [(lines[epoch].get("train") or {}).get("loss") for epoch in epochs],
        "dev": dev,
        "best_epoch": best,
    }
