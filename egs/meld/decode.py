"""Put the sound of MELD's video clips beside them, as FLAC, with ffmpeg."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prepare import CONVERT, clips, tables
from sertools.data.corpus import Faults
from sertools.errors import MOST_EXAMPLES, DataError, Interrupted
from sertools.files import publish

_SAY_EVERY = 500  # clips


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

    Clips that ffmpeg cannot read are said; whether one is missed, the stage prepare decides.

    Args:
        root: the unpacked release.
        say: told how far it is.
        should_stop: asked between clips.

    Raises:
        DataError: there is something to decode, but no ffmpeg.
        Interrupted: `should_stop` said so; what was decoded so far is kept.
    """
    videos = sorted(path for path in clips(root, Faults()).values()
                    if path.suffix.lower() == ".mp4")
    if not videos:
        return
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise DataError(f"{len(videos)} clips are videos (.mp4) and there is no ffmpeg to take "
                        "their sound out", remedy=f"{CONVERT}  - here or on any other machine")
    say(f"{len(videos)} clips have no sound beside them yet; ffmpeg takes it out")
    failed: list[str] = []
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        for number, problem in enumerate(pool.map(lambda path: _decode(ffmpeg, path), videos), 1):
            failed += [problem] if problem else []
            if number % _SAY_EVERY == 0:
                say(f"decoded {number} of {len(videos)} clips")
            if should_stop():
                raise Interrupted(f"stopped after {number} of {len(videos)} clips")
    finally:
        pool.shutdown(cancel_futures=True)
    for problem in failed[:MOST_EXAMPLES]:
        say(f"cannot be decoded: {problem}")
    if len(failed) > MOST_EXAMPLES:
        say(f"... and {len(failed) - MOST_EXAMPLES} more clips")


def _decode(ffmpeg: str, video: Path) -> str | None:
    """Decode one clip; return what went wrong."""
    try:
        with publish(video.with_suffix(".flac")) as target:
            subprocess.run(
                [ffmpeg, "-nostdin", "-loglevel", "error", "-y", "-i", str(video), "-vn",
                 "-sample_fmt", "s16", "-f", "flac", str(target)],
                check=True, capture_output=True, text=True, errors="backslashreplace",
            )  # fmt: skip
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()
        return f"{video.name}: {said[-1] if said else f'ffmpeg ended with {error.returncode}'}"
    except OSError as error:
        return f"{video.name}: {error.strerror}"
    return None
