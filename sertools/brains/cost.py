"""What training a unit took, noted beside its artefacts, so that equal models stay equal files."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from pathlib import Path

import torch
from sertools.files import write_json

COST = "cost.json"


def write_cost(
    folder: str | Path, total: int, trainable: int, seconds: float, device: str,
    processes: int = 1, flags: Iterable[str] = (),
) -> Path:
    """Note parameters, time and device of a training, and what its results must say.

    Args:
        folder: of the unit.
        total: parameters of the model.
        trainable: those of them that were trained.
        seconds: of training, all its runs together.
        device: cpu or cuda:<index>.
        processes: that trained together.
        flags: what every result of this training says, in words.
    """
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    return write_json(Path(folder) / COST, {
        "parameters": {"total": total, "trainable": trainable},
        "seconds": round(seconds, 1),
        "device": name if processes == 1 else f"{processes} x {name}",
        "finished": datetime.date.today().isoformat(),
        "flags": list(flags),
    })
