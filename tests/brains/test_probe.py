"""The linear probe of emotion2vec: the released recipe, beside an obvious loop in plain PyTorch."""

import dataclasses
import functools
import json
import math
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from safetensors.torch import load_file
from sertools.brains.base import SERBrain
from sertools.brains.frames import HeldFeatures
from sertools.brains.options import Cycle, Schedule
from sertools.data.feature_cache import FeatureCache
from sertools.data.folds import Folds
from sertools.data.protocol import make_folds
from sertools.data.record import Record
from sertools.errors import ConfigError
from sertools.models.heads import UtteranceHead
from torch import nn
from torch.nn import functional as F

BLOCK = Path(__file__).resolve().parents[2] / "hparams/trainers/emotion2vec_probe.yaml"
RELEASED = {
    "head": functools.partial(UtteranceHead, layers="last", projection=8, activation="relu"),
    "batch_seconds": math.inf, "max_batch": 6, "accumulation": 1, "optimizer": "rmsprop",
    "lr": 5e-4, "weight_decay": 0.0, "schedule": "cyclic", "cycle": Cycle(), "warmup": 0.0,
    "clip": None,
}


class Plain(nn.Module):
    """The released head, written down once more."""

    def __init__(self, dim, hidden, classes):
        super().__init__()
        self.pre, self.post = nn.Linear(dim, hidden), nn.Linear(hidden, classes)

    def forward(self, frames, mask):
        frames = F.relu(self.pre(frames)) * mask[:, :, None]
        return self.post(frames.sum(1) / mask.sum(1, keepdim=True))


@pytest.fixture
def watched(monkeypatch):
    """Note the batches, learning rate and momentum of every step."""
    seen = []
    fit_batch, step = SERBrain.fit_batch, SERBrain.optimizers_step

    def watch_batch(brain, batch):
        seen.append({"ids": batch.ids, "epoch": brain.progress.epoch})
        fit_batch(brain, batch)

    def watch_step(brain):
        step(brain)
        (group,) = brain.optimizer.param_groups
        seen[-1].update(lr=group["lr"], momentum=group["momentum"],
                        weights=[p.detach().clone() for p in brain.raw_model.parameters()])

    monkeypatch.setattr(SERBrain, "fit_batch", watch_batch)
    monkeypatch.setattr(SERBrain, "optimizers_step", watch_step)
    return seen


def torch_cycle(epochs):
    """Return learning rate and momentum of every epoch as CyclicLR has them."""
    optimizer = torch.optim.RMSprop([nn.Parameter(torch.zeros(1))], lr=5e-4, momentum=0.9)
    cyclic = torch.optim.lr_scheduler.CyclicLR(optimizer, 5e-4, 1e-3, step_size_up=10)
    found = []
    for _ in range(epochs):
        found.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]))
        optimizer.step()
        cyclic.step()
    return found


def test_rates_and_momenta_are_those_of_cyclic_lr(toy, work_of, watched):
    toy.feature_trainer(**RELEASED, epochs=45).fit(work_of(inputs="features"))
    assert len(watched) == 45 * 3
    expected = torch_cycle(45)
    for step in watched:
        assert (step["lr"], step["momentum"]) == pytest.approx(expected[step["epoch"]], abs=1e-12)
    assert max(expected) == pytest.approx((1e-3, 0.8)) and min(expected) == (5e-4, 0.9)


def test_a_lopsided_cycle_is_that_of_cyclic_lr():
    schedule = Schedule("cyclic", cycle=Cycle(up=3, down=5, peak=4.0, momentum=None))
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    cyclic = torch.optim.lr_scheduler.CyclicLR(
        optimizer, 0.1, 0.4, step_size_up=3, step_size_down=5, cycle_momentum=False)
    for epoch in range(20):
        assert 0.1 * schedule.factor(0.5, epoch) == pytest.approx(optimizer.param_groups[0]["lr"])
        assert schedule.momentum(epoch) is None
        optimizer.step()
        cyclic.step()


def test_the_whole_probe_is_an_obvious_loop(toy, work_of, watched):
    work = work_of(inputs="features")
    trainer = toy.feature_trainer(**RELEASED, epochs=4)
    trainer.fit(work)
    cache = FeatureCache(work.features)
    torch.manual_seed(0)
    plain = Plain(cache.dim, 8, 2)
    start = trainer._model(work, trainer._task(work), trainer._inputs(work, toy.Ranks()))
    with torch.no_grad():
        for mine, given in zip(plain.parameters(), start.parameters(), strict=True):
            mine.copy_(given)
    optimizer = torch.optim.RMSprop(plain.parameters(), lr=5e-4, momentum=0.9)
    cyclic = torch.optim.lr_scheduler.CyclicLR(optimizer, 5e-4, 1e-3, step_size_up=10)
    moved = 0.0
    for epoch in range(4):
        for step in [step for step in watched if step["epoch"] == epoch]:
            frames = [cache.get(id)[-1].float() for id in step["ids"]]
            lengths = torch.tensor([len(utterance) for utterance in frames])
            padded = nn.utils.rnn.pad_sequence(frames, batch_first=True)
            mask = (torch.arange(padded.shape[1]) < lengths[:, None]).float()
            labels = torch.tensor([work.classes.index(work.manifest[id].label)
                                   for id in step["ids"]])
            optimizer.zero_grad()
            F.cross_entropy(plain(padded, mask), labels).backward()
            optimizer.step()
            for mine, theirs in zip(plain.parameters(), step["weights"], strict=True):
                assert torch.allclose(mine, theirs, atol=1e-6, rtol=0)
        cyclic.step()
    moved = max(float((mine - given).detach().abs().max()) for mine, given
                in zip(plain.parameters(), start.parameters(), strict=True))
    assert moved > 1e-2


def test_batches_are_random_and_every_utterance_counts_once(toy, work_of, watched):
    work = work_of(inputs="features")
    toy.feature_trainer(**RELEASED, epochs=12).fit(work)
    frames = FeatureCache(work.features).frames
    spreads, orders = [], set()
    for epoch in range(12):
        batches = [step["ids"] for step in watched if step["epoch"] == epoch]
        assert [len(batch) for batch in batches] in ([6, 5, 5], [5, 6, 5], [5, 5, 6])
        assert sorted(sum(batches, [])) == sorted(work.train)
        orders.add(tuple(map(tuple, batches)))
        lengths = [sum(map(frames, batch)) / len(batch) for batch in batches]
        spreads.append(max(lengths) - min(lengths))
    assert len(orders) == 12
    by_length = sorted(map(frames, work.train))
    assert sum(spreads) / 12 < 0.5 * (sum(by_length[-5:]) - sum(by_length[:5])) / 5


@pytest.mark.parametrize(("dim", "count"), [(768, 197_892), (1024, 263_428)])
def test_size_of_the_released_head(dim, count):
    trainer = load_hyperpyyaml(f"trainer: !include:{BLOCK}\n")["trainer"]
    head = trainer.given["head"](1, dim, 4)
    assert sum(p.numel() for p in head.parameters()) == count
    assert sum(p.numel() for p in Plain(dim, 256, 4).parameters()) == count


def test_the_block_says_what_was_released():
    trainer = load_hyperpyyaml(f"trainer: !include:{BLOCK}\n")["trainer"]
    schedule, options = trainer.schedule, trainer.options
    assert (options.epochs, options.clip, options.patience, options.accumulation) == (
        100, None, None, 1)
    optimizer = trainer._optimizer(nn.Linear(2, 2))
    assert type(optimizer) is torch.optim.RMSprop
    (group,) = optimizer.param_groups
    assert (group["alpha"], group["eps"], group["weight_decay"], group["centered"]) == (
        0.99, 1e-8, 0, False)
    for epoch, (lr, momentum) in enumerate(torch_cycle(45)):
        assert group["initial_lr"] * schedule.factor(0.5, epoch) == pytest.approx(lr, abs=1e-12)
        assert schedule.momentum(epoch) == pytest.approx(momentum, abs=1e-12)


def test_an_interrupted_probe_ends_with_the_same_bits(toy, work_of):
    def trainer():
        return toy.feature_trainer(**RELEASED, epochs=13)

    trainer().fit(work_of("whole", "features"))
    stops = toy.train_in_pieces(
        trainer, lambda **more: work_of("pieces", "features", **more), (4, 9, 17))
    whole, pieces = (load_file(work_of(name).folder / "best/model.safetensors")
                     for name in ("whole", "pieces"))
    assert stops == 3 and all(torch.equal(whole[name], pieces[name]) for name in whole)
    lines = [[line for line in (work_of(name).folder / "metrics.jsonl").read_text().split(",")
              if "lr" in line] for name in ("whole", "pieces")]
    assert lines[0] == lines[1] and len(lines[0]) == 13


def test_contradictions_are_refused(toy):
    for options, match in (
        ({"schedule": "cyclic"}, "needs a cycle"),
        ({"schedule": "cyclic", "cycle": Cycle(), "optimizer": "sgd"}, "warmup and floor"),
        ({"cycle": Cycle(), "optimizer": "sgd"}, "nothing else has one"),
        ({"momentum": 0.5}, "adamw: it has betas"),
        ({"schedule": "cyclic", "cycle": Cycle(), "warmup": 0.0}, "cycle.momentum"),
    ):
        with pytest.raises(ConfigError, match=match):
            toy.feature_trainer(**options)
    with pytest.raises(ConfigError) as caught:
        Cycle(up=0, down=2.5, peak=0.0, momentum=[0.9])
    assert len(caught.value.problems) == 4


def test_frames_are_read_once_for_all_folds_as_far_as_they_fit(toy, work_of, tmp_path):
    folder = toy.make_features(tmp_path)
    cache = FeatureCache(folder)
    first, second = HeldFeatures(cache, 512), HeldFeatures(FeatureCache(folder), 512)
    first.hold(cache.ids[:5])
    assert {id: first.get(id).data_ptr() for id in cache.ids[:5]} == {
        id: second.get(id).data_ptr() for id in cache.ids[:5]}
    for id in cache.ids:
        assert torch.equal(first.get(id), cache.get(id)) and first.get(id).dtype == torch.float16
        assert first.frames(id) == cache.frames(id) == cache.get(id).shape[1]
    index = folder / "index.json"
    index.write_bytes(index.read_bytes() + b"\n")
    size = sum(cache.get(id).nbytes for id in cache.ids)
    small = HeldFeatures(FeatureCache(folder), size / 2 / 2**20)
    assert small.held == {}
    small.hold(cache.ids)
    held = sum(frames.nbytes for frames in small.held.values())
    assert size / 2 - max(cache.get(id).nbytes for id in cache.ids) <= held <= size / 2
    assert all(torch.equal(small.get(id), cache.get(id)) for id in cache.ids)


def test_the_memory_for_frames_changes_nothing(toy, work_of):
    for name, megabytes in (("none", 0), ("all", 512)):
        toy.feature_trainer(**RELEASED, epochs=3, cache_megabytes=megabytes).fit(
            work_of(name, "features"))
    none, everything = (load_file(work_of(name).folder / "best/model.safetensors")
                        for name in ("none", "all"))
    assert all(torch.equal(none[name], everything[name]) for name in none)


def paper_folds(kind, dev, share):
    """Return utterances of four speakers and classes, and their folds under `paper`."""
    records = {f"c-{number:03d}": Record(
        id=f"c-{number:03d}", path="x.wav", label="abcd"[number % 4], speaker=f"s{number // 60}",
        session=f"S{number // 60}") for number in range(240)}
    more = {"count": 10} if kind == "random" else {"group": "session"}
    folds = Folds(kind, paper_dev=dev, paper_dev_share=share, **more)
    return records, make_folds(records, folds, "paper")


@pytest.mark.parametrize(("kind", "count", "train", "dev", "test"), [
    ("random", 10, 192, 24, 24), ("leave_one_out", 4, 144, 36, 60)])
def test_a_random_dev_part_comes_from_the_training_part(kind, count, train, dev, test):
    """Ten random folds of 80 / 10 / 10 %; sessions with 20 % of the rest to select on (val20)."""
    records, folds = paper_folds(kind, "random", 1 / 9 if kind == "random" else 0.2)
    assert len(folds) == count
    for fold in folds:
        assert (len(fold.train), len(fold.dev), len(fold.test)) == (train, dev, test)
        assert {*fold.train, *fold.dev, *fold.test} == set(records)
        assert {records[id].speaker for id in fold.dev} <= {records[id].speaker
                                                            for id in fold.train}
    assert sorted(id for fold in folds for id in fold.test) == sorted(records)
    assert "speakers shared by train and dev" in folds.flags
    assert "selected on the test fold" not in folds.flags


@pytest.mark.parametrize("kind", ["random", "leave_one_out"])
def test_the_starred_rows_select_on_the_test_part(kind):
    records, folds = paper_folds(kind, "test", 0.2)
    for fold in folds:
        assert fold.dev == fold.test and {*fold.train, *fold.test} == set(records)
    assert "selected on the test fold" in folds.flags


def test_the_first_epoch_with_the_best_accuracy_is_taken(toy, work_of):
    work = work_of(inputs="features")
    for number, id in enumerate(sorted(work.manifest)):  # labels that are hard to learn
        label = work.classes[number // 2 % 2]
        work.manifest[id] = dataclasses.replace(work.manifest[id], label=label)
    toy.feature_trainer(**{**RELEASED, "lr": 3e-3}, epochs=12, select="WA").fit(work)
    lines = [json.loads(line) for line in (work.folder / "metrics.jsonl").read_text().splitlines()]
    scores = [line["dev"]["WA"] for line in lines]
    assert len(set(scores)) > 1
    best = json.loads((work.folder / "best/best.json").read_text())
    assert best["epoch"] == 1 + scores.index(max(scores))
