"""Read the fold lists that EmoBox publishes and find their utterances in a manifest.

EmoBox (emo-box/EmoBox @ 08280f2) keeps `fold_k/<corpus>_{train,valid,test}_fold_k.{jsonl,json}` and
a label map per corpus. Some of its files are spelt `_fold1` or `label_dict.json`.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from sertools.data.record import Record
from sertools.errors import DataError
from sertools.files import read_json

PARTS = {"train": "train", "valid": "dev", "test": "test"}
_LIST = re.compile(r".+_(train|valid|test)_fold_?(\d+)\.(jsonl?)")
_REMEDY = "give the folder of one corpus of EmoBox, the one that holds fold_1, fold_2, ..."


@dataclass(frozen=True)
class EmoBox:
    """The lists of one corpus: fold -> part (train, dev, test) -> key -> entry."""

    folds: dict[str, dict[str, dict[str, dict[str, Any]]]]
    label_map: dict[str, str] = field(default_factory=dict)
    """Raw label -> common name, as published."""

    def common_name(self, label: str) -> str | None:
        """Return the common name of a raw label; letter case is not reliable in the lists."""
        folded = {raw.casefold(): name for raw, name in self.label_map.items()}
        return self.label_map.get(label, folded.get(label.casefold()))


@dataclass(frozen=True)
class Matched:
    """EmoBox lists in terms of a manifest's ids."""

    folds: dict[str, dict[str, list[str]]]
    """Fold -> part -> ids in the manifest's order."""
    missing: list[str]
    """Keys of the lists that the manifest lacks."""
    extra: list[str]
    """Ids of the manifest that no list names."""
    labels: dict[str, Counter]
    """EmoBox label -> how often each class of the manifest goes with it."""
    disagreeing: list[str]
    """Ids whose class is not the one that their EmoBox label stands for elsewhere."""


def read_emobox(folder: str | Path) -> EmoBox:
    """Read all fold lists of one corpus.

    Raises:
        DataError: no list was found, a list cannot be read, or two spellings of a list differ.
    """
    folder = Path(folder)
    folds: dict[str, dict[str, dict]] = defaultdict(dict)
    sources: dict[tuple[str, str], Path] = {}
    problems = []
    for path in sorted(folder.glob("fold*/*.json*"), key=lambda path: (path.suffix, path)):
        match = _LIST.fullmatch(path.name)
        if not match:
            continue
        part, number = PARTS[match[1]], str(int(match[2]))
        entries, wrong = _entries(path)
        problems += wrong
        known = folds[number].setdefault(part, entries)
        first = sources.setdefault((number, part), path)
        if known.keys() != entries.keys():
            problems.append(f"{path.name} and {first.name} name different utterances")
    problems += [f"fold {number} has no test list" for number, parts in folds.items()
                 if "test" not in parts]
    if not folds:
        problems.append(f"{folder} holds no fold_k/<corpus>_test_fold_k.jsonl or .json")
    if problems:
        raise DataError("the EmoBox lists cannot be used", problems, _REMEDY)
    maps = [folder / name for name in ("label_map.json", "label_dict.json")]
    label_map = next((read_json(path) for path in maps if path.is_file()), {})
    return EmoBox({number: folds[number] for number in sorted(folds, key=int)}, label_map)


def match_emobox(lists: EmoBox, records: Mapping[str, Record]) -> Matched:
    """Find the utterances of the lists in a manifest, by id, else by stem."""
    index = _Index(records)
    order = {id: place for place, id in enumerate(records)}
    folds: dict[str, dict[str, list[str]]] = {}
    missing, named = {}, {}
    for number, parts in lists.folds.items():
        folds[number] = {}
        for part, entries in parts.items():
            ids = set()
            for key, entry in entries.items():
                id = index.find(key, entry.get("wav"))
                if id is None:
                    missing[key] = None
                else:
                    ids.add(id)
                    named[id] = str(entry.get("emo"))
            folds[number][part] = sorted(ids, key=order.__getitem__)
    extra = [id for id in records if id not in named]
    labels: dict[str, Counter] = defaultdict(Counter)
    for id, label in named.items():
        labels[label][records[id].label] += 1
    usual = {label: counter.most_common(1)[0][0] for label, counter in labels.items()}
    disagreeing = sorted(id for id, label in named.items() if records[id].label != usual[label])
    return Matched(folds, list(missing), extra, dict(sorted(labels.items())), disagreeing)


class _Index:
    """Finds a manifest's id by EmoBox key or file name; ambiguous stems find nothing."""

    def __init__(self, records: Mapping[str, Record]):
        self.records = records
        stems: dict[str, set[str]] = defaultdict(set)
        for id, record in records.items():
            stems[id.partition("-")[2]].add(id)
            stems[PurePosixPath(record.path).stem].add(id)
        self.stems = {stem: next(iter(ids)) for stem, ids in stems.items() if len(ids) == 1}

    def find(self, key: str, wav: str | None) -> str | None:
        if key in self.records:
            return key
        for stem in (key.partition("-")[2], key, PurePosixPath(wav or "").stem):
            if stem and stem in self.stems:
                return self.stems[stem]
        return None


def _entries(path: Path) -> tuple[dict[str, dict], list[str]]:
    text = path.read_text(encoding="utf-8-sig")
    try:
        if path.suffix == ".json":
            content = json.loads(text)
        else:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
            content = {row["key"]: row for row in rows}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        return {}, [f"{path.name} is not an EmoBox list: {error!r}"]
    if not isinstance(content, dict) or not all(isinstance(row, dict) for row in content.values()):
        return {}, [f"{path.name} is not an EmoBox list"]
    return content, []
