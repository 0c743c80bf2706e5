"""Masked regression to a frozen teacher's frames (Vesper, arXiv 2307.10757)."""

from __future__ import annotations

from torch import Tensor


def masked_regression(prediction: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the error summed over masked frames, and their number, both scalars on the device.

    The error of a frame is the mean over its D dimensions of the squared difference. Sum over
    number, both added up over passes and processes, is the loss; nothing waits for the device.

    Args:
        prediction: (B, T, D) of any floating type; the error is of single precision.
        target: (B, T, D) of any floating type, such as half precision out of a cache.
        mask: (B, T) bool, the frames that count.
    """
    # Of the (B, T, D) tensors only the difference is kept for the gradient.
    error = (prediction.float() - target).square().mean(-1)
    return error.masked_fill(~mask, 0.0).sum(), mask.sum()
