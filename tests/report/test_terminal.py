"""What is printed, to a terminal and to a file."""

import io

import pytest
from sertools.report import terminal
from sertools.report.aggregate import aggregate
from sertools.report.terminal import print_report


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def results(make_units, make_meta, classes):
    """Return partial results of three folds."""
    return aggregate(make_units(folds=3), classes, make_meta(folds=5, system="Small [red]Net"))


def test_file_gets_plain_lines(results):
    stream = io.StringIO()
    print_report(results, stream)
    text = stream.getvalue()
    entry = results["summary"]["UA"]
    assert f"{100 * entry['pooled']:.2f}" in text
    assert f"[{100 * entry['low']:.1f}, {100 * entry['high']:.1f}]" in text
    assert "chance" in text
    assert "25.00" in text
    assert "3 of 5 folds, seed 1" in text
    assert "loso-speaker-clean" in text
    assert "PARTIAL RESULT" in text
    assert "\x1b" not in text
    assert "│" not in text


@pytest.mark.parametrize("width", ["40", "160"])
def test_terminal_of_any_width_shows_the_scores(results, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    print_report(results, stream)
    text = stream.getvalue()
    assert "[red]Net" in text
    for name in ("UA", "WA", "MF1"):
        assert f"{100 * results['summary'][name]['pooled']:.2f}" in text
    longest = max(len(terminal_text) for terminal_text in _without_colour(text).splitlines())
    assert longest <= int(width)


def test_columns_are_aligned():
    table = terminal.Table("t", ["name", "score"], [["a", "1.00"], ["longer", "10.00"]])
    assert terminal.plain_lines(table) == ["name    score", "a        1.00", "longer  10.00"]


def _without_colour(text: str) -> str:
    import re

    return re.sub(r"\x1b\[[0-9;]*m", "", text)
