"""The concordance correlation coefficient as a training objective."""

from __future__ import annotations

from torch import Tensor


def concordance_loss(outputs: Tensor, targets: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Return 1 - CCC, averaged over the dimensions; 0 is perfect agreement, 2 the opposite.

    CCC = 2 cov / (var + var + (mean - mean)^2) with the biased moments of the batch (Lin 1989,
    Biometrics 45, equation 3). A batch of one utterance has no variance: its loss is 1 and its
    gradient 0.

    Args:
        outputs: (B, K).
        targets: (B, K), on the same scale as the outputs.
        epsilon: keeps the quotient finite when nothing varies.

    Returns:
        scalar.
    """
    outputs, targets = outputs.float(), targets.float()
    output_mean, target_mean = outputs.mean(0), targets.mean(0)
    x, y = outputs - output_mean, targets - target_mean
    covariance = (x * y).mean(0)
    spread = x.square().mean(0) + y.square().mean(0) + (output_mean - target_mean).square()
    return (1 - 2 * covariance / (spread + epsilon)).mean()
