"""The brain that pretrains Vesper: a thinned student, two masks, a frozen teacher."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sertools.brains.base import SERBrain
from sertools.brains.teacher import Teacher, spread_within
from sertools.brains.vesper_files import without_mask, write_student
from sertools.data.targets import TargetBatch
from sertools.models.encoder import prepare
from sertools.models.vesper import TERMS, Predictions, Vesper, released_frames
from sertools.models.weights import save_encoder
from sertools.models.weights.heard import Heard
from sertools.objectives.emotion_masking import MaskRule, draw_masks, frame_energy
from sertools.objectives.regression import masked_regression
from speechbrain.core import Stage
from torch import Tensor

SHARES = ("small_share", "large_share")
"""Share of the real frames that each mask covers."""


@dataclass
class MaskedBatch(TargetBatch):
    """A batch with its masks; waveforms are normalised."""

    small: Tensor | None = None
    """(B, T) bool."""
    large: Tensor | None = None
    """(B, T) bool."""
    everything: Tensor | None = None
    """(B, T) bool: the frames of the cross loss."""
    real: Tensor | None = None
    """(B, T) bool: frames that are not padding."""


class VesperBrain(SERBrain):
    """Regress masked and unmasked frames to two depths of a teacher (arXiv 2307.10757).

    With S, G and A the small-masked, large-masked and all frames of an update, over all passes and
    processes, its loss is the sum over the losses of weight * (squared errors on S, G or A, meant
    over channels) / (number of these frames). The batches of an update are therefore held until
    they are complete, and the masks of all are drawn before the first is learned from.

    Beside the losses, metrics.jsonl tells the masked shares, and the standard deviation of the
    targets within a pass.

    Args:
        objective: values of `VesperPretrainer`, by name.
        rule: how masks are drawn.
        teacher: gives the targets.
        heard: the corpora that the student has heard in the end, and their speakers.
        rest: arguments of `SERBrain`; the model is a `Vesper`.
    """

    raw_model: Vesper

    def __init__(
        self, *rest: Any, objective: dict[str, Any], rule: MaskRule, teacher: Teacher,
        heard: Heard | None = None, **more: Any,
    ):
        self.weight_of = {name: float(objective[f"{name}_weight"]) for name in TERMS}
        self.loss_parts = (*(name for name in TERMS if self.weight_of[name]), *SHARES,
                           "target_std")
        super().__init__(*rest, **more)
        self.objective, self.rule, self.teacher, self.heard = objective, rule, teacher, heard
        self._held: list[TargetBatch] = []
        self._counts = {name: torch.ones((), device=self.device) for name in (*TERMS, "real")}
        self._share = 1.0

    # An update as a whole

    def begin_epoch(self, epoch: int) -> None:
        """Forget batches that an interruption left."""
        self._held = []

    def fit_batch(self, batch: TargetBatch) -> None:
        """Hold a batch; learn from all that are held once they make an update."""
        self._held.append(batch.to(self.device, non_blocking=True))
        read = self.progress.batch + len(self._held)
        if read % self.options.accumulation and read != self._batches:
            return
        held, self._held = [self._mask(batch) for batch in self._held], []
        self._count_frames(held)
        for batch in held:
            super().fit_batch(batch)

    @torch.no_grad()
    def _mask(self, batch: TargetBatch) -> MaskedBatch:
        """Normalise the crops and draw their masks from how loud they are."""
        given, config = self.objective, self.raw_model.encoder.config
        released = given["padding"] == "released"
        waves = prepare(batch.inputs, None if released else batch.lengths, config,
                        normalised=given["crop"] == "random")
        frames, valid = config.frames(waves.shape[1]), batch.frames
        if released:
            valid = released_frames(batch.lengths, waves.shape[1], frames)
        energy = frame_energy(waves, frames, config.receptive_field, config.hop)
        small, large = draw_masks(energy, valid, self.rule)
        real = torch.arange(frames, device=waves.device)[None] < valid[:, None]
        everything = torch.ones_like(real) if released else real
        return MaskedBatch(**{**vars(batch), "inputs": waves}, small=small, large=large,
                           everything=everything, real=real)

    def _count_frames(self, held: list[MaskedBatch]) -> None:
        """Add up the frames of each loss over the update's passes and processes."""
        counts = torch.stack([
            torch.stack([b.small.sum(), b.large.sum(), b.everything.sum(), b.real.sum()])
            for b in held
        ]).sum(0)
        counts = self.ranks.sum(counts).clamp(min=1).float().unbind()
        self._counts = dict(zip((*TERMS, "real"), counts, strict=True))
        self._share = 1.0 / (len(held) * self.ranks.world_size)

    # One pass

    def compute_forward(
        self, batch: MaskedBatch, stage: Stage
    ) -> tuple[Predictions, Tensor]:
        """Return what the student predicts, and the targets (B, 2, T, D)."""
        targets = self.teacher.targets(batch, batch.real.shape[1])
        predictions = self.network(stage)(
            batch.inputs, batch.lengths, batch.small, batch.large, local=batch.local,
            padding=self.objective["padding"], normalised=True,
        )
        return predictions, targets

    def compute_objectives(
        self, outputs: tuple[Predictions, Tensor], batch: MaskedBatch, stage: Stage
    ) -> Tensor:
        """Return this pass's part of the update's loss, see the class."""
        predictions, targets = outputs
        lower, upper = targets.unbind(1)
        wanted = {"acoustic": (lower, batch.small), "semantic": (upper, batch.large),
                  "cross": (lower, batch.everything)}
        loss = torch.zeros((), device=self.device)
        self.parts = {}
        for name, (target, mask) in wanted.items():
            if self.weight_of[name]:
                error, _ = masked_regression(getattr(predictions, name), target, mask)
                term = error / (self._counts[name] * self._share)
                loss = loss + self.weight_of[name] * term
                self.parts[name] = term.detach()
        every = self._counts["real"] * self._share
        self.parts |= {"small_share": batch.small.sum() / every,
                       "large_share": batch.large.sum() / every,
                       "target_std": spread_within(targets, batch.real)}
        return loss

    def loss_weight(self, outputs: Any, batch: MaskedBatch) -> float:
        """Return the pass's share of its update: all weights of an update add up to 1.

        What is logged is therefore the mean over updates.
        """
        return self._share

    # What is left

    def write_best(self, folder: Path) -> None:
        """Write the student, in the authors' layout too where that can hold it."""
        write_student(self.raw_model.encoder, self.raw_model.predictors, folder, self.heard)

    def end_epoch(self, epoch: int) -> None:
        """Keep the student of every so many epochs, for learning curves."""
        every = self.objective["keep_epochs"]
        if every and epoch % every == 0 and self.ranks.main:
            encoder = without_mask(self.raw_model.encoder)
            save_encoder(encoder, self.folder / f"epoch{epoch:04d}", self.heard)
