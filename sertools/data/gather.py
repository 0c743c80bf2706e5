"""Find utterances wherever they are listed: manifest, EmoBox list, Kaldi folder, folder, files."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sertools.data.corpus import Faults
from sertools.data.manifest import ROOT, read_manifest
from sertools.data.prepare import MANIFEST
from sertools.data.record import Record, id_problem
from sertools.data.sniff import EXTENSIONS
from sertools.errors import ConfigError, DataError

AUDIO = tuple(sorted({ending for endings in EXTENSIONS.values() for ending in endings}))
"""Extensions that a folder is searched for; a file that is named itself may have any."""
_LONGEST_NAME = 220
"""Bytes of an id, so that a file named after it and its temporary twin fit into 255."""
_KNOWN = ("an utts.json, an EmoBox .json or .jsonl list, a Kaldi wav.scp, a folder that holds one "
          "of these or audio, or audio files")


def gather(
    inputs: Sequence[str | Path], data_folder: str | Path | None, faults: Faults
) -> dict[str, Record]:
    """Return the utterances of the inputs by id, with absolute paths; nothing is opened yet.

    Args:
        inputs: one list or folder, or any number of audio files.
            A manifest keeps its ids. An EmoBox list keeps its keys; its channels count from 1, and
            its `downloads/<dataset>` may be data_folder itself. A Kaldi `wav.scp` may have
            `segments`, `utt2spk`, `utt2emo`, `spk2gender` and `utt2lang` beside it; of commands
            those of `to_kaldi.py` are understood (`flac -c -d -s FILE |`, `sox FILE -t wav - remix
            N |`) and none is ever run. A file of a folder is named after its place in it: `a/b.wav`
            is `a-b`.
        data_folder: what relative paths of a list start from: needed for manifests; None is the
            current folder for other lists.
        faults: gets the entries that cannot be used.

    Raises:
        ConfigError: an input does not exist or is of no known kind, or data_folder is missing.
        DataError: a manifest is not sound.
    """
    paths = [Path(item) for item in inputs]
    _refuse(paths, data_folder)
    found: Iterator[Record]
    if len(paths) > 1 or not _is_list(paths[0]):
        found = _folder(paths[0]) if paths[0].is_dir() else _files(paths)
    else:
        file = _list_of(paths[0]) if paths[0].is_dir() else paths[0]
        root = Path.cwd() if data_folder is None else Path(data_folder).absolute()
        if file.name.endswith(".scp"):
            found = _kaldi(file, root, faults)
        else:
            found = _json(file, root, data_folder is not None, faults)
    records: dict[str, Record] = {}
    for record in found:
        problem = id_problem(record.id)
        if problem is None and len(os.fsencode(record.id)) > _LONGEST_NAME:
            problem = f"is longer than {_LONGEST_NAME} bytes"
        twin = records.get(record.id)
        if problem:
            faults.add(repr(record.id), problem, "give it another id", "ids that cannot be used")
        elif twin is None:
            records[record.id] = record
        elif source_of(twin) != source_of(record):
            faults.add(record.path, f"has the id {record.id!r} of {twin.path}",
                       "rename one of them", "utterances without an id of their own")
    return records


def source_of(record: Record) -> list[Any]:
    """Return what says which sound a record means: path, start, end, channel."""
    return [record.path, record.start, record.end, record.channel]


def _refuse(paths: list[Path], data_folder: str | Path | None) -> None:
    wrong = [f"{path}: there is no such file or folder" for path in paths if not path.exists()]
    if data_folder is not None and not Path(data_folder).is_dir():
        wrong.append(f"--data_folder {data_folder}: there is no such folder")
    if len(paths) > 1:
        wrong += [f"{path}: a folder or list comes alone" for path in paths
                  if path.is_dir() or _is_list(path)]
    if wrong:
        raise ConfigError("the input cannot be used", wrong, f"name {_KNOWN}")


def _list_of(folder: Path) -> Path | None:
    names = (MANIFEST, "wav.scp")
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _is_list(path: Path) -> bool:
    if path.is_dir():
        return _list_of(path) is not None
    return path.suffix in (".json", ".jsonl", ".scp")


def _folder(folder: Path) -> Iterator[Record]:
    files = sorted(path for path in folder.rglob("*")
                   if path.suffix.lower() in AUDIO and not path.name.startswith(".")
                   and path.is_file())
    if not files:
        raise ConfigError(f"{folder} holds no audio ({' '.join(AUDIO)})", remedy=f"name {_KNOWN}")
    for path in files:
        name = "-".join(path.relative_to(folder).with_suffix("").parts)
        yield Record(name, str(path.absolute()), tags={"dataset": folder.absolute().name})


def _files(paths: list[Path]) -> Iterator[Record]:
    for path in paths:
        yield Record(path.stem, str(path.absolute()))


def _json(file: Path, root: Path, rooted: bool, faults: Faults) -> Iterator[Record]:
    entries = _entries(file)
    if any(str(entry.get("path", "")).startswith(ROOT) for entry in entries.values()):
        if not rooted:
            raise ConfigError(f"{file} is a manifest; its paths start from the release's folder",
                              remedy="name that folder with --data_folder")
        for record in read_manifest(file).values():
            tags = {**record.tags, "dataset": record.id.partition("-")[0]}
            yield dataclasses.replace(record, path=str(root / record.path), tags=tags)
        return
    for key, entry in entries.items():
        problem = _emobox_problem(entry)
        if problem:
            faults.add(f"{file.name}, {key}", problem, "mend the list",
                       "entries that are not EmoBox's")
            continue
        start, end = entry.get("start_time"), entry.get("end_time")
        dataset = entry.get("dataset")
        yield Record(
            key, _emobox_place(root, entry), label=entry.get("emo"), speaker=entry.get("spk"),
            start=None if start is None else float(start), end=None if end is None else float(end),
            channel=None if entry.get("channel") is None else int(entry["channel"]) - 1,
            tags={"dataset": dataset} if isinstance(dataset, str) else {},
        )


def _entries(file: Path) -> dict[str, Mapping[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix == ".jsonl":
            content = {row["key"]: row for row in map(json.loads, filter(str.strip,
                                                                         text.splitlines()))}
        else:
            content = json.loads(text)
            if isinstance(content, list):
                content = {row["key"]: row for row in content}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} cannot be read as a list of utterances: {error!r}",
                        remedy=f"name {_KNOWN}") from error
    if not isinstance(content, dict) or not all(isinstance(row, dict) for row in content.values()):
        raise DataError(f"{file} is no list of utterances", remedy=f"name {_KNOWN}")
    return content


def _emobox_place(root: Path, entry: Mapping[str, Any]) -> str:
    """Return the path of a wav; root is where EmoBox's `downloads` lies, or a release itself."""
    wav, own = entry["wav"], f"downloads/{entry.get('dataset')}/"
    inside = root / wav.removeprefix(own)
    return str(inside if wav.startswith(own) and inside.is_file() else root / wav)


def _emobox_problem(entry: Mapping[str, Any]) -> str | None:
    if not isinstance(entry.get("wav"), str) or not entry["wav"]:
        return "has no wav"
    for name in ("start_time", "end_time", "channel"):
        if not isinstance(entry.get(name), int | float | None) or isinstance(entry.get(name), bool):
            return f"{name} is {entry[name]!r}, not a number"
    if entry.get("channel") is not None and entry["channel"] < 1:
        return f"channel is {entry['channel']}; EmoBox counts from 1"
    for name in ("emo", "spk"):
        if not isinstance(entry.get(name), str | None):
            return f"{name} is {entry[name]!r}, not a text"
    return None


def _kaldi(file: Path, root: Path, faults: Faults) -> Iterator[Record]:
    tables = {name: _table(file.with_name(name))
              for name in ("segments", "utt2spk", "utt2emo", "spk2gender", "utt2lang")}
    sounds: dict[str, Record] = {}
    for id, rest in _table(file).items():
        place = _recording(rest)
        if place is None:
            faults.add(f"{file.name}, {id}", f"is a command that is not run here: {rest}",
                       "name the audio file itself", "commands instead of files")
        else:
            sounds[id] = Record(id, str(root / place[0]), channel=place[1])
    for id, rest in (tables["segments"] or {name: name for name in sounds}).items():
        name, *times = rest.split()
        if name not in sounds:
            if name not in _table(file):
                faults.add(f"segments, {id}", f"{name} is not in {file.name}", "mend the list")
            continue
        try:
            start, end = [float(time) for time in times] if times else (None, None)
        except ValueError:
            faults.add(f"segments, {id}", f"times are {times}, not start and end", "mend the list")
            continue
        speaker = tables["utt2spk"].get(id)
        gender = {"f": "female", "m": "male"}.get(tables["spk2gender"].get(speaker or "", ""))
        yield dataclasses.replace(
            sounds[name], id=id, start=start, end=end if end is None or end > 0 else None,
            label=tables["utt2emo"].get(id), speaker=speaker, gender=gender,
            language=tables["utt2lang"].get(id))


def _table(file: Path) -> dict[str, str]:
    """Return a Kaldi table: first word of each line -> the rest."""
    if not file.is_file():
        return {}
    rows = (line.split(maxsplit=1) for line in file.read_text(encoding="utf-8").splitlines())
    return {row[0]: row[1].strip() if len(row) > 1 else "" for row in rows if row}


def _recording(text: str) -> tuple[str, int | None] | None:
    """Return file and channel of an entry of wav.scp; None for commands that are not known."""
    if not text.endswith("|"):
        return (text, None) if text else None
    try:
        words = shlex.split(text[:-1])
    except ValueError:
        return None
    if words[:4] == ["flac", "-c", "-d", "-s"] and len(words) == 5:
        return words[4], None
    if words[:1] == ["sox"] and words[2:6] == ["-t", "wav", "-", "remix"] and len(words) == 7:
        if words[6] == "-":
            return words[1], None
        if words[6].isdecimal() and int(words[6]) > 0:
            return words[1], int(words[6]) - 1
    return None
