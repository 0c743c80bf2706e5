#!/usr/bin/env python
"""Show, run and write the papers' tables.

python utils/tables.py list                                   every table: rows done and left
python utils/tables.py show vesper/main                       published beside ours
python utils/tables.py compare vesper/main vesper4 vesper12   is their difference one
python utils/tables.py run vesper/main --recipes iemocap --data_folder iemocap=/corpora/IEMOCAP
python utils/tables.py run vesper/main --rows vesper4 --gpus 0,1 --dry-run
python utils/tables.py run vesper/main --smoke                does every row run, in a small form
python utils/tables.py write vesper/main --format latex --out main.tex
python utils/tables.py write --recipe emodb --out egs/emodb/TABLES.md
python utils/tables.py check                                  can every command be used
python utils/tables.py pages --check                          are generated sections up to date
python utils/tables.py matrix                                 writes egs/README.md
"""

import argparse
import os
import signal
import sys
from difflib import get_close_matches
from pathlib import Path

from sertools.errors import ConfigError, UserError
from sertools.files import write_text
from sertools.tables import PAPERS, read_registry
from sertools.tables.data import Registry, Table
from sertools.tables.published import VARIABLE, with_published
from sertools.tables.status import Stock

EGS = Path(__file__).resolve().parents[1] / "egs"
WIDE = 122
"""Columns from which a terminal holds all of `list`."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options, further = parser().parse_known_args(arguments)
    try:
        if further and options.command is not run:
            raise ConfigError(f"these options are unknown: {' '.join(further)}",
                              remedy="see --help")
        options.further = further
        options.egs = Path(os.path.abspath(options.egs))
        return options.command(options)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def registry_of(options: argparse.Namespace) -> Registry:
    """Return all tables, with the values that the user adds."""
    lacking = [str(folder) for folder in (options.egs, options.papers) if not folder.is_dir()]
    if lacking:
        raise ConfigError("there is no such folder", lacking)
    registry = read_registry(options.egs, options.papers)
    added = options.published or os.environ.get(VARIABLE)
    return with_published(registry, Path(added)) if added else registry


def table_of(options: argparse.Namespace) -> Table:
    """Return the table that was named.

    Raises:
        ConfigError: there is none of that name.
    """
    tables = registry_of(options).tables
    found = [table for table in tables if options.table in (table.name, table.file)]
    if len(found) != 1:
        names = [table.name for table in found] or near(options.table, tables)
        raise ConfigError(f"{options.table}: there is no such table" if not found else
                          f"{options.table}: several papers have such a table",
                          remedy=(f"is it {' or '.join(names)}? " if names else "")
                          + "`python utils/tables.py list` shows all")
    return found[0]


def near(word: str, tables: list[Table]) -> list[str]:
    """Return names of tables that look like a word."""
    files = get_close_matches(word.rpartition("/")[2], [table.file for table in tables], 3)
    names = get_close_matches(word, [table.name for table in tables], 3, 0.75)
    names += [table.name for table in tables if table.file in files]
    return list(dict.fromkeys(names))[:5]


def check(options: argparse.Namespace) -> int:
    """Look whether every command of every table can be run as it stands."""
    from sertools.tables.deep import problems

    registry = registry_of(options)
    found = problems(registry, options.egs)
    if found:
        raise ConfigError("commands of tables cannot be used", found)
    print(f"{sum(len(table.runs()) for table in registry.tables)} commands can be used")
    return 0


def list_tables(options: argparse.Namespace) -> int:
    """Print one line per table."""
    from sertools.report.terminal import print_tables, terminal_width
    from sertools.tables.overview import LEGEND, listing, total

    registry = registry_of(options)
    papers = [paper for paper in registry.papers if options.paper in (None, paper.name)]
    if not papers:
        raise ConfigError(f"{options.paper}: there is no such paper", remedy="the papers are "
                          f"{', '.join(paper.name for paper in registry.papers)}")
    tables, stock = [table for paper in papers for table in paper.tables], Stock(options.egs)
    told = [f"{paper.name}: {paper.authors}: {paper.title}"
            + (f", arXiv {paper.arxiv}" if paper.arxiv else "") for paper in papers]
    width = terminal_width()
    print_tables([listing(tables, stock, narrow=width is not None and width < WIDE)],
                 [total(tables, stock), LEGEND, "", *told], [])
    return 0


def show(options: argparse.Namespace) -> int:
    """Print a table: published beside ours, then every score of ours and the runs."""
    from sertools.report.terminal import print_tables, terminal_width
    from sertools.tables import render
    from sertools.tables.fit import fitted, sparse
    from sertools.tables.remarks import remarks
    from sertools.tables.view import view

    found = view(table_of(options), Stock(options.egs))
    sheets = [sheet for sheet in (render.grid(found), *render.details(found)) if sheet.rows]
    width, made = terminal_width(), render.runs(found)
    if width is not None:
        sheets = [part for sheet in sheets for part in fitted(sparse(sheet), width)]
    print_tables(sheets, remarks(found), [])
    print(*(["", *render.lines_of(made)] if made.rows else []), sep="\n")
    return 0


def compare(options: argparse.Namespace) -> int:
    """Say whether two rows differ: paired over speakers, for every corpus both are done on."""
    from sertools.report.terminal import print_tables, terminal_width
    from sertools.tables.against import against, remarks, sheet_of
    from sertools.tables.fit import fitted

    found = against(table_of(options), [options.first, options.second], Stock(options.egs),
                    options.metric)
    sheet, width = sheet_of(found), terminal_width()
    sheets = fitted(sheet, width) if width is not None else [sheet]
    print_tables(sheets if found.scores else [], remarks(found), [])
    if not found.scores:
        raise ConfigError(f"{options.first} and {options.second} cannot be compared yet",
                          remedy="`show` says which runs are left")
    return 0


def run(options: argparse.Namespace) -> int:
    """Make the runs of a table that are missing."""
    from sertools.tables.running import run_table

    return smoke(options) if options.smoke else run_table(table_of(options), options)


def smoke(options: argparse.Namespace) -> int:
    """Make all runs of a table in a small form, in a temporary folder.

    Raises:
        ConfigError: the checkout's imitations of releases and encoders are not there.
    """
    tests, table = EGS.parent / "tests/egs", table_of(options)
    if not (tests / "smoke_rows.py").is_file():
        raise ConfigError(f"--smoke: {tests} with its imitations of releases is not there",
                          remedy="use a checkout of the whole repository")
    if options.further:
        raise ConfigError(f"--smoke takes no options of run.py: {' '.join(options.further)}")
    os.environ["HF_HUB_OFFLINE"] = "1"  # everything is made here
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # of imitations there is little to say
    sys.path.insert(0, str(tests))
    from sertools.tables.running import of_recipes, row_names
    from smoke_rows import try_rows

    return try_rows(of_recipes(table, options.recipes), row_names(options.rows), EGS.parent)


def write(options: argparse.Namespace) -> int:
    """Write a table, or all tables of a recipe, as Markdown, LaTeX or CSV."""
    from sertools.tables.render import written
    from sertools.tables.view import view

    if (options.table is None) == (options.recipe is None):
        raise ConfigError("write: name a table, or a recipe with --recipe")
    stock, heading = Stock(options.egs), None
    if options.table:
        views = [view(table_of(options), stock)]
    else:
        name, heading = options.recipe, f"Tables of {options.recipe}"
        tables = [table for table in registry_of(options).tables
                  if any(column.recipe == name for column in table.columns)]
        if not tables:
            raise ConfigError(f"{name}: no table has a column of this recipe")
        views = [view(table, stock, lambda column: column.recipe == name) for table in tables]
    text = written(views, options.format, heading)
    if options.out:
        print(saved(options.out, text))
    else:
        print(text, end="")
    return 0


def saved(path: Path, text: str) -> Path:
    """Write a file.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        return write_text(path, text)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}",
                          remedy="name another file with --out") from error


def pages(options: argparse.Namespace) -> int:
    """Make the marked sections of Markdown files again, or say which are out of date."""
    from sertools.tables.pages import renewed

    stale = renewed(registry_of(options), options.egs)
    return settle(stale, options.check, "python utils/tables.py pages")


def matrix(options: argparse.Namespace) -> int:
    """Write egs/README.md, or say whether it is out of date."""
    from sertools.tables.matrix import matrix_page

    path = Path(options.out or options.egs / "README.md")
    text = matrix_page(registry_of(options), Stock(options.egs, local=options.local))
    there = path.read_text(encoding="utf-8") if path.is_file() else None
    return settle({path: text} if text != there else {}, options.check,
                  "python utils/tables.py matrix")


def settle(stale: dict[Path, str], check: bool, command: str) -> int:
    """Write what is out of date, or with `check` name it; return the exit code."""
    for path, text in stale.items():
        print(f"{path} is out of date" if check else saved(path, text))
    if stale and check:
        print(f"To mend it: {command}")
    return 1 if stale and check else 0


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    from sertools.tables.running import run_options

    formatter = argparse.RawDescriptionHelpFormatter
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--published", metavar="FILE",
                        help=f"YAML file of further published values (also {VARIABLE})")
    shared.add_argument("--egs", type=Path, default=EGS, help="folder of the recipes")
    shared.add_argument("--papers", type=Path, default=PAPERS, help="folder of the tables")
    result = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    commands = result.add_subparsers(required=True, metavar="COMMAND")

    def command(name, function, **more):
        made = commands.add_parser(name, parents=[shared], help=function.__doc__.split("\n")[0],
                                   allow_abbrev=False, **more)
        made.set_defaults(command=function)
        return made

    command("list", list_tables).add_argument("--paper", help="only this paper's")
    command("check", check)
    command("show", show).add_argument("table", help="paper/table")
    each = command("compare", compare)
    each.add_argument("table", help="paper/table")
    each.add_argument("first", help="name of a row")
    each.add_argument("second", help="name of the row that it is compared with")
    each.add_argument("--metric", help="only this score, such as UA")
    run_options(command("run", run, epilog="Every other option goes to run.py."))
    each = command("write", write)
    each.add_argument("table", nargs="?", help="paper/table")
    each.add_argument("--recipe", help="all tables with columns of this recipe")
    each.add_argument("--format", choices=("markdown", "latex", "csv"), default="markdown")
    each.add_argument("--out", type=Path, help="file; printed if left out")
    command("pages", pages).add_argument("--check", action="store_true", help="write nothing")
    each = command("matrix", matrix)
    each.add_argument("--check", action="store_true", help="write nothing")
    each.add_argument("--out", type=Path, help="another file than egs/README.md")
    each.add_argument("--local", action="store_true", help="count the experiments here, too")
    return result


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` is no error
    sys.exit(main())
