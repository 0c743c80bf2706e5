"""What becomes of recordings on their way through an encoder: pieces, batches, and whole again."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from sertools.data.audio import load_audio
from sertools.data.batching import Batch, BucketBatchSampler, Example, collate
from sertools.data.corpus import Faults
from sertools.data.headers import BAD_AUDIO, REMEDY, read_headers
from sertools.data.record import Record
from sertools.data.windows import WHOLE, Piece, cut
from sertools.errors import DataError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Loaded = tuple[Batch | None, list[int], list[tuple[int, str]]]
"""A batch, the numbers of its pieces, and the pieces that could not be read, each with why."""


@dataclass
class Job:
    """An utterance, and what is finished of it."""

    record: Record
    seconds: float
    pieces: Sequence[Piece] = WHOLE
    parts: list[Tensor] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    broken: bool = False


def plan(
    jobs: Mapping[str, Job], window: float, overlap: float, hop: int, sample_rate: int,
    batch_seconds: float, faults: Faults,
) -> tuple[list[tuple[str, Piece]], list[list[int]]]:
    """Cut long utterances; return all pieces with their ids, and batches of piece numbers.

    Windows come first, a file after the other and in order; then whole utterances, longest first.
    """
    long = [job for job in jobs.values() if job.seconds > window]
    headers = read_headers([job.record for job in long], faults)
    for job in long:
        job.broken = job.record.id not in headers
        if not job.broken:
            seconds, rate = headers[job.record.id]
            job.pieces = cut(seconds, window, overlap, hop, sample_rate, rate)
    pieces: list[tuple[str, Piece]] = []
    batches: list[list[int]] = []
    together = max(1, int(batch_seconds // window))
    for job in long:
        if not job.broken:
            stop = len(pieces) + len(job.pieces)
            batches += [list(range(at, min(at + together, stop)))
                        for at in range(len(pieces), stop, together)]
            pieces += [(job.record.id, piece) for piece in job.pieces]
    short = [id for id, job in jobs.items() if job.seconds <= window]
    if short:
        first = len(pieces)
        pieces += [(id, WHOLE[0]) for id in short]
        lengths = [jobs[id].seconds for id in short]
        batches += [[first + number for number in batch]
                    for batch in BucketBatchSampler(lengths, batch_seconds, shuffle=False)]
    return pieces, batches


def load(
    jobs: Mapping[str, Job], pieces: Sequence[tuple[str, Piece]], batches: list[list[int]],
    sample_rate: int, workers: int, pin: bool,
) -> DataLoader:
    """Return what yields `Loaded` for every batch."""
    sounds = [(jobs[id].record, piece) for id, piece in pieces]
    return DataLoader(_Sounds(sounds, sample_rate), batch_sampler=batches, collate_fn=_collate,
                      num_workers=workers, pin_memory=pin, worker_init_fn=_leave_signals)


def take(job: Job, value: Tensor, frames: int, level: str) -> Tensor | None:
    """Add a piece's result to an utterance; return all of it once its last piece has come.

    Args:
        value: (layers, D) mean over `frames` frames, or (layers, frames, D).
    """
    job.parts.append(value)
    job.frames.append(frames)
    if job.broken or len(job.parts) < len(job.pieces):
        return None
    if len(job.parts) == 1:
        whole = job.parts[0]
    elif level == "frame":
        whole = torch.cat(job.parts, 1)
    else:
        weights = torch.tensor(job.frames, dtype=torch.float64)[:, None, None]
        sums = (torch.stack(job.parts).double() * weights).sum(0)
        whole = (sums / weights.sum()).to(value.dtype)
    job.parts = []
    return whole


class _Sounds(Dataset):
    """Pieces of recordings, or why they cannot be read."""

    def __init__(self, pieces: Sequence[tuple[Record, Piece]], sample_rate: int):
        self.pieces, self.sample_rate = pieces, sample_rate

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, number: int) -> tuple[int, Example | str]:
        record, piece = self.pieces[number]
        start, end = record.start, record.end
        if piece.end is not None:
            end = (record.start or 0.0) + piece.end
        if piece.start:
            start = (record.start or 0.0) + piece.start
        try:
            wave = load_audio(record.path, self.sample_rate, start, end, record.channel)
        except (DataError, OSError) as error:
            return number, getattr(error, "summary", str(error))
        return number, Example(record.id, wave)


def _collate(items: list[tuple[int, Example | str]]) -> Loaded:
    sound = [(number, item) for number, item in items if isinstance(item, Example)]
    broken = [(number, item) for number, item in items if isinstance(item, str)]
    batch = collate([item for _, item in sound]) if sound else None
    return batch, [number for number, _ in sound], broken


def _leave_signals(worker: int) -> None:
    """Let Ctrl-C reach the main process alone, which then stops its workers in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def drop(job: Job, what: str, faults: Faults) -> None:
    """Note an utterance that cannot be read, once."""
    if not job.broken:
        faults.add(job.record.id, what, REMEDY, BAD_AUDIO)
    job.broken, job.parts = True, []
