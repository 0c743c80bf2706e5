"""Additive attention biases: one value per head and distance, made once per forward pass."""

from __future__ import annotations

import math

import torch
from sertools.models.config import EncoderConfig
from torch import Tensor, nn


class GatedRelativeBias(nn.Module):
    """Learned bias per bucket of distances (WavLM, arXiv 2110.13900, section 3.2)."""

    def __init__(self, num_heads: int, num_buckets: int, max_distance: int):
        super().__init__()
        self.table = nn.Embedding(num_buckets, num_heads)
        self.max_distance = max_distance

    def buckets(self, distances: Tensor) -> Tensor:
        """Return the bucket of each signed distance key - query, both long tensors.

        Half of the buckets serve each direction: a quarter exact, the rest logarithmic.
        """
        one_way = self.table.num_embeddings // 2
        exact = one_way // 2
        far = distances.abs()
        logarithm = torch.log(far.float() / exact) / math.log(self.max_distance / exact)
        coarse = (exact + logarithm.clamp(min=0) * (one_way - exact)).long().clamp(max=one_way - 1)
        return (distances > 0) * one_way + torch.where(far < exact, far, coarse)

    def forward(self, distances: Tensor) -> Tensor:
        """Return (H, N) biases for (N,) distances."""
        return self.table(self.buckets(distances)).t()


class Gate(nn.Module):
    """Per-block, per-query gate on the relative bias, computed from the input of the attention.

    gate = a (b scale - 1) + 2 with a, b the sigmoids of two linear maps of the head's slice;
    each map is the sum of four, as in the released WavLM.
    """

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.linear = nn.Linear(dim // num_heads, 8)
        self.scale = nn.Parameter(torch.ones(1, num_heads, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, H, T, 1) from (B, T, D)."""
        batch, frames, _ = x.shape
        weight = self.linear.weight.view(2, 4, -1).sum(1)
        heads = x.view(batch, frames, self.scale.shape[1], -1)
        logits = nn.functional.linear(heads, weight, self.linear.bias.view(2, 4).sum(1))
        a, b = logits.sigmoid().permute(0, 2, 1, 3).chunk(2, dim=-1)
        return a * (b * self.scale - 1.0) + 2.0


class Alibi(nn.Module):
    """Symmetric ALiBi: -|i - j| slope_h times a learned scale per head (data2vec 2.0)."""

    def __init__(self, num_heads: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(num_heads))
        slopes = torch.tensor(alibi_slopes(num_heads), device="cpu")
        self.register_buffer("slopes", slopes, persistent=False)

    def forward(self, distances: Tensor) -> Tensor:
        """Return (H, N) biases for (N,) distances."""
        slopes = self.slopes * self.scale.clamp(min=0)
        return -slopes[:, None] * distances.abs()[None, :]


def alibi_slopes(num_heads: int) -> list[float]:
    """Return the slope of each head: a geometric series for powers of two, else interleaved."""
    power = 2 ** math.floor(math.log2(num_heads))
    slopes = [2 ** (-8 * (head + 1) / power) for head in range(power)]
    if power < num_heads:
        slopes += alibi_slopes(2 * power)[0::2][: num_heads - power]
    return slopes


class AttentionBias(nn.Module):
    """Turn biases per distance into biases per pair of positions."""

    def __init__(self, config: EncoderConfig):
        super().__init__()
        if config.bias == "gated":
            self.by_distance = GatedRelativeBias(
                config.num_heads, config.num_buckets, config.max_distance
            )
        else:
            self.by_distance = Alibi(config.num_heads)
        self.extra_tokens = config.extra_tokens

    def forward(self, frames: int, positions: Tensor | None = None) -> Tensor:
        """Return the bias of every query (row) and key (column).

        Args:
            frames: number T of frames, or one more than the greatest of `positions`.
            positions: (B, T) original indices of frames when some were left out, else None.

        Returns:
            (1 or B, H, K + T, K + T): zero for the K extra tokens in front.
        """
        parameter = next(self.by_distance.parameters())
        distances = torch.arange(1 - frames, frames, device=parameter.device)
        vector = self.by_distance(distances)
        if positions is None:
            # Row i reads vector[T-1-i : 2T-1-i]: the windows of the vector, last row first.
            bias = vector.unfold(1, frames, 1).flip(1).unsqueeze(0)
        else:
            pairs = positions[:, None, :] - positions[:, :, None] + (frames - 1)
            bias = vector[:, pairs].transpose(0, 1)
        if self.extra_tokens:
            bias = nn.functional.pad(bias, (self.extra_tokens, 0, self.extra_tokens, 0))
        return bias
