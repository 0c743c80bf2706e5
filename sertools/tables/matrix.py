"""The page egs/README.md: corpora by systems by tables, with commands and how they stand."""

from __future__ import annotations

from pathlib import Path

from sertools.report.markdown import inline, render
from sertools.report.tables import Table as Sheet
from sertools.tables import cells
from sertools.tables.data import Registry, Row, Run, Table
from sertools.tables.overview import total
from sertools.tables.pages import after
from sertools.tables.render import GENERATED, code
from sertools.tables.status import Stock

Place = tuple[Table, Row]


def matrix_page(registry: Registry, stock: Stock) -> str:
    """Return the page.

    Args:
        registry: all tables.
        stock: how runs stand; without experiments of this machine for the page of the repository.
    """
    recipes = recipes_of(stock.egs)
    runs = {recipe: _runs(registry, recipe) for recipe in recipes}
    own = ("this repository holds its results; on your machine `python utils/tables.py list` and "
           "`python utils/tables.py matrix --local --out FILE` count your experiments")
    parts = [
        GENERATED, "# Recipes, systems, tables",
        "One folder per corpus. A cell counts the runs that the tables of a paper ask for: done / "
        f"all. Done means here: {own if not stock.local else 'done on this machine'}.",
        render(_counts(registry, runs, stock)), f"{total(registry.tables, stock)} "
        f"{cells.SMALL}: small models of this project.",
        "All missing rows of a table: `python utils/tables.py run PAPER/TABLE --data_folder "
        "RECIPE=PATH`, with `--recipes A,B` on these corpora alone. A single one: the command "
        "below, in the recipe's folder, with `--data_folder PATH`. `python utils/tables.py show "
        "PAPER/TABLE` has the published values beside ours.",
        "## Tables", render(_tables(registry, runs, stock))]
    for recipe, wanted in runs.items():
        if wanted:
            parts += [f"## {recipe}", f"[Its README]({recipe}/README.md)", _commands(wanted, stock)]
    return "\n\n".join(parts) + "\n"


def recipes_of(egs: Path) -> list[str]:
    """Return the names of the recipes that are corpora."""
    return sorted(path.parent.name for path in egs.glob("*/run.py")
                  if path.parent.name not in ("TEMPLATE", "pretrain"))


def _runs(registry: Registry, recipe: str) -> dict[Run, list[Place]]:
    """Return every run of a recipe with the rows that it serves."""
    found: dict[Run, list[Place]] = {}
    for table in registry.tables:
        for row in table.rows:
            for run in table.runs_of(row):
                if run.recipe == recipe:
                    found.setdefault(run, []).append((table, row))
    return found


def _done(run: Run, places: list[Place], stock: Stock) -> bool:
    return not all(stock.left(row, run) for _, row in places)


def _counts(registry: Registry, runs: dict[str, dict[Run, list[Place]]], stock: Stock) -> Sheet:
    sheet = Sheet("", ["corpus", *(paper.system for paper in registry.papers)])
    for recipe, wanted in runs.items():
        line = [f"[{recipe}](#{recipe})" if wanted else f"[{recipe}]({recipe}/README.md)"]
        for paper in registry.papers:
            mine = {run: places for run, places in wanted.items()
                    if any(table.paper == paper.name for table, _ in places)}
            done = sum(_done(run, places, stock) for run, places in mine.items())
            line.append(f"{done} / {len(mine)}" if mine else "–")
        sheet.rows.append(line)
    return sheet


def _tables(registry: Registry, runs: dict[str, dict[Run, list[Place]]], stock: Stock) -> Sheet:
    sheet = Sheet("", ["table", "no.", "title", "rows", "runs", "corpora"], words=6)
    done = {run for wanted in runs.values() for run, places in wanted.items()
            if _done(run, places, stock)}
    for table in registry.tables:
        corpora = dict.fromkeys(column.recipe for column in table.columns if column.recipe)
        mine = table.runs()
        counted = f"{sum(run in done for run in mine)} / {len(mine)}" if mine else "–"
        sheet.rows.append([table.name, table.number or "–", table.title, str(len(table.rows)),
                           counted, ", ".join(corpora) or "–"])
    return sheet


def _commands(wanted: dict[Run, list[Place]], stock: Stock) -> str:
    """Return a list, whose long commands fold on a page where those of a table do not."""
    lines = []
    for run, places in wanted.items():
        systems = dict.fromkeys(cells.system(row) for _, row in places)
        names = dict.fromkeys(table.name for table, _ in places)
        before = [line for _, row in places for line in after(row, [run])]
        state = "done" if _done(run, places, stock) else stock.standing(run).state
        state = "left" if state == "missing" else state
        told = [f"{state}: **{inline('; '.join(systems))}** ({', '.join(names)})",
                code(run.inside), *before]
        lines.append("* " + "<br>".join(dict.fromkeys(told)))
    return "\n".join(lines)
