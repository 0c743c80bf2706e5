"""What a model costs: parameters by part, multiply-accumulates per second of audio.

Counted on tensors without storage, so that the largest model takes no memory and no time.
"""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

import torch
from sertools.models.bare import bare
from sertools.models.config import EncoderConfig
from sertools.models.encoder import SpeechEncoder
from sertools.models.whisper import WindowedWhisper
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count(model: nn.Module, seconds: float = 10.0) -> dict[str, Any]:
    """Count the parameters of a model and what it computes for `seconds` of audio.

    Multiply-accumulates are those of all matrix products and convolutions, the products of
    queries, keys and values included; they grow with the length, which is therefore told. The
    Fourier transform of the log-mel front end and elementwise operations are left out. Whisper
    computes 30 s whatever it hears: per second it costs the less, the longer an utterance is.

    Args:
        model: takes (1, samples) waveforms.
        seconds: length of the utterance that is counted.

    Returns:
        seconds, and totals and `parts` of parameters, trainable and macs_per_second.
    """
    macs = _macs(model, seconds)
    parts: dict[str, dict[str, Any]] = {}
    inner = _inner(model)
    for parameter_name, parameter in model.named_parameters():
        part = _part(parameter_name.removeprefix(inner))
        row = parts.setdefault(part, {"parameters": 0, "trainable": 0})
        row["parameters"] += parameter.numel()
        row["trainable"] += parameter.numel() * parameter.requires_grad
    for part, number in macs.items():
        row = parts.setdefault(part, {"parameters": 0, "trainable": 0})
        row["macs_per_second"] = number / seconds
    rows = [{"name": part, "macs_per_second": 0.0, **row} for part, row in parts.items()]
    totals = ("parameters", "trainable", "macs_per_second")
    return {
        "seconds": seconds,
        **{key: sum(row[key] for row in rows) for key in totals},
        "parts": rows,
    }


def size_of(encoder: nn.Module, seconds: float = 10.0) -> dict[str, Any]:
    """Return what results say of an encoder: parameters, macs_per_second, seconds.

    Args:
        encoder: of this package, in any precision, or a module that takes (1, samples) waveforms
            at 16 kHz.
        seconds: length of the utterance that is counted; see `count`.
    """
    ours = isinstance(encoder, SpeechEncoder)
    return dict(_size_by_config(encoder.config, seconds) if ours else _size(encoder, seconds))


@lru_cache
def _size_by_config(config: EncoderConfig, seconds: float) -> dict[str, Any]:
    """Count an encoder that is made anew, as a settled one holds cast matrices."""
    with bare():
        encoder = SpeechEncoder(config)
    return _size(encoder, seconds)


def _size(encoder: nn.Module, seconds: float) -> dict[str, Any]:
    counted = count(encoder, seconds)
    return {name: counted[name] for name in ("parameters", "macs_per_second", "seconds")}


def _inner(model: nn.Module) -> str:
    """Return the prefix of an encoder inside the model, whose parts are told like the others."""
    ours = isinstance(getattr(model, "encoder", None), SpeechEncoder)
    return "encoder." if ours else "whisper." if isinstance(model, WindowedWhisper) else ""


def _part(name: str) -> str:
    """Return the part of the model that a parameter or module of this dotted name belongs to."""
    words = [word for word in name.split(".") if not word.isdigit()]
    return " ".join(words[: 2 if words[0] in ("blocks", "encoders", "layers") else 1])


def _macs(model: nn.Module, seconds: float) -> dict[str, int]:
    """Return the multiply-accumulates of each part; "(other)" for what no part accounts for."""
    skeleton = _skeleton(model)
    rate = model.config.sample_rate if isinstance(model, SpeechEncoder) else 16000
    with FlopCounterMode(display=False) as counter:
        skeleton(torch.zeros(1, round(seconds * rate), device="meta"))
    macs: dict[str, int] = {}
    inner = _inner(model)
    for module, counts in counter.get_flop_counts().items():
        name = module.partition(".")[2].removeprefix(inner)
        if f"{name}." == inner:
            continue
        depth = {"blocks": 3, "layers": 3, "encoders": 2}.get(name.partition(".")[0], 1)
        if name and name.count(".") + 1 == depth:
            macs[_part(name)] = macs.get(_part(name), 0) + sum(counts.values()) // 2
    rest = counter.get_total_flops() // 2 - sum(macs.values())
    return {**macs, "(other)": rest} if rest else macs


def _skeleton(model: nn.Module) -> nn.Module:
    """Return a copy without storage and without gradients, in eval mode."""
    tensors = [*model.parameters(), *model.buffers()]
    storage_free = {id(tensor): torch.empty_like(tensor, device="meta") for tensor in tensors}
    for parameter in model.parameters():
        empty = nn.Parameter(storage_free[id(parameter)], requires_grad=False)
        storage_free[id(parameter)] = empty
    return copy.deepcopy(model, storage_free).eval()
