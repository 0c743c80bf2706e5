"""Read every audio file of a corpus once: its length, rate, channels, hash, and whether it works.

This module imports soundfile only when it reads; facts of unchanged files are used again.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from sertools.data.corpus import shown
from sertools.data.record import Record
from sertools.data.sniff import EXTENSIONS, content_of, missing_share
from sertools.errors import Interrupted
from sertools.files import read_json, write_text

VERSION = 1
"""Raised when a fact is computed in another way, so that kept facts are read anew."""
SLACK = 0.05
"""Seconds by which a segment may end after its file: annotations are rounded."""
_BLOCK = 1 << 18  # frames read at a time, so that an hour of 5.1 sound needs little memory
_SAY_EVERY = 5.0  # seconds
_UNOPENED = "audio files that cannot be opened"


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read from one utterance's audio."""

    seconds: float = 0.0
    """Length of the utterance."""
    sample_rate: int = 0
    channels: int = 0
    """Channels of the file."""
    audio_hash: str = ""
    content: str | None = None
    """What the file really is: `WAV`, `AIFF`, ..."""
    kind: str | None = None
    """Heading of the fault that keeps this audio from being used; None: it works."""
    what: str = ""
    """The fault itself."""


Part = tuple[float | None, float | None, int | None]
"""Start, end and channel of an utterance in its file."""


def read_facts(
    records: Iterable[Record],
    data_folder: Path,
    kept: Path | None = None,
    say: Callable[[str], None] = print,
    should_stop: Callable[[], bool] = lambda: False,
    workers: int | None = None,
) -> dict[str, Facts]:
    """Return the facts of every record by id; each file is opened once, several at a time.

    Args:
        kept: a JSON file with the facts of an earlier run, used where path, size and time of
            change agree, and written again at the end, also when the reading is interrupted.
        say: told every few seconds how far it is.
        should_stop: asked between files.
        workers: threads; None takes one a core, at most 8.

    Raises:
        Interrupted: `should_stop` said so; what was read so far is kept.
    """
    records = list(records)
    parts: dict[str, set[Part]] = {}
    for record in records:
        parts.setdefault(record.path, set()).add((record.start, record.end, record.channel))
    store = _load(kept)
    todo = []
    for path, wanted in parts.items():
        stamp = _stamp(data_folder / path)
        old = store.get(path)
        if old is None or old["stamp"] != stamp or not wanted <= old["parts"].keys():
            store[path] = {"stamp": stamp, "parts": {}}
            todo.append(path)
    store = {path: store[path] for path in parts}
    try:
        for path, facts in _read_all(todo, parts, data_folder, workers, say, should_stop):
            store[path]["parts"] = facts
    finally:
        _keep(kept, store)
    return {record.id: store[record.path]["parts"][record.start, record.end, record.channel]
            for record in records}


def facts_of(path: Path, parts: Iterable[Part]) -> dict[Part, Facts]:
    """Read one file and return the facts of the given parts of it."""
    parts = list(parts)
    try:
        content = content_of(path)
    except FileNotFoundError:
        return dict.fromkeys(parts, Facts(kind="audio files that are missing",
                                          what="there is no such file"))
    except OSError as error:
        return dict.fromkeys(parts, Facts(kind=_UNOPENED,
                                          what=str(error.strerror)))
    if content == "Git-LFS pointer":
        return dict.fromkeys(parts, Facts(kind="Git-LFS pointers instead of audio",
                                          what="130 bytes of text, the sound was not fetched"))
    import soundfile

    try:
        with soundfile.SoundFile(file_name(path)) as file:
            return {part: _part(file, path, content, *part) for part in parts}
    except (soundfile.LibsndfileError, RuntimeError) as error:
        looks = f"; it looks like {content}" if content else ""
        return dict.fromkeys(parts, Facts(content=content, kind="audio that cannot be decoded",
                                          what=f"{decoding_error(error)}{looks}"))


def segment(
    start: float | None, end: float | None, rate: int, frames: int
) -> tuple[int, int]:
    """Return the first frame of an utterance in its file, and the one behind its last."""
    return round((start or 0.0) * rate), frames if end is None else min(round(end * rate), frames)


def file_name(path: Path) -> bytes | str:
    """Return a name that libsndfile opens even where it is not valid Unicode."""
    return str(path) if os.name == "nt" else os.fsencode(path)


def decoding_error(error: Exception) -> str:
    """Return what libsndfile says, as part of a sentence."""
    text = getattr(error, "error_string", None) or str(error)
    return shown(text).strip().rstrip(".")


def extension_lies(path: str, facts: Facts) -> bool:
    """Say whether a file's extension names another kind of file than it is."""
    truthful = EXTENSIONS.get(facts.content or "")
    return bool(truthful) and not path.lower().endswith(truthful)


def _part(file, path: Path, content: str | None, start, end, channel) -> Facts:
    rate, channels, length = file.samplerate, file.channels, file.frames / file.samplerate
    common = {"sample_rate": rate, "channels": channels, "content": content}
    if file.frames == 0:
        return Facts(**common, kind="audio without a sample", what="the file is empty")
    if channel is not None and channel >= channels:
        return Facts(**common, kind="channels that do not exist",
                     what=f"channel {channel} is wanted, the file has {channels} (from 0)")
    first, last = segment(start, end, rate, file.frames)
    if (end is not None and end > length + SLACK) or first >= last:
        return Facts(**common, kind="segments outside their file",
                     what=f"{start or 0.0}-{length if end is None else end} s of {length:.3f} s")
    common |= {"seconds": (last - first) / rate}
    read, finite, still, audio_hash = _scan(file, first, last, channel)
    missing = missing_share(path) if content == "WAV" else 1 - read / (last - first)
    if missing > 0.01:
        return Facts(**common, kind="audio that is cut short",
                     what=f"{missing:.0%} of the samples that its header promises are missing")
    if not finite:
        return Facts(**common, kind="audio with NaN or infinite samples", what="cannot be used")
    if still:
        return Facts(**common, kind="audio without any sound",
                     what="all samples have the same value")
    return Facts(**common, audio_hash=audio_hash)


def _scan(file, first: int, last: int, channel: int | None) -> tuple[int, bool, bool, str]:
    """Return frames read, whether all are finite, whether none ever changes, and the hash."""
    import numpy as np

    digest = hashlib.blake2b(digest_size=16)
    used = file.channels if channel is None else 1
    digest.update(f"{file.samplerate} {used}\n".encode())
    read, finite, low, high = 0, True, np.inf, -np.inf
    file.seek(first)
    while read < last - first:
        block = file.read(min(_BLOCK, last - first - read), dtype="float32", always_2d=True)
        if not len(block):
            break
        block = block if channel is None else block[:, channel:channel + 1]
        read += len(block)
        finite = finite and bool(np.isfinite(block).all())
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
        digest.update(np.ascontiguousarray(block, dtype="<f4"))
    return read, finite, bool(np.all(low == high)), digest.hexdigest()


def _read_all(todo, parts, data_folder, workers, say, should_stop) -> Iterator:
    if not todo:
        return
    said = time.monotonic()
    workers = workers or min(8, os.cpu_count() or 1)
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    try:
        jobs = pool.map(lambda path: facts_of(data_folder / path, parts[path]), todo)
        for number, (path, facts) in enumerate(zip(todo, jobs, strict=True), 1):
            yield path, facts
            if time.monotonic() - said > _SAY_EVERY:
                said = time.monotonic()
                say(f"read {number} of {len(todo)} audio files")
            if should_stop():
                raise Interrupted(f"stopped after {number} of {len(todo)} audio files")
    finally:
        pool.shutdown(cancel_futures=True)


def _stamp(path: Path) -> list[int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _load(kept: Path | None) -> dict[str, dict]:
    if kept is None or not kept.is_file():
        return {}
    try:
        content = read_json(kept)
        if content.pop("version", None) != VERSION:
            return {}
        return {path: {"stamp": entry["stamp"], "parts": {
            tuple(part): Facts(**facts) for part, facts in entry["parts"]}}
            for path, entry in content.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}  # written by something else: read the audio again


def _keep(kept: Path | None, store: dict[str, dict]) -> None:
    if kept is None:
        return
    lines = [f'"version": {VERSION}']
    for path, entry in sorted(store.items()):
        # permissions and busy disks are mended without a trace in size and time: never kept
        opened = all(facts.kind != _UNOPENED for facts in entry["parts"].values())
        if entry["parts"] and opened:
            parts = [[part, asdict(facts)] for part, facts in sorted(
                entry["parts"].items(), key=str)]
            lines.append(f"{json.dumps(path)}: "
                         f"{json.dumps({'stamp': entry['stamp'], 'parts': parts})}")
    write_text(kept, "{\n" + ",\n".join(lines) + "\n}\n")
