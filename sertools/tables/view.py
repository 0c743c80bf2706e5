"""A table as it stands: every published value beside ours, and what keeps the two apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sertools.tables.computed import MILLION, counted
from sertools.tables.data import Cell, Column, Row, Run, Table
from sertools.tables.status import Stock


@dataclass(frozen=True)
class Ours:
    """A score of ours in the unit of its column."""

    pooled: float | None
    low: float | None = None
    high: float | None = None
    fold_mean: float | None = None
    fold_std: float | None = None
    seed_std: float | None = None
    exact: int | None = None
    """What was counted, of a computed column of parameters."""
    committed: bool = False
    """Whether it is a result in the repository rather than a run here."""

    @property
    def compared(self) -> float | None:
        """Return what a published value is compared with, which is a mean over folds itself."""
        return self.fold_mean if self.exact is None else self.pooled


@dataclass(frozen=True)
class Entry:
    """One cell: what is published and what is ours."""

    row: Row
    column: Column
    published: Cell | None
    ours: Ours | None
    run: Run | None
    results: dict[str, Any] | None
    apart: str | None
    """Why the two may not be compared."""
    printed: bool
    """Whether a paper prints a value here, known or not: not in a study, nor in rows and columns
    of our own."""

    @property
    def difference(self) -> float | None:
        """Return our mean over folds (of what is counted: the number) minus the published value;
        None if one lacks or they stand apart."""
        if self.published is None or self.ours is None or self.apart:
            return None
        mine = self.ours.compared
        return None if mine is None else mine - self.published.value

    @property
    def exact(self) -> bool | None:
        """Return whether what is counted is what is published, to its digits."""
        if self.column.computed is None or self.difference is None:
            return None
        digits = self.column.digits
        return round(self.ours.pooled, digits) == round(self.published.value, digits)

    @property
    def unknown(self) -> bool:
        """Return whether a paper has a value here that is not known."""
        return self.published is None and self.printed


@dataclass(frozen=True)
class View:
    """A table with all its entries."""

    table: Table
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    entries: dict[tuple[str, str], Entry]
    """(row, column) -> entry."""
    stock: Stock

    def known(self) -> tuple[int, int]:
        """Return how many published values are known, and how many are not."""
        entries = self.entries.values()
        return (sum(entry.published is not None and not entry.column.own for entry in entries),
                sum(entry.unknown for entry in entries))

    def runs(self, recipe: str | None = None) -> list[Run]:
        """Return the different runs of these rows, of one recipe if asked."""
        runs = [entry.run for entry in self.entries.values() if entry.run]
        return list(dict.fromkeys(run for run in runs if recipe in (None, run.recipe)))


def view(table: Table, stock: Stock, keep: Callable[[Column], bool] = lambda column: True,
         count: bool = True) -> View:
    """Look up all cells of a table; small models that these columns know nothing of are left out.

    Args:
        table: the table.
        stock: what is known of its runs.
        keep: which columns.
        count: whether computed columns are counted, which loads torch.
    """
    columns = tuple(column for column in table.columns if keep(column))
    entries = {(row.name, column.name): _entry(table, row, column, stock, count)
               for row in table.rows for column in columns}
    silent = {row.name for row in table.rows if row.small and not any(
        entries[row.name, column.name].run or entries[row.name, column.name].ours
        for column in columns)}
    rows = tuple(row for row in table.rows if row.name not in silent)
    entries = {names: entry for names, entry in entries.items() if names[0] not in silent}
    return View(table, rows, columns, entries, stock)


def _entry(table: Table, row: Row, column: Column, stock: Stock, count: bool) -> Entry:
    published = row.cells.get(column.name)
    printed = table.kind == "published" and not (row.small or row.own or column.own)
    if column.recipe is None:
        ours = None
        if column.computed and row.preset and count:
            number = counted(row.preset, column.computed)
            ours = Ours(number / MILLION, exact=round(number))
        return Entry(row, column, published, ours, None, None, None, printed)
    run = row.run(column)
    results = stock.results(row, column.recipe, run)
    ours = _score(column, results)
    if ours and (run is None or stock.standing(run).results is None):
        ours = Ours(**{**ours.__dict__, "committed": True})
    return Entry(row, column, published, ours, run, results,
                 _apart(table, row, published, results) if ours else None, printed)


def _score(column: Column, results: dict[str, Any] | None) -> Ours | None:
    if results is None:
        return None
    part = results["further_tests"].get(column.part) if column.part else results
    entry = (part or {}).get("summary", {}).get(column.metric)
    if not entry or entry["pooled"] is None:
        return None
    names = ("pooled", "low", "high", "mean_over_folds", "std_over_folds", "std_over_seeds")
    return Ours(*(None if entry.get(name) is None else column.scale * entry[name]
                  for name in names))


def _apart(table: Table, row: Row, published: Cell | None, results: dict[str, Any]) -> str | None:
    if published is None:
        return None
    if row.small:
        return "a small model of ours"
    theirs = published.protocol or table.published_protocol
    mine = results["protocol"]["protocol"]
    if theirs != mine:
        return f"published with the protocol {theirs}, ours with {mine}"
    if results["coverage"]["missing"]:
        return "ours is a partial result"
    return None
