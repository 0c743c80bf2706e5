"""What a Vesper pretraining is put together from: teacher, student, caches, batches, words."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sertools.brains.distributed import Ranks
from sertools.brains.loaders import make_loader
from sertools.brains.randomness import seed_weights
from sertools.brains.teacher import Teacher
from sertools.brains.vesper_files import parameters_of
from sertools.brains.vesper_settings import OF_MASKS, SIZES, WEIGHTS
from sertools.brains.work import PretrainingWork
from sertools.data.batching import BucketBatchSampler
from sertools.data.feature_cache import FeatureCache
from sertools.data.targets import TargetDataset, collate_targets
from sertools.errors import ConfigError
from sertools.models.encoder import SpeechEncoder
from sertools.models.thinning import target_depths, thin
from sertools.models.upstream import OwnUpstream, Upstream
from sertools.models.weights.heard import Heard, pretrained_on
from torch import nn
from torch.utils.data import DataLoader

PASSES_PER_BUCKET = 20
"""Of similar length; more buckets would leave more passes that are not full."""


def build_models(given: Mapping[str, Any], seed: int) -> tuple[Upstream, SpeechEncoder]:
    """Return the frozen teacher and the student, equal on all processes.

    Raises:
        ConfigError: the teacher is not frozen, is not run by sertools, or cannot be thinned so.
    """
    seed_weights(seed)
    upstream = given["teacher"]()
    if not isinstance(upstream, OwnUpstream):
        raise ConfigError(
            "teacher: only encoders that sertools runs itself can be thinned, this is a "
            f"{type(upstream).__name__}",
            remedy="take WavLM, HuBERT, wav2vec 2.0, emotion2vec or an encoder of a recipe, with "
            "implementation: auto",
        )
    if upstream.trainable or upstream.frozen_mode != "eval":
        raise ConfigError("teacher: it must be frozen",
                          remedy="leave out trainable and frozen_mode")
    encoder = thin(upstream.model, given["layers"], given["initialisation"], given["blocks"],
                   **{name: given[name] for name in SIZES})
    return upstream, encoder


def teacher_of(given: Mapping[str, Any], upstream: Upstream) -> Teacher:
    """Return the teacher with its lower and upper target."""
    return Teacher(upstream, target_depths(given["teacher_layers"], upstream.num_layers))


def source_of(upstream: Upstream) -> Heard:
    """Return the corpora that a teacher has heard, as far as is known."""
    source = upstream.origin.get("source")
    return pretrained_on(source) if source else {}


def target_dataset(
    given: Mapping[str, Any], work: PretrainingWork, teacher: Teacher, encoder: SpeechEncoder
) -> TargetDataset:
    """Return the crops with their targets, from the caches that stage features wrote.

    Raises:
        ConfigError: the audio's rate is wrong, or a cache is missing or of something else.
        DataError: a cache lacks utterances, or no utterance is long enough.
    """
    config, rate = encoder.config, work.dataset.reader.sample_rate
    if rate != config.sample_rate:
        raise ConfigError(
            f"pretraining_data.sample_rate is {rate}, but the encoder hears {config.sample_rate}"
        )
    caches = [FeatureCache(path.parent) for path in map(Path, work.caches)
              if path.name == "index.json"]
    convolved = [cache for cache in caches if cache.key["upstream"]["class"] == "Convolutions"]
    heard = [cache for cache in caches
             if cache.key["upstream"] == teacher.upstream.identity
             and cache.key["layers"] == teacher.layers]
    online = given["targets"] == "online"
    missing = [name for name, found, wanted in (
        ("targets", heard, not online), ("frontend", convolved, given["frontend"] == "cached"),
    ) if wanted and not found]
    if missing:
        raise ConfigError(
            "what shall be cached is not, or is that of another teacher",
            [f"{name} is cached, but there is no such cache" for name in missing],
            "run stage features, or set targets: online and frontend: audio",
        )
    return TargetDataset(
        work.dataset, config.hop, config.frames, given["crop"], given["crop_seconds"], work.seed,
        cache=None if online else heard[0],
        local=convolved[0] if given["frontend"] == "cached" else None,
        online=online, small_span=given["small_span"], normalise=config.normalise_waveform,
        teacher_rate=teacher.upstream.frame_rate,
    )


def target_loader(
    given: Mapping[str, Any], work: PretrainingWork, dataset: TargetDataset, items: int,
    device: str, ranks: Ranks,
) -> DataLoader:
    """Return batches of at most `items` crops of similar length on each process."""
    passes = len(dataset) // (items * ranks.world_size)
    batches = BucketBatchSampler(
        dataset.seconds, given["batch_seconds"], True, work.seed, ranks.rank, ranks.world_size,
        buckets=max(1, passes // PASSES_PER_BUCKET), max_items=items,
    )
    collate = collate_targets
    if given["padding"] == "released":
        collate = functools.partial(collate_targets, samples=dataset.crop_samples,
                                    frames=dataset.crop_frames)
    return make_loader(dataset, batches, work, device, collate_fn=collate)


def about(
    given: Mapping[str, Any], upstream: Upstream, encoder: SpeechEncoder, model: nn.Module
) -> dict[str, Any]:
    """Return where a student comes from, for `vesper.json`.

    Args:
        model: what is pretrained: the student with its predictors, or without.
    """
    return {
        "teacher": {
            **upstream.origin, "identity": upstream.identity, "layers": upstream.num_layers,
            "dim": upstream.dim, "targets": teacher_of(given, upstream).layers,
            "parameters": parameters_of(upstream)["total"],
        },
        "student": {
            "layers": encoder.num_layers, "dim": encoder.dim,
            "initialisation": given["initialisation"], "blocks": given["blocks"],
            "parameters": parameters_of(encoder)["total"],
            "with_predictors": parameters_of(model),
        },
        "masks": {name: given[name] for name in OF_MASKS},
        **{name: given[name] for name in (*WEIGHTS, "crop", "crop_seconds", "padding")},
    }


def told(
    work: PretrainingWork, dataset: TargetDataset, origin: Mapping[str, Any], batches: int,
    epochs: int, passes: int, items: Sequence[int],
) -> list[str]:
    """Say what will be trained, on what and for how long.

    Args:
        batches: passes per epoch and process.
        passes: of them per update.
        items: utterances per pass, and processes.
    """
    left_out = len(dataset.too_short) + sum(
        sum(counts.values()) for reason, counts in work.summary.get("left_out", {}).items()
        if reason.startswith("shorter"))
    hours = sum(dataset.seconds) / 3600
    student, teacher = origin["student"], origin["teacher"]
    model, updates = student["with_predictors"], -(-batches // passes)
    crops, processes = items
    return [
        f"{len(dataset)} utterances, {hours:.2f} h of crops; {left_out} left out as too short",
        f"student: {student['layers']} of {teacher['layers']} blocks, {student['parameters']:,} "
        f"parameters ({teacher['parameters']:,} of the teacher); {model['total']:,} with the "
        f"predictors, {model['trainable']:,} of them trained",
        f"{epochs} epochs of {updates} updates; {passes} passes of {crops} utterances on each of "
        f"{processes} processes make an update",
    ]
