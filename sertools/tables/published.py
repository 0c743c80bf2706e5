"""Published values that a user adds: a YAML file of <paper>/<table>, row, column."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from sertools.errors import ConfigError
from sertools.tables.as_published import ONE
from sertools.tables.data import Cell, Registry, Table
from sertools.tables.places import Keys, Source
from sertools.tables.scale import read_cell

VARIABLE = "SERTOOLS_PUBLISHED"
"""Environment variable that names the file."""


def with_published(registry: Registry, path: Path) -> Registry:
    """Return the registry with a user's values added and marked as the user's.

    What is given for a table stands in the one by the published protocol, too.

    Args:
        registry: what comes with sertools.
        path: a YAML file {<paper>/<table>: {<row>: {<column>: {value, source}}}}.

    Raises:
        ConfigError: listing every fault: unknown names, no source, a value that contradicts one
            that is there.
    """
    faults: list[str] = []
    source = Source(path, faults, path.parent)
    tables = {table.name: table for table in registry.tables}
    added = {}
    content = {} if source.value is None else source.value
    for name, rows in source.mapping((), content, tables).items():
        added[name] = _table(source, tables[name], rows)
    for name in [name for name in added if f"{name}_{ONE}" in tables]:
        other = f"{name}_{ONE}"
        added[other] = _also(source, added[name], added.get(other, tables[other]))
    if faults:
        raise ConfigError(f"{path}: these published values cannot be used", faults)
    return Registry(tuple(
        dataclasses.replace(paper, tables=tuple(added.get(table.name, table)
                                                for table in paper.tables))
        for paper in registry.papers))


def _table(source: Source, table: Table, values: object) -> Table:
    found = {}
    rows = {row.name: row for row in table.rows}
    columns = {column.name: column for column in table.columns if column.may_be_published}
    for name, cells in source.mapping((table.name,), values, rows).items():
        place, row = (table.name, name), rows[name]
        cells = {column: read_cell(source, (*place, column), cell, columns[column], user=True)
                 for column, cell in source.mapping(place, cells, columns).items()}
        new = {column: cell for column, cell in cells.items()
               if cell and _agrees(source, (*place, column), row.cells.get(column), cell)}
        found[name] = dataclasses.replace(row, cells={**new, **row.cells})
    rows = tuple(found.get(row.name, row) for row in table.rows)
    return dataclasses.replace(table, rows=rows)


def _agrees(source: Source, place: Keys, known: Cell | None, cell: Cell) -> bool:
    if known is not None and known.value != cell.value:
        source.fault(place, f"{cell.value:g} contradicts {known.value:g} ({known.source}), which "
                     "comes with sertools and stays; leave yours out")
        return False
    return True


def _also(source: Source, first: Table, second: Table) -> Table:
    """Return the second table with the user's values of the first, which it may not contradict."""
    given = {row.name: {name: cell for name, cell in row.cells.items() if cell.user}
             for row in first.rows}
    rows = []
    for row in second.rows:
        mine = given.get(row.name, {})
        for name in mine.keys() & row.cells.keys():
            if row.cells[name].value != mine[name].value:
                source.fault((second.name, row.name, name),
                             f"{row.cells[name].value:g} contradicts {mine[name].value:g}, which "
                             f"you give for {first.name}; it holds for both")
        rows.append(dataclasses.replace(row, cells={**mine, **row.cells}))
    return dataclasses.replace(second, rows=tuple(rows))
