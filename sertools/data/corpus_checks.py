"""What cannot be meant in a recipe's corpus block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sertools.data.corpus import Corpus

COUNTED = ("total", "label", "class", "speaker", "session", "gender", "split")
"""What `counts` may assert: the total, or how often each value of a field occurs."""


def corpus_problems(corpus: Corpus) -> list[str]:
    """Return one sentence for every value that cannot be meant."""
    found = [*_wrong_names(corpus), *_wrong_labels(corpus), *_wrong_release(corpus),
             *_wrong_limits(corpus)]
    if corpus.dimensions is not None:
        found += corpus.dimensions.missing(corpus.classes, corpus.scale)
    return found


def _wrong_names(corpus: Corpus) -> Iterator[str]:
    for key in ("name", "set"):
        value = getattr(corpus, key)
        plain = isinstance(value, str) and value.replace("_", "").replace("-", "").isalnum()
        if not plain or not value.isascii():
            yield f"{key}: {value!r} becomes a folder name, use letters, digits, '_' and '-'"
    if corpus.language is not None and not (
        isinstance(corpus.language, str) and len(corpus.language) == 2 and corpus.language.isalpha()
    ):
        yield f"language: {corpus.language!r} is not an ISO 639-1 code such as 'en'"
    if corpus.remark is not None and not isinstance(corpus.remark, str):
        yield f"remark: {corpus.remark!r} is not a text"
    if corpus.bad_audio not in ("refuse", "skip"):
        yield f"bad_audio: {corpus.bad_audio!r} is neither 'refuse' nor 'skip'"


def _wrong_labels(corpus: Corpus) -> Iterator[str]:
    if not corpus.classes and not corpus.unlabelled:
        yield "classes: is empty; list the class names in order, or set unlabelled: true"
    for name in corpus.classes:
        if not isinstance(name, str) or not name:
            yield f"classes: {name!r} is not a text, put it in quotes"
    twice = [name for name, number in Counter(map(str, corpus.classes)).items() if number > 1]
    if twice:
        yield f"classes: {', '.join(twice)} stands there more than once"
    for raw, name in corpus.label_map.items():
        if not isinstance(raw, str):
            yield f"label_map: {raw!r} is not a text, put it in quotes"
        if name is not None and name not in corpus.classes:
            yield f"label_map: {raw!r} leads to {name!r}, which is not among the classes"
    if corpus.label_map:
        for name in corpus.classes:
            if name not in corpus.label_map.values():
                yield f"classes: no raw label of label_map leads to {name!r}"


def _wrong_release(corpus: Corpus) -> Iterator[str]:
    if corpus.release is None:
        yield from _wrong_counts(corpus.counts)
        return
    if not isinstance(corpus.release, str):
        yield f"release: {corpus.release!r} is not a text, put it in quotes"
    for version, counts in corpus.counts.items():
        if not isinstance(version, str) or not isinstance(counts, Mapping):
            yield f"counts: {version!r}: give the counts of each release, its version in quotes"
        else:
            yield from _wrong_counts(counts)


def _wrong_counts(counts: Mapping[str, Any]) -> Iterator[str]:
    for key, expected in counts.items():
        if key not in COUNTED and not str(key).startswith("tag."):
            yield f"counts: {key!r} is unknown, use {', '.join(COUNTED)} or tag.<name>"
        elif isinstance(expected, Mapping) and key != "total":
            for value, number in expected.items():
                if not isinstance(value, str):
                    yield f"counts: {key}: {value!r} is not a text, put it in quotes"
                if number is not None and not _whole(number):
                    yield f"counts: {key}: {value}: {number!r} is not a whole number"
        elif not _whole(expected):
            yield f"counts: {key}: {expected!r} is not a whole number"


def _wrong_limits(corpus: Corpus) -> Iterator[str]:
    known = corpus.known_bad_audio
    if isinstance(known, str) or not all(isinstance(id, str) for id in known):
        yield f"known_bad_audio: {known!r} is not a list of ids"
    if corpus.min_seconds < 0:
        yield f"min_seconds: {corpus.min_seconds} is below 0"
    if corpus.max_seconds is not None and corpus.max_seconds <= corpus.min_seconds:
        yield f"max_seconds: {corpus.max_seconds} is not above min_seconds"
    if corpus.scale is not None and not (
        len(corpus.scale) == 2 and corpus.scale[0] < corpus.scale[1]
    ):
        yield f"scale: {corpus.scale} is not a lowest and a highest value such as [1, 7]"


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
