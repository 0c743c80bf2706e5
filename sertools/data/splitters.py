"""Carry out a recipe's folds on a manifest, one method per kind."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from sertools.data.emobox import match_emobox, read_emobox
from sertools.data.folding import (
    balanced_groups,
    by_group,
    following,
    group_share,
    random_folds,
    random_share,
    stratified_shuffle,
)
from sertools.data.folds import Fold, Folds
from sertools.data.record import Record
from sertools.errors import ConfigError, DataError


class Splitter:
    """Divides labelled records; `flags` and `notes` fill up on the way.

    Args:
        records: id -> record, sorted by id.
        folds: what the recipe declares.
        protocol: `clean` or `paper`.
        base: what a relative `folds.folder` is relative to.
    """

    def __init__(self, records: dict[str, Record], folds: Folds, protocol: str, base: Path):
        self.records, self.folds, self.protocol, self.base = records, folds, protocol, base
        self.flags: list[str] = []
        self.notes: list[str] = []
        self.grouped = all(getattr(record, folds.group) for record in records.values())

    def split(self) -> list[Fold]:
        """Return the folds."""
        kinds: dict[str, Callable[[], list[Fold]]] = {
            "leave_one_out": self._whole_groups, "grouped": self._whole_groups,
            "listed": self._whole_groups, "parts": self._parts, "official": self._official,
            "random": self._random, "emobox": self._emobox}
        return kinds[self.folds.kind]()

    def _whole_groups(self) -> list[Fold]:
        """Folds whose test parts are whole groups."""
        groups = self._groups()
        parts = self._test_groups(groups)
        self._enough(groups, parts)
        order = [name for part in parts for name in part]
        made, end = [], 0
        for number, part in enumerate(parts, 1):
            end += len(part)
            test = [record.id for name in part for record in groups[name]]
            sessions = {record.session for name in part for record in groups[name]} - {None}

            def mates(name: str, sessions: set = sessions) -> bool:
                """Whoever was recorded with the test part is heard there: best used as dev."""
                return any(record.session in sessions for record in groups[name])

            names = following(order, end, self.folds.dev_groups, part, mates)
            dev = {record.id for name in names for record in groups[name]}
            if self.folds.dev_from == "utterances":
                dev = self._drawn(test, number)
            made.append(self._fold(str(number), test, self._rest(test), dev))
        return made

    def _drawn(self, test: list[str], number: int) -> set[str]:
        """Draw a dev part from a training part whatever the groups; each fold draws anew."""
        rest = [self.records[id] for id in self._rest(test)]
        return random_share(rest, self.folds.dev_share, f"{self.folds.seed}/dev of fold {number}")

    def _test_groups(self, groups: dict[str, list[Record]]) -> list[list[str]]:
        kind, count = self.folds.kind, self.folds.count
        if kind == "leave_one_out":
            return [[name] for name in groups]
        if kind == "grouped":
            if len(groups) < count:
                raise ConfigError(f"folds.count: {count} folds need {count} {self.folds.group}s, "
                                  f"the corpus has {len(groups)}",
                                  remedy=f"set folds.count to {len(groups)} or less")
            return balanced_groups(groups, count, self.folds.seed)
        listed = {name for part in self.folds.listed for name in part}
        problems = [f"{name!r} stands in the list, the corpus lacks it"
                    for name in sorted(listed - groups.keys())]
        problems += [f"{name!r} stands in no fold" for name in sorted(groups.keys() - listed)]
        if problems:
            raise ConfigError(f"folds.listed must name every {self.folds.group} once", problems)
        return [sorted(part) for part in self.folds.listed]

    def _enough(self, groups: dict, parts: list[list[str]]) -> None:
        """Refuse corpora in which a fold would leave nothing to train or to select on."""
        whole = self._clean_dev() and self.folds.dev_from == "groups"
        needs = self.folds.dev_groups if whole else 0
        largest = max(map(len, parts))
        if len(groups) < largest + needs + 1:
            raise ConfigError(
                f"{len(groups)} {self.folds.group}s are too few: a test part takes {largest}, the "
                f"dev part {needs} (folds.dev_groups), and at least one must train",
                remedy="take a smaller folds.dev_groups, or folds.dev_from: utterances, or folds "
                       "of kind random")

    def _parts(self) -> list[Fold]:
        """One fold whose parts are lists of groups; groups that the corpus lacks are said."""
        groups = self._groups()
        listed = {name: part for part, names in self.folds.parts.items() for name in names}
        unlisted = [f"{name!r} stands in no part" for name in groups if name not in listed]
        if unlisted:
            raise ConfigError(f"folds.parts must name every {self.folds.group} once", unlisted)
        lacking = sorted(listed.keys() - groups.keys())
        if lacking:
            self.notes.append(f"{len(lacking)} {self.folds.group}s of the lists are not in the "
                              f"corpus, such as {lacking[0]}")
        parts: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
        for name, records in groups.items():
            parts[listed[name]] += [record.id for record in records]
        empty = [part for part in self.folds.parts if not parts[part]]
        if empty:
            raise DataError(f"the corpus has no {self.folds.group} of {' and '.join(empty)}",
                            remedy="complete the release, or take other folds")
        return self._given_parts(parts)

    def _official(self) -> list[Fold]:
        parts: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
        for record in self.records.values():
            if record.split is not None:
                parts[record.split].append(record.id)
        lacking = [name for name in ("train", "test") if not parts[name]]
        if lacking:
            raise DataError(f"the release names no utterance of {' and '.join(lacking)}",
                            remedy="fill split in prepare.py, or choose another folds.kind")
        outside = len(self.records) - sum(map(len, parts.values()))
        if outside:
            self.notes.append(f"{outside} utterances are in no official part and stay unused")
        if self.folds.tests is None:
            return self._given_parts(parts)
        tests = self._named_tests(parts["test"])
        name, further = next(iter(tests)), dict(list(tests.items())[1:])
        (fold,) = self._given_parts(parts | {"test": tests[name]})
        return [dataclasses.replace(fold, part=name, further=further)]

    def _named_tests(self, ids: list[str]) -> dict[str, list[str]]:
        """Return the test parts by name, sorted."""
        tag, tests = self.folds.tests, defaultdict(list)
        for id in ids:
            tests[self.records[id].tags.get(tag)].append(id)
        odd = [f"{name!r}, such as {ids[0]}" for name, ids in tests.items()
               if not (name or "").replace("-", "").replace("_", "").isalnum() or name == "test"]
        if odd:
            raise DataError(f"the tag {tag!r} names no test part that can be a file's name", odd,
                            "fill the tag in prepare.py, or leave out folds.tests")
        return dict(sorted(tests.items()))

    def _given_parts(self, parts: dict[str, list[str]]) -> list[Fold]:
        """Return the only fold; where the parts have no dev, it comes out of train."""
        dev = parts["dev"] or (self._share(parts["train"]) if self._clean_dev() else [])
        return [self._fold("1", parts["test"], parts["train"], dev, given=bool(parts["dev"]))]

    def _random(self) -> list[Fold]:
        share, seed = self.folds.test_share, self.folds.seed
        if share is not None:
            draw = random_share if self.folds.draw == "hash" else stratified_shuffle
            tests = [draw(self.records.values(), share, seed)]
        else:
            tests = random_folds(self.records.values(), self.folds.count, seed)
        if not all(tests) or len(self.records) < 3:
            raise DataError(f"{len(self.records)} labelled utterances are too few for these folds",
                            remedy="take a smaller folds.count")
        return [self._fold(str(number), test, rest, self._apart(test, rest, number))
                for number, test in enumerate(tests, 1) for rest in [self._rest(test)]]

    def _emobox(self) -> list[Fold]:
        folder = self.base / self.folds.folder
        matched = match_emobox(read_emobox(folder), self.records)
        empty = [number for number, parts in matched.folds.items() if not parts["test"]]
        if empty:
            raise DataError(f"the corpus has no test utterance of fold {', '.join(empty)} of "
                            f"{folder}", matched.missing, "is this the folder of this corpus?")
        self._report(matched)
        tested = {id for parts in matched.folds.values() for id in parts["test"]}
        several, made = len(matched.folds) > 1, []
        for number, parts in matched.folds.items():
            test, dev = parts["test"], parts.get("dev", [])
            # without train lists: the other folds' tests; a single list says nothing of the others
            rest = parts.get("train", tested if several else self.records)
            rest = sorted(set(rest) - set(test) - set(dev))
            made.append(self._fold(number, test, rest, dev or self._apart(test, rest, int(number)),
                                   given=bool(dev)))
        return made

    def _report(self, matched) -> None:
        if matched.missing:
            self.flags.append(f"{len(matched.missing)} utterances of the EmoBox lists are missing, "
                              f"such as {matched.missing[0]}")
        lists_all = len(matched.folds) > 1 or "train" in next(iter(matched.folds.values()))
        if matched.extra and lists_all:
            self.notes.append(f"{len(matched.extra)} utterances are in no EmoBox list and stay "
                              f"unused, such as {matched.extra[0]}")
        if matched.disagreeing:
            self.flags.append(f"{len(matched.disagreeing)} labels differ from those of EmoBox, "
                              f"such as that of {matched.disagreeing[0]}")

    def _fold(self, name: str, test: Iterable[str], rest: Iterable[str], dev: Iterable[str],
              given: bool = False) -> Fold:
        """Put a fold together: under `paper` with the authors' dev part, all in id order."""
        test, rest, dev = set(test), set(rest), set(dev)
        if not self._clean_dev() and not (given and self.folds.paper_dev is None):
            # Each fold draws anew; with one seed for all they would share most of their dev parts.
            dev = test if self.folds.paper_dev != "random" else random_share(
                [self.records[id] for id in rest], self.folds.paper_dev_share,
                f"{self.folds.seed}/dev of fold {name}")
        train = rest - dev - test
        if not train:
            raise DataError(f"fold {name} has nothing left to train on",
                            remedy="take a smaller folds.dev_groups, or other folds")
        groups = {getattr(self.records[id], self.folds.group) for id in test} - {None}
        return Fold(name, sorted(train), sorted(dev), sorted(test), sorted(groups))

    def _apart(self, test: Iterable[str], rest: list[str], number: int) -> list[str]:
        """Take whole groups out of the rest as dev, those absent from the test part first."""
        if not self._clean_dev():
            return []
        if not self.grouped:
            return self._share(rest)
        groups = by_group((self.records[id] for id in rest), self.folds.group)
        if len(groups) <= self.folds.dev_groups:
            return self._share(rest)
        tested = {getattr(self.records[id], self.folds.group) for id in test}
        start = (number - 1) * self.folds.dev_groups
        dev = following(list(groups), start, self.folds.dev_groups,
                        first=lambda name: name not in tested)
        return [record.id for name in dev for record in groups[name]]

    def _share(self, rest: list[str]) -> list[str]:
        """Take a share out of the rest as dev: whole groups, else (unknown ones) utterances."""
        records = [self.records[id] for id in rest]
        if self.grouped:
            groups = by_group(records, self.folds.group)
            drawn = group_share(groups, self.folds.dev_share, self.folds.seed)
            if drawn:
                return [record.id for name in drawn for record in groups[name]]
        note = f"dev was drawn utterance by utterance: too few known {self.folds.group}s"
        if note not in self.flags:
            self.flags.append(note)
        return sorted(random_share(records, self.folds.dev_share, self.folds.seed))

    def _clean_dev(self) -> bool:
        return self.protocol == "clean" or self.folds.paper_dev == "next"

    def _rest(self, test: Iterable[str]) -> list[str]:
        test = set(test)
        return [id for id in self.records if id not in test]

    def _groups(self) -> dict[str, list[Record]]:
        unknown = [id for id, record in self.records.items()
                   if not getattr(record, self.folds.group)]
        if unknown:
            raise DataError(
                f"the {self.folds.group} of {len(unknown)} utterances is unknown, so folds by "
                f"{self.folds.group} cannot be made", unknown,
                f"fill {self.folds.group} in prepare.py, or take folds of kind official or random")
        return by_group(self.records.values(), self.folds.group)
