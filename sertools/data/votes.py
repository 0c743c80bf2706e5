"""Votes of annotators: the tag `votes` of an utterance, and distributions over classes from it.

The tag reads `anger=3;neutral=1.5`: a name, and how many annotators voted for it. A preparer writes
raw labels of the release; the stage prepare turns those that `corpus.label_map` knows into classes,
so that a manifest has class names, and beside them the raw labels that are no class. Whoever gave
several labels voted for each of them with an equal share.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction

from sertools.data.record import Record
from sertools.errors import DataError

TAG = "votes"
FORM = "label=weight;label=weight, as in anger=3;neutral=1.5"
_VOTE = re.compile(r"(?P<name>[^=;]*[^=;\s])=(?P<weight>\d{1,9}(\.\d{1,9})?)")


def shared(choices: Iterable[Sequence[str]]) -> dict[str, Fraction]:
    """Return the weight of each label, where every annotator has one vote.

    Args:
        choices: the labels of each annotator, who voted for all of them equally; none is no vote.
    """
    weights: dict[str, Fraction] = {}
    for labels in map(dict.fromkeys, choices):
        for label in labels:
            weights[label] = weights.get(label, Fraction()) + Fraction(1, len(labels))
    return weights


def write_votes(weights: Mapping[str, float | Fraction]) -> str:
    """Return the tag for the weights of labels, sorted by label; labels of weight 0 are left out.

    Raises:
        ValueError: a label or a weight that the tag cannot hold.
    """
    text = ";".join(f"{name}={_number(weight)}" for name, weight in sorted(weights.items())
                    if weight)
    if text:
        read_votes(text)
    return text


def read_votes(text: str) -> dict[str, float]:
    """Return the weight of each label of a tag.

    Raises:
        ValueError: the text is not of this form, or has a label twice.
    """
    weights: dict[str, float] = {}
    for part in text.split(";"):
        match = _VOTE.fullmatch(part)
        if match is None:
            raise ValueError(f"votes are {text!r}, not {FORM}")
        if match["name"] in weights:
            raise ValueError(f"votes are {text!r}, with {match['name']} twice")
        weights[match["name"]] = float(match["weight"])
    return weights


def map_votes(text: str, class_of: Callable[[str], str | None]) -> str:
    """Return the tag with classes in place of raw labels; labels of one class are added up.

    Args:
        text: the tag of a preparer.
        class_of: gives the class of a raw label, None where it has none: such a label stays.

    Raises:
        ValueError: the text is not of this form.
    """
    weights: dict[str, float] = {}
    for label, weight in read_votes(text).items():
        name = class_of(label) or label
        weights[name] = weights.get(name, 0.0) + weight
    return write_votes(weights)


def distributions(
    manifest: Mapping[str, Record], ids: Iterable[str], classes: Sequence[str]
) -> dict[str, tuple[float, ...]]:
    """Return the shares of the votes that each class has, by utterance.

    Votes for anything but the classes are left out, so that the shares of the others sum to 1.

    Args:
        manifest: records by id, as the stage prepare wrote them.
        ids: of which utterances.
        classes: in the order of the shares.

    Raises:
        DataError: utterances without a vote that counts; all of them.
    """
    found, problems = {}, []
    for id in ids:
        try:
            found[id] = _shares(manifest.get(id), classes)
        except ValueError as problem:
            problems.append(f"{id}: {problem}")
    if problems:
        raise DataError(
            "utterances have no votes of annotators to learn from", problems,
            "put the release's file of votes below data_folder and run the stage prepare again, "
            "leave these utterances out, or train on the labels instead")
    return found


def _shares(record: Record | None, classes: Sequence[str]) -> tuple[float, ...]:
    if record is None:
        raise ValueError("is not in the manifest")
    text = record.tags.get(TAG)
    if not text:
        raise ValueError("has no tag `votes`")
    weights = read_votes(text)
    usable = [weights.get(name, 0.0) for name in classes]
    total = math.fsum(usable)
    if total <= 0:
        raise ValueError(f"no vote is for any of the classes ({text})")
    return tuple(weight / total for weight in usable)


def _number(weight: float | Fraction) -> str:
    return f"{float(weight):.6f}".rstrip("0").rstrip(".")
