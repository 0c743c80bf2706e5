"""Stage features: run what is frozen once over all audio, and keep what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sertools.data.audio import AudioReader
from sertools.data.feature_writer import write_features
from sertools.data.manifest import read_manifest
from sertools.errors import ConfigError
from sertools.stages import chain
from sertools.stages.given import data_folder, num_workers, prepared
from sertools.stages.pretrain import write_targets


def features(job) -> list[Path]:
    """Write what the caches lack; return the upstream's index and shards, the targets' indices.

    Raises:
        ConfigError: the upstream or the teacher is unknown or cannot be read, or it is not clear
            what the head shall hear.
        DataError: features do not fit the storage's range, or the disk is too small.
    """
    if chain.hears_upstream(job.config) and chain.has_encoder(job.config):
        raise ConfigError(
            "the head can hear an upstream or a pretrained encoder, not both",
            ["upstream is given, and so is pretrainer or pretrained"], "set one of them to null")
    if not chain.hears_upstream(job.config):
        return write_targets(job)
    cache = layers_of(job, job.build("upstream")())
    return [cache / "index.json", *sorted(cache.glob("*.safetensors"))]


def layers_of(job, upstream: Any) -> Path:
    """Write what the cache of an upstream's layers lacks; return its folder."""
    precision = job.config.get("precision", "fp32")
    upstream.settle(precision)
    return write_features(
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
        remedy="leave the layer out (feature_layers), or train with inputs: audio",
    )


def feature_reader(job) -> AudioReader:
    """Return what reads the audio of cached features: its first `feature_seconds`; null: all.

    The upstream normalises a waveform, or does not, as it was trained.

    Raises:
        ConfigError: `feature_seconds` is no length.
    """
    seconds = job.config.get("feature_seconds")
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if seconds is not None and not (number and 0 < seconds < float("inf")):
        raise ConfigError(f"feature_seconds is {seconds!r}",
                          remedy="give the seconds that are heard of an utterance; null: all")
    return AudioReader(
        crop=None if seconds is None else "start", crop_seconds=seconds, normalise=False,
        cache_megabytes=0,
    )
