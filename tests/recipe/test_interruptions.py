"""Kills, signals, locks, exit codes: the same command always goes on, and nothing is trusted."""

import fcntl
import json
import os
import shlex
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
import safetensors
from sertools.files import read_json
from sertools.recipe.disk import full_disk
from sertools.recipe.stage import NAMES

UNIT = ("--fold", "1", "--seed", "1")
KILLS = [f"{how}@{place}" for how in ("kill", "kill-late")
         for place in ("prepare", "train/1/2", "evaluate/2/1", "report")]


@pytest.mark.parametrize("fault", KILLS)
def test_after_a_kill_the_same_command_finishes_and_repeats_nothing_finished(toy, fault):
    stage, *unit = fault.partition("@")[2].split("/")
    killed = toy.run(fault=fault)
    assert killed.code == -signal.SIGKILL
    before = toy.ran()
    name = ".".join([stage, *(f"{k}{v}" for k, v in zip(("fold", "seed"), unit, strict=False))])
    assert not list(toy.folder.glob(f"*/*/.done/{name}*json")) or (
        list(toy.folder.glob(f"*/*/.done/{name}*json"))[0].name.endswith("started.json"))
    again = toy.call()
    assert again.code == 0, again.err
    host = socket.gethostname()
    assert f", host {host}, started " in again.out
    assert "did not end cleanly; going on" in again.out
    ran = toy.ran()
    assert ran[0] == before[-1] and not set(before[:-1]) & set(ran)
    assert len(before) + len(ran) == 11
    assert f"stage {NAMES.index(stage)} {stage}: it was begun and did not finish" in again.out
    assert "found half of its work" in again.out  # begun with the same: kept
    assert toy.call().code == 0 and toy.ran() == []
    assert "did not end cleanly" not in toy.call().out


def test_a_marker_is_written_after_its_outputs_and_a_kill_between_leaves_none(toy, monkeypatch):
    from sertools.recipe import work

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(work, "list_outputs", killed)
    assert toy.call().code == 4
    assert not list(toy.folder.glob("data/small/.done/prepare.????????.json"))
    monkeypatch.undo()
    assert toy.call().code == 0


def test_work_begun_with_other_settings_is_thrown_away(toy):
    toy.run(fault="kill@train/1/1")
    toy.replace("rate: 1e-3", "rate: 5e-4")
    outcome = toy.call()
    assert outcome.code == 0
    said = "exp/x/fold1/seed1/train: begun with other settings (optim.lr: 0.001 -> 0.0005); emptied"
    assert said in outcome.lines and "found half" not in outcome.out
    assert not (toy.folder / "exp/x/fold1/seed1/train/half.txt").exists()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_saves_and_prints_the_command_that_goes_on(toy, until, sent):
    process = toy.start("--optim.name", "it's", fault="wait@train/1/2")
    until(toy.ready)
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "saved after 7 steps" in err and "Traceback" not in err
    command = shlex.split(out.splitlines()[-1])
    assert command == [sys.executable, "run.py", *toy.words("--optim.name", "it's")]
    toy.ran()
    assert toy.call(*command[4:]).code == 0
    assert toy.ran()[0] == "train/1/2"


def test_the_command_that_goes_on_does_not_repeat_a_forced_stage(toy, until):
    toy.call()
    toy.replace("beam: 1", "beam: 2")
    process = toy.start("--stage", "train", "--stop-stage=5", fault="wait@evaluate/1/1")
    until(toy.ready)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert shlex.split(out.splitlines()[-1])[2:] == toy.words(
        "--stage", "evaluate", "--stop-stage=5")


def test_a_second_interrupt_stops_at_once(toy, until):
    process = toy.start(fault="stuck@train/1/1")
    until(toy.ready)
    process.send_signal(signal.SIGINT)
    until(lambda: process.poll() is None)
    time.sleep(0.2)  # two signals at the same moment may count as one
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 4 and "stopped at once" in err
    assert out.splitlines()[-1].startswith(sys.executable)


def test_a_data_fault_has_its_own_code_and_no_traceback(toy):
    outcome = toy.run(fault="data@prepare")
    assert outcome.code == 3 and "Traceback" not in outcome.err + outcome.out
    assert "2 files are broken\n  - a.wav: empty; delete it\n  - b.wav: cut" in outcome.err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize(
    "words", [(), pytest.param(("--nproc", "2"), marks=pytest.mark.slow)])
def test_a_full_disk_is_said_in_words_and_the_same_command_goes_on(toy, words):
    outcome = toy.run(*words, fault="full@train/1/2")
    assert outcome.code == 3 and "Traceback" not in outcome.err + outcome.out
    assert "the disk is full" in outcome.err and "No space left" in outcome.err
    assert "--exp-dir" in outcome.err
    done = toy.ran()
    assert toy.call(*words).code == 0 and not set(done[:-1]) & set(toy.ran())


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_all_who_write_files_are_understood():
    import torch

    for write in (lambda: torch.save(torch.zeros(9999), "/dev/full"),
                  lambda: Path("/dev/full").write_text("more")):
        with pytest.raises((OSError, RuntimeError)) as caught:
            write()
        assert full_disk(caught.value).exit_code == 3
        again = ValueError("another")
        again.__cause__ = caught.value
        assert full_disk(again)
    said = "Error while serializing: I/O error: No space left on device (os error 28)"
    assert full_disk(safetensors.SafetensorError(said))
    assert full_disk(PermissionError(13, "no")) is None and full_disk(ValueError("bug")) is None


def test_a_bug_shows_its_traceback_here_and_in_the_log(toy):
    outcome = toy.run(fault="bug@report")
    assert outcome.code == 1
    log = toy.folder / "exp/x/log/report.log"
    assert "ZeroDivisionError: a bug of the toy" in outcome.err
    assert "ZeroDivisionError: a bug of the toy" in log.read_text()
    assert f"this is a bug; the log is {log}" in outcome.err


def test_an_output_that_does_not_exist_is_a_bug(toy):
    text = (toy.folder / "run.py").read_text()
    (toy.folder / "run.py").write_text(text.replace("return [path] if", "return ['no.txt'] if"))
    outcome = toy.call()
    assert outcome.code == 1 and "names an output that does not exist" in outcome.err
    assert not list(toy.folder.glob("data/small/.done/prepare.????????.json"))


def test_logs_hold_what_was_said(toy):
    toy.call()
    folder = toy.folder / "exp/x/log"
    assert {path.name for path in folder.iterdir()} == {
        "run.log", "prepare.log", "train.log", "evaluate.log", "report.log"}
    assert "fold 1 seed 2: stage 4 train, fold 1 seed 2 (2 of 4)" in (
        folder / "train.log").read_text()


def test_a_second_writer_is_refused_with_host_pid_and_age(toy, until):
    process = toy.start(fault="wait@train/1/1")
    until(toy.ready)
    refused = toy.call("--stage", "report")
    assert refused.code == 2
    assert f"x is in use by another run: host {socket.gethostname()}, pid {process.pid}, since" in (
        refused.err)
    assert f"stop it with `kill {process.pid}`" in refused.err
    assert "python run.py hparams/x.yaml" in refused.err
    fold = toy.call(*UNIT)
    assert fold.code == 2 and f"pid {process.pid}" in fold.err
    assert toy.call("--dry-run").code == 0
    assert toy.call("--beam", "2", "--stop-stage", "prepare").code == 0  # another experiment
    process.terminate()
    process.communicate()
    assert toy.call().code == 0


def test_single_folds_run_side_by_side(toy, until):
    toy.call("--stop-stage", "prepare")
    toy.ran()
    process = toy.start("--fold", "1", fault="wait@train/1/1")
    until(toy.ready)
    assert toy.call("--fold", "2", "--stop-stage", "evaluate").code == 0
    assert toy.ran() == ["train/1/1", "train/2/1", "train/2/2", "evaluate/2/1", "evaluate/2/2"]
    for words in (("--fold", "1"), ()):
        refused = toy.call(*words)
        assert refused.code == 2 and f"pid {process.pid}" in refused.err
    process.terminate()
    process.communicate()


def test_shared_data_is_prepared_by_one_run_while_others_wait(toy, until):
    first = toy.start(fault="wait@prepare")
    until(toy.ready)
    second = toy.start("--beam", "2")
    said = []
    while not said or "waiting for" not in said[-1]:
        said.append(second.stdout.readline())
        assert said[-1], "it did not wait"
    assert f"pid {first.pid}" in said[-1]
    first.terminate()
    first.communicate()
    second.communicate(timeout=60)
    assert second.returncode == 0


def test_waiting_can_be_broken_off(toy):
    lock = toy.folder / "data/small/.lock"
    lock.parent.mkdir(parents=True)
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        process = toy.start()
        while "waiting for" not in process.stdout.readline():
            pass
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 4 and "stopped by SIGTERM" in err


def test_a_lock_ends_with_its_process_and_not_with_forked_children(tmp_path):
    from sertools.recipe.lock import Lock

    path = tmp_path / "x" / ".lock"
    release, hold = os.pipe()
    running, begun = os.pipe()
    child = os.fork()
    if child == 0:
        lock = Lock(path)
        lock.acquire()
        if os.fork() == 0:
            os.close(hold)
            os.write(begun, b"1")
            os.read(release, 1)  # outlives its parent
            os._exit(0)
        os.read(running, 1)
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(release)
    os.waitpid(child, 0)
    lock = Lock(path)
    assert lock.acquire() and lock.left_behind["pid"] == child
    assert json.loads(path.read_text())["pid"] == os.getpid()
    lock.release()
    assert path.read_text() == ""
    os.close(hold)


def test_large_files_count_by_size_and_time_unless_verified(toy, monkeypatch):
    from sertools.recipe import marker

    monkeypatch.setattr(marker, "LARGE", 4)
    toy.call()
    toy.ran()
    path = toy.folder / "exp/x/report/report.txt"
    stat, content = path.stat(), path.read_bytes()
    path.write_bytes(b"X" + content[1:])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert toy.call().code == 0 and toy.ran() == []
    assert toy.call("--verify").code == 0 and toy.ran() == ["report"]
    assert read_json(toy.folder / "exp/x/.done/report.json")["outputs"][0]["mtime_ns"]
    os.utime(path, ns=(0, 0))
    assert toy.call().code == 0 and toy.ran() == ["report"]
