"""Features averaged over time: all that a head needs which is linear before its pooling.

The average of every utterance is computed once per feature cache and kept beside it. An epoch over
a corpus is then a few matrix products in memory instead of a pass over gigabytes of features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from sertools.brains.distributed import Ranks
from sertools.data.batching import Example
from sertools.data.feature_cache import FeatureCache
from sertools.files import publish, sha256
from torch import Tensor
from torch.utils.data import Dataset

NAME, NORMALISED = "pooled.safetensors", "pooled_normalised.safetensors"


class PooledFeatures(Dataset):
    """One frame (layers, 1, dim) per utterance: its mean over time, float32.

    Args:
        cache: the features.
        table: means by id, from `pooled_table`.
        ids: the utterances of this dataset, in order.
        targets: by id, a class index or a vector; None without labels.
    """

    def __init__(
        self,
        cache: FeatureCache,
        table: Mapping[str, Tensor],
        ids: Sequence[str],
        targets: Mapping[str, Tensor | int] | None = None,
    ):
        self.ids, self.targets = list(ids), targets
        self.table = {id: table[id] for id in self.ids}
        self.seconds = [cache.frames(id) / cache.frame_rate for id in self.ids]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Example:
        id = self.ids[index]
        return Example(id, self.table[id][:, None], self.targets and self.targets[id])


def pooled_table(
    cache: FeatureCache, ranks: Ranks, normalise: bool = False
) -> dict[str, Tensor]:
    """Return the mean over time (layers, dim), float32, of every utterance of a cache.

    With `normalise` every frame of every layer goes through a LayerNorm without scale and shift
    first. The first call writes the table beside the cache; later ones read it as long as the
    cache's index is the same. Call it on all ranks.
    """
    path = cache.folder / (NORMALISED if normalise else NAME)
    index = sha256(cache.folder / "index.json")
    stale = not path.is_file() or _index_of(path) != index
    ranks.attempt((lambda: _write(cache, path, index, normalise)) if ranks.main and stale else None)
    with safe_open(path, framework="pt") as file:
        means = file.get_tensor("means")
    return dict(zip(sorted(cache.ids), means, strict=True))


def _write(cache: FeatureCache, path: Path, index: str, normalise: bool) -> None:
    def mean(frames: Tensor) -> Tensor:
        frames = frames.float()
        return (F.layer_norm(frames, frames.shape[-1:]) if normalise else frames).mean(1)

    means = torch.stack([mean(cache.get(id)) for id in sorted(cache.ids)])
    with publish(path) as temporary:
        save_file({"means": means}, temporary, {"index": index})


def _index_of(path: Path) -> str | None:
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("index")
    except Exception as error:  # safetensors' own error type for whatever is damaged
        if type(error).__name__ != "SafetensorError":
            raise
        return None
