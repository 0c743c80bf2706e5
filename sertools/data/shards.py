"""Read audio from WebDataset shards, any utterance at any time.

A folder of shards, as `utils/make_shards.py` writes it, holds tar files with two members for each
utterance, `<key>.flac` (or `.wav`) and `<key>.json` (its record), and `index.json`, which says
where each utterance's sound begins. One read at that place is enough, so that shuffling, exact
resumption and sharing out over ranks work as with plain files; any WebDataset reader can go
through the same shards in their order. The index is published last: a folder without it is
unfinished.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sertools.data.audio import AudioReader, load_audio
from sertools.data.feature_shards import read_sealed, shard_fault
from sertools.data.prepared import INDEX
from sertools.data.record import Record
from sertools.errors import DataError
from torch import Tensor

_OPEN_FILES = 64
_AGAIN = ("run the same utils/make_shards.py command again; it checks every shard and writes "
          "only what is damaged")


class AudioShards:
    """A folder of shards.

    Args:
        folder: what `utils/make_shards.py` wrote.
        verify: compare the SHA-256 of every shard (reads all of them), not only its size.

    Raises:
        DataError: the folder is unfinished or damaged; all faults are listed.
    """

    def __init__(self, folder: str | Path, verify: bool = False):
        self.folder = Path(os.path.abspath(folder))
        try:
            index = read_sealed(self.folder / INDEX)
        except DataError as error:
            raise DataError(error.summary, remedy=_AGAIN) from error
        self.format: str = index["format"]
        self.shards: list[dict[str, Any]] = index["shards"]
        self.utterances: dict[str, dict[str, Any]] = index["utterances"]
        faults = [shard_fault(self.folder / note["file"], note, verify) for note in self.shards]
        if any(faults):
            raise DataError(f"The shards in {self.folder} are damaged.", list(filter(None, faults)),
                            _AGAIN)
        self._open: dict[int, BinaryIO] = {}

    @property
    def ids(self) -> list[str]:
        """Return the utterances of the shards."""
        return list(self.utterances)

    def __contains__(self, id: str) -> bool:
        return id in self.utterances

    def __len__(self) -> int:
        return len(self.utterances)

    def record(self, id: str) -> Record:
        """Return an utterance's record; its path leads into the tar file: `<shard>/<member>`.

        The audio hash is of the shard's SHA-256 and the place in it: the encoding may have changed
        samples, so that the hash of the original recording would promise too much.
        """
        place = self.utterances[id]
        shard = self.shards[place["shard"]]
        bytes_of = f"{shard['sha256']}/{place['offset']}/{place['size']}"
        return Record(id=id, path=f"{shard['file']}/{id}.{self.format}",
                      speaker=place["speaker"], duration=place["duration"],
                      audio_hash=hashlib.blake2b(bytes_of.encode(), digest_size=16).hexdigest())

    def read(self, id: str) -> bytes:
        """Return an utterance's encoded audio, one read at its place; safe in threads and forks.

        Raises:
            DataError: the shard became shorter than it was when it was opened.
        """
        place = self.utterances[id]
        file = self._file(place["shard"])
        content = os.pread(file.fileno(), place["size"], place["offset"])
        if len(content) < place["size"]:
            raise DataError(f"{file.name}: {id} is cut short.", remedy=_AGAIN)
        return content

    def load(self, id: str, sample_rate: int) -> Tensor:
        """Return an utterance's waveform (samples,), float32, at `sample_rate` in Hz.

        Raises:
            DataError: it cannot be decoded or holds samples that are not finite.
        """
        try:
            return load_audio(self.folder / self.record(id).path, sample_rate,
                              content=io.BytesIO(self.read(id)))
        except DataError as error:
            raise DataError(error.summary, remedy=_AGAIN) from error

    def _file(self, number: int) -> BinaryIO:
        """Return an open shard; a reference keeps it open while others make room for new ones."""
        file = self._open.get(number)
        if file is None:
            path = self.folder / self.shards[number]["file"]
            try:
                file = open(path, "rb", buffering=0)  # noqa: SIM115  closed with its last reference
            except OSError as error:
                raise DataError(f"{path} cannot be opened: {error.strerror}.",
                                remedy=_AGAIN) from error
            while len(self._open) >= _OPEN_FILES:
                self._open.pop(next(iter(self._open)), None)
            self._open[number] = file
        return file

    def __getstate__(self) -> Mapping[str, Any]:
        return {**self.__dict__, "_open": {}}


class ShardReader(AudioReader):
    """An audio reader that also reads paths into shards, `<folder>/<shard>/<member>`.

    Args:
        shards: the folders of shards that it knows; other paths are plain files.
        options: see `AudioReader`.
    """

    def __init__(self, shards: Iterable[AudioShards], **options: Any):
        super().__init__(**options)
        self.shards = {str(one.folder): one for one in shards}

    def load(self, path: Path, record: Record) -> Tensor:
        """Return the whole waveform (samples,) of a record."""
        shards = self.shards.get(str(path.parent.parent))
        if shards is None:
            return super().load(path, record)
        return shards.load(record.id, self.sample_rate)
