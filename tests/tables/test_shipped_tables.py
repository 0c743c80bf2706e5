"""The tables that come with sertools: whole, runnable as they stand, with sources, installed."""

import fnmatch
import re

import pytest
from sertools.tables import PAPERS, read_registry
from sertools.tables.deep import problems
from sertools.tables.matrix import matrix_page
from sertools.tables.pages import renewed
from sertools.tables.status import Stock


@pytest.fixture(scope="module")
def registry(repository):
    return read_registry(repository / "egs")


def test_every_command_can_be_used(registry, repository):
    """Configurations, option keys, classes, models, and what rows need, of several hundred runs."""
    assert problems(registry, repository / "egs") == []


def test_results_of_rows_are_those_of_their_system_and_corpus(registry, repository):
    """A result in the repository was made with the configuration that stands beside it."""
    stock, wrong, looked = Stock(repository / "egs", local=False), [], 0
    for table in registry.tables:
        for row in table.rows:
            for recipe in row.results:
                made, looked = stock.committed(row, recipe)["experiment"], looked + 1
                config = row.configs.get(recipe, made["system"])
                if (made["system"], made["corpus"]) != (config, recipe):
                    wrong.append(f"{table.name}: {row.name}: {recipe}: {made}")
    assert looked and wrong == []


def test_a_value_outside_its_scale_is_a_slip(registry):
    """Shares stand in percent (a share of 1 would be 0.9 %), CCC between -1 and 1."""
    for table in registry.tables:
        for row in table.rows:
            for column in table.columns:
                cell = row.cells.get(column.name)
                if cell is None or column.metric is None:
                    continue
                low, high = (-1, 1) if column.metric.startswith("CCC") else (1, 100)
                assert low <= cell.value <= high, f"{table.name}: {row.name}: {column.name}"


def test_the_files_are_installed_with_the_package(repository):
    text = (repository / "setup.py").read_text()
    pattern = re.search(r'"sertools.tables": \["([^"]+)"\]', text)[1]
    files = [path.relative_to(PAPERS.parent).as_posix() for path in PAPERS.rglob("*.yaml")]
    assert files and all(fnmatch.fnmatch(file, pattern) for file in files)


def test_sections_of_pages_are_up_to_date(registry, repository):
    stale = renewed(registry, repository / "egs")
    assert not stale, f"python utils/tables.py pages: {[path.name for path in stale]}"


def test_the_matrix_is_up_to_date(registry, repository):
    """A table that was added or changed: `python utils/tables.py matrix`."""
    page = (repository / "egs/README.md").read_text(encoding="utf-8")
    assert page == matrix_page(registry, Stock(repository / "egs", local=False))
