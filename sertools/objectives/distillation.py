"""Regression of a student to its slowly moving teacher: targets, losses, moving average.

emotion2vec (arXiv 2312.15185) on the ground of data2vec 2.0 (arXiv 2212.07525). "Released" is
what the authors' code does where the paper says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

UTTERANCE_LOSSES = ("chunk", "token", "global", "none")
UTTERANCE_TARGETS = ("released", "before_norm")
UTTERANCE_REDUCTIONS = ("released", "mean")


def teacher_targets(
    signals: Sequence[Tensor], utterance_target: str = "released"
) -> tuple[Tensor, Tensor]:
    """Return what the student regresses to, from the teacher's blocks.

    Each block's signal is normalised over time per utterance and channel; the average over the
    blocks is the frame target Y.

    Args:
        signals: (B, T, D) of each main block, tokens left out.
        utterance_target: `released` is the mean of Y over time, which is zero for every utterance,
            because Y is normalised over time; `before_norm` is the mean over time of the blocks'
            average before the normalisation, which tells utterances apart.

    Returns:
        frame targets (B, T, D) and utterance targets (B, D), float32.
    """
    blocks = [signal.float().transpose(1, 2) for signal in signals]
    frames = sum(F.instance_norm(block) for block in blocks) / len(blocks)
    if utterance_target == "released":
        utterance = frames.mean(2)
    else:
        utterance = (sum(block.mean(2) for block in blocks)) / len(blocks)
    return frames.transpose(1, 2), utterance


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Return (x - y)^2 / sqrt(D), elementwise in float32 (data2vec 2.0)."""
    return (prediction.float() - target).square() * target.shape[-1] ** -0.5


def frame_loss(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean over masked frames of the error summed over channels, scalar.

    Args:
        prediction: (R, n, D) of the decoder.
        target: (R, n, D), the teacher's frames at the same places.
        weight: (R, n), 1 where a frame is masked; None: all n are.
    """
    error = squared_error(prediction, target).sum(-1)
    if weight is None:
        return error.sum() / max(1, error.numel())
    return (error * weight).sum() / weight.sum().clamp(min=1)


def utterance_loss(summary: Tensor, target: Tensor, reduction: str = "released") -> Tensor:
    """Return the error of the rows' summaries, scalar.

    Args:
        summary: (R, D): what the student says of each masked copy of an utterance.
        target: (R, D) utterance targets.
        reduction: `released` sums over all R rows, so that its weight against the frame loss grows
            with the number of utterances in a batch; `mean` averages over them.
    """
    error = squared_error(summary, target).sum()
    return error if reduction == "released" else error / len(summary)


def summarise(tokens: Tensor, frames: Tensor, variant: str) -> Tensor:
    """Return the student's utterance representation (R, D).

    Args:
        tokens: (R, K, D) outputs at the learned tokens.
        frames: (R, T', D) outputs at the visible frames.
        variant: `chunk` is the mean of the tokens, `token` the last of them, `global` the mean of
            the frames.
    """
    if variant == "token":
        return tokens[:, -1]
    return (tokens if variant == "chunk" else frames).mean(1)


def spread(values: Tensor) -> Tensor:
    """Return the standard deviation over all rows of (..., D), averaged over channels, scalar."""
    rows = values.detach().float().reshape(-1, values.shape[-1])
    return (rows.var(0) + 1e-6).sqrt().mean()


def decay(step: int, start: float, end: float, steps: int) -> float:
    """Return the teacher's decay after `step` updates: linear from start to end, then constant."""
    return end if step >= steps else start + (end - start) * step / steps


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, tau: float) -> None:
    """Move every parameter of the teacher: theta_T <- tau theta_T + (1 - tau) theta_S.

    Args:
        teacher: its parameters, in float32, are changed; their names are names of the student's.
        student: what is followed.
        tau: share that stays.
    """
    followed = dict(student.named_parameters())
    mine = dict(teacher.named_parameters())
    torch._foreach_lerp_(list(mine.values()), [followed[name] for name in mine], 1 - tau)
