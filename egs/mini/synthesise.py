"""Make the corpus `mini`: write the release that the other recipes would have to download.

    python synthesise.py [folder] [--seed 1] [--speakers 12] [--utterances 10]

The same options give the same bytes; a small release is a part of a large one.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from sertools.errors import ConfigError, DataError, Interrupted
from sertools.files import publish, read_json, sha256, write_json, write_text

VERSION = 1  # raise it with every change that is heard
_SAMPLE_RATE = 16000
_SUMS, _RELEASE = "sha256sums.txt", "release.json"


def download(job) -> list[Path]:
    """Make the release in the data folder (the body of stage download).

    Reads `data_folder` (relative to the recipe's folder) and `synthesis` (a mapping with
    the keys seed, speakers, utterances, each of which may be left out) of the config.
    """
    folder = Path(job.recipe) / job.config["data_folder"]
    options = job.config.get("synthesis") or {}
    synthesise(folder, **options, say=job.say, should_stop=job.should_stop)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def synthesise(
    folder: str | Path,
    seed: int = 1,
    speakers: int = 12,
    utterances: int = 10,
    say: Callable[[str], None] = print,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Write wav/<speaker>/<stem>.wav, metadata.csv, release.json and sha256sums.txt to `folder`.

    The folder appears when all of it is there. A release that is complete is kept; one that is
    damaged or was made with other options is made anew.

    Args:
        folder: of the release; must not hold anything else.
        seed: of everything that is drawn.
        speakers: female and male in turn; each such pair is a session.
        utterances: per speaker and emotion.
        say: gets a line per speaker.
        should_stop: asked before every speaker.

    Raises:
        ConfigError: an option is out of range.
        DataError: the folder holds files that are not part of a release.
        Interrupted: `should_stop` said so; nothing is left behind.
    """
    folder = Path(folder)
    release = {"corpus": "mini", "version": VERSION, "seed": seed, "speakers": speakers,
               "utterances": utterances, "sample_rate": _SAMPLE_RATE}  # fmt: skip
    if speakers < 1 or utterances < 1 or seed < 0:
        raise ConfigError(
            f"Nothing to make with speakers={speakers}, utterances={utterances}, seed={seed}.",
            remedy="give at least 1 speaker, 1 utterance and a seed of 0 or more",
        )
    if folder.exists():
        fault = _fault(folder, release)
        if fault is None:
            say(f"{folder}: complete, kept")
            return
        say(f"{folder}: {fault}; the release is made anew")
    with publish(folder) as temporary:
        rows = []
        for number in range(speakers):
            if should_stop():
                raise Interrupted(f"Stopped after {number} of {speakers} speakers.")
            rows += _write_speaker(temporary, number, release)
            say(f"{number + 1} of {speakers} speakers, {len(rows)} utterances")
        _write_metadata(temporary / "metadata.csv", rows)
        write_json(temporary / _RELEASE, release)
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        sums = [f"{sha256(path)}  {path.relative_to(temporary).as_posix()}\n" for path in files]
        write_text(temporary / _SUMS, "".join(sums))


def _write_speaker(folder: Path, number: int, release: dict) -> list:
    """Write one speaker's audio files; return their rows of metadata.csv."""
    import soundfile
    from utterances import cast, plan, render

    seed, who = release["seed"], cast(number, release["seed"])
    rows = list(plan(number, release["speakers"], release["utterances"], seed))
    (folder / "wav" / who.name).mkdir(parents=True)
    for row in rows:
        soundfile.write(folder / row.file, render(row, who, seed), _SAMPLE_RATE, subtype="PCM_16")
    return rows


def _write_metadata(path: Path, rows: list) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(rows[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _fault(folder: Path, release: dict) -> str | None:
    """Return why a folder is not the wanted release, None if it is; refuse to touch any other."""
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    lines = (folder / _SUMS).read_text(encoding="utf-8").splitlines() if _SUMS in present else []
    sums = {name: total for total, _, name in (line.partition("  ") for line in lines)}
    foreign = sorted(n for n in present - set(sums) - {_SUMS} if not n.endswith(".DS_Store"))
    if foreign:
        raise DataError(
            f"{folder} holds files that are not part of the corpus mini.",
            foreign,
            remedy="move them away, or give another data_folder",
        )
    damaged = [n for n in sums if n not in present or sha256(folder / n) != sums[n]]
    if damaged:
        return f"{len(damaged)} of {len(sums)} files missing or damaged (first: {damaged[0]})"
    if _RELEASE not in sums:
        return "no release in it"
    return None if read_json(folder / _RELEASE) == release else "made with other options"


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default="downloads/mini", help="of the release")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn")
    parser.add_argument("--speakers", type=int, default=12, help="female and male in turn")
    parser.add_argument("--utterances", type=int, default=10, help="per speaker and emotion")
    synthesise(**vars(parser.parse_args()))


if __name__ == "__main__":
    _main()
