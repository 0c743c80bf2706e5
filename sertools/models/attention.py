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
        explicit = self._wants_explicit(query, bias is not None)
        # Fused CPU kernels want biases in single precision; others in that of the query.
        single = x.device.type == "cpu" and not explicit
        bias = self._logit_bias(x, bias, mask, torch.float32 if single else query.dtype)
        dropout = self.dropout if self.training else 0.0
        attend = attention_spelled_out if explicit else F.scaled_dot_product_attention
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

    def _wants_explicit(self, query: Tensor, biased: bool) -> bool:
        """Whether softmax is spelled out.

        Fused CPU kernels have no gradient for the bias, and one for the rest that is two to three
        times slower in bfloat16; without gradients they win everywhere.
        """
        if self.implementation != "auto":
            return self.implementation == "explicit"
        return (
            query.device.type == "cpu"
            and query.requires_grad
            and (biased or query.dtype != torch.float32)
        )


def attention_spelled_out(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, dropout_p: float
) -> Tensor:
    """Do what `scaled_dot_product_attention` does, (B, H, T, d) each, in single steps."""
    batch, heads, frames, width = query.shape
    flat = (batch * heads, frames, width)
    query, key, value = (
        (query * width**-0.5).reshape(flat),
        key.reshape(flat),
        value.reshape(flat),
    )
    logits = torch.bmm(query, key.transpose(1, 2)).view(batch, heads, frames, frames)
    if attn_mask is not None:
        logits = logits.add_(attn_mask)
    weights = F.dropout(logits.softmax(-1), dropout_p, training=dropout_p > 0)
    mixed = torch.bmm(weights.view(-1, frames, frames).to(value.dtype), value)
    return mixed.view(batch, heads, frames, width)
