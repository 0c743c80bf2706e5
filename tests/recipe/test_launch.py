"""Parallel stages: several processes, one outcome, one writer of markers."""

import os
import shlex
import signal
import sys
from pathlib import Path

import pytest
from sertools.files import read_json

FAKE = shlex.join([sys.executable, str(Path(__file__).parent / "fake_launcher.py")])
UNIT = ("--fold", "1", "--seed", "1")
MARKER = "exp/x/.done/train.fold1.seed1.json"


def test_a_launcher_runs_the_parallel_stage_alone(toy):
    outcome = toy.run(*UNIT, "--launcher", f"{FAKE} 2", "--optim.name", "a=b c")
    assert outcome.code == 0, outcome.err
    assert toy.ran() == ["prepare", "train/1/1", "evaluate/1/1", "report"]
    folder = next((toy.folder / "exp").iterdir())
    text = (folder / "fold1/seed1/train/train.txt").read_text()
    assert "'name': 'a=b c'" in text and text.endswith(" 2 1 1")
    marker = read_json(folder / ".done/train.fold1.seed1.json")
    assert marker["nproc"] == 2 and len(marker["outputs"]) == 1
    assert not list((folder / ".done").glob("*result*")) + list((folder / ".done").glob("*start*"))
    assert toy.run(*UNIT, "--optim.name", "a=b c").code == 0 and toy.ran() == []


@pytest.mark.timeout(180)
def test_torchrun_runs_the_parallel_stage(toy):
    outcome = toy.run(*UNIT, "--nproc", "2", "--stop-stage", "train")
    assert outcome.code == 0, outcome.err
    assert toy.ran() == ["prepare", "train/1/1"]
    assert (toy.folder / "exp/x/fold1/seed1/train/train.txt").read_text().endswith(" 2 1 1")
    assert read_json(toy.folder / MARKER)["nproc"] == 2


def test_what_a_process_refuses_is_what_the_run_refuses(toy):
    outcome = toy.run(*UNIT, "--launcher", f"{FAKE} 2", fault="data@train/1/1")
    assert outcome.code == 3 and not (toy.folder / MARKER).exists()
    assert "2 files are broken\n  - a.wav: empty; delete it" in outcome.err


def test_a_bug_in_a_process_is_a_bug_of_the_run(toy):
    outcome = toy.run(*UNIT, "--launcher", f"{FAKE} 2", fault="bug@train/1/1")
    assert outcome.code == 1 and not (toy.folder / MARKER).exists()
    assert "exp/x/log/train*.log" in outcome.err
    for name in ("train.log", "train.rank1.log"):
        log = (toy.folder / "exp/x/log" / name).read_text()
        assert "ZeroDivisionError: a bug of the toy" in log


def test_a_signal_reaches_the_processes_and_the_work_goes_on_later(toy, until):
    process = toy.start(*UNIT, "--launcher", f"{FAKE} 2", fault="wait@train/1/1")
    until(lambda: toy.ready(0) and toy.ready(1))
    process.send_signal(signal.SIGUSR1)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 4 and "saved after 7 steps" in err
    again = shlex.split(out.splitlines()[-1])
    assert again[:2] == [sys.executable, "run.py"] and again[2:] == toy.words(
        *UNIT, "--launcher", f"{FAKE} 2")
    refused = toy.run(*UNIT, "--nproc", "3")
    assert refused.code == 2
    assert "stage train was begun with 2 processes, not 3" in refused.err
    assert "go on with --nproc 2, or delete that folder" in refused.err
    other = toy.run(*UNIT, "--launcher", f"{FAKE} 3")
    assert other.code == 2 and "was begun with 2 processes, not 3" in other.err
    toy.ran()
    outcome = toy.run(*UNIT, "--launcher", f"{FAKE} 2")
    assert outcome.code == 0 and "found half of its work" in outcome.out
    assert toy.ran() == ["train/1/1", "evaluate/1/1", "report"]


def test_processes_stop_and_keep_the_lock_when_their_parent_is_killed(toy, until):
    process = toy.start(*UNIT, "--launcher", f"{FAKE} 2", fault="stuck@train/1/1")
    until(lambda: toy.ready(0) and toy.ready(1))
    process.kill()
    process.wait()
    workers = [int((toy.folder / f"ready{rank}").read_text()) for rank in (0, 1)]
    refused = toy.run(*UNIT, "--launcher", f"{FAKE} 2")
    assert refused.code == 2 and "in use by another run" in refused.err
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    for stream in (process.stdout, process.stderr):
        stream.read()  # ends when the launcher, the last to hold it, ended
        stream.close()
    assert toy.run(*UNIT, "--launcher", f"{FAKE} 2").code == 0


def test_orphans_stop_by_themselves(toy, until):
    process = toy.start(*UNIT, "--launcher", f"{FAKE} 2", fault="wait@train/1/1")
    until(lambda: toy.ready(0) and toy.ready(1))
    process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        stream.read()
        stream.close()
    assert not (toy.folder / MARKER).exists()
    outcome = toy.run(*UNIT, "--launcher", f"{FAKE} 2")
    assert outcome.code == 0 and "found half of its work" in outcome.out


def test_a_second_interrupt_stops_at_once(toy, until):
    process = toy.start(*UNIT, "--launcher", f"{FAKE} 2", fault="stuck@train/1/1")
    until(lambda: toy.ready(0) and toy.ready(1))
    process.send_signal(signal.SIGINT)
    until((toy.folder / "exp/x/.done/train.fold1.seed1.stop.json").exists)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 4 and "stopped at once" in err
