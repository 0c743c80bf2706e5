"""The brain that learns from sound and words, with the concordance of the true batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from sertools.brains.tasks import Classification, Dimensions
from sertools.brains.true_batch import Found, TrueBatchBrain
from sertools.data.spoken import SpokenBatch
from sertools.objectives.concordance import concordance_loss
from torch import Tensor, nn
from torch.nn import functional as F

LOSSES = ("ccc", "mse", "ccc+mse")


class Ratings(Dimensions):
    """Affect dimensions with a choice of what is minimised.

    Args:
        names, scale: as of `Dimensions`.
        kind: ccc, the sum over the dimensions of 1 - CCC; mse, that of the mean squared errors on 0
            to 1; or ccc+mse, both added.
    """

    def __init__(self, names: Sequence[str], scale: Sequence[float], kind: str = "ccc"):
        super().__init__(names, scale)
        self.kind = kind

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss over all utterances given, scalar float32."""
        parts = []
        if "ccc" in self.kind:
            parts.append(concordance_loss(outputs, targets))
        if "mse" in self.kind:
            parts.append(F.mse_loss(outputs.float(), targets.float()))
        return self.num_outputs * torch.stack(parts).sum()


class AudioTextBrain(TrueBatchBrain):
    """Learn a task from batches that hold words, with the loss of the true batch.

    Args:
        rest: arguments of `TrueBatchBrain`; the model is an `AudioText`.
    """

    task: Classification | Ratings

    def found(self, batch: SpokenBatch, network: nn.Module, last: bool) -> Found:
        """Return outputs (B, K)."""
        return Found([network(*batch.arguments)], [])

    def update_loss(
        self, rows: Sequence[Tensor], shared: Sequence[Tensor], targets: Tensor
    ) -> Tensor:
        """Return the task's loss."""
        return self.task.loss(rows[0], targets)

    def dev_scores(self, ids: list[str], outputs: Tensor) -> dict[str, Any]:
        """Return the task's scores and its loss, over the whole part at once."""
        targets = self.task.targets(self.work.manifest, ids)
        truth = torch.stack([torch.as_tensor(targets[id]) for id in ids])
        task = self.task
        if isinstance(task, Classification) and task.balanced:  # weights are on the model's device
            outputs, truth = outputs.to(self.device), truth.to(self.device)
        loss = float(task.loss(outputs, truth))
        return {"loss": loss, **super().dev_scores(ids, outputs.cpu())}


def notes_of(read: Any, errors: Any, cut: int, total: int) -> list[str]:
    """Say what is worth knowing of the texts behind a result."""
    notes = list(read.flags)
    if errors is not None and errors.rate is not None:
        notes.append(f"their {errors.unit} error rate is {100 * errors.rate:.1f} % on "
                     f"{errors.utterances} utterances with a human text")
    if cut:
        notes.append(f"{cut} of {total} texts are longer than the text encoder reads and were cut")
    return notes
