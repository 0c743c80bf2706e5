"""DistillerPretrainer: what a recipe's `pretrainer:` block builds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sertools.brains.base import DONE
from sertools.brains.distiller import DistillerBrain
from sertools.brains.distiller_files import HEADS, HUBERT, ORIGIN, write_student
from sertools.brains.distiller_parts import about, build_models, epochs_of, teacher_of
from sertools.brains.distiller_settings import WD_EXCLUDE, loop_options, refuse, schedule
from sertools.brains.distributed import Ranks, resolve_device
from sertools.brains.groups import whole_optimizer
from sertools.brains.pretraining import share_out
from sertools.brains.target_parts import (
    files_of,
    leave_untrained,
    parameters_of,
    setup_of,
    source_of,
    target_dataset,
    target_loader,
    told,
)
from sertools.brains.work import PretrainingWork
from sertools.data.targets import write_targets
from sertools.files import write_json
from sertools.models.distilled import Distiller
from sertools.models.encoder import SpeechEncoder
from sertools.models.upstream import Upstream
from sertools.models.weights.heard import pretrained_on


class DistillerPretrainer:
    """Distil a pretrained encoder into a shallow student (DistilHuBERT, arXiv 2110.01900).

    Defaults are those of the released code; where code and published checkpoint differ, those of
    the checkpoint.

    Args:
        teacher: a `!name:` partial of `load_upstream`, frozen; sertools must run it itself.
        teacher_layers: layers of the teacher that are predicted, or shares of its depth up to 1.
        teacher_mode: eval, or released: the teacher's dropouts act on the targets.
        teacher_precision: fp32 or bf16.
        teacher_hears: utterance (up to the audio's longest), or crop: just what the student hears.
        layers: blocks of the student.
        initialisation: teacher or random (see `models.distilled.student_of`), or file.
        source: whatever `load_encoder` takes, for `file`, such as a published DistilHuBERT.
        blocks: the teacher's blocks that the student begins with; None: the first ones.
        dim, num_heads, ffn_dim: sizes of a random student; None: the teacher's.
        dropout: of the student's frames, attention and feed-forward networks; None: the teacher's.
        targets: online (the teacher runs in every pass), or cached (by `write_caches`).
        crop: start or random.
        crop_seconds: longest crop; 15.625 s are the released 250,000 samples.
        padding: valid, or released: the loss is a mean over padding, too. What the teacher makes
            of padding is then its target if the teacher is run on crops, else zero is.
        frontend_norm: masked, or plain: group norms see the padding too, see `Distiller`.
        frontend_gradient: what the convolutions' gradient is multiplied with; 0 freezes them.
        cosine_weight: of the cosine loss beside the L1 loss.
        updates: optimizer steps, rounded up to whole epochs; None counts `epochs`.
        epochs: passes over the audio, instead of updates; 0 leaves the student as it is
            initialised.
        batch: utterances per update, over all processes and accumulated passes.
        batch_seconds: seconds of crops per process and pass; bounds the memory.
        lr: highest learning rate.
        betas, eps, weight_decay: of Adam with decoupled weight decay.
        wd: released (all but biases decay) or no_norm (neither LayerNorms nor biases do).
        warmup: share of the training with a rising rate; it then falls linearly to 0.
        clip: largest norm of the gradient; None does not clip.
        patience: epochs without a lower training loss before training ends; None: never.
        keep_epochs: epochs between encoders that are kept for learning curves; None keeps none.
        seed: of weights, data order, crops and dropout.
        checkpoint_minutes, checkpoint_steps: between checkpoints.
        log_every: optimizer steps between looks at the running loss.
        tensorboard: write TensorBoard curves.

    Raises:
        ConfigError: options that are unknown or do not fit together; all of them are listed.
    """

    def __init__(
        self,
        teacher: Callable[[], Upstream],
        teacher_layers: Sequence[float] = (4, 8, 12),
        teacher_mode: str = "eval",
        teacher_precision: str = "bf16",
        teacher_hears: str = "crop",
        layers: int = 2,
        initialisation: str = "teacher",
        source: str | None = None,
        blocks: Sequence[int] | None = None,
        dim: int | None = None,
        num_heads: int | None = None,
        ffn_dim: int | None = None,
        dropout: float | None = 0.1,
        targets: str = "online",
        crop: str = "random",
        crop_seconds: float = 15.625,
        padding: str = "valid",
        frontend_norm: str = "masked",
        frontend_gradient: float = 0.1,
        cosine_weight: float = 1.0,
        updates: int | None = 200_000,
        epochs: int | None = None,
        batch: int = 24,
        batch_seconds: float = 375.0,
        lr: float = 2e-4,
        betas: Sequence[float] = (0.9, 0.98),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        wd: str = "released",
        warmup: float = 0.07,
        clip: float | None = 5.0,
        patience: int | None = None,
        keep_epochs: int | None = None,
        seed: int = 1337,
        checkpoint_minutes: float = 10.0,
        checkpoint_steps: int | None = None,
        log_every: int = 50,
        tensorboard: bool = True,
    ):
        self.given: dict[str, Any] = {k: v for k, v in locals().items() if k != "self"}
        refuse(self.given)
        self.seed = seed
        self.reading: dict[str, Any] = {"normalise": False, "crop": "start"}
        """How `PretrainingData.dataset` shall read: what the teacher hears."""

    # Stage features

    def write_caches(self, work: PretrainingWork, folder: Path) -> list[Path]:
        """Cache the teacher's targets, where that is wanted.

        Args:
            work: of the pretraining; its own folder is not touched.
            folder: where caches are kept.

        Returns:
            index file and shards; what is there already is not computed again. None if there is
            nothing to be learned.
        """
        given = self.given
        if given["epochs"] == 0 or given["targets"] != "cached":
            return []
        upstream, _ = build_models(given, self.seed)
        return files_of([write_targets(
            upstream, work.dataset, folder, teacher_of(given, upstream).layers,
            given["teacher_precision"], device=work.device, num_workers=work.num_workers,
            should_stop=work.should_stop, say=work.say)])

    # Stage pretrain

    def fit(self, work: PretrainingWork) -> None:
        """Train from wherever an earlier call stopped; leave the student of the best epoch.

        `best/encoder` is the student, `best/hubert` the same for transformers where that can run
        it, `best/heads.safetensors` what it predicted the layers with; `distilled.json` says where
        it comes from.

        Raises:
            Interrupted: a stop was asked for; everything is saved.
            Diverged: the training went wrong.
            ConfigError: settings do not fit the teacher, the cache, the processes or a checkpoint.
            DataError: the cache lacks utterances.
        """
        device = resolve_device(work.device)
        ranks = Ranks.start(device, work.rank, work.world_size)
        if ranks.share(all(path.is_file() for path in self.artefacts(work))):
            return
        given = self.given
        upstream, encoder = build_models(given, self.seed)
        if given["epochs"] == 0:
            leave = functools.partial(self._leave_untrained, work, upstream, encoder)
            ranks.attempt(leave if ranks.main else None)
            return
        teacher = teacher_of(given, upstream)
        model = Distiller(encoder, upstream.dim, len(teacher.depths), given["frontend_gradient"],
                          given["frontend_norm"])
        reading = {**given, "frontend": "audio", "small_span": 0}
        dataset = target_dataset(reading, work, teacher, encoder.config)
        passes, items = share_out(given["batch"], ranks.world_size, given["batch_seconds"],
                                  max(dataset.seconds))
        train = target_loader(given, work, dataset, items, device, ranks)
        epochs = epochs_of(given, len(train), passes)
        origin = about(given, upstream, encoder, model)
        for line in told(work, dataset, origin, len(train), epochs, passes,
                         (items, ranks.world_size), "heads"):
            work.say(line)
        heard = {**self._heard_before(upstream), **work.dataset.heard()}
        if given["targets"] == "cached":
            teacher.upstream = upstream = None  # its memory is better used
        else:
            upstream.to(device).settle(given["teacher_precision"])
        brain = DistillerBrain(
            model, work, device, ranks, loop_options(given, epochs, passes), schedule(given),
            whole_optimizer(given["lr"], given["weight_decay"], tuple(given["betas"]),
                            given["eps"], WD_EXCLUDE[given["wd"]]),
            setup_of(given, dataset.ids, origin), objective=given, teacher=teacher, heard=heard,
        )
        brain.learn(train)
        if ranks.main:
            progress = brain.progress
            self._leave(work, {
                **origin, "epochs": progress.epoch, "best_epoch": progress.best_epoch,
                "left_out_as_too_short": len(dataset.too_short),
            })

    def artefacts(self, work: PretrainingWork) -> list[Path]:
        """Return the files whose presence means that pretraining is complete."""
        folder = Path(work.folder)
        names = ("config.json", "model.safetensors")
        best = [folder / "best" / "encoder" / name for name in names]
        hubert = folder / "best" / HUBERT
        best += [hubert / name for name in names if hubert.is_dir()]
        trained = [folder / "best" / HEADS, folder / "metrics.jsonl"]
        if self.given["epochs"] == 0:
            trained = []
        return [*best, *trained, folder / DONE, folder / ORIGIN,
                folder / "audio.json"]  # written last

    def _heard_before(self, upstream: Upstream) -> dict[str, Any]:
        """Return the corpora that teacher and start have heard, as far as is known."""
        start = self.given["source"]
        return {**source_of(upstream), **(pretrained_on(start) if start else {})}

    def _leave_untrained(
        self, work: PretrainingWork, upstream: Upstream, encoder: SpeechEncoder
    ) -> None:
        """Write the student as it is initialised."""
        leave_untrained(work, parameters_of(encoder)["total"], lambda best: write_student(
            encoder, None, best, self._heard_before(upstream)))
        self._leave(work, {**about(self.given, upstream, encoder, encoder), "epochs": 0})

    def _leave(self, work: PretrainingWork, origin: dict[str, Any]) -> None:
        write_json(Path(work.folder) / ORIGIN, origin)
        write_json(Path(work.folder) / "audio.json", work.summary)
