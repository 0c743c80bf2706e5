"""A table's view as text: Markdown, CSV, and the tables that the terminal shows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

from sertools.report.markdown import inline, render
from sertools.report.tables import Table as Sheet
from sertools.tables import cells
from sertools.tables.data import Row, Run
from sertools.tables.latex import latex_table
from sertools.tables.remarks import flags, remarks, warnings
from sertools.tables.view import Entry, View

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
    rows = [[cells.system(row), *(cells.both(view.entries[row.name, column.name])
                          for column in view.columns)] for row in view.rows]
    if view.table.transposed:
        header, *rows = [list(line) for line in zip(header, *rows, strict=True)]
        header[0] = ""
    return Sheet(title(view), header, rows)


def details(view: View) -> list[Sheet]:
    """Return one line per cell that has a score of ours: those beside a published value, then the
    others; without columns that say nothing, and without what is counted and not published.

    A difference is that of `over folds` and `published`.
    """
    header = ["system", "column", "published", "ours [95 %]", "over folds", "std over seeds",
              "difference", "from"]
    beside = Sheet("Ours beside the published", header, words=2)
    alone = Sheet("Ours", header, words=2)
    for entry in view.entries.values():
        if entry.ours and entry.published:
            beside.rows.append(_detail(entry))
        elif entry.ours and not entry.column.computed:
            alone.rows.append(_detail(entry))
    return [_without_silent(sheet) for sheet in (beside, alone) if sheet.rows]


def _detail(entry: Entry) -> list[str]:
    ours, column = entry.ours, entry.column
    origin = "counted" if column.computed else "repository" if ours.committed else "here"
    return [cells.system(entry.row), column.title, cells.published(column, entry.published),
            cells.score(column, ours), cells.spread(column, ours.fold_mean, ours.fold_std),
            cells.value(column, ours.seed_std), cells.difference(entry), origin]


def _without_silent(sheet: Sheet) -> Sheet:
    kept = [n for n in range(len(sheet.header))
            if n < sheet.words or any(row[n] not in cells.SILENT for row in sheet.rows)]
    return Sheet(sheet.title, [sheet.header[n] for n in kept],
                 [[row[n] for n in kept] for row in sheet.rows], sheet.words)


def runs(view: View) -> Sheet:
    """Return how the runs stand; a command that recipes share is there once for each state."""
    sheet = Sheet("Runs", ["state", "command", "for", "left"], words=4)
    recipes: dict[tuple[str, ...], list[str]] = {}
    for run, state, rows, why in _standings(view):
        recipes.setdefault((state, run.inside, rows, why), []).append(run.recipe)
    for (state, inside, rows, why), same in recipes.items():
        folder = same[0] if len(same) == 1 else f"{{{','.join(same)}}}"
        sheet.rows.append([state, f"cd egs/{folder} && {inside}", rows, why])
    if not any(row[3] for row in sheet.rows):
        sheet = Sheet(sheet.title, sheet.header[:3], [row[:3] for row in sheet.rows], words=3)
    return sheet


def _standings(view: View) -> Iterator[tuple[Run, str, str, str]]:
    """Yield every run with its state, whom it is for, and what is left."""
    needs: dict[Run, list[Row]] = {}
    for row in view.rows:
        for need in row.needs:
            needs.setdefault(need, []).append(row)
    for need, rows in needs.items():
        standing = view.stock.standing(need)
        wanted = any(view.stock.left(row, run) for row in rows for run in view.table.runs_of(row))
        state = standing.state if wanted or standing.state != "missing" else "not needed"
        yield need, state, f"before {'; '.join(map(cells.system, rows))}", standing.why or ""
    for run in view.runs():
        entries = [entry for entry in view.entries.values() if entry.run == run]
        rows = dict.fromkeys(cells.system(entry.row) for entry in entries)
        standing = view.stock.standing(run)
        kept = any(run.recipe in entry.row.results for entry in entries)
        state = "in repository" if kept and standing.state != "done" else standing.state
        yield run, state, "; ".join(rows), standing.why or ""


def lines_of(sheet: Sheet) -> list[str]:
    """Return runs as lines of text; a command is on one line, to be copied."""
    found = ["Runs (a command in egs/{a,b} is one for each of these folders)" if any(
        "&&" in row[1] and "{" in row[1].split("&&")[0] for row in sheet.rows) else "Runs"]
    for state, command, rows, *why in sheet.rows:
        left = f" ({why[0]})" if why and why[0] else ""
        found += [f"  {state}{left}: {rows}", f"      {command}"]
    return found


def markdown(views: list[View], heading: str | None = None) -> str:
    """Return tables with their remarks, sources and commands."""
    parts = [GENERATED, *([f"# {heading}"] if heading else [])]
    for view in views:
        parts += [f"## {inline(title(view))}", render(grid(view))]
        parts += [f"* {inline(line)}" for line in remarks(view)]
        made = runs(view)
        for sheet in details(view):
            parts += [f"{sheet.title}:", render(sheet)]
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


def to_csv(views: list[View]) -> str:
    """Return one line per cell with all digits."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([
        "table", "row", "column", "recipe", "metric", "published", "published_std",
        "published_protocol", "source", "note", "user", "ours", "low", "high", "mean_over_folds",
        "std_over_folds", "std_over_seeds", "our_protocol", "flags", "warnings",
        "in_domain_pretraining", "difference", "not_comparable", "state", "command"])
    for view in views:
        for entry in view.entries.values():
            cell, ours, run = entry.published, entry.ours, entry.run
            writer.writerow([
                view.table.name, entry.row.name, entry.column.name, entry.column.recipe,
                entry.column.metric or entry.column.computed,
                *((cell.value, cell.std, cell.protocol or view.table.published_protocol,
                   cell.source, cell.note, _yes(cell.user)) if cell else (None,) * 6),
                *((ours.pooled, ours.low, ours.high, ours.fold_mean, ours.fold_std, ours.seed_std)
                  if ours else (None,) * 6),
                *(_said(entry) if ours and entry.results else (None,) * 4),
                entry.difference, entry.apart, view.stock.standing(run).state if run else None,
                run.command if run else None])
    return buffer.getvalue()


def _said(entry: Entry) -> tuple[str, str, str, str]:
    """Return protocol, flags, warnings, and whether the corpus was pretrained on."""
    protocol = entry.results["protocol"]
    return (protocol["protocol"], "; ".join(flags(entry.results)),
            "; ".join(warnings(entry.results)), _yes(protocol.get("in_domain_pretraining")))


def _yes(whether: bool | None) -> str:
    return "yes" if whether else "no"


def written(views: list[View], form: str, heading: str | None = None) -> str:
    """Return tables in one of `FORMATS`."""
    if form == "markdown":
        return markdown(views, heading)
    if form == "latex":
        return "\n\n".join(latex_table(view.table.name, grid(view), remarks(view))
                           for view in views) + "\n"
    return to_csv(views)
