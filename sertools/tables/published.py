"""Published values that a user adds: a YAML file of <paper>/<table>, row, column."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from sertools.errors import ConfigError
from sertools.tables.data import Cell, Registry, Table
from sertools.tables.places import Keys, Source
from sertools.tables.read import read_cell

VARIABLE = "SERTOOLS_PUBLISHED"
"""Environment variable that names the file."""


def with_published(registry: Registry, path: Path) -> Registry:
    """Return the registry with a user's values added and marked as the user's.

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
    if faults:
        raise ConfigError(f"{path}: these published values cannot be used", faults)
    return Registry(tuple(
        dataclasses.replace(paper, tables=tuple(added.get(table.name, table)
                                                for table in paper.tables))
        for paper in registry.papers))


def _table(source: Source, table: Table, values: object) -> Table:
    found = {}
    rows = {row.name: row for row in table.rows}
    columns = [column.name for column in table.columns]
    for name, cells in source.mapping((table.name,), values, rows).items():
        place, row = (table.name, name), rows[name]
        cells = {column: read_cell(source, (*place, column), cell, user=True)
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
