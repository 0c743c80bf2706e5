"""Commands of the papers' tables, as the registry has them."""

from functools import cache
from pathlib import Path

from sertools.tables import Row, Table, read_registry

EGS = Path(__file__).resolve().parents[2] / "egs"


@cache
def tables_of(paper: str) -> dict[str, Table]:
    """Return a paper's tables by the base names of their files."""
    (found,) = (each for each in read_registry(EGS).papers if each.name == paper)
    return {table.file: table for table in found.tables}


def arguments_of(table: Table, row: Row, recipe: str) -> tuple[str, ...] | None:
    """Return what stands behind `python run.py` in a recipe; None if the row has nothing there."""
    found = [run.arguments for run in table.runs_of(row) if run.recipe == recipe]
    assert len(found) <= 1
    return tuple(found[0]) if found else None


def is_twin(table: Table, row: Row, recipe: str) -> bool:
    """Say whether a row's command differs from another one's in its configuration alone."""
    others = {other.name: arguments_of(table, other, recipe) for other in table.rows}
    mine, other = others[row.name], others.get(row.name.removesuffix("_12"))
    return row.name.endswith("_12") and other is not None and mine[1:] == other[1:]
