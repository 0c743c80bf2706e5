"""What every upstream is: frozen if wanted, proof against padding, identifiable."""

from __future__ import annotations

import abc
import hashlib
import json
from typing import Any

import torch
from sertools.files import hash_tensors
from sertools.models.counting import size_of
from sertools.models.encoder import Encoded
from torch import Tensor, nn


class Upstream(nn.Module, abc.ABC):
    """A pretrained encoder from waveforms to frames of all depths.

    A frozen one is truly frozen: no gradients, and `train()` leaves it (and with it dropout,
    layer drop and masking) in evaluation mode. The features of an utterance do not depend on what
    it is padded or batched with. Waveforms are normalised here if the model was trained so: the
    reader should leave them as they are.
    """

    sample_rate: int
    """Samples per second that it expects."""
    dim: int
    """Width of its frames."""
    num_layers: int
    """Number of its blocks; there is one hidden tensor more."""
    frame_rate: float
    """Frames per second."""
    max_seconds: float | None = None
    """Longest waveform that it hears as a whole; longer ones in windows. None: any."""
    frozen_mode = "eval"
    """Of a frozen one: "eval", or "released": `train()` lets its dropouts act, as code that forgets
    to put the upstream into evaluation mode does. Its features then differ from pass to pass."""

    def __init__(self, model: nn.Module, config: dict[str, Any], code: str, trainable: bool):
        super().__init__()
        self.model, self.trainable = model, trainable
        self.identity = identity_of(model, config, code)
        self.origin: dict[str, str] = {}
        """Where it came from, for people: `source` and, from a hub, `revision`."""
        if not trainable:
            self.requires_grad_(False)
        self.train()

    @property
    @abc.abstractmethod
    def frontend(self) -> nn.Module:
        """Return the convolutions on the waveform, which fine-tuning often keeps as they are."""

    def train(self, mode: bool = True) -> Upstream:
        """Set the training mode; without effect on a frozen upstream unless "released"."""
        return super().train(mode and (self.trainable or self.frozen_mode == "released"))

    def settle(self, precision: str) -> None:
        """Get ready for passes in fp32 or bf16 alone; changes speed and memory, not features."""

    def size(self) -> dict[str, Any]:
        """Return parameters, and multiply-accumulates per second (None: not counted).

        See `models.counting.size_of`.
        """
        return size_of(self.model)

    def forward(
        self, waveforms: Tensor, lengths: Tensor | None = None, *, hidden: bool = False
    ) -> Encoded:
        """Encode (B, L) right-padded waveforms with (B,) valid samples (None: all L)."""
        with torch.set_grad_enabled(self.trainable and torch.is_grad_enabled()):
            return self.encode(waveforms, lengths, hidden)

    @abc.abstractmethod
    def encode(self, waveforms: Tensor, lengths: Tensor | None, hidden: bool) -> Encoded:
        """Do what `forward` promises; each kind of model in its way."""


def identity_of(model: nn.Module, config: dict[str, Any], code: str) -> dict[str, str]:
    """Return all that the features of a model depend on, as short texts."""
    weights = dict(model.state_dict())
    weights.pop("mask_embedding", None)  # features do not depend on it, and it may be fresh
    text = json.dumps(config, sort_keys=True, default=str)
    return {
        "class": type(model).__name__,
        "weights": hash_tensors(weights),
        "config": hashlib.sha256(text.encode()).hexdigest(),
        "code": code,
    }
