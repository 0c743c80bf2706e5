"""What GEmo-CLAP hears and reads: sound or cached features, prompts, and the model of both."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from sertools.brains.attributes import attribute_labels, names_of
from sertools.brains.distributed import Ranks
from sertools.brains.gemoclap import PromptedAudio
from sertools.brains.gemoclap_best import load_start, own_tokeniser, write_more
from sertools.brains.gemoclap_start import find_start, said_of, trained_on, unknown_words
from sertools.brains.inputs import FeatureInputs, readers, unused_in
from sertools.brains.pooled import PooledFeatures, pooled_table
from sertools.brains.prompts import Sentences, encode_prompts, sentences_of, unknown_tokens
from sertools.brains.randomness import derive
from sertools.brains.two_encoders import audio_encoder, text_encoder, tokeniser_of
from sertools.brains.work import FoldWork
from sertools.data.dataset import AudioDataset
from sertools.data.spoken import SpokenDataset
from sertools.data.tokens import Tokeniser, transformers_tokeniser
from sertools.errors import ConfigError
from sertools.models.heads import UtteranceHead
from sertools.objectives.contrastive import ContrastiveObjective
from torch import Tensor, nn


class GemoClapInputs:
    """Utterances as `SpokenDataset`s, prompts, and the model that takes them.

    Args:
        work: the unit.
        ranks: the processes of this training.
        given: options of `GemoClapTrainer`.
        objective: says which labels are needed.
        reader: arguments of `AudioReader`.

    Raises:
        ConfigError: prompts that cannot be meant; all faults are listed.
        DataError: the model to start from cannot be used.
    """

    def __init__(
        self, work: FoldWork, ranks: Ranks, given: Mapping[str, Any],
        objective: ContrastiveObjective, reader: Mapping[str, Any],
    ):
        self.work, self.ranks, self.given, self.objective = work, ranks, given, objective
        self.start = None if given["start"] is None else find_start(given["start"], work)
        self.features = None
        if given["inputs"] == "features":
            self.features = FeatureInputs(work, UtteranceHead, ranks)
            _refuse_raw(self.features, given["layers"])
            self._table: dict[str, Tensor] | None = None
        else:
            self._readers = readers(reader, given["crop_prediction"])
        self.sentences = self._sentences()
        self.tokeniser = self._tokeniser()
        self.prompts, self.cut = encode_prompts(self.sentences, self.tokeniser)

    # Data

    def dataset(self, ids: Sequence[str], targets: Mapping | None, train: bool) -> SpokenDataset:
        """Return the utterances; those of training with attribute and votes as they are needed."""
        work, given = self.work, self.given
        if train and targets is not None:
            targets = self._targets(ids, targets)
        records = [work.manifest[id] for id in ids]
        if self.features is None:
            reader = self._readers[not train]
            heard: Any = AudioDataset(work.manifest, ids, work.data_folder, reader, None, work.seed)
        else:
            self.features.refuse_missing(ids)
            if self._table is None:
                table = pooled_table(self.features.cache, self.ranks)
                last = given["layers"] == "last"
                self._table = {id: means[-1:] if last else means for id, means in table.items()}
            heard = PooledFeatures(self.features.cache, self._table, ids)
        return SpokenDataset(records, heard, None, targets)

    def _targets(self, ids: Sequence[str], targets: Mapping[str, int]) -> dict[str, Tensor]:
        """Return class, attribute and shares of votes of every utterance, float32."""
        labels = {id: -1 for id in ids}
        shares: Mapping[str, Sequence[float]] = {id: () for id in ids}
        if self.objective.needs_attribute and self.given["epochs"]:
            labels, _ = attribute_labels(self.given["attribute"], self.work.manifest, ids,
                                         self.work.seed)
        if self.objective.needs_distributions and self.given["epochs"]:
            from sertools.data.votes import distributions

            shares = distributions(self.work.manifest, ids, self.work.classes)
        return {id: torch.tensor([targets[id], labels[id], *shares[id]], dtype=torch.float32)
                for id in ids}

    # Prompts

    def _sentences(self) -> list[Sentences]:
        said, problems = sentences_of(
            self.given["prompts"], self.work.classes, words=self.given["words"])
        sets = [said]
        if self.objective.needs_attribute_text:
            names = names_of(self.given["attribute"], self.work.manifest, self.work.train)
            said, more = sentences_of(self.given["attribute_prompts"], names, "attribute",
                                      "attribute_prompts")
            sets.append(said)
            problems += more
        if problems:
            raise ConfigError(
                f"the prompts do not fit the classes {', '.join(self.work.classes)}",
                [f"trainer.{problem}" for problem in problems],
                'such as "emotion is {emotion}", or one sentence per class')
        return sets

    def _tokeniser(self) -> Tokeniser:
        given = self.given
        brought, identity = None, None
        if self.start is not None:
            brought = own_tokeniser(self.start.best, given["max_tokens"])
            identity = self.start.description["tokeniser"]
        self._brought, tokeniser = brought is not None, brought
        if tokeniser is None:
            tokeniser = tokeniser_of(
                given["tokeniser"], given["text"], given["max_tokens"], self._texts, self.work,
                self.ranks)
        if identity is not None and brought is None:
            same = tokeniser
            if identity["max_tokens"] != given["max_tokens"]:
                source = given["tokeniser"] or given["text"].keywords["source"]
                same = transformers_tokeniser(source, identity["max_tokens"])
            if same.identity != identity["identity"]:
                raise ConfigError(f"trainer.start: {self.start.best} was trained with another "
                                  "tokeniser", remedy="name the text encoder that it has")
        return tokeniser

    def _texts(self) -> list[str]:
        return [text for said in self.sentences for texts in said.values() for text in texts]

    def notes(self) -> list[str]:
        """Return what the results tell of the start and of the prompts."""
        notes = []
        if self.start is not None:
            notes += said_of(self.start, self.work, not self.given["epochs"])[1]
            notes += unknown_words(unknown_tokens(
                self.sentences[0], self.tokeniser, self.start.prompts if self._brought else None))
        if self.cut:
            notes.append(f"{len(self.cut)} prompts are longer than max_tokens "
                         f"{self.tokeniser.max_tokens} and were cut: "
                         + ", ".join(map(repr, self.cut)))
        return notes

    def flags(self) -> list[str]:
        """Return what makes results better than they are."""
        if self.start is None:
            return []
        return said_of(self.start, self.work, not self.given["epochs"])[0]

    # Model

    def model(self, num_outputs: int) -> PromptedAudio:
        """Return a fresh model: pretrained or started from, frozen as wanted."""
        given, cache = self.given, self.features and self.features.cache
        wide: dict[str, Any] = {}
        if cache is not None:
            wide = {"audio_dim": cache.dim}
            wide |= {} if given["layers"] == "last" else {"audio_layers": cache.num_layers}
        audio = None if cache is not None else audio_encoder(
            given["audio"], self.work.encoder, given["freeze"], given["sample_rate"])
        text = text_encoder(given["text"], given["freeze"], self.tokeniser)
        model = PromptedAudio(
            audio, text, given["dim"], given["pool"], given["layers"], given["text_pool"],
            separate=self.objective.needs_attribute_text, **wide)
        if self.start is not None:
            load_start(self.start.best, self.start.description, model)
        return model

    def leaves_unused(self, model: nn.Module) -> bool:
        """Say whether a trained parameter takes no part in a step, such as a norm of no layer."""
        def arguments() -> tuple:
            rate = self.given["sample_rate"]
            sound = (torch.randn(2, rate), torch.full((2,), rate))
            if self.features is not None:
                shape = (2, model.reader.num_layers, 1, self.features.cache.dim)
                sound = (torch.randn(shape), torch.ones(2, dtype=torch.long))
            return *sound, *self.prompts[0].flat()
        return unused_in(model, arguments)

    # What is kept

    def about(self, model: PromptedAudio) -> dict[str, Any]:
        """Return what the description of a trained model says of prompts, tokens and sizes."""
        given = self.given
        attribute = given["attribute"] if self.objective.needs_attribute else None
        head, start = model.audio_head[0], self.start
        best = self.work.folder / "best"
        return {
            "start": None if start is None else os.path.relpath(start.best, best),
            "encoder": self._encoder(best),
            "upstream": self.features and self.features.cache.key["upstream"],
            "trained_on": trained_on(start, self.work, self._texts(), bool(given["epochs"])),
            "prompts": self.sentences[0], "attribute": attribute,
            "attribute_prompts": self.sentences[1] if len(self.sentences) > 1 else None,
            "tokeniser": {"identity": self.tokeniser.identity,
                          "max_tokens": self.tokeniser.max_tokens},
            "sizes": {"dim": given["dim"], "pool": given["pool"], "layers": given["layers"],
                      "text_pool": given["text_pool"], "audio_dim": head.in_features,
                      "audio_layers": model.reader.num_layers,
                      "text_dim": model.text_head[0].in_features},
        }

    def _encoder(self, best: Path) -> str | None:
        """Return what the run pretrained or was given; a path as it is from the best model."""
        source = self.work.encoder
        there = source is not None and Path(source).exists()
        return os.path.relpath(source, best) if there else source

    def write_more(self) -> Callable[[Path, Tensor], None]:
        """Return what writes class embeddings and tokeniser into the folder of the best model."""
        return functools.partial(write_more, names=self.work.classes, tokeniser=self.tokeniser)

    def identity(self) -> dict[str, Any]:
        """Return what must not change between a checkpoint and its resumption."""
        start = None if self.start is None else self.start.description["sha256"]
        return {"tokens": self.tokeniser.identity, "start": start,
                "sentences": f"{derive(*self._texts()):016x}"}



def _refuse_raw(features: FeatureInputs, layers: Any) -> None:
    """Raise ConfigError if the final output is wanted, but the cache has raw layers.

    Encoders with LayerNorm before their blocks have another one behind the last.
    """
    cached = features.cache.key.get("layers", "last")
    if layers == "last" and cached != "last":
        raise ConfigError(
            "trainer.layers is last, the final output, but the feature cache has what lies between "
            "the blocks, without the LayerNorm behind the last that some encoders have",
            [f"cached: {', '.join(map(str, cached))}"],
            "set feature_layers: last; or trainer.layers: -1 for the last that is cached")
