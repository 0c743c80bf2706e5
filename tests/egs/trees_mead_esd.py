"""Imitations of MEAD and ESD; see trees.py, whose sounds and traps they share."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path

import trees
from trees import sound

# -------------------------------------------------------------------------------------- MEAD

MEAD_WORDS = ("angry", "contempt", "disgusted", "fear", "happy", "sad", "surprised")


def mead(root: Path, speakers: Iterable[str] = ("M003", "W009"), each: int = 1,
         levels: Iterable[int] = (1, 2, 3), write=sound, extension: str = ".flac") -> list[str]:
    """Build the unpacked audio of these speakers, and the archives and videos beside it.

    Args:
        each: recordings of an emotion at a level; neutral speech has the first level only.

    Returns:
        the names that EmoBox gives them, such as M003-angry-level-1-001.
    """
    names = []
    for speaker in speakers:
        folders = [("neutral", 1), *itertools.product(MEAD_WORDS, levels)]
        for (word, level), number in itertools.product(folders, range(1, each + 1)):
            name = f"{speaker}-{word}-level-{level}-{number:03d}"
            # recordings of equal names must not sound alike, so that the whole name is written
            path = root / speaker / "audio" / word / f"level_{level}" / f"{number:03d}{extension}"
            path.parent.mkdir(parents=True, exist_ok=True)
            rate = 44100 if number == 2 else 48000
            write(path.with_name(f"{name}{extension}"), rate=rate, channels=2).rename(path)
            names.append(name)
        (root / speaker / "audio.tar").write_bytes(b"tar")
        video = root / speaker / "video" / "left_30" / "angry" / "level_1" / "001.mp4"
        video.parent.mkdir(parents=True)
        video.write_bytes(b"video")
    return names


def mead_for_runs(root: Path) -> None:
    """Build a release of eight speakers that is long enough for every system."""
    speakers = [f"{letter}{number:03d}" for letter in "MW" for number in (3, 9, 11, 40)]
    mead(root, speakers, levels=(1, 3), write=lambda path, **how: trees.sound(
        path, seconds=0.4, **how))


# --------------------------------------------------------------------------------------- ESD

ESD_WORDS = {"Neutral": "中立", "Angry": "生气", "Happy": "快乐", "Sad": "伤心", "Surprise": "惊喜"}
ESD_SPEAKERS = tuple(f"{number:04d}" for number in range(1, 21))
ESD_PARTS = {1: "evaluation", 2: "test"}
"""Place of a sentence -> folder of its part, where that is not train; their sizes are ours."""
ESD_ENCODINGS = ("utf-8", "utf-16", "gbk", "utf-8-sig", "utf-16-le")
"""In turn from speaker to speaker; English tables in no Unicode are Latin."""


def esd(root: Path, speakers: Iterable[str] = ESD_SPEAKERS, each: int = 350, write=sound,
        extension: str = ".wav", parts: bool = True, tables: bool = True) -> list[str]:
    """Build folders and tables of these speakers.

    Args:
        each: sentences in every emotion.
        parts: whether the folders train, evaluation and test stand below the emotions.

    Returns:
        the stems of all recordings.
    """
    stems = []
    for speaker in speakers:
        lines = []
        for place, (folder, word) in enumerate(ESD_WORDS.items()):
            for sentence in range(1, each + 1):
                stem = f"{speaker}_{350 * place + sentence:06d}"
                part = ESD_PARTS.get(sentence, "train") if parts else ""
                write(root / speaker / folder / part / f"{stem}{extension}")
                lines.append(esd_line(stem, speaker, sentence, folder, word))
                stems.append(stem)
        if tables:
            esd_table(root / speaker / f"{speaker}.txt", lines)
    return stems


def esd_text(speaker: str, sentence: int) -> str:
    """Return what is spoken, with a curly quote in English."""
    return f"第{sentence}句，很美丽。" if speaker <= "0010" else f"It’s number {sentence}."


def esd_line(stem: str, speaker: str, sentence: int, folder: str, word: str) -> str:
    """Return a table's line; English tables name emotions in English."""
    said = word if speaker <= "0010" else folder
    return f"{stem}\t{esd_text(speaker, sentence)}\t{said}"


def esd_table(path: Path, lines: Iterable[str], encoding: str | None = None) -> None:
    """Write a table in the encoding of its speaker, with CRLF."""
    encoding = encoding or ESD_ENCODINGS[int(path.stem) % len(ESD_ENCODINGS)]
    if encoding == "gbk" and path.stem > "0010":
        encoding = "cp1252"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\r\n".join([*lines, ""]).encode(encoding))


def esd_for_runs(root: Path) -> None:
    """Build a release that is long enough for every system, with what may be wrong about it."""
    esd(root, each=1, write=lambda path: trees.sound(path, seconds=0.4))
    folder = root / "0011" / "Sad" / "evaluation"
    trees.sound(next(folder.glob("*.wav")), rate=44100, channels=2, seconds=0.4)
    trees.litter(folder)
    trees.second_copy(root, "once more")


SMALL: Mapping = {"esd": lambda root, **how: esd(root, ("0002", "0012"), 2, **how)}
FOR_RUNS = {"mead": mead_for_runs, "esd": esd_for_runs}
