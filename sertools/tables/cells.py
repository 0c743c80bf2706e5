"""Cells as words."""

from __future__ import annotations

from sertools.tables.data import Cell, Column, Row
from sertools.tables.view import Entry, Ours

UNKNOWN = "—"
NOT_RUN = "not run"
FOLDS = "folds"
"""What stands before our mean over folds in a cell with a published value."""
SILENT = ("", UNKNOWN, NOT_RUN)
"""Cells that hold no value."""
APART = "†"
SMALL = "‡"
USER = "*"


def system(row: Row) -> str:
    """Return a row's title, marked if it is a small model of our own."""
    return f"{row.title} {SMALL}" if row.small else row.title


def value(column: Column, number: float | None, digits: int | None = None) -> str:
    """Write a number with its column's digits."""
    if number is None:
        return UNKNOWN
    places = column.digits if digits is None else digits
    grouped = f"{number:,.{places}f}" if column.computed else f"{number:.{places}f}"
    return grouped.replace("-", "−")


def published(column: Column, cell: Cell | None) -> str:
    """Write a published value, marked if a user added it."""
    if cell is None:
        return UNKNOWN
    spread = "" if cell.std is None else f" ± {value(column, cell.std)}"
    return f"{value(column, cell.value)}{spread}{USER if cell.user else ''}"


def interval(column: Column, ours: Ours) -> str:
    """Write the 95 % interval, a digit less than the score."""
    if ours.low is None or ours.high is None:
        return ""
    few = max(1, column.digits - 1)
    return f"[{value(column, ours.low, few)}, {value(column, ours.high, few)}]"


def score(column: Column, ours: Ours | None) -> str:
    """Write our score with its interval; of parameters also the exact count."""
    if ours is None:
        return UNKNOWN
    if ours.exact is not None and column.computed != "macs":
        return f"{value(column, ours.pooled)} ({ours.exact:,})"
    return f"{value(column, ours.pooled)} {interval(column, ours)}".rstrip()


def spread(column: Column, mean: float | None, std: float | None) -> str:
    """Write mean ± standard deviation."""
    return value(column, mean) + ("" if std is None else f" ± {value(column, std)}")


def difference(entry: Entry) -> str:
    """Write ours over folds minus published with its sign, or why there is none."""
    if entry.apart and entry.ours:
        return APART
    if entry.exact is not None:
        return "exact" if entry.exact else f"differs {_signed(entry)}"
    return UNKNOWN if entry.difference is None else _signed(entry)


def _signed(entry: Entry) -> str:
    text = value(entry.column, entry.difference)
    return text if text.startswith("−") else f"+{text}"


def both(entry: Entry) -> str:
    """Write published and ours in one cell; ours over folds too where the two compare."""
    if entry.published is None:
        return _alone(entry)
    theirs = published(entry.column, entry.published)
    if entry.ours is None:
        return theirs
    mine = score(entry.column, entry.ours)
    if entry.column.computed:
        return f"{theirs}; counted {mine}, {'exact' if entry.exact else 'differs'}"
    if entry.apart:
        return f"{theirs}; ours {mine}{APART}"
    over = value(entry.column, entry.ours.compared)
    return f"{theirs}; ours {mine}, {FOLDS} {over}"


def _alone(entry: Entry) -> str:
    """Write a cell without a published value: none may be known, or there is none."""
    if entry.ours is not None:
        mine = score(entry.column, entry.ours)
        return f"{UNKNOWN}; ours {mine}" if entry.unknown and entry.column.recipe else mine
    if entry.unknown:
        return UNKNOWN
    return NOT_RUN if entry.run and entry.results is None else ""
