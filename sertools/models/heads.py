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


class LayerReader(nn.Module):
    """What a head hears: a learned weighted sum of all layers, or the plain mean of some.

    Args:
        num_layers: how many layers `forward` gets (an encoder of N blocks gives N + 1).
        layers: `weighted_sum`, `last`, the index of one layer (0 is the input of block 1, -1 the
            last layer), or a list of those, whose plain mean is taken.

    Raises:
        ConfigError: a layer that does not exist.
    """

    def __init__(self, num_layers: int, layers: str | int | Sequence[int]):
        super().__init__()
        self.num_layers, self.layers = num_layers, layers
        self._chosen = None if layers == "weighted_sum" else _depths(layers, num_layers)
        if self._chosen is None:
            self.layer_weights = nn.Parameter(torch.zeros(num_layers))

    def read(self, hidden: Tensor | Sequence[Tensor]) -> list[Tensor]:
        """Return those tensors (B, T, D) that matter, of (B, N, T, D) or N tensors (B, T, D)."""
        layers = list(hidden.unbind(1)) if isinstance(hidden, Tensor) else list(hidden)
        return layers if self._chosen is None else [layers[depth] for depth in self._chosen]

    def merge(self, layers: list[Tensor]) -> Tensor:
        """Return the weighted sum of all layers, or the mean of those that were chosen."""
        if self._chosen is not None:
            return layers[0] if len(layers) == 1 else torch.stack(layers).mean(0)
        assert len(layers) == self.num_layers, f"{len(layers)} layers, {self.num_layers}"
        return torch.einsum("n,n...->...", self.layer_weights.softmax(0), torch.stack(layers))


class UtteranceHead(LayerReader):
    """Weigh the layers, project every frame, average the valid frames, map to the outputs.

    This is the emotion classifier of SUPERB (Yang et al. 2021, Interspeech, section 3): a learned
    softmax over layers, a linear projection, mean pooling and a linear layer. Without an
    activation all steps before the average are linear, so the average is taken first: the same
    result for a fraction of the work.

    Args:
        num_layers, layers: what it hears, see `LayerReader`.
        dim: width D of a frame.
        num_outputs: classes, or affect dimensions.
        projection: width of the projection; None for none.
        activation: `relu` of every projected frame, `pooled_relu` of their average, None for none.
        dropout: share of the pooled values dropped in training.
        normalise: normalise every frame of every layer (no learned scale) before the sum.
        padding: `fixed`, or `released`: the projection's bias counts once per frame of the batch,
            padded ones too, while the sum is divided by the valid ones. So does the code released
            with Vesper (Chen et al. 2024, arXiv 2307.10757); only to reproduce its results.

    Raises:
        ConfigError: an option that is unknown, or a layer that does not exist.
    """

    def __init__(
        self,
        num_layers: int,
        dim: int,
        num_outputs: int,
        layers: str | int | Sequence[int] = "weighted_sum",
        projection: int | None = 256,
        activation: str | None = None,
        dropout: float = 0.0,
        normalise: bool = False,
        padding: str = "fixed",
    ):
        super().__init__(num_layers, layers)
        if activation not in (None, "relu", "pooled_relu"):
            raise ConfigError(f"activation is {activation!r}",
                              remedy="use relu, pooled_relu or null")
        if projection is not None and (not isinstance(projection, int) or projection < 1):
            raise ConfigError(f"projection is {projection!r}",
                              remedy="give a width of 1 or more, or null for none")
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout is {dropout!r}", remedy="give 0 or more, less than 1")
        linear = activation != "relu" and not normalise
        if padding not in ("fixed", "released") or not (linear or padding == "fixed"):
            raise ConfigError(f"padding is {padding!r}, activation {activation}, normalise "
                              f"{normalise}", remedy="use padding fixed; released is for a head "
                              "without activation and normalisation")
        self.activation, self.normalise, self.padding = activation, normalise, padding
        self.projection = nn.Linear(dim, projection) if projection else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(projection or dim, num_outputs)

    @property
    def linear_before_pooling(self) -> bool:
        """Say whether pooled frames may be given in place of frames, with the same result."""
        return self._linear and self.padding == "fixed"

    @property
    def _linear(self) -> bool:
        return self.activation != "relu" and not self.normalise

    def forward(self, hidden: Tensor | Sequence[Tensor], lengths: Tensor) -> Tensor:
        """Return the outputs (B, num_outputs), float32 outside autocast.

        Args:
            hidden: (B, N, T, D), or N tensors (B, T, D); any floating type.
            lengths: valid frames, long (B,).
        """
        layers = self.read(hidden)
        if self._linear:
            pooled = self.projection(self.merge([masked_mean(x, lengths) for x in layers]))
            if self.padding == "released" and isinstance(self.projection, nn.Linear):
                surplus = layers[0].shape[1] / lengths.clamp(min=1) - 1
                pooled = pooled + surplus[:, None] * self.projection.bias
        else:
            pooled = self._frame_by_frame(layers, lengths)
        if self.activation == "pooled_relu":
            pooled = F.relu(pooled)
        return self.output(self.dropout(pooled))

    def _frame_by_frame(self, layers: list[Tensor], lengths: Tensor) -> Tensor:
        """Project every frame, then average; a CPU leaves out the padding, half of the work."""
        if layers[0].device.type != "cpu":  # to count the frames, a GPU would have to be waited for
            frames = self._projected(layers)
            return masked_mean(frames, lengths)
        mask = valid_frames(lengths, layers[0].shape[1])
        frames = self._projected([layer[mask] for layer in layers])
        utterance = mask.nonzero()[:, 0]
        total = frames.new_zeros(len(mask), frames.shape[-1], dtype=torch.float32)
        return total.index_add(0, utterance, frames.float()) / lengths.clamp(min=1)[:, None]

    def _projected(self, layers: list[Tensor]) -> Tensor:
        """Return projected frames (..., D) of layers (..., D), normalised if wanted."""
        layers = [layer.to(self.output.weight.dtype) for layer in layers]
        if self.normalise:
            layers = [F.layer_norm(layer, layer.shape[-1:]) for layer in layers]
        frames = self.projection(self.merge(layers))
        return F.relu(frames) if self.activation == "relu" else frames


def _depths(layers: str | int | Sequence[int], num_layers: int) -> list[int]:
    """Return the depths to take the mean of.

    Raises:
        ConfigError: they are none, or do not exist.
    """
    listed = not isinstance(layers, str | int)
    depths = [-1] if layers == "last" else list(layers) if listed else [layers]
    wrong = [depth for depth in depths
             if isinstance(depth, bool) or not isinstance(depth, int)
             or not -num_layers <= depth < num_layers]
    if wrong or not depths:
        raise ConfigError(
            f"layers is {layers!r}", remedy=f"use weighted_sum, last or 0 to {num_layers - 1} "
            f"(or from the end, -1 to {-num_layers}), one of them or a list"
        )
    return depths


class EncoderWithHead(nn.Module):
    """An encoder and a head on its layers: audio in, outputs of an utterance out.

    Args:
        encoder: waveforms (B, L), lengths (B,) to an object with `last`, `hidden`, `lengths`.
        head: what reads the layers.
    """

    def __init__(self, encoder: nn.Module, head: LayerReader):
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the outputs (B, num_outputs) of waveforms (B, L) with valid samples (B,).

        Without `lengths` all samples are valid.
        """
        one_layer = self.head.num_layers == 1
        encoded = self.encoder(waveforms, lengths, hidden=not one_layer)
        return self.head([encoded.last] if one_layer else encoded.hidden, encoded.lengths)

