"""A small registry of its own: one paper, one table, a recipe that writes results at once."""

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

CONFIG = """\
data_folder: {folder}
score: {score}
width: 8
protocol: clean
seeds: [1]
device: cpu
"""
PAPER = """\
title: A paper
authors: A. Author
arxiv: "2312.00001"
system: Toy & sons
"""
TABLE = """\
title: Toys, 100 % wood
number: "2"
kind: published
protocol: clean
columns:
  - {name: ua, title: Toy_UA, recipe: toy, metric: UA}
  - {name: second, title: Toy UA (test2), recipe: toy, metric: UA, part: test2}
rows:
  - name: first
    title: First
    config: first
    hours: 2
    cells:
      ua: {value: 70.5, source: "arXiv 2312.00001, table 2"}
  - name: wide
    title: First, wide
    config: first
    options: {width: 16}
    hours: 1
  - name: broken
    title: Broken
    config: broken
    hours: 4
    cells:
      ua: {value: 81.0, source: "arXiv 2312.00001, table 2", protocol: paper}
  - name: others
    title: "Others' system, 50 %"
    config: null
    cells:
      ua: {value: 66.25, std: 1.5, source: "arXiv 2312.00001, table 2"}
"""


@dataclass
class Bench:
    """A folder with egs/toy and papers/p/t.yaml."""

    root: Path
    script: Path

    def __post_init__(self):
        self.egs, self.papers = self.root / "egs", self.root / "papers"
        self.toy, self.table = self.egs / "toy", self.papers / "p/t.yaml"
        (self.toy / "hparams").mkdir(parents=True)
        (self.root / "release").mkdir()
        self.table.parent.mkdir(parents=True)
        shutil.copy(Path(__file__).parent / "toy_recipe.py", self.toy / "run.py")
        for name, score, folder in (("first", 0.72, "."), ("broken", 0.5, "!PLACEHOLDER")):
            text = CONFIG.format(score=score, folder=folder)
            (self.toy / f"hparams/{name}.yaml").write_text(text)
        (self.table.parent / "paper.yaml").write_text(PAPER)
        self.table.write_text(TABLE)
        spec = importlib.util.spec_from_file_location("tables_tool", self.script)
        self.tool = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.tool)

    def places(self) -> list[str]:
        return ["--egs", str(self.egs), "--papers", str(self.papers)]

    def data(self) -> list[str]:
        return ["--data_folder", f"toy={self.root / 'release'}"]

    def main(self, *words: object) -> int:
        """Run the command line in this process."""
        return self.tool.main([*map(str, words), *self.places()])

    def start(self, *words: object) -> subprocess.Popen:
        """Start the command line as a process."""
        return subprocess.Popen(
            [sys.executable, str(self.script), *map(str, words), *self.places()], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"})

    def ran(self) -> list[str]:
        """Return what ran, in order."""
        path = self.toy / "ran.txt"
        return path.read_text().splitlines() if path.exists() else []

    def registry(self):
        from sertools.tables import read_registry

        return read_registry(self.egs, self.papers)

    def the_table(self):
        return self.registry().tables[0]


@pytest.fixture
def bench(tmp_path, repository) -> Bench:
    """Return a registry and a recipe of its own."""
    return Bench(tmp_path, repository / "utils/tables.py")
