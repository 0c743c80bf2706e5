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
import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import released_vesper as released
import torch
from rich.console import Console
from rich.table import Table
from sertools.brains.groups import sgd, whole_optimizer
from sertools.files import write_json
from sertools.models.encoder import prepare
from sertools.models.heads import UtteranceHead, masked_mean
from sertools.models.precision import cast_matrices
from sertools.models.presets import build_encoder
from sertools.models.vesper import WEIGHTS, Vesper
from sertools.objectives.emotion_masking import MaskRule, draw_masks, frame_energy
from sertools.objectives.regression import masked_regression
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from turns import autocast, conditions, in_turns, wait, waveforms
from vesper_targets import Targets

RULE = MaskRule(mask="released")  # so that both draw by the same rule
REFERENCE = ("released", "fp32")
OURS = (("sertools", "fp32"), ("sertools", "bf16"))
CACHED = ("cached convolutions", "bf16")
CLASSES = 4
SHORT = {"masks": 20, "reading": 10}
"""Tasks of milliseconds, and how often a repetition runs them."""


def main() -> None:
    """Run all tasks, print a table and write JSON."""
    options = parse()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    student = build_encoder(
        "vesper4", mask_embedding=True, num_layers=options.layers, dim=options.width,
        num_heads=options.width // 64, ffn_dim=4 * options.width)
    model = Vesper(student, options.width).to(options.device)
    with tempfile.TemporaryDirectory() as folder:
        targets = Targets(Path(folder), options)
        rows = []
        for task in options.tasks:
            rows.append(measure(task, model, targets, options))
            show(rows[-1:], options)
    show(rows, options)
    if options.out:
        write_json(options.out, {**vars(options), **conditions(options), "out": str(options.out),
                                 "rows": rows, "load_at_end": os.getloadavg()})


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=4, help="blocks: 4 or 12 as published")
    parser.add_argument("--width", type=int, default=1024, help="of the blocks, a multiple of 64")
    parser.add_argument("--batch", type=int, default=8, help="in utterances; 32 as published")
    parser.add_argument("--seconds", type=float, default=5.0, help="of an utterance")
    parser.add_argument("--clips", type=int, default=16, help="utterances of an epoch of a head")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each, in turns")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall",
                        help="cpu: processor time of this process, for busy machines")
    parser.add_argument("--peak-tflops", type=float, help="of the device, in the precision used")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    return parser.parse_args()


# Tasks: each returns runs by (name, precision), and facts to be kept


def masks(model: Vesper, targets: Targets, options) -> tuple[dict, dict]:
    """Energies and both masks of a batch."""
    waves, counts = prepared(model, options)
    config = model.config
    return {REFERENCE: lambda: released.draw_masks(released.energy(waves), counts, RULE),
            OURS[0]: lambda: our_masks(waves, counts, config)}, {}


def reading(model: Vesper, targets: Targets, options) -> tuple[dict, dict]:
    """Both targets of a batch, from files in the memory of the operating system to the device."""
    return ({REFERENCE: targets.released, ("sertools", "fp16 files"): targets.ours},
            {"megabytes per utterance": targets.megabytes()})


def step(model: Vesper, targets: Targets, options, read: bool = False) -> tuple[dict, dict]:
    """One step; with `read`, the targets are read from files first."""
    waves, counts = prepared(model, options)
    raw = waveforms(options.batch, options.seconds, options.device)
    padded = torch.zeros(len(waves), int(counts[0]), dtype=torch.bool, device=waves.device)
    ready = {"released": targets.released(), "sertools": targets.ours()}
    with torch.no_grad():
        local = model.convolve(waves, normalised=True).half()
    make = whole_optimizer(1e-7, 0.01, (0.9, 0.999), 1e-8)
    optimizers = {key: make(model) for key in (*OURS, CACHED)}
    optimizers[REFERENCE] = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=1e-7, weight_decay=0.01)

    def one(key: tuple[str, str]) -> None:
        name, precision = key
        if read:
            wanted = targets.released() if name == "released" else targets.ours()
        else:
            wanted = ready["released" if name == "released" else "sertools"]
        optimizers[key].zero_grad(set_to_none=True)
        if name == "released":
            heard = torch.nn.functional.layer_norm(raw, raw.shape[1:])
            both = released.draw_masks(released.energy(heard), counts, RULE)
            loss, terms = released.loss_of(model, heard, padded, *both, wanted)
        else:
            heard = prepare(raw, None, model.config)
            both = our_masks(heard, counts, model.config)
            with autocast(waves.device, precision):
                loss = our_loss(model, heard, both, wanted, local if key == CACHED else None)
        loss.backward()
        optimizers[key].step()
        if name == "released":
            _ = [value.item() for value in (loss, *terms)]

    facts = {"difference": loss_differences(model, waves, counts, padded, ready)}
    model.train()
    if options.peak_tflops or options.device.startswith("cuda"):
        with FlopCounterMode(display=False) as counter:
            one(OURS[0])
        facts["tflop"] = counter.get_total_flops() / 1e12
    return {key: (lambda key=key: one(key)) for key in (REFERENCE, *OURS, CACHED)}, facts


def update(model: Vesper, targets: Targets, options) -> tuple[dict, dict]:
    """A step whose targets are read from files first, in this process."""
    return step(model, targets, options, read=True)


def tuning(model: Vesper, targets: Targets, options) -> tuple[dict, dict]:
    """An epoch of a linear head on the frozen student."""
    encoder = copy.deepcopy(model.encoder).requires_grad_(False).eval()
    training = copy.deepcopy(encoder).train()
    cast = cast_matrices(copy.deepcopy(encoder), torch.bfloat16)
    head = UtteranceHead(options.layers + 1, options.width, CLASSES).to(options.device)
    optimizer = sgd(0.9, False)([{"params": list(head.parameters()), "lr": 1e-7}])
    waves = waveforms(options.clips, options.seconds, options.device)
    batches = waves.split(options.batch)
    labels = torch.arange(options.clips, device=waves.device) % CLASSES
    frames = encoder.config.frames(waves.shape[1])
    ways = {
        REFERENCE: lambda batch: as_released(training, head, batch),
        OURS[0]: lambda batch: ours_anew(encoder, head, batch, "fp32"),
        OURS[1]: lambda batch: ours_anew(cast, head, batch, "bf16"),
    }
    began = time.perf_counter()
    table = torch.cat([pooled(encoder, batch) for batch in batches])
    wait(options.device)
    once = time.perf_counter() - began
    ones = torch.ones(options.clips, dtype=torch.long, device=waves.device)

    def epoch(outputs: Callable[[int], Tensor]) -> None:
        for number, wanted in enumerate(labels.split(options.batch)):
            torch.nn.functional.cross_entropy(outputs(number), wanted).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    kept = table[:, :, None].split(options.batch)
    counts = ones.split(options.batch)
    cached = ("cached", "fp32")
    runs = {key: (lambda way=way: epoch(lambda number: way(batches[number])))
            for key, way in ways.items()}
    runs[cached] = lambda: epoch(lambda number: head(kept[number], counts[number]))
    with torch.no_grad():
        wanted = as_released(encoder, head, batches[0])
        found = {key: way(batches[0]) for key, way in ways.items() if key != REFERENCE}
        found[cached] = head(kept[0], counts[0])
    differences = {" ".join(key): float((value - wanted).norm() / wanted.norm())
                   for key, value in found.items()}
    return runs, {"seconds to fill the cache": once, "clips": options.clips, "frames": frames,
                  "difference": differences}


TASKS: dict[str, Callable] = {"masks": masks, "reading": reading, "step": step, "update": update,
                              "tuning": tuning}


# Parts


def prepared(model: Vesper, options: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Return normalised waveforms (B, L) and their frames (B,)."""
    waves = prepare(waveforms(options.batch, options.seconds, options.device), None, model.config)
    return waves, torch.full((len(waves),), model.config.frames(waves.shape[1]),
                             device=waves.device)


def our_masks(waves: Tensor, counts: Tensor, config) -> tuple[Tensor, Tensor]:
    """Return both masks (B, T) as the brain draws them."""
    frames = config.frames(waves.shape[1])
    return draw_masks(frame_energy(waves, frames, config.receptive_field, config.hop), counts, RULE)


def our_loss(model: Vesper, waves: Tensor, both: tuple[Tensor, Tensor], targets: Tensor,
             local: Tensor | None = None) -> Tensor:
    """Return the weighted loss of normalised waveforms, as the brain does."""
    said = model(waves, None, *both, local=local, normalised=True)
    lower, upper = targets.unbind(1)
    wanted = {"acoustic": (lower, both[0]), "semantic": (upper, both[1]),
              "cross": (lower, said.counted)}
    loss = torch.zeros((), device=waves.device)
    for name, (target, mask) in wanted.items():
        error, count = masked_regression(getattr(said, name), target, mask)
        loss = loss + WEIGHTS[name] * error / count
    return loss


@torch.no_grad()
def loss_differences(model: Vesper, waves, counts, padded, ready: dict) -> dict[str, float]:
    """Return how far our losses are from the released code's, for equal masks, no dropout."""
    model.eval()
    both = our_masks(waves, counts, model.config)
    wanted = float(released.loss_of(model, waves, padded, *both, ready["released"])[0])
    found = {}
    for key in OURS:
        with autocast(waves.device, key[1]):
            loss = float(our_loss(model, waves, both, ready["sertools"]))
        found[" ".join(key)] = abs(loss - wanted) / wanted
    return found


def as_released(encoder, head: UtteranceHead, waves: Tensor) -> Tensor:
    """Return outputs (B, C) as the released code computes them."""
    heard = torch.nn.functional.layer_norm(waves, waves.shape[1:])
    padded = torch.zeros(len(waves), encoder.config.frames(waves.shape[1]), dtype=torch.bool,
                         device=waves.device)
    with torch.no_grad():
        layers = released.hidden(encoder, heard, padded)
    return released.classify(head, layers, padded)


def ours_anew(encoder, head: UtteranceHead, waves: Tensor, precision: str) -> Tensor:
    """Return outputs (B, C) with the frozen encoder run again."""
    with torch.no_grad(), autocast(waves.device, precision):
        said = encoder(waves, hidden=True)
    return head(said.hidden, said.lengths)


@torch.no_grad()
def pooled(encoder, waves: Tensor) -> Tensor:
    """Return (B, N + 1, D): what a linear head needs of the cached layers."""
    said = encoder(waves, hidden=True)
    return masked_mean(torch.stack(said.hidden, 1), said.lengths)


# Measuring


def measure(task: str, model: Vesper, targets: Targets, options: argparse.Namespace) -> dict:
    """Run a task in turns; return seconds and ratios."""
    runs, facts = TASKS[task](model, targets, options)
    often = SHORT.get(task, 1)

    def several(run: Callable) -> Callable:
        return lambda: [run() for _ in range(often)]

    spent = in_turns({key: several(run) for key, run in runs.items()}, options)
    spent = {key: [seconds / often for seconds in times] for key, times in spent.items()}
    base = statistics.median(spent[REFERENCE])
    figures = {}
    for key, times in spent.items():
        seconds = statistics.median(times)
        pairs = sorted(a / b for a, b in zip(spent[REFERENCE], times, strict=True))
        figures[" ".join(key)] = {"seconds": seconds, "ratio": base / seconds,
                                  "ratio_low": pairs[0], "ratio_high": pairs[-1]}
        if "tflop" in facts:
            figures[" ".join(key)]["tflops"] = facts["tflop"] / seconds
    return {"task": task, **facts, "runs": figures}


def show(rows: list[dict], options: argparse.Namespace) -> None:
    """Print rows as a table."""
    table = Table()
    for heading in ("task", "run", "seconds", "ratio", "of pairs", "difference", "TFLOP/s"):
        table.add_column(heading, justify="left" if heading in ("task", "run") else "right")
    for row in rows:
        for name, run in row["runs"].items():
            speed = f"{run['tflops']:.2f}" if "tflops" in run else ""
            if speed and options.peak_tflops:
                speed += f" ({100 * run['tflops'] / options.peak_tflops:.0f} %)"
            apart = row.get("difference", {}).get(name)
            table.add_row(
                row["task"], name, f"{run['seconds']:.4f}", f"{run['ratio']:.2f}",
                f"{run['ratio_low']:.2f} to {run['ratio_high']:.2f}",
                "" if apart is None else f"{apart:.0e}", speed)
        table.add_section()
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
