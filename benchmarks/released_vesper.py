"""Vesper's pretraining the way its released code computes it, on the weights of our modules.

Written after HappyColor/Vesper (2b62af3) as a reference for speed and agreement: masks by loops
over utterances and spans on the device; attention with (B H, T, T) biases that are laid out in
memory, padded keys filled in, and the mean attention map of every block kept; convolutions channels
first with LayerNorm between transpositions; the predictors on selected frames; two MATLAB files of
single precision for every utterance; single precision throughout, four values read back in every
step. Frozen encoders stay in training mode while a head is trained on them.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import scipy.io
import torch
import torch.nn.functional as F
from sertools.models.encoder import Block, SpeechEncoder
from sertools.models.heads import UtteranceHead
from sertools.models.vesper import WEIGHTS, Vesper
from sertools.objectives.emotion_masking import MaskRule
from torch import Tensor

# Masks


def energy(waveforms: Tensor, window: int = 400, hop: int = 320) -> Tensor:
    """Return the root mean square (B, T) of overlapping windows (B, window, T), laid out first."""
    count = 1 + (waveforms.shape[1] - window) // hop
    stride = waveforms.stride()
    pieces = waveforms.as_strided((len(waveforms), window, count), (*stride, hop))
    return pieces.abs().pow(2).mean(1).sqrt()


def draw_masks(energies: Tensor, frames: Tensor, rule: MaskRule) -> tuple[Tensor, Tensor]:
    """Draw both masks (B, T), utterance by utterance and span by span."""
    small = torch.zeros(energies.shape, dtype=torch.bool, device=energies.device)
    large = torch.zeros_like(small)
    bounds = [*rule.high, *rule.low]
    apart = rule.small_span + rule.gap
    for row, values in enumerate(energies):
        real = int(frames[row])
        last = real - rule.small_span
        number = min(rule.small_spans, math.floor(real * rule.share / rule.small_span))
        values = values[:last]
        greatest = values.max()
        bounds = [bound * greatest for bound in bounds]
        loud = torch.nonzero((values >= bounds[0]) & (values <= bounds[1]))[:, 0]
        soft = torch.nonzero((values >= bounds[2]) & (values <= bounds[3]))[:, 0]
        loud = loud[torch.randperm(len(loud))][: number // 2]
        soft = soft[torch.randperm(len(soft))][: number - len(loud)]
        starts = torch.cat([push_apart(loud, apart, last), push_apart(soft, apart, last)])
        if len(starts) < number:
            starts = torch.cat([starts, torch.randperm(last, device=starts.device)])[:number]
        if len(starts) == 0:
            starts = torch.randperm(last, device=starts.device)[:1]
            small[row, int(starts[0]) : real] = True
        else:
            small[row, spans(starts, rule.small_span)] = True
        first, last = starts[0], real - rule.large_span
        number = min(rule.large_spans, math.floor(real * rule.share / rule.large_span))
        starts = starts[starts < last].sort().values
        starts = push_apart(starts, rule.large_span + rule.gap, last)
        if len(starts) < number:
            starts = torch.cat([starts, torch.randperm(last, device=starts.device)])[:number]
        else:
            starts = starts[torch.randperm(len(starts))][:number]
        if len(starts) == 0:
            large[row, int(first) : real] = True
        else:
            large[row, spans(starts, rule.large_span)] = True
    return small, large


def push_apart(starts: Tensor, apart: int, last: int) -> Tensor:
    """Move each start behind the one before it, in the order given; stop behind `last`."""
    for index in range(len(starts) - 1):
        if starts[index + 1] - starts[index] < apart:
            starts[index + 1] = starts[index] + apart
        if starts[index + 1] > last:
            return starts[: index + 1]
    return starts


def spans(starts: Tensor, length: int) -> Tensor:
    """Return the frames of all spans, collected one by one."""
    return torch.as_tensor([start + step for start in starts for step in range(length)])


# The network


def convolved(encoder: SpeechEncoder, waveforms: Tensor) -> Tensor:
    """Map normalised (B, L) to (B, T, C) with the frozen convolutions."""
    x = waveforms[:, None]
    with torch.no_grad():
        for layer in encoder.frontend.layers:
            x = F.conv1d(x, layer.weight.transpose(1, 2).contiguous(), stride=layer.stride)
            norm = layer.norm
            y = F.layer_norm(x.transpose(1, 2), norm.normalized_shape, norm.weight, norm.bias)
            x = F.gelu(y.transpose(1, 2))
    return x.transpose(1, 2)


def placed(encoder: SpeechEncoder, x: Tensor, padded: Tensor) -> Tensor:
    """Zero padded frames, add position, drop: (B, T, D)."""
    x = x.masked_fill(padded[..., None], 0.0)
    position = encoder.position
    weight = torch._weight_norm(position.direction, position.gain, 2)
    y = F.conv1d(x.transpose(1, 2), weight, position.bias, padding=weight.shape[-1] // 2,
                 groups=position.groups)
    x = x + F.gelu(y[..., :-1]).transpose(1, 2)
    return F.dropout(x, encoder.dropout.p, encoder.training)


def position_bias(encoder: SpeechEncoder, batch: int, frames: int) -> Tensor:
    """Return (B H, T, T): the table looked up for every pair, copied for every utterance."""
    by_distance = encoder.bias.by_distance
    steps = torch.arange(frames)
    buckets = by_distance.buckets(steps[None] - steps[:, None])
    values = by_distance.table(buckets.to(by_distance.table.weight.device)).permute(2, 0, 1)
    return values[None].repeat(batch, 1, 1, 1).view(-1, frames, frames)


def attend(block: Block, x: Tensor, bias: Tensor, padded: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a block's attention adds (B, T, D), and its mean map (B, T, T)."""
    attention, (batch, frames, dim) = block.attention, x.shape
    heads, width = attention.num_heads, dim // attention.num_heads
    parts = zip(attention.qkv.weight.chunk(3), attention.qkv.bias.chunk(3), strict=True)
    query, key, value = (
        F.linear(x, weight, own).transpose(0, 1).contiguous().view(frames, -1, width)
        .transpose(0, 1) for weight, own in parts)
    weights = torch.bmm(query, key.transpose(1, 2)) * width**-0.5
    gate = attention.gate
    slices = x.view(batch, frames, heads, width).permute(0, 2, 1, 3)
    a, b = gate.linear(slices).view(batch, heads, frames, 2, 4).sum(-1).sigmoid().chunk(2, -1)
    gates = a * (b * gate.scale - 1.0) + 2.0
    weights += gates.view(batch * heads, frames, 1) * bias
    weights = weights.view(batch, heads, frames, frames)
    weights = weights.masked_fill(padded[:, None, None], float("-inf")).view(-1, frames, frames)
    weights = F.dropout(weights.softmax(-1), attention.dropout, block.training)
    mixed = torch.bmm(weights, value).transpose(0, 1).contiguous().view(frames, batch, dim)
    mean = weights.view(batch, heads, frames, frames).sum(1) / heads
    return attention.out(mixed.transpose(0, 1)), mean


def hidden(encoder: SpeechEncoder, waveforms: Tensor, padded: Tensor, masks=(None, None)):
    """Return N + 1 pairs of frames (B, T, D) and attention map, as the released code keeps them."""
    x = encoder.frontend.project(convolved(encoder, waveforms))
    x = placed(encoder, x, padded)
    found = [(x, None)]
    bias = position_bias(encoder, len(x), x.shape[1])
    for index, block in enumerate(encoder.blocks):
        for mask, depth in zip(masks, (0, len(encoder.blocks) // 2), strict=True):
            if mask is not None and index == depth:
                x = x.clone()
                x[mask] = encoder.mask_embedding
        y, attention = attend(block, block.attention_norm(x), bias, padded)
        x = x + F.dropout(y, block.dropout.p, block.training)
        x = x + F.dropout(block.ffn(block.ffn_norm(x)), block.dropout.p, block.training)
        found.append((x, attention))
    return found


def loss_of(model: Vesper, waveforms: Tensor, padded: Tensor, small: Tensor, large: Tensor,
            targets: tuple[Tensor, Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return the weighted loss and its three terms; `padded` is (B, T), targets (B, T, D) each."""
    layers = hidden(model.encoder, waveforms, padded, (small, large))
    middle, last, (lower, upper) = layers[model.middle][0], layers[-1][0], targets
    every = torch.ones_like(small)
    wanted = {"acoustic": (middle, lower, small), "semantic": (last, upper, large),
              "cross": (last, lower, every)}
    terms = [F.mse_loss(model.predictors[name](frames[mask]), target[mask])
             for name, (frames, target, mask) in wanted.items()]
    weighted = zip(WEIGHTS.values(), terms, strict=True)
    return sum(weight * term for weight, term in weighted), terms


def classify(head: UtteranceHead, layers: list, padded: Tensor) -> Tensor:
    """Return outputs (B, C): all layers stacked and weighed, every frame projected, then pooled."""
    stacked = torch.stack([frames for frames, _ in layers])
    weights = head.layer_weights.softmax(0)[:, None]
    x = (weights * stacked.view(len(stacked), -1)).sum(0).view(stacked.shape[1:])
    x = x.masked_fill(padded[..., None], 0.0)
    return head.output(head.projection(x).sum(1) / (~padded).sum(1, keepdim=True))


# Targets


def write_targets(folder: Path, name: str, targets: tuple[np.ndarray, np.ndarray]) -> None:
    """Write the two files of an utterance: (T, D) in single precision."""
    for depth, frames in zip(("l", "h"), targets, strict=True):
        (folder / depth).mkdir(exist_ok=True)
        scipy.io.savemat(folder / depth / f"{name}.mat", {"wavlm": frames.astype(np.float32)})


def read_targets(folder: Path, names: list[str], frames: int) -> tuple[Tensor, Tensor]:
    """Read files one by one, cut or pad to `frames`, and stack: (B, T, D) each."""
    found: tuple[list[Tensor], list[Tensor]] = ([], [])
    for name in names:
        for depth, among in zip(("l", "h"), found, strict=True):
            values = scipy.io.loadmat(folder / depth / f"{name}.mat")["wavlm"][:frames]
            values = np.pad(values, ((0, frames - len(values)), (0, 0)))
            among.append(torch.from_numpy(values))
    return torch.stack(found[0]), torch.stack(found[1])
