"""All tables in a list: rows done and left, published cells known and unknown, hours left."""

from __future__ import annotations

from sertools.report.tables import Table as Sheet
from sertools.tables.data import Row, Table
from sertools.tables.status import Stock
from sertools.tables.view import view


def rows_done(table: Table, stock: Stock) -> tuple[list[Row], list[Row]]:
    """Return the rows with commands: those whose runs are all done, and those left."""
    done, left = [], []
    for row in table.rows:
        runs = table.runs_of(row)
        if runs:
            (left if any(stock.left(row, run) for run in runs) else done).append(row)
    return done, left


def hours_left(table: Table, stock: Stock) -> tuple[float, int]:
    """Return the GPU hours that runs that are left take, and of how many that is not known."""
    hours: dict = {}
    for row in table.rows:
        hours |= {run: row.hours for run in table.runs_of(row) if stock.left(row, run)}
    known = [value for value in hours.values() if value is not None]
    return sum(known), len(hours) - len(known)


def listing(tables: list[Table], stock: Stock) -> Sheet:
    """Return one line per table."""
    header = ["table", "title", "no.", "rows done", "left", "cells known", "unknown",
              "GPU hours left"]
    sheet = Sheet("Tables", header, words=2)
    for table in tables:
        done, left = rows_done(table, stock)
        known, unknown = view(table, stock, count=False).known()
        hours, open_ = hours_left(table, stock)
        more = f" and {open_} unknown" if open_ else ""
        sheet.rows.append([table.name, table.title, table.number or "–", str(len(done)),
                           str(len(left)), str(known), str(unknown), f"{hours:g}{more}"])
    return sheet
