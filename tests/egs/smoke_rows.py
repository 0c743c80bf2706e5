"""Rows of a table in small form, one line for each; `utils/tables.py run --smoke` calls this."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sertools.errors import ConfigError, UserError
from sertools.tables.data import Table
from smoke import Smoke

LINES = 12
"""How much of what a failed run printed is shown."""


def try_rows(table: Table, rows: list[str] | None, repository: Path,
             say: Callable[[str], None] = print) -> int:
    """Make the runs of a table's rows in a temporary folder; say how each row went.

    Args:
        table: of the registry.
        rows: names of rows; None: all that have commands.
        repository: the checkout.
        say: prints a line.

    Returns:
        0, or 1 if a row failed.

    Raises:
        ConfigError: rows that the table does not have.
    """
    known = [row.name for row in table.rows]
    wrong = [name for name in rows or () if name not in known]
    if wrong:
        raise ConfigError(f"{table.name} has no row {', '.join(wrong)}",
                          remedy=f"its rows are {', '.join(known)}")
    failed, tried = [], 0
    with tempfile.TemporaryDirectory() as folder:
        smoke = Smoke(repository, Path(folder))
        for row in table.rows:
            runs = list(dict.fromkeys([*row.needs, *table.runs_of(row)]))
            if not runs or (rows is not None and row.name not in rows):
                continue
            tried, start, why = tried + 1, time.perf_counter(), {}
            for run in runs:
                try:
                    smoke.run(run, row.needs)
                except (AssertionError, LookupError, OSError, UserError) as error:
                    why[run.command] = str(error).strip().splitlines()[-LINES:]
            seconds = time.perf_counter() - start
            many = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
            say(f"{row.name}: {'failed' if why else 'runs'}, {many}, {seconds:.1f} s")
            for command, lines in why.items():
                say("\n        ".join([f"    {command}", *lines]))
            failed += [row.name] if why else []
    say(f"{tried} rows, {len(failed)} failed" + (f": {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0
