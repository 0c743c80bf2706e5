"""A toy recipe in a folder of its own, run in this process or in another."""

import contextlib
import importlib.util
import io
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

CONFIG = """\
data_folder: !PLACEHOLDER  # where the files are
corpus: {set: small, classes: [a, b]}
protocol: clean
folds: {kind: grouped, count: 2}
seeds: [1, 2]
rate: 1e-3
optim:
    lr: !ref <rate>
    name: adam
model: !new:collections.OrderedDict
    width: 8
upstream: null
beam: 1
title: Toy
workers: 0
"""


@dataclass
class Outcome:
    """What a command line gave."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Toy:
    """The folder of the toy recipe."""

    def __init__(self, root: Path):
        self.folder, self.data = root / "egs" / "toy", root / "release"
        (self.folder / "hparams").mkdir(parents=True)
        shutil.copy(Path(__file__).parent / "toy_run.py", self.folder / "run.py")
        self.data.mkdir()
        (self.data / "one.wav").write_text("1")
        self.config = self.folder / "hparams" / "x.yaml"
        self.config.write_text(CONFIG)
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def replace(self, old: str, new: str) -> None:
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new))

    def words(self, *words: str) -> list[str]:
        return ["hparams/x.yaml", f"--data_folder={self.data}", *words]

    def call(self, *words: str) -> Outcome:
        """Run in this process, with the data folder given."""
        return self.call_plain(*self.words(*words))

    def call_plain(self, *words: str) -> Outcome:
        """Run in this process."""
        spec = importlib.util.spec_from_file_location("toy_run", self.folder / "run.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        out, err = io.StringIO(), io.StringIO()
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = module.recipe.run(list(words))
        finally:
            os.chdir(before)
        return Outcome(code, out.getvalue(), err.getvalue())

    def start(self, *words: str, fault: str = "", **more) -> subprocess.Popen:
        """Start in another process."""
        environment = {**self.environment, "TOY_FAULT": fault}
        return subprocess.Popen(
            [sys.executable, "run.py", *self.words(*words)], cwd=self.folder, text=True,
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)

    def run(self, *words: str, fault: str = "") -> Outcome:
        """Run in another process, to its end."""
        process = self.start(*words, fault=fault)
        out, err = process.communicate(timeout=120)
        return Outcome(process.returncode, out, err)

    def ran(self) -> list[str]:
        """Return what ran since this was last asked."""
        path = self.folder / "ran.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def ready(self, rank: int = 0) -> bool:
        return (self.folder / f"ready{rank}").exists()


@pytest.fixture
def toy(tmp_path) -> Toy:
    return Toy(tmp_path)


@pytest.fixture
def until():
    """Return a function that waits for a condition, or fails."""
    import threading
    import time

    def wait(condition, seconds: float = 60.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it never came"
            threading.Event().wait(0.01)

    return wait
