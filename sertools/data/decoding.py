"""Put the sound of files that cannot be read here (videos, AAC) beside them, as FLAC, with ffmpeg.

For preparers of corpora that ship such files: the stage download calls `decode_beside`, and whoever
has no ffmpeg is given the command of `conversion` for another machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sertools.data.corpus import Faults, find_audio
from sertools.errors import MOST_EXAMPLES, DataError, Interrupted
from sertools.files import publish

_SAY_EVERY = 500  # clips
SOUND = (".wav", ".flac")
"""Extensions of what can be read here, in the order in which they are taken."""


def conversion(tests: str, extension: str) -> str:
    """Return the shell command that does what `decode_beside` does, for the files of a folder.

    Args:
        tests: what `find` looks for, such as "-name '*.m4a'".
        extension: of these files, such as ".m4a".
    """
    return (f"find . {tests} -exec sh -c 'ffmpeg -nostdin -loglevel error -n -i \"$1\" -vn "
            f"-sample_fmt s16 \"${{1%{extension}}}.flac\"' sh {{}} \\;")


def by_preference(root: Path, faults: Faults, coded: str) -> list[Path]:
    """Return all recordings below `root`: sound before what is coded (extension), then by depth."""
    order = (*SOUND, coded)

    def preference(path: Path) -> tuple:
        return order.index(path.suffix.lower()), len(path.parts), path

    return sorted(find_audio(root, faults, order, duplicates="keep"), key=preference)


def take(taken: dict[str, Path], name: str, path: Path, root: Path, faults: Faults) -> None:
    """Take a file for the recording of this name unless there is one already, which is noted.

    Called in the order of `by_preference`; a coded file whose sound is there is passed over.
    """
    first, where = taken.setdefault(name, path), path.relative_to(root)
    same_kind = first.suffix.lower() == path.suffix.lower()
    if first is path or (path.suffix.lower() not in SOUND and not same_kind):
        return
    if same_kind and first.stat().st_size != path.stat().st_size:
        faults.add(where, f"is the same recording as {first}, but of another size",
                   "keep one copy of the release in data_folder", "files that clash")
    else:
        faults.drop("same recording as another file", where)


def decode_recordings(
    job, recordings: Callable[[Path, Faults], dict[str, Path]], kind: str, remedy: str
) -> list[Path]:
    """Decode what has no sound yet (the body of stage download).

    Args:
        job: of the stage.
        recordings: of a preparer: the file of each recording by its name, which begins with the
            speaker and "/".
        kind: as in `decode_beside`.
        remedy: likewise.

    Returns:
        the first recording of each speaker, as proof that the release is there.

    Raises:
        DataError: there is something to decode, but no ffmpeg.
        Interrupted: it was stopped; what was decoded so far is kept.
    """
    root = Path(job.recipe) / job.config["data_folder"]
    found = recordings(root, Faults()).values()
    coded = [path for path in found if path.suffix.lower() not in SOUND]
    decode_beside(coded, kind, remedy, job.say, job.should_stop, root)
    first: dict[str, Path] = {}
    for name, path in sorted(recordings(root, Faults()).items()):
        first.setdefault(name.partition("/")[0], path)
    return list(first.values())


def decode_beside(
    files: Iterable[Path],
    kind: str,
    remedy: str,
    say: Callable[[str], None] = print,
    should_stop: Callable[[], bool] = lambda: False,
    root: Path | None = None,
) -> None:
    """Write `<stem>.flac` beside every file; rate and channels stay as they are, 16 bit.

    Files that ffmpeg cannot read are said; whether one is missed, the stage prepare decides.

    Args:
        files: those that have no sound beside them yet.
        kind: what they are, in words, such as "videos (.mp4)".
        remedy: what to do where there is no ffmpeg.
        say: told how far it is.
        should_stop: asked between files.
        root: what the names of files that cannot be read are relative to; None: the names alone.

    Raises:
        DataError: there is something to decode, but no ffmpeg.
        Interrupted: `should_stop` said so; what was decoded so far is kept.
    """
    files = sorted(files)
    if not files:
        return
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise DataError(f"{len(files)} clips are {kind} and there is no ffmpeg to take their "
                        "sound out", remedy=remedy)
    say(f"{len(files)} clips have no sound beside them yet; ffmpeg takes it out")
    failed: list[str] = []
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        for number, problem in enumerate(pool.map(lambda path: _decode(ffmpeg, path), files)):
            if problem:
                name = files[number].relative_to(root) if root else files[number].name
                failed.append(f"{name}: {problem}")
            if (number + 1) % _SAY_EVERY == 0:
                say(f"decoded {number + 1} of {len(files)} clips")
            if should_stop():
                raise Interrupted(f"stopped after {number + 1} of {len(files)} clips")
    finally:
        pool.shutdown(cancel_futures=True)
    for problem in failed[:MOST_EXAMPLES]:
        say(f"cannot be decoded: {problem}")
    if len(failed) > MOST_EXAMPLES:
        say(f"... and {len(failed) - MOST_EXAMPLES} more clips")


def _decode(ffmpeg: str, source: Path) -> str | None:
    """Decode one file; return what went wrong."""
    try:
        with publish(source.with_suffix(".flac")) as target:
            subprocess.run(
                [ffmpeg, "-nostdin", "-loglevel", "error", "-y", "-i", str(source), "-vn",
                 "-sample_fmt", "s16", "-f", "flac", str(target)],
                check=True, capture_output=True, text=True, errors="backslashreplace",
            )  # fmt: skip
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()
        return said[-1] if said else f"ffmpeg ended with {error.returncode}"
    except OSError as error:
        return error.strerror
    return None
