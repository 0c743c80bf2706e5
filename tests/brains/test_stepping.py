"""Steps: no batch is lost, all groups are clipped, frozen is frozen, NaN never gets in."""

import json
import math
from pathlib import Path

import pytest
import torch
from sertools.brains.base import SERBrain
from sertools.brains.distributed import Ranks
from sertools.brains.loaders import Resumable
from sertools.brains.numerics import Diverged, scale_and_clip
from sertools.brains.options import LoopOptions, Schedule
from sertools.data.batching import Batch
from sertools.data.record import Record
from torch.utils.data import DataLoader


class Fixed:
    """A batch sampler of given batches."""

    def __init__(self, batches):
        self.batches, self.epochs = batches, []

    def set_epoch(self, epoch):
        self.epochs.append(epoch)

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)


class Numbers(torch.utils.data.Dataset):
    def __init__(self, inputs, targets):
        self.ids, self.seconds = [f"u{i}" for i in range(len(inputs))], [1.0] * len(inputs)

    def __getitem__(self, index):
        return index


class Regression(SERBrain):
    """Least squares on the batches' own vectors."""

    def compute_forward(self, batch, stage):
        return self.network(stage)(batch.inputs)

    def compute_objectives(self, outputs, batch, stage):
        return (outputs[:, 0] - batch.targets).square().mean()

    def dev_scores(self, ids, outputs):
        return {"score": float(-outputs.square().mean())}


@pytest.fixture
def bench(toy, tmp_path):
    torch.manual_seed(0)
    inputs, targets = torch.randn(12, 4), torch.randn(12)

    def loader(batches):
        def collate(indices):
            return Batch([f"u{i}" for i in indices], inputs[indices],
                         torch.full((len(indices),), 4), targets[indices])

        return DataLoader(Numbers(inputs, targets), batch_sampler=Resumable(Fixed(batches)),
                          collate_fn=collate)

    def brain(model=None, optimizer=None, folder="unit", say=lambda text: None, **options):
        work = toy.FoldWork(
            manifest={f"u{i}": Record(f"u{i}", "x.wav", duration=1.0) for i in range(12)},
            train=[], dev=[], classes=[], data_folder=tmp_path, features=None,
            folder=tmp_path / folder, seed=1, device="cpu", precision="fp32", num_workers=0,
            should_stop=lambda: False, say=say,
        )
        if model is None:
            torch.manual_seed(1)
            model = torch.nn.Linear(4, 1)

        def sgd(module):
            groups = [{"params": [p], "lr": 0.1, "initial_lr": 0.1} for p in module.parameters()
                      if p.requires_grad]
            return torch.optim.SGD(groups, lr=0.1)

        values = {"epochs": 1, "clip": None, "select": "score", "tensorboard": False}
        return Regression(model, work, "cpu", Ranks(), LoopOptions(**{**values, **options}),
                          Schedule("constant"), optimizer or sgd)

    class Bench:
        pass

    found = Bench()
    found.loader, found.brain, found.inputs, found.targets = loader, brain, inputs, targets
    found.folder = tmp_path
    return found


def gradient_step(inputs, targets, weight, bias, lr=0.1):
    """Return weight and bias after one step of least squares by its closed form."""
    error = inputs @ weight[0] + bias - targets
    return (weight - lr * (2 * error[:, None] * inputs).mean(0, keepdim=True),
            bias - lr * (2 * error).mean().reshape(1))


def start_weights():
    torch.manual_seed(1)
    model = torch.nn.Linear(4, 1)
    return model.weight.detach(), model.bias.detach()


def test_the_last_batches_of_an_epoch_are_a_step_of_their_own_size(bench):
    batches = [[number] for number in range(10)]
    brain = bench.brain(accumulation=4)
    brain.learn(bench.loader(batches))
    assert brain.progress.step == 3
    weight, bias = start_weights()
    for part in (slice(0, 4), slice(4, 8), slice(8, 10)):
        weight, bias = gradient_step(bench.inputs[part], bench.targets[part], weight, bias)
    assert torch.allclose(brain.raw_model.weight, weight, atol=1e-6)
    assert torch.allclose(brain.raw_model.bias, bias, atol=1e-6)


def test_a_step_is_the_mean_over_utterances_not_over_batches(bench):
    brain = bench.brain(accumulation=3)
    brain.learn(bench.loader([[0, 1, 2, 3, 4], [5], [6, 7]]))
    weight, bias = gradient_step(bench.inputs[:8], bench.targets[:8], *start_weights())
    assert torch.allclose(brain.raw_model.weight, weight, atol=1e-6)
    expected = (bench.inputs[:8] @ start_weights()[0][0] + start_weights()[1]
                - bench.targets[:8]).square().mean()
    logged = brain.progress.history[0]["train"]["loss"]
    assert logged == pytest.approx(float(expected.detach()), abs=1e-5)


def test_clipping_covers_all_groups_and_its_norm_is_logged(bench):
    def optimizer(module):
        groups = [{"params": [module.bias]}, {"params": [module.weight]}]
        return torch.optim.SGD([{**g, "initial_lr": 1.0} for g in groups], lr=1.0)

    before = torch.cat([part.flatten() for part in start_weights()])
    bench.inputs *= 1000
    brain = bench.brain(optimizer=optimizer, clip=0.5)
    brain.learn(bench.loader([[0, 1, 2]]))
    after = torch.cat([brain.raw_model.weight.flatten(), brain.raw_model.bias]).detach()
    assert float((after - before).norm()) == pytest.approx(0.5, rel=1e-3)
    assert brain.progress.history[0]["train"]["grad_norm"] > 1000


def test_scale_and_clip_by_hand():
    parameters = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))]
    parameters[0].grad, parameters[1].grad = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
    assert float(scale_and_clip(parameters, 2.0, 1.0)) == pytest.approx(10)
    assert torch.allclose(parameters[0].grad, torch.tensor([0.6, 0.0]), atol=1e-5)
    assert float(scale_and_clip(parameters, 1.0, None)) == pytest.approx(1, abs=1e-5)
    assert torch.allclose(parameters[1].grad, torch.tensor([0.8]), atol=1e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_never_reaches_the_weights(bench, value):
    said = []
    bench.inputs[2] = value
    brain = bench.brain(accumulation=2, say=said.append)
    brain.learn(bench.loader([[0], [1], [2], [3], [4], [5]]))
    weight, bias = start_weights()
    for part in (slice(0, 2), slice(4, 6)):  # utterances 2 and 3 made one step: skipped
        weight, bias = gradient_step(bench.inputs[part], bench.targets[part], weight, bias)
    assert torch.allclose(brain.raw_model.weight, weight, atol=1e-6)
    assert brain.progress.history[0]["train"]["skipped_steps"] == 1
    report = json.loads((bench.folder / "unit" / "bad_batch.json").read_text())
    assert [entry["ids"] for entry in report] == [["u2"]]
    assert report[0]["shape"] == [1, 4] and report[0]["step"] == 2
    assert any("bad_batch.json" in line for line in said)


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(bench):
    class Root(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x).abs().sqrt() * 0 + super().forward(x)

    model = Root(4, 1)
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)  # the root's slope at 0 is infinite, its value is not
    brain = bench.brain(model=model)
    brain.learn(bench.loader([[0, 1]]))
    assert float(model.weight.detach().abs().sum()) == 0
    assert brain.progress.history[0]["train"]["skipped_steps"] == 1


def test_gives_up_after_too_many_and_leaves_sound_weights(bench):
    bench.inputs[4:] = float("nan")
    brain = bench.brain(nonfinite_patience=2)
    with pytest.raises(Diverged, match="3 steps of this epoch") as caught:
        brain.learn(bench.loader([[number] for number in range(12)]))
    assert "u6" in str(caught.value) and "learning rate" in str(caught.value)
    assert bool(torch.isfinite(brain.raw_model.weight).all())
    assert brain.progress.step == 6


def test_an_epoch_without_one_good_step_ends_the_training(bench):
    bench.inputs[2:] = float("nan")
    brain = bench.brain(nonfinite_patience=9)
    brain.learn(bench.loader([[0], [2]]))  # one of two is skipped
    bench.inputs[:] = float("nan")
    with pytest.raises(Diverged, match="2 steps of this epoch"):
        bench.brain(folder="other", nonfinite_patience=9).learn(bench.loader([[0], [1]]))


class Poisoned(Regression):
    """A loss that is NaN for one utterance although its gradient is finite."""

    def compute_objectives(self, outputs, batch, stage):
        loss = super().compute_objectives(outputs, batch, stage)
        return loss + (float("nan") if "u3" in batch.ids else 0.0)


@pytest.mark.parametrize("kind", ["inputs", "loss"])
def test_the_lazy_guard_skips_the_same_steps_without_looking(bench, kind):
    """What a GPU does, here with the fused optimizer of the CPU."""

    def optimizer(module):
        groups = [{"params": list(module.parameters()), "lr": 0.1, "initial_lr": 0.1}]
        return torch.optim.AdamW(groups, fused=True)

    results = []
    for folder, lazily in (("eager", False), ("lazy", True)):
        brain = bench.brain(optimizer=optimizer, folder=folder, log_every=1)
        if kind == "inputs":
            bench.inputs[3] = float("nan")
        else:
            brain.__class__ = Poisoned
        fit_start = brain.on_fit_start

        def on_fit_start(brain=brain, lazily=lazily, fit_start=fit_start):
            fit_start()
            brain.guard.lazily = lazily

        brain.on_fit_start = on_fit_start
        brain.learn(bench.loader([[0, 1], [2, 3], [4, 5]]))
        report = json.loads((bench.folder / folder / "bad_batch.json").read_text())
        results.append((brain.raw_model.weight.detach(), brain.raw_model.bias.detach(),
                        brain.progress.history[0]["train"], [e["ids"] for e in report]))
        state = next(iter(brain.optimizer.state.values()))
        assert float(state["step"]) == 2
    eager, lazy = results
    assert torch.equal(eager[0], lazy[0]) and torch.equal(eager[1], lazy[1])
    assert eager[3] == lazy[3] == [["u2", "u3"]]
    assert eager[2]["loss"] == lazy[2]["loss"] and lazy[2]["skipped_steps"] == 1


def test_outputs_that_are_nan_in_the_dev_part_name_the_utterances(bench):
    bench.inputs[11] = float("nan")
    with pytest.raises(Diverged, match="u11"):
        bench.brain().learn(bench.loader([[0, 1]]), bench.loader([[10], [11]]))


class Partly(torch.nn.Module):
    """A frozen part with dropout and statistics before a trained one."""

    def __init__(self):
        super().__init__()
        self.upstream = torch.nn.Sequential(
            torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5)
        ).requires_grad_(False)
        self.head = torch.nn.Linear(4, 1)
        self.seen = []

    def forward(self, x):
        with torch.no_grad():
            self.seen.append((self.training, torch.equal(self.upstream(x), self.upstream(x))))
        return self.head(self.upstream(x))


def test_frozen_parts_stay_as_they_are_under_train_and_out_of_checkpoints(bench):
    model = Partly()
    before = {k: v.clone() for k, v in model.upstream.state_dict().items()}
    brain = bench.brain(model=model, epochs=2)
    brain.learn(bench.loader([[0, 1], [2, 3]]), bench.loader([[4, 5]]))
    assert (True, True) in model.seen and all(equal for _, equal in model.seen)
    assert all(torch.equal(before[k], v) for k, v in model.upstream.state_dict().items())
    saved = max((bench.folder / "unit" / "checkpoints").glob("CKPT*")) / "model.ckpt"
    assert set(torch.load(saved, weights_only=True)) == {"head.weight", "head.bias"}


def test_a_part_can_be_frozen_for_some_epochs(bench):
    seen = []

    class Thawing(Regression):
        def begin_epoch(self, epoch):
            self.freeze(self.raw_model[0], epoch <= 1)

        def after_step(self):
            seen.append(self.raw_model[0].weight.detach().clone())

    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 1))
    start = model[0].weight.detach().clone()
    brain = bench.brain(model=model, epochs=2)
    brain.__class__ = Thawing
    brain.learn(bench.loader([[0, 1]]))
    assert torch.equal(seen[0], start) and not torch.equal(seen[1], start)
    saved = max((bench.folder / "unit" / "checkpoints").glob("CKPT*")) / "model.ckpt"
    assert "0.weight" in torch.load(saved, weights_only=True)


def test_loss_and_other_scores_choose_the_best_epoch_in_their_own_direction(bench):
    brain = bench.brain(epochs=4, select="loss", patience=2)
    losses = iter([0.5, 0.3, 0.4, 0.6])
    brain.assess = lambda loader, show=False: {"loss": next(losses)}
    brain.learn(bench.loader([[0]]), bench.loader([[1]]))
    assert brain.progress.best_epoch == 2 and brain.progress.best_score == 0.3
    assert brain.progress.epoch == 4
    brain = bench.brain(epochs=9, folder="other", patience=2)
    scores = iter([None, 0.1, 0.5, 0.5, 0.4])
    brain.assess = lambda loader, show=False: {"score": next(scores)}
    brain.learn(bench.loader([[0]]), bench.loader([[1]]))
    assert brain.progress.best_epoch == 3 and brain.progress.epoch == 5


def test_rates_follow_the_schedule_and_are_never_zero(bench):
    rates = []

    class Watching(Regression):
        def after_step(self):
            rates.append(self.optimizer.param_groups[0]["lr"])

    brain = bench.brain(epochs=2, accumulation=2)
    brain.__class__ = Watching
    brain.schedule = Schedule("cosine", warmup=0.5)
    brain.learn(bench.loader([[0], [1], [2]]))
    done = [1 / 6, 2.5 / 6, 4 / 6, 5.5 / 6]
    expected = [done[0] / 0.5, done[1] / 0.5,
                *((1 + math.cos(math.pi * (d - 0.5) / 0.5)) / 2 for d in done[2:])]
    assert rates == pytest.approx([0.1 * factor for factor in expected])
    assert min(rates) > 0


def test_sum_of_schedules():
    assert Schedule("constant", 0.1).factor(0.05) == pytest.approx(0.5)
    assert Schedule("constant").factor(1.0) == 1
    assert Schedule("linear", floor=0.2).factor(1.0) == pytest.approx(0.2)
    assert Schedule("cosine", floor=0.2).factor(0.5) == pytest.approx(0.6)


def test_an_epoch_reaches_sampler_and_dataset(bench):
    from sertools.brains.loaders import begin_epoch

    loader = bench.loader([[0], [1], [2]])
    loader.dataset.set_epoch = lambda epoch: setattr(loader.dataset, "epoch", epoch)
    begin_epoch(loader, 5, seed=1, rank=0, skip=2)
    assert loader.dataset.epoch == 5 and loader.batch_sampler.batches.epochs == [5]
    assert [batch.ids for batch in loader] == [["u2"]]
    assert [batch.ids for batch in loader] == [["u0"], ["u1"], ["u2"]]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_two_thousand_steps_neither_grow_nor_leave_files_open(bench):
    def use():
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages, len(list(Path("/proc/self/fd").iterdir()))

    measured = []

    class Measuring(Regression):
        def after_step(self):
            if self.progress.step in (500, 2000):
                measured.append(use())

    brain = bench.brain(epochs=200, checkpoint_steps=50)
    brain.__class__ = Measuring
    brain.learn(bench.loader([[number] for number in range(10)]), bench.loader([[10], [11]]))
    (pages, files), (pages_later, files_later) = measured
    assert files_later == files and pages_later < 1.01 * pages
