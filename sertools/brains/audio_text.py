"""The brain that learns from sound and words, with the concordance of the true batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from sertools.brains.downstream_brain import DownstreamBrain
from sertools.brains.tasks import Classification, Dimensions
from sertools.data.spoken import SpokenBatch
from sertools.models.fusion import parameter_account
from sertools.objectives.concordance import concordance_loss
from speechbrain.core import Stage
from torch import Tensor
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


class AudioTextBrain(DownstreamBrain):
    """Learn a task from batches that hold words.

    The loss of an update is that of all its utterances together, over passes and processes, as a
    concordance needs. A share of the batch that is too long for one pass is cut: the first round of
    passes only gives the outputs; from those of all processes come the loss and its gradient; the
    second round, with the same random numbers, sends that gradient back through the model pass by
    pass (gradient caching, Gao et al. 2021, arXiv 2101.06983, section 3.2). A share that fits in
    one pass needs no second round.

    Args:
        samples: of sound per pass, padding included.
        notes: what results tell beside the numbers.
        rest: arguments of `DownstreamBrain`; the model is an `AudioText`.
    """

    task: Classification | Ratings

    def __init__(
        self, *rest: Any, samples: float = math.inf, notes: Sequence[str] = (), **more: Any
    ):
        super().__init__(*rest, **more)
        self.samples, self.notes = samples, list(notes)
        self._ids: list[str] = []
        self._judged: tuple[Tensor, Tensor] | None = None
        if self.ranks.main:
            count = parameter_account(self.raw_model)
            self.work.say(f"parameters: {count['total']:,} in all, {count['trainable']:,} trained")

    # An update

    def fit_batch(self, batch: SpokenBatch) -> None:
        """Learn from this process's share of an update."""
        self._ids, self._judged = batch.ids, None
        parts = list(passes(batch, self.samples))
        if not self.ranks.any([len(parts) > 1])[0]:  # else ranks would wait for each other in vain
            super().fit_batch(batch)
            return
        parts = [part.to(self.device, non_blocking=True) for part in parts]
        states, outputs = [], []
        for part in parts:
            states.append(self._generators())
            outputs.append(self._outputs(part))
        loss, gradient = self._judge(torch.cat(outputs), torch.cat([p.targets for p in parts]))
        gradients = gradient.split([len(part) for part in parts])
        for part, state, mine in zip(parts[:-1], states, gradients, strict=False):
            self._set_generators(state)
            with self.no_sync():
                with self.training_ctx:
                    again = self.compute_forward(part, Stage.TRAIN)
                (again.float() * mine).sum().backward()
        self._set_generators(states[-1])
        self._judged = loss, gradients[-1]
        super().fit_batch(parts[-1])

    def _outputs(self, part: SpokenBatch) -> Tensor:
        """Return the outputs (B, K) of a pass whose graph is not kept.

        Without gradients CPU kernels differ in the last bits; a graph costs no more memory than
        the second round needs anyway.
        """
        with self.training_ctx:
            return self.raw_model(*part.arguments).detach().float()

    def _judge(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss over all processes' outputs, and its gradient for those given (B, K)."""
        counts = self.ranks.gather(len(outputs))
        first = sum(counts[: self.ranks.rank])
        mine = slice(first, first + len(outputs))
        everything = [_placed(each, mine, sum(counts)) for each in (outputs, targets)]
        whole, truth = (self.ranks.sum(each) for each in everything)
        whole.requires_grad_()
        with torch.enable_grad():
            loss = self.task.loss(whole, truth)
            (gradient,) = torch.autograd.grad(loss, whole)
        return loss.detach(), gradient[mine]

    # One pass

    def compute_forward(self, batch: SpokenBatch, stage: Stage) -> Tensor:
        """Return outputs (B, K)."""
        return self.network(stage)(*batch.arguments)

    def compute_objectives(self, outputs: Tensor, batch: SpokenBatch, stage: Stage) -> Tensor:
        """Return the update's loss; its gradient is what this pass adds to the update's."""
        if stage != Stage.TRAIN:
            return super().compute_objectives(outputs, batch, stage)
        if self._judged is None:
            self._judged = self._judge(outputs.detach().float(), batch.targets)
        loss, gradient = self._judged
        sent = (outputs.float() * gradient).sum() * self.ranks.world_size
        return loss + (sent - sent.detach())

    def loss_weight(self, outputs: Tensor, batch: SpokenBatch) -> float | Tensor:
        """Return the process's share of the update; in evaluation what the loss is a mean over."""
        if self.raw_model.training:
            return 1.0 / self.ranks.world_size
        return super().loss_weight(outputs, batch)

    def dev_scores(self, ids: list[str], outputs: Tensor) -> dict[str, Any]:
        """Return the task's scores and its loss, over the whole part at once."""
        targets = self.task.targets(self.work.manifest, ids)
        truth = torch.stack([torch.as_tensor(targets[id]) for id in ids])
        task = self.task
        if isinstance(task, Classification) and task.balanced:  # weights are on the model's device
            outputs, truth = outputs.to(self.device), truth.to(self.device)
        loss = float(task.loss(outputs, truth))
        return {"loss": loss, **super().dev_scores(ids, outputs.cpu())}

    def audio_seconds(self, batch: SpokenBatch) -> float:
        """Return the seconds of sound in this process's share of the update."""
        return sum(self.seconds[id] for id in self._ids)

    def _describe(self, batch: SpokenBatch) -> dict[str, Any]:
        return {**super()._describe(batch), "ids": list(self._ids)}

    # Random numbers

    def _generators(self) -> tuple[Tensor, Tensor | None]:
        gpu = self.device_type == "cuda"
        return torch.get_rng_state(), torch.cuda.get_rng_state(self.device) if gpu else None

    def _set_generators(self, state: tuple[Tensor, Tensor | None]) -> None:
        torch.set_rng_state(state[0])
        if state[1] is not None:
            torch.cuda.set_rng_state(state[1], self.device)


def passes(batch: SpokenBatch, samples: float) -> Iterator[SpokenBatch]:
    """Cut a batch on the CPU, longest first, into passes of at most `samples` with padding."""
    lengths = batch.lengths.tolist()
    start = 0
    while start < len(lengths):
        fit = samples / max(lengths[start], 1)
        end = len(lengths) if math.isinf(fit) else min(len(lengths), start + max(1, int(fit)))
        whole = start == 0 and end == len(lengths)
        yield batch if whole else batch.part(start, end)
        start = end


def _placed(rows: Tensor, place: slice, count: int) -> Tensor:
    """Return (count, ...) zeros with `rows` at their place."""
    whole = rows.new_zeros(count, *rows.shape[1:])
    whole[place] = rows
    return whole


def notes_of(read: Any, errors: Any, cut: int, total: int) -> list[str]:
    """Say what is worth knowing of the texts behind a result."""
    notes = list(read.flags)
    if errors is not None and errors.rate is not None:
        notes.append(f"their {errors.unit} error rate is {100 * errors.rate:.1f} % on "
                     f"{errors.utterances} utterances with a human text")
    if cut:
        notes.append(f"{cut} of {total} texts are longer than the text encoder reads and were cut")
    return notes
