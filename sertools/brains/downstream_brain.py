"""The brain of downstream training: a task, a model with a head, optional augmentation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sertools.brains.augmentation import Augmentation
from sertools.brains.base import SERBrain
from sertools.brains.best import write_model
from sertools.brains.settings import summands
from sertools.brains.tasks import Classification, Dimensions
from sertools.brains.votes import Candidates, voted_epoch
from sertools.data.batching import Batch
from speechbrain.core import Stage
from torch import Tensor, nn


class DownstreamBrain(SERBrain):
    """Learn a task from audio or features.

    Args:
        task: targets, loss, scores.
        augmentation: of waveforms in training.
        frozen_epochs: (module, n): freeze a part of the model for its first n epochs.
        votes: choose the published epoch by votes of the dev scores in `options.select` (see
            `voted_epoch`); their sum still ends training early.
        rest: arguments of `SERBrain`.
    """

    def __init__(
        self,
        *rest: Any,
        task: Classification | Dimensions,
        augmentation: Augmentation | None = None,
        frozen_epochs: tuple[nn.Module, int] | None = None,
        votes: bool = False,
        **more: Any,
    ):
        super().__init__(*rest, **more)
        self.candidates = Candidates(self.folder, summands(self.options.select)) if votes else None
        self.task, self.augmentation, self.frozen_epochs = task, augmentation, frozen_epochs

    def begin_epoch(self, epoch: int) -> None:
        """Freeze or unfreeze what is frozen for the first epochs only."""
        if self.frozen_epochs is not None:
            part, epochs = self.frozen_epochs
            self.freeze(part, epoch <= epochs)

    def end_epoch(self, epoch: int) -> None:
        """Keep the model as long as it may be voted for."""
        if self.candidates is not None:
            self._alone(lambda: self.candidates.keep(self.progress.history, self.write_best))

    def _checkpoint(self, end_of_epoch: bool) -> None:
        super()._checkpoint(end_of_epoch)
        if self.candidates is not None:
            self._alone(lambda: self.candidates.drop(self.progress.history))

    def finish(self) -> None:
        """Publish the epoch that was voted for."""
        if self.candidates is not None:
            history = self.progress.history
            self._alone(lambda: self.candidates.elect(history, self.folder / "best"))
            self.progress.best_epoch = voted_epoch(history, self.candidates.scores)
            self.progress.best_score = history[self.progress.best_epoch - 1]["dev"][
                self.options.select]

    def _alone(self, action: Callable[[], None]) -> None:
        """Let rank 0 act; the others wait, and fail with it."""
        self.ranks.attempt(action if self.ranks.main else None)

    def compute_forward(self, batch: Batch, stage: Stage) -> Tensor:
        """Return outputs (B, K)."""
        inputs, lengths = batch.inputs, batch.lengths
        if stage == Stage.TRAIN and self.augmentation is not None:
            inputs, lengths = self.augmentation(inputs, lengths)
        return self.network(stage)(inputs, lengths)

    def compute_objectives(self, outputs: Tensor, batch: Batch, stage: Stage) -> Tensor:
        """Return the task's loss, scalar."""
        return self.task.loss(outputs, batch.targets)

    def loss_weight(self, outputs: Tensor, batch: Batch) -> float | Tensor:
        """Return what the loss is a mean over."""
        return self.task.loss_weight(batch.targets)

    def dev_scores(self, ids: list[str], outputs: Tensor) -> dict[str, Any]:
        """Return the task's scores, and the sum of those that choose the best epoch together."""
        scores = self.task.scores(self.work.manifest, ids, outputs)
        wanted = summands(self.options.select)
        if len(wanted) == 1:
            return scores
        values = [scores[name] for name in wanted]
        return {**scores, self.options.select: None if None in values else sum(values)}

    def write_best(self, folder: Path) -> None:
        """Write weights and description."""
        write_model(folder, self.weights, {**self.describe(), **self.progress.history[-1]})

    def describe(self) -> dict[str, Any]:
        """Return what is known of the model beside its last epoch."""
        return {**self.task.describe(), "seed": self.work.seed, "select": self.options.select,
                **self._layer_weights()}

    def _layer_weights(self) -> dict[str, list[float]]:
        """Return what is learned of how much each layer counts, if anything."""
        head = getattr(self.raw_model, "head", self.raw_model)
        head = getattr(self.raw_model, "reader", head)
        if not isinstance(getattr(head, "layer_weights", None), nn.Parameter):
            return {}
        return {"layer_weights": head.layer_weights.detach().double().softmax(0).tolist()}
