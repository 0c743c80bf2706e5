"""The tables that come with sertools: whole, runnable as they stand, with sources, installed."""

import fnmatch
import re

import pytest
from sertools.tables import PAPERS, read_registry
from sertools.tables.deep import problems
from sertools.tables.pages import renewed


@pytest.fixture(scope="module")
def registry(repository):
    return read_registry(repository / "egs")


def test_every_command_can_be_used(registry, repository):
    """Configurations, option keys, classes, models, and what rows need, of several hundred runs."""
    assert problems(registry, repository / "egs") == []


def test_every_published_value_names_where_it_stands(registry):
    cells = [cell for table in registry.tables for row in table.rows for cell in row.cells.values()]
    assert len(cells) > 100
    for cell in cells:
        assert re.search(r"\d|\[\w", cell.source), cell


def test_results_of_rows_are_those_of_their_commands(registry, repository):
    """A result in the repository was made by the command that stands beside it."""
    from sertools.tables.recipes import resolve
    from sertools.tables.status import Stock

    stock, wrong, looked = Stock(repository / "egs", local=False), [], 0
    for table in registry.tables:
        for row in table.rows:
            for run in table.runs_of(row):
                results = stock.committed(row, run.recipe)
                if results is None:
                    continue
                looked += 1
                tag = resolve(repository / "egs", run).plan.places.tag
                if results["experiment"]["tag"] != tag:
                    wrong.append(f"{table.name}: {row.name}: {run.recipe}: "
                                 f"{results['experiment']['tag']} is not {tag}")
    assert looked and wrong == []


def test_the_files_are_installed_with_the_package(repository):
    text = (repository / "setup.py").read_text()
    pattern = re.search(r'"sertools.tables": \["([^"]+)"\]', text)[1]
    files = [path.relative_to(PAPERS.parent).as_posix() for path in PAPERS.rglob("*.yaml")]
    assert files and all(fnmatch.fnmatch(file, pattern) for file in files)


def test_sections_of_pages_are_up_to_date(registry, repository):
    stale = renewed(registry, repository / "egs")
    assert not stale, f"python utils/tables.py pages: {[path.name for path in stale]}"
