"""Two ranks (gloo) train as one does, fail together, and go on after a kill."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sertools.brains.distributed import Ranks, gather_by_id, resolve_device
from sertools.brains.randomness import seed_weights
from sertools.errors import ConfigError
from sertools.scoring.predictions import read_predictions

TOY = Path(__file__).with_name("toy.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def torchrun(*arguments, restarts=0, **environment):
    """Start toy.py on two ranks."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone",
               "--nproc-per-node=2", f"--max-restarts={restarts}", str(TOY)]
    return subprocess.Popen(
        [*command, *map(str, arguments)], env={**ENVIRONMENT, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )


def finish(process, code=0) -> str:
    try:
        output, _ = process.communicate(timeout=90)
    except subprocess.TimeoutExpired:
        process.terminate()
        raise
    assert process.returncode == code, output
    return output


def weights(folder):
    last = max((folder / "checkpoints").glob("CKPT*"))
    return torch.load(last / "model.ckpt", weights_only=True)


def lines(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        row.pop("audio_seconds_per_second")
    return rows


@pytest.fixture(scope="module")
def two(root, tmp_path_factory):
    """Return the folder of 2-rank trainings: whole, in pieces, without randomness."""
    folder = tmp_path_factory.mktemp("two")
    finish(torchrun(root, folder, "ranks", 2))
    return folder


def assert_same_end(one, other):
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert lines(one) == lines(other)
    files = [folder / "predictions.jsonl" for folder in (one, other)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_stopped_by_a_signal_to_one_rank_both_go_on_and_end_the_same(two):
    assert_same_end(two / "whole", two / "pieces")


@pytest.mark.slow
def test_a_killed_worker_restarts_and_ends_the_same(two, root, tmp_path):
    marker = tmp_path / "killed-once"
    finish(torchrun(root, tmp_path / "unit", "audio", 2, restarts=1, TOY_KILL=str(marker)))
    assert marker.exists()
    assert_same_end(two / "whole", tmp_path / "unit")


def test_every_dev_utterance_counts_once(two):
    for row in lines(two / "whole"):
        assert row["dev"]["n"] == 5 and sum(map(sum, row["dev"]["confusion"])) == 5


def test_predictions_of_two_ranks_are_those_of_one(toy, two, root):
    work = toy.make_work(root, two / "whole")
    alone = toy.audio_trainer().predict(work, sorted(work.manifest))
    together = read_predictions(two / "whole" / "predictions.jsonl")
    assert [p.id for p in together] == [p.id for p in alone] == sorted(work.manifest)
    for one, other in zip(alone, together, strict=True):
        assert one.prediction == other.prediction
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)


def test_two_ranks_learn_as_one_with_the_same_utterances(toy, two, work_of):
    toy.plain_trainer().fit(work_of("one"))
    folder = work_of("one").folder
    for name, value in weights(folder).items():
        assert torch.allclose(value, weights(two / "plain")[name], atol=1e-5), name
    one, other = lines(folder), lines(two / "plain")
    for mine, theirs in zip(one, other, strict=True):
        assert mine["dev"]["confusion"] == theirs["dev"]["confusion"]
        assert mine["train"]["loss"] == pytest.approx(theirs["train"]["loss"], abs=1e-5)
        assert mine["train"]["grad_norm"] == pytest.approx(theirs["train"]["grad_norm"], rel=1e-3)


def test_a_part_frozen_for_the_first_epoch_learns_in_the_second(toy, two):
    seed_weights(3)
    start = {f"encoder.{k}": v for k, v in toy.build_encoder(**toy.TINY).state_dict().items()}
    last = weights(two / "thaw")
    frozen = [name for name in last if ".frontend." in name]
    assert frozen and not any(torch.equal(start[name], last[name]) for name in frozen)
    assert [row["epoch"] for row in lines(two / "thaw")] == [1, 2]


def test_another_number_of_ranks_is_refused(toy, two, work_of, tmp_path):
    import shutil

    shutil.copytree(two / "whole" / "checkpoints", tmp_path / "unit" / "checkpoints")
    with pytest.raises(ConfigError) as caught:
        toy.audio_trainer().fit(work_of("unit"))
    assert "world_size: 2 in the checkpoint, 1 now" in caught.value.problems


def test_a_failure_on_one_rank_is_raised_on_both_and_leaves_nothing(two):
    disk = (two / "fail" / "0.rank0.txt").read_text()
    assert disk == (two / "fail" / "0.rank1.txt").read_text()
    assert "UserError: another rank failed" in disk and "rank 1: OSError: disk full" in disk
    weights = (two / "fail" / "1.rank1.txt").read_text()
    assert "NonFiniteWeights" in weights and "rank 0: NonFiniteWeights" in weights


def test_ranks_that_were_not_started_are_asked_for_in_vain():
    with pytest.raises(ConfigError, match="--nproc"):
        Ranks.start("cpu", 0, 2)


def test_alone_everything_is_its_own_answer():
    ranks = Ranks()
    assert ranks.main and ranks.any([True, False]) == [True, False]
    assert ranks.share("x") == "x" and ranks.gather(1) == [1]
    with pytest.raises(OSError, match="disk"):
        ranks.attempt(lambda: (_ for _ in ()).throw(OSError("disk")))


def test_gathered_outputs_are_sorted_and_single():
    batches = [(["b", "c"], torch.tensor([[2.0], [3.0]])),
               (["a", "b"], torch.tensor([[1.0], [2.0]]))]
    ids, outputs = gather_by_id(batches, Ranks())
    assert ids == ["a", "b", "c"] and outputs.flatten().tolist() == [1, 2, 3]
    assert gather_by_id([], Ranks())[0] == []


def test_devices_by_name(monkeypatch):
    assert resolve_device("cpu") == "cpu"
    with pytest.raises(ConfigError, match="auto, cpu or cuda"):
        resolve_device("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"
    with pytest.raises(ConfigError, match="no CUDA device"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert resolve_device("auto") == "cuda:3" and resolve_device("cuda:1") == "cuda:1"
