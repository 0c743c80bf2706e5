"""The same table once more under the protocol of its published values.

Commands keep speakers apart by default. Where a paper did not, its table says under `as_published`
which options do as the paper did; the second table is made from the first and these options.
"""

from __future__ import annotations

import dataclasses

from sertools.tables.data import Row, Table
from sertools.tables.options import read_options
from sertools.tables.places import Source

Options = tuple[tuple[str, str], ...]

ONE = "as_published"
"""The key; with a dash before it, the end of the second table's name."""
KEYS = ("note", "options")


def read_as_published(source: Source, values: object, table: Table,
                      results: dict[str, dict[str, str]]) -> Table | None:
    """Return the second table that `as_published` asks for; None after noting what is wrong.

    Args:
        source: the file, which notes faults.
        values: of the key `as_published`: a note, and options of every recipe of the columns.
        table: the first table.
        results: row -> recipe -> committed results under that protocol.
    """
    path = (ONE,)
    given = source.mapping(path, values, KEYS, KEYS)
    note = source.text((*path, "note"), given.get("note", "?"))
    recipes = list(dict.fromkeys(column.recipe for column in table.columns if column.recipe))
    each = source.mapping((*path, "options"), given.get("options") or {}, recipes, recipes)
    options = {recipe: read_options(source, (*path, "options", recipe), inner or {})
               for recipe, inner in each.items()}
    if table.published_protocol != "paper" or table.protocol != "clean":
        source.fault(path, "it is for commands of the protocol clean beside published values of "
                     "the protocol paper")
    for recipe, found in options.items():
        if dict(found).get("protocol") != "paper":
            source.fault((*path, "options", recipe), "protocol: paper is expected among them")
    if note is None or set(options) != set(recipes):
        return None
    rows = tuple(as_published(row, options, results.get(row.name, {})) for row in table.rows)
    return dataclasses.replace(
        table, file=f"{table.file}_{ONE}", title=f"{table.title}, by the paper's own protocol",
        protocol="paper", note=note, rows=rows)


def as_published(row: Row, options: dict[str, Options], results: dict[str, str]) -> Row:
    """Return a row whose commands take these options of a recipe where it gives none itself."""
    per = {}
    for recipe in row.configs:
        own = dict(row.options) | dict(row.per_recipe.get(recipe, ()))
        more = {key: value for key, value in options[recipe] if key not in own}
        per[recipe] = tuple((more | dict(row.per_recipe.get(recipe, ()))).items())
    return dataclasses.replace(row, per_recipe=per, results=results)
