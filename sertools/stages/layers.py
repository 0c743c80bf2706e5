"""The frozen layers of a pretrained encoder, cached once for all folds and seeds.

Units ask often, and telling a large encoder apart from others takes seconds. So a small record in
dump/ says which cache holds the layers of which files, and a unit that finds it loads no encoder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sertools.data.feature_cache import FeatureCache
from sertools.data.feature_shards import digest
from sertools.errors import DataError
from sertools.files import read_json, sha256, write_json
from sertools.stages import chain
from sertools.stages.features import layers_of
from sertools.stages.given import encoder_of, prepared
from sertools.stages.sources import content, files_of


def cache_layers(job) -> list[Path]:
    """Cache the encoder's layers if the trainer hears them and they are not there yet.

    Raises:
        ConfigError: the encoder cannot be read.
        DataError: features do not fit the storage's range, or the disk is too small.
    """
    if not _wanted(job) or _sound(job):
        return []
    from sertools.models.upstream import load_upstream

    source = encoder_of(job)
    job.say(f"the layers of {source} are cached once for all folds and seeds")
    write_json(_record(job), {"cache": layers_of(job, load_upstream(source)).name})
    return []


def cached_layers(job) -> Path | None:
    """Return the folder of the encoder's cached layers; None if the trainer wants none."""
    if not _wanted(job):
        return None
    return job.dump / read_json(_record(job))["cache"]


def _wanted(job) -> bool:
    config = job.config
    return (chain.has_encoder(config) and not chain.hears_upstream(config)
            and config["trainer"].get("inputs") != "audio")


def _sound(job) -> bool:
    try:
        FeatureCache(cached_layers(job))
    except (FileNotFoundError, DataError):
        return False
    return True


def _record(job) -> Path:
    """Return the path of the record: it is named after all that the layers depend on."""
    source = encoder_of(job)
    key: dict[str, Any] = {
        "encoder": content(files_of(source)) or source,
        "manifest": sha256(prepared(job, "utts.json")),
        **{name: job.config.get(name)
           for name in ("feature_layers", "feature_seconds", "precision")},
    }
    return job.dump / "layers" / f"{digest(key)[:16]}.json"
