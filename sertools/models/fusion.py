"""Sound and words of an utterance to its outputs: two encoders, a fusion, a head."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from sertools.errors import ConfigError
from sertools.models.heads import LayerReader, masked_mean, valid_frames
from sertools.models.text import pool_text
from torch import Tensor, nn

FUSIONS = ("concat", "gated", "cross_attention", "audio_only", "text_only")
POOLS = ("mean", "cls")


def hears(fusion: str) -> bool:
    """Say whether a fusion needs sound."""
    return fusion != "text_only"


def reads(fusion: str) -> bool:
    """Say whether a fusion needs words."""
    return fusion != "audio_only"


class AudioText(nn.Module):
    """An utterance's sound and words to K outputs (after arXiv 2305.19184).

    The abstract of the paper is all that is known of its model; fusion and head are this package's
    choices. Outputs do not depend on what an utterance is padded or batched with.

    concat            [a; t]
    gated             g a + (1 - g) t with g = sigmoid(W [a; t]); t through a linear map first
                      where its width differs from that of a
    cross_attention   frames of sound ask the tokens, residual, LayerNorm, mean over the frames

    with a the mean over the frames of sound, and t the pooled tokens. The head is dropout, linear,
    tanh, dropout, linear.

    Args:
        audio: waveforms (B, L), samples (B,) to `Encoded`; left out for text_only.
        text: tokens (B, S), lengths (B,) to (B, S, D); left out for audio_only.
        num_outputs: K.
        fusion: one of `FUSIONS`.
        layers: which layers of sound are heard, see `LayerReader`; `last` is the final output.
        pool: mean over a text's own tokens, or cls, the first one.
        inner: inner width of the head.
        dropout: share dropped before each linear map of the head, in training.
        heads: of the cross attention.

    Raises:
        ConfigError: an encoder is missing, or an option is unknown or does not fit.
    """

    def __init__(
        self,
        audio: nn.Module | None,
        text: nn.Module | None,
        num_outputs: int,
        fusion: str = "concat",
        layers: str | int | Sequence[int] = "last",
        pool: str = "mean",
        inner: int = 768,
        dropout: float = 0.1,
        heads: int = 8,
    ):
        super().__init__()
        _check(audio, text, fusion, pool, heads)
        self.fusion, self.pool = fusion, pool
        encoders = {"audio": audio if hears(fusion) else None,
                    "text": text if reads(fusion) else None}
        self.encoders = nn.ModuleDict({k: v for k, v in encoders.items() if v is not None})
        if hears(fusion):
            self.reader = LayerReader(1 if layers == "last" else audio.num_layers + 1, layers)
        widths = [encoder.dim for encoder in self.encoders.values()]
        dim = sum(widths) if fusion == "concat" else widths[0]
        if fusion == "gated":
            same = widths[0] == widths[1]
            self.match = nn.Identity() if same else nn.Linear(widths[1], dim)
            self.gate = nn.Linear(2 * dim, dim)
        if fusion == "cross_attention":
            self.attention = nn.MultiheadAttention(dim, heads, kdim=widths[1], vdim=widths[1],
                                                   batch_first=True)
            self.attention_norm = nn.LayerNorm(dim)
        self.head = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(dim, inner), nn.Tanh(), nn.Dropout(dropout),
            nn.Linear(inner, num_outputs),
        )

    def forward(
        self,
        waveforms: Tensor | None = None,
        lengths: Tensor | None = None,
        words: Tensor | None = None,
        word_lengths: Tensor | None = None,
    ) -> Tensor:
        """Return the outputs (B, K).

        Args:
            waveforms: (B, L) right-padded; not looked at for text_only.
            lengths: (B,) valid samples; None: all.
            words: long (B, S) right-padded tokens, or float (B, D), what `pool_words` returned
                (not for cross_attention); not looked at for audio_only.
            word_lengths: (B,) own tokens; None: all S.
        """
        if self.fusion == "text_only":
            return self.head(self.pool_words(words, word_lengths))
        if self.fusion == "cross_attention":
            return self.head(self._attend(waveforms, lengths, words, word_lengths))
        heard, frames = self._hear(waveforms, lengths)
        sound = self.reader.merge([masked_mean(layer, frames) for layer in heard])
        if self.fusion == "audio_only":
            return self.head(sound)
        text = self.pool_words(words, word_lengths)
        if self.fusion == "concat":
            return self.head(torch.cat([sound, text], dim=-1))
        text = self.match(text)
        share = self.gate(torch.cat([sound, text], dim=-1)).sigmoid()
        return self.head(share * sound + (1 - share) * text)

    def pool_words(self, words: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return one vector (B, D) per text of its tokens; vectors are returned as they are."""
        if words.is_floating_point():
            return words
        lengths = own_lengths(words, lengths)
        return pool_text(self.encoders["text"](words, lengths), lengths, self.pool)

    def _hear(self, waveforms: Tensor, lengths: Tensor | None) -> tuple[list[Tensor], Tensor]:
        return hear(self.encoders["audio"], self.reader, waveforms, lengths)

    def _attend(self, waveforms, lengths, words, word_lengths) -> Tensor:
        layers, count = self._hear(waveforms, lengths)
        sound = self.reader.merge(layers)
        word_lengths = own_lengths(words, word_lengths)
        text = self.encoders["text"](words, word_lengths)
        padded = ~valid_frames(word_lengths, text.shape[1])
        mixed, _ = self.attention(sound, text, text, key_padding_mask=padded, need_weights=False)
        return masked_mean(self.attention_norm(sound + mixed), count)


def hear(
    encoder: nn.Module, reader: LayerReader, waveforms: Tensor, lengths: Tensor | None
) -> tuple[list[Tensor], Tensor]:
    """Return the layers (B, T, D) that a reader reads of waveforms, and their valid frames (B,)."""
    last = reader.num_layers == 1
    encoded = encoder(waveforms, lengths, hidden=not last)
    layers = [encoded.last] if last else reader.read(encoded.hidden)
    return layers, own_lengths(layers[0], encoded.lengths)


def own_lengths(values: Tensor, lengths: Tensor | None) -> Tensor:
    """Return lengths (B,) on the device of (B, T, ...) values; None stands for all T."""
    if lengths is None:
        return torch.full((len(values),), values.shape[1], device=values.device)
    return lengths.to(values.device)


def _check(audio, text, fusion: str, pool: str, heads: int) -> None:
    problems = [f"{name} is {value!r}: use {', '.join(known)}"
                for name, value, known in (("fusion", fusion, FUSIONS), ("pool", pool, POOLS))
                if value not in known]
    if hears(fusion) and audio is None:
        problems.append(f"fusion is {fusion}, but there is no audio encoder")
    if reads(fusion) and text is None:
        problems.append(f"fusion is {fusion}, but there is no text encoder")
    if fusion == "cross_attention" and audio is not None and (heads < 1 or audio.dim % heads):
        problems.append(f"heads is {heads}: it must divide the width of sound, {audio.dim}")
    if problems:
        raise ConfigError("the model cannot be built as configured", problems)


def without_layerdrop(encoder: nn.Module) -> nn.Module:
    """Turn the encoder's layer drop off: a weighted sum needs the same layers in every pass."""
    for module in encoder.modules():
        config = getattr(module, "config", None)
        if getattr(config, "layerdrop", 0) and dataclasses.is_dataclass(config):
            module.config = dataclasses.replace(config, layerdrop=0.0)
        elif getattr(config, "layerdrop", 0):
            config.layerdrop = 0.0
    return encoder


def parameter_account(model: nn.Module) -> dict[str, int]:
    """Return the number of all parameters, and of those that are trained."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return {"total": sum(size for size, _ in sizes),
            "trainable": sum(size for size, trained in sizes if trained)}
