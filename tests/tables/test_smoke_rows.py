"""`utils/tables.py run --smoke`: a line per row, and its exit codes."""

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = """title: Two rows
kind: study
columns: [{name: ua, title: UA, recipe: urdu, metric: UA}]
rows:
  - {name: works, title: works, config: emotion2vec_probe}
  - name: breaks
    title: breaks
    config: emotion2vec_probe
    options: {upstream.source: somebody/dragon}
  - {name: other, title: of others, config: null}
"""


@pytest.fixture
def tables(monkeypatch):
    """Return utils/tables.py as a module."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # as it sets it for good
    spec = importlib.util.spec_from_file_location("utils_tables", REPOSITORY / "utils/tables.py")
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = before


@pytest.fixture
def papers(tmp_path):
    """Return a folder of tables with one row that runs and one that cannot."""
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy/paper.yaml").write_text("{title: Toy, authors: A. Toy, system: toy}")
    (tmp_path / "toy/two.yaml").write_text(TABLE)
    return tmp_path


def test_a_line_per_row_and_exit_1_where_one_fails(tables, papers, capsys):
    command = ["run", "toy/two", "--papers", str(papers), "--smoke"]
    assert tables.main(command) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("works: runs, 1 run, ") and lines[0].endswith(" s")
    assert lines[1].startswith("breaks: failed, 1 run, ")
    assert "somebody/dragon" in lines[2] and "knows no tiny encoder" in lines[3]
    assert lines[-1] == "2 rows, 1 failed: breaks"


def test_what_it_cannot_take_is_told(tables, papers, capsys, monkeypatch):
    command = ["run", "toy/two", "--papers", str(papers), "--smoke"]
    assert tables.main([*command, "--rows", "works,lost"]) == 2
    assert "has no row lost" in capsys.readouterr().err
    assert tables.main([*command, "--trainer.epochs", "3"]) == 2
    assert "--smoke takes no options of run.py: --trainer.epochs 3" in capsys.readouterr().err
    shutil.copytree(REPOSITORY / "egs/urdu", papers / "egs/urdu",
                    ignore=shutil.ignore_patterns("data", "dump", "exp"))
    monkeypatch.setattr(tables, "EGS", papers / "egs")
    assert tables.main(command) == 2
    assert "use a checkout of the whole repository" in capsys.readouterr().err
