"""Rules of the house that a machine can check."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "sertools"
LIBRARY = sorted(PACKAGE.rglob("*.py"))
CODE = [*LIBRARY, *sorted(REPOSITORY.glob("egs/*/*.py")), *sorted(REPOSITORY.glob("utils/*.py"))]
YAMLS = [*sorted(REPOSITORY.glob("egs/*/hparams/*.yaml")),
         *sorted(REPOSITORY.glob("hparams/**/*.yaml"))]

# Each room may import from the rooms named here (and from sertools.errors, files and hub).
MAY_USE = {
    "objectives": set(),
    "scoring": set(),
    "models": {"objectives"},
    "recipe": set(),
    "data": {"scoring"},
    "report": {"scoring"},
    "tables": {"recipe", "report", "models", "scoring"},
    "brains": {"models", "objectives", "data", "scoring"},
    "stages": {"recipe", "brains", "models", "data", "scoring", "report"},
}
TORCH_ONLY = ("models", "objectives", "scoring")


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("room", MAY_USE)
def test_dependencies_point_one_way(room):
    allowed = MAY_USE[room] | {room, "errors", "files", "hub"}
    for path in sorted((PACKAGE / room).rglob("*.py")):
        used = {name.split(".")[1] for name in imported(path) if name.startswith("sertools.")}
        assert used <= allowed, f"{path.name} uses {used - allowed}"


@pytest.mark.parametrize("room", TORCH_ONLY)
def test_plain_rooms_know_neither_yaml_nor_speechbrain(room):
    for path in sorted((PACKAGE / room).rglob("*.py")):
        tops = {name.split(".")[0] for name in imported(path)}
        assert not tops & {"yaml", "hyperpyyaml", "speechbrain"}, path


def test_every_room_is_in_the_rules():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == set(MAY_USE)


def test_light_modules_import_nothing_heavy():
    modules = ("recipe stages data.record data.manifest data.corpus data.folds data.protocol "
               "data.pretraining").split()
    lines = "; ".join(f"import sertools.{name}" for name in modules)
    heavy = "{'torch', 'numpy', 'soundfile', 'sklearn', 'speechbrain', 'transformers'}"
    result = subprocess.run(
        [sys.executable, "-c", f"{lines}; import sys; print({heavy} & set(sys.modules))"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.stdout.strip() == "set()", result.stdout + result.stderr


def test_nothing_runs_code_from_files():
    forbidden = re.compile(
        r"(?<![.\w])(eval|exec)\(|pickle\.(load|Unpickler)|shell=True|trust_remote_code=True"
        r"|weights_only=False|os\.system\("
    )
    for path in CODE:
        assert not forbidden.search(path.read_text(encoding="utf-8")), path


def test_files_can_be_read_in_one_sitting():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in CODE}
    assert {path.name: n for path, n in lines.items() if n > 300} == {}
    assert sorted(lines.values())[len(lines) // 2] <= 150
    for path in REPOSITORY.glob("egs/*/run.py"):
        assert lines[path] <= 100, path


def test_no_links_and_no_large_files():
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    tracked = subprocess.run(
        ["git", "ls-files", "-s"], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    ).stdout.splitlines()
    if not tracked:
        pytest.skip("not a git checkout")
    assert [line for line in tracked if line.startswith("120000")] == []
    names = [REPOSITORY / line.split("\t")[1] for line in tracked]
    assert [name for name in names if name.exists() and name.stat().st_size > 500_000] == []
    assert not [name for name in names if name.suffix in (".wav", ".flac", ".mp3")]


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_yaml_key_is_explained(path):
    """A one-line comment behind (or above) each key that holds a value of its own."""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("#")
    for number, line in enumerate(lines):
        key = re.match(r"\s*([a-z_]+):\s*(.*)", line)
        if not key or key[2].startswith(("!name:", "!new:", "!include:")) or not key[2]:
            continue
        above = lines[number - 1].lstrip().startswith("#")
        assert "#" in line or above or explains_group(lines, number), f"{path.name}: {line}"


def explains_group(lines: list[str], number: int) -> bool:
    """Say whether the key opens or belongs to a block whose first line has the comment."""
    indent = len(lines[number]) - len(lines[number].lstrip())
    for line in reversed(lines[:number]):
        if len(line) - len(line.lstrip()) < indent:
            return "#" in line or bool(indent)
    return False


def test_no_two_test_files_share_a_name():
    """pytest collects by base name; the second one would stop the whole run."""
    names = [path.name for path in (REPOSITORY / "tests").rglob("test_*.py")]
    assert sorted(set(names)) == sorted(names)
