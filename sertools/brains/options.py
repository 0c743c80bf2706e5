"""Options of the training loop, the schedule of the learning rate, and where a training stands."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sertools.errors import ConfigError


@dataclass(frozen=True)
class LoopOptions:
    """How a training loop runs; every brain takes these."""

    epochs: int = 50
    """Passes over the training part, at most."""
    accumulation: int = 1
    """Batches per optimizer step; what remains at the end of an epoch is a step too."""
    clip: float | None = 5.0
    """Largest norm of the gradient over all parameters together; None does not clip."""
    select: str = "UA"
    """Dev score that chooses the best epoch; `loss` is minimised, anything else maximised."""
    patience: int | None = None
    """Epochs without a better dev score before training ends early; None never ends early."""
    judge_training: bool = False
    """Without a dev part, let the mean training loss of an epoch, dropout and masks included,
    choose the best one and end training early; else the last epoch is taken."""
    nonfinite_patience: int = 3
    """Steps per epoch that may be skipped because of a NaN or infinite loss or gradient."""
    checkpoint_minutes: float = 10.0
    """Minutes between checkpoints; a better dev score and a stop always write one."""
    checkpoint_steps: int | None = None
    """Optimizer steps between checkpoints, in addition to the minutes."""
    keep: int = 2
    """Checkpoints kept while training, 2 or more: the newest may be damaged."""
    log_every: int = 50
    """Optimizer steps between looks at the running loss (each waits for the GPU)."""
    find_unused_parameters: bool = False
    """Needed on several ranks if parts of the model may take no part in a step (layerdrop)."""
    tensorboard: bool = True
    """Write TensorBoard curves beside metrics.jsonl."""

    def __post_init__(self) -> None:
        at_least = {"epochs": 1, "accumulation": 1, "nonfinite_patience": 0, "keep": 2,
                    "log_every": 1, "patience": 1, "checkpoint_steps": 1}
        problems = [f"{name} is {getattr(self, name)}: give {least} or more"
                    for name, least in at_least.items()
                    if getattr(self, name) is not None and getattr(self, name) < least]
        if self.clip is not None and not self.clip > 0:
            problems.append(f"clip is {self.clip}: give a positive norm, or null for none")
        if not self.checkpoint_minutes > 0:
            problems.append(f"checkpoint_minutes is {self.checkpoint_minutes}: give more than 0")
        if problems:
            raise ConfigError("the options of training are not sound", problems)

    def that_change_results(self) -> dict[str, Any]:
        """Return the options that must be equal when training goes on from a checkpoint."""
        without = {"checkpoint_minutes", "checkpoint_steps", "keep", "log_every", "tensorboard",
                   "find_unused_parameters"}
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if name not in without}


@dataclass(frozen=True)
class Cycle:
    """A learning rate that swings, one step per epoch (Smith 2017, arXiv 1506.01186).

    The same rates and momenta as `torch.optim.lr_scheduler.CyclicLR` in its triangular mode,
    stepped after every epoch.
    """

    up: int = 10
    """Epochs from the full rate to the top."""
    down: int = 10
    """Epochs from the top back to the full rate."""
    peak: float = 2.0
    """The top, as a multiple of the full rate."""
    momentum: Sequence[float] | None = (0.9, 0.8)
    """Momentum at the full rate and at the top; None leaves it as the optimizer has it."""

    def __post_init__(self) -> None:
        problems = [f"{name} is {getattr(self, name)}: give whole epochs, 1 or more"
                    for name in ("up", "down")
                    if not (isinstance(getattr(self, name), int) and getattr(self, name) >= 1)]
        if not self.peak > 0:
            problems.append(f"peak is {self.peak}: give more than 0")
        if self.momentum is not None and not (
            len(self.momentum) == 2 and all(0 <= value < 1 for value in self.momentum)
        ):
            problems.append(f"momentum is {self.momentum}: give two values, 0 or more, less than 1")
        if problems:
            raise ConfigError("the cycle of the learning rate is not sound", problems)

    def height(self, epoch: int) -> float:
        """Return where epoch `epoch`, counted from 0, is between the full rate (0) and top (1)."""
        place = epoch % (self.up + self.down)
        return place / self.up if place <= self.up else (self.up + self.down - place) / self.down


@dataclass(frozen=True)
class Schedule:
    """Learning rate over the whole training, as a closed form of how much of it is done."""

    kind: str = "cosine"
    """cosine (to `floor`), linear (to `floor`) or constant, after the warm-up; or cyclic."""
    warmup: float = 0.0
    """Share of the training during which the rate rises linearly from 0."""
    floor: float = 0.0
    """Share of the full rate that cosine and linear end at."""
    cycle: Cycle | None = None
    """How the rate swings, for cyclic."""
    per_epoch: bool = False
    """One rate for all steps of an epoch, as schedulers that are stepped after an epoch give; the
    warm-up is then the nearest number of whole epochs. Cyclic always is so."""

    def __post_init__(self) -> None:
        problems = []
        if self.kind not in ("cosine", "linear", "constant", "cyclic"):
            problems.append(f"schedule is {self.kind!r}: use cyclic, cosine, linear or constant")
        if (self.kind == "cyclic") != (self.cycle is not None):
            problems.append(f"schedule is {self.kind!r}, cycle is {self.cycle}: cyclic needs a "
                            "cycle, nothing else has one")
        if self.kind == "cyclic" and (self.warmup or self.floor):
            problems.append("warmup and floor: a cyclic rate has neither, set both to 0")
        for name in ("warmup", "floor"):
            if not 0 <= getattr(self, name) < 1:
                problems.append(f"{name} is {getattr(self, name)}: give 0 or more, less than 1")
        if problems:
            raise ConfigError("the schedule of the learning rate is not sound", problems)

    def factor(self, done: float, epoch: int = 0, epochs: int = 1) -> float:
        """Return what the full rate is multiplied with when the share `done` (0 to 1) is over.

        Args:
            done: share of the whole training.
            epoch: the running one, counted from 0; all that cyclic looks at.
            epochs: of the whole training; with the epoch, all that `per_epoch` looks at: the rate
                rises to 1 in equal steps and would be at `floor` in the epoch after the last.
        """
        if self.cycle is not None:
            return 1 + (self.cycle.peak - 1) * self.cycle.height(epoch)
        if self.per_epoch:
            rising = round(self.warmup * epochs)
            if epoch < rising:
                return (epoch + 1) / rising
            rest = (epoch - rising) / (epochs - rising)
        elif done < self.warmup:
            return done / self.warmup
        else:
            rest = (done - self.warmup) / (1 - self.warmup)
        fall = {"constant": 1.0, "linear": 1 - rest, "cosine": (1 + math.cos(math.pi * rest)) / 2}
        return self.floor + (1 - self.floor) * fall[self.kind]

    def momentum(self, epoch: int) -> float | None:
        """Return the momentum of an epoch, counted from 0; None: the optimizer's own."""
        if self.cycle is None or self.cycle.momentum is None:
            return None
        base, top = self.cycle.momentum
        return base - (base - top) * self.cycle.height(epoch)


@dataclass
class Progress:
    """Where a training stands: all that a resumed one must know beside weights and generators."""

    epoch: int = 0
    """Epochs that are over, dev scores included."""
    batch: int = 0
    """Batches of this rank consumed in the running epoch."""
    step: int = 0
    """Optimizer steps so far, skipped ones included."""
    skipped: int = 0
    """Steps skipped in the running epoch because something was not finite."""
    best_score: float | None = None
    best_epoch: int = 0
    waiting: int = 0
    """Epochs since the best one."""
    seconds: float = 0.0
    """Time spent on the running epoch."""
    seconds_before: float = 0.0
    """Time spent on the epochs that are over."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One entry per finished epoch, the lines of metrics.jsonl."""

    def state_dict(self) -> dict[str, Any]:
        """Return all fields as plain values."""
        return dataclasses.asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        for item in dataclasses.fields(self):
            setattr(self, item.name, state[item.name])

    def judge(self, score: float | None, lowest: bool) -> bool:
        """Note an epoch's score (None, NaN: not defined); return whether it is the best so far."""
        undefined = score is None or math.isnan(score)
        score = -math.inf if undefined else -score if lowest else score
        best = self.best_score if self.best_score is None or not lowest else -self.best_score
        better = best is None or score > best
        if better:
            self.best_score, self.best_epoch = -score if lowest else score, self.epoch
        self.waiting = 0 if better else self.waiting + 1
        return better

    def begin_next_epoch(self) -> None:
        """Forget what belongs to the epoch that is over."""
        self.seconds_before += self.seconds
        self.batch, self.skipped, self.seconds = 0, 0, 0.0

    def over(self, options: LoopOptions) -> bool:
        """Say whether training has ended."""
        tired = options.patience is not None and self.waiting >= options.patience
        return self.epoch >= options.epochs or tired
