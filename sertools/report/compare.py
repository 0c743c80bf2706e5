"""Two experiments on the same utterances: is their difference one?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sertools.errors import DataError
from sertools.files import read_json
from sertools.report.tables import Table
from sertools.report.text import interval, name_of, number
from sertools.scoring.intervals import paired_difference
from sertools.scoring.predictions import Prediction, read_predictions


def compare(first: str | Path, second: str | Path, part: str | None = None) -> dict[str, Any]:
    """Return the paired difference `first` minus `second` of two experiment folders.

    Each must have been evaluated on all its folds; several seeds are averaged.

    Args:
        first: folder of an experiment.
        second: folder of the one that it is compared with.
        part: a further test part, such as Test2; None: the main one.

    Raises:
        DataError: a folder is no finished experiment or has no such part, or they saw other
            utterances.
    """
    runs = [_runs(Path(folder), part) for folder in (first, second)]
    classes = [read_json(Path(folder) / "report/results.json")["classes"]
               for folder in (first, second)]
    if classes[0] != classes[1]:
        raise DataError("the experiments have other classes", [str(names) for names in classes])
    return paired_difference(*runs, classes[0])


def comparison_table(result: dict[str, Any], first: str, second: str) -> Table:
    """Return the differences as a table for the terminal or Markdown."""
    rows = [
        [name_of(name), number(name, entry["difference"]),
         interval(name, entry["low"], entry["high"]),
         "" if entry["p"] is None else f"{entry['p']:.3f}"]
        for name, entry in result["metrics"].items()
    ]
    return Table(f"{first} - {second}", ["", "difference", "95 %", "p"], rows)


def _runs(folder: Path, part: str | None) -> list[list[Prediction]]:
    """Return the test predictions of each seed, all folds together."""
    if not (folder / "report/results.json").is_file():
        raise DataError(f"{folder} is no finished experiment", remedy="run its stage report")
    units = read_json(folder / "report/results.json")["units"]
    seeds: dict[int, list[Prediction]] = {}
    for unit in units:
        evaluated = folder / f"fold{unit['fold']}/seed{unit['seed']}/evaluate"
        path = evaluated / (f"test_{part}.jsonl" if part else "test.jsonl")
        if path.is_file() or not part:  # not every fold has the further parts
            seeds.setdefault(unit["seed"], []).extend(read_predictions(path))
    if part and not seeds:
        raise DataError(f"{folder} has no predictions of the test part {part}")
    return list(seeds.values())
