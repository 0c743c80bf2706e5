"""Tables of text made from results.json; Markdown, HTML and the terminal show the same cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sertools.report import text

ENCODER = ("encoder", "MAC/s")
"""Headings of `text.encoder`: parameters, multiply-accumulates per second of audio."""


@dataclass
class Table:
    """A header, rows of text, and how many leading columns hold words rather than numbers."""

    title: str
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    words: int = 1

    def without_empty(self) -> Table:
        """Return the table without columns that say nothing in any row."""
        kept = [
            column
            for column in range(len(self.header))
            if column < self.words or any(row[column] != text.NONE for row in self.rows)
        ]
        rows = [[row[column] for column in kept] for row in self.rows]
        return Table(self.title, [self.header[column] for column in kept], rows, self.words)


def scores_table(results: dict[str, Any]) -> Table:
    """Return one row per metric: pooled with interval, spread over seeds and folds, chance."""
    header = ["", "pooled [95 %]", "std over seeds", "mean ± std over folds", "chance"]
    header[1] = f"pooled [{100 * results['interval']['level']:g} %]"
    part = results.get("test_part")
    table = Table(f"Scores on {part}" if part else "Scores", header)
    chance = results.get("chance") or {}
    for name in results["metrics"]:
        entry = results["summary"][name]
        table.rows.append(
            [
                text.name_of(name),
                text.with_interval(name, entry),
                text.number(name, entry["std_over_seeds"]),
                text.spread(name, entry["mean_over_folds"], entry["std_over_folds"]),
                text.number(name, chance.get(name)),
            ]
        )
    return table.without_empty()


def units_table(results: dict[str, Any]) -> Table:
    """Return one row per fold and seed."""
    metrics = results["metrics"]
    calibrated = results["task"] == "classification"
    header = ["fold", "seed", "n", "speakers", *map(text.short, metrics)]
    header.append(f"dev {metrics[0]}")
    header += ["ECE before → after", "T"] if calibrated else []
    table = Table("Folds and seeds", [*header, "best epoch", "time", "device"], words=2)
    best = {(row["fold"], row["seed"]): row["best_epoch"] for row in results["curves"]["units"]}
    for unit in results["units"]:
        row = [unit["fold"], str(unit["seed"]), text.count(unit["n"]), text.count(unit["speakers"])]
        row += [text.number(name, unit[name]) for name in metrics]
        row.append(text.number(metrics[0], (unit["dev"] or {}).get(metrics[0])))
        if calibrated:
            temperature = unit.get("temperature")
            row.append(text.ece_pair(unit.get("ece_before"), unit.get("ece_after")))
            row.append(text.NONE if temperature is None else f"{temperature:.2f}")
        epoch = best.get((unit["fold"], unit["seed"]))
        row += [text.NONE if epoch is None else str(epoch), text.duration(unit["seconds"])]
        table.rows.append([*row, unit["device"] or text.NONE])
    return table.without_empty()


def seeds_table(results: dict[str, Any]) -> Table:
    """Return one row per seed: pooled score and spread over folds of every metric."""
    title = "Seeds: pooled score (mean ± std over folds)"
    table = Table(title, ["seed", "folds", "n", *map(text.short, results["metrics"])])
    for entry in results["seeds"]:
        row = [str(entry["seed"]), str(len(entry["folds"])), text.count(entry["pooled"]["n"])]
        for name in results["metrics"]:
            over = entry["over_folds"][name]
            folds = text.spread(name, over["mean"], over["std"])
            row.append(f"{text.number(name, entry['pooled'][name])} ({folds})")
        table.rows.append(row)
    return table


def classes_table(results: dict[str, Any]) -> Table:
    """Return one row per class: utterances, recall with interval, F1."""
    table = Table("Classes", ["class", "n", "recall", "interval", "F1"])
    for row in results["by_class"]:
        table.rows.append(
            [
                row["class"],
                text.count(row["n"]),
                text.number("recall", row["recall"]),
                text.interval("recall", row["low"], row["high"]),
                text.number("F1", row["f1"]),
            ]
        )
    return table


def confusion_table(results: dict[str, Any]) -> Table:
    """Return counts and row percentages; rows are references, columns are answers."""
    classes = results["classes"]
    table = Table("Confusion", ["reference \\ answer", *classes])
    for name, counts in zip(classes, results["confusion"], strict=True):
        total = sum(counts)
        cells = [f"{n} ({100 * n / total:.0f} %)" if total else "0" for n in counts]
        table.rows.append([name, *cells])
    return table


def experiments_table(several: Sequence[dict[str, Any]], title: str) -> Table:
    """Return one row per experiment; the notes column is there when one needs it."""
    metrics = list(dict.fromkeys(name for results in several for name in results["metrics"]))
    calibrated = any(results.get("calibration") for results in several)
    noted = any(text.notes(results) for results in several)
    header = [
        "system",
        "corpus",
        "protocol",
        *map(text.short, metrics),
        f"{metrics[0]} over folds",
        "std over seeds",
    ]
    header += ["ECE before → after"] if calibrated else []
    header += ["n", "speakers", "folds", "seeds", f"chance {metrics[0]}", *ENCODER]
    table = Table(title, [*header, "notes"] if noted else header, words=3)
    for results in several:
        row = experiment_row(results, metrics, calibrated)
        table.rows.append([*row, " ".join(text.notes(results)) or text.NONE] if noted else row)
    return table.without_empty()


def experiment_row(
    results: dict[str, Any], metrics: Sequence[str], calibrated: bool = True
) -> list[str]:
    """Return the cells of one experiment, as `experiments_table` heads them, without notes."""
    summary, coverage = results["summary"], results["coverage"]
    names = results["experiment"]
    row = [text.system(results), names["corpus"], results["protocol"]["name"]]
    for name in metrics:
        row.append(text.with_interval(name, summary[name]) if name in summary else text.NONE)
    first = summary.get(metrics[0]) or dict.fromkeys(
        ("mean_over_folds", "std_over_folds", "std_over_seeds")
    )
    row.append(text.spread(metrics[0], first["mean_over_folds"], first["std_over_folds"]))
    row.append(text.number(metrics[0], first["std_over_seeds"]))
    if calibrated:
        errors = results.get("calibration") or {}
        row.append(text.ece_pair(errors.get("ece_before"), errors.get("ece_after")))
    row += [text.count(coverage["n"]), text.count(coverage["speakers"]), text.folds(coverage)]
    row.append(", ".join(map(str, coverage["seeds_counted"])))
    row.append(text.number(metrics[0], (results.get("chance") or {}).get(metrics[0])))
    return [*row, *text.encoder(results)]


def brief_table(several: Sequence[dict[str, Any]], title: str, narrow: bool = False) -> Table:
    """Return one short row per experiment: the first score with its interval, others plain.

    Args:
        several: content of results.json files of one task.
        title: of the table.
        narrow: keep only what fits on about 60 columns.
    """
    metrics = list(dict.fromkeys(name for results in several for name in results["metrics"]))
    first, *others = metrics
    words = ["system", "corpus"] if narrow else ["system", "corpus", "protocol"]
    others = [] if narrow else others
    header = [*words, f"{text.short(first)} [interval]", *map(text.initials, others)]
    header += ["chance", "folds"] if narrow else ["chance", "folds", "seeds", *ENCODER]
    table = Table(title, header, words=len(words))
    for results in several:
        names = {**results["experiment"], "system": text.system(results),
                 "protocol": results["protocol"]["name"]}
        summary, coverage = results["summary"], results["coverage"]
        row = [*(names[word] for word in words), text.with_interval(first, summary[first])]
        row += [text.number(name, summary.get(name, {}).get("pooled")) for name in others]
        row.append(text.number(first, (results.get("chance") or {}).get(first)))
        row += [text.folds(coverage), ", ".join(map(str, coverage["seeds_counted"]))]
        row += text.encoder(results)
        table.rows.append(row[: len(header)])
    return table.without_empty()


def by_standing(several: Sequence[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Split experiments into those of the clean protocol and those that may not stand beside them,
    and each by task, with a title.
    """
    groups = []
    for task, word in (("classification", "Classification"), ("dimensions", "Dimensions")):
        for apart in (False, True):
            chosen = [
                results
                for results in several
                if results["task"] == task and results["protocol"]["own_table"] == apart
            ]
            ending = ", not comparable with the clean protocol" if apart else ""
            if chosen:
                groups.append((word + ending, chosen))
    return groups
