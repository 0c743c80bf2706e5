"""`tables.py run`: its options, what it says before, and what it says at the end."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path

from sertools.errors import ConfigError
from sertools.tables.data import Table
from sertools.tables.launch import Launcher, Outcome
from sertools.tables.places import Source
from sertools.tables.status import Stock
from sertools.tables.tasks import Todo, read_extra, todo


def run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    parser.add_argument("table", help="paper/table")
    parser.add_argument("--rows", metavar="A,B", help="only these rows (by name)")
    parser.add_argument("--recipes", metavar="A,B", help="only these recipes' columns, such as "
                        "those whose corpora you have")
    parser.add_argument("--data_folder", "--data-folder", action="append", default=[],
                        metavar="RECIPE=PATH", help="where a recipe's official release lies")
    parser.add_argument("--data", type=Path, metavar="FILE", help="YAML file of recipe: path")
    parser.add_argument("--jobs", type=int, help="runs side by side (default: one per GPU, or 1)")
    parser.add_argument("--gpus", metavar="0,1", help="GPUs that the runs take in turn")
    parser.add_argument("--dry-run", action="store_true", help="only say what would run")
    parser.add_argument("--smoke", action="store_true", help="make them in a small form instead: "
                        "tiny encoders, imitations of the corpora, a temporary folder")
    parser.add_argument("--slurm", action="store_true", help="as jobs of Slurm, by submitit")
    parser.add_argument("--partition", help="Slurm's partition")
    parser.add_argument("--minutes", type=int, default=1440, help="longest time of a Slurm job")
    parser.add_argument("--slurm-option", action="append", default=[], metavar="KEY=VALUE",
                        help="further parameter of sbatch, such as account=lab")


def run_table(table: Table, options: argparse.Namespace) -> int:
    """Make the missing runs of a table and return the exit code.

    Raises:
        ConfigError: nothing was started; every fault is listed.
    """
    _check_slurm(options)
    _check_numbers(options)
    extra = read_extra(options.further)
    data = data_folders(options)
    rows = row_names(options.rows)
    table = of_recipes(table, options.recipes)
    queue = None
    if options.slurm and not options.dry_run:
        from sertools.tables.slurm import Queue, Settings

        more = pairs("--slurm-option", options.slurm_option)
        queue = Queue(Settings(options.partition, options.minutes, more=more))
    found = todo(table, rows, Stock(options.egs), data, extra, lenient=options.dry_run,
                 ours=queue.holds if queue else lambda log: False)
    told(table, found, rows)
    if options.dry_run:
        for task in found.tasks:
            where = data.get(task.run.recipe)
            print(task.run.command, *([f"--data_folder {shlex.quote(str(where))}"]
                                      if where else []), *extra.words)
        return 0
    gpus = tuple(options.gpus.split(",")) if options.gpus else ()
    _check_gpus(gpus)
    jobs = options.jobs or len(gpus) or (len(found.tasks) if options.slurm else 1)
    ways = {"start": queue.start, "follow": queue.follow} if queue else {}
    outcome = Launcher(found.tasks, jobs, gpus, found.elsewhere, **ways).run()
    summary(outcome)
    return outcome.exit_code


def _check_slurm(options: argparse.Namespace) -> None:
    if options.slurm and options.gpus:
        raise ConfigError("--gpus and --slurm: Slurm gives every job a GPU of its own; leave "
                          "one of them out")
    if not options.slurm and (options.partition or options.slurm_option):
        raise ConfigError("--partition and --slurm-option are for --slurm")


def _check_numbers(options: argparse.Namespace) -> None:
    given = {"jobs": options.jobs, "minutes": options.minutes}
    wrong = [f"--{name} {value}: a number of at least 1 is expected"
             for name, value in given.items() if value is not None and value < 1]
    if wrong:
        raise ConfigError("these options cannot be used", wrong)


def row_names(words: str | None) -> list[str] | None:
    """Return the names of --rows; None: all rows.

    Raises:
        ConfigError: there is no name in it.
    """
    return _names(words, "--rows: names of rows are expected, such as --rows first,second")


def _names(words: str | None, expected: str) -> list[str] | None:
    if words is None:
        return None
    names = [word.strip() for word in words.split(",") if word.strip()]
    if not names:
        raise ConfigError(expected)
    return names


def of_recipes(table: Table, words: str | None) -> Table:
    """Return the table with the columns of --recipes alone; None: all.

    Raises:
        ConfigError: no column has one of these recipes.
    """
    names = _names(words, "--recipes: names of recipes are expected, such as --recipes emodb,urdu")
    if names is None:
        return table
    known = list(dict.fromkeys(column.recipe for column in table.columns if column.recipe))
    wrong = [name for name in names if name not in known]
    if wrong:
        raise ConfigError(f"{table.name} has no column of {', '.join(wrong)}",
                          remedy=f"its recipes are {', '.join(known) or 'none'}")
    return table.only(names)


def _check_gpus(gpus: tuple[str, ...]) -> None:
    if not gpus:
        return
    number, numbered = gpus_here(), all(gpu.isdecimal() for gpu in gpus)
    if not number or (numbered and "CUDA_VISIBLE_DEVICES" not in os.environ
                      and max(map(int, gpus)) >= number):
        raise ConfigError(f"--gpus {','.join(gpus)}: this machine has "
                          f"{f'GPUs 0 to {number - 1}' if number else 'no GPU'}; nothing was "
                          "started", remedy="leave --gpus out; --jobs says how many run at a time")


def gpus_here() -> int:
    """Return how many GPUs PyTorch sees."""
    import torch

    return torch.cuda.device_count()


def data_folders(options: argparse.Namespace) -> dict[str, Path]:
    """Return recipe -> folder of its official release.

    Raises:
        ConfigError: a recipe does not exist, or the file is no such file; all faults are listed.
    """
    given: dict[str, str] = {}
    if options.data:
        faults: list[str] = []
        source = Source(options.data, faults, options.data.parent)
        for name, value in source.mapping((), source.value).items():
            given[name] = source.text((name,), value) or ""
        if faults:
            raise ConfigError(f"--data {options.data}: lines `recipe: folder` are expected", faults)
    given |= pairs("--data_folder", options.data_folder)
    problems = [f"{name}: there is no recipe egs/{name}" for name in given
                if not (options.egs / name / "run.py").is_file()]
    if problems:
        raise ConfigError("these folders of data cannot be used", problems)
    return {name: Path(value).expanduser() for name, value in given.items()}


def pairs(option: str, words: list[str]) -> dict[str, str]:
    """Read KEY=VALUE words.

    Raises:
        ConfigError: one of them is something else.
    """
    wrong = [word for word in words if not all(word.partition("="))]
    if wrong:
        expected = "RECIPE=PATH" if option == "--data_folder" else "KEY=VALUE"
        raise ConfigError(f"{option}: {expected} is expected", wrong)
    return dict(word.split("=", 1) for word in words)


def told(table: Table, found: Todo, rows: list[str] | None = None) -> None:
    """Say how much there is to do."""
    number = len(found.tasks)
    print(f"{table.name}: {number} {'run' if number == 1 else 'runs'} to make, "
          f"{len(found.done)} done before")
    kept = [row.name for row in table.rows if any(run.recipe in row.results
                                                  for run in table.runs_of(row))]
    if kept and rows is None:
        print(f"results in the repository, made again with --rows: {', '.join(kept)}")
    for run, why in found.elsewhere.items():
        print(f"skipped: {run.command}: in use by {why}")


def summary(outcome: Outcome) -> None:
    """Say how it ended, each failed run with its log."""
    print(f"{len(outcome.done)} done, {len(outcome.failed)} failed, "
          f"{len(outcome.skipped)} skipped"
          + (f", {len(outcome.left)} in the queue" if outcome.left else ""))
    for run, why in outcome.failed.items():
        print(f"failed: {run.command}\n    {why}")
    if outcome.stopped and outcome.left:
        numbers = [name.removeprefix("job ") for name in outcome.left]
        print(f"no longer watched, in the queue: {', '.join(outcome.left)}; the same command "
              f"watches again\nto save and end: scancel {' '.join(numbers)}")
    elif outcome.stopped:
        print("stopped; the same command goes on")
    elif outcome.failed:
        print("the same command tries the failed ones again")
