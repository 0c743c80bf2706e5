"""Embeddings of many recordings: batched, in windows where they are long, resumable."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from sertools.brains.pieces import Job, drop, load, plan, take
from sertools.data.batching import Batch
from sertools.data.corpus import Faults
from sertools.data.embeddings import EmbeddingFolder
from sertools.data.headers import BAD_AUDIO, REMEDY, read_headers
from sertools.data.record import Record
from sertools.data.windows import Piece
from sertools.errors import ConfigError, DataError, Interrupted
from sertools.models.upstream import Upstream
from torch import Tensor

STORAGE = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_SAY_EVERY = 10.0  # seconds


@dataclass(frozen=True)
class Options:
    """How embeddings are made; batch_seconds and num_workers change speed and memory only."""

    layers: list[int] | None = None
    """Depths 0 (input of the first block) to N (raw output of the last); None: the final output."""
    level: str = "utterance"
    """"utterance": mean over its frames; "frame": all frames."""
    storage: str = "fp32"
    """Type of the stored numbers, a key of STORAGE."""
    compute: str = "fp32"
    """"fp32" or "bf16" (autocast)."""
    window: float = 60.0
    """Seconds; longer utterances are encoded in windows of this length."""
    overlap: float = 4.0
    """Seconds that neighbouring windows share."""
    batch_seconds: float = 80.0
    """Padded audio in a batch."""
    num_workers: int = 0
    """Processes that read audio; 0 reads between the batches."""


@dataclass
class Outcome:
    """What `extract` did."""

    there: int
    """Embeddings that an earlier run had written."""
    done: int = 0
    audio_seconds: float = 0.0
    """Audio of the utterances that were done now."""
    seconds: float = 0.0
    """Time that it took."""
    total: int = 0
    """Embeddings in the folder."""


def extract(
    upstream: Upstream,
    records: Mapping[str, Record],
    folder: EmbeddingFolder,
    options: Options,
    faults: Faults,
    device: str | torch.device = "cpu",
    should_stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = print,
) -> Outcome:
    """Write the embeddings that a folder lacks; an utterance at fault does not stop the others.

    The result of an utterance does not depend on what it is batched with, as the upstream
    promises. A recording longer than the window is cut into windows that share `overlap` seconds;
    each is heard (and levelled, if the model does so) by itself, and every frame is taken from a
    window that hears at least half the overlap around it. Frames near the seams therefore differ a
    little from those of the whole. Memory does not grow with the length, but for a recording's own
    frames where those are asked for.

    Args:
        upstream: frozen.
        records: by id, with absolute paths.
        faults: gets what cannot be used.
        should_stop: asked between batches.

    Raises:
        Interrupted: `should_stop` said so; what is finished is kept.
        ConfigError: ids that belong to other sounds; a batch that does not fit the GPU's memory.
        DataError: the folder cannot be written any more, as when the disk is full.
    """
    began = time.monotonic()
    seconds = _lengths(records, folder, faults)
    records = {id: record for id, record in records.items() if id in seconds}
    try:
        there = folder.begin(records, seconds)
        jobs = {id: Job(record, seconds[id]) for id, record in records.items() if id not in there}
        hours = sum(job.seconds for job in jobs.values()) / 3600
        say(f"{len(records)} utterances, {len(there)} of them done before; "
            f"{hours:.2f} h of audio to do")
        outcome = Outcome(len(there))
        try:
            _run(upstream, jobs, folder, options, faults, device, should_stop, say, outcome)
        finally:
            outcome.total = folder.finish()
    except torch.OutOfMemoryError as error:
        raise ConfigError("a batch does not fit the GPU's memory; finished embeddings are kept",
                          remedy="lower --batch-seconds or --window-seconds") from error
    except OSError as error:
        raise DataError(f"{error.filename or folder.folder} cannot be written: {error.strerror}",
                        remedy="make room, then run the same command: what is whole is kept"
                        ) from error
    outcome.seconds = time.monotonic() - began
    return outcome


def _lengths(records: Mapping[str, Record], folder: EmbeddingFolder, faults: Faults):
    """Return the seconds of all utterances whose file is there, from headers where unknown."""
    seconds: dict[str, float] = {}
    unknown = []
    for id, record in records.items():
        known = record.duration or folder.inputs.get(id, {}).get("seconds")
        if known and Path(record.path).is_file():
            seconds[id] = known
        else:
            unknown.append(record)
    return seconds | {id: header[0] for id, header in read_headers(unknown, faults).items()}


def _run(upstream, jobs, folder, options, faults, device, should_stop, say, outcome) -> None:
    hop = round(upstream.sample_rate / upstream.frame_rate)
    pieces, batches = plan(jobs, options.window, options.overlap, hop, upstream.sample_rate,
                           options.batch_seconds, faults)
    if not pieces:
        return
    device = torch.device(device)
    upstream.eval().to(device)
    upstream.settle(options.compute)
    said = began = time.monotonic()
    heard = 0.0
    for batch, numbers, broken in load(jobs, pieces, batches, upstream.sample_rate,
                                       options.num_workers, device.type == "cuda"):
        if should_stop():
            raise Interrupted("stopped; finished embeddings are kept",
                              remedy="the same command goes on")
        for number, what in broken:
            drop(jobs[pieces[number][0]], what, faults)
        if batch is None:
            continue
        chosen = [pieces[number] for number in numbers]
        heard += float(batch.lengths.sum()) / upstream.sample_rate
        values = _encode(upstream, batch.to(device, True), [piece for _, piece in chosen], options)
        for (id, _), (value, frames) in zip(chosen, values, strict=True):
            whole = take(jobs[id], value, frames, options.level)
            if whole is not None and _fits(whole, id, options, faults):
                folder.add(id, whole.to(STORAGE[options.storage]).squeeze(0))
                outcome.done += 1
                outcome.audio_seconds += jobs[id].seconds
        if time.monotonic() - said > _SAY_EVERY:
            said = time.monotonic()
            say(f"{outcome.done} of {len(jobs)} utterances, "
                f"{heard / (said - began):.0f} audio-seconds per second")


@torch.inference_mode()
def _encode(
    upstream: Upstream, batch: Batch, pieces: list[Piece], options: Options
) -> list[tuple[Tensor, int]]:
    """Return for each piece its (layers, D) mean or (layers, frames, D), and how many frames."""
    with torch.autocast(batch.inputs.device.type, torch.bfloat16, options.compute == "bf16"):
        encoded = upstream(batch.inputs, batch.lengths, hidden=options.layers is not None)
    depths = options.layers
    chosen = [encoded.last] if depths is None else [encoded.hidden[depth] for depth in depths]
    features = torch.stack(chosen, 1)
    lengths = encoded.lengths.tolist()
    spans = [(piece.first, length if piece.last is None else piece.last)
             for piece, length in zip(pieces, lengths, strict=True)]
    counts = [last - first for first, last in spans]
    if options.level == "frame":
        rows = features.to(STORAGE[options.storage]).cpu()
        return [(row[:, first:last].clone(), last - first)
                for row, (first, last) in zip(rows, spans, strict=True)]
    steps = torch.arange(features.shape[2], device=features.device)
    first, last = torch.tensor(spans, device=features.device).T[..., None]
    keep = ((steps >= first) & (steps < last))[:, None, :, None]
    sums = features.float().masked_fill(~keep, 0.0).sum(2)
    return list(zip((sums / (last - first)[..., None]).cpu(), counts, strict=True))


def _fits(value: Tensor, id: str, options: Options, faults: Faults) -> bool:
    """Say whether an embedding is finite in its final type; note it as a fault if not."""
    if value.to(STORAGE[options.storage]).isfinite().all():
        return True
    if value.isfinite().all() or options.level == "frame" and options.storage == "fp16":
        faults.add(id, f"its embedding leaves the range of {options.storage}",
                   "take --precision bf16 (wider range) or fp32 with another --out",
                   "embeddings that cannot be stored")
    else:
        faults.add(id, "the model gives no finite numbers for it", REMEDY, BAD_AUDIO)
    return False
