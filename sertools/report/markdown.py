"""Results as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sertools.report import text
from sertools.report.further import further_tables
from sertools.report.relevance_view import relevance_sentences, relevance_table
from sertools.report.tables import (
    ENCODER,
    Table,
    by_standing,
    classes_table,
    confusion_table,
    experiments_table,
    scores_table,
    seeds_table,
    units_table,
)

_GENERATED = "<!-- Made by code from results.json; do not edit. -->"


def one_experiment(results: dict[str, Any]) -> str:
    """Return the RESULTS.md of one experiment."""
    names = results["experiment"]
    parts = [_GENERATED, f"# {inline(text.system(results))} on {inline(names['corpus'])}"]
    parts += [f"> **{inline(note)}**" for note in text.notes(results)]
    parts.append(f"Protocol `{results['protocol']['name']}`: {text.setting(results)}")
    parts += [_section(scores_table(results)), inline(text.interval_note(results))]
    parts += [_section(table) for table in further_tables(results)]
    if results["task"] == "classification":
        parts += [_section(classes_table(results)), _section(confusion_table(results))]
        parts.append(_calibration(results["calibration"]))
    if results.get("relevance"):
        parts.append(_section(relevance_table(results["relevance"])))
        parts += [inline(line) for line in relevance_sentences(results["relevance"])]
    if len(results["seeds"]) > 1:
        parts.append(_section(seeds_table(results)))
    parts += [_section(units_table(results)), "## How to get these numbers again"]
    parts.append(_provenance(results))
    parts.append(_definitions([results]))
    return "\n\n".join(parts) + "\n"


def many_experiments(several: Sequence[dict[str, Any]], title: str = "Results") -> str:
    """Return a RESULTS.md of several experiments, each number with its command below."""
    parts = [_GENERATED, f"# {inline(title)}"]
    for heading, chosen in by_standing(several):
        parts += [_section(experiments_table(chosen, heading))]
        if chosen[0]["protocol"]["own_table"]:
            reasons = [
                f"- {inline(text.system(r))}: {inline('; '.join(_reasons(r)))}"
                for r in chosen
            ]
            parts.append("Why they stand apart:\n\n" + "\n".join(reasons))
    parts.append("## How to get these numbers again")
    for results in several:
        names = results["experiment"]
        parts.append(f"### {inline(text.system(results))} on {inline(names['corpus'])}")
        parts += [inline(text.interval_note(results)), _provenance(results)]
    parts.append(_definitions(several))
    return "\n\n".join(parts) + "\n"


def render(table: Table) -> str:
    """Return a table as Markdown, words left, numbers right."""
    marks = [":--" if column < table.words else "--:" for column in range(len(table.header))]
    rows = [[inline(cell) for cell in row] for row in [table.header, *table.rows]]
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], marks, *rows[1:]])


def _section(table: Table) -> str:
    return f"## {inline(table.title)}\n\n{render(table)}"


def _reasons(results: dict[str, Any]) -> list[str]:
    return results["protocol"]["reasons"]


def _calibration(facts: dict[str, Any]) -> str:
    pair = text.ece_pair(facts["ece_before"], facts["ece_after"])
    return (
        "## Calibration\n\n"
        f"Expected calibration error (15 bins), before → after one temperature per unit fitted on "
        f"dev: **{pair} %**."
    )


def _provenance(results: dict[str, Any]) -> str:
    rows = text.provenance(results)
    lines = [f"- {inline(name)}: {inline(value)}" for name, value in rows if name != "command"]
    command = dict(rows).get("command")
    if command is None:
        return "\n".join(lines) or "Nothing is known about how they were made."
    fence = "```"
    while fence in command:
        fence += "`"
    return f"{fence}\n{command}\n{fence}\n\n" + "\n".join(lines)


def _definitions(several: Sequence[dict[str, Any]]) -> str:
    metrics = dict.fromkeys(name for results in several for name in results["metrics"])
    known = [name for name in metrics if name in text.DEFINITIONS]
    lines = [f"- {name}: {text.DEFINITIONS[name]}" for name in known]
    if "UA" in known:
        lines.append("- Percentages; chance: always answering the most frequent class.")
    if any(map(text.encoder_size, several)):
        lines.append(f"- {ENCODER[0]}: its parameters; {ENCODER[1]}: {text.MAC_DEFINITION}.")
    lines.append("- Standard deviations are those of a sample (n - 1).")
    return "## What the numbers mean\n\n" + "\n".join(lines)


def inline(value: str) -> str:
    """Keep text on one line and free of what Markdown would take for its own."""
    flat = " ".join(value.split("\n"))
    for character in "\\|<*`":  # backslash first, as it marks the others
        flat = flat.replace(character, f"\\{character}")
    return flat
