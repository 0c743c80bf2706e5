"""Downstream training as released with Vesper: rates per epoch, plain SGD, random batches."""

import math

import pytest
import torch
from sertools.brains.options import Schedule


@pytest.fixture
def watched(toy):
    """Return a list that every step adds the rate, epoch and utterances to."""
    seen = []
    brain = toy.DownstreamBrain
    after, forward = brain.after_step, brain.compute_forward

    def after_step(self):
        group = self.optimizer.param_groups[0]
        seen.append({"lr": group["lr"], "epoch": self.progress.epoch, "ids": self._ids})

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
