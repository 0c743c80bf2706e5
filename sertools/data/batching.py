"""Batches: what one holds, how examples become one, and which examples go together."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import torch
from sertools.errors import ConfigError, DataError
from torch import Tensor
from torch.utils.data import Sampler


@dataclass
class Example:
    """One utterance on its way into a batch."""

    id: str
    inputs: Tensor
    """Audio (samples,) or features (layers, frames, dim)."""
    target: Tensor | int | None = None
    """Class index, or a vector: class distribution or affect dimensions."""


@dataclass
class Batch:
    """Utterances of one step, padded with zeros on the right; names travel with the numbers."""

    ids: list[str]
    inputs: Tensor
    """Audio (B, samples) or features (B, layers, frames, dim)."""
    lengths: Tensor
    """Valid samples or frames of each utterance, long (B,)."""
    targets: Tensor | None = None
    """Class indices, long (B,), or vectors (B, K); None without labels."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def arguments(self) -> tuple[Tensor | None, ...]:
        """Return what a model is called with."""
        return self.inputs, self.lengths

    def to(self, device: str | torch.device, non_blocking: bool = False) -> Batch:
        """Return the batch with its tensors on `device`."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory (called by the data loader)."""
        return self._map(Tensor.pin_memory)

    def _map(self, function) -> Batch:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{
            name: function(value) for name, value in values.items() if isinstance(value, Tensor)})


def collate(examples: Sequence[Example]) -> Batch:
    """Pad examples with zeros on the right to their common length.

    Time is the last axis of audio (samples,) and the middle one of features (layers, frames, dim).
    """
    first = examples[0].inputs
    time = 0 if first.dim() == 1 else 1
    inputs, lengths = pad([example.inputs for example in examples], time)
    ids = [example.id for example in examples]
    targets = [example.target for example in examples]
    return Batch(ids, inputs, lengths, _stack(targets))


def pad(tensors: Sequence[Tensor], axis: int, size: int | None = None) -> tuple[Tensor, Tensor]:
    """Return tensors padded with zeros behind the end of `axis`, stacked, and their lengths (B,).

    `size` is the common length; None takes the longest. What is longer is cut.
    """
    lengths = torch.tensor([tensor.shape[axis] for tensor in tensors], dtype=torch.long)
    shape = list(tensors[0].shape)
    shape[axis] = int(lengths.max()) if size is None else size
    lengths = lengths.clamp(max=shape[axis])
    padded = tensors[0].new_zeros([len(tensors), *shape])
    for row, tensor, length in zip(padded, tensors, lengths.tolist(), strict=True):
        row.narrow(axis, 0, length).copy_(tensor.narrow(axis, 0, length))
    return padded, lengths


def _stack(targets: list[Tensor | int | None]) -> Tensor | None:
    if any(target is None for target in targets):
        assert all(target is None for target in targets), "some examples have targets, some none"
        return None
    return torch.stack([torch.as_tensor(target) for target in targets])


class BucketBatchSampler(Sampler):
    """Batches of similar lengths under a budget of padded seconds, shared out over the ranks.

    The utterances, sorted by length, are cut into buckets of equal total seconds. A bucket's
    batches all hold the same number of utterances (give or take one): as many as fit the budget
    when each is as long as the bucket's longest. An utterance longer than the budget is a batch of
    its own. The number of batches therefore never changes from epoch to epoch.

    When it is no multiple of `world_size`, the most expensive batches are divided until it is, so
    that every rank takes the same number of steps and no utterance is repeated or left out. Only
    if every batch holds a single utterance already does training repeat some batches of the same
    epoch (fewer than `world_size`); evaluation never repeats, its ranks then differ by one batch.
    The batches of one step are of similar length on all ranks.

    Training (`shuffle`) draws the utterances of each batch and the order of the steps anew in every
    epoch, from (seed, epoch) alone: the list is equal in every process, so that a data loader can
    skip ahead to where it was interrupted. Evaluation goes from the longest to the shortest.

    Args:
        seconds: duration of each utterance, by index.
        batch_seconds: budget of a batch on one rank: its size times its longest utterance.
        shuffle: True for training, False for evaluation.
        seed: of the shuffling.
        rank, world_size: which share of the batches this process takes.
        buckets: most buckets; fewer when a bucket would hold less than two batches.
        max_items: most utterances in a batch, whatever their length.

    Raises:
        ConfigError: the budget or a count is not positive.
        DataError: a duration is not a positive number.
    """

    def __init__(
        self,
        seconds: Sequence[float],
        batch_seconds: float,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        buckets: int = 16,
        max_items: int | None = None,
    ):
        _check(seconds, batch_seconds, buckets, max_items)
        assert 0 <= rank < world_size
        self.shuffle, self.seed, self.epoch = shuffle, seed, 0
        self.rank, self.world_size = rank, world_size
        order = sorted(range(len(seconds)), key=lambda index: (-seconds[index], index))
        self._buckets = _cut(order, seconds, batch_seconds, buckets)
        longest = [seconds[bucket[0]] for bucket in self._buckets]
        self._counts = [
            math.ceil(len(bucket) / _capacity(batch_seconds, length, max_items))
            for bucket, length in zip(self._buckets, longest, strict=True)
        ]
        self._divide(longest)

    def _divide(self, longest: list[float]) -> None:
        """Add batches where they are most expensive until every rank gets as many."""
        while sum(self._counts) % self.world_size:
            costs = [
                length * len(bucket) / count if len(bucket) > count else 0.0
                for bucket, count, length in zip(self._buckets, self._counts, longest, strict=True)
            ]
            if not any(costs):
                return
            self._counts[costs.index(max(costs))] += 1

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches the next iteration yields."""
        self.epoch = epoch

    def __len__(self) -> int:
        steps, rest = divmod(sum(self._counts), self.world_size)
        return steps + (bool(rest) if self.shuffle else self.rank < rest)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self._steps():
            if self.rank < len(step):
                yield step[self.rank]

    def _steps(self) -> list[list[list[int]]]:
        """Return the epoch's steps: for each, the batch of every rank."""
        draw = random.Random(f"{self.seed}/{self.epoch}")  # noqa: S311  no secret depends on it
        batches = []
        for bucket, count in zip(self._buckets, self._counts, strict=True):
            bucket = list(bucket)
            if self.shuffle:
                draw.shuffle(bucket)
            batches += shared(bucket, count)
        steps = [
            batches[start : start + self.world_size]
            for start in range(0, len(batches), self.world_size)
        ]
        if self.shuffle and steps:
            missing = self.world_size - len(steps[-1])
            steps[-1] += [batches[index % len(batches)] for index in range(missing)]
            for step in steps:
                draw.shuffle(step)
            draw.shuffle(steps)
        return steps


def _check(seconds, batch_seconds: float, buckets: int, max_items: int | None) -> None:
    wrong = []
    if not batch_seconds > 0:
        wrong.append(f"batch_seconds is {batch_seconds}: give the seconds that one batch may hold")
    if buckets < 1:
        wrong.append(f"buckets is {buckets}: give at least 1")
    if max_items is not None and max_items < 1:
        wrong.append(f"max_items is {max_items}: give at least 1, or null for no limit")
    if wrong:
        raise ConfigError("Batches cannot be made like this.", wrong)
    odd = [
        f"utterance {index}: {value} s"
        for index, value in enumerate(seconds)
        if not 0 < value < math.inf
    ]
    if odd:
        raise DataError("Every utterance needs a positive duration.", odd, "run stage prepare")


def _cut(order: list[int], seconds, batch_seconds: float, buckets: int) -> list[list[int]]:
    """Cut utterances in the order of their lengths into buckets of equal total seconds."""
    total = sum(seconds)
    count = max(1, min(buckets, int(total / (2 * batch_seconds))))
    cut: list[list[int]] = [[] for _ in range(count)]
    passed = 0.0
    for index in order:
        cut[min(count - 1, int(passed * count / total))].append(index)
        passed += seconds[index]
    return [bucket for bucket in cut if bucket]


def _capacity(batch_seconds: float, longest: float, max_items: int | None) -> int:
    """Return how many utterances of `longest` seconds a batch may hold."""
    fit = math.inf if math.isinf(batch_seconds) else max(1, math.floor(batch_seconds / longest))
    return int(min(fit, max_items or fit, 1 << 30))


def shared(items: list[int], count: int) -> list[list[int]]:
    """Share items out over `count` batches whose sizes differ by one at most."""
    size, longer = divmod(len(items), count)
    ends = [size * number + min(number, longer) for number in range(count + 1)]
    return [items[start:end] for start, end in zip(ends, ends[1:], strict=False)]
