"""The papers' tables as data: rows, columns, commands, published values, and how they stand here.

`papers/<paper>/<table>.yaml` holds one table; commands, pages and reports are made from it.
"""

from sertools.tables.data import Cell, Column, Paper, Registry, Row, Run, Table
from sertools.tables.read import PAPERS, read_registry

__all__ = ["PAPERS", "Cell", "Column", "Paper", "Registry", "Row", "Run", "Table", "read_registry"]
