"""Compare our encoder with that of the transformers library: same weights, same input, in turns.

    python benchmarks/encoder.py --model base --threads 2 --out encoder.json

Every repetition runs both one after the other in the same process, so that whatever else the
machine does meets both alike: read the ratios, not the seconds. Weights are random, which neither
speed nor agreement depends on.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import sertools  # noqa: F401  mends torchaudio before anything imports it
import torch
import transformers
from rich.console import Console
from rich.table import Table
from sertools.files import write_json
from sertools.models.precision import cast_matrices
from sertools.models.weights import load_encoder
from torch import nn

SIZES = {
    "base": {},
    "large": {
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    },
}


def main() -> None:
    """Run all cases, print a table and write JSON."""
    options = parse()
    torch.set_num_threads(options.threads)
    theirs, ours, once = build(options.model)
    rows = []
    for text in options.cases:
        batch, seconds = map(int, text.split("x"))
        waveforms = 0.1 * torch.randn(batch, 16000 * seconds)
        for precision in options.precision:
            case = {"batch": batch, "length": seconds, "precision": precision}
            runs = {
                "transformers": forward(theirs, waveforms, precision),
                "sertools": forward(ours, waveforms, precision),
            }
            if precision == "bf16":
                runs["sertools, cast once"] = forward(once, waveforms, precision)
            rows.append({"task": "inference", **case, **compare(runs, options.repeats)})
            if options.training:
                runs = {
                    "transformers": training(theirs, waveforms, precision),
                    "sertools": training(ours, waveforms, precision),
                }
                rows.append({"task": "training", **case, **compare(runs, options.repeats)})
            show(rows[-2 if options.training else -1 :])
    show(rows)
    if options.out:
        write_json(options.out, {**environment(options), "rows": rows})


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=SIZES, default="base", help="WavLM Base or Large")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch")
    parser.add_argument("--cases", nargs="+", default=["8x5", "1x10"], help="utterances x seconds")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each, in turns")
    parser.add_argument(
        "--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"]
    )
    parser.add_argument("--training", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    return parser.parse_args()


def build(size: str) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Return transformers' WavLM, ours with the same weights, and ours with matrices cast once."""
    torch.manual_seed(0)
    config = transformers.WavLMConfig(layerdrop=0.0, **SIZES[size])
    theirs = transformers.WavLMModel(config).eval()
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours, once = (load_encoder(folder, normalise_waveform=False) for _ in range(2))
    return theirs, ours, cast_matrices(once.requires_grad_(False), torch.bfloat16)


def forward(model: nn.Module, waveforms: torch.Tensor, precision: str) -> Callable:
    """Return a function that encodes once and returns the last layer."""

    def run() -> torch.Tensor:
        with torch.no_grad(), autocast(precision):
            return last(model(waveforms))

    return run


def training(model: nn.Module, waveforms: torch.Tensor, precision: str) -> Callable:
    """Return a function that runs forward and backward pass (no dropout) and returns a gradient."""

    def run() -> torch.Tensor:
        model.zero_grad(set_to_none=True)
        with autocast(precision):
            frames = last(model(waveforms))
        frames.float().square().mean().backward()
        return frames.detach()

    return run


def autocast(precision: str) -> torch.autocast:
    """Return the context of a precision on a CPU."""
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")


def last(output) -> torch.Tensor:
    """Return the last layer of either model."""
    return output.last if hasattr(output, "last") else output.last_hidden_state


def compare(runs: dict[str, Callable], repeats: int) -> dict:
    """Run all in turns, after a round that warms up; return seconds and agreement.

    Processor time is that of all threads; with one thread it hardly depends on other processes.
    """
    frames = {name: run().float() for name, run in runs.items()}
    wall: dict[str, list[float]] = {name: [] for name in runs}
    processor: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats):
        for name in sorted(runs, reverse=bool(turn % 2)):
            began, began_processor = time.perf_counter(), time.process_time()
            runs[name]()
            wall[name].append(time.perf_counter() - began)
            processor[name].append(time.process_time() - began_processor)
    wanted = frames["transformers"]
    return {
        "seconds": {name: statistics.median(values) for name, values in wall.items()},
        "processor_seconds": {name: statistics.median(v) for name, v in processor.items()},
        "speed": _relative(wall, statistics.median),
        "speed_of_least": _relative(wall, min),
        "speed_by_processor_time": _relative(processor, statistics.median),
        "largest_difference": {n: float((f - wanted).abs().max()) for n, f in frames.items()},
    }


def _relative(spent: dict[str, list[float]], summary: Callable) -> dict[str, float]:
    """Return how many times faster than transformers each one is."""
    return {name: summary(spent["transformers"]) / summary(own) for name, own in spent.items()}


def show(rows: list[dict]) -> None:
    """Print rows as a table."""
    table = Table()
    for heading in ("task", "batch", "precision", "model"):
        table.add_column(heading)
    for heading in ("seconds", "audio s/s", "speed", "least", "processor", "difference"):
        table.add_column(heading, justify="right")
    for row in rows:
        audio = row["batch"] * row["length"]
        for name, seconds in row["seconds"].items():
            table.add_row(
                row["task"],
                f"{row['batch']} x {row['length']} s",
                row["precision"],
                name,
                f"{seconds:.3f}",
                f"{audio / seconds:.1f}",
                f"{row['speed'][name]:.2f}",
                f"{row['speed_of_least'][name]:.2f}",
                f"{row['speed_by_processor_time'][name]:.2f}",
                f"{row['largest_difference'][name]:.1e}",
            )
        table.add_section()
    Console(width=118).print(table)


def environment(options: argparse.Namespace) -> dict:
    """Return what the figures depend on."""
    return {
        "model": f"WavLM {options.model}",
        "threads": options.threads,
        "repeats": options.repeats,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "load": os.getloadavg(),
    }


if __name__ == "__main__":
    main()
