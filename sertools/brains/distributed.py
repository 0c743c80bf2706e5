"""Ranks that work together: they decide alike, fail alike and never wait for each other in vain."""

from __future__ import annotations

import atexit
import datetime
import gc
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from sertools.errors import ConfigError, UserError

T = TypeVar("T")
PATIENCE = datetime.timedelta(minutes=30)
"""How long a rank waits for the others before it gives up."""


def resolve_device(name: str) -> str:
    """Return `cpu` or `cuda:<index>` for auto, cpu, cuda or cuda:<index>; each rank has its own.

    Raises:
        ConfigError: CUDA is asked for but not available, or the name is unknown.
    """
    kind, _, index = name.partition(":")
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind not in ("cpu", "cuda"):
        raise ConfigError(f"device is {name!r}", remedy="use auto, cpu or cuda")
    if kind == "cpu":
        return "cpu"
    if not torch.cuda.is_available():
        raise ConfigError(
            "device is cuda, but this PyTorch sees no CUDA device",
            remedy="use device: auto or cpu, or install PyTorch for your CUDA version",
        )
    return f"cuda:{index or os.environ.get('LOCAL_RANK', '0')}"


class Ranks:
    """The processes of one training, or just this one.

    Decisions go over a gloo group of CPU tensors, so that asking the others never waits for a GPU.
    """

    def __init__(self) -> None:
        self.together = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if self.together else 0
        self.world_size = dist.get_world_size() if self.together else 1
        self.main = self.rank == 0
        self._control = None
        if self.together and dist.get_backend() != "gloo":
            self._control = dist.new_group(backend="gloo", timeout=PATIENCE)

    @classmethod
    def start(cls, device: str, rank: int, world_size: int) -> Ranks:
        """Join the group that torchrun started; without one this process is alone.

        Raises:
            ConfigError: more ranks are asked for than were started.
        """
        if world_size > 1 and not dist.is_initialized():
            if int(os.environ.get("WORLD_SIZE", "1")) != world_size:
                raise ConfigError(
                    f"{world_size} ranks are asked for, but torchrun started "
                    f"{os.environ.get('WORLD_SIZE', '1')}",
                    remedy="start the stage with --nproc",
                )
            if device.startswith("cuda"):
                torch.cuda.set_device(device)
            backend = "nccl" if device.startswith("cuda") else "gloo"
            store, rank, world_size = next(dist.rendezvous("env://", rank, world_size))
            # after a restart torchrun's store still holds the dead workers' addresses
            attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
            dist.init_process_group(
                backend, store=dist.PrefixStore(f"attempt {attempt}", store), rank=rank,
                world_size=world_size, timeout=PATIENCE,
            )
            atexit.register(_leave)
        return cls()

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """Return for each flag whether it is set on any rank."""
        if not self.together:
            return list(flags)
        numbers = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(numbers, dist.ReduceOp.MAX, group=self._control)
        return [bool(number) for number in numbers.tolist()]

    def share(self, value: T) -> T:
        """Return rank 0's value on all ranks."""
        if not self.together:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self._control)
        return box[0]

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, in rank order, on all ranks."""
        if not self.together:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value, group=self._control)
        return values

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Add a tensor up over the ranks, in place, on its own device."""
        if self.together:
            dist.all_reduce(tensor)
        return tensor

    def attempt(self, function: Callable[[], Any] | None) -> None:
        """Call `function` (None: nothing to do on this rank); if it fails anywhere, fail on all.

        Raises:
            Exception: the rank's own, unchanged.
            UserError: another rank failed; says which and how.
        """
        failure = None
        try:
            if function is not None:
                function()
        except Exception as error:  # every kind must reach the other ranks before it is raised
            failure = error
        said = self.gather(None if failure is None else f"{type(failure).__name__}: {failure}")
        if failure is not None:
            raise failure
        if any(said):
            raise UserError(
                "another rank failed, so this one stops too",
                [f"rank {rank}: {text}" for rank, text in enumerate(said) if text],
            )


def _leave() -> None:
    """Leave the group before the interpreter ends: gloo's threads abort the process otherwise.

    A brain that is done is part of a circle of references, and its distributed model holds the
    group: it must go first.
    """
    if dist.is_initialized():
        gc.collect()
        dist.destroy_process_group()


def gather_by_id(
    batches: Sequence[tuple[Sequence[str], torch.Tensor]], ranks: Ranks
) -> tuple[list[str], torch.Tensor]:
    """Return the outputs of all ranks, sorted by id, each id once. Call it on all ranks.

    Args:
        batches: ids and outputs (B, K) of this rank's batches.
        ranks: the processes of this training.

    Returns:
        ids and outputs (n, K) on the CPU; an empty tensor if no rank had a batch.
    """
    mine = [(list(ids), outputs.cpu()) for ids, outputs in batches]
    rows = {
        id: row
        for part in ranks.gather(mine)
        for ids, outputs in part
        for id, row in zip(ids, outputs, strict=True)
    }
    ids = sorted(rows)
    return ids, torch.stack([rows[id] for id in ids]) if ids else torch.empty(0)
