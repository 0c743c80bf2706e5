"""What the benchmarks share: options, runs in turns, figures, tables."""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy
import sertools  # noqa: F401  mends torchaudio before anything imports it
import torch
from rich.console import Console
from rich.table import Table
from sertools.files import write_json

Says = Callable[[dict, str, dict], str]
"""Returns what a table says of a run, from its row, its name and its figures."""


def parser(description: str) -> argparse.ArgumentParser:
    """Return a command line with the options of all benchmarks."""
    made = argparse.ArgumentParser(description=description.splitlines()[0])
    made.add_argument("--device", default="cpu", help="cpu or cuda")
    made.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch")
    made.add_argument("--repeats", type=int, default=5, help="measurements of each, in turns")
    made.add_argument("--clock", choices=("wall", "cpu"), default="wall",
                      help="cpu: processor time of this process, for busy machines")
    made.add_argument("--out", type=Path, help="JSON file for the results")
    return made


def report(
    options: argparse.Namespace, cases: Iterable[dict], columns: Mapping[str, Says], texts: int
) -> None:
    """Print a row of figures as soon as it is known, all rows at the end, and write JSON.

    Args:
        options: of the command line.
        cases: rows, each measured when it is asked for; "runs" holds the figures by name of a run.
        columns: of the table, by heading.
        texts: how many columns at its left are words.
    """
    rows = []
    for row in cases:
        rows.append(row)
        show(rows[-1:], columns, texts)
    show(rows, columns, texts)
    if options.out:
        write_json(options.out, {**conditions(options), "rows": rows,
                                 "load_at_end": os.getloadavg()})


def show(rows: Sequence[dict], columns: Mapping[str, Says], texts: int) -> None:
    """Print rows as a table; see `report`."""
    table = Table()
    for place, heading in enumerate(columns):
        table.add_column(heading, justify="left" if place < texts else "right")
    for row in rows:
        for name, run in row["runs"].items():
            table.add_row(*(says(row, name, run) for says in columns.values()))
        table.add_section()
    Console(width=118).print(table)


# Seconds


def in_turns(runs: dict[tuple, Callable], options: argparse.Namespace) -> dict[tuple, list[float]]:
    """Return seconds of every repetition, after a round that warms up.

    With `options.clock` "cpu" they are processor time of this process, all threads together: on a
    busy machine, with one thread, they tell more than the time that passed.
    """
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    spent: dict[tuple, list[float]] = {key: [] for key in runs}
    for turn in range(options.repeats + 1):
        for key in sorted(runs, reverse=bool(turn % 2)):
            wait(options.device)
            began = clock()
            runs[key]()
            wait(options.device)
            if turn:
                spent[key].append(clock() - began)
    return spent


def several(runs: dict[tuple, Callable], often: int, options) -> dict[tuple, list[float]]:
    """Return seconds as `in_turns` does, of runs that are too short to be measured one by one."""
    spent = in_turns({key: lambda run=run: [run() for _ in range(often)]
                      for key, run in runs.items()}, options)
    return {key: [seconds / often for seconds in times] for key, times in spent.items()}


def figures(spent: dict[tuple, list[float]], reference: tuple) -> dict[str, dict[str, float]]:
    """Return by name of a run its seconds, and how many times faster than the reference it is.

    Seconds are the median, the least beside; the ratio is that of medians, its range that of
    repetitions of the same turn.
    """
    base, found = spent[reference], {}
    for key, times in spent.items():
        pairs = sorted(a / b for a, b in zip(base, times, strict=True))
        seconds = statistics.median(times)
        found[" ".join(key)] = {
            "seconds": seconds, "least": min(times), "ratio": statistics.median(base) / seconds,
            "ratio_low": pairs[0], "ratio_high": pairs[-1]}
    return found


def of_pairs(row: dict, name: str, run: dict) -> str:
    """Return the range of the ratio, as a table says it."""
    return f"{run['ratio_low']:.2f} to {run['ratio_high']:.2f}"


def difference(row: dict, name: str, run: dict) -> str:
    """Return how far a run's outcome is from the reference's, as a table says it."""
    apart = row.get("difference", {}).get(name)
    return "" if apart is None else f"{apart:.0e}"


def megabytes(row: dict, name: str, run: dict) -> str:
    """Return the peak memory, as a table says it; the JSON tells why a run failed."""
    return "failed" if "failed" in run else str(run.get("megabytes_peak", ""))


def distance(value: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the norm of the difference over the norm of what is wanted."""
    return float((value.float() - wanted.float()).norm() / wanted.float().norm())


def wait(device: str) -> None:
    """Let the device finish what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


# Inputs and circumstances


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """Return the context of a precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def waveforms(batch: int, length: float, device: str) -> torch.Tensor:
    """Return (B, L) noise of unit variance."""
    draw = torch.Generator().manual_seed(1)
    return torch.randn(batch, round(16000 * length), generator=draw).to(device)


def conditions(options: argparse.Namespace) -> dict:
    """Return what the figures depend on: options, versions, the device."""
    cuda = options.device.startswith("cuda")
    given = {name: str(value) if isinstance(value, Path) else value
             for name, value in vars(options).items() if name != "child"}
    return {
        **given, "torch": torch.__version__, "numpy": numpy.__version__, "load": os.getloadavg(),
        "device": torch.cuda.get_device_name() if cuda else torch.backends.cpu.get_cpu_capability(),
    }
