"""The files that embeddings are kept in: one .npy an utterance, or shards (safetensors, Parquet).

A store only adds: whatever it has published stays whole when the job is killed.
"""

from __future__ import annotations

import abc
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from sertools.data.feature_shards import read_sealed, shard_fault, write_sealed
from sertools.errors import DataError
from sertools.files import publish, sha256
from torch import Tensor

SHARD_BYTES = 64 * 2**20
SHARD_AGE = 60.0
"""Seconds after which a shard is written whatever its size: what a kill may cost."""
_WRITERS = 4  # threads; flushing a file to disk mostly waits


class Store(abc.ABC):
    """Embeddings in one folder, in one format.

    Args:
        folder: where the files are.
        facts: by id, what is known of an utterance (`embeddings.inputs`).
    """

    def __init__(self, folder: Path, facts: Mapping[str, Mapping[str, Any]]):
        self.folder, self.facts = folder, facts
        self.written: dict[str, str] = {}
        """What `add` has published, as in `files`."""

    @abc.abstractmethod
    def files(self, mend: bool = False) -> dict[str, str]:
        """Return id -> file, relative to the folder, of all sound embeddings.

        Args:
            mend: remove files that are not sound; for the folder's only writer.
        """

    @abc.abstractmethod
    def forget(self, ids: Iterable[str]) -> None:
        """Remove embeddings, and with them all that share a file with them."""

    @abc.abstractmethod
    def add(self, id: str, embedding: Tensor) -> None:
        """Write an embedding now or with the next shard."""

    @abc.abstractmethod
    def flush(self) -> None:
        """Write what is waiting."""

    @abc.abstractmethod
    def read(self, files: Mapping[str, str]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield id and embedding (float32) of what `files` returned."""


class NpyStore(Store):
    """`<id>.npy`: numpy arrays, one file an utterance, as FunASR and EmoBox write them."""

    def __init__(self, folder: Path, facts: Mapping[str, Mapping[str, Any]]):
        super().__init__(folder, facts)
        self._pool, self._waiting = ThreadPoolExecutor(_WRITERS), list[tuple[str, Future]]()

    def files(self, mend: bool = False) -> dict[str, str]:
        """Return the files whose header numpy understands and whose size fits it."""
        found = {}
        for path in self.folder.glob("*.npy"):
            try:
                np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError):
                path.unlink(missing_ok=True) if mend else None
            else:
                found[path.name.removesuffix(".npy")] = path.name
        return found

    def forget(self, ids: Iterable[str]) -> None:
        """Remove the files of these utterances."""
        for id in ids:
            (self.folder / f"{id}.npy").unlink(missing_ok=True)

    def add(self, id: str, embedding: Tensor) -> None:
        """Hand the file to a writing thread."""
        if len(self._waiting) >= 16 * _WRITERS:
            self._settle()
        job = self._pool.submit(_save, self.folder / f"{id}.npy", embedding.numpy())
        self._waiting.append((id, job))

    def _settle(self) -> None:
        id, job = self._waiting.pop(0)
        job.result()
        self.written[id] = f"{id}.npy"

    def flush(self) -> None:
        """Wait for the writing threads."""
        while self._waiting:
            self._settle()

    def read(self, files: Mapping[str, str]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield what the files hold."""
        for id, name in files.items():
            yield id, np.load(self.folder / name, allow_pickle=False).astype(np.float32)


class Shards(Store):
    """What formats with many utterances in a file share."""

    pattern: str
    """Name of a shard, with its number, relative to the folder."""

    def __init__(self, folder: Path, facts: Mapping[str, Mapping[str, Any]]):
        super().__init__(folder, facts)
        self._waiting: dict[str, Tensor] = {}
        self._bytes, self._since = 0, time.monotonic()

    @abc.abstractmethod
    def members(self, path: Path) -> list[str] | None:
        """Return the ids in a shard; None if it is not sound."""

    @abc.abstractmethod
    def write(self, path: Path, embeddings: dict[str, Tensor]) -> None:
        """Publish a shard."""

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob(self.pattern.replace("{:05d}", "*")))

    def remove(self, path: Path) -> None:
        """Remove a shard and all that belongs to it."""
        path.unlink()

    def files(self, mend: bool = False) -> dict[str, str]:
        """Return the members of sound shards."""
        found: dict[str, str] = {}
        for path in self._paths():
            members = self.members(path)
            if members is not None:
                found |= dict.fromkeys(members, path.relative_to(self.folder).as_posix())
            elif mend:
                self.remove(path)
        return found

    def forget(self, ids: Iterable[str]) -> None:
        """Remove the shards that hold any of these utterances."""
        unwanted = set(ids)
        for path in self._paths():
            if unwanted and unwanted & set(self.members(path) or ()):
                self.remove(path)

    def add(self, id: str, embedding: Tensor) -> None:
        """Keep an embedding until a shard is full or old."""
        self._waiting[id] = embedding
        self._bytes += embedding.nbytes
        if self._bytes >= SHARD_BYTES or time.monotonic() - self._since >= SHARD_AGE:
            self.flush()

    def flush(self) -> None:
        """Write the shard that is waiting, under the next free number."""
        if self._waiting:
            numbers = [int(path.stem.rpartition("-")[2]) for path in self._paths()]
            path = self.folder / self.pattern.format(max(numbers, default=-1) + 1)
            self.write(path, self._waiting)
            name = path.relative_to(self.folder).as_posix()
            self.written |= dict.fromkeys(self._waiting, name)
        self._waiting, self._bytes, self._since = {}, 0, time.monotonic()


class SafetensorsStore(Shards):
    """`shard-00000.safetensors`: tensors by id; a sealed note beside each vouches for it."""

    pattern = "shard-{:05d}.safetensors"

    def members(self, path: Path) -> list[str] | None:
        """Return what the note says, if size and SHA-256 fit."""
        try:
            note = read_sealed(path.with_suffix(".json"))
        except DataError:
            return None
        return None if shard_fault(path, note, verify=True) else note["ids"]

    def remove(self, path: Path) -> None:
        """Remove the note first: without it the shard counts for nothing."""
        path.with_suffix(".json").unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def write(self, path: Path, embeddings: dict[str, Tensor]) -> None:
        """Publish the shard, then its note."""
        from safetensors.torch import save_file

        with publish(path) as temporary:
            save_file(embeddings, temporary)
        write_sealed(path.with_suffix(".json"), {
            "size": path.stat().st_size, "sha256": sha256(path), "ids": list(embeddings)})

    def read(self, files: Mapping[str, str]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield shard by shard."""
        from safetensors import safe_open

        for name, ids in by_file(files).items():
            with safe_open(self.folder / name, "pt") as shard:
                for id in ids:
                    yield id, shard.get_tensor(id).float().numpy()


def _save(path: Path, array: np.ndarray) -> None:
    with publish(path) as temporary, open(temporary, "wb") as file:
        np.save(file, array, allow_pickle=False)


def by_file(files: Mapping[str, str]) -> dict[str, list[str]]:
    """Return file -> ids."""
    groups: dict[str, list[str]] = {}
    for id, name in files.items():
        groups.setdefault(name, []).append(id)
    return groups
