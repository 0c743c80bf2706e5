"""Masks over frames: which ones a model must infer from the others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def block_mask(
    rows: int,
    frames: int,
    share: float = 0.5,
    span: int = 5,
    adjust: float = 0.05,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw masks of spans whose rows all hold exactly `int(share * frames)` masked frames.

    Spans of `span` frames around random centres are marked, clipped to the row; random marked
    frames are then unmarked, or random unmarked ones marked, until the number is exact (data2vec
    2.0, arXiv 2212.07525, appendix A, "inverse block" masks of its speech models). The ranking by
    `2 marked + U(0, 1)` does both at once, on the device and without waiting for it.

    Args:
        rows: how many masks.
        frames: length T of each.
        share: masked share of the frames.
        span: odd number of frames around a centre.
        adjust: raises the number of centres, int((share + adjust) T / span), since spans overlap.
        device: where the masks are drawn, with that device's generator.

    Returns:
        bool (rows, T), True where a frame is masked.
    """
    assert span % 2 == 1, "a span has a frame in its middle"
    centres = max(1, int((share + adjust) * frames / span))
    marked = torch.zeros(rows, frames, device=device)
    marked.scatter_(1, torch.randint(frames, (rows, centres), device=device), 1.0)
    marked = F.max_pool1d(marked[:, None], span, stride=1, padding=span // 2)[:, 0]
    ranks = 2 * marked + torch.rand(rows, frames, device=device)
    chosen = ranks.topk(int(share * frames), dim=1).indices
    return torch.zeros(rows, frames, dtype=torch.bool, device=device).scatter_(1, chosen, True)


def crop_masks(mask: Tensor, starts: Tensor, frames: int) -> Tensor:
    """Cut `frames` columns out of (rows, T) masks, from (rows,) starting frames on."""
    columns = starts[:, None] + torch.arange(frames, device=mask.device)
    return mask.gather(1, columns)


def visible_first(mask: Tensor) -> Tensor:
    """Return (rows, T) frame indices of each row: visible frames in order, then the masked."""
    return mask.to(torch.uint8).argsort(dim=1, stable=True)
