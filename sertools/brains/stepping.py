"""One step of training: gradients over batches and ranks, clipping, and no NaN that gets in."""

from __future__ import annotations

from typing import Any

import torch
from sertools.brains.distributed import Ranks
from sertools.brains.logs import Sums
from sertools.brains.numerics import Guard, scale_and_clip
from sertools.brains.options import LoopOptions, Progress, Schedule
from sertools.brains.weights import TrainedWeights
from sertools.errors import ConfigError
from speechbrain.core import Brain, Stage
from speechbrain.utils.run_opts import RunOptions
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class SteppingBrain(Brain):
    """A Brain whose steps are right; `SERBrain` adds epochs, dev scores and checkpoints.

    The gradient of a step is the mean over all its utterances, whatever the number of batches and
    ranks, the last batches of an epoch included. Clipping covers all parameter groups. A loss or
    gradient that is not finite never reaches the weights. No step waits for the GPU.

    Args:
        model: the one module that is trained.
        work: the unit, see `FoldWork`.
        device: cpu or cuda:<index>.
        ranks: the processes of this training.
        options: how the loop runs.
        schedule: of the learning rate.
    """

    optimizer: torch.optim.Optimizer
    guard: Guard
    loss_parts: tuple[str, ...] = ()
    """Names of `parts` that are reported beside the loss."""
    parts: dict[str, Tensor]
    """Further numbers about the last batch, on the device, set by `compute_objectives`."""

    def __init__(
        self,
        model: nn.Module,
        work: Any,
        device: str,
        ranks: Ranks,
        options: LoopOptions,
        schedule: Schedule,
    ):
        if work.precision not in ("fp32", "bf16"):
            raise ConfigError(f"precision is {work.precision!r}", remedy="use fp32 or bf16")
        super().__init__({"model": model}, run_opts=RunOptions.from_dictionary({
            "device": device,
            "precision": work.precision,
            "eval_precision": work.precision,
            "find_unused_parameters": options.find_unused_parameters,
        }))
        self.raw_model, self.work, self.ranks = self.modules["model"], work, ranks
        self.options, self.schedule = options, schedule
        self.progress, self.sums = Progress(), Sums(self.device, self.loss_parts)
        self.weights = TrainedWeights(self.raw_model)
        self._trained = [p for p in self.raw_model.parameters() if p.requires_grad]
        self.seconds: dict[str, float] = {}
        self._batches = self._epoch = 0
        self._weight: float | Tensor = 0.0
        self.parts = {}

    def loss_weight(self, outputs: Any, batch: Any) -> float | Tensor:
        """Return what the loss of a batch is a mean over: utterances, unless overridden."""
        return float(len(batch.ids))

    def audio_seconds(self, batch: Any) -> float:
        """Return the seconds of audio in a batch, for the speed that is logged."""
        return sum(self.seconds[id] for id in batch.ids)

    def after_step(self) -> None:
        """Follow an optimizer step (an EMA teacher does)."""

    def between_steps(self) -> None:
        """Do what may only happen when no gradient is pending."""

    def network(self, stage: Stage) -> nn.Module:
        """Return the model to call: wrapped for gradients in training, bare elsewhere."""
        return self.modules["model"] if stage == Stage.TRAIN else self.raw_model

    def freeze(self, part: nn.Module, frozen: bool) -> None:
        """Freeze or unfreeze a part for some epochs; call it in `begin_epoch`.

        What was frozen when the brain was made stays frozen.
        """
        inside = {id(p) for p in part.parameters()}
        changed = [p for p in self._trained if id(p) in inside and p.requires_grad == frozen]
        for parameter in changed:
            parameter.requires_grad_(not frozen)
        if changed:
            self._wrap_distributed()

    def _wrap_distributed(self) -> None:
        if not self.ranks.together:
            return
        self.modules["model"] = DistributedDataParallel(
            self.raw_model,
            device_ids=[torch.device(self.device)] if self.device_type == "cuda" else None,
            find_unused_parameters=self.find_unused_parameters,
        )

    def fit_batch(self, batch: Any) -> None:
        """Learn from a batch; every `accumulation` of them, and at the end, make a step."""
        progress, factor = self.progress, self.options.accumulation
        if progress.batch % factor == 0:
            self.guard.begin_step()
            self._weight = 0.0
        completes = (progress.batch + 1) % factor == 0 or progress.batch + 1 == self._batches
        seconds = self.audio_seconds(batch)
        batch = batch.to(self.device, non_blocking=True)
        with self.no_sync(not completes):
            with self.training_ctx:
                outputs = self.compute_forward(batch, Stage.TRAIN)
                loss = self.compute_objectives(outputs, batch, Stage.TRAIN)
            weight = self.loss_weight(outputs, batch)
            total = loss.float() * weight
            if self.guard.admits(loss, self._describe(batch)):
                total.backward()
                self._weight = self._weight + weight
                self._count(total.detach(), weight, seconds)
        progress.batch += 1
        if completes:
            self.optimizers_step()
            self.after_step()
            self.between_steps()

    def optimizers_step(self) -> None:
        """Make a step with the mean gradient over all utterances of all batches and ranks."""
        self._set_rates()
        norm = None
        if self.guard.lazily or not self.guard.bad:
            weight = torch.zeros((), device=self.device) + self._weight
            weight = self.ranks.sum(weight)
            norm = scale_and_clip(
                self.raw_model.parameters(), self.ranks.world_size / weight, self.options.clip
            )
        bad = self.guard.step_is_bad(norm)
        if self.guard.lazily:
            self.optimizer.found_inf = bad.float()
            self.optimizer.grad_scale = None
            self.optimizer.step()
        elif not bad:
            self.optimizer.step()
        else:
            self.guard.report()
            self._skipped(1)
        if norm is not None:
            self.sums.add("norm", torch.nan_to_num(norm, 0.0, 0.0, 0.0))
            self.sums.add("steps", 1.0)
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.step += 1
        self.optimizer_step = self.progress.step

    def _set_rates(self) -> None:
        """Take the rate at the middle of this step's batches, so that it is 0 at neither end."""
        after = self.progress.batch
        before = after - 1 - (after - 1) % self.options.accumulation
        epochs_done = self.progress.epoch + (before + after) / 2 / self._batches
        epoch = self.progress.epoch
        epochs = self.options.epochs
        factor = self.schedule.factor(epochs_done / epochs, epoch, epochs)
        momentum = self.schedule.momentum(epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
            if momentum is not None:
                group["momentum"] = momentum

    def _count(self, total: Tensor, weight: float | Tensor, seconds: float) -> None:
        if self.guard.lazily:
            finite = torch.isfinite(total)
            total = torch.where(finite, total, 0.0)
            weight = finite * weight
        self.sums.add("loss", total)
        self.sums.add("weight", weight)
        self.sums.add("audio_seconds", seconds)
        for name, value in self.parts.items():
            self.sums.add(name, torch.nan_to_num(value) * weight)

    def _describe(self, batch: Any) -> dict[str, Any]:
        return {"epoch": self._epoch, "step": self.progress.step + 1, "ids": list(batch.ids),
                "shape": list(batch.inputs.shape), "lengths": batch.lengths}

    def settle(self) -> None:
        """Learn from the device which steps were bad (waits for it). Call it on all ranks."""
        self._skipped(self.guard.settle())

    def _skipped(self, count: int) -> None:
        if count:
            self.progress.skipped += count
            self.guard.give_up_after(self.progress.skipped)
