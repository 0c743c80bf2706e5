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
import dataclasses
import json
import statistics

import released_emotion2vec as released
import torch
from emotion2vec_runs import (
    SIZES,
    TASKS,
    build,
    our_loss,
    prepare_extraction,
    utterance_lengths,
    within,
)
from memory import memory_in_child, memory_of
from sertools.objectives.masking import block_mask
from turns import difference, distance, figures, in_turns, megabytes, parser, report, waveforms

COLUMNS = {
    "task": lambda row, name, run: row["task"],
    "case": lambda row, name, run: f"{row['batch']} x {row['length']:g} s",
    "run": lambda row, name, run: name,
    "seconds": lambda row, name, run: f"{run['seconds']:.3f}",
    "audio s/s": lambda row, name, run: f"{run['audio_seconds_per_second']:.1f}",
    "ratio": lambda row, name, run: f"{run['ratio']:.2f}",
    "same precision": lambda row, name, run: f"{run['ratio_same_precision']:.2f}",
    "peak MB": megabytes, "difference": difference,
}


def main() -> None:
    """Run all cases, print a table and write JSON; or, as a child, measure one run's memory."""
    options = parse()
    torch.set_num_threads(options.threads)
    if options.child:
        task, name, precision, _ = options.child
        run = TASKS[task](name, precision, options.batches[0], options.lengths[0], options,
                          build(options))
        print(json.dumps(memory_of(run, options.device)))
        return
    report(options, (measure(task, batch, length, options) for task in options.tasks
                     for length in options.lengths for batch in options.batches), COLUMNS, 3)


def parse() -> argparse.Namespace:
    """Read the command line."""
    made = parser(__doc__)
    made.add_argument("--size", choices=SIZES, default="base",
                      help="base as published; small has its structure and 192 channels")
    made.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    made.add_argument("--lengths", type=float, nargs="+", default=[5, 20, 60], help="in seconds")
    made.add_argument("--batches", type=int, nargs="+", default=[1, 4], help="in utterances")
    made.add_argument("--clones", type=int, default=8, help="masked copies of an utterance")
    made.add_argument("--precision", nargs="+", choices=("fp32", "bf16"),
                      default=["fp32", "bf16"])
    made.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    made.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    return made.parse_args()


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
    found = figures(spent, names[0])
    for key in names:
        same = statistics.median(spent["released", key[1]]) / statistics.median(spent[key])
        found[" ".join(key)] |= {
            "audio_seconds_per_second": seconds / statistics.median(spent[key]),
            "ratio_same_precision": same}
    row = {"task": task, "batch": batch, "length": length, "audio_seconds": seconds,
           "reference": " ".join(names[0]),
           "difference": agreement(task, batch, length, options, runs), "runs": found}
    del runs, model
    if options.memory:
        for key in names:
            found[" ".join(key)] |= memory(task, key, batch, length, options)
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
        return {" ".join(key): distance(value, wanted) for key, value in found.items()}
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
    return memory_in_child(__file__, [
        "--size", options.size, "--device", options.device, "--clones", options.clones,
        "--threads", options.threads, "--batches", batch, "--lengths", length,
        "--child", task, *key, "run"])


if __name__ == "__main__":
    main()
