"""Word error rate: how far recognised words are from spoken ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def edit_distance(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Return the least number of substitutions, deletions and insertions between two sequences.

    Levenshtein's distance, a row of the table at a time. Within a row, insertions make each cell
    the least of the cells to its left plus the way from there: a running minimum.
    """
    codes = {word: code for code, word in enumerate({*reference, *hypothesis})}
    target = np.array([codes[word] for word in hypothesis], dtype=np.int64)
    steps = np.arange(len(hypothesis) + 1)
    row = steps.copy()
    for word in reference:
        best = row + 1  # the word is left out
        best[1:] = np.minimum(best[1:], row[:-1] + (target != codes[word]))
        row = np.minimum.accumulate(best - steps) + steps
    return int(row[-1])
