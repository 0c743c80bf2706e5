"""What a recipe declares about its corpus, and the help its `prepare.py` gets from the library."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from sertools.data.corpus_checks import corpus_problems
from sertools.data.mapped import MappedDimensions
from sertools.errors import MOST_EXAMPLES, ConfigError, DataError


class Fault(NamedTuple):
    """One thing in a release that is not as it must be."""

    where: str
    """File, line or utterance."""
    what: str
    """What is wrong there."""
    remedy: str
    """How to mend it; faults that share a remedy are listed once under it."""
    kind: str = "the release does not read as expected"
    """Heading under which it is listed."""


class Faults:
    """Collects everything that is wrong, and everything left out on purpose, in one pass."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.dropped: dict[str, list[str]] = {}
        """Reason -> ids (or files) left out on purpose."""

    def add(self, where: str | os.PathLike, what: str, remedy: str, kind: str | None = None):
        """Note a fault; `kind` is its heading in the message."""
        fault = Fault(shown(where), shown(what), shown(remedy))
        self.faults.append(fault if kind is None else fault._replace(kind=kind))

    def drop(self, reason: str, id: str | os.PathLike) -> None:
        """Note that an utterance or file is left out on purpose; drops are counted, not hidden."""
        self.dropped.setdefault(reason, []).append(shown(id))

    def __len__(self) -> int:
        return len(self.faults)

    def groups(self) -> list[str]:
        """Return one text per kind of fault: a heading with the count, and up to 20 examples."""
        kinds: dict[str, list[Fault]] = {}
        for fault in self.faults:
            kinds.setdefault(fault.kind, []).append(fault)
        return [_group(kind, faults) for kind, faults in kinds.items()]

    def raise_if_any(self, summary: str) -> None:
        """Raise one DataError that lists every kind of fault.

        Raises:
            DataError: at least one fault was noted.
        """
        if self.faults:
            raise DataError(summary, self.groups())


@dataclass(frozen=True)
class Corpus:
    """A corpus as its recipe declares it; every mistake is named before any file is read.

    Raises:
        ConfigError: a value that cannot be meant; all of them are listed.
    """

    name: str
    """Short name; every utterance id begins with it."""
    language: str | None = None
    """ISO 639-1 code of utterances that do not say their own."""
    classes: list[str] = field(default_factory=list)
    """Class names in the order of the model's outputs."""
    label_map: dict[str, str | None] = field(default_factory=dict)
    """Raw label -> class; null leaves the utterances out and counts them, or keeps them without a
    class where `unlabelled` is set. Empty: labels are class names already."""
    counts: dict[str, Any] = field(default_factory=dict)
    """Expected counts of the release: `total: 535`, `label: {W: 127, ...}`, `speaker: 10` (how
    many different ones) or `speaker: {"03": 49, ...}`; also class, session, gender, split, or
    a tag as `tag.<name>`. null instead of a number: any."""
    release: str | None = None
    """Version of the release, where `counts` holds a table of counts for each; a version without
    an entry of its own is not checked, which results say."""
    set: str = "all"
    """Name of the manifest's folder, `data/<set>`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Passed on to `records()` of the recipe's prepare.py."""
    scale: list[float] | None = None
    """Lowest and highest arousal, valence and dominance, such as [1, 7]."""
    dimensions: MappedDimensions | None = None
    """A table that gives each class its arousal, valence and dominance, where there are no ratings
    (`MappedDimensions`); every result says so."""
    min_seconds: float = 0.1
    """Shorter utterances are bad audio."""
    max_seconds: float | None = None
    """Longer utterances are bad audio; null: any length."""
    bad_audio: str = "refuse"
    """`refuse` stops at audio that cannot be used, `skip` leaves it out and counts it."""
    known_bad_audio: list[str] = field(default_factory=list)
    """Ids whose audio is bad in the release itself: where it is, they are left out and counted."""
    allow_subset: bool = False
    """Other counts than expected become a warning that every result carries."""
    unlabelled: bool = False
    """Keep utterances without a class (for pretraining, or as context of others); `classes` may
    then be empty."""
    remark: str | None = None
    """What every result says of these labels, where they are not the usual ones."""

    def __post_init__(self) -> None:
        problems = corpus_problems(self)
        if problems:
            raise ConfigError("the recipe's corpus block is not sound", problems)

    def class_of(self, label: str) -> str | None:
        """Return the class of a raw label, None where the label map leaves it out.

        Raises:
            KeyError: the label is unknown.
        """
        if self.label_map:
            return self.label_map[label]
        return {name: name for name in self.classes}[label]

    @property
    def expected(self) -> dict[str, Any]:
        """Counts of the version that `release` names."""
        return self.counts if self.release is None else self.counts.get(self.release, {})

    @property
    def known_labels(self) -> list[str]:
        """Raw labels that the recipe knows."""
        return list(self.label_map or self.classes)


def find_audio(
    root: str | os.PathLike,
    faults: Faults,
    extensions: Iterable[str] = (".wav", ".flac"),
    duplicates: str = "first",
    name: Callable[[Path], str] = attrgetter("stem"),
) -> Iterator[Path]:
    """Yield the audio files below `root`, sorted by path; a missing or empty folder is a fault.

    Hidden files and folders (`._x`, `.DS_Store`) and `__MACOSX` are passed over; extensions match
    in any letter case. Re-uploads often hold a second copy of everything: of files with the same
    stem the least deeply nested is taken, then the one whose extension is named first, then the
    first by path; the others are counted as dropped. Two files with the same stem and extension
    but another size are no copies, and a fault. `duplicates="keep"` yields all; `name` compares
    something else than stems, for corpora whose stems are unique only together with their folder.
    """
    if duplicates not in ("first", "keep"):
        raise ValueError(f"duplicates is {duplicates!r}: use 'first' or 'keep'")
    root, order = Path(root), [extension.lower() for extension in extensions]
    found = [path for path in walk(root) if path.suffix.lower() in order]
    if not found:
        faults.add(root, _what_is_there(root, order),
                   "set data_folder to the folder of the unpacked official release",
                   "no audio was found")
    if duplicates == "first":
        found = _one_per_name(found, order, name, faults)
    yield from sorted(found)


def walk(root: str | os.PathLike) -> Iterator[Path]:
    """Yield the visible files below a folder in sorted order, each folder once."""
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not _hidden(name))
        yield from (Path(folder, name) for name in sorted(files) if not _hidden(name))


def shown(value: str | os.PathLike) -> str:
    """Return a text that UTF-8 can hold; undecodable bytes of file names become escapes."""
    text = os.fspath(value) if isinstance(value, os.PathLike) else str(value)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _one_per_name(found: list[Path], order: list[str], name: Callable[[Path], str],
                  faults: Faults) -> list[Path]:
    def preference(path: Path):
        return len(path.parts), order.index(path.suffix.lower()), path

    taken: dict[str, Path] = {}
    for path in sorted(found, key=preference):
        first = taken.setdefault(name(path), path)
        if first is path:
            continue
        same_kind = first.suffix.lower() == path.suffix.lower()
        if same_kind and first.stat().st_size != path.stat().st_size:
            faults.add(path, f"has the name of {shown(first)}, but another size",
                       "keep one copy of the release in data_folder", "files that clash")
        else:
            faults.drop("same stem as another file", path)
    return list(taken.values())


def _what_is_there(root: Path, extensions: list[str]) -> str:
    if not root.is_dir():
        return "this folder does not exist"
    names = sorted(shown(name) for name in os.listdir(root))
    inside = f"it holds {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
    return f"no {' or '.join(extensions)} file below it; {inside if names else 'it is empty'}"


def _group(kind: str, faults: list[Fault]) -> str:
    lines = [f"{kind}: {len(faults)}"]
    remedies = Counter(fault.remedy for fault in faults)
    for fault in faults[:MOST_EXAMPLES]:
        own = f" ({fault.remedy})" if len(remedies) > 1 and fault.remedy else ""
        lines.append(f"{fault.where}: {fault.what}{own}")
    if len(faults) > MOST_EXAMPLES:
        lines.append(f"... and {len(faults) - MOST_EXAMPLES} more")
    if len(remedies) == 1 and faults[0].remedy:
        lines.append(f"To mend it: {faults[0].remedy}")
    return "\n      ".join(lines)
