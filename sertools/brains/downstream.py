"""DownstreamTrainer: what a recipe's `trainer:` block builds to train on a corpus with labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from sertools.brains import groups
from sertools.brains.augmentation import Augmentation
from sertools.brains.base import DONE
from sertools.brains.best import FILES, read_model
from sertools.brains.distributed import Ranks, resolve_device
from sertools.brains.downstream_brain import DownstreamBrain
from sertools.brains.inputs import AudioInputs, FeatureInputs, frontend
from sertools.brains.loaders import forward_all, make_loader
from sertools.brains.options import Cycle, LoopOptions, Schedule
from sertools.brains.randomness import seed_weights
from sertools.brains.settings import describe, fingerprint, refuse_contradictions
from sertools.brains.tasks import Classification, Dimensions
from sertools.brains.work import FoldWork
from sertools.data.batching import BucketBatchSampler
from sertools.models.heads import LayerReader, UtteranceHead
from sertools.scoring.predictions import Prediction
from torch import nn
from torch.utils.data import DataLoader, Dataset


class DownstreamTrainer:
    """Train an emotion model for one fold and seed, and predict with its best epoch.

    With `inputs: audio` an encoder is trained from scratch or fine-tuned; with `inputs: features`
    only a head is trained on the cached layers of a frozen upstream.

    Args:
        inputs: audio or features.
        encoder: for audio, what builds the encoder (a `!name:` partial of `build_encoder` or
            `load_upstream`).
        head: a `!name:` partial of `UtteranceHead` or `TransformerHead` without sizes; None: the
            defaults of the former (SUPERB).
        task: classification or dimensions.
        class_weights: balanced (n / (K n_class) of the training part) or None.
        label_smoothing: share of the target spread over all classes, 0 to 1.
        dimensions: for task dimensions, any of arousal, valence, dominance.
        scale: for task dimensions, lowest and highest rating of the corpus.
        epochs: passes over the training part, at most.
        batch_seconds: seconds of audio per batch, padding included; the ranks share a batch, so
            that their number does not change what is learned. Utterances of similar length go
            together; with infinity, batches are drawn at random, whatever the lengths.
        max_batch: utterances per batch, at most; None for no limit.
        accumulation: batches per optimizer step.
        lr: learning rate of the head, and of the encoder unless `encoder_lr` is given.
        encoder_lr: learning rate of the encoder's last block.
        layer_decay: factor on the learning rate per block below the last.
        freeze_frontend: epochs for which the encoder's convolutional front end stays as it is, or
            always.
        weight_decay: of matrices, and of vectors if `wd_exclude` is none.
        wd_exclude: norm_bias (vectors do not decay) or none (everything decays).
        optimizer: adamw, sgd or rmsprop.
        betas: of AdamW.
        momentum: of sgd and rmsprop; None: 0.9.
        nesterov: of sgd; False takes plain momentum.
        schedule: cosine, linear or constant learning rate after the warm-up; or cyclic.
        per_epoch: one learning rate for all steps of an epoch (see `Schedule`).
        cycle: for schedule cyclic, a `Cycle`: how far and how fast the learning rate swings.
        warmup: share of the training with a rising learning rate, 0 to 1.
        floor: share of the learning rate at the end of cosine and linear.
        clip: largest norm of the gradient; None does not clip.
        patience: epochs without a better dev score before the end; None trains all epochs.
        select: dev score that chooses the best epoch: UA, WA, WF1, MF1, CCC, CCC_<dimension> or
            loss, or a sum of scores such as WA+UA; None: UA or CCC, after the task.
        votes: True takes, of all epochs, the one that the scores in `select` vote for (see
            `voted_epoch`); their sum still counts for `patience`.
        crop: None, start or random: how training cuts long utterances.
        crop_seconds: length of the cut.
        crop_prediction: True lets prediction hear the first `crop_seconds` alone; False the whole.
        padding: fixed, or released, which lets padding matter as in the code released with Vesper
            (see `UtteranceHead`, `OwnUpstream`): only to reproduce its results.
        normalise: zero mean and unit variance of every waveform (see `AudioReader`); encoders
            that were trained so do it themselves.
        sample_rate: of the waveforms, in Hz.
        cache_megabytes: memory per loading process for decoded audio, or per training process for
            cached frames.
        speeds: augmentation, percents of the speed; None for none.
        noise: augmentation, lowest and highest signal-to-noise ratio in dB; None for none.
        silences: augmentation, most silenced stretches per utterance; 0 for none.
        silence_seconds: longest silenced stretch.
        checkpoint_minutes: minutes between checkpoints.
        checkpoint_steps: optimizer steps between checkpoints, in addition; None for none.
        nonfinite_patience: steps per epoch that may be skipped for NaN or infinity.
        log_every: optimizer steps between looks at the running loss.
        tensorboard: write TensorBoard curves.

    Raises:
        ConfigError: options that are unknown or do not fit together.
    """

    def __init__(
        self,
        inputs: str = "audio",
        encoder: Callable[[], nn.Module] | None = None,
        head: Callable[..., LayerReader] | None = None,
        task: str = "classification",
        class_weights: str | None = None,
        label_smoothing: float = 0.0,
        dimensions: Sequence[str] = ("arousal", "valence", "dominance"),
        scale: Sequence[float] | None = None,
        epochs: int = 50,
        batch_seconds: float = 100.0,
        max_batch: int | None = None,
        accumulation: int = 1,
        lr: float = 1e-3,
        encoder_lr: float | None = None,
        layer_decay: float = 1.0,
        freeze_frontend: int | str = 0,
        weight_decay: float = 0.01,
        wd_exclude: str = "norm_bias",
        optimizer: str = "adamw",
        betas: Sequence[float] = (0.9, 0.999),
        momentum: float | None = None,
        nesterov: bool = True,
        schedule: str = "cosine",
        per_epoch: bool = False,
        cycle: Cycle | None = None,
        warmup: float = 0.1,
        floor: float = 0.0,
        clip: float | None = 5.0,
        patience: int | None = None,
        select: str | None = None,
        votes: bool = False,
        crop: str | None = None,
        crop_seconds: float | None = None,
        crop_prediction: bool = False,
        padding: str = "fixed",
        normalise: bool | str = False,
        sample_rate: int = 16000,
        cache_megabytes: float = 512,
        speeds: Sequence[int] | None = None,
        noise: Sequence[float] | None = None,
        silences: int = 0,
        silence_seconds: float = 0.1,
        checkpoint_minutes: float = 10.0,
        checkpoint_steps: int | None = None,
        nonfinite_patience: int = 3,
        log_every: int = 50,
        tensorboard: bool = True,
    ):
        given = {name: value for name, value in locals().items() if name != "self"}
        refuse_contradictions(given)
        self.given = given
        self._held: tuple[Path, nn.Module] | None = None
        self.schedule = Schedule(schedule, warmup, floor, cycle, per_epoch)
        self.options = LoopOptions(
            epochs=epochs, accumulation=accumulation, clip=clip, patience=patience,
            select=select or ("UA" if task == "classification" else "CCC"),
            nonfinite_patience=nonfinite_patience, checkpoint_minutes=checkpoint_minutes,
            checkpoint_steps=checkpoint_steps, log_every=log_every, tensorboard=tensorboard,
        )
        augments = speeds is not None or noise is not None or silences > 0
        self.augmentation = (
            Augmentation(sample_rate, speeds, noise, silences, silence_seconds)
            if augments else None
        )

    def fit(self, work: FoldWork) -> None:
        """Train from wherever an earlier call stopped; leave `best/` and metrics.jsonl.

        Raises:
            Interrupted: a stop was asked for; everything is saved.
            Diverged: too many steps were not finite.
            ConfigError: a checkpoint was written with other settings.
            DataError: utterances without a usable label, audio or features.
        """
        self._held = None
        device = resolve_device(work.device)
        ranks = Ranks.start(device, work.rank, work.world_size)
        if ranks.share(all(path.is_file() for path in self.artefacts(work))):
            return
        task, inputs = self._task(work), self._inputs(work, ranks)
        targets = task.targets(work.manifest, work.train)
        task.learn_from(targets)
        train = self._loader(inputs.dataset(work.train, targets, True), True, work, device, ranks)
        dev = None
        if work.dev:
            dev_targets = task.targets(work.manifest, work.dev)
            dev = self._loader(
                inputs.dataset(work.dev, dev_targets, False), False, work, device, ranks
            )
        model = self._model(work, task, inputs)
        unused = ranks.together and inputs.leaves_unused(model)
        options = dataclasses.replace(self.options, find_unused_parameters=unused)
        brain = self._brain(inputs)(
            model, work, device, ranks, options, self.schedule, self._optimizer,
            self._setup(work, inputs), task=task, augmentation=self.augmentation,
            frozen_epochs=self._frozen_epochs(model),
            votes=self.given["votes"] and dev is not None,
        )
        brain.learn(train, dev)
        if brain.candidates is not None and ranks.main:
            brain.candidates.clear()

    def predict(self, work: FoldWork, ids: Sequence[str]) -> list[Prediction]:
        """Return predictions of the best epoch, sorted by id; on other ranks than 0 none.

        Raises:
            DataError: nothing was trained yet, or an utterance cannot be used.
            Interrupted: a stop was asked for.
        """
        device = resolve_device(work.device)
        ranks = Ranks.start(device, work.rank, work.world_size)
        task, inputs = self._task(work), self._inputs(work, ranks)
        task.targets(work.manifest, ids)
        if self._held is None or self._held[0] != work.folder:  # one reading serves all parts
            self._held = (work.folder, self._trained(work, task, inputs))
        seed_weights(work.seed)
        loader = self._loader(inputs.dataset(ids, None, False), False, work, device, ranks)
        found, outputs = forward_all(
            self._held[1].to(device).eval(), loader, device, work.precision, ranks, work.should_stop
        )
        return task.predictions(work.manifest, found, outputs) if ranks.main else []

    def artefacts(self, work: FoldWork) -> list[Path]:
        """Return the files whose presence means that training is complete."""
        folder = Path(work.folder)
        return [*(folder / "best" / name for name in FILES), folder / "metrics.jsonl",
                folder / DONE]

    def _task(self, work: FoldWork) -> Classification | Dimensions:
        if self.given["task"] == "dimensions":
            return Dimensions(self.given["dimensions"], self.given["scale"])
        return Classification(
            work.classes, self.given["class_weights"], self.given["label_smoothing"]
        )

    def _inputs(self, work: FoldWork, ranks: Ranks) -> AudioInputs | FeatureInputs:
        head = self.given["head"] or UtteranceHead
        if self.given["inputs"] == "features":
            return FeatureInputs(work, head, ranks, self.given["cache_megabytes"])
        reader = {name: self.given[name] for name in
                  ("sample_rate", "crop", "crop_seconds", "normalise", "cache_megabytes")}
        return AudioInputs(
            work, head, self.given["encoder"], reader, self.given["crop_prediction"],
            self.given["padding"],
        )

    def _model(self, work, task, inputs) -> nn.Module:
        seed_weights(work.seed)
        model = inputs.model(task.num_outputs)
        if self.given["freeze_frontend"] == "always":
            frontend(model).requires_grad_(False)
        return model

    def _trained(self, work, task, inputs) -> nn.Module:
        """Build and read what gives the outputs of the best epoch."""
        model = self._model(work, task, inputs)
        read_model(Path(work.folder) / "best", model)
        return model

    def _loader(
        self, dataset: Dataset, train: bool, work: FoldWork, device: str, ranks: Ranks
    ) -> DataLoader:
        seconds, most = self.given["batch_seconds"], self.given["max_batch"]
        if train and ranks.together:
            seconds /= ranks.world_size
            most = most and max(1, most // ranks.world_size)
        batches = BucketBatchSampler(
            dataset.seconds, seconds, train, work.seed, ranks.rank, ranks.world_size,
            max_items=most,
        )
        return make_loader(dataset, batches, work, device)

    def _optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        given = self.given
        momentum = 0.9 if given["momentum"] is None else given["momentum"]
        make = {"adamw": groups.adamw(given["betas"]),
                "sgd": groups.sgd(momentum, given["nesterov"]),
                "rmsprop": groups.rmsprop(momentum)}[given["optimizer"]]
        return make(groups.parameter_groups(
            model, given["lr"], given["weight_decay"], given["encoder_lr"], given["layer_decay"],
            wd_exclude=given["wd_exclude"],
        ))

    def _frozen_epochs(self, model: nn.Module) -> tuple[nn.Module, int] | None:
        epochs = self.given["freeze_frontend"]
        return None if epochs in (0, "always") else (frontend(model), epochs)

    def _brain(self, inputs: AudioInputs | FeatureInputs) -> Callable[..., DownstreamBrain]:
        """Return what makes the brain."""
        return DownstreamBrain

    def _setup(self, work: FoldWork, inputs: Any = None) -> dict[str, Any]:
        without = {"checkpoint_minutes", "checkpoint_steps", "log_every", "tensorboard",
                   "cache_megabytes", "select"}
        settings = {k: describe(v) for k, v in self.given.items() if k not in without}
        return {**settings, "classes": work.classes, "train": fingerprint(work.train),
                "dev": fingerprint(work.dev)}
