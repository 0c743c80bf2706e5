"""Parameter groups of an optimizer: what decays, and how fast each layer of an encoder learns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

_BLOCK = re.compile(r"(?:^|\.)(?:blocks|layers)\.(\d+)\.")
_BEFORE = re.compile(r"(?:^|\.)(?:frontend|feature_extractor)\.")
_AFTER = re.compile(r"(?:^|\.)(?:final_norm|whisper\.layer_norm)\.")


def parameter_groups(
    model: nn.Module,
    lr: float,
    weight_decay: float,
    encoder_lr: float | None = None,
    layer_decay: float = 1.0,
    encoder: str = "encoder",
    wd_exclude: str = "norm_bias",
) -> list[dict[str, Any]]:
    """Group the trainable parameters by learning rate and weight decay.

    In the encoder, block i of N learns with `encoder_lr * layer_decay^(N - i)`, what lies before
    the blocks with the rate of an imagined block 0, what lies after them with that of block N
    (Clark et al. 2020, ELECTRA, appendix A, "layerwise learning-rate decay").

    Args:
        model: its parameters with requires_grad; those frozen only for some epochs must have it.
        lr: learning rate of everything outside the encoder.
        weight_decay: of matrices.
        encoder_lr: learning rate of the encoder's last block; None: as `lr`.
        layer_decay: factor per block below the last; 1 gives all blocks the same rate.
        encoder: name of the encoder inside `model`.
        wd_exclude: `norm_bias` spares vectors and scalars (biases, norms, layer weights), `bias`
            what has that word in its name; `none` lets all decay.

    Returns:
        one dict per group, with `name` and `initial_lr`, in the order of the parameters.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    blocks = _count_blocks(name for name, _ in model.named_parameters()
                           if name.startswith(encoder + "."))
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in named:
        rate = lr
        if name.startswith(encoder + "."):
            below = blocks - _depth(name, blocks)
            rate = (lr if encoder_lr is None else encoder_lr) * layer_decay**below
        spared = {"norm_bias": parameter.ndim <= 1, "bias": "bias" in name}.get(wd_exclude, False)
        decay = 0.0 if spared else weight_decay
        group = groups.setdefault((rate, decay), {
            "params": [], "lr": rate, "initial_lr": rate, "weight_decay": decay,
            "name": f"lr {rate:.3g}, decay {decay:.3g}",
        })
        group["params"].append(parameter)
    return list(groups.values())


def _count_blocks(names: Iterable[str]) -> int:
    return max((int(match[1]) + 1 for name in names if (match := _block(name))), default=0)


def _depth(name: str, blocks: int) -> int:
    """Return 0 before the blocks, i in block i (counted from 1), N after them."""
    if match := _block(name):
        return int(match[1]) + 1
    return blocks if _AFTER.search(name) else 0


def _block(name: str) -> re.Match | None:
    return None if _BEFORE.search(name) else _BLOCK.search(name)


def adamw(
    betas: tuple[float, float] = (0.9, 0.98), eps: float = 1e-8
) -> Callable[[list[dict[str, Any]]], torch.optim.Optimizer]:
    """Return what makes AdamW from parameter groups (Loshchilov and Hutter 2019)."""
    return lambda groups: torch.optim.AdamW(
        groups, betas=tuple(betas), eps=eps, fused=_on_cuda(groups)
    )


def adam(
    betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
) -> Callable[[list[dict[str, Any]]], torch.optim.Optimizer]:
    """Return what makes Adam from parameter groups; weight decay goes through its moments."""
    return lambda groups: torch.optim.Adam(
        groups, betas=tuple(betas), eps=eps, fused=_on_cuda(groups)
    )


def whole_optimizer(
    lr: float, weight_decay: float, betas: tuple[float, float], eps: float, wd_exclude: str = "none"
) -> Callable[[nn.Module], torch.optim.Optimizer]:
    """Return what makes Adam with decoupled weight decay, on every parameter as released.

    Args:
        lr: learning rate.
        weight_decay: share per unit of learning rate.
        betas, eps: of Adam.
        wd_exclude: what is left out, see `parameter_groups`.
    """
    return lambda model: adamw(betas, eps)(
        parameter_groups(model, lr, weight_decay, wd_exclude=wd_exclude)
    )


def sgd(
    momentum: float = 0.9, nesterov: bool = True
) -> Callable[[list[dict[str, Any]]], torch.optim.Optimizer]:
    """Return what makes SGD with momentum, Nesterov's or the plain one, from parameter groups."""
    return lambda groups: torch.optim.SGD(
        groups, lr=groups[0]["lr"], momentum=momentum, nesterov=nesterov and momentum > 0,
        fused=_on_cuda(groups),
    )


def rmsprop(momentum: float = 0.9) -> Callable[[list[dict[str, Any]]], torch.optim.Optimizer]:
    """Return what makes RMSprop (alpha 0.99, eps 1e-8) with momentum from parameter groups."""
    return lambda groups: torch.optim.RMSprop(groups, lr=groups[0]["lr"], momentum=momentum)


def _on_cuda(groups: list[dict[str, Any]]) -> bool:
    return all(p.is_cuda for group in groups for p in group["params"])
