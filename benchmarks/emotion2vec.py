"""Compare our emotion2vec with the way of the released code: same weights, same input, in turns.

    python benchmarks/emotion2vec.py --size base --lengths 5 20 60 --batches 1 4 --out e2v.json

Pretraining: masks, forward passes of student and teacher, losses, backward pass, optimizer and
moving average of one micro-batch. Extraction: frames of the last layer of utterances of different
lengths. The reference is written out in released_emotion2vec.py. Every repetition runs all one
after the other in the same process: read the ratios, not the seconds. Peak memory is that of a
process of its own on a CPU, of the allocator on a GPU. Weights are random.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import released_emotion2vec as released
import sertools  # noqa: F401  mends torchaudio before anything imports it
import torch
from rich.console import Console
from rich.table import Table
from sertools.brains.groups import adamw
from sertools.brains.numerics import scale_and_clip
from sertools.files import write_json
from sertools.models.emotion2vec import DecoderConfig, Distillation, Emotion2vec
from sertools.models.precision import cast_matrices
from sertools.models.presets import build_encoder
from sertools.objectives.distillation import follow, frame_loss, utterance_loss
from sertools.objectives.masking import block_mask
from turns import autocast, conditions, in_turns, wait, waveforms

SIZES = {
    "base": ({"dropout": 0.1, "attention_dropout": 0.1}, DecoderConfig(), 4),
    "small": (
        {"dropout": 0.1, "attention_dropout": 0.1, "dim": 192, "num_layers": 6, "num_heads": 6,
         "ffn_dim": 768, "conv_dim": 128}, DecoderConfig(dim=96), 2),
}
LR, TAU = 1e-7, 0.999


def main() -> None:
    """Run all cases, print a table and write JSON; or, as a child, measure one run's memory."""
    options = parse()
    torch.set_num_threads(options.threads)
    if options.child:
        print(json.dumps(memory_of_one(options)))
        return
    rows = []
    for task in options.tasks:
        for length in options.lengths:
            for batch in options.batches:
                rows.append(measure(task, batch, length, options))
                show(rows[-1:])
    show(rows)
    if options.out:
        write_json(options.out, {**environment(options), "rows": rows})


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="base",
                        help="base as published; small has its structure and 192 channels")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--lengths", type=float, nargs="+", default=[5, 20, 60], help="in seconds")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4], help="in utterances")
    parser.add_argument("--clones", type=int, default=8, help="masked copies of an utterance")
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"),
                        default=["fp32", "bf16"])
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each, in turns")
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    return parser.parse_args()


def build(options: argparse.Namespace) -> Distillation:
    """Return student and teacher with random weights, equal in every process."""
    torch.manual_seed(0)
    settings, decoder, context_layers = SIZES[options.size]
    encoder = build_encoder("emotion2vec_base", **settings)
    return Distillation(Emotion2vec(encoder, decoder, context_layers)).to(options.device)


# One step, one extraction


def our_step(model: Distillation, waves: torch.Tensor, clones: int, precision: str) -> Callable:
    """Return a function that makes an update as `Emotion2vecBrain` does."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    group = {"params": parameters, "lr": LR, "weight_decay": 0.01}
    optimizer = adamw((0.9, 0.98), 1e-6)([group])
    frames = model.student.config.frames(waves.shape[1])

    def run() -> None:
        mask = block_mask(clones * len(waves), frames, device=waves.device)
        with autocast(waves.device, precision):
            loss = our_loss(model, waves, mask)
        count = int(0.5 * frames) * len(mask)
        (loss * count).backward()
        scale_and_clip(parameters, 1 / count, None)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        follow(model.teacher.encoder, model.student.encoder, TAU)

    return run


def our_loss(model: Distillation, waves: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return frame loss + utterance loss."""
    out = model(waves, mask, int(0.5 * mask.shape[1]))
    return frame_loss(out.prediction, out.target) + utterance_loss(out.summary, out.utterance)


def released_step(
    model: Distillation, waves: torch.Tensor, clones: int, precision: str
) -> Callable:
    """Return a function that makes an update as the released code does."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=LR, betas=(0.9, 0.98), eps=1e-6, foreach=False)
    frames = model.student.config.frames(waves.shape[1])

    def run() -> None:
        mask = released.draw_masks(clones * len(waves), frames).to(waves.device)
        with autocast(waves.device, precision):
            loss = released.loss_of(model, waves, mask)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        released.follow(model, TAU)

    return run


def prepare_pretraining(
    name: str, precision: str, batch: int, length: float, options, model: Distillation
) -> Callable:
    """Return one of the runs that task pretraining compares; all may share the model."""
    model.train()
    waves = waveforms(batch, length, options.device)
    step = our_step if name == "sertools" else released_step
    return step(model, waves, options.clones, precision)


def prepare_extraction(
    name: str, precision: str, batch: int, length: float, options, model: Distillation
) -> Callable:
    """Return one of the runs that task extraction compares: frames of every utterance."""
    encoder = model.student.encoder.eval().requires_grad_(False)
    waves = waveforms(batch, length, options.device)
    lengths = utterance_lengths(batch, waves.shape[1])
    if name == "released":
        alone = [wave[:n] for wave, n in zip(waves, lengths, strict=True)]
        return lambda: within(waves.device, precision, lambda: released.extract(encoder, alone))
    if precision == "bf16":
        encoder = cast_matrices(copy.deepcopy(encoder), torch.bfloat16)
    counts = torch.tensor(lengths, device=options.device)

    def run() -> list[torch.Tensor]:
        out = within(waves.device, precision, lambda: encoder(waves, counts))
        return [row[:n] for row, n in zip(out.last, out.lengths.tolist(), strict=True)]

    return run


TASKS = {"pretraining": prepare_pretraining, "extraction": prepare_extraction}


def within(device: torch.device, precision: str, function: Callable):
    """Call a function without gradients in a precision."""
    with torch.no_grad(), autocast(device, precision):
        return function()


def utterance_lengths(batch: int, longest: int) -> list[int]:
    """Return samples of each utterance of a batch of similar lengths: down to 80 %."""
    return [round(longest * (1 - 0.2 * row / batch)) for row in range(batch)]


# Measuring


def measure(task: str, batch: int, length: float, options: argparse.Namespace) -> dict:
    """Run a case in turns; return seconds, audio seconds, memory and agreement."""
    names = [(name, precision) for precision in options.precision
             for name in ("released", "sertools")]
    model = build(options)
    runs = {key: TASKS[task](*key, batch, length, options, model) for key in names}
    spent = in_turns(runs, options)
    seconds = batch * length
    if task == "extraction":
        seconds = sum(utterance_lengths(batch, round(16000 * length))) / 16000
    first = next(key for key in names if key[0] == "released")
    row = {
        "task": task, "batch": batch, "length": length, "audio_seconds": seconds,
        "reference": " ".join(first),
        "agreement": agreement(task, batch, length, options, runs),
        "runs": {" ".join(key): {
            "seconds": statistics.median(times), "least": min(times),
            "audio_seconds_per_second": seconds / statistics.median(times),
            "ratio": statistics.median(spent[first]) / statistics.median(times),
            "ratio_same_precision": statistics.median(spent["released", key[1]])
            / statistics.median(times),
        } for key, times in spent.items()},
    }
    del runs, model
    if options.memory:
        for key in names:
            row["runs"][" ".join(key)].update(memory(task, key, batch, length, options))
    return row


def agreement(task: str, batch: int, length: float, options, runs: dict) -> dict[str, float]:
    """Return how far each run is from the released way in fp32, without anything random.

    Pretraining: relative difference of the loss for equal masks. Extraction: norm of the
    difference of all frames over their norm.
    """
    if task == "extraction":
        alone = prepare_extraction("released", "fp32", batch, length, options, build(options))
        wanted = torch.cat(alone()).float()
        found = {key: torch.cat(run()).float() for key, run in runs.items()}
        return {" ".join(key): float((value - wanted).norm() / wanted.norm())
                for key, value in found.items()}
    model, waves = build(options).eval(), waveforms(batch, length, options.device)
    decoder = model.student.decoder
    decoder.config = dataclasses.replace(decoder.config, noise=0.0)
    with torch.no_grad():  # a teacher that is not the student
        for parameter in model.teacher.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    mask = block_mask(options.clones * batch, model.student.config.frames(waves.shape[1]))
    mask = mask.to(options.device)
    ways = {"released": released.loss_of, "sertools": our_loss}
    values = {key: float(within(waves.device, key[1], lambda way=ways[key[0]]: way(
        model, waves, mask))) for key in runs}
    wanted = float(within(waves.device, "fp32", lambda: released.loss_of(model, waves, mask)))
    return {" ".join(key): abs(value - wanted) / wanted for key, value in values.items()}


def memory(task: str, key: tuple, batch: int, length: float, options) -> dict[str, float]:
    """Return the megabytes of a run in a process of its own: before it, and at its peak."""
    command = [sys.executable, __file__, "--size", options.size, "--device", options.device,
               "--clones", str(options.clones), "--threads", str(options.threads),
               "--batches", str(batch), "--lengths", str(length), "--child", task, *key, "run"]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def memory_of_one(options: argparse.Namespace) -> dict[str, float]:
    """Run twice (the optimizer's states come with the first) and return megabytes."""
    task, name, precision, _ = options.child
    run = TASKS[task](name, precision, options.batches[0], options.lengths[0], options,
                      build(options))
    cuda = options.device.startswith("cuda")
    before = torch.cuda.memory_allocated() / 2**20 if cuda else peak()
    run()
    run()
    wait(options.device)
    most = torch.cuda.max_memory_allocated() / 2**20 if cuda else peak()
    return {"megabytes_before": round(before), "megabytes_peak": round(most)}


def peak() -> float:
    """Return the most memory that this process ever held, in megabytes.

    Linux's getrusage counts what the parent held before the child was started; /proc does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def show(rows: list[dict]) -> None:
    """Print rows as a table."""
    table = Table()
    for heading in ("task", "case", "run"):
        table.add_column(heading)
    for heading in ("seconds", "audio s/s", "ratio", "same precision", "peak MB", "difference"):
        table.add_column(heading, justify="right")
    for row in rows:
        for name, run in row["runs"].items():
            table.add_row(
                row["task"], f"{row['batch']} x {row['length']:g} s", name, f"{run['seconds']:.3f}",
                f"{run['audio_seconds_per_second']:.1f}", f"{run['ratio']:.2f}",
                f"{run['ratio_same_precision']:.2f}",
                str(run.get("megabytes_peak", run.get("failed", ""))),
                f"{row['agreement'][name]:.1e}",
            )
        table.add_section()
    Console(width=118).print(table)


def environment(options: argparse.Namespace) -> dict:
    """Return what the figures depend on."""
    return {"size": options.size, "clones": options.clones, **conditions(options)}


if __name__ == "__main__":
    main()
