"""An imitation of MELD.Raw: its folders, its tables, tones for the sound of the clips."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import numpy
import soundfile
import trees

FOLDERS = {"train": "train/train_splits", "dev": "dev_splits_complete",
           "test": "output_repeated_splits_test"}
TABLES = {"train": "train/train_sent_emo.csv", "dev": "dev_sent_emo.csv",
          "test": "test_sent_emo.csv"}
COLUMNS = ("Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID",
           "Utterance_ID", "Season", "Episode", "StartTime", "EndTime")
EMOTIONS = ("neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear")
SPEAKERS = ("Rachel", "Dr. Leedbetter", "Monica and Chandler", "Richard’s Date")


def sound(path: Path, rate: int = 16000, channels: int = 1, seconds: float = 0.15) -> Path:
    """Write a tone that clips of the same name in other folders do not share."""
    named = path.with_name(f"{path.parent.name}_{path.name}")
    return trees.sound(named, rate, channels, seconds).rename(path)


def small(dialogues: int = 2) -> dict[str, list[dict[str, str]]]:
    """Return the lines of each part: the same numbers in all, gaps, quotes, commas, odd times."""
    parts: dict[str, list[dict[str, str]]] = {}
    for episode, split in enumerate(FOLDERS, 3):
        rows: list[dict[str, str]] = []
        for dialogue in range(dialogues):
            for place, emotion in enumerate(EMOTIONS):
                turn = place + (place > 3)  # turn 4 is in no table, as in the release
                said = f"“{emotion.title()}”, it’s {dialogue} — {split}, isn’t it?"
                rows.append(dict(zip(COLUMNS, (
                    str(len(rows) + 1), said,
                    SPEAKERS[place % 4], emotion, "neutral", str(dialogue), str(turn), "4",
                    str(episode), f"00:01:{10 + turn},100", f"0:01:{10 + turn},100"), strict=True)))
        parts[split] = rows
    return parts


def official(meta: Path) -> dict[str, list[dict[str, str]]]:
    """Return the lines of the published tables."""
    found = {}
    for split in FOLDERS:
        with open(meta / f"{split}_sent_emo.csv", encoding="utf-8", newline="") as file:
            found[split] = list(csv.DictReader(file))
    return found


def stem(row: dict[str, str]) -> str:
    """Return the name of a line's clip."""
    return f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"


def meld(root: Path, parts: dict[str, list[dict[str, str]]], write=sound, extension: str = ".wav",
         **how) -> list[str]:
    """Build the release's folders for these lines; return the ids of all clips.

    Args:
        how: passed to `write`, such as `rate=48000`.
    """
    ids = []
    for split, rows in parts.items():
        for row in rows:
            write(root / FOLDERS[split] / f"{stem(row)}{extension}", **how)
            ids.append(f"meld-{stem(row)}-{split}")
        table(root / TABLES[split], rows)
    write(root / FOLDERS["test"] / f"final_videos_testdia0_utt0{extension}", **how)
    write(root / FOLDERS["dev"] / f"dia0_utt4{extension}", **how)  # no table names it
    return ids


def for_runs(root: Path) -> None:
    """Build a release that is long enough for every system."""
    meld(root, small(), lambda path: sound(path, seconds=0.4))


def table(path: Path, rows: Iterable[dict[str, str]], encoding: str = "utf-8") -> None:
    """Write a table as the authors do: quoted where needed, CRLF."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(out.getvalue().encode(encoding))


def surround(path: Path, rate: int = 48000, seconds: float = 0.3) -> Path:
    """Write 5.1 sound whose six channels are tones of 100, 200, ... 600 Hz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = numpy.arange(round(rate * seconds)) / rate
    tones = [0.1 * numpy.sin(2 * numpy.pi * 100 * number * time) for number in range(1, 7)]
    soundfile.write(path, numpy.stack(tones, axis=1), rate, format=path.suffix[1:].upper())
    return path
