"""Read papers/<paper>/<table>.yaml; all faults of all files are listed at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sertools.errors import ConfigError
from sertools.tables.as_published import ONE, Second, read_as_published
from sertools.tables.data import COMPUTED, Cell, Column, Paper, Registry, Row, Run, Table
from sertools.tables.options import read_options
from sertools.tables.places import Keys, Source
from sertools.tables.scale import read_cell

PAPERS = Path(__file__).parent / "papers"
"""The tables that come with sertools."""
METRIC = re.compile(r"UA|WA|WF1|MF1|(CCC|Pearson|MAE)_[a-z]+|CCC")
"""Scores that results.json may have."""
PROTOCOLS = ("clean", "paper")

PAPER = ("title", "authors", "arxiv", "system")
TABLE = ("title", "number", "kind", "protocol", "published_protocol", ONE, "transposed", "note",
         "columns", "rows")
COLUMN = ("name", "title", "recipe", "metric", "part", "options", "computed", "published", "own",
          "digits")
SECOND = ("config", "options", "per_recipe", "hours", "results")
ROW = (*SECOND, *(f"{key}_{ONE}" for key in SECOND), "name", "title", "preset", "small", "own",
       "needs", "note", "cells")
NEED = ("recipe", "config", "options")


def read_registry(egs: Path, papers: Path = PAPERS) -> Registry:
    """Return all papers with their tables.

    Args:
        egs: folder of the recipes, where configurations and results are looked for.
        papers: folder with one folder per paper.

    Raises:
        ConfigError: with every fault of every file, each with its file, line and keys.
    """
    faults: list[str] = []
    folders = sorted(path.parent for path in papers.glob("*/paper.yaml"))
    lost = sorted({path.parent for path in papers.glob("*/*.yaml")} - set(folders))
    faults += [f"{path.name}/: paper.yaml is missing" for path in lost]
    found = [_paper(folder, papers, egs, faults) for folder in folders]
    if faults:
        raise ConfigError("the tables cannot be used", faults)
    return Registry(tuple(found))


def _paper(folder: Path, root: Path, egs: Path, faults: list[str]) -> Paper:
    source = Source(folder / "paper.yaml", faults, root)
    values = source.mapping((), source.value, PAPER, ("title", "authors", "system"))
    texts = {key: source.text((key,), value) for key, value in values.items() if value is not None}
    files = [path for path in sorted(folder.glob("*.yaml")) if path.stem != "paper"]
    tables = [table for path in files for table in _Reader(path, root, egs, faults).tables()]
    texts = {key: texts.get(key) or "" for key in ("title", "authors", "system")} | {
        "arxiv": texts.get("arxiv")}
    return Paper(folder.name, **texts, tables=tuple(tables))


class _Reader:
    """Reads one table."""

    def __init__(self, path: Path, root: Path, egs: Path, faults: list[str]):
        self.path, self.egs, self.source = path, egs, Source(path, faults, root)

    def tables(self) -> list[Table]:
        """Return the table of the file, and the one by the published protocol if it asks for it."""
        source = self.source
        values = source.mapping((), source.value, TABLE, ("title", "kind", "columns", "rows"))
        self.second: dict[str, Second] = {}
        table = self._table(values)
        if ONE not in values:
            for name in (name for name, found in self.second.items() if any(found)):
                source.fault(("rows",), f"{name}: a key of _{ONE} without {ONE} above")
            return [table]
        other = read_as_published(source, values[ONE], table, self.second)
        return [table, other] if other else [table]

    def _table(self, values: dict) -> Table:
        source = self.source
        protocol = self._optional(("protocol",), values, "protocol", "choice") or "clean"
        self.columns = self._list("columns", values, self._column)
        self.protocol = protocol
        rows = self._list("rows", values, self._row)
        kind = values.get("kind")
        return Table(
            self.path.parent.name, self.path.stem, self._optional((), values, "title") or "",
            source.choice(("kind",), kind, ("published", "study")) if kind else "",
            protocol, self._optional((), values, "published_protocol", "choice") or protocol,
            tuple(self.columns), tuple(rows), self._optional((), values, "number"),
            self._optional((), values, "note"),
            self._flag((), values, "transposed"))

    def _optional(self, path: Keys, values: dict, key: str, kind: str = "text", **more) -> Any:
        value, place = values.get(key), path if path[-1:] == (key,) else (*path, key)
        if value is None:
            return None
        if kind == "choice":
            return self.source.choice(place, value, PROTOCOLS)
        return getattr(self.source, kind)(place, value, **more)

    def _flag(self, path: Keys, values: dict, key: str) -> bool:
        value = values.get(key, False)
        if not isinstance(value, bool):
            self.source.fault((*path, key), f"true or false is expected, not {value!r}")
        return value is True

    def _list(self, key: str, values: dict, read) -> list:
        value = values.get(key, [])
        if not isinstance(value, list) or (key in values and not value):
            self.source.fault((key,), "a list with at least one entry is expected")
            return []
        found, names = [], set()
        for number, inner in enumerate(value):
            each = read((key, number), inner)
            if each.name in names:
                self.source.fault((key, number, "name"), f"{each.name} is there twice")
            names.add(each.name)
            found.append(each)
        return found

    def _column(self, path: Keys, value: Any) -> Column:
        values = self.source.mapping(path, value, COLUMN, ("name", "title"))
        name, title = self._named(path, values)
        recipe = self._optional(path, values, "recipe")
        metric = self._optional(path, values, "metric")
        computed = values.get("computed")
        own = self._flag(path, values, "own")
        others = self._flag(path, values, "published")
        ways = (computed is not None) + (recipe is not None) + others
        if ways > 1 or ways + own == 0 or others and own or (recipe is None) != (metric is None):
            self.source.fault(path, "either recipe and metric, or computed, or published: true "
                              "(nothing here makes it), or own: true (ours; alone: made by no "
                              "run) is expected")
        if computed is not None:
            self.source.choice((*path, "computed"), computed, COMPUTED)
        if metric and not METRIC.fullmatch(metric):
            self.source.fault((*path, "metric"), f"results have no {metric}; they have UA, WA, "
                              "WF1, MF1, or CCC and CCC_<dimension>")
        if recipe:
            self._recipe((*path, "recipe"), recipe)
        options = read_options(self.source, (*path, "options"), values.get("options") or {})
        few = 3 if (metric or "").startswith("CCC") else 1 if computed == "macs" else 2
        digits = self._optional(path, values, "digits", "number", least=0)
        return Column(name, title, recipe, metric, self._optional(path, values, "part"), options,
                      computed, few if digits is None else int(digits), own)

    def _named(self, path: Keys, values: dict) -> tuple[str, str]:
        name = self._optional(path, values, "name", name=True)
        return name or "", self._optional(path, values, "title") or name or ""

    def _recipe(self, path: Keys, name: str) -> bool:
        there = (self.egs / name / "run.py").is_file()
        if not there:
            self.source.fault(path, f"there is no recipe egs/{name}")
        return there

    def _row(self, path: Keys, value: Any) -> Row:
        source = self.source
        values = source.mapping(path, value, ROW, ("name", "title", "config"))
        name, title = self._named(path, values)
        configs = self._configs((*path, "config"), values.get("config"))
        options = read_options(source, (*path, "options"), values.get("options") or {})
        if self.protocol != "clean" and configs:
            options = (("protocol", self.protocol), *options)
        per = self._per_recipe(path, values, "per_recipe")
        self.second[name] = Second(
            read_options(source, (*path, f"options_{ONE}"), values.get(f"options_{ONE}") or {}),
            self._results((*path, f"results_{ONE}"), values.get(f"results_{ONE}") or {}),
            self._configs((*path, f"config_{ONE}"), values.get(f"config_{ONE}")),
            self._per_recipe(path, values, f"per_recipe_{ONE}"),
            self._optional(path, values, f"hours_{ONE}", "number", least=0))
        for recipe in (each for each in self.second[name].configs if each not in configs):
            source.fault((*path, f"config_{ONE}", recipe), "this row has no command there")
        return Row(
            name, title, configs, tuple(dict(options).items()), per,
            self._optional(path, values, "preset"),
            self._optional(path, values, "hours", "number", least=0),
            self._results((*path, "results"), values.get("results") or {}),
            self._needs((*path, "needs"), values.get("needs") or []),
            self._optional(path, values, "note"),
            self._cells((*path, "cells"), values.get("cells") or {}),
            self._flag(path, values, "small"), self._flag(path, values, "own"))

    def _per_recipe(self, path: Keys, values: dict, key: str) -> dict[str, tuple]:
        each = self.source.mapping((*path, key), values.get(key) or {})
        told = values.get("config")
        told = dict.fromkeys(self._recipes()) if isinstance(told, str) else told or {}
        for recipe in (recipe for recipe in each if recipe not in told):
            self.source.fault((*path, key, recipe), "this row has no command there")
        return {recipe: read_options(self.source, (*path, key, recipe), inner or {})
                for recipe, inner in each.items()}

    def _recipes(self) -> list[str]:
        return list(dict.fromkeys(column.recipe for column in self.columns if column.recipe))

    def _configs(self, path: Keys, value: Any) -> dict[str, str]:
        if value is None:
            return {}
        if isinstance(value, str):
            value = dict.fromkeys(self._recipes(), value)
        found = {}
        for recipe, name in self.source.mapping(path, value).items():
            if recipe not in self._recipes():
                self.source.fault((*path, recipe), "no column has this recipe")
            elif self.source.text((*path, recipe), name) and self._config(
                    (*path, recipe), recipe, name):
                found[recipe] = name
        return found

    def _config(self, path: Keys, recipe: str, name: str) -> bool:
        there = (self.egs / recipe / f"hparams/{name}.yaml").is_file()
        if not there and (self.egs / recipe / "run.py").is_file():
            self.source.fault(path, f"there is no egs/{recipe}/hparams/{name}.yaml")
        return there

    def _results(self, path: Keys, value: Any) -> dict[str, str]:
        found = {}
        for recipe, name in self.source.mapping(path, value).items():
            if recipe not in self._recipes():
                self.source.fault((*path, recipe), "no column has this recipe")
            elif self.source.text((*path, recipe), name):
                if not (self.egs / recipe / f"results/{name}.json").is_file():
                    self.source.fault((*path, recipe),
                                      f"there is no egs/{recipe}/results/{name}.json")
                found[recipe] = name
        return found

    def _needs(self, path: Keys, value: Any) -> tuple[Run, ...]:
        if not isinstance(value, list):
            self.source.fault(path, "a list is expected")
            return ()
        found = []
        for number, inner in enumerate(value):
            here = (*path, number)
            values = self.source.mapping(here, inner, NEED, ("recipe", "config"))
            recipe = self._optional(here, values, "recipe") or ""
            config = self._optional(here, values, "config") or ""
            if recipe and self._recipe((*here, "recipe"), recipe) and config:
                self._config((*here, "config"), recipe, config)
            options = read_options(self.source, (*here, "options"), values.get("options") or {})
            found.append(Run(recipe, config, options))
        return tuple(found)

    def _cells(self, path: Keys, value: Any) -> dict[str, Cell]:
        columns = {column.name: column for column in self.columns if column.may_be_published}
        found = {name: read_cell(self.source, (*path, name), inner, columns[name])
                 for name, inner in self.source.mapping(path, value, columns).items()}
        return {name: cell for name, cell in found.items() if cell is not None}
