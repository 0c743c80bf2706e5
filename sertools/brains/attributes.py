"""The second label of an utterance: gender, gender at random, or speaker."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from sertools.data.record import GENDERS, Record
from sertools.errors import DataError

ATTRIBUTES = ("gender", "gender_shuffled", "speaker")


def attribute_labels(
    how: str, manifest: Mapping[str, Record], ids: Sequence[str], seed: int
) -> tuple[dict[str, int], list[str]]:
    """Return the label of every utterance, and what the labels stand for.

    Args:
        how: gender; gender_shuffled, the genders of the same utterances dealt out anew by seed, a
            control that says nothing of the voice; or speaker.
        manifest: all records, by id.
        ids: the training part.
        seed: of the dealing.

    Raises:
        DataError: utterances without the attribute; all are listed.
    """
    field = "speaker" if how == "speaker" else "gender"
    values = {id: getattr(manifest[id], field) for id in sorted(set(ids))}
    missing = [f"{id}: no {field}" for id, value in values.items() if value is None]
    if missing:
        raise DataError(
            f"these utterances of the training part have no {field}", missing,
            f"give the corpus a {field} in prepare.py, or learn without: model: emo")
    if how == "gender_shuffled":
        dealt = list(values.values())
        random.Random(f"gender_shuffled/{seed}").shuffle(dealt)  # noqa: S311  no secret
        values = dict(zip(values, dealt, strict=True))
    names = names_of(how, manifest, ids)
    place = {name: index for index, name in enumerate(names)}
    return {id: place[value] for id, value in values.items()}, names


def names_of(how: str, manifest: Mapping[str, Record], ids: Sequence[str]) -> list[str]:
    """Return what the labels of an attribute stand for, in their order."""
    if how != "speaker":
        return list(GENDERS)
    return sorted({manifest[id].speaker for id in ids} - {None})
