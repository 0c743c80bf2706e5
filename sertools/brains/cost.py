"""What training a unit took, noted beside its artefacts, so that equal models stay equal files."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from sertools.data.feature_cache import ENCODER
from sertools.files import read_json, write_json
from sertools.models.counting import size_of
from sertools.models.encoder import SpeechEncoder
from sertools.models.upstream import Upstream
from torch import nn

COST = "cost.json"


def write_cost(
    folder: str | Path, total: int, trainable: int, seconds: float, device: str,
    processes: int = 1, flags: Iterable[str] = (), encoder: dict[str, Any] | None = None,
    notes: Iterable[str] = (),
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
        encoder: its size, from `encoder_size`.
        notes: what its results tell beside, in words, without being less comparable for it.
    """
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    return write_json(Path(folder) / COST, {
        "parameters": {"total": total, "trainable": trainable},
        "seconds": round(seconds, 1),
        "device": name if processes == 1 else f"{processes} x {name}",
        "finished": datetime.date.today().isoformat(),
        "flags": list(flags),
        "notes": list(notes),
        "encoder": encoder,
    })


def encoder_size(model: nn.Module, features: Path | None = None) -> dict[str, Any] | None:
    """Return the size of the encoder that a model has, or else of that behind its features.

    Args:
        model: with an `encoder`, or a head.
        features: folder of the feature cache that the model reads.

    Returns:
        parameters, macs_per_second and seconds as `models.counting.size_of`; None if there is no
        encoder, or if the cache says nothing of it.
    """
    encoder = getattr(model, "encoder", None)
    if isinstance(encoder, Upstream):
        return encoder.size()
    if isinstance(encoder, SpeechEncoder):
        return size_of(encoder)
    said = None if features is None else Path(features) / ENCODER
    return read_json(said) if said is not None and said.is_file() else None
