"""Lengths of sound files from their headers alone, several files at a time."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterable
from pathlib import Path

from sertools.data.corpus import Faults
from sertools.data.facts import decoding_error, file_name, segment
from sertools.data.record import Record

BAD_AUDIO = "audio that cannot be used"
"""Heading of faults in a sound file."""
REMEDY = "get the file again; the same command then adds it"
_READERS = 8  # threads


def read_headers(records: Iterable[Record], faults: Faults) -> dict[str, tuple[float, int]]:
    """Return seconds of each utterance and samples per second of its file, by id.

    Args:
        faults: gets the files that are missing, empty or unreadable; they are left out.
    """
    records = list(records)
    with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
        found = list(pool.map(_header, records))
    headers = {}
    for record, header in zip(records, found, strict=True):
        if isinstance(header, str):
            faults.add(record.id, f"{record.path}: {header}", REMEDY, BAD_AUDIO)
        else:
            headers[record.id] = header
    return headers


def _header(record: Record) -> tuple[float, int] | str:
    import soundfile

    if not Path(record.path).is_file():
        return "there is no such file"
    try:
        with soundfile.SoundFile(file_name(Path(record.path))) as file:
            rate, frames = file.samplerate, file.frames
    except (soundfile.LibsndfileError, RuntimeError) as error:
        return decoding_error(error)
    first, last = segment(record.start, record.end, rate, frames)
    if frames == 0:
        return "it is empty"
    return ((last - first) / rate, rate) if 0 <= first < last else "its segment has no sample"
