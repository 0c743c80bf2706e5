"""The same table once more under the protocol of its published values.

Commands keep speakers apart by default. Where a paper did not, its table says under `as_published`
which options do as the paper did; the second table is made from the first and these options.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

from sertools.tables.data import Row, Table
from sertools.tables.options import read_options
from sertools.tables.places import Source

Options = tuple[tuple[str, str], ...]

ONE = "as_published"
"""The key; with an underscore before it, the end of the second table's name."""
KEYS = ("note", "options")


class Second(NamedTuple):
    """What a row says of the second table."""

    options: Options = ()
    results: Mapping[str, str] = {}
    configs: Mapping[str, str] = {}
    """Recipe -> configuration that takes the place of the row's own, without the row's options."""
    per_recipe: Mapping[str, Options] = {}
    """Options of one recipe's command, beside `options`."""
    hours: float | None = None
    """None: as in the first table."""


def read_as_published(source: Source, values: object, table: Table,
                      rows: Mapping[str, Second]) -> Table | None:
    """Return the second table that `as_published` asks for; None after noting what is wrong.

    Args:
        source: the file, which notes faults.
        values: of the key `as_published`: a note, and options of every recipe of the columns.
        table: the first table.
        rows: what each row says of it: further options, committed results.
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
    made = tuple(as_published(row, options, rows.get(row.name, Second())) for row in table.rows)
    return dataclasses.replace(
        table, file=f"{table.file}_{ONE}", title=f"{table.title}, by the paper's own protocol",
        protocol="paper", note=note, rows=made)


def as_published(row: Row, options: Mapping[str, Options], second: Second) -> Row:
    """Return a row whose commands take these options of a recipe where it gives none itself.

    Where it names a configuration for the second table, what the row has for its first one does
    not fit, and is left out.
    """
    per = {}
    for recipe in row.configs:
        asked = dict(second.options) | dict(second.per_recipe.get(recipe, ()))
        own = () if recipe in second.configs else row.options
        more = () if recipe in second.configs else row.per_recipe.get(recipe, ())
        given = dict(own) | dict(more) | asked
        table = {key: value for key, value in options[recipe] if key not in given}
        per[recipe] = tuple((dict(own) | table | dict(more) | asked).items())
    return dataclasses.replace(
        row, configs={**row.configs, **second.configs}, options=(), per_recipe=per,
        results=dict(second.results), hours=row.hours if second.hours is None else second.hours)
