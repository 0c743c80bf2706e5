"""Stage features: run a frozen upstream once over every utterance and keep its layers."""

from __future__ import annotations

from pathlib import Path

from sertools.data.audio import AudioReader
from sertools.data.feature_writer import write_features
from sertools.data.manifest import read_manifest
from sertools.stages.unit import data_folder, num_workers, prepared


def features(job) -> list[Path]:
    """Write what the feature cache lacks; return its index and shards.

    Raises:
        ConfigError: the upstream is unknown or cannot be read.
        DataError: features do not fit the storage's range, or the disk is too small.
    """
    upstream, precision = job.build("upstream")(), job.config.get("precision", "fp32")
    upstream.settle(precision)
    cache = write_features(
        upstream,
        read_manifest(prepared(job, "utts.json")),
        data_folder(job),
        feature_reader(job),
        job.dump,
        layers=job.config.get("feature_layers") or "all",
        precision=precision,
        device=job.config.get("device", "auto"),
        num_workers=num_workers(job),
        should_stop=job.should_stop,
        say=job.say,
    )
    return [cache / "index.json", *sorted(cache.glob("*.safetensors"))]


def feature_reader(job) -> AudioReader:
    """Return what reads the audio of cached features: its first `feature_seconds`; null: all.

    The upstream normalises a waveform, or does not, as it was trained.
    """
    seconds = job.config.get("feature_seconds")
    return AudioReader(
        crop="start" if seconds else None, crop_seconds=seconds or None, normalise=False,
        cache_megabytes=0,
    )
