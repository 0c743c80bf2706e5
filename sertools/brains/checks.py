"""Faults of a pretrainer's options, found together and said in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sertools.errors import ConfigError


def odd_numbers(
    given: Mapping[str, Any], numbers: Iterable[str], whole: Collection[str],
    optional: Collection[str],
) -> Iterator[str]:
    """Name what is no number.

    Args:
        given: all options, by name.
        numbers: those that must be finite numbers.
        whole: those of them that must be whole.
        optional: those of them that may be None.
    """
    for name in numbers:
        value, kinds = given[name], int if name in whole else int | float
        if value is None and name in optional:
            continue
        if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value):
            yield f"{name}: {value!r} is not a {'whole ' if name in whole else ''}number"


def odd_betas(betas: Any) -> Iterator[str]:
    """Name what cannot be Adam's two betas."""
    if not isinstance(betas, list | tuple) or len(betas) != 2 or not all(
            isinstance(beta, int | float) and 0 <= beta < 1 for beta in betas):
        yield f"betas: {betas!r}; give two numbers of 0 or more, less than 1"


def too_small(
    given: Mapping[str, Any], at_least: Mapping[str, float], positive: Iterable[str] = ()
) -> Iterator[str]:
    """Name numbers below their least value, and those of `positive` that are 0 or less."""
    for name, least in at_least.items():
        if given[name] is not None and given[name] < least:
            yield f"{name}: {given[name]}; give {least} or more"
    for name in positive:
        if not given[name] > 0:
            yield f"{name}: {given[name]}; give more than 0"


def odd_choices(given: Mapping[str, Any], choices: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Name texts that are not among those to choose from."""
    for name, known in choices.items():
        if given[name] not in known:
            yield f"{name}: {given[name]!r}; choose from {', '.join(known)}"


def refuse_faults(
    summary: str, kinds: Iterable[str], sense: Callable[[], Iterable[str]],
    parts: Iterable[Callable[[], object]], more: Iterable[str],
) -> None:
    """Raise ConfigError with all faults, if there are any.

    Args:
        summary: what cannot be done.
        kinds: values of a wrong kind; only without any of them is the sense looked at.
        sense: finds values that cannot be meant.
        parts: make objects that check some of the values on their own.
        more: further faults.
    """
    problems = list(kinds)
    if not problems:
        problems += sense()
        for make in parts:
            try:
                make()
            except ConfigError as error:
                problems += error.problems
    problems += more
    if problems:
        raise ConfigError(summary, problems)
