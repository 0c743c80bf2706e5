"""The brain that pretrains emotion2vec: masked student, moving teacher, two losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from sertools.brains.base import SERBrain
from sertools.data.batching import Batch
from sertools.errors import UserError
from sertools.models.emotion2vec import Distillation, Distilled
from sertools.models.weights import save_encoder
from sertools.models.weights.heard import Heard
from sertools.objectives.distillation import decay, follow, frame_loss, spread, utterance_loss
from sertools.objectives.masking import block_mask, crop_masks
from speechbrain.core import Stage
from torch import Tensor

PARTS = ("frame", "utterance", "target_std", "prediction_std")
"""What metrics.jsonl tells beside the loss: its two terms, and whether anything collapses."""


class Collapsed(UserError):
    """Teacher or student says the same about everything."""


class Emotion2vecBrain(SERBrain):
    """Distil a teacher into the student that it follows (spec of both losses in `objectives`).

    Args:
        objective: values of `Emotion2vecPretrainer`, by name.
        heard: the corpora that the encoder has heard in the end, and their speakers.
        rest: arguments of `SERBrain`; the model is a `Distillation`.
    """

    loss_parts = PARTS

    def __init__(
        self, *rest: Any, objective: dict[str, Any], heard: Heard | None = None, **more: Any
    ):
        super().__init__(*rest, **more)
        self.objective, self.heard = objective, heard
        self.raw_model: Distillation

    def compute_forward(self, batch: Batch, stage: Stage) -> Distilled:
        """Mask `clones` copies of every utterance and run student and teacher."""
        given, config = self.objective, self.raw_model.student.config
        frames = int(config.frames(batch.inputs.shape[1]))
        rows = given["clones"] * len(batch.inputs)
        if given["mask_timing"] == "after_crop":
            masked = int(given["mask_share"] * frames)
            return self.network(stage)(batch.inputs, self._mask(rows, frames), masked)
        return self.network(stage)(batch.inputs, self._mask_of_whole(batch, frames))

    def _mask(self, rows: int, frames: int) -> Tensor:
        given = self.objective
        return block_mask(rows, frames, given["mask_share"], given["mask_span"],
                          given["mask_adjust"], self.device)

    def _mask_of_whole(self, batch: Batch, frames: int) -> Tensor:
        """Draw masks over the whole clips and cut them apart from the audio, as released."""
        clones, config, masks = self.objective["clones"], self.raw_model.student.config, []
        for id in batch.ids:
            samples = round(self.seconds[id] * config.sample_rate)
            whole = max(int(config.frames(samples)), frames)
            starts = torch.randint(whole - frames + 1, (clones,), device=self.device)
            masks.append(crop_masks(self._mask(clones, whole), starts, frames))
        return torch.cat(masks)

    def compute_objectives(self, outputs: Distilled, batch: Batch, stage: Stage) -> Tensor:
        """Return frame loss + alpha * utterance loss, per masked frame (section 3.3)."""
        given = self.objective
        frame = frame_loss(outputs.prediction, outputs.target, outputs.weight)
        parts = {"frame": frame.detach(), "target_std": spread(outputs.target),
                 "prediction_std": spread(outputs.prediction)}
        if given["utterance_loss"] == "none":
            self.parts = parts
            return given["frame_weight"] * frame
        utterance = utterance_loss(outputs.summary, outputs.utterance, given["utterance_reduction"])
        self.parts = {**parts, "utterance": utterance.detach()}
        return given["frame_weight"] * frame + given["alpha"] * utterance

    def loss_weight(self, outputs: Distilled, batch: Batch) -> float | Tensor:
        """Return the number of masked frames."""
        if outputs.weight is not None:
            return outputs.weight.sum()
        return float(outputs.target.shape[0] * outputs.target.shape[1])

    def after_step(self) -> None:
        """Let the teacher follow; from time to time look whether everything collapsed."""
        given, step = self.objective, self.progress.step
        tau = decay(step, given["ema_start"], given["ema_end"], given["ema_steps"])
        follow(self.raw_model.teacher.encoder, self.raw_model.student.encoder, tau)
        if step >= given["guard_after"] and step % self.options.log_every == 0:
            self._refuse_collapse()

    def _refuse_collapse(self) -> None:
        least = {"target_std": self.objective["min_target_std"],
                 "prediction_std": self.objective["min_prediction_std"]}
        found = [f"{name} is {float(self.parts[name]):.4f}, least {value}"
                 for name, value in least.items() if float(self.parts[name]) < value]
        if self.ranks.any([bool(found)])[0]:
            raise Collapsed(
                f"the representation collapsed after {self.progress.step} updates", found,
                remedy="lower lr, raise ema_start or ema_end, or look at the audio",
            )

    def write_best(self, folder: Path) -> None:
        """Write the student and the teacher as encoders that any recipe can load."""
        save_encoder(self.raw_model.student.encoder, folder / "encoder", self.heard)
        save_encoder(self.raw_model.teacher_encoder(), folder / "teacher", self.heard)

    def end_epoch(self, epoch: int) -> None:
        """Keep the student of every so many epochs, for learning curves."""
        every = self.objective["keep_epochs"]
        if every and epoch % every == 0 and self.ranks.main:
            folder = self.folder / f"epoch{epoch:04d}"
            save_encoder(self.raw_model.student.encoder, folder, self.heard)
