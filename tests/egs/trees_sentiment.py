"""Imitations of CMU-MOSEI and CMU-MOSI: their folders and label files, tones for speech."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy
import soundfile
from trees import sound

# ------------------------------------------------------------------------------------- MOSEI

MOSEI_VIDEOS = {"--qXJuDtHPw": "0", "-a_b_c_d_e_": "0", "210238": "0", "ABCdefGHIjk": "0",
                "BBCdefGHIjk": "1", "CBCdefGHIjk": "1", "DBCdefGHIjk": "2", "72385": "2",
                "EBCdefGHIjk": "3"}
"""Video -> number of its part; 3 is in none."""
MOSEI_HEADER = ",file,index,start,end,label2a,label2b,label6,label7,split"


def mosei_rows(videos: Mapping[str, str] = MOSEI_VIDEOS, each: int = 4,
               seconds: float = 0.4) -> list[list[str]]:
    """Return the table's cells: not in the order of time, all three sentiments in turn."""
    rows = []
    for number, (video, split) in enumerate(videos.items()):
        for index in range(each):
            place = each - 1 - index  # the first segment of the labels is the last in time
            strength = (2, -1, 0, -3)[(index + number) % 4]
            start, end = place * (seconds + 0.1), place * (seconds + 0.1) + seconds
            if place == 0 and number == 1:
                start = -0.487528344671
            sign = (strength > 0) - (strength < 0)
            rows.append([str(len(rows)), video, str(index), f"{start:.12g}", f"{end:.12g}",
                         str(int(strength >= 0)), str(sign), "0", str(strength), split])
    return rows


def mosei_text(row: Sequence[str]) -> str:
    """Return what is said in a segment; it holds the separator's character."""
    return f"It’s the_{row[2]}. segment of {row[1]}"


def mosei(root: Path, rows: Iterable[Sequence[str]], write=None, extension: str = ".wav",
          more: Iterable[str] = ("ZZZZZZZZZZZ",)) -> None:
    """Build the folders of the raw data and s3prl's table; `more` are videos without labels."""
    rows = list(rows)
    lengths = {row[1]: 0.0 for row in rows} | dict.fromkeys(more, 0.5)
    for row in rows:
        lengths[row[1]] = max(lengths[row[1]], float(row[4]) + 0.2)
    for video, seconds in lengths.items():
        path = root / "Raw" / "Audio" / "Full" / "WAV_16000" / f"{video}{extension}"
        (write or tune)(path, seconds=seconds)
    table = [MOSEI_HEADER, *(",".join(row) for row in rows)]
    (root / "CMU_MOSEI_Labels.csv").write_text("\n".join([*table, ""]), encoding="utf-8")
    (root / "CMU_MOSEI_Labels.csd").write_bytes(b"\x89HDF\r\n\x1a\n")
    folder = root / "Raw" / "Transcript" / "Segmented" / "Combined"
    folder.mkdir(parents=True, exist_ok=True)
    segments: dict[str, list] = {video: [] for video in lengths}
    for row in sorted(rows, key=lambda row: float(row[3])):
        segments[row[1]].append(row)
    for video, own in segments.items():
        lines = [f"{video}___{number}___{float(row[3]):.3f}___{float(row[4]):.3f}___"
                 f"{mosei_text(row)}" for number, row in enumerate(own)]
        (folder / f"{video}.txt").write_text("\n".join(lines), encoding="utf-8")


def mosei_for_runs(root: Path) -> None:
    """Build a release that is long enough for every system."""
    mosei(root, mosei_rows(each=6, seconds=0.6))


def tune(path: Path, rate: int = 16000, seconds: float = 1.0) -> Path:
    """Write a tone whose pitch rises, so that no two stretches of a file sound alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = numpy.random.default_rng(zlib.crc32(path.stem.encode()))
    time = numpy.arange(round(rate * seconds)) / rate
    wave = 0.1 * numpy.sin(2 * numpy.pi * (draw.uniform(100, 300) + 20 * time) * time)
    soundfile.write(path, wave + 0.01 * draw.standard_normal(len(time)), rate,
                    format=path.suffix[1:].upper())
    return path


# -------------------------------------------------------------------------------------- MOSI

MOSI_VIDEOS = ("2iD-tVS8NPw", "I5y0__X72p0", "6_0THN4chvY", "WKA5OygbEKI", "_dI--eQ6qVU",
               "tmZoasNr4rU", "d3_k5Xpfmik")
"""Three of train, two of dev and of test."""
SENTIMENTS = ("-1.4", "2.6", "0.0", "-3.0", "0.2", "3.0")


def mosi_rows(videos: Iterable[str] = MOSI_VIDEOS, each: int = 4) -> list[list[str]]:
    """Return the table's cells: start, end, video, segment, sentiment."""
    values = itertools.cycle(SENTIMENTS)
    return [[f"{0.6 * number - 0.5:.3f}", f"{0.6 * number:.3f}", video, str(number), next(values)]
            for video in videos for number in range(1, each + 1)]


def mosi(root: Path, rows: Iterable[Sequence[str]], write=sound, extension: str = ".wav",
         whole: Iterable[str] = ()) -> list[str]:
    """Build the release's folders; videos in `whole` have no recordings of their segments.

    Returns:
        the stems of all segments.
    """
    rows, whole = list(rows), set(whole)
    audio, folder = root / "Audio" / "WAV_16000", root / "Transcript" / "Segmented"
    folder.mkdir(parents=True, exist_ok=True)
    (root / "Labels").mkdir(parents=True, exist_ok=True)
    for video in {row[2]: None for row in rows}:
        own = [row for row in rows if row[2] == video]
        path = audio / "Full" / f"{video}{extension}"
        if write is sound:
            tune(path, seconds=float(own[-1][1]) + 0.2)
        else:
            write(path)
        for row in own if video not in whole else ():
            write(audio / "Segmented" / f"{video}_{row[3]}{extension}")
        lines = [f"{row[3]}_DELIM_IT WAS {row[3]}_TIMES BETTER" for row in own]
        (folder / f"{video}.annotprocessed").write_text("\n".join(lines), encoding="utf-8")
    table = "\n".join(",".join(row) for row in rows)
    (root / "Labels" / "OpinionLevelSentiment.csv").write_text(table, encoding="utf-8")
    return [f"{row[2]}_{row[3]}" for row in rows]


def mosi_for_runs(root: Path) -> None:
    """Build a release that is long enough for every system."""
    mosi(root, mosi_rows(each=6), lambda path: sound(path, seconds=0.4))


FOR_RUNS = {"mosei": mosei_for_runs, "mosi": mosi_for_runs}
