"""SERBrain: SpeechBrain's training loop with its weaknesses mended in one place."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from sertools.brains.checkpoints import AtomicCheckpointer, as_plain
from sertools.brains.cost import encoder_size, write_cost
from sertools.brains.distributed import Ranks, gather_by_id
from sertools.brains.loaders import begin_epoch
from sertools.brains.logs import Logs, epoch_line, progress_bar
from sertools.brains.numerics import Guard, refuse_odd_outputs
from sertools.brains.options import LoopOptions, Schedule
from sertools.brains.randomness import RandomState, seed_training
from sertools.brains.stepping import SteppingBrain
from sertools.errors import Interrupted
from sertools.files import publish, remove_leftovers, write_json
from speechbrain.core import Stage
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

DONE = "training.json"


class SERBrain(SteppingBrain):
    """Train one model to the end, however often it is interrupted.

    Subclasses write `compute_forward`, `compute_objectives` and `dev_scores`; they may write
    `loss_weight`, `after_step`, `begin_epoch`, `end_epoch`, `finish`, `audio_seconds` and
    `write_best`, and
    name parts of the loss that they report in `parts` as `loss_parts`. They call
    `self.network(stage)`, never `self.modules.model`. A part of the model that changes without
    gradients (an EMA teacher) has an attribute `moving = True`; else it counts as frozen.

    What differs from SpeechBrain's Brain, beside the steps (`SteppingBrain`): frozen parts stay in
    evaluation mode; the dev part is shared out over the ranks and gathered by id; checkpoints are
    atomic, verified, and complete down to the generators.

    Args:
        model: the one module that is trained, already on no particular device.
        work: the unit, see `FoldWork`.
        device: cpu or cuda:<index>.
        ranks: the processes of this training.
        options: how the loop runs.
        schedule: of the learning rate.
        optimizer: makes the optimizer from the model; its groups have `initial_lr`.
        setup: further settings that must not change between checkpoint and resumption.
    """

    notes: Sequence[str] = ()
    flags: Sequence[str] = ()
    """What all results of this training tell, in words; flags make them less comparable."""

    def __init__(
        self,
        model: nn.Module,
        work,
        device: str,
        ranks: Ranks,
        options: LoopOptions,
        schedule: Schedule,
        optimizer: Callable[[nn.Module], Optimizer],
        setup: Mapping[str, Any] | None = None,
    ):
        super().__init__(model, work, device, ranks, options, schedule)
        self.make_optimizer = optimizer
        self.folder = Path(work.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.logs = Logs(self.folder, ranks, options.tensorboard)
        self.checkpointer = AtomicCheckpointer(
            self.folder / "checkpoints", ranks, self._setup(setup or {}), options.keep, work.say
        )
        self.checkpointer.add_recoverable("model", self.weights)
        self.checkpointer.add_json("progress", self.progress)
        self.checkpointer.add_per_rank("rng", RandomState())
        self.checkpointer.add_per_rank("sums", self.sums)
        self._last_checkpoint = (time.monotonic(), 0)

    # What subclasses write

    def dev_scores(self, ids: list[str], outputs: Tensor) -> dict[str, Any]:
        """Return plain scores of the dev part from all outputs, sorted by id."""
        return {}

    def begin_epoch(self, epoch: int) -> None:
        """Prepare an epoch, before the model is put into training mode."""

    def end_epoch(self, epoch: int) -> None:
        """Follow an epoch, after its scores and before its checkpoint."""

    def finish(self) -> None:
        """Follow the last epoch, before training counts as done."""

    def write_best(self, folder: Path) -> None:
        """Write the best model so far into an empty folder that is then published."""

    # The loop

    def learn(self, train: DataLoader, dev: DataLoader | None = None) -> None:
        """Train from wherever the last run stopped until the end.

        Args:
            train: from `make_loader`; its dataset has `ids` and `seconds`.
            dev: likewise; None takes the last epoch as the best, unless `judge_training`.

        Raises:
            Interrupted: a stop was asked for; everything is saved.
            Diverged: too many steps were not finite.
            ConfigError: the checkpoint was written with other settings.
        """
        if self.ranks.main:
            remove_leftovers(self.folder)
        self.seconds = dict(zip(train.dataset.ids, train.dataset.seconds, strict=True))
        try:
            self.fit(self._epochs(), train, dev)
        finally:
            self.logs.close()
        self.finish()
        self.checkpointer.delete_checkpoints(num_to_keep=1)
        if self.ranks.main:
            done = {name: value for name, value in self.progress.state_dict().items()
                    if name in ("epoch", "step", "best_score", "best_epoch")}
            sizes = [(p.numel(), p.requires_grad) for p in self.raw_model.parameters()]
            write_cost(
                self.folder, sum(size for size, _ in sizes), sum(size for size, on in sizes if on),
                self.progress.seconds_before, self.device, self.ranks.world_size,
                encoder=encoder_size(self.raw_model, getattr(self.work, "features", None)),
                flags=self.flags, notes=self.notes,
            )
            write_json(self.folder / DONE, {**done, "select": self.options.select})

    def on_fit_start(self) -> None:
        """Wrap, make the optimizer, seed, and go back to the last checkpoint."""
        self._wrap_distributed()
        self.optimizer = self.make_optimizer(self.raw_model)
        self.optimizers_dict = {"optimizer": self.optimizer}
        self.checkpointer.add_recoverable("optimizer", self.optimizer)
        lazily = self.device_type == "cuda" and all(
            group.get("fused") for group in self.optimizer.param_groups
        )
        self.guard = Guard(self.ranks, self.folder, self.options.nonfinite_patience,
                           self.work.say, lazily)
        seed_training(self.work.seed, self.ranks.rank)
        if self.checkpointer.recover_if_possible():
            self.work.say(f"going on after epoch {self.progress.epoch}, "
                          f"step {self.progress.step}")
            self.logs.write(self.progress.history)
            if not self.ranks.share((self.folder / "best").is_dir()):
                self.progress.best_score = None  # killed while it was replaced: the next is best
        self._last_checkpoint = (time.monotonic(), self.progress.step)

    def _epochs(self) -> Iterator[int]:
        while not self.progress.over(self.options):
            yield self.progress.epoch + 1

    def _fit_train(self, train_set: DataLoader, epoch: int, enable: bool) -> None:
        progress = self.progress
        begin_epoch(train_set, epoch, self.work.seed, self.ranks.rank, progress.batch)
        self.begin_epoch(epoch)
        self.modules.train()
        self.weights.eval_frozen()
        self.zero_grad(set_to_none=True)
        self._batches = len(train_set)
        self._epoch = epoch
        self._clock = time.monotonic()
        bar = progress_bar(train_set, f"epoch {epoch}", self._batches, progress.batch, enable)
        with contextlib.closing(bar):
            for batch in bar:
                self.fit_batch(batch)
                if self._looks(bar):
                    bar.set_postfix(loss=f"{self.sums.running_loss():.4f}")
        self.settle()
        steps = -(-self._batches // self.options.accumulation)
        self.guard.give_up_after(self.progress.skipped, steps)
        self._take_time()

    def _looks(self, bar: Any) -> bool:
        """Say whether it is time to look at the running sums."""
        due = self.progress.step % self.options.log_every == 0
        if due:
            self.settle()
        return due and not bar.disable

    # The end of an epoch

    def _fit_valid(self, valid_set: DataLoader | None, epoch: int, enable: bool) -> None:
        scores = {} if valid_set is None else self.assess(valid_set, enable)
        progress, means = self.progress, self.sums.means(self.ranks)
        speed = means.pop("audio_seconds") / max(progress.seconds, 1e-9)
        line = {
            "epoch": epoch, "step": progress.step,
            "train": {**means, "skipped_steps": progress.skipped}, "dev": scores,
            "lr": self.optimizer.param_groups[0]["lr"], "audio_seconds_per_second": speed,
        }
        progress.epoch = epoch
        progress.history.append(as_plain(line))
        judged = valid_set is not None or self.options.judge_training
        if judged:
            chosen = "loss" if valid_set is None else self.options.select
            score = self.ranks.share({**means, **scores}[chosen])  # so that all decide alike
            best = progress.judge(score, chosen == "loss")
        else:
            best, progress.best_epoch = True, epoch
        if best:
            self._publish_best()
        self.end_epoch(epoch)
        progress.begin_next_epoch()
        self.sums.reset()
        if best or self.ranks.any([self._due()])[0] or progress.over(self.options):
            self._checkpoint(end_of_epoch=True)
        self.logs.write(progress.history)
        if self.ranks.main:
            told = best and judged  # else nothing is compared
            self.work.say(epoch_line(progress.history[-1], self.options.select, told))

    def assess(self, loader: DataLoader, show: bool = False) -> dict[str, Any]:
        """Return the loss and `dev_scores` of a part; every utterance counts once."""
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        common = min(self.ranks.gather(len(loader)))
        begin_epoch(loader, 0, self.work.seed, self.ranks.rank)
        self.modules.eval()
        found: list[tuple[list[str], Tensor]] = []
        with torch.no_grad(), contextlib.closing(
            progress_bar(loader, "dev", len(loader), 0, show)
        ) as bar:
            for number, batch in enumerate(bar):
                if number < common and self.ranks.any([self.work.should_stop()])[0]:
                    self._stop()
                batch = batch.to(self.device, non_blocking=True)
                with self.evaluation_ctx:
                    outputs = self.compute_forward(batch, Stage.VALID)
                    loss = self.compute_objectives(outputs, batch, Stage.VALID)
                weight = self.loss_weight(outputs, batch)
                sums += torch.stack([loss.double() * weight, torch.ones_like(sums[0]) * weight])
                if isinstance(outputs, Tensor):
                    found.append((batch.ids, outputs.float()))
        loss, weight = self.ranks.sum(sums).tolist()
        ids, outputs = gather_by_id(found, self.ranks)
        refuse_odd_outputs(ids, outputs)
        return {"loss": loss / max(weight, 1e-9), **self.dev_scores(ids, outputs)}

    def _publish_best(self) -> None:
        def write() -> None:
            with publish(self.folder / "best") as folder:
                folder.mkdir()
                self.write_best(folder)

        self.ranks.attempt(write if self.ranks.main else None)

    # Checkpoints

    def between_steps(self) -> None:
        """Write a checkpoint if one is due; stop if that was asked for."""
        stop, due = self.ranks.any([self.work.should_stop(), self._due()])
        if stop:
            self._stop()
        elif due:
            self._checkpoint(end_of_epoch=False)

    def _due(self) -> bool:
        moment, step = self._last_checkpoint
        steps = self.options.checkpoint_steps
        if steps is not None and self.progress.step - step >= steps:
            return True
        return time.monotonic() - moment >= 60 * self.options.checkpoint_minutes

    def _stop(self) -> None:
        self._checkpoint(end_of_epoch=False)
        raise Interrupted(
            f"stopped on request in epoch {self.progress.epoch + 1} after step "
            f"{self.progress.step}; everything is saved",
            remedy="run the same command to go on",
        )

    def _checkpoint(self, end_of_epoch: bool) -> None:
        if not end_of_epoch:
            self.settle()
            self._take_time()
        self.checkpointer.save_and_keep_only(end_of_epoch=end_of_epoch)
        self._last_checkpoint = (time.monotonic(), self.progress.step)

    def _take_time(self) -> None:
        """Count the seconds since this was last asked, or since the epoch went on."""
        now = time.monotonic()
        self.progress.seconds += now - self._clock
        self._clock = now

    def _setup(self, more: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "world_size": self.ranks.world_size, "seed": self.work.seed,
            "precision": self.work.precision, "frozen_weights": self.weights.frozen,
            **self.options.that_change_results(), **dataclasses.asdict(self.schedule), **more,
        }
