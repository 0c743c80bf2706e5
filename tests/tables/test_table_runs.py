"""Running a table: what is missing, one after the other or side by side, failures and stops."""

import os
import re
import shutil
import signal
import time

import pytest
from sertools.recipe.lock import Lock, in_use
from sertools.tables.status import Stock


def wait_for(path, seconds=30):
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.02)


def test_a_failed_row_is_told_and_the_others_go_on(bench, capfd):
    (bench.toy / "fail-broken").touch()
    assert bench.main("run", "p/t", *bench.data()) == 1
    out = capfd.readouterr().out
    assert "2 done, 1 failed, 0 skipped" in out
    log = re.search(r"exit code 3: .*; log (\S+)", out)[1]
    assert log == str(bench.toy / "exp/.tables/broken.log")
    assert "one wheel is missing; buy one" in open(log).read()
    assert bench.ran() == ["first 8 -", "first 16 -", "broken 8 -"]

    (bench.toy / "fail-broken").unlink()  # the same command makes what is left, and that only
    assert bench.main("run", "p/t", *bench.data()) == 0
    assert bench.ran()[3:] == ["broken 8 -"]
    assert bench.main("run", "p/t") == 0  # nothing left needs no data
    assert "0 runs to make, 3 done before" in capfd.readouterr().out


def test_two_jobs_run_side_by_side_each_on_its_gpu(bench, monkeypatch):
    monkeypatch.setattr("sertools.tables.running.gpus_here", lambda: 4)
    (bench.toy / "meet").touch()  # each waits for the other
    bench.table.write_text(bench.table.read_text().replace("options: {width: 16}",
                                                           "options: {width: 8}"))
    assert bench.main("run", "p/t", "--gpus", "0,3", *bench.data()) == 0
    assert sorted(bench.ran()) == ["broken 8 3", "first 8 0"]  # first and wide are one run


def test_gpus_that_are_not_there_are_refused(bench, capsys, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for number, told in ((0, "this machine has no GPU"), (3, "this machine has GPUs 0 to 2")):
        monkeypatch.setattr("sertools.tables.running.gpus_here", lambda number=number: number)
        assert bench.main("run", "p/t", "--gpus", "0,3", *bench.data()) == 2
        assert told in capsys.readouterr().err
    assert bench.ran() == []


def test_why_a_run_failed_is_told_in_its_own_words(bench, capsys):
    (bench.toy / "fail-first").touch()
    assert bench.main("run", "p/t", "--rows", "first") == 1
    assert ("exit code 3: the toy is broken: one wheel is missing; buy one; log"
            in capsys.readouterr().out)


def test_a_run_that_is_stopped_before_it_listens_has_not_failed(bench):
    from sertools.tables.launch import Launcher
    from sertools.tables.tasks import todo

    class Killed:
        name = ""

        def poll(self):
            return -signal.SIGTERM

        def stop(self, at_once):
            return True

    tasks = todo(bench.the_table(), ["first"], Stock(bench.egs), {}).tasks
    launcher = Launcher(tasks, say=lambda line: None,
                        start=lambda task, gpu: os.kill(os.getpid(), signal.SIGTERM) or Killed())
    outcome = launcher.run()
    assert outcome.stopped and not outcome.failed and list(outcome.skipped) == [tasks[0].run]


def test_a_fault_of_many_rows_is_told_once(bench, capsys):
    assert bench.main("run", "p/t", "--rows", "first,wide", "--widht", "3") == 2
    err = capsys.readouterr().err
    assert err.count("has no such key") == 1
    assert "first.yaml --widht 3 and 1 more: --widht: first.yaml has no such key" in err


def test_an_option_that_is_no_key_is_told_of_rows_that_are_done(bench, capsys):
    assert bench.main("run", "p/t", "--rows", "first") == 0
    assert bench.main("run", "p/t", "--rows", "first", "--widht", "3") == 2
    assert "--widht: first.yaml has no such key" in capsys.readouterr().err


def test_a_run_that_somebody_else_stopped_is_told(bench, capsys):
    (bench.toy / "wait-first").touch()
    process = bench.start("run", "p/t", "--rows", "first")
    wait_for(bench.toy / "ready-first")
    os.kill(in_use(bench.toy / "exp/first/.lock")["pid"], signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "failed: cd egs/toy && python run.py hparams/first.yaml: stopped by somebody" in out


def test_a_folder_that_cannot_be_written_is_told_in_words(bench, capsys):
    (bench.toy / "exp").write_text("a file where a folder should be")
    assert bench.main("run", "p/t", "--rows", "first") == 2
    err = capsys.readouterr().err
    assert f"{bench.toy}/exp/.tables cannot be written: Not a directory" in err


def test_rows_and_options_are_passed_on_and_make_other_experiments(bench):
    assert bench.main("run", "p/t", "--rows", "first", "--width", "32", "--device", "cuda") == 0
    assert bench.ran() == ["first 32 -"]
    assert (bench.toy / "exp/first_width=32/report/results.json").exists()
    assert bench.main("run", "p/t", "--rows", "first", "--width=32") == 0
    assert len(bench.ran()) == 1, "device does not count"


@pytest.mark.parametrize("words, told", [
    ([], "toy: where is its official release? --data_folder toy=FOLDER"),
    (["--data_folder", "toys=."], "toys: there is no recipe egs/toys"),
    (["--data_folder", "toy=/nowhere"], "toy=/nowhere: there is no such folder"),
    (["--data_folder", "toy"], "RECIPE=PATH is expected"),
    (["--widht", "3"], "--widht: first.yaml has no such key; did you mean width?"),
    (["--exp-dir", "/tmp"], "--exp-dir: this is not passed on to rows"),
    (["--rows", "last"], "p/t has no row last"),
    (["--rows", " , "], "names of rows are expected"),
    (["--jobs", "0"], "--jobs 0: a number of at least 1 is expected"),
    (["--minutes", "-1"], "--minutes -1: a number of at least 1 is expected"),
    (["--data", "/nowhere.yaml"], "nowhere.yaml: cannot be read: No such file or directory"),
    (["--slurm", "--gpus", "0"], "--gpus and --slurm"),
    (["--partition", "gpu"], "are for --slurm"),
])  # fmt: skip
def test_nothing_starts_when_something_is_wrong(bench, capsys, words, told):
    data = [] if not words or words[0] == "--data_folder" else bench.data()
    assert bench.main("run", "p/t", *words, *data) == 2
    assert told in capsys.readouterr().err
    assert bench.ran() == [] and not (bench.toy / "exp").exists()


def test_the_corpora_that_are_there_run_without_the_others(bench, capsys):
    shutil.copytree(bench.toy, bench.egs / "doll")
    (bench.egs / "doll/hparams/first.yaml").write_text(
        (bench.toy / "hparams/broken.yaml").read_text())  # its release is asked for
    bench.table.write_text(bench.table.read_text().replace(
        "rows:\n", "  - {name: doll, title: Doll, recipe: doll, metric: UA}\nrows:\n", 1))
    assert bench.main("run", "p/t", *bench.data()) == 2
    err = capsys.readouterr().err
    assert "doll: where is its official release? --data_folder doll=FOLDER" in err
    assert "`--recipes toy` runs the rest" in err and bench.ran() == []
    assert bench.main("run", "p/t", "--rows", "first") == 2
    assert "`--recipes toy` runs the rest" in capsys.readouterr().err
    assert bench.main("run", "p/t", "--rows", "broken") == 2
    assert "runs the rest" not in capsys.readouterr().err, "of both the release lacks"
    assert bench.main("run", "p/t", "--recipes", "toy", *bench.data()) == 0
    assert bench.ran() == ["first 8 -", "first 16 -", "broken 8 -"]
    assert not (bench.egs / "doll/exp").exists()
    for words, told in (("dolls", "p/t has no column of dolls"), (",", "names of recipes are")):
        assert bench.main("run", "p/t", "--recipes", words) == 2
        assert told in capsys.readouterr().err


def test_a_recipe_is_not_the_rest_if_what_it_needs_lacks_data(bench, capsys):
    shutil.copytree(bench.toy, bench.egs / "doll")
    bench.table.write_text(bench.table.read_text().replace(
        "    options: {width: 16}\n",
        "    options: {width: 16}\n    needs: [{recipe: doll, config: broken}]\n"))
    assert bench.main("run", "p/t", "--rows", "wide", *bench.data()) == 2
    err = capsys.readouterr().err
    assert "doll: where is its official release?" in err and "runs the rest" not in err


def test_folders_of_data_may_stand_in_a_file(bench):
    file = bench.root / "data.yaml"
    file.write_text(f"toy: {bench.root / 'release'}\n")
    assert bench.main("run", "p/t", "--rows", "broken", "--data", file) == 0


def test_every_fault_of_a_file_of_folders_is_told(bench, capsys):
    file = bench.root / "data.yaml"
    for content, told in ((b"toy:\n", "data.yaml:1: toy: a text is expected"),
                          (b"toy: 3\ntoys: /x\n", "data.yaml:1: toy: a text is expected"),
                          (b"- toy\n", "data.yaml:1: keys with values are expected"),
                          (b"", "data.yaml: keys with values are expected"),
                          (b"toy: /x\ntoy: /y\n", "data.yaml:2: toy: is given twice"),
                          (b"toy: [\n", "data.yaml:2: "),
                          (b"\xff", "cannot be read: it is no text in UTF-8")):
        file.write_bytes(content)
        assert bench.main("run", "p/t", "--data", file) == 2
        err = capsys.readouterr().err
        assert told in err and "lines `recipe: folder` are expected" in err
    assert bench.ran() == []


def test_dry_run_says_the_commands_and_starts_nothing(bench, capsys):
    assert bench.main("run", "p/t", "--dry-run", "--nproc", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "cd egs/toy && python run.py hparams/first.yaml --nproc=2"
    assert lines[2] == "cd egs/toy && python run.py hparams/first.yaml --width 16 --nproc=2"
    assert bench.ran() == []


def test_a_run_of_another_process_is_skipped_and_told(bench, capsys):
    lock = Lock(bench.toy / "exp/first/.lock", "python run.py hparams/first.yaml")
    assert lock.acquire()
    try:
        assert bench.main("run", "p/t", "--rows", "first,wide") == 0
        out = capsys.readouterr().out
        assert f"in use by host {os.uname().nodename}, pid {os.getpid()}" in out
        assert "1 done, 0 failed, 1 skipped" in out
        assert bench.ran() == ["first 16 -"]
    finally:
        lock.release()
    assert bench.main("run", "p/t", "--rows", "first,wide") == 0
    assert bench.ran() == ["first 16 -", "first 8 -"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_what_runs_and_the_same_command_goes_on(bench, number):
    (bench.toy / "wait-first").touch()
    process = bench.start("run", "p/t", "--rows", "first, wide")
    wait_for(bench.toy / "ready-first")
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 4, out
    assert "stopped; the same command goes on" in out
    assert "saved after 3 steps" in (bench.toy / "exp/.tables/first.log").read_text()
    assert bench.ran() == ["first 8 -"], "the second was not begun"
    (bench.toy / "wait-first").unlink()
    assert bench.main("run", "p/t", "--rows", "first,wide") == 0
    assert bench.ran()[1:] == ["first 8 -", "first 16 -"]


def test_a_second_ctrl_c_stops_at_once(bench):
    (bench.toy / "stuck").touch()
    process = bench.start("run", "p/t", "--rows", "first")
    wait_for(bench.toy / "ready-first")
    process.send_signal(signal.SIGINT)
    for line in iter(process.stdout.readline,
                     "stopping: runs save and end (Ctrl-C again: at once)\n"):
        assert line, "it ended without a word"
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    out, _ = process.communicate(timeout=50)
    assert process.returncode == 4 and time.monotonic() - begun < 30, out
    assert "stopping at once" in out


def test_what_a_row_needs_runs_before_it_and_its_failure_stops_the_row(bench, capsys):
    text = bench.table.read_text().replace(
        "    options: {width: 16}\n",
        "    options: {width: 16}\n"
        "    needs: [{recipe: toy, config: broken, options: {width: 4}}]\n")
    bench.table.write_text(text)
    (bench.toy / "fail-broken").touch()
    assert bench.main("run", "p/t", "--rows", "wide", *bench.data()) == 1
    assert bench.ran() == ["broken 4 -"]
    out = capsys.readouterr().out
    assert "it needs `cd egs/toy && python run.py hparams/broken.yaml --width 4`, which f" in out
    (bench.toy / "fail-broken").unlink()
    # An option that would give what it needs another name is the row's alone.
    assert bench.main("run", "p/t", "--rows", "wide", "--score", "0.4", *bench.data()) == 0
    assert bench.ran()[1:] == ["broken 4 -", "first 16 -"]
    assert (bench.toy / "exp/broken_width=4").is_dir()
    assert (bench.toy / "exp/first_score=0.4_width=16").is_dir()


def test_a_row_that_needs_its_own_run_is_run_once(bench):
    bench.table.write_text(bench.table.read_text().replace(
        "    options: {width: 16}\n",
        "    options: {width: 16}\n    needs: [{recipe: toy, config: first}, {recipe: toy, "
        "config: first, options: {width: 16}}, {recipe: toy, config: broken}]\n"))
    assert bench.main("run", "p/t", "--rows", "wide") == 0
    assert bench.ran() == ["first 8 -", "first 16 -"]


def test_runs_that_wait_for_each_other_end_in_words(bench, capsys):
    first, wide = "{recipe: toy, config: first}", "{recipe: toy, config: broken}"
    text = bench.table.read_text().replace(
        "    options: {width: 16}\n",
        f"    options: {{width: 16}}\n    needs: [{first}, {wide}]\n")
    bench.table.write_text(text.replace("    hours: 4\n", f"    needs: [{wide}, {first}]\n")
                           .replace("    hours: 2\n", f"    needs: [{wide}]\n"))
    assert bench.main("run", "p/t", *bench.data()) == 1
    assert "it waits for runs that wait for it" in capsys.readouterr().out
    assert bench.ran() == []
