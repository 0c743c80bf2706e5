"""Downstream training as released with Vesper: rates per epoch, plain SGD, random batches."""

import copy
import functools
import json
import math
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from safetensors.torch import load_file
from sertools.brains.options import Schedule
from sertools.data.feature_cache import FeatureCache
from sertools.data.folds import Folds
from sertools.data.protocol import make_folds
from sertools.errors import ConfigError
from sertools.models.heads import UtteranceHead
from sertools.report.aggregate import aggregate
from sertools.report.units import ReportMeta, UnitResult
from sertools.report.write import write_report
from sertools.scoring.unit import score_unit

BLOCKS = Path(__file__).resolve().parents[2] / "hparams" / "trainers"


@pytest.fixture
def watched(toy):
    """Return a list that every step adds the rate, epoch, utterances and weights to."""
    seen = []
    brain = toy.DownstreamBrain
    after, forward = brain.after_step, brain.compute_forward

    def after_step(self):
        group = self.optimizer.param_groups[0]
        seen.append({"lr": group["lr"], "epoch": self.progress.epoch, "ids": self._ids,
                     "weights": [p.detach().clone() for p in self.raw_model.parameters()]})

    def compute_forward(self, batch, stage):
        self._ids = list(batch.ids)
        return forward(self, batch, stage)

    brain.after_step, brain.compute_forward = after_step, compute_forward
    yield seen
    brain.after_step, brain.compute_forward = after, forward


@pytest.mark.parametrize("epochs, warmup, rising", [(100, 0.05, 5), (50, 0.0, 0), (7, 0.2, 1)])
def test_a_rate_per_epoch_is_that_of_the_literal_loop(epochs, warmup, rising):
    highest, lowest = 5e-4, 5e-6

    def released(epoch):
        if epoch < rising:
            return (epoch + 1) / rising
        turn = math.cos((epoch - rising) / (epochs - rising) * math.pi)
        return (lowest + 0.5 * (highest - lowest) * (1.0 + turn)) / highest

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=highest)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, released)
    schedule = Schedule("cosine", warmup, floor=0.01, per_epoch=True)
    for epoch in range(epochs):
        rates = {highest * schedule.factor((epoch + part) / epochs, epoch, epochs)
                 for part in (0.01, 0.5, 0.99)}
        assert len(rates) == 1
        assert rates.pop() == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-15)
        optimizer.step()
        scheduler.step()
    assert schedule.factor(1.0, epochs, epochs) == pytest.approx(0.01)


def test_the_other_kinds_fall_per_epoch_too():
    linear = Schedule("linear", floor=0.2, per_epoch=True)
    assert [linear.factor(0.0, e, 4) for e in range(4)] == pytest.approx([1, 0.8, 0.6, 0.4])
    assert Schedule("constant", per_epoch=True).factor(0.3, 1, 4) == 1
    only_rising = Schedule("cosine", 0.99, per_epoch=True)
    assert [only_rising.factor(0.0, e, 2) for e in range(2)] == [0.5, 1.0]


def test_training_takes_one_rate_per_epoch(toy, work_of, watched):
    toy.feature_trainer(epochs=4, per_epoch=True, warmup=0.25, floor=0.01, lr=0.1).fit(
        work_of(inputs="features"))
    expected = [0.1, *(0.1 * (0.01 + 0.99 * (1 + math.cos(math.pi * e / 3)) / 2)
                       for e in range(3))]
    assert {step["epoch"] for step in watched} == {0, 1, 2, 3}
    assert len(watched) > 4
    for step in watched:
        assert step["lr"] == pytest.approx(expected[step["epoch"]])


RELEASED = {"optimizer": "sgd", "nesterov": False, "wd_exclude": "none", "weight_decay": 0.3,
            "lr": 0.2, "floor": 0.01, "warmup": 0.0, "per_epoch": True, "clip": None,
            "accumulation": 1, "batch_seconds": math.inf, "max_batch": 6,
            "head": functools.partial(UtteranceHead, projection=8)}
"""What was released, with a step and a decay large enough to see."""


def test_training_is_the_obvious_loop_over_all_frames(toy, work_of, watched):
    work = work_of(inputs="features")
    trainer = toy.feature_trainer(**RELEASED, epochs=3)
    start = trainer._model(work, trainer._task(work), trainer._inputs(work, toy.Ranks()))
    trainer.fit(work)
    cache = FeatureCache(work.features)
    model = copy.deepcopy(start)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9, weight_decay=0.3)
    released = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda e: 0.01 + 0.5 * 0.99 * (1.0 + math.cos(e / 3 * math.pi)))
    for epoch in range(3):
        for ids in [step["ids"] for step in watched if step["epoch"] == epoch]:
            rows = []
            for id in ids:
                layers = cache.get(id).float()
                weights = torch.softmax(model.layer_weights, 0)
                summed = sum(w * layer for w, layer in zip(weights, layers, strict=True))
                rows.append(model.output(model.projection(summed).sum(0) / len(summed)))
            labels = torch.tensor([work.classes.index(work.manifest[id].label) for id in ids])
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(torch.stack(rows), labels).backward()
            optimizer.step()
        released.step()
    last = watched[-1]["weights"]
    for mine, theirs, first in zip(model.parameters(), last, start.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6, rtol=0)
        assert float((first - theirs).detach().abs().max()) > 5e-4  # far above the tolerance


def test_plain_momentum_and_the_decay_of_vectors_are_choices(toy):
    model = torch.nn.Linear(3, 2)
    (group,) = toy.feature_trainer(**RELEASED)._optimizer(model).param_groups
    assert not group["nesterov"] and group["momentum"] == 0.9 and len(group["params"]) == 2
    optimizer = toy.feature_trainer(optimizer="sgd", weight_decay=0.3)._optimizer(model)
    assert [(g["nesterov"], g["weight_decay"]) for g in optimizer.param_groups] == [
        (True, 0.3), (True, 0.0)]
    with pytest.raises(ConfigError, match="norm_bias or none"):
        toy.feature_trainer(wd_exclude="bias")


def test_batches_are_drawn_at_random_whatever_the_lengths(toy, work_of, watched):
    work = work_of(inputs="features")
    toy.feature_trainer(**RELEASED, epochs=8).fit(work)
    batches = [step["ids"] for step in watched]
    assert sorted(map(len, batches)) == [5] * 16 + [6] * 8
    assert len({frozenset(batch) for batch in batches}) > 20
    for epoch in range(8):
        ids = [id for step in watched if step["epoch"] == epoch for id in step["ids"]]
        assert sorted(ids) == sorted(work.train)


def test_a_sum_of_scores_chooses_the_epoch(toy, work_of):
    work = work_of(inputs="features")
    work.train, work.dev = work.train[:6], sorted(work.manifest)[7:]
    toy.feature_trainer(**{**RELEASED, "lr": 0.03}, epochs=8, select="WA+UA").fit(work)
    lines = [json.loads(text) for text in (work.folder / "metrics.jsonl").read_text().splitlines()]
    sums = [line["dev"]["WA"] + line["dev"]["UA"] for line in lines]
    assert [line["dev"]["WA+UA"] for line in lines] == pytest.approx(sums)
    best = json.loads((work.folder / "best" / "best.json").read_text())
    assert best["epoch"] == 1 + sums.index(max(sums)) and len(set(sums)) > 1


@pytest.mark.parametrize("select", ["WA+", "WA+WA", "WA+loss", "+", "UAR+WA", "WA UA"])
def test_other_sums_are_refused(toy, select):
    with pytest.raises(ConfigError, match=r"such as WA\+UA"):
        toy.feature_trainer(select=select)


def block(name, **changes):
    """Return the trainer of a shared block with some of its values changed."""
    lines = "".join(f"    {key}: {value}\n" for key, value in changes.items())
    text = f"trainer: !include:{BLOCKS / name}\n{lines}"
    return load_hyperpyyaml(text)["trainer"]


@pytest.mark.parametrize("name, epochs, kind, lr", [
    ("vesper.yaml", 50, torch.optim.SGD, 7e-4),
    ("vesper_finetune.yaml", 50, torch.optim.SGD, 7e-4),
    ("vesper_transformer.yaml", 120, torch.optim.AdamW, 5e-4),
])
def test_the_blocks_say_what_was_released(name, epochs, kind, lr):
    encoder = {"encoder": "!name:torch.nn.Identity"} if "finetune" in name else {}
    trainer = block(name, **encoder)
    options, schedule, given = trainer.options, trainer.schedule, trainer.given
    assert (options.epochs, options.patience, options.clip, options.select) == (
        epochs, 15, None, "WA+UA")
    assert (given["batch_seconds"], given["max_batch"], options.accumulation) == (math.inf, 32, 1)
    optimizer = trainer._optimizer(torch.nn.Linear(2, 2))
    (group,) = optimizer.param_groups
    assert type(optimizer) is kind and group["weight_decay"] == 0.01 and len(group["params"]) == 2
    assert kind is torch.optim.AdamW or (group["momentum"], group["nesterov"]) == (0.9, False)
    assert group["initial_lr"] * schedule.factor(0.5, 0, epochs) == pytest.approx(lr)
    last = 0.01 + 0.99 * (1 + math.cos(math.pi * (epochs - 1) / epochs)) / 2
    assert schedule.factor(0.5, epochs - 1, epochs) == pytest.approx(last)
    assert block(name, **encoder, optimizer="adamw").given["optimizer"] == "adamw"


@pytest.mark.parametrize("depth, count", [(4, 263_433), (12, 263_441)])
def test_size_of_the_head(depth, count):
    head = block("vesper.yaml").given["head"](depth + 1, 1024, 4)
    assert sum(p.numel() for p in head.parameters()) == count and head.linear_before_pooling


def test_the_transformer_learns_from_cached_frames(toy, work_of):
    trainer = block("vesper_transformer.yaml", epochs=3, lr=0.01, tensorboard="false")
    head = functools.partial(trainer.given["head"], depth=1, num_heads=2, position_groups=2,
                             position_kernel=4)
    trainer.given["head"] = head
    work = work_of(inputs="features")
    trainer.fit(work)
    said = trainer.predict(work, work.dev)
    assert sum(p.prediction == p.reference for p in said) >= 4


@pytest.mark.parametrize("inputs", ["audio", "features"])
def test_the_best_epochs_layer_weights_are_noted(toy, work_of, inputs):
    work = work_of(inputs=inputs)
    make = toy.audio_trainer if inputs == "audio" else toy.feature_trainer
    make(epochs=2, lr=0.1).fit(work)
    best = json.loads((work.folder / "best" / "best.json").read_text())
    (learned,) = [value for name, value in load_file(
        work.folder / "best" / "model.safetensors").items() if name.endswith("layer_weights")]
    exp = [math.exp(value) for value in learned.tolist()]
    assert best["layer_weights"] == pytest.approx([value / sum(exp) for value in exp])
    assert max(exp) > 1.01 * min(exp)
    other = work_of("last", inputs)
    make(epochs=1, head=functools.partial(UtteranceHead, layers="last")).fit(other)
    assert "layer_weights" not in json.loads((other.folder / "best" / "best.json").read_text())


def test_the_best_epoch_of_the_test_part_is_told_in_every_report(toy, work_of, tmp_path):
    work = work_of(inputs="features")
    folds = make_folds(work.manifest, Folds(paper_dev="test"), "paper")
    units = []
    for fold in folds.folds[:2]:
        one = work_of(fold.name, "features", train=fold.train, dev=fold.dev)
        assert sorted(fold.dev) == sorted(fold.test)
        trainer = toy.feature_trainer(**{**RELEASED, "lr": 0.03}, epochs=5, select="WA+UA")
        trainer.fit(one)
        test = trainer.predict(one, fold.test)
        lines = (one.folder / "metrics.jsonl").read_text().splitlines()
        best = max(json.loads(line)["dev"]["WA+UA"] for line in lines)
        scores = score_unit(test, test, work.classes)
        assert scores["WA"] + scores["UA"] == pytest.approx(best, abs=1e-6)
        units.append(UnitResult(fold.name, 3, scores, test))
    names = [fold.name for fold in folds.folds]
    meta = ReportMeta("tag", "Head", "Toy", folds.name, names, [3], "paper", folds.flags)
    write_report(aggregate(units, work.classes, meta), tmp_path)
    for name in ("RESULTS.md", "results.json", "report.html"):
        assert "selected on the test fold" in (tmp_path / name).read_text()
