"""TargetPretrainer: how a student is pretrained on a frozen teacher's frames."""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sertools.brains.base import DONE, SERBrain
from sertools.brains.distributed import Ranks, resolve_device
from sertools.brains.groups import whole_optimizer
from sertools.brains.options import LoopOptions, Schedule
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
from sertools.brains.teacher import Teacher
from sertools.brains.work import PretrainingWork
from sertools.data.targets import write_targets
from sertools.files import write_json
from sertools.models.encoder import SpeechEncoder
from sertools.models.upstream import OwnUpstream, Upstream
from sertools.models.weights.heard import Heard
from torch import nn


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a kind of student is put together from; `given` are a pretrainer's options.

    Args:
        refuse: raises ConfigError for options that cannot be meant.
        schedule: of the learning rate.
        build_models: from `given` and a seed, the teacher and the student.
        teacher_of: from `given` and the upstream, the teacher with its targets.
        about: from `given`, upstream, student and what is trained, where the student comes from.
        origin: name of the file that says so.
        helpers: what the student is trained with and leaves behind.
    """

    refuse: Callable[[Mapping[str, Any]], None]
    schedule: Callable[[Mapping[str, Any]], Schedule]
    build_models: Callable[[Mapping[str, Any], int], tuple[OwnUpstream, SpeechEncoder]]
    teacher_of: Callable[[Mapping[str, Any], Upstream], Teacher]
    about: Callable[[Mapping[str, Any], Upstream, SpeechEncoder, nn.Module], dict[str, Any]]
    origin: str
    helpers: str


class TargetPretrainer(abc.ABC):
    """Pretrains a student on the frames of a frozen teacher; subclasses say which and how.

    Args:
        options: of the subclass, all of them; `self` among them does not count.

    Raises:
        ConfigError: options that are unknown or do not fit together; all of them are listed.
    """

    kind: Kind

    def __init__(self, options: Mapping[str, Any]):
        self.given: dict[str, Any] = {k: v for k, v in options.items() if k != "self"}
        self.kind.refuse(self.given)
        self.seed: int = self.given["seed"]
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
        if given["epochs"] == 0 or "cached" not in (given["targets"], given.get("frontend")):
            return []
        upstream, encoder = self.kind.build_models(given, self.seed)
        self._refuse_work(work, encoder)
        options = {"device": work.device, "num_workers": work.num_workers,
                   "should_stop": work.should_stop, "say": work.say}
        if given["targets"] == "cached":
            teacher = self.kind.teacher_of(given, upstream)
            caches.append(write_targets(
                upstream, work.dataset, folder, teacher.layers, teacher.precision, **options))
        caches += self._more_caches(encoder, work, folder, options)
        return files_of(caches)

    # Stage pretrain

    def fit(self, work: PretrainingWork) -> None:
        """Train from wherever an earlier call stopped; leave the student of the best epoch.

        `best/encoder` is the student; what else is left, the class says.

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
        given, kind = self.given, self.kind
        upstream, encoder = kind.build_models(given, self.seed)
        if given["epochs"] == 0:
            leave = functools.partial(self._leave_untrained, work, upstream, encoder)
            ranks.attempt(leave if ranks.main else None)
            return
        teacher = kind.teacher_of(given, upstream)
        model = self._model(upstream, encoder, teacher)
        reading = {"frontend": "audio", "small_span": 0, **given}
        dataset = target_dataset(reading, work, teacher, encoder.config,
                                 self._convolutions(encoder))
        passes, items = share_out(given["batch"], ranks.world_size, given["batch_seconds"],
                                  max(dataset.seconds))
        train = target_loader(given, work, dataset, items, device, ranks,
                              equal=self._equal_crops())
        options = self._options(len(train), passes, ranks)
        origin = kind.about(given, upstream, encoder, model)
        for line in told(work, dataset, origin, len(train), options.epochs, passes,
                         (items, ranks.world_size), kind.helpers):
            work.say(line)
        heard = {**self._heard_before(upstream), **work.dataset.heard()}
        if given["targets"] == "cached":
            teacher.upstream = upstream = None  # its memory is better used
        else:
            upstream.to(device).settle(teacher.precision)
        brain = self._brain(
            model, work, device, ranks, options, kind.schedule(given),
            whole_optimizer(given["lr"], given["weight_decay"], tuple(given["betas"]),
                            given["eps"], self._spared()),
            setup_of(given, dataset.ids, origin), objective=given, teacher=teacher, heard=heard,
        )
        brain.learn(train)
        if ranks.main:
            progress = brain.progress
            best = next(line for line in progress.history if line["epoch"] == progress.best_epoch)
            self._leave(work, {
                **self._learned(origin, best), "epochs": progress.epoch,
                "best_epoch": progress.best_epoch, "left_out_as_too_short": len(dataset.too_short),
            })

    def artefacts(self, work: PretrainingWork) -> list[Path]:
        """Return the files whose presence means that pretraining is complete."""
        folder, trained = Path(work.folder), self.given["epochs"] != 0
        encoder = [folder / "best" / "encoder" / name
                   for name in ("config.json", "model.safetensors")]
        metrics = [folder / "metrics.jsonl"] if trained else []
        return [*encoder, *self._beside(folder / "best", trained), *metrics, folder / DONE,
                folder / self.kind.origin, folder / "audio.json"]  # written last

    def _leave_untrained(
        self, work: PretrainingWork, upstream: Upstream, encoder: SpeechEncoder
    ) -> None:
        """Write the student as it is initialised: only its teacher, or start, heard anything.

        Random weights have heard nothing.
        """
        random = self.given["initialisation"] == "random"
        heard = {} if random else self._heard_before(upstream)
        leave_untrained(work, parameters_of(encoder)["total"],
                        lambda best: self._write_untrained(encoder, best, heard))
        origin = self.kind.about(self.given, upstream, encoder, encoder)
        self._leave(work, {**origin, "epochs": 0})

    def _leave(self, work: PretrainingWork, origin: dict[str, Any]) -> None:
        write_json(Path(work.folder) / self.kind.origin, origin)
        write_json(Path(work.folder) / "audio.json", work.summary)

    # What every kind must say

    @abc.abstractmethod
    def _model(self, upstream: Upstream, encoder: SpeechEncoder, teacher: Teacher) -> nn.Module:
        """Return what is trained: the student with its helpers."""

    @abc.abstractmethod
    def _options(self, batches: int, passes: int, ranks: Ranks) -> LoopOptions:
        """Return the loop's options; `batches` per epoch and process, `passes` per update."""

    @abc.abstractmethod
    def _brain(self, *rest: Any, **more: Any) -> SERBrain:
        """Return the brain."""

    @abc.abstractmethod
    def _beside(self, best: Path, trained: bool) -> list[Path]:
        """Return the files in `best` that count beside the encoder."""

    @abc.abstractmethod
    def _write_untrained(self, encoder: SpeechEncoder, best: Path, heard: Heard) -> None:
        """Write the student without helpers into `best`."""

    # What a kind may say otherwise

    def _refuse_work(self, work: PretrainingWork, encoder: SpeechEncoder) -> None:
        """Refuse, before the teacher runs for a cache, what only shows in the work."""
        return

    def _more_caches(
        self, encoder: SpeechEncoder, work: PretrainingWork, folder: Path, options: dict[str, Any]
    ) -> list[Path]:
        """Write caches beside that of the targets and return their folders."""
        return []

    def _convolutions(self, encoder: SpeechEncoder) -> Mapping[str, str] | None:
        """Return the identity of the convolutions whose outputs are read from a cache."""
        return None

    def _equal_crops(self) -> bool:
        """Say whether all batches are padded to the length of a full crop."""
        return False

    def _spared(self) -> str:
        """Return what is spared of weight decay, see `groups.parameter_groups`."""
        return "none"

    def _heard_before(self, upstream: Upstream) -> Heard:
        """Return the corpora that the teacher has heard, as far as is known."""
        return source_of(upstream)

    def _learned(self, origin: dict[str, Any], best: Mapping[str, Any]) -> dict[str, Any]:
        """Return where the student comes from, with what the `best` epoch's line adds."""
        return origin
