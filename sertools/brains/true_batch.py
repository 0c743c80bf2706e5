"""The brain whose loss is that of all utterances of an update, over passes and processes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from sertools.brains.distributed import Ranks
from sertools.brains.downstream_brain import DownstreamBrain
from sertools.data.spoken import SpokenBatch
from sertools.models.fusion import parameter_account
from speechbrain.core import Stage
from torch import Tensor, nn


class Found(NamedTuple):
    """What a pass found."""

    rows: list[Tensor]
    """One or several tensors (B, ...) with a row per utterance of the pass."""
    shared: list[Tensor]
    """What all utterances of the update share, equal on all ranks; of the last pass alone."""


class Sent(NamedTuple):
    """The loss of an update, and its gradient for what this process found."""

    loss: Tensor
    rows: list[Tensor]
    shared: list[Tensor]
    """The process's share, so that the sum over the processes is the gradient."""


class TrueBatchBrain(DownstreamBrain):
    """Learn a task whose loss needs all utterances of an update together.

    A share of the batch that is too long for one pass is cut: the first round of passes only gives
    the outputs; from those of all processes come the loss and its gradient; the second round, with
    the same random numbers, sends that gradient back through the model pass by pass (gradient
    caching, Gao et al. 2021, arXiv 2101.06983, section 3.2). What all utterances share gets its
    gradient once, in the last pass. A share that fits in one pass needs no second round.

    Subclasses write `found` and `update_loss`.

    Args:
        samples: of sound per pass, padding included.
        notes: what results tell beside the numbers.
        rest: arguments of `DownstreamBrain`.
    """

    def __init__(
        self, *rest: Any, samples: float = math.inf, notes: Sequence[str] = (), **more: Any
    ):
        super().__init__(*rest, **more)
        self.samples, self.notes = samples, list(notes)
        self._ids: list[str] = []
        self._sent: Sent | None = None
        if self.ranks.main:
            count = parameter_account(self.raw_model)
            self.work.say(f"parameters: {count['total']:,} in all, {count['trainable']:,} trained")

    # What subclasses write

    def found(self, batch: SpokenBatch, network: nn.Module, last: bool) -> Found:
        """Return what a pass of training finds; the last of an update uses all that is trained."""
        raise NotImplementedError

    def update_loss(
        self, rows: Sequence[Tensor], shared: Sequence[Tensor], targets: Tensor
    ) -> Tensor:
        """Return the loss, scalar, from the rows and targets of all utterances of the update."""
        raise NotImplementedError

    # An update

    def fit_batch(self, batch: SpokenBatch) -> None:
        """Learn from this process's share of an update."""
        self._ids, self._sent = batch.ids, None
        parts = list(passes(batch, self.samples))
        if not self.ranks.any([len(parts) > 1])[0]:  # else ranks would wait for each other in vain
            super().fit_batch(batch)
            return
        parts = [part.to(self.device, non_blocking=True) for part in parts]
        states, first = [], []
        for part in parts:
            states.append(self._generators())
            first.append(self._first(part, part is parts[-1]))
        rows = [torch.cat(each) for each in zip(*(found.rows for found in first), strict=True)]
        sent = self._judge(Found(rows, first[-1].shared), torch.cat([p.targets for p in parts]))
        sizes = [len(part) for part in parts]
        gradients = list(zip(*(each.split(sizes) for each in sent.rows), strict=True))
        for part, state, mine in zip(parts[:-1], states, gradients, strict=False):
            self._set_generators(state)
            with self.no_sync():
                with self.training_ctx:
                    again = self.found(part, self.network(Stage.TRAIN), False)
                _product(again.rows, mine).backward()
        self._set_generators(states[-1])
        self._sent = Sent(sent.loss, list(gradients[-1]), sent.shared)
        super().fit_batch(parts[-1])

    def _first(self, part: SpokenBatch, last: bool) -> Found:
        """Return what a pass finds, without its graph.

        Without gradients CPU kernels differ in the last bits; a graph costs no more memory than
        the second round needs anyway.
        """
        with self.training_ctx:
            found = self.found(part, self.raw_model, last)
        return Found(*([each.detach().float() for each in kind] for kind in found))

    def _judge(self, found: Found, targets: Tensor) -> Sent:
        """Return the loss over all processes' utterances, and its gradient for those given."""
        rows, targets, mine = gathered(found.rows, targets, self.ranks)
        leaves = [each.detach().float().requires_grad_() for each in (*rows, *found.shared)]
        with torch.enable_grad():
            loss = self.update_loss(leaves[: len(rows)], leaves[len(rows) :], targets)
            gradients = torch.autograd.grad(loss, leaves)
        return Sent(loss.detach(), [each[mine] for each in gradients[: len(rows)]],
                    [each / self.ranks.world_size for each in gradients[len(rows) :]])

    # One pass

    def compute_forward(self, batch: SpokenBatch, stage: Stage) -> Found | Tensor:
        """Return what the last pass of an update finds; in evaluation outputs (B, K)."""
        found = self.found(batch, self.network(stage), True)
        return found if stage == Stage.TRAIN else found.rows[0]

    def compute_objectives(
        self, outputs: Found | Tensor, batch: SpokenBatch, stage: Stage
    ) -> Tensor:
        """Return the update's loss; its gradient is what this pass adds to the update's."""
        if stage != Stage.TRAIN:
            return super().compute_objectives(outputs, batch, stage)
        if self._sent is None:
            found = Found(*([each.detach().float() for each in kind] for kind in outputs))
            self._sent = self._judge(found, batch.targets)
        loss = self._sent.loss
        sent = _product([*outputs.rows, *outputs.shared], [*self._sent.rows, *self._sent.shared])
        sent = sent * self.ranks.world_size
        return loss + (sent - sent.detach())

    def loss_weight(self, outputs: Any, batch: SpokenBatch) -> float | Tensor:
        """Return the process's share of the update; in evaluation what the loss is a mean over."""
        if self.raw_model.training:
            return 1.0 / self.ranks.world_size
        return super().loss_weight(outputs, batch)

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


def gathered(
    rows: Sequence[Tensor], targets: Tensor, ranks: Ranks
) -> tuple[list[Tensor], Tensor, slice]:
    """Return the rows (B, ...) and targets (B, ...) of all ranks, and where this one's are."""
    counts = ranks.gather(len(targets))
    first = sum(counts[: ranks.rank])
    mine = slice(first, first + len(targets))
    *rows, targets = (ranks.sum(_placed(each, mine, sum(counts))) for each in (*rows, targets))
    return rows, targets, mine


def _placed(rows: Tensor, place: slice, count: int) -> Tensor:
    """Return (count, ...) zeros with `rows` at their place."""
    whole = rows.new_zeros(count, *rows.shape[1:])
    whole[place] = rows
    return whole


def _product(values: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """Return a scalar with these gradients."""
    return sum((value.float() * gradient).sum()
               for value, gradient in zip(values, gradients, strict=True))
