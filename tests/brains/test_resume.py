"""A training that was stopped or killed anywhere ends bit by bit as one that was not."""

import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sertools.errors import ConfigError, Interrupted

TOY = Path(__file__).with_name("toy.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def result_of(folder: Path) -> dict:
    """Return what a training leaves, without the times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        assert line.pop("audio_seconds_per_second") > 0
    best = json.loads((folder / "best" / "best.json").read_text())
    best.pop("audio_seconds_per_second")
    last = max((folder / "checkpoints").glob("CKPT*"))
    return {
        "weights": load_file(folder / "best" / "model.safetensors"),
        "last": torch.load(last / "model.ckpt", weights_only=True),
        "optimizer": torch.load(last / "optimizer.ckpt", weights_only=True)["state"],
        "lines": lines, "best": best, "end": json.loads((folder / "training.json").read_text()),
    }


def assert_equal(one, other, where="result"):
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_equal(*pair, f"{where}.{index}")
    else:
        assert one == other, where


def trainers(toy):
    return {
        "audio": toy.audio_trainer,
        "features": toy.feature_trainer,
        "frames": functools.partial(toy.feature_trainer, head=functools.partial(
            toy.UtteranceHead, projection=8, activation="relu", dropout=0.2)),
        "augmented": functools.partial(
            toy.audio_trainer, speeds=[90, 110], noise=[5, 20], silences=2, crop="random",
            crop_seconds=0.12, silence_seconds=0.02, select="loss", patience=2,
        ),
        "rates": functools.partial(
            toy.audio_trainer, encoder_lr=1e-3, layer_decay=0.7, freeze_frontend=1,
            optimizer="sgd", class_weights="balanced", label_smoothing=0.1, accumulation=3,
        ),
    }


@pytest.mark.parametrize("kind", ["audio", "features", "frames", "augmented", "rates"])
def test_stopped_at_any_step_ends_the_same(toy, work_of, kind):
    inputs = "features" if kind in ("features", "frames") else "audio"
    trainer_of = trainers(toy)[kind]
    trainer_of().fit(work_of("whole", inputs))
    polls = [1, 2, 4, 3]
    stops = toy.train_in_pieces(trainer_of, functools.partial(work_of, "pieces", inputs), polls)
    assert stops == len(polls)
    folder = work_of("whole", inputs).folder
    assert_equal(result_of(folder), result_of(folder.with_name("pieces")))


def test_a_stop_in_the_dev_part_goes_on_there(toy, work_of):
    toy.audio_trainer().fit(work_of("whole"))
    said = []
    steps = 4  # of an epoch; the next questions come from the dev part
    with pytest.raises(Interrupted, match="run the same command"):
        toy.audio_trainer().fit(work_of("pieces", should_stop=toy.stop_after(steps + 1)))
    toy.audio_trainer().fit(work_of("pieces", say=said.append))
    assert "going on after epoch 0, step 4" in said[0]
    folder = work_of("whole").folder
    assert_equal(result_of(folder), result_of(folder.with_name("pieces")))


def test_workers_change_nothing(toy, work_of):
    trainer_of = functools.partial(toy.audio_trainer, crop="random", crop_seconds=0.12, epochs=2)
    trainer_of().fit(work_of("alone"))
    with pytest.raises(Interrupted):
        trainer_of().fit(work_of("workers", num_workers=2, should_stop=toy.stop_after(2)))
    trainer_of().fit(work_of("workers", num_workers=1))
    folder = work_of("alone").folder
    assert_equal(result_of(folder), result_of(folder.with_name("workers")))


def test_a_damaged_newest_checkpoint_costs_steps_but_nothing_else(toy, work_of):
    toy.audio_trainer().fit(work_of("whole"))
    trainer_of = functools.partial(toy.audio_trainer, checkpoint_steps=1)
    with pytest.raises(Interrupted):
        trainer_of().fit(work_of("pieces", should_stop=toy.stop_after(9)))
    folder = work_of("pieces").folder
    newest = max((folder / "checkpoints").glob("CKPT*")) / "optimizer.ckpt"
    newest.write_bytes(newest.read_bytes()[:-9])
    said = []
    trainer_of().fit(work_of("pieces", say=said.append))
    assert any("warning" in line for line in said)
    assert_equal(result_of(folder.with_name("whole")), result_of(folder))


def test_killed_while_the_best_model_was_replaced(toy, work_of):
    """The old best folder is gone, the new one not there yet, the checkpoint is of before."""
    import shutil

    toy.audio_trainer(select="loss").fit(work_of("whole"))
    trainer_of = functools.partial(toy.audio_trainer, select="loss")
    with pytest.raises(Interrupted):
        trainer_of().fit(work_of("pieces", should_stop=toy.stop_after(14)))
    folder = work_of("pieces").folder
    shutil.rmtree(folder / "best")
    trainer_of().fit(work_of("pieces"))
    assert_equal(result_of(folder.with_name("whole")), result_of(folder))


def test_killed_between_the_last_checkpoint_and_the_logs(toy, work_of):
    toy.feature_trainer().fit(work_of(inputs="features"))
    folder = work_of().folder
    lines = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(lines.splitlines(keepends=True)[0])
    (folder / "training.json").unlink()
    toy.feature_trainer().fit(work_of(inputs="features"))
    assert (folder / "metrics.jsonl").read_text() == lines and (folder / "training.json").exists()


def test_a_finished_training_is_left_alone(toy, work_of):
    toy.feature_trainer().fit(work_of(inputs="features"))
    times = {p: p.stat().st_mtime_ns for p in work_of().folder.rglob("*")}
    toy.feature_trainer().fit(work_of(inputs="features"))
    assert times == {p: p.stat().st_mtime_ns for p in work_of().folder.rglob("*")}


@pytest.mark.parametrize("changes, key", [
    ({"batch_seconds": 0.9}, "batch_seconds"), ({"accumulation": 1}, "accumulation"),
    ({"lr": 1e-4}, "lr"), ({"epochs": 9}, "epochs"),
])
def test_other_settings_than_the_checkpoints_are_refused(toy, work_of, changes, key):
    with pytest.raises(Interrupted):
        toy.feature_trainer().fit(work_of(inputs="features", should_stop=toy.stop_after(3)))
    with pytest.raises(ConfigError) as caught:
        toy.feature_trainer(**changes).fit(work_of(inputs="features"))
    assert [problem.split(":")[0] for problem in caught.value.problems] == [key]


def test_other_utterances_than_the_checkpoints_are_refused(toy, work_of):
    with pytest.raises(Interrupted):
        toy.feature_trainer().fit(work_of(inputs="features", should_stop=toy.stop_after(3)))
    work = work_of(inputs="features")
    work.train = work.train[1:]
    with pytest.raises(ConfigError, match="train: '16 utterances"):
        toy.feature_trainer().fit(work)


def test_curves_are_drawn_once_however_often_training_stops(toy, work_of):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer_of = functools.partial(toy.feature_trainer, tensorboard=True)
    make = functools.partial(work_of, "unit", "features")
    assert toy.train_in_pieces(trainer_of, make, [6, 6]) == 2
    events = EventAccumulator(str(make().folder / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("dev/UA")] == [1, 2, 3]
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3]


def start(root, folder, inputs, world_size=1):
    command = [sys.executable, str(TOY), str(root), str(folder), inputs, str(world_size)]
    return subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)


def kill_once_there_is(process, folder: Path, number: int) -> bool:
    """Kill a process when its checkpoint `number` appears; return whether it came to that.

    Even ones are killed while they are written (if seen in time), odd ones when published.
    """
    places = [folder / "checkpoints" / f"{before}CKPT+{number:06d}" for before in ("", ".tmp-")]
    while process.poll() is None:
        if any(place.exists() for place in places[: 1 + (number % 2 == 0)]):
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return True
    return False


def killed_run_equals_whole_run(toy, root, tmp_path, inputs, numbers):
    killed = 0
    for number in numbers:
        process = start(root, tmp_path / "killed", inputs)
        killed += kill_once_there_is(process, tmp_path / "killed", number)
    final = start(root, tmp_path / "killed", inputs)
    toy.main(root, tmp_path / "whole", inputs, 1)
    _, errors = final.communicate(timeout=120)
    assert final.returncode == 0, errors
    assert killed == len(numbers)
    assert_equal(result_of(tmp_path / "whole"), result_of(tmp_path / "killed"))
    names = [tmp_path / name / "predictions.jsonl" for name in ("whole", "killed")]
    assert names[0].read_bytes() == names[1].read_bytes()


def test_killed_in_the_middle_of_an_epoch_ends_the_same(toy, root, tmp_path):
    killed_run_equals_whole_run(toy, root, tmp_path, "audio", [4])


@pytest.mark.slow
@pytest.mark.parametrize("inputs", ["audio", "features"])
def test_killed_at_many_points_ends_the_same(toy, root, tmp_path, inputs):
    killed_run_equals_whole_run(toy, root, tmp_path, inputs, range(1, 13))
