"""What an audio-text model hears and reads: sound, tokens, and the encoders of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from sertools.brains.audio_text import notes_of
from sertools.brains.distributed import Ranks
from sertools.brains.inputs import readers, unused_in
from sertools.brains.two_encoders import (
    audio_encoder,
    text_encoder,
    text_vectors,
    tokeniser_of,
)
from sertools.brains.work import FoldWork
from sertools.data.dataset import AudioDataset
from sertools.data.spoken import SpokenDataset
from sertools.data.transcripts import Transcripts
from sertools.models.fusion import AudioText, hears, reads
from torch import nn


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
            self._readers = readers(reader, given["crop_prediction"])
        self._tokens: dict[str, list[int]] = {}
        self._cut: list[str] = []
        self._datasets: list[SpokenDataset] = []
        self._pooling: AudioText | None = None
        if self.reads:
            self.transcripts = Transcripts(given["transcripts"], given["transcripts_model"],
                                           given["transcripts_missing"], allow_unknown=True)
            self._read = self.transcripts.read(work.manifest, sorted(work.manifest))
            self.tokeniser = tokeniser_of(
                given["tokeniser"], given["text"], given["max_tokens"],
                lambda: [self._read.texts[id] for id in work.train], work, ranks)

    # Data

    def dataset(self, ids: Sequence[str], targets: Mapping | None, train: bool) -> SpokenDataset:
        """Return the utterances, cropped in training and, if that is wanted, in prediction."""
        work, audio = self.work, None
        if self.hears:
            audio = AudioDataset(work.manifest, ids, work.data_folder, self._readers[not train],
                                 None, work.seed)
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
        given = self.given
        return audio_encoder(given["audio"], self.work.encoder, given["freeze"],
                             given["sample_rate"])

    def _text(self) -> nn.Module:
        return text_encoder(self.given["text"], self.given["freeze"], self.tokeniser)

    def _pool(self, dataset: SpokenDataset) -> None:
        """Replace the tokens of a dataset by their vectors, if those never change."""
        if self._pooling is None:
            return
        text = self._pooling.encoders["text"].to(self.device).eval()
        dataset.words = text_vectors(
            self._pooling.pool_words, dataset.words, self.tokeniser.padding, self.device)
        text.cpu()
