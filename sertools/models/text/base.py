"""What every text encoder is: proof against padding, frozen if wanted."""

from __future__ import annotations

import abc
from typing import Any

import torch
from sertools.errors import ConfigError, DataError
from sertools.models.heads import masked_mean, valid_frames
from torch import Tensor, nn

POOLS = ("mean", "cls")


class TextEncoder(nn.Module, abc.ABC):
    """Tokens to frames.

    The frames of a text do not depend on what it is padded or batched with; behind a text they are
    zero. A frozen encoder has no gradients and stays in evaluation mode, whatever `train()` says.
    """

    dim: int
    """Width D of a frame."""
    vocabulary: int
    """Number of different tokens."""
    max_tokens: int
    """Longest text, special tokens included."""
    padding: int = 0
    """Token that stands behind the end of a text."""
    trainable: bool = True
    identity: dict[str, str]
    """What pretrained frames depend on, as short texts; empty where nothing was pretrained."""

    def __init__(self):
        super().__init__()
        self.identity = {}

    def train(self, mode: bool = True) -> TextEncoder:
        """Set the training mode; without effect on a frozen encoder."""
        return super().train(mode and self.trainable)

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode B texts.

        Args:
            tokens: long (B, S), right-padded with anything.
            lengths: long (B,) own tokens of each text, 1 or more; None: all S.

        Returns:
            (B, S, D), zero behind the end of a text.

        Raises:
            DataError: S is more than `max_tokens`.
        """
        if tokens.shape[1] > self.max_tokens:
            raise DataError(
                f"a text has {tokens.shape[1]} tokens, the text encoder reads {self.max_tokens}.",
                remedy="set max_tokens of the tokeniser to no more than that",
            )
        if lengths is None:
            lengths = tokens.new_full((len(tokens),), tokens.shape[1])
        valid = valid_frames(lengths.to(tokens.device), tokens.shape[1])
        tokens = tokens.masked_fill(~valid, self.padding)
        with torch.set_grad_enabled(self.trainable and torch.is_grad_enabled()):
            frames = self.encode(tokens, valid)
        return frames.masked_fill(~valid[..., None], 0.0)

    @abc.abstractmethod
    def encode(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """Return (B, S, D) from (B, S) tokens of which `valid`, bool (B, S), are a text's own."""

    def check(self, vocabulary: int, max_tokens: int) -> None:
        """Compare with a tokeniser's vocabulary and longest text.

        Raises:
            ConfigError: tokens would have no vector, or no position.
        """
        problems = []
        if vocabulary > self.vocabulary:
            problems.append(
                f"the tokeniser has {vocabulary} tokens, the text encoder {self.vocabulary}"
            )
        if max_tokens > self.max_tokens:
            problems.append(
                f"max_tokens of the tokeniser is {max_tokens}, of the text encoder "
                f"{self.max_tokens}"
            )
        if problems:
            raise ConfigError(
                "The tokeniser and the text encoder do not go together.",
                problems,
                "take the tokeniser of the same model; for an own text encoder give it the "
                "tokeniser's vocabulary",
            )


def pool_text(frames: Tensor, lengths: Tensor, how: str = "mean") -> Tensor:
    """Make one vector (B, D), float32, of the frames (B, S, D) of each text.

    Args:
        frames: of a `TextEncoder`.
        lengths: long (B,) own tokens of each text.
        how: "mean" over all own tokens, the special ones included; "cls": the first one.
    """
    check_choice("pool", how, POOLS)
    return frames[:, 0].float() if how == "cls" else masked_mean(frames, lengths)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise a ConfigError where a setting is none of its choices."""
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}.", remedy=f"choose {', '.join(choices)}")
