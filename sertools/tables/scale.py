"""A published value as it is read, held against the scale of its column."""

from __future__ import annotations

from typing import Any

from sertools.tables.data import SHARES, Cell, Column
from sertools.tables.places import Keys, Source

CELL = ("value", "source", "std", "protocol", "note")
PROTOCOLS = ("clean", "paper")


def read_cell(source: Source, path: Keys, value: Any, column: Column,
              user: bool = False) -> Cell | None:
    """Return a published value; None after noting what is wrong with it.

    Args:
        source: the file.
        path: where the value stands in it.
        value: keys of `CELL`.
        column: whose scale the value has to keep.
        user: whether a user adds it.
    """
    values = source.mapping(path, value, CELL, ("value", "source"))
    if "value" not in values or "source" not in values:
        return None
    number = source.number((*path, "value"), values["value"])
    wrong = None if number is None else off_scale(column, number)
    if wrong:
        source.fault((*path, "value"), wrong)
    told = source.text((*path, "source"), values["source"])
    std = values.get("std")
    std = None if std is None else source.number((*path, "std"), std, least=0)
    protocol, note = values.get("protocol"), values.get("note")
    if protocol is not None:
        source.choice((*path, "protocol"), protocol, PROTOCOLS)
    note = None if note is None else source.text((*path, "note"), note)
    return None if number is None or told is None else Cell(
        number, told, std, protocol, note, user)


def off_scale(column: Column, number: float) -> str | None:
    """Say what keeps a number from being a value of a column; None if nothing does.

    Shares stand in percent, CCC and Pearson from -1 to 1; what is counted and errors are at
    least 0. Columns that name no score have no scale.
    """
    metric = column.metric or ""
    if metric in SHARES:
        if 0 < number < 1:
            return f"{number:g} looks like a share; in percent it is {100 * number:.6g}"
        if not 0 <= number <= 100:
            return f"percent from 0 to 100 are expected, not {number:g}"
    elif metric.startswith(("CCC", "Pearson")):
        if not -1 <= number <= 1:
            return f"a value from -1 to 1 is expected, not {number:g}"
    elif (metric or column.computed) and number < 0:
        return f"a value of at least 0 is expected, not {number:g}"
    return None
