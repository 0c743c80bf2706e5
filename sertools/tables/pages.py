"""Sections of Markdown files that are made from tables.

A section stands between `<!-- table: paper/table -->` and `<!-- end of table -->`. It holds what
every checkout knows: published values, commands, results that are part of the repository.
"""

from __future__ import annotations

import re
from pathlib import Path

from sertools.errors import ConfigError
from sertools.report.markdown import inline, render
from sertools.report.tables import Table as Sheet
from sertools.tables import cells
from sertools.tables.data import Registry, Row, Run
from sertools.tables.remarks import remarks
from sertools.tables.render import code, grid
from sertools.tables.status import Stock
from sertools.tables.view import View, view

END = "<!-- end of table -->"
SECTION = re.compile(r"<!-- table: *(\S+) *-->\n(.*?)" + re.escape(END), re.DOTALL)
START = re.compile(r"<!-- table:[^\n]*")


def renewed(registry: Registry, egs: Path) -> dict[Path, str]:
    """Return the new text of every Markdown file whose sections are out of date.

    Raises:
        ConfigError: sections of tables that do not exist, or without an end; all are listed.
    """
    stock, faults, found = Stock(egs, local=False), [], {}
    tables = {table.name: table for table in registry.tables}
    for path in [egs.parent / "README.md", *sorted(egs.glob("*/*.md"))]:
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        names = [match[1] for match in SECTION.finditer(text)]
        faults += [f"{path}: {name}: there is no such table" for name in names
                   if name not in tables]
        if len(names) != len(START.findall(text)):
            faults.append(f"{path}: a section has no line {END}, or names no paper/table")
        if faults:
            continue
        recipe = path.parent.name if path.parent != egs.parent else None

        def made(match: re.Match, recipe: str | None = recipe) -> str:
            shown = section(view(tables[match[1]], stock), recipe)
            return f"<!-- table: {match[1]} -->\n{shown}\n{END}"

        new = SECTION.sub(made, text)
        if new != text:
            found[path] = new
    if faults:
        raise ConfigError("these sections cannot be made", faults)
    return found


def section(found: View, recipe: str | None) -> str:
    """Return one section: the table with commands, its remarks and its sources.

    Args:
        found: the table.
        recipe: whose folder the page lies in; its commands are written without `cd`.
    """
    sheet = _without_silent(found)
    commands = {row.name: _commands(found, row, recipe) for row in found.rows}
    parts = []
    if any(commands.values()) and not found.table.transposed:
        sheet.header.insert(1, "command")
        for line in sheet.rows:
            line.insert(1, "\0")  # code, which must not be marked as text is
        sheet.words = 2
    parts.append(render(sheet))
    for row in found.rows:
        parts[0] = parts[0].replace("\0", commands[row.name] or cells.UNKNOWN, 1)
    if found.table.transposed and any(commands.values()):
        lines = ["| system | command |", "| :-- | :-- |"]
        lines += [f"| {inline(cells.system(row))} | {commands[row.name]} |" for row in found.rows
                  if commands[row.name]]
        parts.append("\n".join(lines))
    lines = [*remarks(found), *_elsewhere(found, recipe)]
    parts.append("\n".join(f"* {inline(line)}" for line in lines))
    return "\n".join(["", "\n\n".join(part for part in parts if part), ""])


def _without_silent(found: View) -> Sheet:
    """Return the grid; columns of a study that say nothing are left out."""
    sheet = grid(found)
    if found.table.kind == "study" and not found.table.transposed:
        kept = [n for n in range(len(sheet.header))
                if n == 0 or any(row[n] not in cells.SILENT for row in sheet.rows)]
        sheet = Sheet(sheet.title, [sheet.header[n] for n in kept],
                      [[row[n] for n in kept] for row in sheet.rows])
    return sheet


def _commands(found: View, row: Row, recipe: str | None) -> str:
    """Return the commands of a row, alike ones once, as Markdown."""
    runs = found.table.runs_of(row)
    runs.sort(key=lambda run: run.recipe != recipe)
    shown: dict[str, str] = {}
    for run in runs:
        text = run.inside if run.recipe == recipe else run.command
        shown.setdefault(run.inside, text)
    return "<br>".join([*map(code, shown.values()), *after(row, runs)])


def after(row: Row, runs: list[Run]) -> list[str]:
    """Return which runs a row needs before, as Markdown; those that are its own are known."""
    return [f"after {code(need.command)}" for need in row.needs if need not in runs]


def _elsewhere(found: View, recipe: str | None) -> list[str]:
    """Say in which further recipes the commands are the same."""
    runs: dict[str, list[Run]] = {}
    for run in found.runs():
        runs.setdefault(run.inside, []).append(run)
    lists = [[run.recipe for run in sorted(same, key=lambda run: run.recipe != recipe)][1:]
             for same in runs.values()]
    others = list(dict.fromkeys(name for names in lists for name in names))
    if not others:
        return []
    return [f"The same commands, where they have such columns: {', '.join(others)} (in egs)."]
