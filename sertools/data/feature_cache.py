"""Features of a frozen encoder, computed once for every recording and kept in half precision.

A cache is a folder named after all that its content depends on: the encoder's identity, the
layers, how audio is read, the precisions, the version of this code, and every utterance with the
hash of its samples. Change any of them and the features go to another folder. Inside are shards
and, published last, `index.json`: a folder without it is unfinished, and writing goes on there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sertools.data.feature_shards import read_sealed, shard_fault, shard_path
from sertools.errors import DataError
from torch import Tensor

ENCODER = "encoder.json"
"""Lies beside the index and says how large the encoder is, for reports; caches of old lack it."""
_OPEN_SHARDS = 64


class FeatureCache:
    """Read features that `feature_writer.write_features` wrote.

    Args:
        folder: the folder that `write_features` returned.
        verify: compare the SHA-256 of every shard (reads all of them), not only its size.

    Raises:
        DataError: the cache is unfinished or damaged; all faults are listed.
    """

    def __init__(self, folder: str | Path, verify: bool = False):
        self.folder = Path(folder)
        index = read_sealed(self.folder / "index.json")
        self.key: dict[str, Any] = index["key"]
        self.num_layers: int = index["num_layers"]
        self.dim: int = index["dim"]
        self.frame_rate: float = index["frame_rate"]
        self._audio: dict[str, str] = index["utterances"]
        self._places = {
            name: (number, frames)
            for number, note in enumerate(index["shards"])
            for name, frames in note["frames"].items()
        }
        faults = [
            shard_fault(shard_path(self.folder, number), note, verify)
            for number, note in enumerate(index["shards"])
        ]
        if any(faults):
            raise DataError(
                f"The feature cache {self.folder} is damaged.",
                [fault for fault in faults if fault],
                "run stage features again; only what is damaged is computed again",
            )
        self._open: dict[int, Any] = {}

    @property
    def ids(self) -> list[str]:
        """Return the utterances of the cache."""
        return list(self._audio)

    def __contains__(self, id: str) -> bool:
        return id in self._audio

    def __len__(self) -> int:
        return len(self._audio)

    def frames(self, id: str) -> int:
        """Return the number of frames of an utterance."""
        return self._place(id)[1]

    def get(self, id: str) -> Tensor:
        """Return the features (layers, frames, dim) of an utterance, mapped from the disk.

        Raises:
            DataError: the cache has no such utterance.
        """
        return self._shard(self._place(id)[0]).get_tensor(self._audio[id])

    def slice(self, id: str, start: int, frames: int) -> Tensor:
        """Return (layers, n, dim) from frame `start` on; only these rows are read.

        n is `frames`, or what the utterance has left from `start` on, which may be none.

        Raises:
            DataError: the cache has no such utterance.
        """
        number, count = self._place(id)
        name = self._audio[id]
        first, last = min(start, count), min(start + frames, count)
        if first >= last:
            return self._shard(number).get_tensor(name)[:, :0]
        return self._shard(number).get_slice(name)[:, first:last]

    def _place(self, id: str) -> tuple[int, int]:
        if id not in self._audio:
            raise DataError(
                f"The feature cache {self.folder} has no utterance {id!r}.",
                remedy="run stage features again with the manifest that has it",
            )
        return self._places[self._audio[id]]

    def _shard(self, number: int) -> Any:
        from safetensors import safe_open

        if number not in self._open:
            if len(self._open) >= _OPEN_SHARDS:
                self._open.pop(next(iter(self._open)))
            self._open[number] = safe_open(shard_path(self.folder, number), framework="pt")
        return self._open[number]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}
