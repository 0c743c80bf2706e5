"""What tells frames their order: convolutions over time, added to the frames."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sertools.models.config import EncoderConfig
from sertools.models.precision import full_precision
from torch import Tensor, nn


def build_position(config: EncoderConfig) -> nn.Module | None:
    """Return the module for `config.position`: (B, T, D), valid (B, T, 1) or None -> (B, T, D)."""
    if config.position == "conv":
        return ConvPosition(config.dim, config.position_kernel, config.position_groups)
    if config.position == "stack":
        return ConvStackPosition(
            config.dim, config.position_kernel, config.position_groups, config.position_depth
        )
    if config.position == "depthwise":
        return DepthwisePosition(config.dim, config.position_kernel)
    return None


def silence(x: Tensor, valid: Tensor | None) -> Tensor:
    """Zero the padded frames of (B, T, D), so that convolutions see the same as without them."""
    return x if valid is None else x.masked_fill(~valid, 0.0)


def convolve(x: Tensor, valid: Tensor | None, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """Convolve (B, T, D) over time, padded frames zeroed, and keep its T frames.

    On CPUs with AMX, bfloat16 convolutions of 2 to 12 channels per group with kernels such as 8 or
    128 return noise (oneDNN in PyTorch 2.13); from 16 channels on they are right. The narrow ones
    therefore run in single precision.
    """
    frames, kernel = silence(x, valid).transpose(1, 2), weight.shape[-1]
    if x.device.type == "cpu" and 1 < weight.shape[1] < 16:
        with full_precision(x.device):
            y = F.conv1d(frames.float(), weight, bias, padding=kernel // 2, groups=groups)
    else:
        y = F.conv1d(frames, weight, bias, padding=kernel // 2, groups=groups)
    return y[..., : x.shape[1]].transpose(1, 2)


class ConvPosition(nn.Module):
    """One wide grouped convolution with weight norm over its taps, then GELU (wav2vec 2.0).

    The weight norm stays a parametrisation (`gain`, `direction`), so that training and parameter
    counts are those of the published models.
    """

    def __init__(self, dim: int, kernel: int, groups: int):
        super().__init__()
        self.groups = groups
        self.gain = nn.Parameter(torch.empty(1, 1, kernel))
        self.direction = nn.Parameter(torch.empty(dim, dim // groups, kernel))
        self.bias = nn.Parameter(torch.zeros(dim))
        nn.init.normal_(self.direction, std=2 / (kernel * dim) ** 0.5)
        with torch.no_grad():
            self.gain.copy_(self.direction.norm(dim=(0, 1), keepdim=True))
        self._folded: tuple[tuple, Tensor] | None = None

    def weight(self) -> Tensor:
        """Return the normalised weight; kept between calls without gradients until it changes."""
        learned = self.gain.requires_grad or self.direction.requires_grad
        if torch.is_inference_mode_enabled() or (torch.is_grad_enabled() and learned):
            return self._fold()
        state = tuple(
            (id(t), t._version, t.data_ptr(), t.dtype, t.device)
            for t in (self.gain, self.direction)
        )
        if self._folded is None or self._folded[0] != state:
            self._folded = (state, self._fold())
        return self._folded[1]

    def _fold(self) -> Tensor:
        # Twelve times faster than norm(dim=(0, 1)) on a CPU: whole rows are added.
        norm = self.direction.flatten(0, 1).square().sum(0).sqrt()
        return self.direction * (self.gain / norm)

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """Return what is added to (B, T, D)."""
        return F.gelu(convolve(x, valid, self.weight(), self.bias, self.groups))


class ConvStackPosition(nn.Module):
    """Several grouped convolutions, each with LayerNorm without affine and GELU (data2vec 2.0)."""

    def __init__(self, dim: int, kernel: int, groups: int, depth: int):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=groups) for _ in range(depth)
        )

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """Return what is added to (B, T, D)."""
        for conv in self.convs:
            y = convolve(x, valid, conv.weight, conv.bias, conv.groups)
            x = F.gelu(F.layer_norm(y, y.shape[-1:]))
        return x


class DepthwisePosition(nn.Module):
    """One convolution per channel, then GELU: the cheapest on a CPU."""

    def __init__(self, dim: int, kernel: int):
        super().__init__()
        self.conv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """Return what is added to (B, T, D)."""
        return F.gelu(convolve(x, valid, self.conv.weight, self.conv.bias, self.conv.groups))
