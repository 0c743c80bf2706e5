"""Put the sound of eNTERFACE's videos beside them, as FLAC, with ffmpeg."""

from __future__ import annotations

from pathlib import Path

from prepare import CONVERT, recordings
from sertools.data.decoding import decode_recordings


def download(job) -> list[Path]:
    """Decode what has no sound yet (the body of stage download); see `decode_recordings`."""
    remedy = f"{CONVERT}  - here or on any other machine"
    return decode_recordings(job, recordings, "videos (.avi)", remedy)
