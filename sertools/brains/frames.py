"""Frames of a feature cache that stay in memory, for heads that need every one of them.

The folds and seeds of a recipe train one after the other in the same process and read the same
cache: what one of them has read, the next one finds.
"""

from __future__ import annotations

from collections.abc import Iterable

from sertools.data.feature_cache import FeatureCache
from sertools.files import sha256
from torch import Tensor

_HELD: dict[tuple[str, str], dict[str, Tensor]] = {}
"""Frames by id, of one cache at a time: its folder and what its index says."""


class HeldFeatures:
    """Features of a cache, from memory where they are held, from the disk where they are not.

    Args:
        cache: the features.
        megabytes: memory for frames, in the precision of the cache.
    """

    def __init__(self, cache: FeatureCache, megabytes: float):
        self.cache, self.limit = cache, megabytes * 2**20
        self.frame_rate = cache.frame_rate
        key = (str(cache.folder.resolve()), sha256(cache.folder / "index.json"))
        if key not in _HELD:
            _HELD.clear()
        self.held = _HELD.setdefault(key, {})

    def hold(self, ids: Iterable[str]) -> None:
        """Read what is not in memory yet, as far as it fits."""
        taken = sum(frames.nbytes for frames in self.held.values())
        for id in ids:
            if id in self.held:
                continue
            frames = self.cache.get(id)
            taken += frames.nbytes
            if taken > self.limit:
                return
            self.held[id] = frames.clone()  # the cache's own is a view of the file

    def frames(self, id: str) -> int:
        """Return the number of frames of an utterance."""
        return self.cache.frames(id)

    def get(self, id: str) -> Tensor:
        """Return the features (layers, frames, dim) of an utterance."""
        return self.held[id] if id in self.held else self.cache.get(id)
