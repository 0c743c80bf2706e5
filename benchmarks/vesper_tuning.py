"""An epoch of a linear head on Vesper's frozen student, by our ways and by the released one."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import released_vesper as released
import torch
from sertools.brains.groups import sgd
from sertools.models.heads import UtteranceHead, masked_mean
from sertools.models.precision import cast_matrices
from sertools.models.vesper import Vesper
from torch import Tensor
from turns import autocast, distance, wait, waveforms
from vesper_steps import OURS, REFERENCE
from vesper_targets import Targets

CLASSES = 4


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
    differences = {" ".join(key): distance(value, wanted) for key, value in found.items()}
    return runs, {"seconds to fill the cache": once, "clips": options.clips, "frames": frames,
                  "difference": differences}


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
