"""Tables as LaTeX that needs no package; wide and long ones in parts that fit a page."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sertools.report.tables import Table as Sheet
from sertools.tables.fit import NARROW, fitted

WIDTH = 70
"""Characters of footnote size on a line of class article, the narrowest of the usual ones."""
LINES = 40
"""Lines of a part; a page of article takes about 55 of this size."""
SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
           "—": "---", "–": "--", "−": "$-$", "±": r"$\pm$", "†": r"\dag{}", "‡": r"\ddag{}",
           "<": "$<$", ">": "$>$", "|": "$|$", '"': "''",
           **{character: f"\\{character}" for character in "&%$#_{}"}}
"""The fonts that LaTeX begins with have other signs in the places of < > | and of quotes."""


def escaped(text: str) -> str:
    """Return text that LaTeX prints as it is."""
    return "".join(SPECIAL.get(character, character) for character in text)


def latex_table(name: str, sheet: Sheet, remarks: list[str]) -> str:
    """Return `table` environments, the first with the label tab:<name>, the last with remarks."""
    label = re.sub(r"[^A-Za-z0-9]+", "-", name)
    parts = [part for block in fitted(sheet, WIDTH) for part in _pages(block)]
    texts = []
    for number, part in enumerate(parts):
        title = sheet.title if number == 0 else f"{sheet.title}, continued"
        lines = [r"\begin{table}", r"\centering"]
        if number == 0:
            lines += [rf"\caption{{{escaped(title)}}}", rf"\label{{tab:{label}}}"]
        else:  # one number, and one line in the list of tables
            lines += [r"\addtocounter{table}{-1}", rf"\caption[]{{{escaped(title)}}}"]
        lines += [r"\footnotesize\setlength{\tabcolsep}{4pt}", *_tabular(part, _folds(sheet))]
        if number == len(parts) - 1 and remarks:
            lines += [r"\par\raggedright\smallskip", *(rf"\par {escaped(line)}"
                                                       for line in remarks)]
        texts.append("\n".join([*lines, r"\end{table}"]))
    return "\n\n".join(["% Made by code from sertools/tables and results.json.\n" + texts[0],
                        *texts[1:]])


def _folds(sheet: Sheet) -> bool:
    return max((len(row[0]) for row in sheet.rows), default=0) > NARROW


def _pages(sheet: Sheet) -> Iterator[Sheet]:
    """Yield a sheet in parts that fit a page."""
    rows, lines = [], 0
    for row in sheet.rows:
        height = -(-len(row[0]) // NARROW) if row[0] else 1
        if rows and lines + height > LINES:
            yield Sheet(sheet.title, sheet.header, rows, sheet.words)
            rows, lines = [], 0
        rows.append(row)
        lines += height
    yield Sheet(sheet.title, sheet.header, rows, sheet.words)


def _tabular(sheet: Sheet, folds: bool) -> Iterator[str]:
    first = rf"p{{{NARROW / WIDTH:.2f}\linewidth}}" if folds else "l"
    yield rf"\begin{{tabular}}{{{first}{'r' * (len(sheet.header) - 1)}}}"
    yield r"\hline\noalign{\smallskip}"
    yield _line([_heading(cell) for cell in sheet.header])
    yield r"\hline\noalign{\smallskip}"
    for row in sheet.rows:
        words, *others = map(escaped, row)
        yield _line([rf"\raggedright {words}" if folds else words, *others])
    yield r"\noalign{\smallskip}\hline"
    yield r"\end{tabular}"


def _heading(text: str) -> str:
    lines = [escaped(line) for line in text.split("\n")]
    return lines[0] if len(lines) == 1 else rf"\shortstack[r]{{{(chr(92) * 2).join(lines)}}}"


def _line(cells: list[str]) -> str:
    # A row that begins with [ would be read as the line break's argument.
    return " & ".join("{}" + cell if cell.startswith("[") else cell for cell in cells) + r" \\"
