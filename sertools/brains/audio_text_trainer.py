"""AudioTextTrainer: emotion from sound and words together, or from either alone."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from sertools.brains import groups
from sertools.brains.audio_text import LOSSES, AudioTextBrain, Ratings
from sertools.brains.audio_text_inputs import AudioTextInputs
from sertools.brains.checks import odd_numbers, too_small
from sertools.brains.distributed import Ranks, resolve_device
from sertools.brains.downstream import DownstreamTrainer
from sertools.brains.loaders import make_loader
from sertools.brains.two_encoders import odd_encoders
from sertools.brains.work import FoldWork
from sertools.data.batching import BucketBatchSampler
from sertools.data.spoken import SMALLEST, SpokenDataset, TrueBatches, collate_spoken
from sertools.errors import ConfigError
from sertools.models.account import find
from sertools.models.fusion import FUSIONS, POOLS, AudioText, hears, parameter_account, reads
from torch import nn
from torch.utils.data import DataLoader


class AudioTextTrainer(DownstreamTrainer):
    """Train an `AudioText` for one fold and seed, and predict with its best epoch.

    Args:
        audio: a `!name:` partial of `load_upstream` or `build_encoder`; without `source` it takes
            the encoder of the recipe (`pretrained`, or pretrained in this run). Not built for
            fusion text_only.
        text: a `!name:` partial of `load_text` or `small_text`. Not built for fusion audio_only.
        tokeniser: None, that of the text encoder's `source`; another source; or the size of a
            SentencePiece vocabulary that is learned from the texts of the training part.
        max_tokens: longest text in tokens; the rest is cut off and told.
        pool: mean over a text's tokens, or cls, the first one.
        transcripts: corpus, or a recogniser's file, see `Transcripts`; it may have lines of
            utterances that are left out here.
        transcripts_model: name of the recogniser; needed with a file.
        transcripts_missing: let utterances of which the file knows nothing go without text.
        fusion: concat, gated, cross_attention, audio_only or text_only, see `AudioText`.
        fusion_heads: of the cross attention.
        layers: which layers of sound are heard, see `LayerReader`.
        inner: inner width of the head.
        head_dropout: share dropped before each linear map of the head.
        freeze: what is not trained, any of cnn (the audio encoder's convolutions on the waveform),
            audio (all of it), embeddings (of the text encoder), text (all of it).
        expect_trainable: refuse any other number of trained parameters; [share, of] means that
            share, to 0.005, of a number or of a model that `sertools info` knows; None: any.
        task: dimensions or classification.
        dimensions: any of arousal, valence, dominance; one, or several together.
        scale: lowest and highest rating of the corpus.
        loss: for dimensions, ccc, mse or ccc+mse, see `Ratings`.
        batch: utterances per optimizer step, over all processes and passes; 8 or more.
        batch_seconds: seconds of sound per pass and process, padding included; what is longer is
            cut into several passes, which changes no gradient.
        epochs: passes over the training part, at most.
        lr: learning rate of head and fusion.
        encoder_lr: learning rate of both encoders.
        weight_decay: of matrices; vectors do not decay.
        schedule, warmup, floor, clip, patience, select, crop, crop_seconds, crop_prediction,
            normalise, sample_rate, cache_megabytes: as of `DownstreamTrainer`.
        class_weights, label_smoothing: for task classification.
        checkpoint_minutes, checkpoint_steps, nonfinite_patience, log_every, tensorboard: likewise.

    Raises:
        ConfigError: options that are unknown or do not fit together.
    """

    def __init__(
        self,
        audio: Callable[..., nn.Module] | None = None,
        text: Callable[..., nn.Module] | None = None,
        tokeniser: str | int | None = None,
        max_tokens: int = 128,
        pool: str = "mean",
        transcripts: str = "corpus",
        transcripts_model: str | None = None,
        transcripts_missing: bool = False,
        fusion: str = "concat",
        fusion_heads: int = 8,
        layers: str | int | Sequence[int] = "last",
        inner: int = 768,
        head_dropout: float = 0.1,
        freeze: Sequence[str] = ("cnn", "embeddings"),
        expect_trainable: int | Sequence | None = None,
        task: str = "dimensions",
        dimensions: Sequence[str] = ("arousal", "valence", "dominance"),
        scale: Sequence[float] | None = None,
        loss: str = "ccc",
        batch: int = 32,
        batch_seconds: float = 100.0,
        epochs: int = 20,
        lr: float = 1e-4,
        encoder_lr: float | None = 1e-5,
        weight_decay: float = 0.01,
        schedule: str = "constant",
        warmup: float = 0.0,
        floor: float = 0.0,
        clip: float | None = 5.0,
        patience: int | None = 5,
        select: str | None = None,
        crop: str | None = None,
        crop_seconds: float | None = None,
        crop_prediction: bool = False,
        normalise: bool | str = False,
        sample_rate: int = 16000,
        cache_megabytes: float = 512,
        class_weights: str | None = None,
        label_smoothing: float = 0.0,
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
        super().__init__(inputs="audio", encoder=audio or text, **given)
        self.given |= own

    def _task(self, work: FoldWork):
        if self.given["task"] == "dimensions":
            return Ratings(self.given["dimensions"], self.given["scale"], self.given["loss"])
        return super()._task(work)

    def _inputs(self, work: FoldWork, ranks: Ranks) -> AudioTextInputs:
        reader = {name: self.given[name] for name in
                  ("sample_rate", "crop", "crop_seconds", "normalise", "cache_megabytes")}
        return AudioTextInputs(work, ranks, self.given, reader, resolve_device(work.device))

    def _model(self, work: FoldWork, task: Any, inputs: AudioTextInputs) -> AudioText:
        model = super()._model(work, task, inputs)
        _expect(parameter_account(model)["trainable"], self.given["expect_trainable"])
        return model

    def _loader(
        self, dataset: SpokenDataset, train: bool, work: FoldWork, device: str, ranks: Ranks
    ) -> DataLoader:
        if train:
            batches: Any = TrueBatches(dataset.seconds, self.given["batch"], work.seed, ranks.rank,
                                       ranks.world_size)
        else:
            batches = BucketBatchSampler(dataset.seconds, self.given["batch_seconds"], False,
                                         work.seed, ranks.rank, ranks.world_size)
        return make_loader(dataset, batches, work, device, collate_spoken)

    def _optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        given = self.given
        return groups.adamw(given["betas"])(groups.parameter_groups(
            model, given["lr"], given["weight_decay"], given["encoder_lr"], encoder="encoders"))

    def _brain(self, inputs: AudioTextInputs) -> Callable[..., AudioTextBrain]:
        seconds = self.given["batch_seconds"] if inputs.hears else math.inf
        return functools.partial(AudioTextBrain, notes=inputs.notes(),
                                 samples=seconds * self.given["sample_rate"])

    def _setup(self, work: FoldWork, inputs: AudioTextInputs) -> dict[str, Any]:
        return {**super()._setup(work), **inputs.identity()}


OWN = (
    "audio", "text", "tokeniser", "max_tokens", "pool", "transcripts", "transcripts_model",
    "transcripts_missing", "fusion", "fusion_heads", "layers", "inner", "head_dropout", "freeze",
    "expect_trainable", "loss", "batch",
)  # fmt: skip
"""The options that `DownstreamTrainer` does not have."""
AT_LEAST = {"max_tokens": 1, "fusion_heads": 1, "inner": 1, "encoder_lr": 0, "weight_decay": 0}
NUMBERS = (*AT_LEAST, "batch", "batch_seconds", "lr", "head_dropout", "label_smoothing")
WHOLE = {"batch", "max_tokens", "fusion_heads", "inner"}


def _check(own: dict[str, Any], given: dict[str, Any]) -> None:
    known = {"fusion": FUSIONS, "pool": POOLS, "loss": LOSSES}
    problems = [f"{name} is {own[name]!r}: use {', '.join(values)}"
                for name, values in known.items() if own[name] not in values]
    # Infinite seconds are one pass, however long.
    numbers = [name for name in NUMBERS
               if name != "batch_seconds" or given["batch_seconds"] != math.inf]
    problems += odd_numbers({**own, **given}, numbers, WHOLE, {"encoder_lr"})
    if not problems:
        problems += too_small({**own, **given}, AT_LEAST, ("lr", "batch_seconds"))
    fusion = own["fusion"]
    for name, wanted in (("audio", hears(fusion)), ("text", reads(fusion))):
        if fusion in FUSIONS and wanted and own[name] is None:
            problems.append(f"{name} is missing: fusion {fusion} needs it")
    problems += odd_encoders(own)
    if _is(own["batch"], int) and own["batch"] < SMALLEST:
        problems.append(f"batch is {own['batch']}: a concordance of fewer than {SMALLEST} "
                        "utterances says little; give more, and passes for memory by batch_seconds")
    if _is(own["head_dropout"], int | float) and not 0 <= own["head_dropout"] < 1:
        problems.append(f"head_dropout is {own['head_dropout']}: give 0 or more, less than 1")
    problems += _odd_expectation(own["expect_trainable"])
    if problems:
        raise ConfigError("the trainer's options are not sound", problems)


def _odd_expectation(wanted: Any) -> list[str]:
    """Name an expected number of trained parameters that is none."""
    if wanted is None or _is(_alone(wanted), int):
        return []
    pair = wanted if isinstance(wanted, list | tuple) and len(wanted) == 2 else (None, None)
    share, of = pair
    if _is(share, int | float) and 0 < share and (isinstance(of, str) or _is(of, int) and of > 0):
        return []
    return [f"expect_trainable is {wanted!r}: give a number or [share, of], such as "
            "[0.2, 311228544]"]


def _alone(wanted: Any) -> Any:
    """Return the only value of a list; the command line makes one where the YAML has a list."""
    return wanted[0] if isinstance(wanted, list | tuple) and len(wanted) == 1 else wanted


def _is(value: Any, kind: Any) -> bool:
    """Say whether a value is of a kind; true and false are no numbers."""
    return isinstance(value, kind) and not isinstance(value, bool)


def _expect(trained: int, wanted: int | Sequence | None) -> None:
    """Refuse a number of trained parameters that is not the wanted one.

    Raises:
        ConfigError: it is not.
    """
    if wanted is None:
        return
    wanted = _alone(wanted)
    if isinstance(wanted, int):
        right, told = trained == wanted, f"{wanted:,}"
    else:
        share, of = wanted
        total = of if isinstance(of, int) else parameter_account(find(of))["total"]
        right = abs(trained / total - share) <= 0.005
        told = f"{share:g} of {total:,}, which is {trained / total:.4f} of it"
    if not right:
        raise ConfigError(f"{trained:,} parameters are trained, expect_trainable is {told}",
                          remedy="mend freeze or the encoders, or the expectation")
