"""Results on the terminal: coloured where there is one, plain lines everywhere else."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable
from sertools.report import text
from sertools.report.further import further_tables
from sertools.report.relevance_view import relevance_sentences
from sertools.report.tables import Table

_WIDE = 132
"""Columns from which a terminal holds all of `brief_table`."""


def is_narrow() -> bool:
    """Say whether standard output is a terminal too narrow for wide tables."""
    console = Console()
    return console.is_terminal and console.width < _WIDE


def terminal_width() -> int | None:
    """Return the columns of the terminal that standard output is; None if it is none."""
    console = Console()
    return console.width if console.is_terminal else None


def print_report(results: dict[str, Any], file: TextIO | None = None) -> None:
    """Print scores with intervals and chance, then how much of the experiment they cover."""
    names = results["experiment"]
    chance = results.get("chance") or {}
    title = f"{names['system']} on {names['corpus']}, protocol {results['protocol']['name']}"
    title += f", {results['test_part']}" if results.get("test_part") else ""
    table = Table(title, ["", "score", f"{100 * results['interval']['level']:g} %", "chance"])
    for metric in results["metrics"]:
        entry = results["summary"][metric]
        row = [text.short(metric), text.number(metric, entry["pooled"])]
        row.append(text.interval(metric, entry["low"], entry["high"]))
        table.rows.append([*row, text.number(metric, chance.get(metric))])
    below = [text.setting(results)]
    if results.get("calibration"):
        errors = results["calibration"]
        below.append(f"ECE % {text.ece_pair(errors['ece_before'], errors['ece_after'])}")
    size = text.encoder_sentence(results)
    below += [f"Encoder: {size}."] if size else []
    below.append(text.interval_note(results))
    below += relevance_sentences(results["relevance"]) if results.get("relevance") else []
    tables = [table.without_empty(), *further_tables(results)]
    print_tables(tables, below, text.notes(results), file)


def print_tables(
    tables: list[Table],
    below: list[str],
    warnings: list[str],
    file: TextIO | None = None,
) -> None:
    """Print tables, remarks and warnings to `file` (standard output)."""
    file = file or sys.stdout
    console = Console(file=file, highlight=False)
    if not console.is_terminal:
        lines = [line for table in tables for line in [table.title, *plain_lines(table), ""]]
        print("\n".join([*lines, *below, *warnings]), file=file)
        return
    for table in tables:
        console.print(_rich(table))
    for line in below:
        console.print(escape(line), style="dim")
    for line in warnings:
        console.print(escape(line), style="bold yellow")


def plain_lines(table: Table) -> list[str]:
    """Return a table as lines of aligned columns, without colours or frames."""
    rows = [table.header, *table.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.header))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column < table.words else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _rich(table: Table) -> RichTable:
    look = {"box": SIMPLE_HEAD, "title_justify": "left", "title_style": "bold"}
    shown = RichTable(title=escape(table.title), header_style="dim", **look)
    for column, name in enumerate(table.header):
        word = column < table.words
        look = {"justify": "left" if word else "right", "no_wrap": not word}
        shown.add_column(escape(name), overflow="fold", **look)
    for row in table.rows:
        shown.add_row(*(escape(cell) for cell in row))
    return shown
