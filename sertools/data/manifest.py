"""Manifests: one JSON object, an utterance a line, sorted by id, readable by SpeechBrain.

    {
    "emodb-03a01Fa": {"path": "{data_root}/wav/03a01Fa.wav", "label": "happiness", ...},
    "emodb-03a01Nc": {"path": "{data_root}/wav/03a01Nc.wav", "label": "neutral", ...}
    }

`DynamicItemDataset.from_json(file, replacements={"data_root": folder})` reads it as it is.
SpeechBrain formats *every* string of the file, so braces in texts and names are doubled here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sertools.data.record import FIELDS, Record, id_problem, path_problem, type_problems
from sertools.errors import DataError
from sertools.files import write_text

ROOT = "{data_root}/"
"""What stands before every path; SpeechBrain replaces it by the data folder."""

_ALL = frozenset(FIELDS)


def write_manifest(path: str | Path, records: Mapping[str, Record] | Iterable[Record]) -> Path:
    """Publish records as a manifest, sorted by id.

    Raises:
        DataError: two records have the same id.
    """
    records = list(records.values() if isinstance(records, Mapping) else records)
    records.sort(key=lambda record: record.id)
    twice = [a.id for a, b in zip(records, records[1:], strict=False) if a.id == b.id]
    if twice:
        raise DataError(f"ids occur more than once, {path} was not written", twice,
                        "give every utterance an id of its own")
    lines = ",\n".join(_line(record) for record in records)
    return write_text(path, f"{{\n{lines}\n}}\n" if records else "{}\n")


def read_manifest(path: str | Path) -> dict[str, Record]:
    """Return the records of a manifest by id, in its order, with paths relative again.

    Raises:
        DataError: the file is missing or is not a manifest; all problems are listed.
    """
    records, problems = inspect_manifest(path)
    if problems:
        raise DataError(f"{path} is not a sound manifest", problems,
                        "run the stage prepare again, or look with utils/validate.py")
    return records


def inspect_manifest(path: str | Path) -> tuple[dict[str, Record], list[str]]:
    """Return what can be read of a manifest, and every problem as a sentence."""
    path = Path(path)
    if not path.is_file():
        return {}, [f"{path} does not exist"]
    twice: list[str] = []
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"),
                             object_pairs_hook=lambda pairs: _once(pairs, twice))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        return {}, [f"{path} cannot be read as JSON: {error}"]
    if not isinstance(content, dict):
        return {}, [f"{path} holds a {type(content).__name__}, not an object of utterances"]
    problems = [f"{key!r} occurs more than once" for key in twice]
    records = {}
    for id, entry in content.items():
        record, wrong = _read_entry(id, entry)
        problems += [f"{id!r}: {problem}" for problem in wrong]
        if record is not None:
            records[id] = record
    ids = list(content)
    problems += [f"{b!r} comes after {a!r}: not sorted by id"
                 for a, b in zip(ids, ids[1:], strict=False) if b < a]
    return records, problems


def _line(record: Record) -> str:
    entry = {name: _map_texts(value, _double) for name, value in record.as_dict().items()}
    entry["path"] = ROOT + entry["path"]
    text = f"{_dump(record.id)}: {_dump(entry)}"
    return text if text.isascii() or _encodes(text) else (
        f"{json.dumps(record.id)}: {json.dumps(entry)}")


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _encodes(text: str) -> bool:
    """Say whether UTF-8 can hold a text; names of undecodable bytes (CP850) need escapes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _read_entry(id: str, entry: Any) -> tuple[Record | None, list[str]]:
    if not isinstance(entry, dict):
        return None, [f"is a {type(entry).__name__}, not an object"]
    problems = [f"id {problem}" for problem in filter(None, [id_problem(id)])]
    if entry.keys() != _ALL:
        missing, more = sorted(_ALL - entry.keys()), sorted(entry.keys() - _ALL)
        problems += [f"lacks {', '.join(missing)}"] if missing else []
        problems += [f"has the unknown fields {', '.join(more)}"] if more else []
    values = {name: _map_texts(entry.get(name), _single) for name in FIELDS}
    values["tags"] = values["tags"] if values["tags"] is not None else {}
    path = entry.get("path")
    if not isinstance(path, str) or not path.startswith(ROOT):
        return None, [*problems, f"path is {path!r}, it must begin with {ROOT}"]
    values["path"] = _single(path[len(ROOT):])
    record = Record(id=id, **values)
    problems += [f"path {problem}" for problem in filter(None, [path_problem(record.path)])]
    return record, problems + type_problems(record)


def _once(pairs: list[tuple[str, Any]], twice: list[str]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            twice.append(key)
        result[key] = value
    return result


def _map_texts(value: Any, change) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _map_texts(item, change) for key, item in value.items()}
    return value


def _double(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _single(text: str) -> str:
    return text.replace("{{", "{").replace("}}", "}")
