"""The sentences below a table: what is unknown, what does not compare, what results say."""

from __future__ import annotations

from collections.abc import Iterable

from sertools.tables.cells import APART, FOLDS, SMALL, UNKNOWN, USER
from sertools.tables.data import Column
from sertools.tables.view import Entry, View

MOST = 4
"""Rows that are named in one remark before the rest is only counted."""


def remarks(view: View) -> list[str]:
    """Return the sentences that belong below a table, whatever form it is written in."""
    table, found = view.table, []
    entries = list(view.entries.values())
    known, unknown = view.known()
    if table.note:
        found.append(" ".join(table.note.split()))
    if unknown:
        found.append(f"{UNKNOWN}: of {known + unknown} published values {unknown} are unknown.")
    apart: dict[str, dict[str, None]] = {}
    for entry in entries:
        if entry.apart:
            apart.setdefault(entry.apart, {})[entry.row.title] = None
    found += [f"{APART} not comparable, {why}: {'; '.join(rows)}." for why, rows in apart.items()]
    if any(row.small for row in view.rows):
        found.append(f"{SMALL} small models of this project, not comparable with published values.")
    if any(entry.published and entry.published.user for entry in entries):
        found.append(f"{USER} added by the user.")
    found += _scores(entries)
    found += said(view)
    found += [f"{row.title}: {row.note}" for row in view.rows if row.note]
    found += _notes(entries)
    told = dict.fromkeys(entry.published.source for entry in entries if entry.published)
    return found + ([f"Sources: {'; '.join(told)}."] if told else [])


def _scores(entries: list[Entry]) -> list[str]:
    trained = [entry for entry in entries if entry.ours and not entry.column.computed]
    found = []
    if trained:
        found.append("Ours: pooled over folds, mean over seeds [95 % interval over speakers].")
    if any(entry.difference is not None for entry in trained):
        found.append("Differences: our mean over folds less the published value, which is one; "
                     f"a cell has it behind {FOLDS}.")
    return found


def _notes(entries: list[Entry]) -> list[str]:
    """Say what stands beside published values, alike notes once."""
    notes: dict[str, list[str]] = {}
    for entry in entries:
        if entry.published and entry.published.note:
            where = f"{entry.row.title}, {entry.column.title}"
            notes.setdefault(" ".join(entry.published.note.split()), []).append(where)
    return [f"{_few(places)}: {note.rstrip('.')}." for note, places in notes.items()]


def said(view: View) -> list[str]:
    """Return what our results say of themselves (flags and warnings), each once with the places."""
    results = {(_place(view, entry.column), entry.row.title): entry.results
               for entry in view.entries.values() if entry.ours and entry.results}
    rows: dict[str, list[str]] = {}
    for place, row in results:
        rows.setdefault(place, []).append(row)
    found: dict[str, dict[str, list[str]]] = {}
    for (place, row), each in results.items():
        for text in flags(each) + warnings(each):
            found.setdefault(text, {}).setdefault(place, []).append(row)
    return [f"{_where(places, rows)}: {text.rstrip('.')}." for text, places in found.items()]


def flags(results: dict) -> list[str]:
    """Return what keeps results apart from those of the clean protocol."""
    return list(results["protocol"].get("flags") or [])


def warnings(results: dict) -> list[str]:
    """Return what else must be known of results, such as a corpus that was pretrained on."""
    return list(results["protocol"].get("warnings") or [])


def _where(places: dict[str, list[str]], rows: dict[str, list[str]]) -> str:
    """Name places and rows; a place of which all rows are meant stands alone."""
    if all(places.get(place) == every for place, every in rows.items()):
        return "All of ours"
    kinds: dict[str, list[str]] = {}
    for place, some in places.items():
        told = "" if some == rows[place] else _few(some)
        kinds.setdefault(told, []).append(place)
    return "; ".join(f"{', '.join(same)}{f' ({told})' if told else ''}"
                     for told, same in kinds.items())


def _place(view: View, column: Column) -> str:
    """Name the runs of a column: its recipe, where that has one setting in the table."""
    alike = [other for other in view.columns if other.recipe == column.recipe]
    return column.recipe if len({each.options for each in alike}) == 1 else column.title


def _few(names: Iterable[str]) -> str:
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return "; ".join(names[:MOST]) + more
