"""The turns before a turn: which they are, and their features as inputs of a model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from sertools.brains.distributed import Ranks
from sertools.brains.inputs import FeatureInputs, MakeHead
from sertools.brains.pooled import pooled_table
from sertools.brains.work import FoldWork
from sertools.data.batching import Example
from sertools.data.feature_cache import FeatureCache
from sertools.errors import DataError
from torch import Tensor
from torch.utils.data import Dataset

if TYPE_CHECKING:
    from sertools.data.record import Record

GAPS = ("refuse", "close")


def contexts_of(
    manifest: Mapping[str, Record], turns: int, gaps: str = "refuse"
) -> dict[str, list[str]]:
    """Return for every utterance the ids of the turns before it in its dialogue, oldest first.

    A dialogue is the tag `dialogue` within a session, its order the number in the tag `turn`;
    turns of all speakers count, whether they have a label or not.

    Args:
        manifest: all turns, by id.
        turns: how many to go back, at most.
        gaps: what to do about dialogues whose turns are not numbered without a gap: refuse, or
            close (those on both sides become neighbours).

    Raises:
        DataError: utterances without these tags, turns that stand twice, gaps; all are listed.
    """
    told = {id: (record.tags.get("dialogue"), record.tags.get("turn"))
            for id, record in manifest.items()}
    unnumbered = [f"{id}: dialogue {dialogue!r}, turn {turn!r}"
                  for id, (dialogue, turn) in told.items() if not dialogue or not _number(turn)]
    if unnumbered:
        raise DataError("these utterances have no place in a dialogue", unnumbered,
                        "the corpus must tell `dialogue` and `turn` (a number) of each utterance")
    dialogues: dict[tuple, list[tuple[int, str]]] = defaultdict(list)
    for id, record in manifest.items():
        place = int(record.tags["turn"]), id
        dialogues[record.session, record.tags["dialogue"]].append(place)
    order = {key: sorted(places) for key, places in dialogues.items()}
    _check(order, gaps)
    return {id: [before for _, before in places[max(0, index - turns):index]]
            for places in order.values() for index, (_, id) in enumerate(places)}


def _number(text: str | None) -> bool:
    return text is not None and text.isascii() and text.isdigit()


def _check(order: Mapping[tuple, list[tuple[int, str]]], gaps: str) -> None:
    """Refuse dialogues in which a turn stands twice, or is missing between others."""
    first = min((places[0][0] for places in order.values()), default=0)
    twice, missing = [], []
    for (_, dialogue), places in order.items():
        numbers = [number for number, _ in places]
        twice += [f"{dialogue}: turn {a} is {one} and {other}" for (a, one), (b, other)
                  in zip(places, places[1:], strict=False) if a == b]
        absent = sorted(set(range(first, numbers[-1])) - set(numbers))
        if absent:
            shown = ", ".join(map(str, absent[:5])) + (", ..." if len(absent) > 5 else "")
            missing.append(f"{dialogue}: no turn {shown}")
    if twice:
        raise DataError("the order of these dialogues is not known", twice,
                        "mend the tag `turn` in prepare.py")
    if missing and gaps == "refuse":
        raise DataError(
            "these dialogues lack turns, so what was said before others is not known", missing,
            "take a corpus block that keeps all turns (unlabelled: true), or set trainer.gaps: "
            "close, and the turns on both sides become neighbours",
        )


class Contexts(Dataset):
    """The turns before each of `ids` as (1, turns, dim), float32: one mean over time per turn.

    Args:
        cache: the features.
        table: means (layers, dim) by id; the last layer is taken.
        contexts: ids of the turns before, by id; never none.
        ids: the turns to predict, in order. Nothing of themselves is read.
        targets: class indices by id; None without labels.
    """

    def __init__(
        self,
        cache: FeatureCache,
        table: Mapping[str, Tensor],
        contexts: Mapping[str, Sequence[str]],
        ids: Sequence[str],
        targets: Mapping[str, int] | None = None,
    ):
        self.ids, self.targets = list(ids), targets
        self.contexts = {id: list(contexts[id]) for id in self.ids}
        heard = {before for context in self.contexts.values() for before in context}
        self.table = {id: table[id][-1] for id in heard}
        seconds = {id: cache.frames(id) / cache.frame_rate for id in heard}
        self.seconds = [sum(seconds[before] for before in self.contexts[id]) for id in self.ids]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Example:
        id = self.ids[index]
        turns = torch.stack([self.table[before] for before in self.contexts[id]])
        return Example(id, turns[None], self.targets and self.targets[id])


class ContextInputs(FeatureInputs):
    """Cached features of the turns before a turn; the model is the head alone.

    Args:
        work: the unit; `features` is the folder of the cache.
        head: builds the head.
        ranks: the processes of this training.
        contexts: from `contexts_of`.
    """

    def __init__(
        self, work: FoldWork, head: MakeHead, ranks: Ranks, contexts: Mapping[str, Sequence[str]]
    ):
        super().__init__(work, head, ranks)
        self.contexts = contexts

    def dataset(self, ids: Sequence[str], targets: Mapping | None, train: bool) -> Dataset:
        """Return the contexts of these turns."""
        heard = sorted({before for id in ids for before in self.contexts[id]})
        missing = [f"{id}: not in the cache" for id in heard if id not in self.cache]
        if missing:
            raise DataError(f"the feature cache {self.cache.folder} is not of these utterances",
                            missing, "run stage features again")
        if self._table is None:
            self._table = pooled_table(self.cache, self.ranks)
        return Contexts(self.cache, self._table, self.contexts, ids, targets)
