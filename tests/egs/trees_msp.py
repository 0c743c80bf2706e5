"""Imitations of MSP-Podcast: folders and label files of its releases, tones for speech."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from trees import sound

HEADER = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"
RATINGS = ("EmoAct", "EmoVal", "EmoDom")
CODES = "ASHUFDCN"
WORDS = {"A": "Angry", "S": "Sad", "H": "Happy", "U": "Surprise", "F": "Fear", "D": "Disgust",
         "C": "Contempt", "N": "Neutral", "O": "Other-puzzled", "X": "Other"}
STEREO = "MSP-PODCAST_1023_0235"
PARTS = {"Train": ("0001", "1023", "0003"), "Development": ("0010",), "Test1": ("0020", "0021"),
         "Test2": ("0030",)}
"""Podcasts of each partition; each has two speakers."""


def rows(each: int = 10, parts: dict[str, Sequence[str]] = PARTS) -> list[list[str]]:
    """Return the table's cells: `each` turns a podcast, all codes in turn, some speakers unknown.

    Turn 9 of every ten has the code O, turn 10 X; the last turn's speaker is unknown.
    """
    made = []
    for partition, podcasts in parts.items():
        for podcast in podcasts:
            for number in range(each):
                code = (CODES + "OX")[number % 10]
                sex, speaker = ("Female", "Male")[number % 2], f"{int(podcast)}{number % 2}"
                if number == each - 1:
                    sex = speaker = "Unknown"
                name = STEREO if (podcast, number) == ("1023", 1) else (
                    f"MSP-PODCAST_{podcast}_{number + 8:04d}")
                ratings = [f"{1 + (number * step) % 61 / 10:.1f}" for step in (7, 11, 13)]
                made.append([f"{name}.wav", code, *ratings, speaker, sex, partition])
    return made


def stem(row: Sequence[str]) -> str:
    """Return the name of a row's recording."""
    return row[0].removesuffix(".wav")


def audio(root: Path, table: Iterable[Sequence[str]], folder: str = "Audios", write=sound,
          extension: str = ".wav") -> None:
    """Write the recordings; one is stereo at 44.1 kHz, as in release 1.8."""
    for row in table:
        odd = {"rate": 44100, "channels": 2} if stem(row) == STEREO else {}
        write(root / folder / f"{stem(row)}{extension}", **odd)


def csv_table(root: Path, table: Iterable[Sequence[str]], name: str = "labels_consensus.csv",
              header: str = HEADER) -> Path:
    """Write the consensus labels as a table."""
    path = root / "Labels" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *(",".join(row) for row in table), ""]), encoding="utf-8")
    return path


def json_table(root: Path, table: Iterable[Sequence[str]], name: str = "labels_consensus.json",
               texts: bool = True) -> Path:
    """Write the consensus labels as JSON; ratings are texts or numbers."""
    keys = HEADER.split(",")[1:]
    content = {row[0]: dict(zip(keys, row[1:], strict=True)) for row in table}
    if not texts:
        for entry in content.values():
            entry.update({key: float(entry[key]) for key in keys if key[:3] == "Emo" and
                          key != "EmoClass"})
    path = root / "Labels" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def legacy(root: Path, table: Iterable[Sequence[str]]) -> Path:
    """Write Labels.txt with the lines of workers, Partitions.txt and Speaker_ids.txt."""
    lines, partitions, speakers, genders = [], [], [], {}
    for name, code, act, val, dom, speaker, gender, partition in table:
        lines.append(f"{name}; {code}; A:{float(act):.6f}; V:{float(val):.6f}; "
                     f"D:{float(dom):.6f};")
        lines += [worker_line(*said) for said in workers([name, code])]
        lines.append("")
        partitions.append(f"{partition}; {name}")
        speakers.append(f"{name}; {speaker}")
        genders[speaker] = gender
    people = [f"Speaker_{name}; {gender}" for name, gender in genders.items() if name != "Unknown"]
    labels = root / "Labels" / "Labels.txt"
    labels.parent.mkdir(parents=True, exist_ok=True)
    labels.write_text("\n".join(lines), encoding="utf-8")
    (root / "Partitions.txt").write_text("\n".join([*partitions, ""]), encoding="utf-8")
    (root / "Speaker_ids.txt").write_text("\n".join([*people, "", *speakers]), encoding="utf-8")
    return labels


def workers(row: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return three workers of a turn: name, first choice, all choices; one hears something else."""
    word = WORDS[row[1]]
    return [("WORKER00000001", word, f"{word},Concerned"), ("WORKER00000002", word, word),
            ("WORKER00000003", "Neutral", "Neutral,Bored, tired")]


def detailed_csv(root: Path, table: Iterable[Sequence[str]], packed: bool = False) -> Path:
    """Write what each worker heard, in columns of their own or in a single one."""
    path = root / "Labels" / "labels_detailed.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["FileName", "EmoDetail"] if packed else
                       ["FileName", "WorkerID", "EmoClass_Major", "EmoClass_Second", *RATINGS])
        for row in table:
            for who, major, second in workers(row):
                cells = [who, major, second, "6.0", "3.0", "5.0"]
                lines.writerow([row[0], worker_line(*cells[:3])] if packed else [row[0], *cells])
    return path


def worker_line(who: str, major: str, second: str) -> str:
    """Return a worker's line as it stands in Labels.txt."""
    return f"{who}; {major}; {second}; A:6.0; V:3.0; D:5.0;"


def transcripts(root: Path, table: Iterable[Sequence[str]]) -> None:
    """Write a text for every turn but the first; each fifth is empty."""
    folder = root / "Transcripts"
    folder.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(itertools.islice(table, 1, None), 1):
        text = "" if number % 5 == 0 else f"It’s turn {number} {{laughs}},\nyou know.\n"
        (folder / f"{stem(row)}.txt").write_text(text, encoding="utf-8")


def release(root: Path, table: Iterable[Sequence[str]], write=sound) -> None:
    """Build a release of the present form, with what else lies beside it."""
    table = list(table)
    audio(root, table, write=write)
    csv_table(root, table)
    json_table(root, table)
    transcripts(root, table)
    detailed_csv(root, table)
    aligned = root / "ForceAligned" / f"{stem(table[0])}.TextGrid"
    aligned.parent.mkdir()
    aligned.write_text("ooTextFile\n", encoding="utf-8")


def test3(root: Path, write=sound) -> list[str]:
    """Add three turns of Test3, named in Partitions.txt alone; one by the name of a podcast."""
    names = ["MSP-PODCAST_test3_0001", "MSP-PODCAST_test3_0002", "MSP-PODCAST_0040_0001"]
    for name in names:
        write(root / "Audios" / f"{name}.wav")
    lines = [f"Test3; {name}.wav\n" for name in names[1:]]
    (root / "Partitions.txt").write_text("".join(lines), encoding="utf-8")
    return names


def for_runs(root: Path) -> None:
    """Build a release that is long enough for every system, with Test3."""
    release(root, rows(each=10), lambda path, **odd: sound(path, seconds=0.4, **odd))
    test3(root)
