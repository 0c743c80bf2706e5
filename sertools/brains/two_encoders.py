"""The encoders of sound and of text that one model has, and the tokeniser between."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from sertools.brains.distributed import Ranks
from sertools.brains.inputs import sourced
from sertools.brains.randomness import derive
from sertools.brains.work import FoldWork
from sertools.data.tokens import (
    SentencePieceTokeniser,
    Tokeniser,
    pad_tokens,
    train_sentencepiece,
    transformers_tokeniser,
)
from sertools.errors import ConfigError
from sertools.models.encoder import SpeechEncoder
from sertools.models.fusion import without_layerdrop
from torch import Tensor, nn

FREEZE = ("cnn", "audio", "embeddings", "text")


def odd_encoders(given: Mapping[str, Any]) -> list[str]:
    """Name what of `audio`, `text`, `freeze` and `tokeniser` of a trainer cannot be meant."""
    problems = [f"{name} is {given[name]!r}: give a `!name:` of what builds the encoder"
                for name in ("audio", "text")
                if given[name] is not None and not callable(given[name])]
    freeze, tokeniser = given["freeze"], given["tokeniser"]
    if not isinstance(freeze, list | tuple) or any(each not in FREEZE for each in freeze):
        problems.append(f"freeze is {freeze!r}: list any of {', '.join(FREEZE)}, or none")
    if not (tokeniser is None or isinstance(tokeniser, str | int)) or isinstance(tokeniser, bool):
        problems.append(f"tokeniser is {tokeniser!r}: give a source, or the size of a "
                        "SentencePiece vocabulary")
    return problems


def audio_encoder(
    make: Callable[..., nn.Module], source: str | None, freeze: Sequence[str], sample_rate: int
) -> nn.Module:
    """Return an encoder of sound without layer drop, frozen as wanted.

    Args:
        make: a `!name:` partial; without `source` it takes the one given here.
        source: what was pretrained for the unit, if anything.
        freeze: any of `FREEZE`.
        sample_rate: of the audio, in Hz.

    Raises:
        ConfigError: there is nothing to load, or it does not fit.
    """
    make = sourced(make, source)
    _refuse(make, ("trainable", "freeze_frontend"), "audio")
    own = {"trainable": "audio" not in freeze, "freeze_frontend": "cnn" in freeze}
    encoder = make(**_known(make, own))
    rate = getattr(getattr(encoder, "config", encoder), "sample_rate", None)
    if rate not in (None, sample_rate):
        raise ConfigError(
            f"the encoder hears {rate} samples per second, the audio has {sample_rate}",
            remedy=f"set sample_rate: {rate} in the trainer")
    if isinstance(encoder, SpeechEncoder):
        if "audio" in freeze:
            encoder.requires_grad_(False)
        if "cnn" in freeze and encoder.config.frontend != "conv":
            raise ConfigError("freeze names cnn, but the audio encoder has no convolutions on "
                              "the waveform", remedy="leave cnn out of freeze")
        if "cnn" in freeze:
            encoder.frontend.layers.requires_grad_(False)
    return without_layerdrop(encoder)


def text_encoder(
    make: Callable[..., nn.Module], freeze: Sequence[str], tokeniser: Tokeniser
) -> nn.Module:
    """Return an encoder of texts that reads what the tokeniser gives, frozen as wanted.

    Raises:
        ConfigError: the two do not go together, or settings are given that are not its own.
    """
    _refuse(make, ("freeze", "vocabulary", "max_tokens", "padding"), "text")
    how = "all" if "text" in freeze else "embeddings" if "embeddings" in freeze else "none"
    own = {"freeze": how, "vocabulary": tokeniser.vocabulary,
           "max_tokens": tokeniser.max_tokens, "padding": tokeniser.padding}
    known = _known(make, own)
    text = make(**known)
    if "freeze" not in known and how == "all":
        text.requires_grad_(False)
        text.trainable = False
    elif "freeze" not in known and how == "embeddings":
        text.embedding.requires_grad_(False)
    text.check(tokeniser.vocabulary, tokeniser.max_tokens)
    return text


def tokeniser_of(
    wanted: str | int | None, text: Callable[..., nn.Module], max_tokens: int,
    texts: Callable[[], Sequence[str | None]], work: FoldWork, ranks: Ranks,
) -> Tokeniser:
    """Return the tokeniser of the text encoder's source, of another one, or one learned here.

    Args:
        wanted: None, a source, or the size of a SentencePiece vocabulary.
        text: what builds the text encoder.
        max_tokens: longest text.
        texts: gives the texts that a vocabulary is learned from.
        work: the unit, in whose folder a learned one is kept.
        ranks: the processes of this training; call it on all.

    Raises:
        ConfigError: there is none.
    """
    if not isinstance(wanted, int):
        source = wanted or getattr(text, "keywords", {}).get("source")
        if source is None:
            raise ConfigError("trainer.tokeniser is missing", remedy="name a text encoder whose"
                              " tokeniser is taken, or the size of a SentencePiece vocabulary")
        return transformers_tokeniser(source, max_tokens)
    learned = sorted(text or "" for text in texts())
    path = Path(work.folder) / f"tokeniser-{derive('sentencepiece', wanted, *learned):016x}.model"
    if not ranks.share(path.is_file()):
        path.parent.mkdir(parents=True, exist_ok=True)
        ranks.attempt(functools.partial(
            train_sentencepiece, learned, wanted, path, work.say) if ranks.main else None)
    return SentencePieceTokeniser(path, max_tokens)


@torch.no_grad()
def text_vectors(
    pool: Callable[[Tensor, Tensor], Tensor], words: Mapping[str, Sequence[int]], padding: int,
    device: str, batch: int = 64,
) -> dict[str, Tensor]:
    """Return one vector (D,) per text on the CPU, computed in batches of texts of like length.

    Args:
        pool: makes (B, D) of tokens (B, S) and lengths (B,) on `device`.
        words: tokens by name of the text.
        padding: token to pad with.
        device: where this happens.
        batch: texts per batch.
    """
    order = sorted(words, key=lambda name: len(words[name]))
    vectors: dict[str, Tensor] = {}
    for start in range(0, len(order), batch):
        names = order[start : start + batch]
        tokens, lengths = pad_tokens([words[name] for name in names], padding)
        pooled = pool(tokens.to(device), lengths.to(device))
        vectors |= dict(zip(names, pooled.cpu(), strict=True))
    return vectors


def _known(make: Callable, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those options that a function or partial takes."""
    takes = inspect.signature(getattr(make, "func", make)).parameters
    return {name: value for name, value in options.items() if name in takes}


def _refuse(make: Callable, names: Sequence[str], what: str) -> None:
    """Refuse settings of an encoder that the trainer makes."""
    twice = [f"trainer.{what}.{name}" for name in names if name in getattr(make, "keywords", {})]
    if twice:
        raise ConfigError("the trainer decides what its encoders share", twice,
                          "remove them; trainer.freeze says what is frozen, trainer.tokeniser and "
                          "trainer.max_tokens what texts are made of")
