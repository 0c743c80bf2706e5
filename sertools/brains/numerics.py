"""Numbers of a step: one norm over all gradients, and no NaN that reaches the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from sertools.brains.checkpoints import as_plain
from sertools.brains.distributed import Ranks
from sertools.errors import UserError
from sertools.files import write_json
from torch import Tensor, nn

MOST_REPORTED = 20
"""Entries kept in bad_batch.json."""


class Diverged(UserError):
    """Too many losses or gradients were NaN or infinite; the weights are those from before."""


def scale_and_clip(
    parameters: Iterable[nn.Parameter], scale: float | Tensor, clip: float | None
) -> Tensor:
    """Multiply all gradients by `scale` and limit their common norm to `clip`, in place.

    Returns:
        scalar: the norm after scaling and before clipping, over all parameters together.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros(())
    norm = torch.nn.utils.get_total_norm(gradients) * scale
    limit = 1.0 if clip is None else torch.clamp(clip / (norm + 1e-6), max=1.0)
    torch._foreach_mul_(gradients, torch.as_tensor(limit * scale, device=norm.device))
    return norm


class Guard:
    """Notice losses and gradients that are not finite, on any rank, and skip their step.

    On a CPU every loss is looked at before its backward pass. On a GPU looking would make the host
    wait, so the flags stay on the device: the optimizer reads them there and leaves the weights
    alone (`found_inf` of the fused optimizers), and `settle` reports them later.

    Args:
        ranks: the processes of this training; one bad rank makes the step bad for all.
        folder: gets `bad_batch.json`.
        patience: bad steps per epoch before giving up.
        say: prints a warning.
        lazily: keep the flags on the device.
    """

    def __init__(
        self, ranks: Ranks, folder: Path, patience: int, say: Callable[[str], None], lazily: bool
    ):
        self.ranks, self.folder, self.patience, self.say = ranks, folder, patience, say
        self.lazily = lazily
        self.bad: bool | Tensor = False
        self._waiting: list[tuple[Tensor, list[dict[str, Any]]]] = []
        self._inputs: list[dict[str, Any]] = []
        self._reported: list[dict[str, Any]] = []

    def begin_step(self) -> None:
        """Forget the step before."""
        self.bad, self._inputs = False, []

    def admits(self, loss: Tensor, inputs: dict[str, Any]) -> bool:
        """Look at a loss; return False if its backward pass must not happen.

        Args:
            loss: scalar.
            inputs: what goes into the report: epoch, step, ids, shapes.
        """
        self._inputs.append({**inputs, "loss": loss.detach()})
        if self.lazily:
            self.bad = self._agree(~torch.isfinite(loss.detach())) | self.bad
            return True
        finite = math.isfinite(loss.item())
        self.bad = self.ranks.any([not finite])[0] or self.bad
        return not self.bad

    def step_is_bad(self, norm: Tensor | None) -> bool | Tensor:
        """Return whether the step must be skipped, given the norm of its gradients (if any)."""
        if self.lazily:
            # equal on all ranks already: gradients were averaged, flags agreed on
            self.bad = ~torch.isfinite(norm) | self.bad
            self._waiting.append((self.bad, self._inputs))
        elif norm is not None and not self.bad:
            self.bad = self.ranks.any([not math.isfinite(norm.item())])[0]
        return self.bad

    def settle(self) -> int:
        """Report the bad steps since the last call; return how many. Call it on all ranks."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return 0
        flags = torch.stack([flag for flag, _ in waiting]).tolist()
        bad = [inputs for flag, (_, inputs) in zip(flags, waiting, strict=True) if flag]
        for inputs in bad:
            self.report(inputs)
        return len(bad)

    def report(self, inputs: list[dict[str, Any]] | None = None) -> None:
        """Write what went into a bad step to `bad_batch.json` and warn. Call it on all ranks."""
        mine = as_plain(self._inputs if inputs is None else inputs)
        entries = [{"rank": rank, **item}
                   for rank, items in enumerate(self.ranks.gather(mine)) for item in items]
        bad = [item for item in entries if not math.isfinite(item["loss"])] or entries
        self._reported = [*self._reported, *bad][-MOST_REPORTED:]
        if self.ranks.main:
            path = write_json(self.folder / "bad_batch.json", self._reported)
            place = f"epoch {bad[0]['epoch']}, step {bad[0]['step']}"
            self.say(f"warning: loss or gradient is not finite in {place}: skipped, see {path}")

    def give_up_after(self, skipped: int, steps: int | None = None) -> None:
        """Raise Diverged once more steps were skipped in an epoch than allowed, or all `steps`."""
        if skipped > self.patience or 1 < skipped == steps:
            raise Diverged(
                f"{skipped} steps of this epoch had a loss or gradient that was NaN or infinite",
                [f"utterances of such a step: {', '.join(item['ids'][:5])} ..."
                 for item in self._reported[-3:]],
                remedy="lower the learning rate, use precision fp32, or look at the utterances in "
                f"{self.folder / 'bad_batch.json'}; nonfinite_patience is {self.patience}",
            )

    def _agree(self, flag: Tensor) -> Tensor:
        if not self.ranks.together:
            return flag
        return self.ranks.sum(flag.to(torch.int32)) > 0


def refuse_odd_outputs(ids: list[str], outputs: Tensor) -> None:
    """Raise Diverged if a model says NaN or infinity about an utterance."""
    odd = [id for id, row in zip(ids, outputs, strict=True) if not bool(torch.isfinite(row).all())]
    if odd:
        raise Diverged(
            "the model's outputs are NaN or infinite", odd,
            remedy="listen to these utterances; if they are sound, train with precision fp32 or a "
            "lower learning rate",
        )
