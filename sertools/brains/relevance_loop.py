"""Many heads trained at once: each sees its own batches and keeps its own best epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from sertools.brains.randomness import derive
from sertools.errors import Interrupted
from sertools.models.probes import LayerHeads
from sertools.objectives.concordance import concordance_loss
from torch import Tensor
from torch.nn import functional as F

_AT_ONCE = 4096  # utterances


@dataclass(frozen=True)
class HeadOptions:
    """How heads are trained."""

    epochs: int
    batch: int
    """Utterances per step and head; the batches of an epoch are made equally large."""
    lr: float
    mixture_lr: float
    """Of the weights of the layers."""
    weight_decay: float
    """Of the heads, not of the weights of the layers."""


def draw_seeds(seed: int, draws: int) -> list[int]:
    """Return the seed of each draw; the first ones do not depend on how many there are."""
    return [derive("relevance", seed, draw) for draw in range(draws)]


def train_heads(
    model: LayerHeads, features: Tensor, targets: Tensor, dev: tuple[Tensor, Tensor] | None,
    seeds: Sequence[int], options: HeadOptions,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[Tensor | None, Tensor]:
    """Train all heads; leave each with the weights of its epoch with the best dev score.

    The loss is the sum over heads of 1 - CCC over the batch, or of the mean cross-entropy: AdamW
    moves every head as if it were trained alone. Without a dev part the last epoch stays.

    Args:
        features: (n, L, D).
        targets: (n, G) numbers, or (n,) classes.
        dev: features and targets of the dev part.
        seeds: of the order of utterances, one per draw.

    Returns:
        dev scores (S, L or 1, G) of the best epochs (None without dev), and these epochs, from 1.

    Raises:
        Interrupted: `should_stop`, asked once per epoch, said so.
    """
    seen = model.standardise(features)
    parameters = dict(model.named_parameters())
    mixture = [p for name, p in parameters.items() if name == "mixture"]
    heads = [p for name, p in parameters.items() if name != "mixture"]
    optimizer = torch.optim.AdamW([
        {"params": heads, "lr": options.lr, "weight_decay": options.weight_decay},
        *([{"params": mixture, "lr": options.mixture_lr, "weight_decay": 0.0}] if mixture else []),
    ])
    generators = [torch.Generator().manual_seed(derive("order", seed)) for seed in seeds]
    kept = {name: p.detach().clone() for name, p in parameters.items()}
    best: Tensor | None = None
    epochs = torch.zeros(model.bias.shape[:3], dtype=torch.long, device=features.device)
    number = max(1, round(len(features) / options.batch))
    for epoch in range(1, options.epochs + 1):
        if should_stop():
            raise Interrupted("Stopped while heads were trained; nothing is lost but time.")
        orders = torch.stack([torch.randperm(len(features), generator=g) for g in generators])
        for chosen in orders.to(features.device).tensor_split(number, 1):
            optimizer.zero_grad()
            total_loss(model(seen[chosen]), targets[chosen]).backward()
            optimizer.step()
        with torch.no_grad():
            scores = None if dev is None else head_scores(head_outputs(model, dev[0]), dev[1])
            better = torch.ones_like(epochs, dtype=torch.bool)
            if scores is not None:
                scores = scores.nan_to_num(nan=-1.0)  # a head that says one thing only
                better = better if best is None else scores > best
                best = scores if best is None else torch.maximum(best, scores)
            epochs[better] = epoch
            for name, parameter in parameters.items():
                kept[name][better] = parameter[better]
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(kept[name])
    return best, epochs


def total_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the sum of all heads' losses, scalar, of outputs (S, L, G, B, O).

    Args:
        targets: of each draw's batch, (S, B, G) numbers or (S, B) classes.
    """
    heads, size = outputs.shape[:3], outputs.shape[3]
    if targets.is_floating_point():
        wanted = targets.permute(0, 2, 1)[:, None].expand(*heads, size)
        said, wanted = (values.reshape(-1, size).T for values in (outputs[..., 0], wanted))
        return concordance_loss(said, wanted) * heads.numel()
    wanted = targets[:, None, None].expand(*heads, size)
    return F.cross_entropy(outputs.flatten(0, 3), wanted.flatten()) * heads.numel()


@torch.no_grad()
def head_outputs(model: LayerHeads, features: Tensor) -> Tensor:
    """Return what all heads say of (n, L, D), (S, L or 1, G, n, O)."""
    draws = len(model.weight)
    return torch.cat([model(model.standardise(part)[None].expand(draws, *part.shape))
                      for part in features.split(_AT_ONCE)], 3)


def head_scores(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return CCC over all utterances, or UA, of every head, float64 (S, L, G).

    Args:
        outputs: (S, L, G, n, O).
        targets: (n, G) numbers, or (n,) classes.
    """
    if targets.is_floating_point():
        said, truth = outputs[..., 0].double(), targets.T.double()
        mean_x, mean_y = said.mean(-1), truth.mean(-1)
        x, y = said - mean_x[..., None], truth - mean_y[..., None]
        spread = x.square().mean(-1) + y.square().mean(-1) + (mean_x - mean_y).square()
        return 2 * (x * y).mean(-1) / spread
    right = (outputs.argmax(-1) == targets).double()
    recalls = [right[..., targets == label].mean(-1) for label in targets.unique()]
    return torch.stack(recalls).mean(0)
