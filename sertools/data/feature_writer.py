"""Compute the features of a cache: longest recordings first, shard by shard, resumable."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from sertools.data.batching import BucketBatchSampler, collate
from sertools.data.dataset import AudioDataset
from sertools.data.feature_cache import ENCODER
from sertools.data.feature_shards import digest, read_note, shard_path, write_sealed, write_shard
from sertools.errors import ConfigError, DataError, Interrupted
from sertools.files import write_json
from torch import Tensor
from torch.utils.data import DataLoader

if TYPE_CHECKING:
    from sertools.data.audio import AudioReader
    from sertools.data.record import Record

CODE_VERSION = 1
"""Raised whenever this code would write other values for the same inputs."""
SHARD_BYTES = 256 * 2**20
SHARD_SECONDS = 1200.0
"""Audio in a shard at most: what a killed job may have to compute again."""
STORAGE = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
_LEFT_OVER = 24 * 3600.0  # seconds
_FIRST_ESTIMATE = 30.0  # seconds of work before the time that is left is told

Layers = str | Sequence[int]


def write_features(
    upstream: Any,
    manifest: Mapping[str, Record],
    data_folder: str | Path,
    reader: AudioReader,
    folder: str | Path,
    layers: Layers = "all",
    batch_seconds: float = 80.0,
    precision: str = "fp32",
    storage: str = "fp16",
    device: str = "auto",
    num_workers: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = print,
    remedy: str = "take storage: bf16 (wider range) or fp32",
) -> Path:
    """Compute what a feature cache lacks and return its folder, `<folder>/<key>`.

    Recordings with equal samples are computed once. The same call after an interruption keeps all
    finished shards that are sound, says which are damaged and computes those again.

    Args:
        upstream: frozen encoder (`models.upstream`): (B, L) waveforms to frames of all depths.
        manifest: all utterances to have, by id.
        data_folder: folder that the records' paths start from.
        reader: reads audio at the encoder's sample rate, without random crops.
        folder: where caches are kept.
        layers: "all" (the encoder's N + 1 depths), "last" (its final output), or depths: 0 is the
            input of the first block, -1 the output of the last one.
        batch_seconds: padded audio of a batch; changes speed and memory only.
        precision: of the computation, "fp32" or "bf16" (autocast).
        storage: of the files, "fp16", "bf16" or "fp32".
        should_stop: asked between batches.
        remedy: what to do where values do not fit the storage, in words.

    Raises:
        DataError: features do not fit the storage's range, or the disk is too small.
        ConfigError: options that cannot work together.
        Interrupted: `should_stop` said so; finished shards are kept.
    """
    depths = _check(upstream, manifest, reader, layers, precision, storage)
    key = _key(upstream, manifest, reader, depths, precision, storage)
    cache = Path(folder) / f"{upstream.identity['class'].lower()}-{digest(key)[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    _sweep(cache)
    frame_bytes = (1 if depths is None else len(depths)) * upstream.dim * STORAGE[storage].itemsize
    second_bytes = upstream.frame_rate * frame_bytes
    longest = reader.crop_seconds if reader.crop else None
    seconds = {id: min(record.duration, longest or record.duration)
               for id, record in manifest.items()}
    plan = _plan(manifest, seconds, second_bytes)
    notes = [_sound_note(cache, number, names, say) for number, names in enumerate(plan)]
    missing = [number for number, note in enumerate(notes) if note is None]
    to_do = sum(seconds[id] for number in missing for id in plan[number].values())
    _check_disk(cache, to_do, second_bytes, say)
    if missing:
        _to_device(upstream, device)
    progress = _Progress(to_do, say)
    for done, number in enumerate(missing, 1):
        dataset = AudioDataset(manifest, list(plan[number].values()), data_folder, reader)
        tensors: dict[str, Tensor] = {}
        for batch in _load(dataset, batch_seconds, num_workers, upstream):
            if should_stop():
                raise Interrupted(f"Stopped with {done - 1} of {len(missing)} shards written.")
            tensors |= _encode(upstream, batch, depths, precision, STORAGE[storage], remedy)
            progress.add(sum(seconds[id] for id in batch.ids))
        named = {name: tensors[id] for name, id in plan[number].items()}
        notes[number] = write_shard(shard_path(cache, number), named)
        say(f"features: shard {done} of {len(missing)}{progress.left()}")
    index = {
        "key": key,
        "num_layers": 1 if depths is None else len(depths),
        "dim": upstream.dim,
        "frame_rate": upstream.frame_rate,
        "utterances": {id: record.audio_hash for id, record in manifest.items()},
        "shards": notes,
    }
    if hasattr(upstream, "size"):
        write_json(cache / ENCODER, upstream.size())
    write_sealed(cache / "index.json", index)
    return cache


def _check(upstream, manifest, reader, layers: Layers, precision, storage) -> list[int] | None:
    """Return the wanted depths, None for the final output alone."""
    wrong = []
    if storage not in STORAGE:
        wrong.append(f"storage is {storage!r}: choose from {', '.join(STORAGE)}")
    if precision not in ("fp32", "bf16"):
        wrong.append(f"precision is {precision!r}: choose fp32 or bf16")
    if getattr(upstream, "frozen_mode", "eval") != "eval":
        wrong.append("frozen_mode is released, features differ from pass to pass: cached ones need "
                     "eval, or train with inputs: audio")
    if reader.crop == "random":
        wrong.append("the reader crops at random: cached features need crop null or start")
    if reader.sample_rate != upstream.sample_rate:
        wrong.append(
            f"the reader gives {reader.sample_rate} Hz, the encoder wants {upstream.sample_rate} Hz"
        )
    count = upstream.num_layers + 1
    depths: Any = list(range(count)) if layers == "all" else layers
    known = set(range(-count, count))
    if depths != "last" and (isinstance(depths, str) or not depths or not set(depths) <= known):
        wrong.append(f"layers is {layers!r}: choose all, last or depths of 0 to {max(known)} (or "
                     f"of -1 down to {min(known)}, counted from the last)")
    if wrong:
        raise ConfigError("Features cannot be written like this.", wrong)
    unread = [id for id, record in manifest.items() if not record.audio_hash or not record.duration]
    if unread or not manifest:
        raise DataError(
            "The manifest says nothing about the audio of some utterances."
            if unread
            else "The manifest is empty.",
            unread,
            "run stage prepare, which reads every file",
        )
    return None if depths == "last" else [depth % count for depth in depths]


def _key(upstream, manifest, reader, depths, precision: str, storage: str) -> dict[str, Any]:
    return {
        "code": CODE_VERSION,
        "upstream": dict(upstream.identity),
        "layers": "last" if depths is None else depths,
        "audio": {
            "sample_rate": reader.sample_rate,
            "crop": reader.crop,
            "crop_seconds": reader.crop_seconds if reader.crop else None,
            "normalise": reader.normalise,
        },
        "precision": precision,
        "storage": storage,
        "utterances": digest({id: record.audio_hash for id, record in manifest.items()}),
    }


def _plan(
    manifest: Mapping[str, Record], lengths: Mapping[str, float], second_bytes: float
) -> list[dict[str, str]]:
    """Cut distinct recordings into shards: {audio hash: an utterance that has it}, longest first.

    The cut depends on the manifest alone, so that an interrupted job finds its shards again.
    """
    distinct = {record.audio_hash: record for _, record in sorted(manifest.items(), reverse=True)}
    plan: list[dict[str, str]] = []
    seconds = 0.0
    most = min(SHARD_SECONDS, SHARD_BYTES / second_bytes)
    for record in sorted(distinct.values(), key=lambda record: (-lengths[record.id], record.id)):
        if not plan or seconds + lengths[record.id] > most:
            plan.append({})
            seconds = 0.0
        plan[-1][record.audio_hash] = record.id
        seconds += lengths[record.id]
    return plan


def _sweep(cache: Path) -> None:
    """Remove what a killed job left half-written; what is fresh may be another job's work."""
    for left in cache.glob(".tmp-*"):
        if time.time() - left.stat().st_mtime > _LEFT_OVER:
            left.unlink(missing_ok=True)


def _sound_note(cache: Path, number: int, names: Mapping[str, str], say) -> dict | None:
    note, fault = read_note(shard_path(cache, number), set(names))
    if fault:
        say(f"{fault} It is computed again.")
    return note


def _check_disk(cache: Path, seconds: float, second_bytes: float, say) -> None:
    """Say how much there is to do, and refuse what the disk cannot hold."""
    if not seconds:
        say(f"features: all there in {cache}")
        return
    need, free = seconds * second_bytes * 1.02, shutil.disk_usage(cache).free
    size = f"{need / 1e6:,.0f} MB" if need < 1e10 else f"{need / 1e9:,.1f} GB"
    say(f"features: {seconds / 3600:.2f} h of audio, about {size}, to {cache}, which has "
        f"{free / 1e9:,.1f} GB left")
    if need > free:
        raise DataError(
            f"Features need {need / 1e9:.1f} GB, {cache} has {free / 1e9:.1f} GB left.",
            remedy="keep fewer layers, take another disk, or train without cached features",
        )


class _Progress:
    """Tells how long it will take, from the audio done so far: early on once, then when asked."""

    def __init__(self, seconds: float, say: Callable[[str], None]):
        self.to_do, self.say, self.done, self.began = seconds, say, 0.0, time.monotonic()
        self.said = False

    def add(self, seconds: float) -> None:
        """Count audio that was encoded."""
        self.done += seconds
        if not self.said and time.monotonic() - self.began >= _FIRST_ESTIMATE:
            self.said = True
            self.say(f"features: {self.done / 3600:.2f} h of audio encoded{self.left()}")

    def left(self) -> str:
        """Return the time left as the end of a sentence, nothing at the end."""
        rest = max(0.0, self.to_do - self.done)
        if rest < 1e-6 * self.to_do or not self.done:
            return ""
        seconds = (time.monotonic() - self.began) / self.done * rest
        return f", about {seconds / 3600:.1f} h left" if seconds >= 3600 else (
            f", about {max(1, round(seconds / 60))} min left")


def _to_device(upstream, device: str) -> None:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    upstream.eval().to(device)


def _load(dataset: AudioDataset, batch_seconds: float, workers: int, upstream) -> Iterator:
    device = next(upstream.parameters()).device
    loader = DataLoader(
        dataset,
        batch_sampler=BucketBatchSampler(dataset.seconds, batch_seconds, shuffle=False),
        collate_fn=collate,
        num_workers=workers,
        pin_memory=device.type == "cuda",
    )
    return (batch.to(device, non_blocking=True) for batch in loader)


@torch.inference_mode()
def _encode(
    upstream, batch, depths: list[int] | None, precision: str, dtype, remedy: str
) -> dict[str, Tensor]:
    """Return the features (layers, frames, dim) of each utterance, cut to its own frames."""
    with torch.autocast(batch.inputs.device.type, torch.bfloat16, enabled=precision == "bf16"):
        encoded = upstream(batch.inputs, batch.lengths, hidden=depths is not None)
    chosen = [encoded.last] if depths is None else [encoded.hidden[depth] for depth in depths]
    features = torch.stack([layer.to(dtype) for layer in chosen], dim=1)
    lengths = encoded.lengths.tolist()  # the one wait for the device, then one transfer
    rows = features.cpu().unbind()
    cut = {
        id: row[:, :length].clone()
        for id, row, length in zip(batch.ids, rows, lengths, strict=True)
    }
    broken = [id for id, value in cut.items() if not value.isfinite().all()]
    if broken:
        largest = max(float(layer.abs().max()) for layer in chosen)
        raise DataError(
            f"Features do not fit {dtype}: the largest value of the batch is {largest:g}.",
            broken,
            remedy
            if largest < float("inf")
            else "the encoder gives no finite numbers for these",
        )
    return cut
