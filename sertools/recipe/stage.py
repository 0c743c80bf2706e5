"""What a stage is, and the numbers and names that all recipes share."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sertools.errors import ConfigError
from sertools.recipe.words import nearest

NAMES = ("download", "prepare", "features", "pretrain", "train", "evaluate", "report", "export")
"""Canonical order; a stage's number is its place here, in every recipe."""


@dataclass(frozen=True)
class Stage:
    """One step of a recipe: a function from a job to its output files, and what it depends on."""

    name: str
    """One of `NAMES`."""
    function: Callable | str
    """`function(job) -> list of paths`, or "module:function", imported only when it runs."""
    does: str
    """One line for `--list-stages`."""
    keys: tuple[str, ...] = ()
    """Config keys that change its outputs; their values enter its marker."""
    runtime: tuple[str, ...] = ()
    """Config keys it reads that cannot change results: folders, device, number of workers."""
    after: tuple[str, ...] = ()
    """Earlier stages whose outputs it reads; the hashes of these enter its marker."""
    when: Mapping[str, Callable[[Mapping], bool]] = field(default_factory=dict)
    """Stage of `after` -> condition on the config under which its outputs enter the marker. Where
    it does not hold they may still be read: what they depend on is then among our own keys."""
    requires: str | Callable[[Mapping], bool] | None = None
    """Config key without which (absent or null) the stage is not part of the recipe, or a
    condition on the config."""
    serves: Callable[[Mapping], str | None] | None = None
    """`serves(config)` is the stage for whose sake alone it runs: while that one is done, this one
    counts as done too, even if its outputs were deleted."""
    narrow: Callable[[dict], dict] | None = None
    """`narrow(values of keys)` leaves of them what enters the marker, where that is less."""
    needs: tuple[str, ...] = ()
    """Config keys without which (absent or null) it cannot run; a run without them is refused."""
    units: bool = False
    """Whether it runs once per fold and seed."""
    parallel: bool = False
    """Whether it runs under torchrun with `--nproc N` or `--launcher`."""
    precious: bool = False
    """Whether former work takes so long that it is moved aside, never deleted, when it must give
    way to other settings."""
    home: str = "exp"
    """"exp" for `exp/<tag>`, "data" for `data/<set>`, which experiments share, "shared" for an
    `exp/<tag>` whose tag knows the keys of such stages alone: experiments that differ in other
    keys only share it."""
    first: Callable | str | None = None
    """`first(job)`, run in this process before every unit: what its processes share."""
    fingerprint: Callable[[Mapping], str] | None = None
    """`fingerprint(config) -> str` of inputs from outside the recipe, or None."""

    def __post_init__(self):
        assert self.name in NAMES, f"{self.name} is not one of {NAMES}"
        assert self.home in ("exp", "data", "shared"), self.home
        assert set(self.when) <= set(self.after), f"{self.name}: a condition on no earlier stage"
        assert not set(self.keys) & set(self.runtime), f"{self.name}: a key is of one kind only"
        assert all(NAMES.index(name) < self.number for name in self.after), self.after
        assert not (self.units and self.home != "exp"), f"{self.name}: units live in exp/<tag>"

    @property
    def number(self) -> int:
        """Return the canonical number."""
        return NAMES.index(self.name)

    @property
    def declared(self) -> tuple[str, ...]:
        """Return every config key that the stage may read."""
        return (*self.keys, *self.runtime)

    def load(self, first: bool = False) -> Callable[[Any], Sequence]:
        """Return the function, or `first`, importing its module when only its name was given."""
        function = self.first if first else self.function
        if callable(function):
            return function
        module, name = function.split(":")
        return getattr(importlib.import_module(module), name)


def number_of(text: str, option: str) -> int:
    """Return a stage's number from what the user typed, a number or a name.

    Raises:
        ConfigError: when it is neither.
    """
    name = text.strip().lower()
    if name.isdecimal() and int(name) < len(NAMES):
        return int(name)
    if name in NAMES:
        return NAMES.index(name)
    known = ", ".join(f"{number} {name}" for number, name in enumerate(NAMES))
    raise ConfigError(f"{option} {text}: no such stage{nearest(name, NAMES)}. Stages: {known}")
