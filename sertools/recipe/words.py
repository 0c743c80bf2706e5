"""Wording shared by the engine's messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean X?" for the most similar known name, or nothing."""
    found = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {found[0]}?" if found else ""


def count(number: int, noun: str) -> str:
    """Return "1 fold" or "3 folds"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def age(seconds: float) -> str:
    """Return a duration in the one unit that reads best."""
    for size, noun in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return count(int(seconds // size), noun)
    return count(max(0, int(seconds)), "second")


def unit_words(fold: str | None, seed: int | None) -> str:
    """Return "fold 1 seed 2"."""
    return f"fold {fold} seed {seed}"
