"""Synthetic sound files for tests of data/: tones and noise, never recordings."""

import struct
import zlib
from pathlib import Path

import numpy as np
import soundfile
from sertools.data.record import Record


def noise(seconds=0.3, rate=16000, channels=1, seed=0):
    """Return quiet noise (frames, channels), float32."""
    generator = np.random.default_rng(seed)
    return (0.1 * generator.standard_normal((round(seconds * rate), channels))).astype("float32")


def write(path: Path, samples=None, rate=16000, **options) -> Path:
    """Write samples as a sound file, by default noise seeded by the file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if samples is None:
        samples = noise(rate=rate, seed=zlib.crc32(path.name.encode()))
    soundfile.write(path, samples, rate, **options)
    return path


def with_extra_chunk(path: Path, name: bytes = b"FLLR", size: int = 501) -> Path:
    """Put a chunk of odd size between `fmt ` and `data` of a WAV file."""
    content = path.read_bytes()
    at = content.index(b"data")
    chunk = name + struct.pack("<I", size) + bytes(size + size % 2)
    body = content[8:at] + chunk + content[at:]
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def corpus_records(speakers=4, per_class=3, classes=("angry", "calm"), sessions=True, **fields):
    """Return records id -> Record of a made-up corpus, two speakers a session."""
    records = {}
    for speaker in range(speakers):
        for label in classes:
            for take in range(per_class):
                id = f"toy-s{speaker:02d}_{label}_{take}"
                records[id] = Record(
                    id=id, path=f"{id}.wav", label=label, speaker=f"s{speaker:02d}",
                    session=f"d{speaker // 2}" if sessions else None,
                    gender=("female", "male")[speaker % 2], text=f"sentence {take}",
                    duration=1.0, sample_rate=16000, channels=1, audio_hash=f"hash of {id}",
                    **fields)
    return records
