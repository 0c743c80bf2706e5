"""Rows as jobs: refused in words without submitit or Slurm, run by its local executor."""

import importlib.util
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from sertools.errors import ConfigError
from sertools.recipe.lock import Lock
from sertools.tables.launch import Launcher, reason
from sertools.tables.slurm import Queue, Settings, Work
from sertools.tables.status import Stock
from sertools.tables.tasks import todo

installed = pytest.mark.skipif(importlib.util.find_spec("submitit") is None,
                               reason="submitit is not installed")


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_without_submitit_it_is_refused_in_words(bench, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert bench.main("run", "p/t", "--slurm", *bench.data()) == 2
    err = capsys.readouterr().err
    assert "--slurm needs submitit, which is not installed" in err
    assert "pip install 'sertools[slurm]'" in err
    assert bench.ran() == []


@installed
@pytest.mark.skipif(shutil.which("srun") is not None, reason="there is a Slurm here")
def test_without_slurm_it_is_refused_in_words():
    with pytest.raises(ConfigError, match="srun"):
        Queue(Settings())


@installed
def test_jobs_of_submitit_make_the_runs_and_tell_failures(bench):
    (bench.toy / "fail-broken").touch()
    found = todo(bench.the_table(), None, Stock(bench.egs), {"toy": bench.root / "release"})
    queue, said = Queue(Settings(cluster="local", gpus=0)), []
    outcome = Launcher(found.tasks, 2, start=queue.start, follow=queue.follow,
                       say=said.append).run()
    assert [run.config for run in outcome.done] == ["first", "first"]
    (why,) = outcome.failed.values()
    assert why.startswith("exit code 3: ") and "exp/.tables/broken.log" in why
    assert sorted(line.split()[0] for line in bench.ran()) == ["broken", "first", "first"]
    assert not list(bench.toy.glob("exp/.tables/*.job")), "no job is left in the queue"
    assert outcome.exit_code == 1


@installed
def test_a_job_whose_time_is_over_saves_and_goes_back_into_the_queue(bench):
    """The signal comes while the job waits for its run, in the same thread, as Slurm sends it."""
    (bench.toy / "wait-first").touch()
    task = todo(bench.the_table(), ["first"], Stock(bench.egs), {}).tasks[0]
    script = ("import pickle, signal, sys\n"
              "work = pickle.load(sys.stdin.buffer)\n"
              "def handle(number, frame):\n"
              "    sys.exit(work.checkpoint().function() + 40)\n"
              "signal.signal(signal.SIGUSR2, handle)\n"
              "work()\n")
    job = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE)
    job.stdin.write(pickle.dumps(Work(task)))
    job.stdin.close()
    wait_for(lambda: (bench.toy / "ready-first").exists())
    (bench.toy / "wait-first").unlink()
    job.send_signal(signal.SIGUSR2)
    try:
        assert job.wait(timeout=60) == 40, "what goes on is the same run, and it ends with 0"
    finally:
        job.kill()
    assert "saved after 3 steps" in task.log.read_text()
    assert bench.ran() == ["first 8 -"] * 2
    assert (task.exp / "report/results.json").exists()


QUEUE = """\
#!{python}
import json, os, subprocess, sys
from pathlib import Path
here, name = Path({here!r}), Path(sys.argv[0]).name
states = json.loads((here / "states.json").read_text())
if name == "sbatch":
    if (here / "refuse").exists():
        sys.exit("sbatch: error: invalid partition specified: nix")
    number = str(max(map(int, states), default=0) + 1)
    states[number] = "PENDING"
    (here / "states.json").write_text(json.dumps(states))
    print("Submitted batch job", number)
elif name == "squeue":
    if (here / "silent").exists():
        sys.exit(1)
    print(*(f"{{number}} {{state}}" for number, state in states.items()), sep="\\n")
"""
"""A queue in which jobs stand as `states.json` says and nothing runs."""


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """Return the states of a queue's jobs: call it to read or, with a mapping, to change them."""
    here = tmp_path / "slurm"
    here.mkdir()
    for name in ("sbatch", "squeue", "srun"):
        (here / name).write_text(QUEUE.format(python=sys.executable, here=str(here)))
        (here / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{here}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("sertools.tables.slurm.LOOK", 0.1)
    monkeypatch.setattr("sertools.tables.slurm.LATE", 0.3)
    file = here / "states.json"

    def states(**changed):
        found = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(found | {name[1:]: to for name, to in changed.items()}))
        return json.loads(file.read_text())

    states()
    states.here = here
    return states


def ended(task, number, code):
    """Write what submitit writes when a job's function has returned."""
    import submitit

    path = submitit.core.utils.JobPaths(task.log.parent / "slurm", job_id=number).result_pickle
    path.write_bytes(pickle.dumps(("success", code)))


@installed
def test_a_job_that_slurm_does_not_take_is_told_in_words(bench, queue, capsys):
    (queue.here / "refuse").touch()
    assert bench.main("run", "p/t", "--slurm", "--rows", "first,wide") == 2
    err = capsys.readouterr().err
    assert "Slurm does not take the job" in err and "invalid partition specified: nix" in err
    assert "gpus_per_node=0" in err and "Traceback" not in err


@installed
def test_a_job_is_found_again_and_submitted_once(bench, queue):
    task = todo(bench.the_table(), ["first"], Stock(bench.egs), {}).tasks[0]
    job = Queue(Settings()).start(task, None)
    again = Queue(Settings())
    assert job.name == again.follow(task).name == again.start(task, None).name == "job 1"
    assert queue() == {"1": "PENDING"} and again.holds(task.log)
    assert job.poll() is None
    (queue.here / "silent").touch()
    time.sleep(0.2)
    assert job.poll() is None and again.holds(task.log), "a controller that is silent says nothing"
    (queue.here / "silent").unlink()
    queue(j1="CANCELLED")
    time.sleep(0.2)
    assert again.follow(task) is None
    assert again.start(task, None).name == "job 2"
    assert job.poll() is None, "its result may still come"
    time.sleep(0.4)
    assert job.poll() == 1
    assert reason(task) == "job 1 ended without a result: CANCELLED"
    assert again.follow(task).name == "job 2", "the record of the job that came after it stays"


@installed
def test_a_job_that_was_put_back_into_the_queue_goes_on(bench, queue):
    task = todo(bench.the_table(), ["first"], Stock(bench.egs), {}).tasks[0]
    job = Queue(Settings()).start(task, None)
    ended(task, "1", 4)  # pushed aside: it saved, and Slurm put it back
    assert job.poll() is None
    queue(j1="CANCELLED")
    time.sleep(0.2)
    assert job.poll() == 4
    assert Queue(Settings()).follow(task) is None
    job = Queue(Settings()).start(task, None)
    ended(task, "2", 0)
    assert job.poll() == 0


@installed
def test_what_a_job_runs_is_followed_not_skipped(bench, queue, capsys):
    """A run of our own job holds the lock; its table's command watches it, and lets go of it."""
    task = todo(bench.the_table(), ["first"], Stock(bench.egs), {}).tasks[0]
    Queue(Settings()).start(task, None)
    lock = Lock(task.exp / ".lock", "python run.py")
    assert lock.acquire()
    try:
        assert bench.main("run", "p/t", "--rows", "first") == 0
        assert "skipped: " in capsys.readouterr().out
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
        assert bench.main("run", "p/t", "--slurm", "--rows", "first") == 4
    finally:
        lock.release()
    out = capsys.readouterr().out
    assert "[1 of 1] goes on as job 1: cd egs/toy && python run.py hparams/first.yaml" in out
    assert "0 done, 0 failed, 0 skipped, 1 in the queue" in out
    assert "in the queue: job 1; the same command watches again\nto save and end: scancel 1" in out
    assert "stopping" not in out and queue() == {"1": "PENDING"} and bench.ran() == []


@pytest.mark.slow
@installed
def test_a_real_slurm_makes_the_runs(bench):
    """Failed, and ended by scancel; then the same command makes what is left."""
    if not shutil.which("sbatch"):
        pytest.skip("there is no Slurm here")
    if b"is UP" not in subprocess.run(["scontrol", "ping"], capture_output=True).stdout:
        pytest.skip("Slurm does not run here")
    (bench.toy / "fail-broken").touch()
    (bench.toy / "wait-first").touch()
    words = ["run", "p/t", "--slurm", "--minutes", "30", *bench.data(), "--slurm-option",
             "gpus_per_node=0", "--slurm-option", "cpus_per_task=1"]
    process = bench.start(*words)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("failed: ") and "one wheel is missing" in line:
            wait_for(lambda: (bench.toy / "ready-first").exists(), 120)
            numbers = re.findall(r"as job (\d+):", "".join(lines))
            subprocess.run(["scancel", *numbers], check=True)
    assert process.wait() == 1
    out = "".join(lines)
    assert "0 done, 3 failed, 0 skipped" in out and "stopped by somebody else" in out
    (bench.toy / "fail-broken").unlink()
    (bench.toy / "wait-first").unlink()
    process = bench.start(*words)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0 and "3 done, 0 failed, 0 skipped" in out
