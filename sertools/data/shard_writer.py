"""Write audio shards in the WebDataset format, shard by shard, so that a kill costs one shard.

A shard is published together with a note of what is in it; the index of all is published last.
Writing goes on behind the last shard whose note fits and whose SHA-256 is right.
"""

from __future__ import annotations

import concurrent.futures
import io
import json
import math
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
from sertools.data.audio import load_audio
from sertools.data.dataset import own_generator
from sertools.data.feature_shards import digest, read_sealed, shard_fault, write_sealed
from sertools.data.prepared import INDEX
from sertools.data.record import Record
from sertools.errors import ConfigError, DataError, Interrupted
from sertools.files import publish, remove_leftovers, sha256

VERSION = 1
"""Raised when equal options give other shards."""
FORMATS = {"flac": ("FLAC", "PCM_16"), "wav": ("WAV", "FLOAT")}
"""Member format -> libsndfile's names: FLAC in 16 bits, WAV in 32-bit floats."""
_AT_A_TIME = 64  # utterances encoded before they are written


@dataclass(frozen=True)
class Clip:
    """An utterance on its way into a shard."""

    corpus: str
    record: Record
    folder: Path
    """Of the release."""

    @property
    def key(self) -> str:
        """Return the members' name before the extension; WebDataset ends it at the first dot."""
        return self.record.id.replace("%", "%25").replace(".", "%2E")


def write_shards(
    clips: Sequence[Clip],
    folder: str | Path,
    *,
    shard_megabytes: float = 1000,
    format: str = "flac",
    sample_rate: int | None = 16000,
    say: Callable[[str], None] = print,
    should_stop: Callable[[], bool] = lambda: False,
    workers: int | None = None,
) -> Path:
    """Write all clips, one channel each, and return the folder, for `shards.AudioShards`.

    The order is drawn from the ids, so that who reads shard by shard meets all corpora; the same
    clips and options give the same order, and a call that was interrupted goes on.

    Args:
        clips: ids must be unique.
        folder: where the shards go, one writer at a time; it may hold shards of the same call.
        shard_megabytes: a shard ends once it is that large (10^6 bytes).
        format: `flac` (16 bits: exact for 16-bit recordings at this rate) or `wav` (32-bit floats,
            exact for all).
        sample_rate: in Hz; None keeps each recording's own.
        say: told what happens.
        should_stop: asked between shards.
        workers: threads that encode; None takes one a core, at most 8.

    Raises:
        ConfigError: options that cannot be meant, or the folder holds other shards.
        DataError: ids occur twice, or audio cannot be used.
        Interrupted: `should_stop` said so; finished shards are kept.
    """
    folder = Path(folder)
    _check(clips, shard_megabytes, format)
    ordered = sorted(clips, key=lambda clip: (_drawn(clip.record.id), clip.record.id))
    key = digest({"version": VERSION, "format": format, "sample_rate": sample_rate,
                  "shard_megabytes": shard_megabytes, "clips": [
                      [clip.corpus, clip.record.id, clip.record.as_dict()] for clip in ordered]})
    folder.mkdir(parents=True, exist_ok=True)
    _refuse_others(folder, key)
    remove_leftovers(folder)
    notes: list[dict[str, Any]] = []
    done = 0
    with concurrent.futures.ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        while done < len(ordered):
            path = folder / f"shard-{len(notes):06d}.tar"
            note = _finished(path, key, ordered[done:], say)
            if note is None:
                if should_stop():
                    raise Interrupted(f"Stopped with {len(notes)} shards written.",
                                      remedy="the same command goes on")
                members = _encoded(ordered[done:], format, sample_rate, pool)
                note = _write(path, members, key, shard_megabytes * 1e6, format)
                say(f"{path.name}: {len(note['utterances'])} utterances, "
                    f"{note['size'] / 1e6:.1f} MB")
            notes.append(note)
            done += len(note["utterances"])
    _remove_surplus(folder, len(notes))
    clipped = sum(note["clipped"] for note in notes)
    if clipped:
        say(f"warning: {clipped} utterances reach beyond full scale and are clipped in 16 bits; "
            "use wav to keep them as they are")
    write_sealed(folder / INDEX, _index(notes, key, format, sample_rate, ordered))
    return folder


def _check(clips: Sequence[Clip], shard_megabytes: float, format: str) -> None:
    problems = []
    if format not in FORMATS:
        problems.append(f"the format is {format!r}, not one of {', '.join(FORMATS)}")
    if not 0 < shard_megabytes < math.inf:
        problems.append(f"a shard of {shard_megabytes} megabytes cannot be")
    if not clips:
        problems.append("there is no utterance to write")
    if problems:
        raise ConfigError("shards cannot be written like this", problems)
    seen: dict[str, str] = {}
    twice = []
    for clip in clips:
        if clip.record.id in seen:
            twice.append(f"{clip.record.id} is in {seen[clip.record.id]} and in {clip.corpus}")
        seen[clip.record.id] = clip.corpus
    if twice:
        raise DataError("ids occur more than once", twice, "name each manifest once")
    odd = [f"{clip.record.id}: its duration is {clip.record.duration}" for clip in clips
           if not clip.record.duration]
    if odd:
        raise DataError("utterances without a length", odd, "run the stage prepare of their recipe")


def _drawn(id: str) -> int:
    return own_generator("shards", id).initial_seed()


def _refuse_others(folder: Path, key: str) -> None:
    """Raise a ConfigError if a folder holds shards of another call."""
    if not any(folder.glob("shard-*")) and not (folder / INDEX).exists():
        return
    keys = []
    for path in [*folder.glob("shard-*.json"), folder / INDEX]:
        try:
            keys.append(read_sealed(path)["key"])
        except DataError:
            continue  # damaged: it is written again
    if any(other != key for other in keys):
        raise ConfigError(f"{folder} holds shards of other utterances or options",
                          remedy="name another folder, or remove this one")


def _finished(
    path: Path, key: str, rest: Sequence[Clip], say: Callable[[str], None]
) -> dict[str, Any] | None:
    """Return the note of a sound shard that begins where `rest` does, else None."""
    if not path.with_suffix(".json").exists():
        return None
    try:
        note = read_sealed(path.with_suffix(".json"))
        fault = shard_fault(path, note, verify=True)
    except DataError as error:
        note, fault = {}, error.summary
    expected = [clip.record.id for clip in rest[:len(note.get("utterances", ()))]]
    if not fault and list(note["utterances"]) != expected:
        fault = f"{path} does not begin where the shard before it ends."
    if fault:
        say(f"{fault} It is written again.")
        return None
    return note


def _encoded(
    clips: Sequence[Clip], format: str, sample_rate: int | None,
    pool: concurrent.futures.Executor,
) -> Iterator[tuple[Clip, bytes, int, bool]]:
    """Yield clips with their encoded audio, its samples a second, and whether it was clipped.

    Raises:
        DataError: audio that cannot be used; as many faults as were found side by side.
    """
    for start in range(0, len(clips), _AT_A_TIME):
        some = clips[start:start + _AT_A_TIME]
        jobs = [pool.submit(encode, clip, format, sample_rate) for clip in some]
        results, faults = [], []
        for clip, job in zip(some, jobs, strict=True):
            try:
                results.append((clip, *job.result()))
            except DataError as error:
                faults.append(f"{clip.record.id}: {error.summary}")
        if faults:
            raise DataError("audio that cannot go into a shard", faults,
                            "mend it or prepare its corpus again; finished shards are kept")
        yield from results


def encode(clip: Clip, format: str, sample_rate: int | None) -> tuple[bytes, int, bool]:
    """Return a clip as a file in memory, its rate in Hz, and whether samples were clipped.

    Raises:
        DataError: the audio cannot be used.
    """
    record, path = clip.record, clip.folder / clip.record.path
    rate = sample_rate or record.sample_rate
    if not rate:
        raise DataError(f"{path}: the manifest does not say its rate")
    waveform = load_audio(path, rate, record.start, record.end, record.channel)
    clipped = False
    if format == "flac":
        # libsndfile scales floats by 32767, not by the 32768 that it reads with
        waveform = (waveform * 32768).round()
        clipped = bool((waveform > 32768).any() or (waveform < -32768).any())
        waveform = waveform.clamp(-32768, 32767).short()
    kind, subtype = FORMATS[format]
    file = io.BytesIO()
    soundfile.write(file, waveform.numpy(), rate, format=kind, subtype=subtype)
    return file.getvalue(), rate, clipped


def _write(
    path: Path, members: Iterator[tuple[Clip, bytes, int, bool]], key: str, limit: float,
    format: str,
) -> dict[str, Any]:
    """Publish one shard, then its note, which is returned; it ends once it has `limit` bytes."""
    from webdataset import TarWriter

    utterances: dict[str, Any] = {}
    clipped = written = 0
    with publish(path) as temporary:
        with open(temporary, "wb") as stream, TarWriter(
                stream, encoder=False, mtime=0, format="GNU_FORMAT") as tar:
            for clip, audio, rate, was_clipped in members:
                record = {"id": clip.record.id, "corpus": clip.corpus, **clip.record.as_dict(),
                          "start": None, "end": None, "channel": None, "channels": 1,
                          "sample_rate": rate}
                tar.write({"__key__": clip.key, format: audio,
                           "json": json.dumps(record).encode()})
                utterances[clip.record.id] = _entry(clip)
                clipped += was_clipped
                written += len(audio)
                if written >= limit:
                    break
        places = _places(temporary, format)
    for entry, (offset, size) in zip(utterances.values(), places, strict=True):
        entry |= {"offset": offset, "size": size}
    note = {"key": key, "file": path.name, "size": path.stat().st_size, "sha256": sha256(path),
            "clipped": clipped, "utterances": utterances}
    write_sealed(path.with_suffix(".json"), note)
    return note


def _entry(clip: Clip) -> dict[str, Any]:
    return {"duration": clip.record.duration, "corpus": clip.corpus,
            "speaker": clip.record.speaker}


def _places(path: Path, format: str) -> list[tuple[int, int]]:
    """Return offset and size of every audio member, in order, as Python's own reader finds them."""
    with tarfile.open(path, "r:") as tar:
        return [(member.offset_data, member.size) for member in tar
                if member.name.endswith(f".{format}")]


def _index(
    notes: Sequence[Mapping[str, Any]], key: str, format: str, sample_rate: int | None,
    clips: Sequence[Clip],
) -> dict[str, Any]:
    utterances = {id: {"shard": number, **entry} for number, note in enumerate(notes)
                  for id, entry in note["utterances"].items()}
    assert len(utterances) == len(clips)
    return {"key": key, "format": format, "sample_rate": sample_rate,
            "shards": [{name: note[name] for name in ("file", "size", "sha256")}
                       for note in notes],
            "utterances": {id: utterances[id] for id in sorted(utterances)}}


def _remove_surplus(folder: Path, count: int) -> None:
    """Remove shards behind the last, left where an earlier one had to be cut elsewhere."""
    for path in folder.glob("shard-*"):
        if int(path.stem.removeprefix("shard-")) >= count:
            path.unlink()
