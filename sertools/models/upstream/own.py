"""Upstreams that run on this package's own encoder."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from sertools.models.encoder import Encoded, SpeechEncoder
from sertools.models.precision import cast_matrices
from sertools.models.presets import build_encoder
from sertools.models.upstream.base import Upstream
from sertools.models.vesper import released_frames
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

    released_length: int | None = None
    """Samples that every batch is padded to, if padding shall matter as in the code released with
    Vesper; None: it never does."""

    def __init__(
        self, encoder: SpeechEncoder, trainable: bool = False, freeze_frontend: bool = True
    ):
        config = {**encoder.config.to_dict(), "mask_embedding": False}  # changes no features
        if encoder.config.projection_norm:  # as before there was a choice: caches stay valid
            del config["projection_norm"]
        super().__init__(encoder, config, f"sertools {CODE_VERSION}", trainable)
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
        if self.released_length is None:
            return self.model(waveforms, lengths, hidden=hidden)
        return self._encode_released(waveforms, lengths, hidden)

    def _encode_released(self, waveforms: Tensor, lengths: Tensor | None, hidden: bool) -> Encoded:
        """Take the zeros behind an utterance for its samples; frames by `released_frames`."""
        if lengths is None:
            lengths = waveforms.new_full((len(waveforms),), waveforms.shape[1], dtype=torch.long)
        length = self.released_length
        waveforms = F.pad(waveforms, (0, length - waveforms.shape[1]))
        features, _ = self.model.local(waveforms)
        frames = released_frames(lengths.to(features.device), length, features.shape[1])
        return self.model.contextualise(features, frames, hidden=hidden)


def untrained_upstream(seed: int = 1, **settings: Any) -> OwnUpstream:
    """Build a frozen encoder of random weights: what a pretrained one must be better than.

    Args:
        seed: of the weights.
        settings: `preset` and other arguments of `build_encoder`.

    Raises:
        ConfigError: for a preset or a setting that does not exist.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = build_encoder(**settings).eval()
    upstream = OwnUpstream(encoder)
    upstream.origin = {"source": f"random weights of {settings.get('preset', 'small')}"}
    return upstream
