"""From waveform to frames: the seven convolutions of wav2vec 2.0, in (batch, time, channel).

Where no gradient is wanted on a CPU, one utterance is computed after the other, a few seconds at a
time: buffers stay in the caches and in the heap, and padding costs nothing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sertools.models.config import EncoderConfig
from sertools.models.precision import full_precision
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

CHUNK = 100
"""Frames that the CPU computes at a time: 2 s, a few megabytes of intermediate results."""


class Windows(torch.autograd.Function):
    """Overlapping windows as a strided view, with a backward pass that adds whole slices.

    PyTorch's own backward of `as_strided` adds element by element through an index of all of them.
    """

    @staticmethod
    def forward(ctx, x: Tensor, kernel: int, stride: int) -> Tensor:
        """Return (..., T', kernel * C) from contiguous (..., T, C)."""
        ctx.shape, ctx.kernel, ctx.stride = x.shape, kernel, stride
        *batch, frames, channels = x.shape
        count = (frames - kernel) // stride + 1
        return x.as_strided(
            (*batch, count, kernel * channels),
            (*x.stride()[:-2], stride * channels, 1),
            x.storage_offset(),
        )

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        """Add up the windows' gradients, `stride` frames of every window at a time."""
        *batch, frames, channels = ctx.shape
        count, step = gradient.shape[-2], ctx.stride * channels
        rounds = -(-ctx.kernel // ctx.stride)
        total = gradient.new_zeros(*batch, count + rounds, step)
        for turn in range(rounds):
            part = gradient[..., turn * step : (turn + 1) * step]
            total[..., turn : turn + count, : part.shape[-1]] += part
        total = total.flatten(-2)[..., : frames * channels]
        total = F.pad(total, (0, frames * channels - total.shape[-1]))
        return total.view(ctx.shape), None, None


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
        """Return the (..., T', kernel * C) windows of (..., T, C), a view where x is contiguous."""
        return Windows.apply(x.contiguous(), self.kernel, self.stride)

    def linear_map(self, waveforms: Tensor, samples: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return weights (dim, kernel * C) and biases (dim) that act on windows.

        Normalisation over time may make them depend on the utterances: then they are
        (B, dim, kernel * C) and (B, dim).
        """
        return self.weight.flatten(1), self.bias

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Map (B, T, C) or (T, C) to (B, T', dim) or (T', dim) with what `linear_map` returned."""
        windows = self.windows(x)
        if weight.dim() == 2:
            y = F.linear(windows, weight, bias)
        else:
            y = torch.baddbmm(bias[:, None].to(windows.dtype), windows, weight.transpose(1, 2))
        return F.gelu(y if self.norm is None else self.norm(y))


class GroupNormConvLayer(ConvLayer):
    """The first convolution of Base models: normalised per channel over the utterance's time.

    The statistics of a linear map follow from mean and covariance of its windows, so they are
    taken from those, over valid frames only, and folded into the weights of each utterance:
    padding changes nothing and no large tensor is normalised. A bias of the convolution has no
    effect, since the normalisation takes it away.
    """

    def __init__(self, dim: int, kernel: int, stride: int, bias: bool):
        super().__init__(1, dim, kernel, stride, bias, norm=False)
        self.group_norm = nn.GroupNorm(dim, dim)

    def linear_map(self, waveforms: Tensor, samples: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return weights (B, dim, kernel) and biases (B, dim) with the normalisation inside."""
        with full_precision(waveforms.device):
            windows, weight = self.windows(waveforms.float()), self.weight.flatten(1).float()
            count = windows.shape[1]
            if samples is None:
                share = windows.new_full((1, count, 1), 1 / count)
            else:
                valid = ((samples - self.kernel) // self.stride + 1)[:, None, None]
                steps = torch.arange(count, device=windows.device)[None, :, None]
                share = (steps < valid) / valid
            mean = (windows * share).sum(1)
            centred = windows - mean[:, None]
            covariance = (centred * share).transpose(1, 2) @ centred
            variance = ((weight @ covariance) * weight).sum(-1)
            scale = self.group_norm.weight * (variance + self.group_norm.eps).rsqrt()
            return scale[..., None] * weight, self.group_norm.bias - scale * (mean @ weight.t())


class ConvFrontEnd(nn.Module):
    """Waveform -> convolutions -> LayerNorm, if any -> Linear to the width of the blocks."""

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.config = config
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
        normalised = config.projection_norm
        self.norm = nn.LayerNorm(dim, eps=config.norm_eps) if normalised else None
        self.linear = nn.Linear(dim, config.dim)

    def forward(self, waveforms: Tensor, samples: Tensor | None) -> Tensor:
        """Map (B, L) waveforms with (B,) valid samples (None: all) to (B, T, D) frames."""
        return self.project(self.convolve(waveforms, samples))

    def convolve(self, waveforms: Tensor, samples: Tensor | None) -> Tensor:
        """Map (B, L) waveforms to the convolutions' (B, T, conv_dim), padded frames undefined."""
        maps = [layer.linear_map(waveforms.unsqueeze(-1), samples) for layer in self.layers]
        needs_gradient = torch.is_grad_enabled() and any(
            tensor.requires_grad for tensor in (waveforms, *self.layers.parameters())
        )
        if needs_gradient or waveforms.device.type != "cpu":
            return self._convolve(waveforms, maps)
        return self._by_chunks(waveforms, samples, maps)

    def project(self, frames: Tensor) -> Tensor:
        """Map (B, T, conv_dim) of `convolve` to (B, T, D)."""
        return self.linear(frames if self.norm is None else self.norm(frames))

    def _convolve(self, waveforms: Tensor, maps: list) -> Tensor:
        """Map (B, L) or (L,) to (B, T, conv_dim) or (T, conv_dim)."""
        x = waveforms.unsqueeze(-1)
        for layer, (weight, bias) in zip(self.layers, maps, strict=True):
            x = layer(x, weight, bias)
        return x

    def _by_chunks(self, waveforms: Tensor, samples: Tensor | None, maps: list) -> Tensor:
        """Do as `_convolve`, but leave padded frames zero."""
        precision = waveforms.dtype
        if torch.is_autocast_enabled("cpu"):
            precision = torch.get_autocast_dtype("cpu")
        maps = [[None if t is None else t.to(precision) for t in one] for one in maps]
        frames = [self.config.frames(waveforms.shape[1])] * len(waveforms)
        if samples is not None:
            frames = self.config.frames(samples).tolist()
        shape = (len(waveforms), self.config.frames(waveforms.shape[1]), self.config.conv_dim)
        y = torch.zeros(shape, dtype=precision)
        field, hop = self.config.receptive_field, self.config.hop
        waveforms = waveforms.to(precision)
        for row, total in enumerate(frames):
            own = [self._of_row(maps[0], row), *maps[1:]]
            for start in range(0, total, CHUNK):
                end = min(start + CHUNK, total)
                piece = waveforms[row, start * hop : (end - 1) * hop + field]
                y[row, start:end] = self._convolve(piece, own)
        return y

    @staticmethod
    def _of_row(linear_map: list, row: int) -> list:
        """Pick the utterance's own map where they differ."""
        weight, bias = linear_map
        return [weight, bias] if weight.dim() == 2 else [weight[row], bias[row]]
