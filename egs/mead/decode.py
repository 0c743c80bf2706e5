"""Put the sound of MEAD's AAC recordings beside them, as FLAC, with ffmpeg."""

from __future__ import annotations

from pathlib import Path

from prepare import CONVERT, recordings
from sertools.data.corpus import Faults
from sertools.data.decoding import decode_beside


def download(job) -> list[Path]:
    """Decode what has no sound yet (the body of stage download).

    Returns:
        the first recording of each speaker, as proof that the release is there.

    Raises:
        DataError: there is something to decode, but no ffmpeg.
        Interrupted: it was stopped; what was decoded so far is kept.
    """
    root = Path(job.recipe) / job.config["data_folder"]
    coded = [path for path in recordings(root, Faults()).values() if path.suffix.lower() == ".m4a"]
    remedy = f"{CONVERT}  - here or on any other machine"
    decode_beside(coded, "AAC (.m4a)", remedy, job.say, job.should_stop, root)
    first: dict[str, Path] = {}
    for name, path in sorted(recordings(root, Faults()).items()):
        first.setdefault(name.partition("/")[0], path)
    return list(first.values())
