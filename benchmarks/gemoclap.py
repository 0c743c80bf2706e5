"""Compare our GEmo-CLAP with the way of its public transcription: same weights, in turns.

    python benchmarks/gemoclap.py --threads 1 --clock cpu --out gemoclap.json
    python benchmarks/gemoclap.py --size large --seconds 4.5 --device cuda

Tasks: an update with class prompts encoded once or per utterance, on sound and on cached vectors;
an update in several passes, whose graphs are kept or whose gradients are cached, or in one; the
objective, pair by pair or as matrices; the classes of utterances, with class embeddings kept or the
text encoder run each time. References are written out in transcribed_gemoclap.py. Every repetition
runs all one after the other in the same process: read the ratios, not the seconds. Weights are
random.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from gemoclap_runs import SIZES
from gemoclap_tasks import TASKS, batch_runs
from memory import memory_in_child, memory_of
from turns import difference, figures, megabytes, of_pairs, parser, report, several


def grown(row: dict, name: str, run: dict) -> str:
    """Return the memory that an update takes beside model and libraries, as a table says it."""
    if "megabytes_peak" not in run:
        return megabytes(row, name, run)
    return str(run["megabytes_peak"] - run["megabytes_before"])


COLUMNS = {
    "task": lambda row, name, run: row["task"], "case": lambda row, name, run: row["case"],
    "precision": lambda row, name, run: row["precision"], "run": lambda row, name, run: name,
    "seconds": lambda row, name, run: f"{run['seconds']:.4f}",
    "ratio": lambda row, name, run: f"{run['ratio']:.2f}", "of pairs": of_pairs,
    "MB": grown,
    "difference": difference,
}


def main() -> None:
    """Run all cases, print a table and write JSON; or, as a child, measure one run's memory."""
    options = parse()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        if options.child:
            run = batch_runs(options, options.precision[0], Path(folder), 0.1)[options.child,]
            print(json.dumps(memory_of(run[1], options.device)))
            return
        report(options, measured(options, Path(folder)), COLUMNS, 4)


def parse() -> argparse.Namespace:
    """Read the command line."""
    made = parser(__doc__)
    made.add_argument("--size", choices=SIZES, default="small",
                      help="large as published; small has the same structure")
    made.add_argument("--batch", type=int, default=32, help="in utterances; 32 by default")
    made.add_argument("--seconds", type=float, default=1.0, help="of an utterance")
    made.add_argument("--passes", type=int, default=4, help="that an update is cut into")
    made.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    made.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    made.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    made.add_argument("--child", help=argparse.SUPPRESS)
    made.set_defaults(repeats=3)
    return made.parse_args()


def measured(options: argparse.Namespace, folder: Path) -> Iterator[dict]:
    """Measure every task; yield rows, whose reference is the first run in the same precision."""
    for task in options.tasks:
        for case, precision, runs, often, facts in TASKS[task](options, folder):
            found = figures(several(runs, often, options), next(iter(runs)))
            if task == "batch" and options.memory:
                for name, run in found.items():
                    run |= memory(name, precision, options)
            yield {"task": task, "case": case, "precision": precision, "runs": found, **facts}


def memory(name: str, precision: str, options: argparse.Namespace) -> dict:
    """Return the megabytes of an update in a process of its own: before it, and at its peak."""
    return memory_in_child(__file__, [
        "--size", options.size, "--device", options.device, "--threads", options.threads,
        "--batch", options.batch, "--seconds", options.seconds, "--passes", options.passes,
        "--precision", precision, "--child", name])


if __name__ == "__main__":
    main()
