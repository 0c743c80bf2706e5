"""Whether tables hold what can be run: configurations, option keys, what rows need, models."""

from __future__ import annotations

import re
from pathlib import Path

from sertools.tables.computed import known
from sertools.tables.data import Registry, Row, Run, Table
from sertools.tables.recipes import faults_of_many, resolve

EXPERIMENT = re.compile(r"(?:\.\./([^/]+)/|\./)?exp/([^/]+)/")
"""A value that lies in an experiment's folder: of another recipe, or of the same."""


def problems(registry: Registry, egs: Path) -> list[str]:
    """Return everything that keeps commands of tables from being run as they stand."""
    runs = [run for table in registry.tables for run in table.runs()]
    runs += [need for table in registry.tables for row in table.rows for need in row.needs]
    found = faults_of_many(egs, runs)
    for table in registry.tables:
        for row in table.rows:
            found += _model(table, row)
            found += [f"{table.name}: {row.name}: {fault}" for run in table.runs_of(row)
                      for fault in _lost(egs, row, run)]
    return list(dict.fromkeys(found))


def _model(table: Table, row: Row) -> list[str]:
    wanted = row.preset and any(column.computed for column in table.columns)
    if not wanted or row.preset in known():
        return []
    return [f"{table.name}: {row.name}: preset {row.preset}: there is no such model; "
            f"the models are {', '.join(sorted(known()))}"]


def _lost(egs: Path, row: Row, run: Run) -> list[str]:
    """Return values in experiments that no run makes which the row needs."""
    found = []
    for name, value in run.options:
        match = EXPERIMENT.match(value)
        if match is None:
            continue
        recipe, tag = match[1] or run.recipe, match[2]
        made = [each for need in row.needs if need.recipe == recipe for each in _tags(egs, need)]
        if tag not in made:
            told = f"what it needs makes {', '.join(made)}" if made else "it needs no run there"
            found.append(f"{name}: nothing makes egs/{recipe}/exp/{tag}; {told}")
    return found


def _tags(egs: Path, run: Run) -> list[str]:
    plan = resolve(egs, run).plan
    return [] if plan is None else list(dict.fromkeys(
        [plan.places.shared.name, plan.places.exp.name]))
