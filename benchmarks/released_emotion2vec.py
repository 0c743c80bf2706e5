"""emotion2vec the way its released code computes it, on the weights of our modules.

Written after ddlBoJack/fairseq, branch emotion2vec (47cc7d5), as a reference for speed, memory and
agreement: attention with a softmax in single precision over (rows, heads, T', T') weights and the
bias multiplied by its scale anew in every block; clones of the frames before anything is left out,
gathered through indices of every channel; masks by loops in numpy; the decoder's last map on
all frames; optimizer and moving average parameter by parameter; one utterance after the other at
inference.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from sertools.models.bias import alibi_slopes
from sertools.models.emotion2vec import Distillation
from sertools.models.encoder import Block, SpeechEncoder
from torch import Tensor, nn


def draw_masks(rows: int, frames: int, share=0.5, span=5, adjust=0.05) -> Tensor:
    """Draw (rows, T) masks with numpy, row by row."""
    masks = np.zeros((rows, frames), dtype=bool)
    target = int(share * frames)
    for mask in masks:
        for centre in np.random.randint(0, frames, max(1, int((share + adjust) * frames / span))):
            for place in range(centre - span // 2, centre + span // 2 + 1):
                mask[min(max(place, 0), frames - 1)] = True
        count = int(mask.sum())
        if count > target:
            mask[np.random.choice(np.flatnonzero(mask), count - target, replace=False)] = False
        else:
            mask[np.random.choice(np.flatnonzero(~mask), target - count, replace=False)] = True
    return torch.from_numpy(masks)


def local_features(encoder: SpeechEncoder, waveforms: Tensor) -> Tensor:
    """Map (B, L) to (B, T, D): convolutions channels first, LayerNorm between transpositions."""
    x = waveforms[:, None]
    for layer in encoder.frontend.layers:
        x = F.conv1d(x, layer.weight.transpose(1, 2).contiguous(), stride=layer.stride)
        norm = layer.norm
        y = F.layer_norm(x.transpose(1, 2).float(), norm.normalized_shape, norm.weight, norm.bias)
        x = F.gelu(y.type_as(x).transpose(1, 2))
    return encoder.frontend.linear(encoder.frontend.norm(x.transpose(1, 2)))


def convolved(convs: nn.ModuleList, x: Tensor, residual: bool) -> Tensor:
    """Run (R, D, T) through convolutions with LayerNorm without affine and GELU."""
    for conv in convs:
        y = F.conv1d(x, conv.weight, conv.bias, padding=conv.weight.shape[-1] // 2,
                     groups=conv.groups)
        y = F.layer_norm(y.transpose(1, 2), y.shape[1:2]).transpose(1, 2)
        y = F.gelu(y)
        x = x + y if residual and x.shape[1] == y.shape[1] else y
    return x


def placed(encoder: SpeechEncoder, x: Tensor) -> Tensor:
    """Add their position to (R, T, D) frames."""
    return x + convolved(encoder.position.convs, x.transpose(1, 2), False).transpose(1, 2)


def biases(encoder: SpeechEncoder, batch: int, frames: int, device: torch.device) -> Tensor:
    """Return (B, H, T, T), one copy for every utterance."""
    slopes = torch.tensor(alibi_slopes(encoder.config.num_heads), device=device)
    steps = torch.arange(frames, device=device)
    distances = (steps[None] - steps[:, None]).abs().float()
    return (-slopes[:, None, None] * distances)[None].repeat(batch, 1, 1, 1)


def run_block(block: Block, x: Tensor, bias: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return a block's output and signal."""
    attention, (rows, frames, dim) = block.attention, x.shape
    heads = attention.num_heads
    qkv = attention.qkv(x).reshape(rows, frames, 3, heads, dim // heads).permute(2, 0, 3, 1, 4)
    query, key, value = qkv[0], qkv[1], qkv[2]
    logits = (query * (dim // heads) ** -0.5) @ key.transpose(-2, -1)
    logits = logits + bias * scale.clamp(min=0).view(1, heads, 1, 1)
    weights = logits.softmax(dim=-1, dtype=torch.float32).to(x.dtype)
    weights = F.dropout(weights, attention.dropout, block.training)
    mixed = (weights @ value.to(weights.dtype)).transpose(1, 2).reshape(rows, frames, dim)
    x = block.attention_norm(x + block.dropout(attention.out(mixed)))
    signal = block.ffn(x)
    return block.ffn_norm(x + block.dropout(signal)), signal


def run_blocks(encoder: SpeechEncoder, x: Tensor, bias: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Put the tokens in front and return the last block's output and all signals."""
    extra, signals = encoder.config.extra_tokens, []
    bias = F.pad(bias, (extra, 0, extra, 0))
    x = torch.cat([encoder.tokens.expand(len(x), -1, -1).to(x.dtype), x], 1)
    x = encoder.dropout(encoder.input_norm(x))
    for block in encoder.blocks:
        x, signal = run_block(block, x, bias, encoder.bias.by_distance.scale)
        signals.append(signal)
    return x, signals


def loss_of(model: Distillation, waveforms: Tensor, mask: Tensor, alpha: float = 1.0) -> Tensor:
    """Return (frame + alpha utterance) / masked frames, with the `chunk` utterance loss."""
    student, encoder, extra = model.student, model.student.encoder, 0
    features = local_features(encoder, waveforms)
    batch, frames, dim = features.shape
    clones, extra = len(mask) // batch, encoder.config.extra_tokens
    device = features.device
    with torch.no_grad():
        teacher = model.teacher.encoder
        x = placed(teacher, features.detach())
        _, signals = run_blocks(teacher, x, biases(teacher, batch, frames, device))
        target = 0
        for signal in signals[student.context_layers:]:
            normed = F.instance_norm(signal[:, extra:].transpose(1, 2).float())
            target = target + normed.transpose(1, 2)
        target = target / (len(signals) - student.context_layers)
        summary_target = target.mean(1).repeat_interleave(clones, 0)
    x = features.repeat_interleave(clones, 0) * (1 - mask.to(features.dtype)[..., None])
    x = placed(encoder, x)
    shuffled = mask.to(torch.uint8).argsort(1)
    restore = shuffled.argsort(1)[..., None].expand(-1, -1, dim)
    kept = shuffled[:, : frames - int(mask[0].sum())]
    x = x.gather(1, kept[..., None].expand(-1, -1, dim))
    bias = biases(encoder, batch, frames, device).repeat_interleave(clones, 0)
    heads, index = bias.shape[1], kept[:, None, :, None]
    bias = bias.gather(2, index.expand(-1, heads, -1, frames))
    bias = bias.gather(3, index.transpose(2, 3).expand(-1, heads, bias.shape[2], -1))
    x, _ = run_blocks(encoder, x, bias)
    config = student.decoder.config
    x = F.dropout(x, config.dropout, model.training)
    summary = x[:, :extra].mean(1)
    noise = x.new_empty(len(x), frames - kept.shape[1], dim).normal_(0, config.noise)
    x = torch.cat([x[:, extra:], noise], 1).gather(1, restore)
    x = convolved(student.decoder.convs, x.transpose(1, 2), True).transpose(1, 2)
    x = student.decoder.linear(x)[mask]
    target = target.repeat_interleave(clones, 0)[mask]
    count, scale = len(target), dim**-0.5
    frame = ((x.float() - target) ** 2 * scale).sum()
    utterance = ((summary.float() - summary_target) ** 2 * scale).sum() * count
    return (frame + alpha * utterance) / count


@torch.no_grad()
def follow(model: Distillation, tau: float) -> None:
    """Move the teacher, parameter by parameter."""
    students = dict(model.student.encoder.named_parameters())
    for name, parameter in model.teacher.encoder.named_parameters():
        parameter.mul_(tau).add_(students[name].detach(), alpha=1 - tau)


@torch.no_grad()
def extract(encoder: SpeechEncoder, waveforms: list[Tensor]) -> list[Tensor]:
    """Return the last layer (T, D) of every utterance (L,), one after the other."""
    found = []
    for waveform in waveforms:
        normed = F.layer_norm(waveform, waveform.shape)[None]
        features = local_features(encoder, normed)
        bias = biases(encoder, 1, features.shape[1], features.device)
        last, _ = run_blocks(encoder, placed(encoder, features), bias)
        found.append(last[0, encoder.config.extra_tokens:])
    return found
