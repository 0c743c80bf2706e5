"""Test parts beside the main one: scored alike, with intervals of their own, never pooled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from sertools.report import text
from sertools.report.tables import Table, scores_table
from sertools.report.units import ReportMeta, UnitResult

KEPT = ("coverage", "metrics", "summary", "interval", "chance", "by_class", "confusion",
        "calibration")
"""What results.json says of a further test part, as it says it of the main one."""


def further_tests(
    units: Sequence[UnitResult], classes: Sequence[str], meta: ReportMeta,
    aggregate: Callable[..., dict[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Return the results of every further test part by name, as `aggregate` makes them."""
    # Imported here, so that the tables of finished results need no numbers library.
    from sertools.scoring.unit import score_unit

    found = {}
    for name in dict.fromkeys(name for unit in units for name in unit.further):
        own = [dataclasses.replace(unit, test=unit.further[name], further={},
                                   scores=score_unit(unit.dev, unit.further[name], classes))
               for unit in units if name in unit.further]
        whole = aggregate(own, classes, meta)
        found[name] = {key: whole[key] for key in KEPT if key in whole}
    return found


def further_tables(results: dict[str, Any]) -> list[Table]:
    """Return a table of scores for every further test part."""
    tables = []
    for name, part in results.get("further_tests", {}).items():
        table = scores_table(part)
        number = text.count(part["coverage"]["n"])
        tables.append(dataclasses.replace(table, title=f"Scores on {name}, {number} utterances"))
    return tables
