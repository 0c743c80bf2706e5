"""Batches are complete, within budget, equal over ranks, and the same in every process."""

import random
import subprocess
import sys

import pytest
import torch
from sertools.data.batching import Batch, BucketBatchSampler, Example, collate
from sertools.errors import ConfigError, DataError
from torch.utils.data import DataLoader


def lengths_of(case: int) -> list[float]:
    """Draw a set of durations: empty, tiny, equal, skewed or longer than any budget."""
    draw = random.Random(case)
    count = draw.choice([1, 2, 3, 7, 20, 101])
    kind = draw.choice(["equal", "uniform", "skewed"])
    if kind == "equal":
        return [2.5] * count
    if kind == "uniform":
        return [draw.uniform(0.3, 15.0) for _ in range(count)]
    return [min(300.0, draw.lognormvariate(1.0, 1.0) + 0.05) for _ in range(count)]


def over_ranks(seconds, budget, world_size, **options):
    samplers = [
        BucketBatchSampler(seconds, budget, rank=rank, world_size=world_size, **options)
        for rank in range(world_size)
    ]
    for sampler in samplers:
        sampler.set_epoch(3)
    batches = [list(sampler) for sampler in samplers]
    for sampler, mine in zip(samplers, batches, strict=True):
        assert len(sampler) == len(mine)
    return batches


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("case", range(25))
@pytest.mark.parametrize("shuffle", [True, False])
def test_properties(case, world_size, shuffle):
    seconds = lengths_of(case)
    budget = random.Random(case).choice([0.1, 5.0, 40.0, 1e9])
    ranks = over_ranks(seconds, budget, world_size, shuffle=shuffle, seed=case)
    batches = [batch for mine in ranks for batch in mine]
    seen = sorted(index for batch in batches for index in batch)
    repeats = len(seen) - len(seconds)
    assert all(batches)
    assert set(seen) == set(range(len(seconds)))
    for batch in batches:
        padded = len(batch) * max(seconds[index] for index in batch)
        assert padded <= budget * (1 + 1e-9) or len(batch) == 1
    steps = [len(mine) for mine in ranks]
    if shuffle:
        assert len(set(steps)) == 1
        assert repeats < world_size
        assert repeats == 0 or all(len(batch) == 1 for batch in batches)
    else:
        assert repeats == 0
        assert max(steps) - min(steps) <= (1 if all(len(b) == 1 for b in batches) else 0)


@pytest.mark.parametrize("world_size", [1, 4])
def test_epochs_differ_but_are_reproducible_and_equally_long(world_size):
    seconds = lengths_of(6) * 5 + [1.0, 2.0, 9.0]
    sampler = BucketBatchSampler(seconds, 20.0, shuffle=True, seed=7, world_size=world_size)
    epochs = []
    for epoch in (1, 2, 1):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
    assert epochs[0] == epochs[2] != epochs[1]
    assert len(epochs[0]) == len(epochs[1]) == len(sampler)
    other = BucketBatchSampler(seconds, 20.0, shuffle=True, seed=8, world_size=world_size)
    other.set_epoch(1)
    assert list(other) != epochs[0]


def test_list_is_the_same_in_another_process():
    code = (
        "from sertools.data.batching import BucketBatchSampler as S;"
        "s = S([0.5 + i % 17 for i in range(99)], 30, shuffle=True, seed=5); s.set_epoch(2);"
        "print(list(s))"
    )
    run = [sys.executable, "-c", code]
    here = BucketBatchSampler([0.5 + i % 17 for i in range(99)], 30, shuffle=True, seed=5)
    here.set_epoch(2)
    assert subprocess.run(run, capture_output=True, text=True).stdout.strip() == str(list(here))


def test_little_padding_and_even_sizes():
    draw = random.Random(0)
    seconds = [draw.uniform(1, 12) for _ in range(3000)]
    sampler = BucketBatchSampler(seconds, 80.0, shuffle=True)
    padded = sum(len(batch) * max(seconds[i] for i in batch) for batch in sampler)
    assert padded / sum(seconds) < 1.08
    assert padded / len(sampler) > 0.85 * 80  # the budget is used


def test_ranks_take_similar_lengths_at_each_step():
    draw = random.Random(0)
    seconds = [draw.uniform(1, 12) for _ in range(2000)]
    ranks = over_ranks(seconds, 60.0, 4, shuffle=True)
    gaps = []
    for step in zip(*ranks, strict=True):
        longest = [max(seconds[index] for index in batch) for batch in step]
        gaps.append(max(longest) / min(longest))
    assert sum(gaps) / len(gaps) < 1.25


def test_fixed_batch_size():
    sampler = BucketBatchSampler([1.0, 5.0] * 50, float("inf"), shuffle=True, max_items=32)
    sizes = sorted(len(batch) for batch in sampler)
    assert sum(sizes) == 100 and max(sizes) <= 32 and len(sizes) == 4


def test_evaluation_starts_with_the_longest():
    seconds = [1.0, 30.0, 2.0, 8.0, 3.0]
    batches = list(BucketBatchSampler(seconds, 6.0, shuffle=False))
    assert batches[0] == [1]
    longest = [max(seconds[index] for index in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


def test_nothing_gives_no_batches():
    assert list(BucketBatchSampler([], 10.0, shuffle=True, world_size=2)) == []


def test_errors_name_everything():
    with pytest.raises(ConfigError, match="batch_seconds is 0(.|\n)*max_items is 0"):
        BucketBatchSampler([1.0], 0, shuffle=True, max_items=0)
    with pytest.raises(DataError, match="utterance 1: nan s(.|\n)*utterance 2: 0.0 s"):
        BucketBatchSampler([1.0, float("nan"), 0.0], 10, shuffle=True)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop_after", [1, 4])
def test_loader_skips_ahead_to_where_it_stopped(tmp_path, stop_after, workers):
    from speechbrain.dataio.dataloader import SaveableDataLoader
    from speechbrain.utils.checkpoints import Checkpointer

    def loader():
        sampler = BucketBatchSampler([1.0 + i % 7 for i in range(60)], 25.0, True, seed=3)
        sampler.set_epoch(2)
        made = SaveableDataLoader(
            list(range(60)), batch_sampler=sampler, collate_fn=list, num_workers=workers
        )
        return made, Checkpointer(tmp_path, recoverables={"loader": made})

    whole = list(loader()[0])
    first, checkpointer = loader()
    seen = [batch for _, batch in zip(range(stop_after), first, strict=False)]
    checkpointer.save_checkpoint(end_of_epoch=False)
    second, checkpointer = loader()
    checkpointer.recover_if_possible()
    rest = list(second)
    assert len(seen) == stop_after and seen + rest == whole


def test_collate_pads_audio_with_zeros():
    batch = collate([Example("a", torch.ones(3), 1), Example("b", 2 * torch.ones(5), 0)])
    assert batch.ids == ["a", "b"] and len(batch) == 2
    assert batch.inputs.tolist() == [[1, 1, 1, 0, 0], [2, 2, 2, 2, 2]]
    assert batch.lengths.tolist() == [3, 5] and batch.lengths.dtype == torch.long
    assert batch.targets.tolist() == [1, 0] and batch.targets.dtype == torch.long


def test_collate_pads_features_in_their_precision():
    examples = [Example(str(n), torch.full((4, n, 2), n).half(), torch.rand(3)) for n in (5, 2)]
    batch = collate(examples)
    assert batch.inputs.shape == (2, 4, 5, 2) and batch.inputs.dtype == torch.float16
    assert batch.inputs[1, :, 2:].eq(0).all() and batch.inputs[1, :, :2].eq(2).all()
    assert batch.targets.shape == (2, 3)
    assert collate([Example("x", torch.ones(2))]).targets is None


def test_batch_moves_and_keeps_ids():
    batch = Batch(["a"], torch.ones(1, 4), torch.tensor([4]), torch.tensor([2]))
    moved = batch.to("meta")
    assert moved.ids == ["a"]
    assert {moved.inputs.device.type, moved.lengths.device.type, moved.targets.device.type} == {
        "meta"
    }
    assert Batch(["a"], torch.ones(1, 4), torch.tensor([4])).to("cpu").targets is None


def test_works_as_batch_sampler_of_a_plain_loader():
    data = [Example(str(i), torch.ones(i + 1), i) for i in range(10)]
    sampler = BucketBatchSampler([float(i + 1) for i in range(10)], 12.0, shuffle=True)
    ids = [
        id
        for batch in DataLoader(data, batch_sampler=sampler, collate_fn=collate)
        for id in batch.ids
    ]
    assert sorted(ids, key=int) == [str(i) for i in range(10)]
