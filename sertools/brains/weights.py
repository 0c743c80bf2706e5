"""Which weights a checkpoint holds: the trained ones; frozen ones are recorded by their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from sertools.errors import ConfigError, UserError
from torch import Tensor, nn


class NonFiniteWeights(UserError):
    """Weights or optimizer states hold NaN or infinity, and are therefore not written."""


def frozen_roots(model: nn.Module) -> list[str]:
    """Return the names of the largest modules without any trainable parameter.

    Modules without parameters (dropout, activations) are not frozen, nor are those that change
    without gradients and say so with an attribute `moving = True` (an EMA teacher).
    """
    roots: list[str] = []
    moving = _moving(model)
    for name, module in model.named_modules():
        parameters = list(module.parameters())
        frozen = parameters and not any(p.requires_grad for p in parameters)
        holds_moving = any(_within(other, [name]) for other in moving)
        if frozen and not holds_moving and not _within(name, [*roots, *moving]):
            roots.append(name)
    return roots


def _moving(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if getattr(module, "moving", False)]


def _within(name: str, roots: list[str]) -> bool:
    return any(not root or name == root or name.startswith(root + ".") for root in roots)


class TrainedWeights:
    """The part of a model's state that training changes, with the hash of the rest.

    What is frozen when this object is made counts as frozen for good. Freezing or unfreezing later
    changes nothing about what is saved.

    Args:
        model: the model, not wrapped for distributed training.
    """

    def __init__(self, model: nn.Module):
        self.model = model
        self.roots = frozen_roots(model)
        moving = _moving(model)
        fixed = {name for name, p in model.named_parameters() if not p.requires_grad}
        self._left_out = {
            name for name in model.state_dict()
            if _within(name, self.roots) or (name in fixed and not _within(name, moving))
        }
        self.frozen = digest(model.state_dict(), sorted(self._left_out))

    def state_dict(self) -> dict[str, Tensor]:
        """Return what is trained, buffers of trained modules included."""
        return {k: v for k, v in self.model.state_dict().items() if k not in self._left_out}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state_dict` returned.

        Raises:
            ConfigError: names do not match; all are listed.
        """
        expected = set(self.model.state_dict()) - self._left_out
        problems = [f"{name}: not in the file" for name in sorted(expected - set(state))]
        problems += [f"{name}: not in the model" for name in sorted(set(state) - expected)]
        if problems:
            raise ConfigError("these weights are those of another model", problems)
        self.model.load_state_dict(state, strict=False)

    def eval_frozen(self) -> None:
        """Put what is frozen into evaluation mode: no dropout, no statistics, no masks.

        Only an upstream whose `frozen_mode` is "released" is left to act as it was told.
        """
        for name in self.roots:
            module = self.model.get_submodule(name)
            if getattr(module, "frozen_mode", "eval") == "eval":
                module.eval()


def refuse_non_finite(name: str, state: Any) -> None:
    """Raise NonFiniteWeights if any tensor of a nested state holds NaN or infinity."""
    wrong = [where for where, tensor in _tensors(state, name)
             if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())]
    if wrong:
        raise NonFiniteWeights(
            "weights became NaN or infinite; they are not saved", wrong,
            remedy="the last checkpoint is intact: lower the learning rate or clip more, "
            "and look at bad_batch.json beside it",
        )


def _tensors(state: Any, where: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(state, Tensor):
        yield where, state
    elif isinstance(state, Mapping):
        for key, value in state.items():
            yield from _tensors(value, f"{where}.{key}")
    elif isinstance(state, list | tuple):
        for index, value in enumerate(state):
            yield from _tensors(value, f"{where}.{index}")


def digest(state: Mapping[str, Tensor], names: list[str]) -> str | None:
    """Return the SHA-256 over names, types, shapes and bytes of tensors; None if there are none."""
    if not names:
        return None
    digest = hashlib.sha256()
    for name in names:
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
