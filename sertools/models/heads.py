"""Heads: layers and frames of an utterance to one vector of outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from sertools.errors import ConfigError
from torch import Tensor, nn
from torch.nn import functional as F


def valid_frames(lengths: Tensor, frames: int) -> Tensor:
    """Return True where a frame is real, bool (B, T), from valid frames (B,)."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def masked_mean(values: Tensor, lengths: Tensor) -> Tensor:
    """Average over the valid frames, in float32.

    Padded frames are not even multiplied, so what they hold (NaN included) never matters.

    Args:
        values: (B, ..., T, D).
        lengths: valid frames, long (B,); at least one frame is counted.

    Returns:
        (B, ..., D).
    """
    mask = valid_frames(lengths, values.shape[-2])
    mask = mask.reshape(len(mask), *[1] * (values.dim() - 3), -1, 1)
    total = values.masked_fill(~mask, 0).sum(-2, dtype=torch.float32)
    count = lengths.clamp(min=1).reshape(-1, *[1] * (total.dim() - 1))
    return total / count


class UtteranceHead(nn.Module):
    """Weigh the layers, project every frame, average the valid frames, map to the outputs.

    This is the emotion classifier of SUPERB (Yang et al. 2021, Interspeech, section 3): a learned
    softmax over layers, a linear projection, mean pooling and a linear layer. Without an
    activation all steps before the average are linear, so the average is taken first: the same
    result for a fraction of the work.

    Args:
        num_layers: how many layers `forward` gets (an encoder of N blocks gives N + 1).
        dim: width D of a frame.
        num_outputs: classes, or affect dimensions.
        layers: `weighted_sum`, `last`, or the index of one layer (0 is the input of block 1).
        projection: width of the projection; None for none.
        activation: `relu` after the projection, None for none.
        dropout: share of the pooled values dropped in training.
        normalise: normalise every frame of every layer (no learned scale) before the sum.

    Raises:
        ConfigError: an option that is unknown, or a layer that does not exist.
    """

    def __init__(
        self,
        num_layers: int,
        dim: int,
        num_outputs: int,
        layers: str | int = "weighted_sum",
        projection: int | None = 256,
        activation: str | None = None,
        dropout: float = 0.0,
        normalise: bool = False,
    ):
        super().__init__()
        if activation not in (None, "relu"):
            raise ConfigError(f"activation is {activation!r}", remedy="use relu or null")
        self.num_layers, self.layers, self.normalise = num_layers, layers, normalise
        self.activation = activation
        if layers == "weighted_sum":
            self.layer_weights = nn.Parameter(torch.zeros(num_layers))
        elif layers != "last" and not (isinstance(layers, int) and 0 <= layers < num_layers):
            raise ConfigError(
                f"layers is {layers!r}", remedy=f"use weighted_sum, last or 0 to {num_layers - 1}"
            )
        self._one = {"weighted_sum": None, "last": -1}.get(layers, layers)
        self.projection = nn.Linear(dim, projection) if projection else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(projection or dim, num_outputs)

    @property
    def linear_before_pooling(self) -> bool:
        """Say whether pooled frames may be given in place of frames, with the same result."""
        return self.activation is None and not self.normalise

    def forward(self, hidden: Tensor | Sequence[Tensor], lengths: Tensor) -> Tensor:
        """Return the outputs (B, num_outputs), float32 outside autocast.

        Args:
            hidden: (B, N, T, D), or N tensors (B, T, D); any floating type.
            lengths: valid frames, long (B,).
        """
        if self._one is not None:
            whole = isinstance(hidden, Tensor)
            hidden = [hidden[:, self._one] if whole else hidden[self._one]]
        if self.linear_before_pooling:
            pooled = self.projection(self._sum(_pooled(hidden, lengths)))
        else:
            frames = self.projection(self._sum(self._prepared(hidden)))
            pooled = masked_mean(F.relu(frames) if self.activation else frames, lengths)
        return self.output(self.dropout(pooled))

    def _sum(self, layers: Tensor) -> Tensor:
        """Return the weighted sum over axis 1, or the one layer that is there."""
        if self._one is not None:
            return layers[:, 0]
        assert layers.shape[1] == self.num_layers, f"{layers.shape[1]} layers, {self.num_layers}"
        return torch.einsum("n,bn...->b...", self.layer_weights.softmax(0), layers)

    def _prepared(self, hidden: Tensor | Sequence[Tensor]) -> Tensor:
        """Return layers (B, N, T, D) in the head's type, normalised if wanted."""
        layers = hidden if isinstance(hidden, Tensor) else torch.stack(list(hidden), 1)
        layers = layers.to(self.output.weight.dtype)
        return F.layer_norm(layers, layers.shape[-1:]) if self.normalise else layers


def _pooled(hidden: Tensor | Sequence[Tensor], lengths: Tensor) -> Tensor:
    """Return the mean over valid frames of every layer, (B, N, D)."""
    if isinstance(hidden, Tensor):
        return masked_mean(hidden, lengths)
    return torch.stack([masked_mean(layer, lengths) for layer in hidden], 1)


class EncoderWithHead(nn.Module):
    """An encoder and a head on its layers: audio in, outputs of an utterance out.

    Args:
        encoder: waveforms (B, L), lengths (B,) to an object with `last`, `hidden`, `lengths`.
        head: what reads the layers.
    """

    def __init__(self, encoder: nn.Module, head: UtteranceHead):
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Return the outputs (B, num_outputs) of waveforms (B, L) with valid samples (B,)."""
        one_layer = self.head.num_layers == 1
        encoded = self.encoder(waveforms, lengths, hidden=not one_layer)
        return self.head([encoded.last] if one_layer else encoded.hidden, encoded.lengths)

