"""Distances of a student's predictions to several layers of a teacher (DistilHuBERT)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def l1_and_cosine(
    prediction: Tensor, target: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return both distances summed over the frames that count, and how many these are.

    Sum over number is the mean over frames, of each of K layers; the loss of DistilHuBERT (arXiv
    2110.01900, equation 1, as the authors' code computes it) is the mean over the layers of the
    first plus that of the second. Nothing waits for the device.

    Args:
        prediction: (B, K, T, D) of any floating type; the distances are of single precision.
        target: (B, K, T, D) of any floating type, such as half precision out of a cache.
        mask: (B, T) bool, the frames that count.

    Returns:
        (K,) the mean over D of absolute differences, summed; (K,) -log sigmoid(cosine), summed;
        and the number of frames, a scalar, at which all K layers are compared.
    """
    prediction, target = prediction.float(), target.float()
    difference = (prediction - target).abs().mean(-1)
    distance = -F.logsigmoid(F.cosine_similarity(prediction, target, dim=-1))
    without = ~mask[:, None]
    sums = torch.stack([difference, distance]).masked_fill(without, 0.0).sum((1, 3))
    return sums[0], sums[1], mask.sum()
