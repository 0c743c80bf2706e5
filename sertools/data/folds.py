"""Folds as a recipe declares them, as they come out, and as a file.

`Folds` is the declaration in the recipe, `FoldSet` what `protocol.make_folds` makes of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sertools.errors import ConfigError, DataError
from sertools.files import read_json, write_text

KINDS = ("leave_one_out", "grouped", "listed", "parts", "official", "random", "emobox")
PROTOCOLS = ("clean", "paper")
DRAWS = ("hash", "stratified_shuffle")
DEV_FROM = ("groups", "utterances")
_PARTS = ("train", "dev", "test")
_WHOLE_GROUPS = ("leave_one_out", "grouped", "listed")
_BY_GROUP = (*_WHOLE_GROUPS, "parts")


@dataclass(frozen=True)
class Folds:
    """How a recipe wants its utterances divided.

    Raises:
        ConfigError: arguments that do not fit together; all of them are listed.
    """

    kind: str = "leave_one_out"
    """leave_one_out (each group once), grouped (`count` folds of whole groups), listed (the groups
    of each fold are given), parts (one fold, the groups of its parts are given), official (the
    release's own parts), random (utterances, speakers ignored) or emobox (lists in `folder`)."""
    group: str = "speaker"
    """What stays together: speaker or session."""
    count: int | None = None
    """Number of folds, for grouped and random."""
    listed: list[list[str]] | None = None
    """Test groups of each fold, for listed; every group once."""
    parts: dict[str, list[str]] | None = None
    """Groups of `train`, `test` and, as far as it is given, `dev`, for parts; every group once."""
    seed: int = 1
    """For grouped and random, and for drawn dev parts."""
    test_share: float | None = None
    """For random: one single fold that tests on this share, instead of `count` folds."""
    draw: str = "hash"
    """How `test_share` is drawn, class by class: hash (by a hash of each id), stratified_shuffle
    (by scikit-learn's StratifiedShuffleSplit with `seed` on the utterances sorted by id)."""
    dev_groups: int = 1
    """Groups in the dev part."""
    dev_from: str = "groups"
    """groups, or utterances where a corpus has too few groups: under clean, `dev_share` of each
    fold's training part, which shares its groups with it then; results say so."""
    dev_share: float = 0.2
    """Share of the training part that becomes dev where the official parts have none."""
    paper_dev: str | None = None
    """Dev part under `protocol: paper`: test (the epoch is chosen on the test fold), random (a
    share of the training part, speakers ignored) or next (as under clean). Null: the dev list
    where the lists have one, else test."""
    paper_dev_share: float = 0.2
    """Share for `paper_dev: random`."""
    paper_flag: str | None = None
    """What is not known of the authors' protocol; every result under `protocol: paper` says it."""
    tests: str | None = None
    """For official: the tag that names several test parts. The first by name is the test part of
    all tables; each other is read once as well, by the same model, and reported beside it."""
    folder: str | None = None
    """Folder of one corpus of EmoBox, for emobox; relative to the recipe."""
    name: str | None = None
    """Name of the folds file; null: made of the values above."""
    paper: Folds | None = None
    """What takes the place of this under `protocol: paper`, where the authors divided otherwise."""

    def __post_init__(self) -> None:
        problems = _wrong(self)
        if problems:
            raise ConfigError("the recipe's folds block is not sound", problems)


@dataclass(frozen=True)
class Fold:
    """Utterance ids of one fold, in the order of the manifest."""

    name: str
    train: list[str]
    dev: list[str]
    test: list[str]
    groups: list[str] = field(default_factory=list)
    """Groups (speakers or sessions) of the test part."""
    part: str | None = None
    """Name of the test part where the release has several."""
    further: dict[str, list[str]] = field(default_factory=dict)
    """The other test parts, by name."""

    @property
    def tests(self) -> dict[str, list[str]]:
        """Return all test parts; the main one is called `test` in every corpus."""
        return {"test": self.test, **self.further}


@dataclass(frozen=True)
class FoldSet:
    """All folds of a protocol, what they leak, and what else one should know."""

    name: str
    protocol: str
    folds: list[Fold]
    flags: list[str] = field(default_factory=list)
    """What makes results better than they are; every result carries these."""
    notes: list[str] = field(default_factory=list)
    """Remarks that change no result's meaning."""

    def __iter__(self) -> Iterator[Fold]:
        return iter(self.folds)

    def __len__(self) -> int:
        return len(self.folds)


def protocol_name(folds: Folds, protocol: str) -> str:
    """Return the name of a protocol's file, such as `loso-speaker-clean`.

    Values that are not the default and not in the readable part add a short hash, so that two
    protocols never share a file.
    """
    if protocol == "paper" and folds.paper is not None:
        return protocol_name(folds.paper, protocol)
    if folds.name:
        return f"{folds.name}-{protocol}"
    kind = "loso" if folds.kind == "leave_one_out" else folds.kind
    parts = [f"{kind}{folds.count or len(folds.listed or ()) or ''}"]
    if folds.kind in _BY_GROUP:
        parts.append(folds.group)
    matters = _what_matters(folds, protocol)
    parts += [f"{word}{matters.pop(key)}" for key, word in
              (("seed", "seed"), ("dev_groups", "dev"), ("paper_dev", "dev-")) if key in matters]
    if matters:
        text = json.dumps(matters, sort_keys=True, default=list)
        parts.append(hashlib.blake2b(text.encode(), digest_size=3).hexdigest())
    return "-".join([*parts, protocol])


def _what_matters(folds: Folds, protocol: str) -> dict[str, Any]:
    """Return the values that are not the default and that the protocol looks at."""
    own_dev = protocol == "paper" and folds.paper_dev != "next"
    drawn = folds.kind in ("grouped", "parts", "random", "official", "emobox") or own_dev
    drawn |= folds.dev_from == "utterances"
    unused = {"kind", "count", "folder", "name", "paper", "paper_flag"}
    unused |= {"dev_groups", "dev_share", "dev_from"} if own_dev else {"paper_dev_share"}
    unused |= {"paper_dev"} if protocol == "clean" else set()
    unused |= set() if drawn else {"seed"}
    if folds.kind in _BY_GROUP:
        unused.add("group")  # stands in the readable part
    return {item.name: value for item in dataclasses.fields(folds) if item.name not in unused
            and (value := getattr(folds, item.name)) != item.default}


def write_folds(path: str | Path, folds: FoldSet) -> Path:
    """Publish folds as JSON, one fold's part a line."""
    head = {key: getattr(folds, key) for key in ("name", "protocol", "flags", "notes")}
    lines = [f'"{key}": {json.dumps(value, ensure_ascii=False)}' for key, value in head.items()]
    parts = [",\n".join(f'  "{key}": {json.dumps(value, ensure_ascii=False)}'
                        for key, value in dataclasses.asdict(fold).items()
                        if value or key not in ("part", "further"))
             for fold in folds.folds]
    lines.append('"folds": [\n ' + ",\n ".join(f"{{\n{part}\n }}" for part in parts) + "\n]")
    return write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def read_folds(path: str | Path) -> FoldSet:
    """Read a folds file.

    Raises:
        DataError: the file is missing or is no folds file.
    """
    path = Path(path)
    remedy = "run the stage prepare, which writes it"
    if not path.is_file():
        raise DataError(f"there is no folds file {path}", remedy=remedy)
    try:
        content: dict[str, Any] = read_json(path)
        return FoldSet(content["name"], content["protocol"],
                       [Fold(**fold) for fold in content["folds"]],
                       content["flags"], content.get("notes", []))
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} is not a folds file", [repr(error)], remedy) from error


def _wrong(folds: Folds) -> list[str]:
    kind, problems = folds.kind, []
    if kind not in KINDS:
        return [f"kind: {kind!r} is unknown, use one of {', '.join(KINDS)}"]
    if folds.group not in ("speaker", "session"):
        problems.append(f"group: {folds.group!r} is neither 'speaker' nor 'session'")
    if kind in ("grouped", "random"):
        given = folds.count is not None or (kind == "random" and folds.test_share is not None)
        if not given:
            problems.append(f"count: {kind} folds need it, such as 5")
        elif folds.count is not None and not (_whole(folds.count) and folds.count >= 2):
            problems.append(f"count: {folds.count!r} is not a whole number of 2 or more")
        if folds.count is not None and folds.test_share is not None:
            problems.append("test_share: makes one fold, leave out count")
    for key, owner in (("listed", "listed"), ("parts", "parts"), ("folder", "emobox"),
                       ("test_share", "random"), ("tests", "official")):
        if kind != owner and getattr(folds, key) is not None:
            problems.append(f"{key}: is only for kind: {owner}, leave it out for {kind}")
    if folds.count is not None and kind not in ("grouped", "random"):
        problems.append(f"count: is only for grouped and random, leave it out for {kind}")
    if kind == "emobox" and not folds.folder:
        problems.append("folder: emobox folds need the folder that holds fold_1, fold_2, ...")
    problems += _wrong_list(folds.listed) if kind == "listed" else []
    problems += _wrong_parts(folds.parts) if kind == "parts" else []
    if folds.draw not in DRAWS:
        problems.append(f"draw: {folds.draw!r} is not one of {', '.join(DRAWS)}")
    elif folds.draw != "hash" and folds.test_share is None:
        problems.append("draw: is only for test_share, leave it out")
    if folds.paper is not None and not isinstance(folds.paper, Folds):
        problems.append("paper: give folds of their own, paper: !new:sertools.data.folds.Folds")
    for key in ("dev_share", "paper_dev_share", "test_share"):
        value = getattr(folds, key)
        if value is not None and not (isinstance(value, float) and 0 < value < 1):
            problems.append(f"{key}: {value!r} is not between 0 and 1")
    if not (_whole(folds.dev_groups) and folds.dev_groups >= 1):
        problems.append(f"dev_groups: {folds.dev_groups!r} is not a whole number of 1 or more")
    if folds.dev_from not in DEV_FROM:
        problems.append(f"dev_from: {folds.dev_from!r} is not one of {', '.join(DEV_FROM)}")
    elif folds.dev_from != "groups" and kind not in _WHOLE_GROUPS:
        problems.append(f"dev_from: is for {', '.join(_WHOLE_GROUPS)}, leave it out for {kind}")
    if not _whole(folds.seed):
        problems.append(f"seed: {folds.seed!r} is not a whole number")
    if folds.paper_dev not in (None, "test", "random", "next"):
        problems.append(f"paper_dev: {folds.paper_dev!r} is not one of test, random, next")
    if folds.name is not None and not folds.name.replace("-", "").replace("_", "").isalnum():
        problems.append(f"name: {folds.name!r} becomes a file name: letters, digits, '-' and '_'")
    return problems


def _wrong_list(listed: Any) -> list[str]:
    if not listed or not all(fold and not isinstance(fold, str) for fold in listed):
        return ["listed: give the groups of every fold, such as [['01', '02'], ['03', '04']]"]
    problems = _wrong_names("listed", [name for fold in listed for name in fold], "fold")
    if len(listed) < 2:
        problems.append("listed: two folds at least are needed")
    return problems


def _wrong_parts(parts: Any) -> list[str]:
    if not isinstance(parts, dict) or not {"train", "test"} <= parts.keys() <= set(_PARTS) or any(
            isinstance(names, str) or not names for names in parts.values()):
        return ["parts: give the groups of train and test, and perhaps of dev, as lists"]
    return _wrong_names("parts", [name for names in parts.values() for name in names], "part")


def _wrong_names(key: str, names: list, place: str) -> list[str]:
    problems = [f"{key}: {name!r} is not a text, put it in quotes" for name in names
                if not isinstance(name, str)]
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    return problems + [f"{key}: {name!r} stands in more than one {place}" for name in twice]


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
