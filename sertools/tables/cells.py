"""Cells as words."""

from __future__ import annotations

from sertools.tables.data import Cell, Column, Row
from sertools.tables.view import Entry, Ours, View

UNKNOWN = "—"
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
    """Write ours minus published with its sign, or why there is none."""
    if entry.apart and entry.ours:
        return APART
    if entry.exact is not None:
        return "exact" if entry.exact else f"differs {_signed(entry)}"
    return UNKNOWN if entry.difference is None else _signed(entry)


def _signed(entry: Entry) -> str:
    text = value(entry.column, entry.difference)
    return text if text.startswith("−") else f"+{text}"


def both(entry: Entry) -> str:
    """Write published and ours in one cell."""
    theirs = published(entry.column, entry.published)
    if entry.ours is None:
        return theirs
    mine = score(entry.column, entry.ours)
    if entry.published is None:
        ours = entry.row.small or entry.row.own
        return mine if entry.column.computed or ours else f"{theirs}; ours {mine}"
    if entry.column.computed:
        return f"{theirs}; counted {mine}, {'exact' if entry.exact else 'differs'}"
    return f"{theirs}; ours {mine}{APART if entry.apart else ''}"


def remarks(view: View) -> list[str]:
    """Return the sentences that belong below a table."""
    table, found = view.table, []
    known, unknown = view.known()
    if table.note:
        found.append(" ".join(table.note.split()))
    if unknown:
        found.append(f"{UNKNOWN}: of {known + unknown} published values {unknown} are unknown.")
    apart: dict[str, list[str]] = {}
    for entry in view.entries.values():
        if entry.apart:
            apart.setdefault(entry.apart, [])
            if entry.row.title not in apart[entry.apart]:
                apart[entry.apart].append(entry.row.title)
    found += [f"{APART} not comparable, {why}: {'; '.join(rows)}." for why, rows in apart.items()]
    if any(row.small for row in view.rows):
        found.append(f"{SMALL} small models of this project, not comparable with published values.")
    if any(entry.published and entry.published.user for entry in view.entries.values()):
        found.append(f"{USER} added by the user.")
    if any(entry.ours and not entry.column.computed for entry in view.entries.values()):
        found.append("Ours: pooled over folds, mean over seeds [95 % interval over speakers].")
    found += [f"{row.title}: {row.note}" for row in view.rows if row.note]
    return found


def sources(view: View) -> list[str]:
    """Return the different sources of the published values."""
    cells = [entry.published for entry in view.entries.values() if entry.published]
    return list(dict.fromkeys(cell.source for cell in cells))
