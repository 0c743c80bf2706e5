"""Compare our Vesper with the way of its released code: same weights, same input, in turns.

    python benchmarks/vesper.py --layers 4 --batch 8 --threads 2 --out vesper.json
    python benchmarks/vesper.py --layers 12 --batch 32 --device cuda --peak-tflops 989

Tasks: the masks of a batch; reading its targets; a step of pretraining (masks, forward pass,
losses, backward pass, optimizer), also with the outputs of the frozen convolutions cached; an
update (reading and step); an epoch of training a head on the frozen student. The reference is
written out in released_vesper.py and computes in single precision. Every repetition runs all one
after the other in the same process: read the ratios, not the seconds. Weights are random.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from sertools.models.presets import build_encoder
from sertools.models.vesper import Vesper
from turns import difference, figures, of_pairs, parser, report, several
from vesper_steps import REFERENCE, masks, reading, step, update
from vesper_targets import Targets
from vesper_tuning import tuning

TASKS: dict[str, Callable] = {"masks": masks, "reading": reading, "step": step, "update": update,
                              "tuning": tuning}
SHORT = {"masks": 20, "reading": 10}
"""Tasks of milliseconds, and how often a repetition runs them."""


def main() -> None:
    """Run all tasks, print a table and write JSON."""
    options = parse()
    torch.set_num_threads(options.threads)

    def speed(row: dict, name: str, run: dict) -> str:
        if "tflops" not in run:
            return ""
        share = options.peak_tflops and f" ({100 * run['tflops'] / options.peak_tflops:.0f} %)"
        return f"{run['tflops']:.2f}{share or ''}"

    report(options, measured(options), {
        "task": lambda row, name, run: row["task"], "run": lambda row, name, run: name,
        "seconds": lambda row, name, run: f"{run['seconds']:.4f}",
        "ratio": lambda row, name, run: f"{run['ratio']:.2f}", "of pairs": of_pairs,
        "difference": difference, "TFLOP/s": speed}, 2)


def parse() -> argparse.Namespace:
    """Read the command line."""
    made = parser(__doc__)
    made.add_argument("--layers", type=int, default=4, help="blocks: 4 or 12 as published")
    made.add_argument("--width", type=int, default=1024, help="of the blocks, a multiple of 64")
    made.add_argument("--batch", type=int, default=8, help="in utterances; 32 as published")
    made.add_argument("--seconds", type=float, default=5.0, help="of an utterance")
    made.add_argument("--clips", type=int, default=16, help="utterances of an epoch of a head")
    made.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    made.add_argument("--peak-tflops", type=float, help="of the device, in the precision used")
    return made.parse_args()


def measured(options: argparse.Namespace) -> Iterator[dict]:
    """Measure every task; yield its seconds, ratios and facts."""
    torch.manual_seed(0)
    student = build_encoder(
        "vesper4", mask_embedding=True, num_layers=options.layers, dim=options.width,
        num_heads=options.width // 64, ffn_dim=4 * options.width)
    model = Vesper(student, options.width).to(options.device)
    with tempfile.TemporaryDirectory() as folder:
        targets = Targets(Path(folder), options)
        for task in options.tasks:
            runs, facts = TASKS[task](model, targets, options)
            found = figures(several(runs, SHORT.get(task, 1), options), REFERENCE)
            if "tflop" in facts:
                for run in found.values():
                    run["tflops"] = facts["tflop"] / run["seconds"]
            yield {"task": task, **facts, "runs": found}


if __name__ == "__main__":
    main()
