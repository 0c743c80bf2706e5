"""Wide tables in blocks that a terminal can show; nothing is cut off or lost."""

import pytest
from rich.console import Console
from sertools.report.tables import Table as Sheet
from sertools.report.terminal import _rich
from sertools.tables.fit import fitted, sparse

WIDE = Sheet("Wide", ["system", *(f"a long heading of column {n}" for n in range(9))],
             [["a system with a name of many words", *(f"{n}{n}.25 [1.0, 2.0]" for n in range(9))],
              ["short", *(f"{n}.75" for n in range(9))]])


@pytest.mark.parametrize("width", [60, 80, 120, 300])
def test_every_cell_is_there_once_and_whole(width):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))
    sheets = fitted(WIDE, width)
    for sheet in sheets:
        console.print(_rich(sheet))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    for n in range(9):
        assert text.count(f"{n}{n}.25 [1.0, 2.0]") == text.count(f" {n}.75") == 1
    assert text.count("short") == len(sheets) and "column 8" in text
    assert (len(sheets) == 1) == (width == 300)


def test_words_that_repeat_are_told_once():
    sheet = sparse(Sheet("", ["a", "b"], [["x", "1"], ["x", "1"], ["y", "1"], ["x", "2"]]))
    assert [row[0] for row in sheet.rows] == ["x", "", "y", "x"]
    assert [row[1] for row in sheet.rows] == ["1", "1", "1", "2"]
