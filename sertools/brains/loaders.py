"""Data loaders that can begin inside an epoch and never touch the global generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from sertools.brains.distributed import Ranks, gather_by_id
from sertools.brains.randomness import loader_generator
from sertools.data.batching import Batch, BucketBatchSampler, Example, collate
from sertools.errors import Interrupted
from speechbrain.utils.autocast import AMPConfig, TorchAutocast
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler


class Resumable(Sampler):
    """A batch sampler whose next pass may skip the batches that were already used.

    Args:
        batches: deterministic for a given epoch, with `set_epoch`.
    """

    def __init__(self, batches: BucketBatchSampler):
        self.batches, self.skip = batches, 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        skip, self.skip = self.skip, 0
        for number, batch in enumerate(self.batches):
            if number >= skip:
                yield batch


def make_loader(
    dataset: Dataset, batches: BucketBatchSampler, work, device: str,
    collate_fn: Callable[[Sequence[Example]], Batch] = collate,
) -> DataLoader:
    """Return a loader of `sertools.data.batching.Batch`.

    Args:
        dataset: utterances.
        batches: which of them go together.
        work: the unit, for its number of workers and seed.
        device: where the batches will go; memory is pinned for a GPU.
        collate_fn: makes a batch of examples; `begin_epoch` reaches its `set_epoch`, if any.
    """
    return DataLoader(
        dataset,
        batch_sampler=Resumable(batches),
        collate_fn=collate_fn,
        num_workers=work.num_workers,
        pin_memory=device.startswith("cuda"),
        generator=torch.Generator(),
    )


def begin_epoch(loader: DataLoader, epoch: int, seed: int, rank: int, skip: int = 0) -> None:
    """Choose the epoch of a loader and how many of its batches to skip."""
    for part in (loader.dataset, loader.collate_fn):
        if hasattr(part, "set_epoch"):
            part.set_epoch(epoch)
    loader.batch_sampler.batches.set_epoch(epoch)
    loader.batch_sampler.skip = skip
    loader.generator = loader_generator(seed, rank, epoch)


def forward_all(
    model: nn.Module, loader: DataLoader, device: str, precision: str, ranks: Ranks,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[list[str], Tensor]:
    """Return ids and outputs (n, K) of all ranks' batches, sorted by id.

    Raises:
        Interrupted: a stop was asked for, on any rank.
    """
    context = TorchAutocast(device_type=torch.device(device).type,
                            dtype=AMPConfig.from_name(precision).dtype)
    found = []
    common = min(ranks.gather(len(loader)))  # the last batch of some ranks has no counterpart
    with torch.no_grad():
        for number, batch in enumerate(loader):
            if number < common and ranks.any([should_stop()])[0]:
                raise Interrupted("stopped on request while predicting; nothing is lost but time")
            batch = batch.to(device, non_blocking=True)
            with context:
                outputs = model(*batch.arguments)
            found.append((batch.ids, outputs.float()))
    return gather_by_id(found, ranks)
