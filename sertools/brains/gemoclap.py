"""The brain of GEmo-CLAP: sound and the sentences that name its emotion, in one space."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from sertools.brains.gemoclap_best import AUDIO
from sertools.brains.prompts import Prompts
from sertools.brains.randomness import derive
from sertools.brains.true_batch import Found, TrueBatchBrain
from sertools.brains.weights import digest
from sertools.data.spoken import SpokenBatch
from sertools.models.language_audio import LanguageAudio
from sertools.objectives.contrastive import ContrastiveObjective
from sertools.scoring.calibration import fit_temperature
from speechbrain.core import Stage
from torch import Tensor, nn
from torch.utils.data import DataLoader

EMOTION, ATTRIBUTE, SHARES = 0, 1, 2
"""Columns of a batch's targets, float32: class, attribute, and from there shares of votes."""


class PromptedAudio(LanguageAudio):
    """A `LanguageAudio` one call of which uses all that is trained, as several processes need."""

    def forward(
        self,
        inputs: Tensor,
        lengths: Tensor | None = None,
        tokens: Tensor | None = None,
        token_lengths: Tensor | None = None,
        seed: int | None = None,
    ) -> tuple[Tensor, ...]:
        """Return `embed_audio`; with tokens also `embed_text` and the scales.

        Args:
            inputs, lengths: of `embed_audio`.
            tokens, token_lengths: of `embed_text`.
            seed: of the text encoder's dropout; None goes on with the process's generator.
        """
        audio = self.embed_audio(inputs, lengths)
        if tokens is None:
            return (audio,)
        with _drawn_from(seed, audio.device):
            text = self.embed_text(tokens, token_lengths)
        own = [self.attribute_scales()] if hasattr(self, "attribute_log_scales") else []
        return (audio, text, self.scales(), *own)


class GemoClapBrain(TrueBatchBrain):
    """Learn that an utterance and the prompt of its emotion agree, as the objective says.

    Each class's prompts are encoded once per update, with dropout that depends on seed and step
    alone, so that all passes and processes see the same class embeddings, whose gradient is sent
    back once. With `per_item` each utterance's prompt is encoded in its own pass instead.

    Args:
        objective: the loss of an update.
        prompts: of the emotions, and of the attribute if it has logits of its own.
        about: gives what the description of a model says beside, as plain values.
        write_more: writes what else belongs to the best model.
        per_item: encode the prompt of every utterance anew.
        untrained: leave the model as it is, its calibration too; only the dev part is scored.
        temperature: of the model that this one starts from.
        flags: what makes results better than they are.
        rest: arguments of `TrueBatchBrain`; the model is a `PromptedAudio`.
    """

    def __init__(
        self,
        *rest: Any,
        objective: ContrastiveObjective,
        prompts: Sequence[Prompts],
        about: Callable[[nn.Module], dict[str, Any]],
        write_more: Callable[[Path, Tensor], None],
        per_item: bool = False,
        untrained: bool = False,
        temperature: float | None = None,
        flags: Sequence[str] = (),
        **more: Any,
    ):
        super().__init__(*rest, **more)
        self.flags = list(flags)
        self.objective, self.per_item, self.untrained = objective, per_item, untrained
        self.about, self.write_more = about, write_more
        self.prompts = [each.to(self.device) for each in prompts]
        if not any(p.requires_grad for p in self.raw_model.encoders["text"].parameters()):
            self._pool_prompts()
        self._classes: Tensor | None = None
        self._temperature = temperature if untrained else None

    @torch.no_grad()
    def _pool_prompts(self) -> None:
        """Let a text encoder that never changes read the prompts once and for all."""
        self.raw_model.eval()
        for each in self.prompts:
            pooled = self.raw_model.pool_tokens(*each.flat())
            each.tokens = pooled.unflatten(0, each.lengths.shape)

    # An update

    def found(self, batch: SpokenBatch, network: nn.Module, last: bool) -> Found:
        """Return embeddings of utterances (B, dim), and of prompts with the scales."""
        if not (last or self.per_item):
            return Found(list(network(batch.inputs, batch.lengths)), [])
        labels = self._labels(batch.targets) if self.per_item else [None] * len(self.prompts)
        flat = [each.flat(rows) for each, rows in zip(self.prompts, labels, strict=True)]
        seed = None if self.per_item else derive("prompts", self.work.seed, self.progress.step)
        audio, text, *scales = network(
            batch.inputs, batch.lengths, *(torch.cat(part) for part in zip(*flat, strict=True)),
            seed)
        texts = text.split([len(tokens) for tokens, _ in flat])
        texts = [each.merged(part, rows)
                 for each, part, rows in zip(self.prompts, texts, labels, strict=True)]
        if self.per_item:
            return Found([audio, *texts], scales)
        return Found([audio], [*texts, *scales])

    def update_loss(
        self, rows: Sequence[Tensor], shared: Sequence[Tensor], targets: Tensor
    ) -> Tensor:
        """Return the objective of all utterances of the update."""
        (audio, *texts), scales = rows, shared
        labels = self._labels(targets)
        if not self.per_item:
            count = len(self.prompts)
            texts, scales = shared[:count], shared[count:]
            texts = [each[rows] for each, rows in zip(texts, labels, strict=True)]
        objective = self.objective
        return objective(
            audio, texts[0], scales[0], targets[:, EMOTION].long(),
            targets[:, ATTRIBUTE].long() if objective.needs_attribute else None,
            targets[:, SHARES:] if objective.needs_distributions else None,
            *(each[1] if objective.needs_attribute_text else None for each in (texts, scales)),
        )

    def _labels(self, targets: Tensor) -> list[Tensor]:
        """Return which of the classes of each set of prompts the utterances have."""
        columns = (EMOTION, ATTRIBUTE)[: len(self.prompts)]
        return [targets[:, column].long() for column in columns]

    def after_step(self) -> None:
        """Keep the scales where they can learn."""
        self.raw_model.clamp_scales()
        self._classes = None

    # Evaluation

    @torch.no_grad()
    def class_embeddings(self) -> Tensor:
        """Return the unit vectors of the classes (K, dim), computed once for the same weights."""
        if self._classes is None:
            self.raw_model.eval()
            with torch.autocast(self.device_type, enabled=False):
                self._classes = self.prompts[0].merged(
                    self.raw_model.embed_text(*self.prompts[0].flat()))
        return self._classes

    def compute_forward(self, batch: SpokenBatch, stage: Stage) -> Found | Tensor:
        """Return what the last pass of an update finds; in evaluation logits (B, K)."""
        if stage == Stage.TRAIN:
            return super().compute_forward(batch, stage)
        audio = self.raw_model.embed_audio(batch.inputs, batch.lengths)
        return self.raw_model.logits(audio, self.class_embeddings())

    def dev_scores(self, ids: list[str], outputs: Tensor) -> dict[str, Any]:
        """Return the task's scores; note the temperature that calibrates the probabilities."""
        if not self.untrained:
            truth = self.task.targets(self.work.manifest, ids)
            self._temperature = fit_temperature(outputs.double().softmax(-1).numpy(),
                                                torch.tensor([truth[id] for id in ids]).numpy())
        return super().dev_scores(ids, outputs)

    # The best model

    def learn(self, train: DataLoader, dev: DataLoader | None = None) -> None:
        """Train to the end, or publish the model as it is; see `SERBrain.learn`."""
        if self.untrained:
            scores = {} if dev is None else self.assess(dev)
            self.progress.history = [{"epoch": 0, "step": 0, "train": {}, "dev": scores}]
            self.progress.best_score = scores.get(self.options.select)
            self.logs.write(self.progress.history)
            self._publish_best()
        super().learn(train, dev)

    def _epochs(self) -> Iterator[int]:
        return iter(()) if self.untrained else super()._epochs()

    def describe(self) -> dict[str, Any]:
        """Return what is known of the model, with its scales and calibration."""
        scales = dict(zip(("audio", "text"), self.raw_model.scales().tolist(), strict=True))
        return {**super().describe(), **self.about(self.raw_model), "scales": scales,
                "temperature": self._temperature, "frozen_audio": self._frozen_audio}

    @functools.cached_property
    def _frozen_audio(self) -> str | None:
        """Return the hash of what is frozen in the encoder of sound."""
        trained, state = self.weights.state_dict(), self.raw_model.state_dict()
        return digest(state, sorted(name for name in state
                                    if name.startswith(AUDIO) and name not in trained))

    def write_best(self, folder: Path) -> None:
        """Write weights, description, and the embeddings of the classes."""
        super().write_best(folder)
        self.write_more(folder, self.class_embeddings().cpu())


@contextlib.contextmanager
def _drawn_from(seed: int | None, device: torch.device) -> Iterator[None]:
    """Seed the generators for a while; None leaves them."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
