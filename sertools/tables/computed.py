"""Columns that are counted here instead of trained."""

from __future__ import annotations

import functools

from sertools.errors import ConfigError

MILLION = 1e6


@functools.cache
def counted(preset: str, what: str) -> float:
    """Return parameters (or those that are trained) or multiply-accumulates per second of audio.

    Args:
        preset: a preset, or a name of `models.account.REGISTRY`.
        what: one of `data.COMPUTED`.

    Raises:
        ConfigError: there is no such model; nothing is downloaded to find one.
    """
    from sertools.models.account import describe

    if preset not in known():
        raise ConfigError(f"preset {preset}: there is no such model",
                          remedy=f"the models are {', '.join(sorted(known()))}")
    if what == "macs":
        return describe(preset)["macs_per_second"]
    return _parameters(preset)[what]


@functools.cache
def _parameters(preset: str) -> dict[str, int]:
    """Count a model's parameters, built once for all columns."""
    from sertools.models.account import find

    parameters = list(find(preset).parameters())
    return {"parameters": sum(p.numel() for p in parameters),
            "trainable": sum(p.numel() for p in parameters if p.requires_grad)}


@functools.cache
def known() -> set[str]:
    """Return the names of models that can be counted."""
    from sertools.models.account import REGISTRY
    from sertools.models.presets import PRESETS

    return set(PRESETS) | set(REGISTRY)
