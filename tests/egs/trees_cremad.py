"""Imitations of CREMA-D and LSSED; see trees.py, whose sounds and traps they share."""

from __future__ import annotations

import csv
import itertools
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy
import soundfile
from trees import litter, name_only, second_copy, sound

SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
EMOTIONS = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
ACTORS = range(1001, 1092)
ABSENT = {"1002_TIE_NEU_XX", "1076_ITS_NEU_XX"} | {
    f"{start}_{emotion}_XX" for start in ("1008_WSI", "1009_MTI", "1019_ITH")
    for emotion in EMOTIONS}
"""Clips that were never recorded."""
WOMEN = {1002, 1008, 1009, 1076, *range(1020, 1059)}
"""Invented, but as many clips as the women of the release have."""
SILENT = "1076_MTI_SAD_XX"
VOTES = "ADFHNS"


def names(actors: Iterable[int] = ACTORS, sentences: Iterable[str] = SENTENCES) -> list[str]:
    """Return the stems of the release; only one sentence was spoken at three levels."""
    stems = []
    for actor, sentence, emotion in itertools.product(actors, sentences, EMOTIONS):
        levels = ("LO", "MD", "HI") if (sentence == "IEO" and emotion != "NEU") else ("XX",)
        stems += [f"{actor}_{sentence}_{emotion}_{level}" for level in levels]
    return [stem for stem in stems if stem not in ABSENT]


def votes_of(stem: str) -> dict[str, int]:
    """Return invented votes of those who only heard a clip; some are ties."""
    generator = numpy.random.default_rng(zlib.crc32(stem.encode()))
    return {letter: int(number) for letter, number in zip(
        VOTES, generator.multinomial(6, [1 / 6] * 6), strict=True)}


def demographics(root: Path, actors: Iterable[int] = ACTORS) -> Path:
    """Write who the actors are, in the release's form."""
    lines = ['"ActorID","Age","Sex","Race","Ethnicity"']
    lines += [f'{actor},{actor - 980},"{"Female" if actor in WOMEN else "Male"}","Asian",'
              '"Not Hispanic"' for actor in actors]
    return _text(root / "VideoDemographics.csv", lines)


def tabulated(root: Path, stems: Iterable[str]) -> Path:
    """Write the votes: voice only, then face only and both, which must not be read."""
    columns = ["", *VOTES, "fileName", "numResponses", "emoVote"]
    lines = [",".join(f'"{column}"' for column in columns)]
    for kind in (1, 2, 3):
        for number, stem in enumerate(stems, 1):
            votes = votes_of(stem if kind == 1 else f"{stem}/{kind}")
            most = max(votes.values())
            heard = ":".join(letter for letter in VOTES if votes[letter] == most)
            cells = [f'"{kind}{number:05d}"', *map(str, votes.values()), f'"{stem}"', "6",
                     f'"{heard}"']
            lines.append(",".join(cells))
    return _text(root / "processedResults" / "tabulatedVotes.csv", lines)


def cremad(root: Path, actors: Iterable[int] = ACTORS, sentences: Iterable[str] = SENTENCES,
           folder: str = "AudioWAV", tables: bool = True, write=sound,
           extension: str = ".wav") -> list[str]:
    """Build the clone: recordings in one folder, beside them what else is there."""
    actors = list(actors)
    stems = names(actors, sentences)
    for stem in stems:
        write(root / folder / f"{stem}{extension}", rate=16000)
    if tables:
        for actor in actors[:1]:  # what the repository holds in other forms
            name_only(root / "AudioMP3" / f"{actor}_DFA_ANG_XX.mp3")
            name_only(root / "VideoFlash" / f"{actor}_DFA_ANG_XX.flv")
        demographics(root, actors)
        tabulated(root, stems)
    return stems


def for_runs(root: Path) -> None:
    """Build a small release of every part, messy: one clip silent, one with its older name."""
    def write(path: Path, rate: int) -> None:
        sound(path, rate, seconds=0.4)
        if path.stem == SILENT:
            soundfile.write(path, numpy.zeros(rate), rate)

    cremad(root, (1001, 1002, 1040, 1049, 1053, 1076, 1091), ("MTI", "ITH"), write=write)
    folder = root / "AudioWAV"
    (folder / "1040_ITH_SAD_XX.wav").rename(folder / "1040_ITH_SAD_X.wav")
    (folder / "1001_MTI_ANG_XX.wav").rename(folder / "1001_MTI_ANG_XX.WAV")
    litter(folder)
    second_copy(root, "CREMA-D")


def lssed(root: Path, listed: Iterable[str], there: Iterable[str] | None = None,
          faces: bool = True, write=sound, extension: str = ".wav") -> None:
    """Build `wav_all/<name>.wav` and the table; `there` are the files, if not `listed`."""
    listed = list(listed)
    for name in listed if there is None else there:
        write(root / "wav_all" / f"{name}{extension}")
    path = root / "metadata_english_all.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["name", "faces"] if faces else ["name"])
        table.writerows([name, "neutral"] if faces else [name] for name in listed)


def _text(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
