"""Find and read the results.json of several experiments."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sertools.errors import DataError
from sertools.files import read_json
from sertools.report.text import encoder_size

DEFAULT_PATTERNS = ("exp/*/report/results.json", "*/exp/*/report/results.json")
DEFAULT_PATTERNS += ("egs/*/exp/*/report/results.json",)
"""Where results lie below a recipe folder, below egs/, and below the repository."""

_NEEDED = ("format", "task", "experiment", "protocol", "coverage", "metrics", "summary", "units")


def find_results(places: Sequence[str | Path], start: str | Path = ".") -> list[Path]:
    """Return the results.json files that `places` name: the files themselves or folders.

    Args:
        places: results.json files, experiment folders, or any folder above; empty means `start`.
        start: where to look without places.

    Raises:
        DataError: a place has none; every such place is listed.
    """
    found: list[Path] = []
    problems: list[str] = []
    for place in map(Path, places or [start]):
        here = [place] if place.is_file() else _below(place)
        found += [path for path in here if path not in found]
        if not here:
            problems.append(f"{place}: no results.json here or in exp/*/report below it")
    if problems:
        remedy = "run stage report, or name a results.json or the folder of an experiment"
        raise DataError("no results found", problems, remedy)
    return found


def read_results(paths: Sequence[str | Path]) -> list[dict[str, Any]]:
    """Read results.json files.

    Raises:
        DataError: a file is broken or something else; all such files are listed.
    """
    read: list[dict[str, Any]] = []
    problems: list[str] = []
    for path in paths:
        try:
            results = read_json(path)
        except (OSError, ValueError) as error:
            problems.append(f"{path}: {error}")
            continue
        lacking = [key for key in _NEEDED if not isinstance(results, dict) or key not in results]
        if lacking:
            problems.append(f"{path}: not written by stage report (lacks {', '.join(lacking)})")
        elif results["format"] != 1:
            problems.append(f"{path}: format {results['format']}, this version reads format 1")
        else:
            read.append(results)
    if problems:
        raise DataError("these results cannot be read", problems, "run stage report again")
    return read


def sort_results(several: Sequence[dict[str, Any]], metric: str) -> list[dict[str, Any]]:
    """Return experiments with the best pooled `metric` first; those without it come last.

    Raises:
        DataError: no experiment has the metric.
    """
    names = sorted({name for results in several for name in results["metrics"]})
    chosen = {name.lower(): name for name in names}.get(metric.lower())
    if chosen is None:
        raise DataError(f"cannot sort by {metric!r}", remedy=f"use one of {', '.join(names)}")

    def key(results: dict[str, Any]) -> float:
        value = (results["summary"].get(chosen) or {}).get("pooled")
        return float("inf") if value is None else -value

    return sorted(several, key=key)


def to_csv(several: Sequence[dict[str, Any]]) -> str:
    """Return one line per experiment with all digits, for spreadsheets."""
    metrics = list(dict.fromkeys(name for results in several for name in results["metrics"]))
    columns = ["pooled", "low", "high", "std_over_seeds", "mean_over_folds", "std_over_folds"]
    header = ["system", "corpus", "tag", "protocol", "comparable", "reasons", "folds_done"]
    header += ["folds_total", "seeds", "n", "speakers", "ece_before", "ece_after"]
    header += ["encoder_parameters", "encoder_macs_per_second"]
    header += [f"{name} {column}" for name in metrics for column in columns]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for results in several:
        entries = [results["summary"].get(name) or {} for name in metrics]
        cells = [entry.get(column) for entry in entries for column in columns]
        writer.writerow([*_facts(results), *cells])
    return buffer.getvalue()


def _facts(results: dict[str, Any]) -> list[Any]:
    names, protocol, coverage = results["experiment"], results["protocol"], results["coverage"]
    calibration = results.get("calibration") or {}
    row = [names["system"], names["corpus"], names["tag"], protocol["name"]]
    row += ["no" if protocol["own_table"] else "yes", "; ".join(protocol["reasons"])]
    row += [len(coverage["folds_done"]), coverage["folds_total"]]
    row += [" ".join(map(str, coverage["seeds_counted"])), coverage["n"], coverage["speakers"]]
    size = encoder_size(results)
    row += [calibration.get("ece_before"), calibration.get("ece_after")]
    return [*row, size.get("parameters"), size.get("macs_per_second")]


def _below(folder: Path) -> list[Path]:
    near = [folder / "results.json", folder / "report" / "results.json"]
    found = [path for path in near if path.is_file()]
    for pattern in DEFAULT_PATTERNS:
        found += [path for path in sorted(folder.glob(pattern)) if path not in found]
    return found
