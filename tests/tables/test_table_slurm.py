"""Rows as jobs: refused in words without submitit or Slurm, run by its local executor."""

import importlib.util
import shutil
import sys
import threading
import time

import pytest
from sertools.errors import ConfigError
from sertools.tables.launch import Launcher
from sertools.tables.slurm import Queue, Settings, Work
from sertools.tables.status import Stock
from sertools.tables.tasks import todo

installed = pytest.mark.skipif(importlib.util.find_spec("submitit") is None,
                               reason="submitit is not installed")


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
    outcome = Launcher(found.tasks, 2, start=queue.start, say=said.append).run()
    assert [run.config for run in outcome.done] == ["first", "first"]
    (why,) = outcome.failed.values()
    assert why.startswith("exit code 3: ") and "exp/.tables/broken.log" in why
    assert sorted(line.split()[0] for line in bench.ran()) == ["broken", "first", "first"]
    assert not list(bench.toy.glob("exp/.tables/*.job")), "no job is left in the queue"
    assert outcome.exit_code == 1


@installed
def test_a_job_whose_time_is_over_saves_and_goes_back_into_the_queue(bench):
    (bench.toy / "wait-first").touch()
    task = todo(bench.the_table(), ["first"], Stock(bench.egs), {}).tasks[0]
    work = Work(task)
    thread = threading.Thread(target=work)
    thread.start()
    while not (bench.toy / "ready-first").exists():
        time.sleep(0.02)
    again = work.checkpoint()
    thread.join(timeout=30)
    assert "saved after 3 steps" in task.log.read_text()
    (bench.toy / "wait-first").unlink()
    assert again.function() == 0, "what goes on is the same run"
    assert (task.exp / "report/results.json").exists()
