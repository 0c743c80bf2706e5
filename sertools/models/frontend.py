"""From waveform to frames: the seven convolutions of wav2vec 2.0, in (batch, time, channel)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sertools.models.config import EncoderConfig
from torch import Tensor, nn


class ConvLayer(nn.Module):
    """One convolution over time as a single matrix product of windows and weights.

    Windows of neighbouring frames are contiguous in (batch, time, channel), so a convolution is a
    linear map of a strided view, and LayerNorm needs no transposes.
    """

    def __init__(self, channels: int, dim: int, kernel: int, stride: int, bias: bool, norm: bool):
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.weight = nn.Parameter(torch.empty(dim, kernel, channels))
        self.bias = nn.Parameter(torch.zeros(dim)) if bias else None
        self.norm = nn.LayerNorm(dim) if norm else None
        nn.init.normal_(self.weight, std=(2 / (kernel * channels)) ** 0.5)

    def windows(self, x: Tensor) -> Tensor:
        """Return the (B, T', kernel * C) windows of (B, T, C), a view where x is contiguous."""
        x = x.contiguous()
        batch, frames, channels = x.shape
        count = (frames - self.kernel) // self.stride + 1
        return x.as_strided(
            (batch, count, self.kernel * channels),
            (frames * channels, self.stride * channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, C) to (B, T', dim)."""
        y = F.linear(self.windows(x), self.weight.flatten(1), self.bias)
        return F.gelu(y if self.norm is None else self.norm(y))


class GroupNormConvLayer(ConvLayer):
    """The first convolution of Base models: normalised per channel over the utterance's time.

    The statistics of a linear map follow from mean and covariance of its windows, so they are
    taken from those, over valid frames only, and folded into the weights of each utterance:
    padding changes nothing and no large tensor is normalised.
    """

    def __init__(self, dim: int, kernel: int, stride: int, bias: bool):
        super().__init__(1, dim, kernel, stride, bias, norm=False)
        self.group_norm = nn.GroupNorm(dim, dim)

    def fold(self, windows: Tensor, samples: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return weights (B, dim, kernel) and biases (B, dim) with the normalisation inside.

        A bias of the convolution has no effect: the normalisation takes it away.
        """
        weight = self.weight.flatten(1).float()
        count = windows.shape[1]
        if samples is None:
            share = windows.new_full((1, count, 1), 1 / count)
        else:
            valid = (samples - self.kernel) // self.stride + 1
            share = torch.arange(count, device=windows.device)[None, :, None] < valid[:, None, None]
            share = share / valid[:, None, None]
        mean = (windows * share).sum(1)
        centred = windows - mean[:, None]
        covariance = (centred * share).transpose(1, 2) @ centred
        variance = ((weight @ covariance) * weight).sum(-1)
        scale = self.group_norm.weight * (variance + self.group_norm.eps).rsqrt()
        return scale[..., None] * weight, self.group_norm.bias - scale * (mean @ weight.t())

    def forward(self, x: Tensor, samples: Tensor | None = None) -> Tensor:
        """Map (B, L, 1) with (B,) valid samples to (B, T', dim)."""
        windows = self.windows(x)
        with torch.autocast(x.device.type, enabled=False):
            weight, bias = self.fold(windows.float(), samples)
        return F.gelu(torch.matmul(windows, weight.transpose(1, 2)) + bias[:, None])


class ConvFrontEnd(nn.Module):
    """Waveform -> convolutions -> LayerNorm -> Linear to the width of the blocks."""

    def __init__(self, config: EncoderConfig):
        super().__init__()
        dim, bias = config.conv_dim, config.conv_bias
        (kernel, stride), *rest = config.convs
        if config.conv_norm == "group":
            first = GroupNormConvLayer(dim, kernel, stride, bias)
        else:
            first = ConvLayer(1, dim, kernel, stride, bias, norm=True)
        layer_norm = config.conv_norm == "layer"
        self.layers = nn.ModuleList(
            [first, *(ConvLayer(dim, dim, k, s, bias, layer_norm) for k, s in rest)]
        )
        self.norm = nn.LayerNorm(dim, eps=config.norm_eps)
        self.linear = nn.Linear(dim, config.dim)

    def forward(self, waveforms: Tensor, samples: Tensor | None) -> Tensor:
        """Map (B, L) waveforms with (B,) valid samples (None: all) to (B, T, D) frames."""
        first, *rest = self.layers
        x = waveforms.unsqueeze(-1)
        x = first(x, samples) if isinstance(first, GroupNormConvLayer) else first(x)
        for layer in rest:
            x = layer(x)
        return self.linear(self.norm(x))
