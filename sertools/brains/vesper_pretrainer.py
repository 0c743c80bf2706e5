"""VesperPretrainer: what a recipe's `pretrainer:` block builds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sertools.brains.base import DONE
from sertools.brains.distributed import Ranks, resolve_device
from sertools.brains.groups import whole_optimizer
from sertools.brains.pretraining import share_out
from sertools.brains.target_parts import (
    files_of,
    leave_untrained,
    parameters_of,
    refuse_crops,
    setup_of,
    source_of,
    target_dataset,
    target_loader,
    told,
)
from sertools.brains.vesper import SHARES, VesperBrain
from sertools.brains.vesper_files import OFFICIAL, ORIGIN, shares_of, write_student
from sertools.brains.vesper_parts import about, build_models, teacher_of
from sertools.brains.vesper_settings import loop_options, mask_rule, refuse, schedule
from sertools.brains.work import PretrainingWork
from sertools.data.targets import convolutions_of, write_convolutions, write_targets
from sertools.files import write_json
from sertools.models.encoder import SpeechEncoder
from sertools.models.upstream import Upstream
from sertools.models.vesper import TERMS, Vesper


class VesperPretrainer:
    """Thin a pretrained encoder and pretrain it further on emotional speech (arXiv 2307.10757).

    Defaults are those of the released code where its README and its configuration agree, else
    those of the README.

    Args:
        teacher: a `!name:` partial of `load_upstream`, frozen; sertools must run it itself.
        layers: blocks of the student.
        initialisation: how its blocks come from the teacher's, see `models.thinning.thin`.
        blocks: for custom_extract and custom_average, which of the teacher's blocks.
        dim, num_heads, ffn_dim: sizes of a random student; None: the teacher's.
        teacher_layers: depths of the teacher whose frames are the lower and the upper target, as
            shares of its depth up to 1, or as layers.
        targets: cached (by `write_caches`) or online (the teacher runs in every pass).
        frontend: audio, or cached outputs of the frozen convolutions.
        crop: start or random.
        crop_seconds: longest crop that the student hears.
        padding: fixed, or released (padding is normalised over and counts in the cross loss).
        mask, mask_budget, small_span, small_spans, large_span, large_spans, mask_share, high, low:
            see `objectives.emotion_masking.MaskRule`.
        acoustic_weight, semantic_weight, cross_weight: of the losses; 0 removes the predictor.
        epochs: passes over the audio, at most; 0 leaves the student as it is initialised.
        batch: utterances per update, over all processes and accumulated passes.
        batch_seconds: seconds of crops per process and pass; bounds the memory.
        lr: highest learning rate; one rate per epoch.
        betas, eps, weight_decay: of Adam with decoupled weight decay, on every parameter.
        warmup: share of the epochs with a rising rate; a cosine follows.
        floor: share of the rate in the epoch after the last.
        clip: largest norm of the gradient; None does not clip.
        patience: epochs without a lower training loss before training ends; None: never.
        keep_epochs: epochs between encoders that are kept for learning curves; None keeps none.
        seed: of weights, data order, crops, masks and dropout.
        checkpoint_minutes, checkpoint_steps: between checkpoints.
        log_every: optimizer steps between looks at the running loss.
        tensorboard: write TensorBoard curves.

    Raises:
        ConfigError: options that are unknown or do not fit together; all of them are listed.
    """

    def __init__(
        self,
        teacher: Callable[[], Upstream],
        layers: int = 12,
        initialisation: str = "uniform_extract",
        blocks: Sequence[Any] | None = None,
        dim: int | None = None,
        num_heads: int | None = None,
        ffn_dim: int | None = None,
        teacher_layers: Sequence[float] = (0.5, 1.0),
        targets: str = "cached",
        frontend: str = "audio",
        crop: str = "start",
        crop_seconds: float = 5.0,
        padding: str = "fixed",
        mask: str = "emotion_guided",
        mask_budget: str = "released",
        small_span: int = 8,
        small_spans: int = 20,
        large_span: int = 40,
        large_spans: int = 4,
        mask_share: float = 0.64,
        high: Sequence[float] = (0.5, 1.0),
        low: Sequence[float] = (0.2, 0.49),
        acoustic_weight: float = 1.0,
        semantic_weight: float = 0.1,
        cross_weight: float = 1.0,
        epochs: int = 100,
        batch: int = 32,
        batch_seconds: float = 160.0,
        lr: float = 5e-4,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        warmup: float = 0.05,
        floor: float = 0.01,
        clip: float | None = None,
        patience: int | None = 15,
        keep_epochs: int | None = None,
        seed: int = 123,
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
        """Cache the teacher's targets and the convolutions' outputs, where that is wanted.

        Args:
            work: of the pretraining; its own folder is not touched.
            folder: where caches are kept.

        Returns:
            index files and shards; what is there already is not computed again. None if there
            is nothing to be learned.

        Raises:
            ConfigError: the student, its crops or the caches cannot be as configured.
        """
        given, caches = self.given, []
        if not given["epochs"]:
            return []
        upstream, encoder = build_models(given, self.seed)
        refuse_crops(given, work, encoder.config)
        options = {"device": work.device, "num_workers": work.num_workers,
                   "should_stop": work.should_stop, "say": work.say}
        if given["targets"] == "cached":
            depths = teacher_of(given, upstream).layers
            caches.append(write_targets(upstream, work.dataset, folder, depths, **options))
        if given["frontend"] == "cached":
            caches.append(write_convolutions(
                encoder, work.dataset, folder, given["crop"], given["crop_seconds"],
                given["padding"] == "released", work.precision, **options))
        return files_of(caches)

    # Stage pretrain

    def fit(self, work: PretrainingWork) -> None:
        """Train from wherever an earlier call stopped; leave the student of the best epoch.

        `best/encoder` is the student, `best/vesper.pt` the same in the authors' layout where that
        can hold it, `vesper.json` says where it comes from.

        Raises:
            Interrupted: a stop was asked for; everything is saved.
            Diverged: the training went wrong.
            ConfigError: settings do not fit the teacher, the caches, the processes or a checkpoint.
            DataError: caches lack utterances, or no utterance is long enough.
        """
        device = resolve_device(work.device)
        ranks = Ranks.start(device, work.rank, work.world_size)
        if ranks.share(all(path.is_file() for path in self.artefacts(work))):
            return
        given = self.given
        upstream, encoder = build_models(given, self.seed)
        if not given["epochs"]:
            leave = functools.partial(self._leave_untrained, work, upstream, encoder)
            ranks.attempt(leave if ranks.main else None)
            return
        model = Vesper(encoder, upstream.dim, {name: given[f"{name}_weight"] for name in TERMS})
        teacher = teacher_of(given, upstream)
        cached = given["frontend"] == "cached"
        dataset = target_dataset(
            given, work, teacher, encoder.config,
            convolutions_of(encoder, given["crop_seconds"], given["padding"] == "released").identity
            if cached else None)
        passes, items = share_out(given["batch"], ranks.world_size, given["batch_seconds"],
                                  max(dataset.seconds))
        train = target_loader(given, work, dataset, items, device, ranks,
                              equal=given["padding"] == "released")
        options = loop_options(given, passes, ranks.together)
        origin = about(given, upstream, encoder, model)
        for line in told(work, dataset, origin, len(train), options.epochs, passes,
                         (items, ranks.world_size)):
            work.say(line)
        heard = {**source_of(upstream), **work.dataset.heard()}
        if given["targets"] == "cached":
            teacher.upstream = upstream = None  # its memory is better used
        else:
            upstream.to(device)
        brain = VesperBrain(
            model, work, device, ranks, options, schedule(given),
            whole_optimizer(given["lr"], given["weight_decay"], tuple(given["betas"]),
                            given["eps"]),
            setup_of(given, dataset.ids, origin), objective=given, rule=mask_rule(given),
            teacher=teacher, heard=heard,
        )
        brain.learn(train)
        if ranks.main:
            progress = brain.progress
            best = next(line for line in progress.history if line["epoch"] == progress.best_epoch)
            self._leave(work, {
                **origin, "masks": {**origin["masks"], **shares_of(best, SHARES)},
                "epochs": progress.epoch, "best_epoch": progress.best_epoch,
                "left_out_as_too_short": len(dataset.too_short),
            })

    def artefacts(self, work: PretrainingWork) -> list[Path]:
        """Return the files whose presence means that pretraining is complete."""
        folder = Path(work.folder)
        best = [folder / "best" / "encoder" / name for name in ("config.json", "model.safetensors")]
        official = [path for path in (folder / "best" / OFFICIAL,) if path.is_file()]
        metrics = [folder / "metrics.jsonl"] if self.given["epochs"] else []
        return [*best, *official, *metrics, folder / DONE, folder / ORIGIN,
                folder / "audio.json"]  # written last

    def _leave_untrained(
        self, work: PretrainingWork, upstream: Upstream, encoder: SpeechEncoder
    ) -> None:
        """Write the student as it is initialised: only its teacher has heard anything."""
        leave_untrained(work, parameters_of(encoder)["total"], lambda best: write_student(
            encoder, {}, best, source_of(upstream)))
        self._leave(work, {**about(self.given, upstream, encoder, encoder), "epochs": 0})

    def _leave(self, work: PretrainingWork, origin: dict[str, Any]) -> None:
        write_json(Path(work.folder) / ORIGIN, origin)
        write_json(Path(work.folder) / "audio.json", work.summary)
