"""utils/show_results.py, run as users run it."""

import csv
import io
import re
import runpy
import subprocess
import sys
import time

import pytest
from sertools.files import read_json, write_json
from sertools.report.aggregate import aggregate
from sertools.report.write import write_report


@pytest.fixture
def show(repository, tmp_path):
    """Return a function that runs the script below a temporary folder."""

    def run(*arguments):
        command = [sys.executable, str(repository / "utils" / "show_results.py"), *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def experiments(tmp_path, make_units, make_meta, classes):
    """Write two clean experiments, one that leaks, below egs/mini."""
    made = {
        "weak": (1.0, {"system": "Weak"}),
        "strong": (4.0, {"system": "Strong"}),
        "leaky": (6.0, {"system": "Leaky", "flags": ["selected on test"], "protocol": "paper"}),
    }
    for tag, (skill, facts) in made.items():
        meta = make_meta(folds=2, tag=tag, **facts)
        results = aggregate(make_units(folds=2, skill=skill), classes, meta)
        write_report(results, tmp_path / "egs" / "mini" / "exp" / tag / "report")
    return tmp_path / "egs" / "mini"


def test_help_is_quick_and_imports_nothing_heavy(show, repository):
    begin = time.perf_counter()
    assert "--sort" in show("--help").stdout
    assert time.perf_counter() - begin < 2
    code = (
        "import runpy, sys; sys.argv = ['x']; runpy.run_path('utils/show_results.py', run_name='y')"
        "; assert not {'torch', 'numpy', 'sklearn', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=repository, check=True)


@pytest.mark.parametrize("place", [[], ["egs/mini"], ["egs/mini/exp"]])
def test_finds_experiments_and_sorts_them(show, experiments, place):
    if place == ["egs/mini/exp"]:
        place = [f"egs/mini/exp/{tag}" for tag in ("leaky", "strong", "weak")]
    ran = show("--sort", "ua", *place)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.index("Strong") < ran.stdout.index("Weak") < ran.stdout.index("Leaky")
    assert ran.stdout.index("not comparable") < ran.stdout.index("Leaky")
    stored = read_json(experiments / "exp" / "strong" / "report" / "results.json")
    assert f"{100 * stored['summary']['UA']['pooled']:.2f} [" in ran.stdout


def test_narrow_terminal_keeps_the_numbers_whole(experiments, repository, monkeypatch, capsys):
    script = runpy.run_path(str(repository / "utils" / "show_results.py"))
    monkeypatch.setenv("COLUMNS", "64")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert script["main"]([str(experiments)]) == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    stored = read_json(experiments / "exp" / "strong" / "report" / "results.json")
    entry = stored["summary"]["UA"]
    assert f"{100 * entry['pooled']:.2f} [{100 * entry['low']:.1f}," in text
    assert "MF1" not in text
    assert max(map(len, text.splitlines())) <= 64


def test_csv_holds_all_digits(show, experiments):
    rows = list(csv.DictReader(io.StringIO(show("--csv", "--sort", "MF1").stdout)))
    assert [row["system"] for row in rows] == ["Leaky", "Strong", "Weak"]
    assert [row["comparable"] for row in rows] == ["no", "yes", "yes"]
    stored = read_json(experiments / "exp" / "weak" / "report" / "results.json")
    assert float(rows[2]["MF1 low"]) == stored["summary"]["MF1"]["low"]


def test_markdown_and_written_file_have_command_and_reason(show, experiments):
    table = show("--markdown").stdout
    assert "| Strong |" in table
    ran = show("egs/mini", "--write", "egs/mini/RESULTS.md", "--title", "Mini")
    assert ran.returncode == 0, ran.stderr
    text = (experiments / "RESULTS.md").read_text(encoding="utf-8")
    assert text.count("python run.py hparams/small.yaml") == 3
    clean, apart = text.split("## Classification, not comparable")
    assert "| Leaky |" not in clean
    assert "- Leaky: selected on test" in apart
    first = (experiments / "RESULTS.md").read_bytes()
    show("egs/mini", "--write", "egs/mini/RESULTS.md", "--title", "Mini")
    assert (experiments / "RESULTS.md").read_bytes() == first


def test_dimensional_experiments_get_their_own_table(
    show, experiments, dimensional_units, make_meta
):
    results = aggregate(dimensional_units, [], make_meta(folds=2, system="Numbers"))
    write_report(results, experiments / "exp" / "numbers" / "report")
    text = show().stdout
    assert "CCC V" in text
    assert "| CCC valence |" in show("--markdown").stdout
    assert text.index("Dimensions") < text.index("Numbers")


def test_faults_are_said_with_exit_code_3(show, experiments, tmp_path):
    (tmp_path / "none").mkdir()
    nothing = show("none", "egs/mini")
    assert nothing.returncode == 3
    assert "none: no results.json" in nothing.stderr
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    write_json(tmp_path / "other.json", {"format": 1})
    stored = read_json(experiments / "exp" / "weak" / "report" / "results.json")
    write_json(tmp_path / "newer.json", stored | {"format": 2})
    broken = show("broken.json", "other.json", "newer.json")
    assert broken.returncode == 3
    for words in ("broken.json: ", "other.json: not written by", "newer.json: format 2"):
        assert words in broken.stderr
    assert "Traceback" not in broken.stderr
    unknown = show("--sort", "beauty")
    assert "use one of MF1, UA, WA, WF1" in unknown.stderr
