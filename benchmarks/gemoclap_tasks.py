"""What the benchmark of GEmo-CLAP compares: prompts, passes, the objective, inference."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
import transcribed_gemoclap as transcribed
from gemoclap_runs import CLASSES, OWN, PADDED, batch_of, brain_of, build, gradient, prompts_of
from sertools.brains.gemoclap_best import ClosedSet
from sertools.objectives.contrastive import ContrastiveObjective
from turns import autocast, distance, waveforms

PROMPTS = {"per item, padded": (PADDED, True), "per item": (OWN, True),
           "each once": (OWN, False)}
"""How prompts are encoded: what they are padded to, and whether for every utterance."""
BATCH = ("graphs kept", "one pass", "cached")
# Tasks: each yields its cases: name, precision, runs, how often a repetition runs them, facts


def prompts(options: argparse.Namespace, folder: Path) -> Iterator[tuple]:
    """An update in one pass, with the text encoder trained."""
    for heard in (True, False):
        case = f"{options.batch} x " + (f"{options.seconds:g} s" if heard else "vectors")
        for precision in options.precision:
            made = {dropout: prompt_runs(options, precision, folder, heard, dropout)
                    for dropout in (0.1, 0.0)}
            runs = {key: run for key, (_, run) in made[0.1].items()}
            yield case, precision, runs, 1 if heard else 5, {"difference": apart(made[0.0])}


def prompt_runs(options, precision: str, folder: Path, heard: bool, dropout: float) -> dict:
    """Return brains and updates that differ in how they encode prompts."""
    model = build(options, heard, dropout)
    batch = batch_of(options, model)
    found = {}
    for name, (length, per_item) in PROMPTS.items():
        brain = brain_of(options, model, folder, precision, length, per_item)
        found[name,] = brain, functools.partial(brain.fit_batch, batch)
    return found


def batch(options: argparse.Namespace, folder: Path) -> Iterator[tuple]:
    """An update whose loss is that of the whole batch, in passes."""
    case = f"{options.passes} x {options.batch // options.passes} x {options.seconds:g} s"
    for precision in options.precision:
        runs = {key: run for key, (_, run) in batch_runs(options, precision, folder, 0.1).items()}
        still = batch_runs(options, precision, folder, 0.0)
        yield case, precision, runs, 1, {"difference": apart(still)}


def batch_runs(options, precision: str, folder: Path, dropout: float) -> dict:
    """Return brains and updates that differ in passes and in what they keep between them."""
    model = build(options, True, dropout)
    heard = batch_of(options, model)
    found = {}
    for name in BATCH:
        brain = brain_of(options, model, folder, precision,
                         passes=1 if name == "one pass" else options.passes)
        update = brain.fit_batch
        if name == "graphs kept":
            update = functools.partial(transcribed.update, brain)
        found[name,] = brain, functools.partial(update, heard)
    return found


def apart(runs: dict) -> dict[str, float]:
    """Return how far each update's gradient is from the first one's."""
    found = {" ".join(key): gradient(*run) for key, run in runs.items()}
    wanted = next(iter(found.values()))
    return {name: distance(value, wanted) for name, value in found.items()}


def objective(options: argparse.Namespace, folder: Path) -> Iterator[tuple]:
    """The loss of SL-GEmo-CLAP and its gradient."""
    ours = ContrastiveObjective()
    for count in (options.batch, 2 * options.batch):
        draw = torch.Generator().manual_seed(4)
        leaves = [F.normalize(torch.randn(count, 512, generator=draw), dim=-1) for _ in range(2)]
        leaves = [each.to(options.device).requires_grad_()
                  for each in (*leaves, torch.tensor([14.3, 14.3]))]
        numbers = torch.arange(count, device=options.device)
        labels = numbers % len(CLASSES), numbers // 2 % 2
        ways = {("pair by pair",): functools.partial(transcribed.pair_by_pair, alpha=ours.alpha),
                ("kl_div",): functools.partial(transcribed.as_matrices, alpha=ours.alpha),
                ("sertools",): ours}

        def graded(way: Callable, leaves: list = leaves, labels: tuple = labels) -> torch.Tensor:
            found = torch.autograd.grad(way(*leaves, *labels), leaves)
            return torch.cat([each.flatten() for each in found])

        wanted = graded(ways["pair by pair",])
        facts = {"difference": {" ".join(key): distance(graded(way), wanted)
                                for key, way in ways.items()}}
        slow = {key: ways[key] for key in [("pair by pair",), ("sertools",)]}
        yield f"B = {count}", "fp32", ways_of(slow, graded), 1, facts
        quick = {key: ways[key] for key in [("kl_div",), ("sertools",)]}
        yield f"B = {count}", "fp32", ways_of(quick, graded), 50, facts


def ways_of(ways: dict, graded: Callable) -> dict[tuple, Callable]:
    """Return runs that compute the gradient of each loss."""
    return {key: functools.partial(graded, way) for key, way in ways.items()}


@torch.no_grad()
def inference(options: argparse.Namespace, folder: Path) -> Iterator[tuple]:
    """The classes of utterances."""
    model = build(options).eval()
    kept = ClosedSet(model, model.embed_text(*prompts_of(OWN, options).flat()))
    for count in (1, 8):
        waves = waveforms(count, options.seconds, options.device)
        for precision in options.precision:
            ways = {(name,): functools.partial(
                transcribed.classify, model, waves, prompts_of(length, options).flat())
                for name, length in (("text, padded", PADDED), ("text", OWN))}
            ways["kept",] = functools.partial(kept, waves)
            runs = {key: functools.partial(within, way, waves, precision)
                    for key, way in ways.items()}
            wanted = next(iter(runs.values()))()
            facts = {"difference": {" ".join(key): distance(run(), wanted)
                                    for key, run in runs.items()}}
            yield f"{count} x {options.seconds:g} s", precision, runs, 5, facts


def within(way: Callable, waves: torch.Tensor, precision: str) -> torch.Tensor:
    """Call a function without gradients in a precision."""
    with torch.no_grad(), autocast(waves.device, precision):
        return way()


TASKS: dict[str, Callable] = {"prompts": prompts, "batch": batch, "objective": objective,
                              "inference": inference}
