"""GemoClapTrainer: emotion as the sentence that lies nearest to an utterance (arXiv 2306.07848)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from sertools.brains import groups
from sertools.brains.attributes import ATTRIBUTES
from sertools.brains.best import read_model
from sertools.brains.checks import odd_choices, odd_numbers, too_small
from sertools.brains.distributed import Ranks
from sertools.brains.downstream import DownstreamTrainer
from sertools.brains.gemoclap import GemoClapBrain
from sertools.brains.gemoclap_best import CLASSES, ClosedSet, read_classes
from sertools.brains.gemoclap_inputs import GemoClapInputs
from sertools.brains.loaders import make_loader
from sertools.brains.prompts import sentences_of
from sertools.brains.two_encoders import odd_encoders
from sertools.brains.work import FoldWork
from sertools.data.batching import BucketBatchSampler
from sertools.data.spoken import SMALLEST, BalancedBatches, TrueBatches, collate_spoken
from sertools.errors import ConfigError
from sertools.models.language_audio import POOLS, TEXT_POOLS
from sertools.objectives.contrastive import ContrastiveObjective
from torch import nn
from torch.utils.data import DataLoader, Dataset


class GemoClapTrainer(DownstreamTrainer):
    """Train a `LanguageAudio` for one fold and seed; predict the class of the nearest prompt.

    Neither text nor gender of an utterance is looked at in evaluation.

    Args:
        inputs: audio, or features: the mean over time of the cached layers of a frozen upstream, so
            that heads and text encoder train in seconds. Then audio, crop, crop_seconds,
            crop_prediction and normalise are not looked at.
        audio: a `!name:` partial of `load_upstream` or `build_encoder`; without `source` it takes
            the encoder of the recipe (`pretrained`, or pretrained in this run).
        text: a `!name:` partial of `load_text` or `small_text`.
        text_pool: cls, the first token, or mean over a sentence's tokens.
        tokeniser: None, that of the text encoder's `source`; another source; or the size of a
            SentencePiece vocabulary that is learned from the prompts.
        max_tokens: longest prompt in tokens; the rest is cut off and told.
        prompts: a template with {emotion}; a list of templates; or a sentence or list of sentences
            per class. Of several, the unit vectors are averaged and brought to length 1 again.
        words: class -> word that fills {emotion}, as in "emotion is happy"; None, or a class that
            is not named: the class's own name. Without effect on a sentence per class.
        attribute_prompts: likewise with {attribute}; only for gender_logits: separate.
        attribute: gender; gender_shuffled, dealt out at random as a control; or speaker.
        model, alpha, target, target_temperature, divergence, gender_logits, soft_source: of
            `ContrastiveObjective`.
        text_encode: unique, each prompt once per step; or per_item, one per utterance, each with
            its own dropout.
        dim: width of the common space.
        pool: of frames, mean or attentive.
        layers: which layers of sound are heard, see `LayerReader`.
        freeze: what is not trained, any of cnn (the audio encoder's convolutions on the waveform),
            audio (all of it), embeddings (of the text encoder), text (all of it).
        start: None, or a trained model, perhaps of another recipe, whose weights and tokeniser are
            taken; its classes and prompts may have been others. Its folder `best`, or that of a
            unit, a fold or an experiment (which of its models: see `gemoclap_start`).
        sampler: shuffle, or balanced: equal shares of the classes in every batch.
        batch: utterances per optimizer step, over all processes and passes; 8 or more.
        batch_seconds: seconds of sound per pass and process, padding included; what is longer is
            cut into several passes, which changes no gradient. Without effect on features.
        epochs: passes over the training part, at most; 0 takes the model of `start` as it is.
        optimizer: adamw or adam.
        lr: learning rate of heads and scales.
        encoder_lr: learning rate of both encoders; None: as `lr`.
        weight_decay: of matrices; vectors and scales do not decay.
        schedule, per_epoch, warmup, floor, clip, patience, select, crop, crop_seconds,
            crop_prediction, normalise, sample_rate, cache_megabytes: as of `DownstreamTrainer`.
        checkpoint_minutes, checkpoint_steps, nonfinite_patience, log_every, tensorboard: likewise.

    Raises:
        ConfigError: options that are unknown or do not fit together.
    """

    def __init__(
        self,
        inputs: str = "audio",
        audio: Callable[..., nn.Module] | None = None,
        text: Callable[..., nn.Module] | None = None,
        text_pool: str = "cls",
        tokeniser: str | int | None = None,
        max_tokens: int = 32,
        prompts: str | Sequence[str] | Mapping[str, str | Sequence[str]] = "emotion is {emotion}",
        words: Mapping[str, str] | None = None,
        attribute_prompts: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
        attribute: str = "gender",
        model: str = "sl",
        alpha: float = 0.9,
        target: str = "softmax",
        target_temperature: float = 1.0,
        divergence: str = "kl",
        gender_logits: str = "shared",
        soft_source: str = "gender",
        text_encode: str = "unique",
        dim: int = 512,
        pool: str = "mean",
        layers: str | int | Sequence[int] = "last",
        freeze: Sequence[str] = (),
        start: str | None = None,
        sampler: str = "shuffle",
        batch: int = 32,
        batch_seconds: float = 100.0,
        epochs: int = 30,
        optimizer: str = "adamw",
        lr: float = 1e-4,
        encoder_lr: float | None = 2e-5,
        weight_decay: float = 0.01,
        schedule: str = "cosine",
        per_epoch: bool = False,
        warmup: float = 0.05,
        floor: float = 0.05,
        clip: float | None = 1.0,
        patience: int | None = 8,
        select: str | None = "UA",
        crop: str | None = "random",
        crop_seconds: float | None = 15.5,
        crop_prediction: bool = False,
        normalise: bool | str = False,
        sample_rate: int = 16000,
        cache_megabytes: float = 512,
        checkpoint_minutes: float = 10.0,
        checkpoint_steps: int | None = None,
        nonfinite_patience: int = 3,
        log_every: int = 50,
        tensorboard: bool = True,
    ):
        given = {name: value for name, value in locals().items()
                 if name not in ("self", "__class__")}
        own = {name: given.pop(name) for name in OWN}
        _check(own, given)
        self.objective = ContrastiveObjective(**{name: own[name] for name in OBJECTIVE})
        if inputs == "features":
            given |= {"crop": None, "crop_seconds": None, "crop_prediction": False,
                      "normalise": False, "encoder_lr": None}
        super().__init__(encoder=None if inputs == "features" else audio,
                         **{**given, "epochs": max(1, epochs)})
        self.given |= {**own, "epochs": epochs, "encoder_lr": encoder_lr}

    def artefacts(self, work: FoldWork) -> list[Path]:
        """Return the files whose presence means that training is complete."""
        return [*super().artefacts(work), Path(work.folder) / "best" / CLASSES]

    def _inputs(self, work: FoldWork, ranks: Ranks) -> GemoClapInputs:
        reader = {name: self.given[name] for name in
                  ("sample_rate", "crop", "crop_seconds", "normalise", "cache_megabytes")}
        return GemoClapInputs(work, ranks, self.given, self.objective, reader)

    def _trained(self, work: FoldWork, task: Any, inputs: GemoClapInputs) -> ClosedSet:
        best = Path(work.folder) / "best"
        model = self._model(work, task, inputs)
        read_model(best, model)
        names, classes = read_classes(best)
        if names != work.classes:
            raise ConfigError(f"{best} was trained for the classes {', '.join(names)}, the recipe "
                              f"has {', '.join(work.classes)}", remedy="run stage train again")
        return ClosedSet(model, classes)

    def _loader(
        self, dataset: Dataset, train: bool, work: FoldWork, device: str, ranks: Ranks
    ) -> DataLoader:
        shares = (work.seed, ranks.rank, ranks.world_size)
        if not (train and self.given["epochs"]):  # nothing is learned: any number will do
            batches: Any = BucketBatchSampler(
                dataset.seconds, self.given["batch_seconds"], False, *shares)
        elif self.given["sampler"] == "balanced":
            labels = [int(dataset.targets[id][0]) for id in dataset.ids]
            batches = BalancedBatches(labels, dataset.seconds, self.given["batch"], *shares)
        else:
            batches = TrueBatches(dataset.seconds, self.given["batch"], *shares)
        return make_loader(dataset, batches, work, device, collate_spoken)

    def _optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        given = self.given
        make = {"adamw": groups.adamw, "adam": groups.adam}[given["optimizer"]]
        return make(given["betas"])(groups.parameter_groups(
            model, given["lr"], given["weight_decay"], given["encoder_lr"], encoder="encoders"))

    def _brain(self, inputs: GemoClapInputs) -> Callable[..., GemoClapBrain]:
        given = self.given
        seconds = math.inf if given["inputs"] == "features" else given["batch_seconds"]
        for note in (*inputs.flags(), *inputs.notes()):
            inputs.work.say(note)
        return functools.partial(
            GemoClapBrain, objective=self.objective, prompts=inputs.prompts, about=inputs.about,
            write_more=inputs.write_more(), per_item=given["text_encode"] == "per_item",
            untrained=not given["epochs"], notes=inputs.notes(), flags=inputs.flags(),
            temperature=inputs.start and inputs.start.description.get("temperature"),
            samples=seconds * given["sample_rate"])

    def _setup(self, work: FoldWork, inputs: GemoClapInputs) -> dict[str, Any]:
        return {**super()._setup(work), **inputs.identity()}


OBJECTIVE = ("model", "alpha", "target", "target_temperature", "divergence", "gender_logits",
             "soft_source")
OWN = (
    *OBJECTIVE, "audio", "text", "text_pool", "tokeniser", "max_tokens", "prompts",
    "words", "attribute_prompts", "attribute", "text_encode", "dim", "pool", "layers", "freeze",
    "start", "sampler", "batch", "optimizer",
)  # fmt: skip
"""The options that `DownstreamTrainer` does not have, or not so."""
CHOICES = {
    "attribute": ATTRIBUTES, "text_encode": ("unique", "per_item"), "pool": POOLS,
    "text_pool": TEXT_POOLS, "sampler": ("shuffle", "balanced"), "optimizer": ("adamw", "adam"),
}  # fmt: skip
AT_LEAST = {"max_tokens": 1, "dim": 1, "epochs": 0, "encoder_lr": 0, "weight_decay": 0,
            "batch": SMALLEST}
NUMBERS = (*AT_LEAST, "batch_seconds", "lr", "alpha", "target_temperature")
WHOLE = {"max_tokens", "dim", "epochs", "batch"}


def _check(own: dict[str, Any], given: dict[str, Any]) -> None:
    together = {**own, **given}
    # Infinite seconds are one pass, however long.
    numbers = [name for name in NUMBERS
               if name != "batch_seconds" or given["batch_seconds"] != math.inf]
    problems = [*odd_choices(own, CHOICES), *odd_numbers(together, numbers, WHOLE, {"encoder_lr"})]
    if not problems:
        problems += too_small(together, AT_LEAST, ("lr", "batch_seconds"))
        try:
            objective = ContrastiveObjective(**{name: own[name] for name in OBJECTIVE})
        except ConfigError as error:
            problems += error.problems
        else:
            problems += _odd_prompts(own, objective)
    if given["inputs"] != "features" and own["audio"] is None:
        problems.append("audio is missing: inputs audio needs an encoder")
    if own["text"] is None:
        problems.append("text is missing: name what builds the text encoder")
    problems += odd_encoders(own)
    if not isinstance(own["start"], str | Path | None):
        problems.append(f"start is {own['start']!r}: give the folder best of a trained model")
    if given["epochs"] == 0 and own["start"] is None:
        problems.append("epochs is 0, but there is no start: nothing was ever trained")
    if problems:
        raise ConfigError("the trainer's options are not sound", problems)


def _odd_prompts(own: dict[str, Any], objective: ContrastiveObjective) -> list[str]:
    """Name what is wrong with prompts whatever the classes are."""
    sets = [("prompts", "emotion")]
    if objective.needs_attribute_text:
        sets.append(("attribute_prompts", "attribute"))
    found = []
    for key, place in sets:
        words = own["words"] if key == "prompts" else None
        named = next((each for each in (own[key], words) if isinstance(each, Mapping)), ["class"])
        found += sentences_of(own[key], list(named), place, key, words)[1]
    return found
