"""All tables in a list: rows done and left, published cells known and unknown, hours left."""

from __future__ import annotations

from sertools.report.tables import Table as Sheet
from sertools.tables.data import Row, Run, Table
from sertools.tables.status import Stock
from sertools.tables.view import view

LEGEND = ("kind: published, or a study that only this project defines; rows: done / all that have "
          "a command; cells: published values known / all; GPU h: our estimate for what is left.")


def rows_done(table: Table, stock: Stock) -> tuple[list[Row], list[Row]]:
    """Return the rows with commands: those whose runs are all done, and those left."""
    done, left = [], []
    for row in table.rows:
        runs = table.runs_of(row)
        if runs:
            (left if any(stock.left(row, run) for run in runs) else done).append(row)
    return done, left


def same(run: Run) -> tuple:
    """Return what alike runs share, in whatever order their options stand."""
    return run.recipe, run.config, frozenset(run.options)


def hours_left(tables: list[Table], stock: Stock) -> tuple[float, int]:
    """Return the GPU hours of runs that are left, and of how many they are not known.

    A run that rows or tables share counts once, with the largest of their estimates.
    """
    hours: dict[tuple, float | None] = {}
    for table in tables:
        for row in table.rows:
            for run in table.runs_of(row):
                if stock.left(row, run):
                    known = [each for each in (row.hours, hours.get(same(run)))
                             if each is not None]
                    hours[same(run)] = max(known, default=None)
    return (sum(value for value in hours.values() if value is not None),
            sum(value is None for value in hours.values()))


def total(tables: list[Table], stock: Stock) -> str:
    """Return a sentence on all tables; a run that tables share counts once."""
    runs, done, needs = set(), set(), set()
    for table in tables:
        for row in table.rows:
            for run in table.runs_of(row):
                runs.add(same(run))
                if not stock.left(row, run):
                    done.add(same(run))
            needs |= {same(need) for need in row.needs}
    more = len(needs - runs)
    before = f", and {more} that make what they start from" if more else ""
    return (f"Total: {len(tables)} tables, {len(runs)} different runs{before}; {len(done)} done, "
            f"{len(runs - done)} left, {_hours(*hours_left(tables, stock))} GPU hours. A run that "
            "tables share counts once.")


def _hours(hours: float, open_: int) -> str:
    return f"{hours:,.6g}" + (f" + {open_} unknown" if open_ else "")


def listing(tables: list[Table], stock: Stock, narrow: bool = False) -> Sheet:
    """Return one line per table; a narrow one without the papers' numbers."""
    sheet = Sheet("Tables", ["table", "title", "kind", "no.", "rows", "cells", "GPU h"],
                  words=3)
    for table in tables:
        done, left = rows_done(table, stock)
        known, unknown = view(table, stock, count=False).known()
        sheet.rows.append([
            table.name, table.title, table.kind, table.number or "–",
            f"{len(done)} / {len(done) + len(left)}" if done or left else "–",
            f"{known} / {known + unknown}" if known + unknown else "–",
            _hours(*hours_left([table], stock))])
    if narrow:
        sheet = Sheet(sheet.title, [*sheet.header[:3], *sheet.header[4:]],
                      [[*row[:3], *row[4:]] for row in sheet.rows], words=3)
    return sheet
