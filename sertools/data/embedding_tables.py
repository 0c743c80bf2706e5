"""Embeddings as Parquet tables, which pandas, Arrow and others read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sertools.data.embedding_files import Shards, by_file
from sertools.errors import ConfigError
from sertools.files import publish
from torch import Tensor

FACTS = ("label", "speaker", "gender", "arousal", "valence", "dominance", "dataset")
"""What a row tells besides id, path, seconds and embedding, where it is known."""


class ParquetStore(Shards):
    """`parquet/part-00000.parquet`: a row an utterance; the folder `parquet` is a data set."""

    pattern = "parquet/part-{:05d}.parquet"

    def __init__(self, folder: Path, facts: Mapping[str, Mapping[str, Any]]):
        super().__init__(folder, facts)
        self.pyarrow = _pyarrow()

    def members(self, path: Path) -> list[str] | None:
        """Return the column `id`, if the file can be read."""
        try:
            return self._table(path, ["id"])["id"].to_pylist()
        except (OSError, self.pyarrow.ArrowException, KeyError):
            return None

    def _table(self, path: Path, columns: list[str] | None = None):
        from pyarrow import parquet

        return parquet.ParquetFile(path, page_checksum_verification=True).read(columns)

    def write(self, path: Path, embeddings: dict[str, Tensor]) -> None:
        """Publish a part."""
        from pyarrow import parquet

        pa, facts = self.pyarrow, [self.facts.get(id, {}) for id in embeddings]
        columns = {
            "id": pa.array(list(embeddings), pa.string()),
            "path": pa.array([fact.get("audio") for fact in facts], pa.string()),
            "seconds": pa.array([fact.get("seconds") for fact in facts], pa.float64()),
        }
        for name in FACTS:
            kind = pa.float64() if name in ("arousal", "valence", "dominance") else pa.string()
            columns[name] = pa.array([fact.get(name) for fact in facts], kind)
        columns["embedding"] = _nested(pa, [value.numpy() for value in embeddings.values()])
        with publish(path) as temporary:
            parquet.write_table(pa.table(columns), temporary, write_page_checksum=True)

    def read(self, files: Mapping[str, str]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield part by part."""
        for name, ids in by_file(files).items():
            table, wanted = self._table(self.folder / name, ["id", "embedding"]), set(ids)
            for id, value in zip(table["id"].to_pylist(), table["embedding"], strict=True):
                if id in wanted:
                    yield id, _array(value.values).astype(np.float32)


def _pyarrow():
    try:
        import pyarrow
    except ImportError as error:
        raise ConfigError("the format parquet needs pyarrow, which is not installed",
                          remedy="pip install 'sertools[parquet]', or take npy or safetensors"
                          ) from error
    return pyarrow


def _nested(pa, arrays: list[np.ndarray]):
    """Return arrays of equally many axes as a column of (nested) lists."""
    column = pa.array(np.concatenate([array.reshape(-1) for array in arrays]))
    for axis in reversed(range(arrays[0].ndim)):
        lengths = [size for array in arrays
                   for size in [array.shape[axis]] * int(np.prod(array.shape[:axis]))]
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        column = pa.ListArray.from_arrays(offsets, column)
    return column


def _array(values) -> np.ndarray:
    """Return a pyarrow array of numbers, or of nested lists with equal lengths, as one of numpy."""
    shape, before = [], 1
    while hasattr(values, "value_lengths"):  # a level of lists: so many in all
        shape.append(len(values) // before)
        before, values = len(values), values.flatten()
    return values.to_numpy(zero_copy_only=False).reshape(*shape, -1)
