"""Notice that the audio of a pretraining changed: its manifests or shards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def fingerprint(config: Mapping) -> str | None:
    """Return a hash over the manifests and shard indices that `pretraining_data` names."""
    values = config.get("pretraining_data")
    if not values:
        return None
    from sertools.data.pretraining import PretrainingData

    given = {name: value for name, value in values.items() if not name.startswith("!")}
    folder = Path(config.get("data_folder") or ".")
    return PretrainingData(**given).fingerprint(config.recipe, folder)
