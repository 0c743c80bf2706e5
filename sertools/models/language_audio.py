"""Sound and sentences in one space: two encoders, two heads, two learned scales."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from sertools.errors import ConfigError
from sertools.models.fusion import hear, own_lengths, without_layerdrop
from sertools.models.heads import LayerReader, masked_mean, valid_frames
from sertools.models.precision import full_precision
from sertools.models.text import pool_text
from torch import Tensor, nn

POOLS = ("mean", "attentive")
TEXT_POOLS = ("cls", "mean")
FIRST_SCALE, LARGEST_SCALE = 1 / 0.07, 100.0
"""Of a cosine; the smallest is 1."""


class AttentivePool(nn.Module):
    """Average the valid frames with learned weights, softmax over time of w^T tanh(W h + b).

    Args:
        dim: width D of a frame.
        inner: width of W h.
    """

    def __init__(self, dim: int, inner: int = 128):
        super().__init__()
        self.score = nn.Sequential(nn.Linear(dim, inner), nn.Tanh(), nn.Linear(inner, 1))

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (B, D), float32, of frames (B, T, D) with valid frames (B,), 1 or more."""
        valid = valid_frames(lengths, frames.shape[1])
        frames = frames.masked_fill(~valid[..., None], 0)
        scores = self.score(frames)[..., 0].float().masked_fill(~valid, -math.inf)
        return (scores.softmax(-1)[..., None] * frames.float()).sum(1)


class LanguageAudio(nn.Module):
    """Unit vectors of utterances and of sentences that name what is heard (arXiv 2306.07848).

    Frames or tokens are pooled and go through Linear(D, dim), ReLU, Linear(dim, dim) and an L2
    norm. The cosine of an utterance and a sentence times exp(s_a) is the utterance's logit for it,
    times exp(s_t) the sentence's for the utterance. Sizes are those of a public transcription; the
    authors released no code. Vectors do not depend on what an item is padded or batched with. Layer
    drop is turned off.

    Args:
        audio: waveforms (B, L), samples (B,) to `Encoded`; None: what a frozen one returned is the
            input.
        text: a `TextEncoder`.
        dim: width of the common space.
        pool: of frames: mean, or attentive (`AttentivePool`; not without an audio encoder).
        layers: which layers of sound are heard, see `LayerReader`; `last` is the final output.
        text_pool: cls, the state of the first token, or the mean over a text's own tokens.
        audio_dim: width of frames or vectors where there is no audio encoder.
        audio_layers: how many layers they have, if not 1.
        separate: have scales of their own for an attribute's logits.

    Raises:
        ConfigError: an encoder is missing, or an option is unknown or does not fit.
    """

    def __init__(
        self,
        audio: nn.Module | None,
        text: nn.Module,
        dim: int = 512,
        pool: str = "mean",
        layers: str | int | Sequence[int] = "last",
        text_pool: str = "cls",
        audio_dim: int | None = None,
        separate: bool = False,
        audio_layers: int = 1,
    ):
        super().__init__()
        _check(audio, text, dim, pool, text_pool, audio_dim)
        self.text_pool = text_pool
        encoders = {"audio": audio, "text": text}
        self.encoders = nn.ModuleDict(
            {name: without_layerdrop(each) for name, each in encoders.items() if each is not None})
        if audio is not None:
            audio_dim, audio_layers = audio.dim, audio.num_layers + 1
        self.reader = LayerReader(1 if layers == "last" else audio_layers, layers)
        self.attention = AttentivePool(audio_dim) if pool == "attentive" else None
        self.audio_head, self.text_head = _head(audio_dim, dim), _head(text.dim, dim)
        self.log_scales = _log_scales()
        if separate:
            self.attribute_log_scales = _log_scales()

    def forward(
        self,
        inputs: Tensor,
        lengths: Tensor | None = None,
        tokens: Tensor | None = None,
        token_lengths: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return `embed_audio` and `embed_text` of one batch, None for texts that are not given."""
        text = None if tokens is None else self.embed_text(tokens, token_lengths)
        return self.embed_audio(inputs, lengths), text

    def embed_audio(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return unit vectors (B, dim), float32.

        Args:
            inputs: waveforms (B, L), right-padded; without an audio encoder layers of frames
                (B, N, T, D), or vectors (B, D) that are not pooled any more.
            lengths: (B,) valid samples or frames, None: all; not looked at for vectors.
        """
        return _unit(self.audio_head(self.pool_audio(inputs, lengths)))

    def pool_audio(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the vectors (B, D), float32, that the head gets; see `embed_audio`."""
        if "audio" in self.encoders:
            layers, frames = hear(self.encoders["audio"], self.reader, inputs, lengths)
        elif inputs.dim() == 2:
            return inputs.float()
        else:
            layers = self.reader.read(inputs)
            frames = own_lengths(layers[0], lengths)
        if self.attention is not None:
            return self.attention(self.reader.merge(layers), frames)
        return self.reader.merge([masked_mean(layer, frames) for layer in layers])

    def embed_text(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return unit vectors (K, dim), float32.

        Args:
            tokens: long (K, S), right-padded, or float (K, D), what `pool_tokens` returned.
            lengths: (K,) own tokens; None: all S.
        """
        pooled = tokens if tokens.is_floating_point() else self.pool_tokens(tokens, lengths)
        return _unit(self.text_head(pooled))

    def pool_tokens(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return one vector (K, D), float32, per text of its tokens (K, S)."""
        lengths = own_lengths(tokens, lengths)
        return pool_text(self.encoders["text"](tokens, lengths), lengths, self.text_pool)

    def scales(self) -> Tensor:
        """Return what the cosines are multiplied by, (2,): rows of utterances, of sentences."""
        return _exp(self.log_scales)

    def attribute_scales(self) -> Tensor:
        """Return the scales (2,) of an attribute's logits, of a model with `separate`."""
        return _exp(self.attribute_log_scales)

    @torch.no_grad()
    def clamp_scales(self) -> None:
        """Bring the scales back to 1 to 100, in place; to be called after every update.

        A scale outside would get no gradient from `scales`, and never come back.
        """
        self.log_scales.clamp_(0, math.log(LARGEST_SCALE))
        if hasattr(self, "attribute_log_scales"):
            self.attribute_log_scales.clamp_(0, math.log(LARGEST_SCALE))

    def logits(self, audio: Tensor, class_embeddings: Tensor) -> Tensor:
        """Return exp(s_a) times the cosine of utterances (B, dim) and classes (K, dim): (B, K)."""
        with full_precision(audio.device):
            return self.scales()[0] * (audio.float() @ class_embeddings.float().T)


def _head(width: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, dim), nn.ReLU(), nn.Linear(dim, dim))


def _log_scales() -> nn.Parameter:
    return nn.Parameter(torch.full((2,), math.log(FIRST_SCALE)))


def _exp(log_scales: Tensor) -> Tensor:
    return log_scales.float().clamp(0, math.log(LARGEST_SCALE)).exp()


def _unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors.float(), dim=-1)


def _check(audio, text, dim, pool, text_pool, audio_dim) -> None:
    problems = [f"{name} is {value!r}: use {', '.join(known)}"
                for name, value, known in (("pool", pool, POOLS),
                                           ("text_pool", text_pool, TEXT_POOLS))
                if value not in known]
    if text is None:
        problems.append("there is no text encoder")
    if audio is None and audio_dim is None:
        problems.append("there is no audio encoder: audio_dim must say how wide its frames are")
    if audio is not None and audio_dim not in (None, audio.dim):
        problems.append(f"audio_dim is {audio_dim}, but the audio encoder's width is {audio.dim}")
    if audio is None and pool == "attentive":
        problems.append("pool is attentive, but there is no audio encoder: use mean")
    if dim < 1:
        problems.append(f"dim is {dim}: use 1 or more")
    if problems:
        raise ConfigError("the model cannot be built as configured", problems)
