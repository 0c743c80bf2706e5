"""A table's view as text: Markdown, LaTeX, CSV, and the tables that the terminal shows."""

from __future__ import annotations

import csv
import io
import re

from sertools.report.markdown import inline, render
from sertools.report.tables import Table as Sheet
from sertools.tables import cells
from sertools.tables.view import View

FORMATS = ("markdown", "latex", "csv")
GENERATED = "<!-- Made by code from sertools/tables and results.json; do not edit. -->"


def title(view: View) -> str:
    """Return name, number and title of a table."""
    table = view.table
    number = f", table {table.number}" if table.number else ""
    kind = "" if table.kind == "published" else " (a study of this project)"
    return f"{table.name}{number}: {table.title}{kind}"


def grid(view: View) -> Sheet:
    """Return systems by columns, published and ours in one cell; turned if the table is."""
    header = ["system", *(column.title for column in view.columns)]
    rows = [[row.title, *(cells.both(view.entries[row.name, column.name])
                          for column in view.columns)] for row in view.rows]
    if view.table.transposed:
        header, *rows = [list(line) for line in zip(header, *rows, strict=True)]
        header[0] = ""
    return Sheet(title(view), header, rows)


def details(view: View) -> Sheet:
    """Return one line per cell that has a score of ours."""
    header = ["system", "column", "published", "ours [95 %]", "over folds", "std over seeds",
              "difference", "from"]
    sheet = Sheet("Ours beside the published", header, words=2)
    for entry in view.entries.values():
        ours, column = entry.ours, entry.column
        if ours is None:
            continue
        origin = "counted" if column.computed else "repository" if ours.committed else "here"
        sheet.rows.append([
            entry.row.title, column.title, cells.published(column, entry.published),
            cells.score(column, ours), cells.spread(column, ours.fold_mean, ours.fold_std),
            cells.value(column, ours.seed_std), cells.difference(entry), origin])
    return sheet


def runs(view: View) -> Sheet:
    """Return one line per run: how it stands, its command, the systems that it is for."""
    sheet = Sheet("Runs", ["state", "command", "for", "left"], words=4)
    needs = {need: row.title for row in view.rows for need in row.needs}
    for need, row_title in needs.items():
        state = view.stock.standing(need)
        sheet.rows.append([state.state, need.command, f"before {row_title}", state.why or ""])
    for run in view.runs():
        rows = dict.fromkeys(e.row.title for e in view.entries.values() if e.run == run)
        standing = view.stock.standing(run)
        kept = any(run.recipe in e.row.results for e in view.entries.values() if e.run == run)
        state = "in repository" if kept and standing.state != "done" else standing.state
        sheet.rows.append([state, run.command, "; ".join(rows), standing.why or ""])
    if not any(row[3] for row in sheet.rows):
        sheet = Sheet(sheet.title, sheet.header[:3], [row[:3] for row in sheet.rows], words=3)
    return sheet


def markdown(views: list[View], heading: str | None = None) -> str:
    """Return tables with their remarks, sources and commands."""
    parts = [GENERATED, *([f"# {heading}"] if heading else [])]
    for view in views:
        parts += [f"## {inline(title(view))}", render(grid(view))]
        parts += [f"* {inline(line)}" for line in cells.remarks(view)]
        told = cells.sources(view)
        parts += [f"* Sources: {inline('; '.join(told))}."] if told else []
        scores, made = details(view), runs(view)
        parts += [render(scores)] if scores.rows else []
        parts += [_with_code(made)] if made.rows else []
    return _joined(parts)


def code(command: str) -> str:
    """Return a command as code that a cell of Markdown may hold."""
    return f"`{command}`".replace("|", "\\|")


def _with_code(sheet: Sheet) -> str:
    """Render a sheet whose second column holds commands."""
    plain = Sheet(sheet.title, sheet.header, [[row[0], "", *row[2:]] for row in sheet.rows],
                  sheet.words)
    head, marks, *lines = render(plain).splitlines()
    lines = [line.replace("|  |", f"| {code(row[1])} |", 1)
             for line, row in zip(lines, sheet.rows, strict=True)]
    return "\n".join([head, marks, *lines])


def _joined(parts: list[str]) -> str:
    text = "\n\n".join(parts) + "\n"
    return re.sub(r"(\n\* [^\n]*)\n(?=\n\* )", r"\1", text)


SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
           "—": "---", "–": "--", "−": "$-$", "±": r"$\pm$", "†": r"\dag{}",
           **{character: f"\\{character}" for character in "&%$#_{}"}}


def escaped(text: str) -> str:
    """Return text that LaTeX prints as it is."""
    return "".join(SPECIAL.get(character, character) for character in text)


def latex(views: list[View]) -> str:
    """Return one `table` environment per table; needs no package."""
    parts = []
    for view in views:
        sheet = grid(view)
        label = re.sub(r"[^A-Za-z0-9]+", "-", view.table.name)
        lines = ["% Made by code from sertools/tables and results.json.", r"\begin{table}",
                 rf"\caption{{{escaped(sheet.title)}}}", rf"\label{{tab:{label}}}",
                 rf"\begin{{tabular}}{{l{'r' * (len(sheet.header) - 1)}}}", r"\hline"]
        for number, row in enumerate([sheet.header, *sheet.rows]):
            # A row that begins with [ would be read as the line break's argument.
            lines.append(" & ".join("{}" + escaped(cell) if cell.startswith("[") else escaped(cell)
                                    for cell in row) + r" \\")
            lines += [r"\hline"] if number == 0 else []
        lines += [r"\hline", r"\end{tabular}"]
        lines += [rf"\par {escaped(line)}" for line in cells.remarks(view)]
        parts.append("\n".join([*lines, r"\end{table}"]))
    return "\n\n".join(parts) + "\n"


def to_csv(views: list[View]) -> str:
    """Return one line per cell with all digits."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["table", "row", "column", "recipe", "metric", "published", "published_std",
                     "source", "user", "ours", "low", "high", "mean_over_folds", "std_over_folds",
                     "std_over_seeds", "difference", "not_comparable", "state", "command"])
    for view in views:
        for entry in view.entries.values():
            cell, ours, run = entry.published, entry.ours, entry.run
            writer.writerow([
                view.table.name, entry.row.name, entry.column.name, entry.column.recipe,
                entry.column.metric or entry.column.computed,
                *((cell.value, cell.std, cell.source, "yes" if cell.user else "no") if cell
                  else (None,) * 4),
                *((ours.pooled, ours.low, ours.high, ours.fold_mean, ours.fold_std, ours.seed_std)
                  if ours else (None,) * 6),
                entry.difference, entry.apart, view.stock.standing(run).state if run else None,
                run.command if run else None])
    return buffer.getvalue()


def written(views: list[View], form: str, heading: str | None = None) -> str:
    """Return tables in one of `FORMATS`."""
    if form == "markdown":
        return markdown(views, heading)
    return latex(views) if form == "latex" else to_csv(views)
