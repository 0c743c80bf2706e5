"""Checkpoints: nothing half written is trusted, nothing damaged is loaded."""

import json

import numpy as np
import pytest
import torch
from sertools.brains.checkpoints import AtomicCheckpointer, as_plain
from sertools.brains.distributed import Ranks
from sertools.brains.randomness import RandomState
from sertools.brains.weights import NonFiniteWeights, TrainedWeights
from sertools.errors import ConfigError


class Counter:
    """A recoverable with plain state."""

    def __init__(self):
        self.value = 0

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value = state["value"]


class Bench:
    """A model, its optimizer, a counter and a checkpointer over them."""

    def __init__(self, folder, setup=None):
        self.said = []
        self.model = torch.nn.Linear(3, 2)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        self.counter = Counter()
        self.checkpointer = AtomicCheckpointer(folder, Ranks(), setup, say=self.said.append)
        self.checkpointer.add_recoverable("model", TrainedWeights(self.model))
        self.checkpointer.add_recoverable("optimizer", self.optimizer)
        self.checkpointer.add_json("counter", self.counter)
        self.checkpointer.add_per_rank("rng", RandomState())

    def step(self):
        self.model(torch.randn(4, 3)).square().sum().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.counter.value += 1

    def save(self, **meta):
        self.checkpointer.save_and_keep_only(meta)
        return self.checkpointer.find_checkpoint().path

    @property
    def weight(self):
        return self.model.weight.detach().clone()


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path / "checkpoints")


def files_of(folder):
    return sorted(path.name for path in folder.iterdir())


def test_everything_comes_back(bench, tmp_path):
    bench.step()
    bench.save()
    weight, value = bench.weight, torch.rand(3)
    bench.step()
    other = Bench(tmp_path / "checkpoints")
    assert other.checkpointer.recover_if_possible() is not None
    assert torch.equal(other.weight, weight) and other.counter.value == 1
    assert torch.equal(torch.rand(3), value)
    state = other.optimizer.state_dict()["state"]
    assert state[0]["step"] == 1


def test_numpy_and_torch_scalars_in_meta_do_not_break_the_listing(bench):
    bench.save(UA=np.float64(0.5), steps=torch.tensor(3), names=("a", "b"), by={"x": np.int64(2)})
    meta = bench.checkpointer.recover_if_possible().meta
    assert meta["UA"] == 0.5 and type(meta["UA"]) is float
    assert meta["steps"] == 3 and meta["names"] == ["a", "b"] and meta["by"] == {"x": 2}


def test_as_plain_names_what_it_cannot_write():
    with pytest.raises(TypeError, match="object"):
        as_plain({"a": object()})


def test_a_folder_killed_before_its_seal_is_ignored(bench, tmp_path):
    bench.step()
    good = bench.save()
    half = good.with_name("CKPT+000009")
    half.mkdir()
    (half / "CKPT.yaml").write_text("unixtime: 9999999999.0\nend-of-epoch: true\n")
    assert bench.checkpointer.recover_if_possible().path == good
    assert any("CKPT+000009" in line and "never finished" in line for line in bench.said)


@pytest.mark.parametrize("damage", ["truncate", "flip", "flip_last", "delete", "empty", "extra"])
def test_damage_in_any_file_falls_back_to_the_checkpoint_before(bench, tmp_path, damage):
    bench.step()
    good, weight = bench.save(), bench.weight
    names = files_of(good)
    assert names == ["CKPT.yaml", "counter.ckpt", "manifest.json", "model.ckpt", "optimizer.ckpt",
                     "rng.rank0.ckpt"]
    for name in names:
        bench.step()
        newest = bench.save()
        assert newest != good
        spoil(newest / name, damage)
        other = Bench(tmp_path / "checkpoints")
        chosen = other.checkpointer.recover_if_possible()
        assert chosen.path == good, name
        assert torch.equal(other.weight, weight) and other.counter.value == 1
        assert any("warning" in line and newest.name in line for line in other.said), name
        bench.checkpointer.recover_if_possible()


def spoil(file, damage):
    content = bytearray(file.read_bytes())
    if damage == "delete":
        return file.unlink()
    if damage == "extra":
        return file.with_name("unexpected.ckpt").write_bytes(b"?")
    if damage == "truncate":
        content = content[: len(content) // 2]
    elif damage == "empty":
        content = bytearray()
    else:
        content[len(content) // 2 if damage == "flip" else -2] ^= 1
    return file.write_bytes(bytes(content))


def test_every_single_flipped_byte_of_the_seal_is_noticed(bench, tmp_path):
    from sertools.brains import sealed

    folder = bench.save()
    manifest = folder / sealed.MANIFEST
    content = manifest.read_bytes()
    for place in range(len(content) - 1):  # the line end at the very end means nothing
        for bit in (1, 16):
            manifest.write_bytes(
                content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]
            )
            assert sealed.faults(folder), place
    manifest.write_bytes(content)
    assert not sealed.faults(folder)


def test_all_damaged_begins_anew_and_says_so(bench):
    path = bench.save()
    spoil(path / "model.ckpt", "flip")
    assert bench.checkpointer.recover_if_possible() is None
    assert (path.parent / f"damaged-{path.name}").is_dir()
    assert any("damaged" in line for line in bench.said)


def test_the_two_newest_are_kept_however_often_it_saves(bench):
    paths = [bench.save() for _ in range(5)]
    found = [checkpoint.path for checkpoint in bench.checkpointer.find_checkpoints()]
    assert found == [paths[4], paths[3]]
    assert {p.name for p in paths[0].parent.iterdir()} == {paths[3].name, paths[4].name}


def test_default_arguments_do_not_grow(bench):
    bench.checkpointer.save_and_keep_only()
    keys = []
    bench.checkpointer.save_and_keep_only(importance_keys=keys)
    assert keys == []


def test_fewer_than_two_are_refused(tmp_path, bench):
    with pytest.raises(ConfigError, match="the newest may be damaged"):
        AtomicCheckpointer(tmp_path, Ranks(), keep=1)
    with pytest.raises(ConfigError):
        bench.checkpointer.save_and_keep_only(num_to_keep=1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_weights_are_never_saved(bench, value):
    good = bench.save()
    with torch.no_grad():
        bench.model.weight[0, 0] = value
    with pytest.raises(NonFiniteWeights, match=r"model\.weight"):
        bench.save()
    assert files_of(good.parent) == [good.name]


def test_non_finite_optimizer_states_are_never_saved(bench):
    bench.step()
    next(iter(bench.optimizer.state.values()))["exp_avg"][0] = float("nan")
    with pytest.raises(NonFiniteWeights, match="exp_avg"):
        bench.save()


def test_a_crash_while_writing_leaves_nothing_visible(bench, tmp_path, monkeypatch):
    good = bench.save()
    monkeypatch.setattr(torch, "save", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        bench.save()
    assert files_of(good.parent) == [good.name]


def test_leftovers_of_a_kill_are_swept(bench, tmp_path):
    leftover = tmp_path / "checkpoints" / ".tmp-CKPT+000001"
    leftover.mkdir()
    Bench(tmp_path / "checkpoints")
    assert not leftover.exists()


def test_another_setup_is_refused_with_every_difference(tmp_path):
    Bench(tmp_path, {"world_size": 1, "batch_seconds": 20.0, "seed": 1}).save()
    other = Bench(tmp_path, {"world_size": 2, "batch_seconds": 30.0, "seed": 1})
    with pytest.raises(ConfigError) as caught:
        other.checkpointer.recover_if_possible()
    assert len(caught.value.problems) == 2
    assert "batch_seconds: 20.0 in the checkpoint, 30.0 now" in caught.value.problems
    assert "begin anew" in str(caught.value)


def test_order_survives_a_clock_that_is_set_back(bench, monkeypatch):
    import time

    bench.save()
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    second = bench.save()
    assert bench.checkpointer.find_checkpoint().path == second


def test_frozen_weights_are_left_out_but_their_identity_is_checked(tmp_path):
    def model(value):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))
        net[0].weight.data.fill_(value)
        return net.requires_grad_(True)

    first = model(1.0)
    first[0].requires_grad_(False)
    weights = TrainedWeights(first)
    assert set(weights.state_dict()) == {"1.weight", "1.bias"}
    second = model(1.0)
    second[0].requires_grad_(False)
    assert TrainedWeights(second).frozen == weights.frozen
    third = model(2.0)
    third[0].requires_grad_(False)
    assert TrainedWeights(third).frozen != weights.frozen
    assert TrainedWeights(model(1.0)).frozen is None
    with pytest.raises(ConfigError, match="another model"):
        TrainedWeights(model(1.0)).load_state_dict(weights.state_dict())


def test_a_moving_part_is_saved_although_it_has_no_gradients():
    model = torch.nn.ModuleDict({
        "student": torch.nn.Linear(2, 2), "ema": torch.nn.Sequential(torch.nn.Linear(2, 2)),
        "fixed": torch.nn.Sequential(torch.nn.Linear(2, 2)),
    })
    model["ema"].requires_grad_(False).moving = True
    model["fixed"].requires_grad_(False)
    weights = TrainedWeights(model)
    assert weights.roots == ["fixed"]
    assert {name.split(".")[0] for name in weights.state_dict()} == {"student", "ema"}
    whole = torch.nn.ModuleDict({"ema": model["ema"]})
    assert TrainedWeights(whole).roots == [] and TrainedWeights(whole).frozen is None


def test_files_hold_no_pickled_objects(bench):
    folder = bench.save()
    for name in ("model.ckpt", "optimizer.ckpt", "rng.rank0.ckpt"):
        torch.load(folder / name, weights_only=True)
    json.loads((folder / "counter.ckpt").read_text())
