"""Tables on a terminal: wide ones in blocks of columns that fit."""

from __future__ import annotations

import textwrap

from sertools.report.tables import Table as Sheet

EDGE, GAP = 1, 3
"""Columns of the terminal beside a table, and for each of its columns."""
NARROW = 26
"""To how many columns a column of words may be folded."""
HEADING = 14
"""To how many columns the heading of numbers may be folded."""


def fitted(sheet: Sheet, width: int) -> list[Sheet]:
    """Return a sheet as blocks of columns, each with the words, that a terminal can show.

    Words are folded by the terminal's table, numbers are not.

    Args:
        sheet: the table.
        width: columns of the terminal.
    """
    sheet = _folded(sheet)
    words = sum(min(size, NARROW) for size in _sizes(sheet)[:sheet.words])
    room = width - EDGE - words - GAP * sheet.words
    blocks, left = [[]], room
    for number, size in enumerate(_sizes(sheet)):
        if number < sheet.words:
            continue
        if blocks[-1] and left < size + GAP:
            blocks.append([])
            left = room
        blocks[-1].append(number)
        left -= size + GAP
    return [_block(sheet, block, number) for number, block in enumerate(blocks)]


def sparse(sheet: Sheet) -> Sheet:
    """Return a sheet whose first cells are told once where they repeat."""
    rows = [[("" if number and row[0] == sheet.rows[number - 1][0] else row[0]), *row[1:]]
            for number, row in enumerate(sheet.rows)]
    return Sheet(sheet.title, sheet.header, rows, sheet.words)


def _folded(sheet: Sheet) -> Sheet:
    """Return a sheet whose long headings have several lines."""
    header = [name if number < sheet.words or len(name) <= HEADING else "\n".join(textwrap.wrap(
        name, max(HEADING, *(len(row[number]) for row in sheet.rows))))
        for number, name in enumerate(sheet.header)]
    return Sheet(sheet.title, header, sheet.rows, sheet.words)


def _sizes(sheet: Sheet) -> list[int]:
    return [max(len(line) for cell in column for line in cell.split("\n"))
            for column in zip(sheet.header, *sheet.rows, strict=True)]


def _block(sheet: Sheet, block: list[int], number: int) -> Sheet:
    kept = [*range(sheet.words), *block]
    title = sheet.title if number == 0 else f"{sheet.title}, continued"
    return Sheet(title, [sheet.header[n] for n in kept],
                 [[row[n] for n in kept] for row in sheet.rows], sheet.words)
