"""The brain that distils a shallow student: several layers of a frozen teacher, predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from sertools.brains.base import SERBrain
from sertools.brains.distiller_files import write_student
from sertools.brains.teacher import Teacher, spread_within
from sertools.data.targets import TargetBatch
from sertools.models.distilled import Distiller
from sertools.models.weights import save_encoder
from sertools.models.weights.heard import Heard
from sertools.objectives.knowledge import l1_and_cosine
from speechbrain.core import Stage
from torch import Tensor


class Compared(NamedTuple):
    """What a pass compares."""

    predictions: Tensor
    """(B, K, T, D)."""
    targets: Tensor
    """(B, K, T, D)."""
    mask: Tensor
    """(B, T) bool: the frames of the loss."""


class DistillerBrain(SERBrain):
    """Predict layers of a teacher: L1 distance and cosine similarity (arXiv 2110.01900).

    The loss of an update is the mean over all frames of all its passes and processes, and over the
    layers, of |difference| (meant over channels) - cosine_weight * log sigmoid(cosine).

    Beside both terms, metrics.jsonl tells them for every layer, and the standard deviation of the
    targets within a pass.

    Args:
        objective: values of `DistillerPretrainer`, by name.
        teacher: gives the targets.
        heard: the corpora that the student has heard in the end, and their speakers.
        rest: arguments of `SERBrain`; the model is a `Distiller`.
    """

    raw_model: Distiller

    def __init__(
        self, *rest: Any, objective: dict[str, Any], teacher: Teacher, heard: Heard | None = None,
        **more: Any,
    ):
        self.loss_parts = ("l1", "cosine", *(f"{term}_{depth}" for term in ("l1", "cosine")
                                             for depth in teacher.layers), "target_std")
        super().__init__(*rest, **more)
        self.objective, self.teacher, self.heard = objective, teacher, heard
        self._frames = torch.ones((), device=self.device)

    def compute_forward(self, batch: TargetBatch, stage: Stage) -> Compared:
        """Return what the student predicts, the targets, and the frames that count."""
        predictions, _ = self.network(stage)(
            batch.inputs, batch.lengths, normalised=self.objective["crop"] == "random")
        frames = predictions.shape[2]
        targets = self.teacher.targets(batch, frames)
        steps = torch.arange(frames, device=predictions.device)
        mask = steps[None] < batch.frames[:, None]
        if self.objective["padding"] == "released":
            mask = torch.ones_like(mask)
        return Compared(predictions, targets, mask)

    def compute_objectives(self, outputs: Compared, batch: TargetBatch, stage: Stage) -> Tensor:
        """Return the mean over the frames of this pass, see the class."""
        difference, distance, count = l1_and_cosine(*outputs)
        self._frames = count.clamp(min=1).float()
        by_layer = {"l1": difference / self._frames, "cosine": distance / self._frames}
        self.parts = {name: value.detach().mean() for name, value in by_layer.items()}
        for name, value in by_layer.items():
            named = dict(zip(self.teacher.depths, value.detach(), strict=True))
            self.parts |= {f"{name}_{depth}": one for depth, one in named.items()}
        self.parts["target_std"] = spread_within(outputs.targets, outputs.mask)
        weight = self.objective["cosine_weight"]
        return by_layer["l1"].mean() + weight * by_layer["cosine"].mean()

    def loss_weight(self, outputs: Compared, batch: TargetBatch) -> Tensor:
        """Return the frames that the loss of a pass is a mean over."""
        return self._frames

    def write_best(self, folder: Path) -> None:
        """Write the student, for transformers too where that can run it, and the heads."""
        write_student(self.raw_model.encoder, self.raw_model.heads, folder, self.heard)

    def end_epoch(self, epoch: int) -> None:
        """Keep the student of every so many epochs, for learning curves."""
        every = self.objective["keep_epochs"]
        if every and epoch % every == 0 and self.ranks.main:
            save_encoder(self.raw_model.encoder, self.folder / f"epoch{epoch:04d}", self.heard)
