"""What a table is: papers, tables, columns, rows, cells, and the runs behind them."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

COMPUTED = ("parameters", "trainable", "macs")
"""Columns that are counted, not trained: parameters in millions, all or the trainable ones, and
million multiply-accumulates per second of audio."""
SHARES = ("UA", "WA", "WF1", "MF1")
"""Scores that tables hold in percent; CCC and Pearson stand between -1 and 1."""


@dataclass(frozen=True)
class Run:
    """One command: a configuration of a recipe with options."""

    recipe: str
    config: str
    """Base name of hparams/<config>.yaml."""
    options: tuple[tuple[str, str], ...] = ()

    @property
    def arguments(self) -> list[str]:
        """Return what stands behind `python run.py`."""
        words = [f"hparams/{self.config}.yaml"]
        for name, value in self.options:
            words += [f"--{name}", value]
        return words

    @property
    def inside(self) -> str:
        """Return the command as it is typed in the recipe's folder."""
        return " ".join(["python run.py", *map(_quoted, self.arguments)])

    @property
    def command(self) -> str:
        """Return the command as it is typed in the repository."""
        return f"cd egs/{self.recipe} && {self.inside}"


@dataclass(frozen=True)
class Cell:
    """A published value, in the unit of its column."""

    value: float
    source: str
    std: float | None = None
    protocol: str | None = None
    """clean or paper, where it is not that of the table's published values."""
    note: str | None = None
    user: bool = False
    """Whether a user added it."""


@dataclass(frozen=True)
class Column:
    """A score of one recipe's runs, something that is counted, or published values alone."""

    name: str
    title: str
    recipe: str | None = None
    metric: str | None = None
    """As in results.json."""
    part: str | None = None
    """A further test part (`further_tests` of results.json), such as test2; None: the main one."""
    options: tuple[tuple[str, str], ...] = ()
    """Command line options of all its runs, such as another protocol."""
    computed: str | None = None
    """One of `COMPUTED`."""
    digits: int = 2
    own: bool = False
    """Whether it is this project's: of a recipe a setting that the paper does not have; without
    one, values that no run makes. Nothing of it is published."""

    @property
    def scale(self) -> float:
        """Return what a score of results.json is multiplied with: 100 for shares, else 1."""
        return 100.0 if self.metric in SHARES else 1.0

    @property
    def may_be_published(self) -> bool:
        """Return whether values of others may stand here."""
        return not self.own or (self.recipe is None and self.computed is None)


@dataclass(frozen=True)
class Row:
    """A system."""

    name: str
    title: str
    configs: dict[str, str] = field(default_factory=dict)
    """Recipe -> base name of its configuration; empty for the systems of others."""
    options: tuple[tuple[str, str], ...] = ()
    per_recipe: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    preset: str | None = None
    """What is counted in computed columns: a name that `models.account.describe` knows."""
    hours: float | None = None
    """GPU hours of one recipe's run, our estimate."""
    results: dict[str, str] = field(default_factory=dict)
    """Recipe -> file egs/<recipe>/results/<name>.json that is part of the repository."""
    needs: tuple[Run, ...] = ()
    """Runs that must be done before, each after the one that stands before it."""
    note: str | None = None
    cells: dict[str, Cell] = field(default_factory=dict)
    small: bool = False
    """Whether it is a small model of our own, which does not compare with the published ones."""
    own: bool = False
    """Whether the paper's table has no such row: a control of ours, a variant of ours."""

    def run(self, column: Column) -> Run | None:
        """Return the run behind a cell; None where there is no command."""
        config = self.configs.get(column.recipe or "")
        if config is None:
            return None
        options = dict(column.options) | dict(self.options)
        options |= dict(self.per_recipe.get(column.recipe, ()))
        return Run(column.recipe, config, tuple(options.items()))


@dataclass(frozen=True)
class Table:
    """A table of a paper, or a study of our own."""

    paper: str
    file: str
    """Base name of its YAML file."""
    title: str
    kind: str
    """published or study."""
    protocol: str
    published_protocol: str
    """The protocol of the published values."""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    number: str | None = None
    note: str | None = None
    transposed: bool = False
    """Whether it is shown with its columns as lines."""

    @property
    def name(self) -> str:
        """Return <paper>/<table>."""
        return f"{self.paper}/{self.file}"

    def runs(self, rows: list[str] | None = None) -> list[Run]:
        """Return the different runs of some rows (all), in order, without those they need."""
        chosen = [row for row in self.rows if rows is None or row.name in rows]
        found = [row.run(column) for row in chosen for column in self.columns]
        return list(dict.fromkeys(run for run in found if run))

    def runs_of(self, row: Row) -> list[Run]:
        """Return the different runs of one row."""
        return self.runs([row.name])

    def only(self, recipes: Sequence[str]) -> Table:
        """Return the table with the columns of these recipes, and what rows then need."""
        columns = tuple(column for column in self.columns if column.recipe in recipes)
        less = dataclasses.replace(self, columns=columns)
        rows = tuple(row if less.runs_of(row) else dataclasses.replace(row, needs=())
                     for row in self.rows)
        return dataclasses.replace(less, rows=rows)


@dataclass(frozen=True)
class Paper:
    """Where tables come from."""

    name: str
    title: str
    authors: str
    system: str
    """The name of its system."""
    arxiv: str | None = None
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Registry:
    """All papers."""

    papers: tuple[Paper, ...]

    @property
    def tables(self) -> list[Table]:
        """Return the tables of all papers."""
        return [table for paper in self.papers for table in paper.tables]


def _quoted(word: str) -> str:
    """Quote a word for a shell; lists of numbers and names may stay as they are."""
    plain = word.replace("[", "").replace("]", "")
    return word if plain and shlex.quote(plain) == plain else shlex.quote(word)
