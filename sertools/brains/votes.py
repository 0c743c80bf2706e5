"""The epoch that several dev scores vote for, as the scripts released with Vesper report it.

For each score, all epochs that reach one of its five best values get a vote. Of the five epochs
with the most votes the one with the largest sum of the scores is reported (Chen et al. 2024, arXiv
2307.10757; released code, with values of five decimals as in its logs).
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sertools.errors import DataError
from sertools.files import publish

BEST = 5
"""Values of a score whose epochs get a vote, and epochs that remain."""


def votes_of(history: Sequence[Mapping[str, Any]], scores: Sequence[str]) -> list[int]:
    """Return the epoch of every vote: score by score, best value first, early epochs first."""
    votes = []
    for name in scores:
        values = [_value(line, name) for line in history]
        for best in sorted(set(values), reverse=True)[:BEST]:
            votes += [line["epoch"] for line, value in zip(history, values, strict=True)
                      if value == best]
    return votes


def voted_epoch(history: Sequence[Mapping[str, Any]], scores: Sequence[str]) -> int:
    """Return the epoch that is reported.

    Args:
        history: the lines of metrics.jsonl.
        scores: dev scores that vote, all of them better when higher.
    """
    sums = {line["epoch"]: sum(_value(line, name) for name in scores) for line in history}
    most = [epoch for epoch, _ in Counter(votes_of(history, scores)).most_common(BEST)]
    return max(most, key=sums.__getitem__)  # the first of equals


class Candidates:
    """The models of all epochs that may still be voted for; the others can never come back.

    Later epochs push an epoch out of a score's five best values, but never back in, so that about
    ten models are enough (more where scores are equal).

    Args:
        folder: of the unit; the models lie in `candidates/` below it.
        scores: dev scores that vote.
    """

    def __init__(self, folder: Path, scores: Sequence[str]):
        self.folder, self.scores = Path(folder) / "candidates", list(scores)

    def keep(self, history: Sequence[Mapping[str, Any]], write: Callable[[Path], None]) -> None:
        """Write the model of the last epoch if it has a vote."""
        epoch = history[-1]["epoch"]
        if epoch in votes_of(history, self.scores):
            with publish(self.folder / str(epoch)) as folder:
                folder.mkdir()
                write(folder)

    def drop(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Delete the models without a vote; `history` is safe in a checkpoint."""
        kept = {str(epoch) for epoch in votes_of(history, self.scores)}
        for folder in self.folder.glob("[0-9]*"):
            if folder.name not in kept:
                shutil.rmtree(folder)

    def elect(self, history: Sequence[Mapping[str, Any]], best: Path) -> None:
        """Publish the model of the reported epoch as `best`.

        Raises:
            DataError: it is missing.
        """
        chosen = self.folder / str(voted_epoch(history, self.scores))
        if not chosen.is_dir():
            raise DataError(f"the model of the chosen epoch is missing: {chosen}",
                            remedy=f"delete {self.folder.parent} and train again")
        with publish(best) as folder:
            shutil.copytree(chosen, folder)

    def clear(self) -> None:
        """Delete all models, once training is done."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _value(line: Mapping[str, Any], name: str) -> float:
    value = line["dev"][name]
    return float("-inf") if value is None else round(value, 5)
