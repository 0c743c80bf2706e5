"""Emotion2vecPretrainer: what a recipe's `pretrainer:` block builds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sertools.brains.base import DONE
from sertools.brains.distributed import Ranks, resolve_device
from sertools.brains.emotion2vec import Emotion2vecBrain
from sertools.brains.emotion2vec_settings import refuse, refuse_audio, refuse_tokens
from sertools.brains.groups import whole_optimizer
from sertools.brains.options import LoopOptions, Schedule
from sertools.brains.pretraining import Budget, pretraining_loader
from sertools.brains.randomness import seed_weights
from sertools.brains.settings import describe, fingerprint
from sertools.brains.work import PretrainingWork
from sertools.files import write_json
from sertools.models.emotion2vec import DecoderConfig, Distillation, Emotion2vec
from sertools.models.encoder import SpeechEncoder
from sertools.models.weights.heard import Heard, pretrained_on

SPEED_ONLY = {"checkpoint_minutes", "checkpoint_steps", "log_every", "tensorboard"}


OFFICIAL = "emotion2vec.pt"
"""The model in the layout that fairseq and FunASR read, and that `start` takes."""


class Emotion2vecPretrainer:
    """Pretrain emotion2vec from random weights or from data2vec 2.0.

    Defaults are those of the released script (spec in arXiv 2312.15185 and its code).

    Args:
        encoder: a `!name:` partial that builds the encoder, cold.
        decoder: sizes of the decoder; None: those of the base model.
        context_layers: blocks of the context encoder; the others give the teacher's targets.
        start: None for a cold start; else a data2vec 2.0 or emotion2vec file in fairseq's layout,
            whose weights and `_ema` teacher are taken.
        clones: masked copies of every utterance that share the front end's pass.
        mask_share: share of the frames that is masked.
        mask_span: frames of one masked span, odd.
        mask_adjust: raises the number of spans, since they overlap.
        mask_timing: after_crop masks exactly `mask_share` of what is heard; before_crop, as
            released, of the whole clip.
        utterance_loss: chunk, token, global or none.
        alpha: weight of the utterance loss.
        frame_weight: weight of the frame loss.
        utterance_target: released (zero, see `teacher_targets`) or before_norm.
        utterance_reduction: released (sum over rows) or mean.
        token_dropout: released (the decoder's input dropout hits the tokens) or none.
        ema_start, ema_end: the teacher's decay at first and from `ema_steps` updates on.
        ema_steps: updates of its linear rise.
        updates, epochs: length of the training, one of the two.
        batch_seconds: seconds of audio per process and pass.
        update_seconds: seconds of audio per update over all processes.
        warmup_updates: updates with a rising learning rate; a cosine to 0 follows.
        lr: highest learning rate.
        betas, eps, weight_decay: of Adam with decoupled weight decay.
        wd_exclude: none (decay on every parameter, as released) or norm_bias.
        clip: largest norm of the gradient; None does not clip.
        guard_after: updates after which a collapse stops the training.
        min_target_std, min_prediction_std: what counts as a collapse.
        keep_epochs: epochs between encoders that are kept for learning curves; None keeps none.
        seed: of weights, data order, masks and dropout.
        checkpoint_minutes, checkpoint_steps: between checkpoints.
        log_every: optimizer steps between looks at the running loss.
        tensorboard: write TensorBoard curves.

    Raises:
        ConfigError: options that are unknown or do not fit together.
    """

    def __init__(
        self,
        encoder: Callable[[], SpeechEncoder],
        decoder: DecoderConfig | None = None,
        context_layers: int = 4,
        start: str | None = None,
        clones: int = 8,
        mask_share: float = 0.5,
        mask_span: int = 5,
        mask_adjust: float = 0.05,
        mask_timing: str = "after_crop",
        utterance_loss: str = "chunk",
        alpha: float = 1.0,
        frame_weight: float = 1.0,
        utterance_target: str = "released",
        utterance_reduction: str = "released",
        token_dropout: str = "released",
        ema_start: float = 0.999,
        ema_end: float = 0.99999,
        ema_steps: int = 20_000,
        updates: int | None = 100_000,
        epochs: int | None = None,
        batch_seconds: float = 37.5,
        update_seconds: float = 900.0,
        warmup_updates: int = 5_000,
        lr: float = 7.5e-5,
        betas: Sequence[float] = (0.9, 0.98),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        wd_exclude: str = "none",
        clip: float | None = None,
        guard_after: int = 5_000,
        min_target_std: float = 0.1,
        min_prediction_std: float = 0.01,
        keep_epochs: int | None = None,
        seed: int = 1,
        checkpoint_minutes: float = 10.0,
        checkpoint_steps: int | None = None,
        log_every: int = 50,
        tensorboard: bool = True,
    ):
        self.given: dict[str, Any] = {k: v for k, v in locals().items() if k != "self"}
        refuse(self.given, self._budget, lambda: self._options(1, 1))
        self.seed, self.budget = seed, self._budget()

    def fit(self, work: PretrainingWork) -> None:
        """Train from wherever an earlier call stopped; leave `best/encoder` and `best/teacher`.

        An encoder with the released structure is also written as `emotion2vec.pt`.

        Raises:
            Interrupted: a stop was asked for; everything is saved.
            Diverged, Collapsed: the training went wrong.
            ConfigError: a checkpoint was written with other settings, or `start` does not fit.
            DataError: clips are too short to be masked.
        """
        device = resolve_device(work.device)
        ranks = Ranks.start(device, work.rank, work.world_size)
        if ranks.share(all(path.is_file() for path in self.artefacts(work))):
            return
        given, budget, model = self.given, self.budget, self._model(work)
        refuse_audio(work, model.student.encoder, given["mask_share"])
        train = pretraining_loader(work, budget.batch_seconds, device, ranks)
        epochs, warmup = budget.count(len(train), ranks.world_size)
        options = self._options(epochs, budget.accumulation(ranks.world_size), ranks.together)
        work.say(_told(work, epochs, len(train), options.accumulation))
        brain = Emotion2vecBrain(
            model, work, device, ranks, options, Schedule("cosine", warmup),
            whole_optimizer(given["lr"], given["weight_decay"], tuple(given["betas"]),
                            given["eps"], given["wd_exclude"]),
            self._setup(work), objective=given, heard=self._heard(work),
        )
        brain.learn(train)
        if ranks.main:
            self._hand_on(model, Path(work.folder))
            write_json(Path(work.folder) / "audio.json", work.summary)

    def _hand_on(self, model: Distillation, folder: Path) -> None:
        """Write the released layout too, decoder and teacher included, if it can hold the model."""
        from sertools.models.weights.official import layout_problems, save_official

        if not layout_problems(model.student.config):
            save_official(model, folder / OFFICIAL, teacher=True)

    def artefacts(self, work: PretrainingWork) -> list[Path]:
        """Return the files whose presence means that pretraining is complete."""
        folder = Path(work.folder)
        weights = [folder / "best" / part / name for part in ("encoder", "teacher")
                   for name in ("config.json", "model.safetensors")]
        official = [path for path in (folder / OFFICIAL,) if path.is_file()]
        return [*weights, *official, folder / "metrics.jsonl", folder / DONE,
                folder / "audio.json"]  # written last

    def _budget(self) -> Budget:
        return Budget(*(self.given[field.name] for field in dataclasses.fields(Budget)))

    def _options(self, epochs: int, accumulation: int, together: bool = False) -> LoopOptions:
        names = ("clip", "checkpoint_minutes", "checkpoint_steps", "log_every", "tensorboard")
        return LoopOptions(
            epochs=epochs, accumulation=accumulation, select="loss",
            find_unused_parameters=together, **{name: self.given[name] for name in names},
        )

    def _model(self, work: PretrainingWork) -> Distillation:
        given = self.given
        seed_weights(self.seed)
        encoder = given["encoder"]()
        # the data come normalised; what is published must do that to whatever it hears
        encoder.config = dataclasses.replace(encoder.config, normalise_waveform=True)
        refuse_tokens(encoder, given["utterance_loss"], work.say)
        student = Emotion2vec(encoder, given["decoder"], given["context_layers"])
        options = ("utterance_loss", "utterance_target", "token_dropout")
        model = Distillation(student, **{name: given[name] for name in options})
        if given["start"]:
            from sertools.models.weights.emotion2vec import load_start

            load_start(given["start"], model)
        return model

    def _heard(self, work: PretrainingWork) -> Heard:
        """Return what the encoder has heard in the end: this audio, and that of its start."""
        start = self.given["start"]
        return {**(pretrained_on(start) if start else {}), **work.dataset.heard()}

    def _setup(self, work: PretrainingWork) -> dict[str, Any]:
        settings = {k: describe(v) for k, v in self.given.items() if k not in SPEED_ONLY}
        return {**settings, "utterances": fingerprint(work.dataset.ids)}


def _told(work: PretrainingWork, epochs: int, batches: int, accumulation: int) -> str:
    hours = sum(work.dataset.seconds) / 3600
    updates = -(-batches // accumulation)
    return (f"{len(work.dataset)} utterances, {hours:.2f} h; {epochs} epochs of {updates} updates, "
            f"{accumulation} passes each")
