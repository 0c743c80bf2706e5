"""What an audio-text model hears and reads: sound, tokens, and the encoders of both."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from sertools.brains.audio_text import notes_of
from sertools.brains.distributed import Ranks
from sertools.brains.inputs import sourced, unused_in
from sertools.brains.randomness import derive
from sertools.brains.work import FoldWork
from sertools.data.audio import AudioReader
from sertools.data.dataset import AudioDataset
from sertools.data.spoken import SpokenDataset
from sertools.data.tokens import (
    SentencePieceTokeniser,
    Tokeniser,
    pad_tokens,
    train_sentencepiece,
    transformers_tokeniser,
)
from sertools.data.transcripts import Transcripts
from sertools.errors import ConfigError
from sertools.models.encoder import SpeechEncoder
from sertools.models.fusion import AudioText, hears, reads, without_layerdrop
from torch import nn

FREEZE = ("cnn", "audio", "embeddings", "text")


class AudioTextInputs:
    """Utterances as `SpokenDataset`s, and the model that takes them.

    Texts become tokens once. If the text encoder is frozen as a whole and its tokens are pooled,
    each text's vector is computed once too, without dropout and in single precision.

    Args:
        work: the unit.
        ranks: the processes of this training.
        given: options of `AudioTextTrainer`.
        reader: arguments of `AudioReader`.
        device: where texts are pooled.
    """

    def __init__(
        self, work: FoldWork, ranks: Ranks, given: Mapping[str, Any], reader: Mapping[str, Any],
        device: str,
    ):
        self.work, self.ranks, self.given, self.device = work, ranks, given, device
        self.hears, self.reads = hears(given["fusion"]), reads(given["fusion"])
        if self.hears:
            self._train_reader = self._other_reader = AudioReader(**reader)
            if reader["crop"] and not given["crop_prediction"]:
                self._other_reader = AudioReader(**{**reader, "crop": None, "crop_seconds": None})
            elif reader["crop"]:
                self._other_reader = AudioReader(**{**reader, "crop": "start"})
        self._tokens: dict[str, list[int]] = {}
        self._cut: list[str] = []
        self._datasets: list[SpokenDataset] = []
        self._pooling: AudioText | None = None
        if self.reads:
            self.transcripts = Transcripts(given["transcripts"], given["transcripts_model"],
                                           given["transcripts_missing"], allow_unknown=True)
            self._read = self.transcripts.read(work.manifest, sorted(work.manifest))
            self.tokeniser = self._tokeniser()

    # Data

    def dataset(self, ids: Sequence[str], targets: Mapping | None, train: bool) -> SpokenDataset:
        """Return the utterances, cropped in training and, if that is wanted, in prediction."""
        work, audio = self.work, None
        if self.hears:
            reader = self._train_reader if train else self._other_reader
            audio = AudioDataset(work.manifest, ids, work.data_folder, reader, None, work.seed)
        records = [work.manifest[id] for id in ids]
        dataset = SpokenDataset(records, audio, self._encode(ids), targets)
        self._datasets.append(dataset)
        self._pool(dataset)
        return dataset

    def notes(self) -> list[str]:
        """Return what the results tell of the texts of all utterances."""
        if not self.reads:
            return []
        ids = sorted(self.work.manifest)
        self._encode(ids)
        return notes_of(self._read, self.transcripts.wer(self.work.manifest, ids),
                        len(self._cut), len(ids))

    def identity(self) -> dict[str, str]:
        """Return what the tokens depend on, beside the manifest."""
        if not self.reads:
            return {}
        return {"tokens": self.tokeniser.identity, "texts": self.transcripts.identity}

    def _encode(self, ids: Sequence[str]) -> dict[str, list[int]] | None:
        if not self.reads:
            return None
        new = {id: self._read.texts[id] for id in ids if id not in self._tokens}
        encoding = self.tokeniser.encode_all(new)
        self._tokens |= encoding.tokens
        self._cut += encoding.cut
        return {id: self._tokens[id] for id in ids}

    def _tokeniser(self) -> Tokeniser:
        wanted, longest = self.given["tokeniser"], self.given["max_tokens"]
        if not isinstance(wanted, int):
            source = wanted or getattr(self.given["text"], "keywords", {}).get("source")
            if source is None:
                raise ConfigError("trainer.tokeniser is missing", remedy="name a text encoder whose"
                                  " tokeniser is taken, or the size of a SentencePiece vocabulary")
            return transformers_tokeniser(source, longest)
        texts = sorted(self._read.texts[id] for id in self.work.train)
        name = f"tokeniser-{derive('sentencepiece', wanted, *texts):016x}.model"
        path = Path(self.work.folder) / name
        if not self.ranks.share(path.is_file()):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.ranks.attempt(functools.partial(
                train_sentencepiece, texts, wanted, path, self.work.say,
            ) if self.ranks.main else None)
        return SentencePieceTokeniser(path, longest)

    # Model

    def model(self, num_outputs: int) -> AudioText:
        """Return a fresh model; what is pretrained is loaded, what is frozen is frozen."""
        given = self.given
        model = AudioText(
            self._audio() if self.hears else None, self._text() if self.reads else None,
            num_outputs, given["fusion"], given["layers"], given["pool"], given["inner"],
            given["head_dropout"], given["fusion_heads"],
        )
        if self.reads and "text" in given["freeze"] and given["fusion"] != "cross_attention":
            self._pooling = model
            for dataset in self._datasets:
                self._pool(dataset)
        return model

    def leaves_unused(self, model: AudioText) -> bool:
        """Say whether a trained parameter takes no part in a step, such as a norm of no layer."""
        rate = self.given["sample_rate"]
        return unused_in(model, lambda: (
            torch.randn(2, rate), torch.full((2,), rate),
            torch.zeros(2, 3, dtype=torch.long), torch.full((2,), 3)))

    def _audio(self) -> nn.Module:
        freeze = self.given["freeze"]
        made = sourced(self.given["audio"], self.work.encoder)
        _refuse(made, ("trainable", "freeze_frontend"), "audio")
        own = {"trainable": "audio" not in freeze, "freeze_frontend": "cnn" in freeze}
        encoder = made(**_known(made, own))
        rate = getattr(getattr(encoder, "config", encoder), "sample_rate", None)
        if rate not in (None, self.given["sample_rate"]):
            raise ConfigError(
                f"the encoder hears {rate} samples per second, the audio has "
                f"{self.given['sample_rate']}", remedy=f"set sample_rate: {rate} in the trainer")
        if isinstance(encoder, SpeechEncoder):
            if "audio" in freeze:
                encoder.requires_grad_(False)
            if "cnn" in freeze and encoder.config.frontend != "conv":
                raise ConfigError("freeze names cnn, but the audio encoder has no convolutions on "
                                  "the waveform", remedy="leave cnn out of freeze")
            if "cnn" in freeze:
                encoder.frontend.layers.requires_grad_(False)
        return without_layerdrop(encoder)

    def _text(self) -> nn.Module:
        freeze, tokeniser, make = self.given["freeze"], self.tokeniser, self.given["text"]
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

    @torch.no_grad()
    def _pool(self, dataset: SpokenDataset) -> None:
        """Replace the tokens of a dataset by their vectors, if those never change."""
        if self._pooling is None:
            return
        text = self._pooling.encoders["text"].to(self.device).eval()
        order = sorted(dataset.words, key=lambda id: len(dataset.words[id]))
        vectors = {}
        for start in range(0, len(order), 64):
            ids = order[start : start + 64]
            words, lengths = pad_tokens([dataset.words[id] for id in ids], self.tokeniser.padding)
            pooled = self._pooling.pool_words(words.to(self.device), lengths.to(self.device))
            vectors |= dict(zip(ids, pooled.cpu(), strict=True))
        text.cpu()
        dataset.words = vectors


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
