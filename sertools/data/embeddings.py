"""A folder of embeddings: what made them, whose they are, and which are there.

    meta.json          model, layer, level, format, ...: one folder holds one kind of embedding
    inputs.json        id -> what is known of every utterance that was asked for
    embeddings.jsonl   the embeddings that are there, in EmoBox's form (`type: feature`)
    *.npy, shard-*.safetensors or parquet/*.parquet
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sertools.data.embedding_files import NpyStore, SafetensorsStore
from sertools.data.embedding_tables import ParquetStore
from sertools.data.gather import source_of
from sertools.data.record import DIMENSIONS, Record
from sertools.errors import ConfigError, DataError
from sertools.files import read_json, remove_leftovers, write_json, write_text
from torch import Tensor

STORES = {"npy": NpyStore, "safetensors": SafetensorsStore, "parquet": ParquetStore}
META, INPUTS, LIST = "meta.json", "inputs.json", "embeddings.jsonl"
VERSION = 1
"""Raised when folders are laid out in another way, or the same options give other values."""
_FREE = ("origin",)
"""Keys of meta.json that may differ: the same model from another place is the same model."""


class EmbeddingFolder:
    """Embeddings that are being written; for the folder's only writer.

    Args:
        folder: is made if need be.
        settings: plain values that the embeddings depend on; `format` names the kind of file.

    Raises:
        ConfigError: the folder was made with other settings or holds something else.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any]):
        self.folder = Path(folder)
        meta = {"version": VERSION, **settings}
        begun = (self.folder / META).exists()
        if begun:
            _refuse_other(self.folder, read_meta(self.folder), meta)
        visible = [path.name for path in self.folder.glob("*") if not path.name.startswith(".")]
        if visible and not begun:
            raise ConfigError(f"{folder} holds something else than embeddings", visible,
                              "name a new or empty folder with --out")
        path = self.folder / INPUTS
        self.inputs: dict[str, dict[str, Any]] = read_json(path) if path.is_file() else {}
        self.store = STORES[settings["format"]](self.folder, self.inputs)
        self.there: dict[str, str] = {}
        if not begun:
            write_json(self.folder / META, meta)
        remove_leftovers(self.folder)
        remove_leftovers(self.folder / "parquet")

    def begin(self, records: Mapping[str, Record], seconds: Mapping[str, float]) -> set[str]:
        """Note whose embeddings are wanted; return the ids that are there already.

        Embeddings of audio that has changed since are removed (in shards, with their neighbours).

        Args:
            records: all wanted utterances, with absolute paths of files that exist.
            seconds: their lengths, where they are known.

        Raises:
            ConfigError: an id of the folder belongs to another sound.
        """
        entries = {id: _entry(record, seconds.get(id)) for id, record in records.items()}
        old = {id: self.inputs[id] for id in entries.keys() & self.inputs.keys()}
        others = sorted(id for id, entry in old.items()
                        if entry["source"] != entries[id]["source"])
        if others:
            raise ConfigError(
                f"{self.folder} has embeddings of other sounds under the same names",
                [f"{id}: there {old[id]['source'][0]}, now {entries[id]['source'][0]}"
                 for id in others],
                "name another folder with --out, or give the utterances other ids")
        changed = [id for id, entry in old.items() if entry["stamp"] != entries[id]["stamp"]]
        if changed:
            self.store.forget(changed)
        for id, entry in entries.items():
            if entry["seconds"] is None and id in old:
                entry["seconds"] = old[id]["seconds"]
        self.inputs.update(entries)
        write_json(self.folder / INPUTS, self.inputs)
        self.there = self.store.files(mend=True)
        return self.there.keys() & entries.keys()

    def add(self, id: str, embedding: Tensor) -> None:
        """Write an embedding: (D,), (layers, D), (T, D) or (layers, T, D), in its final type."""
        self.store.add(id, embedding)

    def finish(self) -> int:
        """Write what is waiting, then the list; return how many embeddings the folder has."""
        self.store.flush()
        files = self.there | self.store.written
        rows = []
        for id in sorted(files.keys() & self.inputs.keys()):
            entry = self.inputs[id]
            row = {"key": id, "dataset": entry["dataset"], "wav": files[id], "type": "feature",
                   "length": entry["seconds"], "task": "category", "emo": entry["label"],
                   "spk": entry["speaker"], "audio": entry["audio"]}
            rows.append(json.dumps(row, ensure_ascii=False) + "\n")
        write_text(self.folder / LIST, "".join(rows))
        return len(rows)


@dataclass(frozen=True)
class Embeddings:
    """One vector for each utterance of a folder."""

    ids: list[str]
    vectors: np.ndarray
    """(utterances, dim) float32."""
    facts: list[dict[str, Any]]
    """label, speaker, gender, arousal, valence, dominance, dataset, seconds, ...; None: unknown."""
    meta: dict[str, Any]


def read_embeddings(folder: str | Path, layer: int | None = None) -> Embeddings:
    """Read what `extract_embeddings.py` wrote; frames are averaged over time.

    Args:
        layer: which of several depths; None if there is one only.

    Raises:
        ConfigError: no folder of embeddings, or `layer` does not fit.
        DataError: it holds no embedding.
    """
    folder = Path(folder)
    meta = read_meta(folder)
    layers = meta["layers"]
    several = isinstance(layers, list) and len(layers) > 1
    if several and layer not in layers:
        raise ConfigError(f"{folder} has the layers {layers}",
                          remedy="choose one of them with --layer")
    if not several and layer is not None and layers != [layer]:
        raise ConfigError(f"{folder} has no layer {layer}, only {layers}", remedy="drop --layer")
    inputs = read_json(folder / INPUTS) if (folder / INPUTS).is_file() else {}
    store = STORES[meta["format"]](folder, inputs)
    vectors = {}
    for id, value in store.read(store.files()):
        value = value[layers.index(layer)] if several else value
        vectors[id] = value.mean(0, dtype=np.float64) if meta["level"] == "frame" else value
    if not vectors:
        raise DataError(f"{folder} holds no embedding yet",
                        remedy="run utils/extract_embeddings.py to its end")
    ids = sorted(vectors)
    return Embeddings(ids, np.stack([vectors[id] for id in ids]).astype(np.float32),
                      [inputs.get(id, {}) for id in ids], meta)


def read_meta(folder: Path) -> dict[str, Any]:
    """Return a folder's meta.json.

    Raises:
        ConfigError: there is none, or it is of another version.
    """
    try:
        meta = read_json(folder / META)
        if meta["version"] == VERSION and meta["format"] in STORES:
            return meta
        what = "was written by another version of sertools"
    except FileNotFoundError:
        what = "there is no such file"
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"cannot be read: {error}"
    raise ConfigError(f"{folder / META}: {what}",
                      remedy="name a folder that utils/extract_embeddings.py wrote")


def stamp(path: str | Path) -> list[int] | None:
    """Return a file's size and time of change, None if there is no such file."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _refuse_other(folder: Path, there: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    keys = [key for key in dict.fromkeys([*there, *now])
            if key not in _FREE and there.get(key) != now.get(key)]
    if keys:
        raise ConfigError(
            f"{folder} holds embeddings of another kind",
            [f"{key}: there {_short(there.get(key))}, now {_short(now.get(key))}" for key in keys],
            "give the options it was begun with, or name another folder with --out")


def _short(value: Any) -> str:
    """Return a value for a message; hashes are cut."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {str(item)[:16]}" for key, item in value.items())
    return json.dumps(value)


def _entry(record: Record, seconds: float | None) -> dict[str, Any]:
    facts: Iterable[str] = ("label", "speaker", "gender", "language", *DIMENSIONS)
    return {
        "audio": record.path,
        "source": source_of(record),
        "stamp": stamp(record.path),
        "seconds": record.duration or seconds,
        "dataset": record.tags.get("dataset"),
        **{name: getattr(record, name) for name in facts},
    }
