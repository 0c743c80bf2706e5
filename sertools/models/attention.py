"""Self-attention with an additive bias that all blocks share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sertools.models.bias import Gate
from sertools.models.config import EncoderConfig
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Multi-head self-attention: one projection for query, key and value, then SDPA or softmax."""

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.num_heads, self.dropout = config.num_heads, config.attention_dropout
        self.implementation = config.attention
        self.qkv = nn.Linear(config.dim, 3 * config.dim)
        self.out = nn.Linear(config.dim, config.dim)
        self.gate = Gate(config.dim, config.num_heads) if config.bias == "gated" else None

    def forward(self, x: Tensor, bias: Tensor | None, mask: Tensor | None) -> Tensor:
        """Attend from every frame to every valid frame.

        Args:
            x: (B, T, D).
            bias: (1 or B, H, T, T) added to the logits, times this block's gate where it has one.
            mask: (B, 1, 1, T) added to the logits: 0 for valid keys, -inf for padded ones.

        Returns:
            (B, T, D).
        """
        batch, frames, dim = x.shape
        qkv = self.qkv(x).view(batch, frames, 3, self.num_heads, dim // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        bias = self._logit_bias(x, bias, mask, query.dtype)
        dropout = self.dropout if self.training else 0.0
        attend = _explicit if self._wants_explicit(bias) else F.scaled_dot_product_attention
        mixed = attend(query, key, value, attn_mask=bias, dropout_p=dropout)
        return self.out(mixed.transpose(1, 2).reshape(batch, frames, dim))

    def _logit_bias(self, x, bias, mask, dtype) -> Tensor | None:
        if bias is None:
            return None if mask is None else mask.to(dtype)
        bias = bias.to(dtype)
        if self.gate is None:
            return bias if mask is None else bias + mask.to(dtype)
        gate = self.gate(x).to(dtype)
        return gate * bias if mask is None else torch.addcmul(mask.to(dtype), gate, bias)

    def _wants_explicit(self, bias: Tensor | None) -> bool:
        """Whether softmax is spelled out: fused CPU kernels have no gradient for the bias."""
        if self.implementation != "auto":
            return self.implementation == "explicit"
        return bias is not None and bias.requires_grad and bias.device.type == "cpu"


def _explicit(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, dropout_p: float
):
    logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    if attn_mask is not None:
        logits = logits + attn_mask
    weights = logits.softmax(-1)
    return F.dropout(weights, dropout_p, training=dropout_p > 0).to(value.dtype) @ value
