"""What is left to run of a table: commands, where they run, what must be done before them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path

from sertools.errors import ConfigError
from sertools.recipe.options import SWITCHES, parse
from sertools.tables.data import Row, Run, Table
from sertools.tables.recipes import faults, resolve
from sertools.tables.status import Stock, log_of

PASSED = ("nproc", "launcher", "fold", "seed", "stage", "stop_stage", "verify", "force")
"""Flags of run.py that may be passed on."""


@dataclass(frozen=True)
class Task:
    """One run to make."""

    run: Run
    argv: tuple[str, ...]
    """The whole command line, without a shell."""
    folder: Path
    """Of the recipe, in which it runs."""
    exp: Path
    """Of the experiment, for its lock."""
    log: Path
    needs: tuple[Run, ...]
    """Runs that must be done before."""


@dataclass(frozen=True)
class Extra:
    """Options that are passed on to every run."""

    options: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...] = ()
    """Flags of run.py that are no keys of a configuration."""


@dataclass(frozen=True)
class Todo:
    """What is left of a table, and what is not run now."""

    tasks: tuple[Task, ...]
    done: tuple[Run, ...]
    """Done before."""
    elsewhere: dict[Run, str]
    """Run -> who runs it now."""


def read_extra(words: list[str]) -> Extra:
    """Read options that are meant for run.py.

    Raises:
        ConfigError: they cannot be understood, or would hide results from tables.
    """
    parsed = parse(words)
    problems = [f"{parsed.config}: options begin with two dashes"] if parsed.config else []
    given = [word[2:].partition("=")[0].replace("-", "_") for word in words if word[:2] == "--"]
    keys = {name.replace("-", "_") for name in parsed.overrides}
    flags = [name for name in given if name not in keys]
    problems += [f"--{name.replace('_', '-')}: this is not passed on to rows"
                 for name in flags if name not in PASSED]
    if "data_folder" in keys:
        problems.append("--data_folder PATH: say which recipe's: --data_folder emodb=PATH")
    if problems:
        raise ConfigError("these options cannot be passed on", problems)
    found = [f"--{name.replace('_', '-')}" if name in SWITCHES
             else f"--{name.replace('_', '-')}={getattr(parsed, name)}"
             for name in dict.fromkeys(flags)]
    return Extra(tuple(parsed.overrides.items()), tuple(found))


def todo(table: Table, rows: list[str] | None, stock: Stock, data: dict[str, Path],
         extra: Extra = Extra(), lenient: bool = False,  # noqa: B008  frozen
         ours: Callable[[Path], bool] = lambda log: False) -> Todo:
    """Return the missing runs of a table, those that others need first.

    Args:
        table: the table.
        rows: names of rows; None: all.
        stock: how runs stand here.
        data: recipe -> folder of its official release.
        extra: options passed on.
        lenient: leave the folders of data open, for a look only.
        ours: says by a run's log whether what makes it now can be followed.

    Raises:
        ConfigError: unknown rows, configurations that cannot be used, folders of data that lack.
    """
    known = [row.name for row in table.rows]
    wrong = [name for name in rows or () if name not in known]
    if wrong:
        raise ConfigError(f"{table.name} has no row {', '.join(wrong)}",
                          remedy=f"its rows are {', '.join(known)}")
    wanted: dict[Run, list[Run]] = {}
    for row in table.rows:
        if rows is None or row.name in rows:
            runs = table.runs_of(row)
            # A row that is named is run here even if the repository has results of it.
            runs = [run for run in runs if rows or run.recipe not in row.results]
            _want(row, runs, stock, extra, wanted)
    done = [run for run in wanted if stock.standing(run).state == "done"]
    elsewhere = {run: stock.standing(run).why for run in wanted
                 if stock.standing(run).state == "running" and not ours(log_of(stock.egs, run))}
    left = [run for run in wanted if run not in done and run not in elsewhere]
    # An option that is no key names no other experiment: those that are done may not hide it.
    problems = faults(stock.egs, list(wanted) if extra.options else left)
    if problems:
        raise ConfigError(f"{table.name} cannot be run; nothing was started", problems)
    lacking = {} if lenient else _lacking(stock.egs, left, data)
    if lacking:
        rest = [recipe for recipe in dict.fromkeys(run.recipe for run in table.runs(rows))
                if _whole(recipe, wanted, left, lacking)]
        raise ConfigError(
            f"{table.name} cannot be run; nothing was started", list(lacking.values()),
            remedy=f"`--recipes {','.join(rest)}` runs the rest" if rest else None)
    return Todo(tuple(_task(stock.egs, run, wanted[run], data, extra) for run in left),
                tuple(done), elsewhere)


def _want(row: Row, runs: list[Run], stock: Stock, extra: Extra, wanted: dict[Run, list]) -> None:
    egs = stock.egs
    for run in runs:
        mine = Run(run.recipe, run.config, _merged(run.options, extra.options))
        if stock.standing(mine).state == "done":  # what it needed is not asked for again
            wanted.setdefault(mine, [])
            continue
        mine = _alike(egs, mine, wanted)
        before = [_unchanged(egs, need, extra) for need in row.needs]
        before = [_alike(egs, need, {**wanted, mine: []}) for need in before]
        if mine in before:  # a row may need the run of one of its own recipes
            before = before[:before.index(mine)]
        for number, each in enumerate([*before, mine]):
            known = wanted.setdefault(each, [])
            known += [other for other in before[:number] if other not in (each, *known)]


def _alike(egs: Path, run: Run, wanted: dict[Run, list]) -> Run:
    """Return the run that is wanted already and makes the same experiment, else this one."""
    if run in wanted:
        return run
    return next((other for other in wanted if other.recipe == run.recipe
                 and other.config == run.config and _place(egs, other) == _place(egs, run)), run)


def _place(egs: Path, run: Run) -> Path | Run:
    plan = resolve(egs, run).plan
    return plan.places.exp if plan else run


def _merged(*options: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple({name: value for each in options for name, value in each}.items())


def _unchanged(egs: Path, need: Run, extra: Extra) -> Run:
    """Return a run that others need with those options that leave its name as it is."""
    tag, kept = resolve(egs, need).plan, ()
    for option in extra.options if tag else ():
        tried = resolve(egs, Run(need.recipe, need.config, _merged(need.options, kept, (option,))))
        if not tried.problems and tried.plan.places.tag == tag.places.tag:
            kept = (*kept, option)
    return Run(need.recipe, need.config, _merged(need.options, kept))


def _lacking(egs: Path, runs: list[Run], data: dict[str, Path]) -> dict[str, str]:
    """Return recipe -> what lacks of its data."""
    recipes = list(dict.fromkeys(run.recipe for run in runs
                                 if run.recipe in data or resolve(egs, run).needs_data))
    lacking = {recipe: f"{recipe}: where is its official release? --data_folder {recipe}=FOLDER"
               for recipe in recipes if recipe not in data}
    return lacking | {recipe: f"{recipe}={data[recipe]}: there is no such folder"
                      for recipe in recipes if recipe in data and not data[recipe].is_dir()}


def _whole(recipe: str, wanted: dict[Run, list[Run]], left: list[Run],
           lacking: Container[str]) -> bool:
    """Return whether there is something to run of a recipe, and no data of it or before it lack."""
    found = [run for run in left if run.recipe == recipe]
    for run in found:  # grows
        found += [need for need in wanted[run] if need in left and need not in found]
    return bool(found) and not any(run.recipe in lacking for run in found)


def _task(egs: Path, run: Run, needs: list[Run], data: dict[str, Path], extra: Extra) -> Task:
    words = [sys.executable, "run.py", *run.arguments]
    if run.recipe in data:
        words += ["--data_folder", os.path.abspath(data[run.recipe])]
    exp = egs / run.recipe / "exp" / resolve(egs, run).plan.places.tag
    return Task(run, tuple([*words, *extra.words]), egs / run.recipe, exp, log_of(egs, run),
                tuple(needs))
