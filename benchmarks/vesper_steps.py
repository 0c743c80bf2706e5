"""Vesper's pretraining, by our way and by that of its released code: what is run."""

from __future__ import annotations

import argparse

import released_vesper as released
import torch
from sertools.brains.groups import whole_optimizer
from sertools.models.encoder import prepare
from sertools.models.vesper import WEIGHTS, Vesper
from sertools.objectives.emotion_masking import MaskRule, draw_masks, frame_energy
from sertools.objectives.regression import masked_regression
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from turns import autocast, waveforms
from vesper_targets import Targets

RULE = MaskRule(mask="released")  # so that both draw by the same rule
REFERENCE = ("released", "fp32")
OURS = (("sertools", "fp32"), ("sertools", "bf16"))
CACHED = ("cached convolutions", "bf16")

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
