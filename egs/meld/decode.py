"""Put the sound of MELD's video clips beside them, as FLAC, with ffmpeg."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prepare import CONVERT, clips, tables
from sertools.data.corpus import Faults
from sertools.data.decoding import decode_beside


def download(job) -> list[Path]:
    """Decode what has no sound yet (the body of stage download); return the tables."""
    root = Path(job.recipe) / job.config["data_folder"]
    decode(root, job.say, job.should_stop)
    return list(tables(root, Faults()).values())


def decode(
    root: Path,
    say: Callable[[str], None] = print,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Write `<clip>.flac` beside every clip that has neither `.wav` nor `.flac`.

    Args:
        root: the unpacked release.
        say: told how far it is.
        should_stop: asked between clips.

    Raises:
        DataError: there is something to decode, but no ffmpeg.
        Interrupted: `should_stop` said so; what was decoded so far is kept.
    """
    videos = [path for path in clips(root, Faults()).values() if path.suffix.lower() == ".mp4"]
    remedy = f"{CONVERT}  - here or on any other machine"
    decode_beside(videos, "videos (.mp4)", remedy, say, should_stop)
