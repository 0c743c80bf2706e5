"""The turns before a turn: which they are, and their vectors as inputs of a model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from sertools.brains.conversation_texts import TurnTexts
from sertools.brains.distributed import Ranks
from sertools.brains.inputs import FeatureInputs, MakeHead
from sertools.brains.pooled import pooled_table
from sertools.brains.work import FoldWork
from sertools.data.batching import Example
from sertools.errors import DataError
from torch import Tensor, nn
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
    """The turns before each of `ids` as (1, turns, dim), float32: one vector per turn.

    Args:
        vectors: of each turn (dim,), by id.
        seconds: of each turn, by id.
        contexts: ids of the turns before, by id; never none.
        ids: the turns to predict, in order. Nothing of themselves is read.
        targets: class indices by id; None without labels.
    """

    def __init__(
        self,
        vectors: Mapping[str, Tensor],
        seconds: Mapping[str, float],
        contexts: Mapping[str, Sequence[str]],
        ids: Sequence[str],
        targets: Mapping[str, int] | None = None,
    ):
        self.ids, self.targets = list(ids), targets
        self.contexts = {id: list(contexts[id]) for id in self.ids}
        self.vectors = vectors
        self.seconds = [sum(seconds[before] for before in self.contexts[id]) for id in self.ids]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Example:
        id = self.ids[index]
        turns = torch.stack([self.vectors[before] for before in self.contexts[id]])
        return Example(id, turns[None], self.targets and self.targets[id])


class ContextInputs:
    """Vectors of the turns before a turn: of their speech, of their text, or both in one.

    Speech is the mean over time of the last cached layer; the model is the head alone.

    Args:
        work: the unit; `features` is the folder of the cache, where speech is wanted.
        head: builds the head.
        ranks: the processes of this training.
        contexts: from `contexts_of`.
        speech: whether turns are heard.
        texts: what was said in them; None: turns are not read.
    """

    def __init__(
        self, work: FoldWork, head: MakeHead, ranks: Ranks, contexts: Mapping[str, Sequence[str]],
        speech: bool = True, texts: TurnTexts | None = None,
    ):
        self.work, self.make_head, self.ranks = work, head, ranks
        self.contexts, self.texts = contexts, texts
        self.features = FeatureInputs(work, head, ranks) if speech else None
        self._table: dict[str, Tensor] | None = None

    def dataset(self, ids: Sequence[str], targets: Mapping | None, train: bool) -> Dataset:
        """Return the contexts of these turns."""
        heard = sorted({before for id in ids for before in self.contexts[id]})
        parts: list[Mapping[str, Tensor]] = []
        if self.features is None:
            seconds = {id: self.work.manifest[id].duration for id in heard}
        else:
            self.features.refuse_missing(heard)
            cache = self.features.cache
            if self._table is None:
                self._table = {id: means[-1]
                               for id, means in pooled_table(cache, self.ranks).items()}
            seconds = {id: cache.frames(id) / cache.frame_rate for id in heard}
            parts.append(self._table)
        if self.texts is not None:
            parts.append(self.texts.vectors)
        vectors = {id: torch.cat([part[id] for part in parts]) for id in heard}
        return Contexts(vectors, seconds, self.contexts, ids, targets)

    def model(self, num_outputs: int) -> nn.Module:
        """Return a fresh head."""
        sizes = [] if self.features is None else [self.features.cache.dim]
        if self.texts is None:
            return self.make_head(1, sizes[0], num_outputs)
        sizes.append(self.texts.dim)
        return self.make_head(1, sum(sizes), num_outputs, parts=sizes)

    def leaves_unused(self, model: nn.Module) -> bool:
        """Say no: every parameter of a head takes part in every step."""
        return False
