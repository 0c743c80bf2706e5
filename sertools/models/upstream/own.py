"""Upstreams that run on this package's own encoder."""

from __future__ import annotations

import torch
from sertools.models.encoder import Encoded, SpeechEncoder
from sertools.models.precision import cast_matrices
from sertools.models.upstream.base import Upstream
from torch import Tensor, nn

CODE_VERSION = 1
"""Raised when the encoders of this package give other values for the same weights."""


class OwnUpstream(Upstream):
    """An encoder of this package.

    Args:
        encoder: with pretrained weights.
        trainable: False freezes all of it.
        freeze_frontend: keep the convolutions on the waveform fixed while the rest is trained.
    """

    def __init__(
        self, encoder: SpeechEncoder, trainable: bool = False, freeze_frontend: bool = True
    ):
        super().__init__(encoder, encoder.config.to_dict(), f"sertools {CODE_VERSION}", trainable)
        self.sample_rate, self.frame_rate = encoder.config.sample_rate, encoder.frame_rate
        self.dim, self.num_layers = encoder.dim, encoder.num_layers
        if freeze_frontend and encoder.config.frontend == "conv":
            encoder.frontend.layers.requires_grad_(False)

    @property
    def frontend(self) -> nn.Module:
        """Return the encoder's front end."""
        return self.model.frontend

    def settle(self, precision: str) -> None:
        """Cast the matrices of a frozen encoder once instead of in every pass."""
        if precision == "bf16" and not self.trainable:
            cast_matrices(self.model, torch.bfloat16)

    def encode(self, waveforms: Tensor, lengths: Tensor | None, hidden: bool) -> Encoded:
        """Encode as the package's encoders do."""
        return self.model(waveforms, lengths, hidden=hidden)
