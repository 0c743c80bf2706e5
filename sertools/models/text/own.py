"""An own text encoder, small enough to be trained from scratch."""

from __future__ import annotations

import math

import torch
from sertools.errors import ConfigError
from sertools.models.config import EncoderConfig
from sertools.models.encoder import Block, key_mask
from sertools.models.text.base import TextEncoder, check_choice
from torch import Tensor, nn

_STD = 0.02
"""Of fresh weights, as in BERT."""


class SmallText(TextEncoder):
    """An own text encoder, small enough to be trained from scratch; see `small_text`.

    Token and position vectors, LayerNorm, then pre-norm Transformer blocks of the speech encoder
    without an attention bias, and a final LayerNorm.
    """

    def __init__(
        self, vocabulary: int, config: EncoderConfig, position: str, max_tokens: int, padding: int
    ):
        super().__init__()
        self.config, self.dim, self.vocabulary = config, config.dim, vocabulary
        self.max_tokens, self.padding = max_tokens, padding
        self.embedding = nn.Embedding(vocabulary, config.dim)
        self.position = nn.Embedding(max_tokens, config.dim) if position == "learned" else None
        if position == "sinusoidal":
            self.register_buffer("waves", _waves(max_tokens, config.dim), persistent=False)
        self.input_norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.final_norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=_STD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def encode(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """Return (B, S, D)."""
        steps = tokens.shape[1]
        place = self.waves[:steps] if self.position is None else self.position.weight[:steps]
        x = self.dropout(self.input_norm(self.embedding(tokens) + place))
        mask = key_mask(valid[..., None], 0)
        for block in self.blocks:
            x, _ = block(x, None, mask)
        return self.final_norm(x)


def small_text(
    vocabulary: int,
    dim: int = 128,
    num_layers: int = 2,
    num_heads: int = 4,
    dropout: float = 0.1,
    ffn_dim: int | None = None,
    position: str = "learned",
    max_tokens: int = 128,
    padding: int = 0,
) -> SmallText:
    """Build a text encoder of random weights.

    Args:
        vocabulary: number of different tokens.
        dim: width of tokens and blocks.
        num_layers: number of blocks.
        num_heads: attention heads per block.
        dropout: of embeddings, attention and feed-forward networks.
        ffn_dim: inner width of the feed-forward networks; None: twice `dim`.
        position: "learned", or "sinusoidal" (Vaswani et al. 2017, section 3.5, in the size of fresh
            token vectors).
        max_tokens: longest text.
        padding: token that stands behind the end of a text.

    Raises:
        ConfigError: for sizes that do not fit.
    """
    check_choice("position", position, ("learned", "sinusoidal"))
    problems = [
        f"{name}: {value}; must be positive"
        for name, value in (("vocabulary", vocabulary), ("max_tokens", max_tokens))
        if value < 1
    ]
    if position == "sinusoidal" and dim % 2:
        problems.append(f"dim: {dim}; must be even for sinusoidal positions")
    if problems:
        raise ConfigError("The text encoder cannot be built as configured.", problems)
    config = EncoderConfig(
        position="none", block_norm="pre", dim=dim, num_layers=num_layers, num_heads=num_heads,
        ffn_dim=ffn_dim or 2 * dim, dropout=dropout, attention_dropout=dropout,
        activation_dropout=dropout,
    )  # fmt: skip
    return SmallText(vocabulary, config, position, max_tokens, padding)


def _waves(steps: int, dim: int) -> Tensor:
    rates = torch.exp(torch.arange(0, dim, 2) * (-math.log(10000.0) / dim))
    angles = torch.arange(steps)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1) * (_STD * math.sqrt(2))
