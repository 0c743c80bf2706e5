"""MELD, dialogues from a television series in English: records of `MELD.Raw`.

Poria et al., "MELD: A Multimodal Multi-Party Dataset for Emotion Recognition in Conversations",
ACL 2019. Everything but the sound is in `{train,dev,test}_sent_emo.csv`; the clip of a line is
`dia<Dialogue_ID>_utt<Utterance_ID>` in the folder of its part, where numbers begin at 0 again.
Clips are videos (`.mp4`); `decode.py` puts their sound beside them.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from sertools.data.corpus import Faults, find_audio, walk
from sertools.data.decoding import conversion
from sertools.data.record import Record
from sertools.errors import ConfigError

CLIP = re.compile(r"dia\d+_utt\d+")
REPEATED = re.compile(r"final_videos_testdia\d+_utt\d+")
TABLE = re.compile(r"(train|dev|test)_sent_emo\.csv")
NAMED = re.compile(r"dia\d+_utt\d+-(train|dev|test)")
COLUMNS = ("Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID",
           "Season", "Episode", "StartTime", "EndTime")
EXTENSIONS = (".wav", ".flac", ".mp4")
"""In the order in which they are taken where a clip has several."""
CENTRE, SURROUND = 2, 6
"""The channel of a 5.1 recording that holds the dialogue, from 0, and how many there are."""
LONGEST = 60.0
"""Seconds; no utterance lasts so long, a clip that does was cut wrongly."""
COMMAND = conversion("-name 'dia*.mp4'", ".mp4")
"""Puts the sound of every clip beside it; its channels stay as they are."""
CONVERT = f"install ffmpeg and run this in data_folder:  {COMMAND}"


def records(
    root: Path,
    faults: Faults,
    leave_out: Iterable[str] = (),
    parts: Mapping[str, list[float | None]] | None = None,
) -> Iterator[Record]:
    """Yield one record per line of the three tables that has a clip; the raw label is a word.

    Sound of six channels (5.1) is read from its centre channel, other sound as the mean of its
    channels. Tags: `dialogue` (its part and number), `turn` (Utterance_ID; a number that is
    missing is a turn without a line), `sentiment`, `start` and `end` in the episode.

    Args:
        root: the unpacked release, MELD.Raw.
        faults: collects every file and line that cannot be used, with its remedy.
        leave_out: lines to leave out and count, such as dia125_utt3-train.
        parts: first and last second (None: the end) of what is used of clips that were cut
            wrongly, by name; clips of at most 60 s are used whole.

    Raises:
        ConfigError: `leave_out` or `parts` name something that is no clip.
    """
    parts, leave_out = dict(parts or {}), set(leave_out)
    odd = sorted(name for name in (*parts, *leave_out) if not NAMED.fullmatch(name))
    if odd:
        raise ConfigError(f"not the name of a clip: {', '.join(odd)}",
                          remedy="write clip and part, such as dia125_utt3-train")
    found = clips(root, faults)
    if not found:
        return
    lines: dict[tuple[str, str], tuple[str, dict[str, str]]] = {}
    files = tables(root, faults)
    for split, path in files.items():
        lines |= _lines(path.relative_to(root).as_posix(), path, split, faults)
    usable = []
    for (split, stem), (where, row) in lines.items():
        path = found.get((split, stem))
        if f"{stem}-{split}" in leave_out:
            faults.drop("line that the configuration leaves out", f"meld-{stem}-{split}")
        elif path is None:
            faults.add(where, f"there is no clip {stem} of {split}",
                       "complete the release in data_folder", "lines without a clip")
        elif path.suffix.lower() == ".mp4":
            faults.add(path.relative_to(root).as_posix(), "is a video, its sound is not beside it",
                       CONVERT, "clips that must be converted first")
        else:
            usable.append((path, split, stem, row))
    for split, stem in found.keys() - lines.keys():
        if split in files:
            faults.drop("clip without a line in its table", f"meld-{stem}-{split}")
    for path, split, stem, row in sorted(usable, key=lambda entry: entry[0]):
        yield _record(root, path, split, stem, row, parts.get(f"{stem}-{split}"))


def clips(root: Path, faults: Faults) -> dict[tuple[str, str], Path]:
    """Return the file of each clip by part and stem: sound where there is some, else the video."""
    taken: dict[tuple[str, str], Path] = {}

    def preference(path: Path) -> tuple:
        return EXTENSIONS.index(path.suffix.lower()), len(path.parts), path

    for path in sorted(find_audio(root, faults, EXTENSIONS, duplicates="keep"), key=preference):
        where, split = path.relative_to(root).as_posix(), _split(path.relative_to(root))
        if REPEATED.fullmatch(path.stem):
            faults.drop("clip called final_videos_...", where)
        elif not CLIP.fullmatch(path.stem):
            faults.add(where, "the name is not that of a clip, as in dia0_utt0",
                       "take the file out, or give it its official name back")
        elif split is None:
            faults.add(where, "lies in no folder of train, dev or test, and clips of all three "
                       "have the same names", "keep the folders of the release")
        else:
            first = taken.setdefault((split, path.stem), path)
            same_kind = first.suffix.lower() == path.suffix.lower()
            if first is path or (path.suffix.lower() == ".mp4" and not same_kind):
                continue  # the video that the sound was taken from
            if same_kind and first.stat().st_size != path.stat().st_size:
                faults.add(where, f"has the name of {first.relative_to(root)}, but another size",
                           "keep one copy of the release in data_folder", "files that clash")
            else:
                faults.drop("same clip as another file", where)
    return taken


def tables(root: Path, faults: Faults) -> dict[str, Path]:
    """Return the table of each part, and note those that are missing or contradict each other."""
    taken: dict[str, Path] = {}
    for path in sorted(walk(root), key=lambda path: (len(path.parts), path)):
        match = TABLE.fullmatch(path.name)
        if match is None:
            continue
        first = taken.setdefault(match[1], path)
        if first is not path and first.read_bytes() != path.read_bytes():
            faults.add(path, f"has the name of {first}, but says something else",
                       "keep one copy of the release in data_folder", "files that clash")
    for split in ("train", "dev", "test"):
        if split not in taken:
            faults.add(f"{split}_sent_emo.csv", "is missing",
                       "copy it from data/MELD of github.com/declare-lab/MELD to data_folder")
    return {split: taken[split] for split in ("train", "dev", "test") if split in taken}


def _split(path: Path) -> str | None:
    """Return the part that the nearest folder names, as in train_splits or test."""
    for folder in reversed(path.parts[:-1]):
        words = {"train", "dev", "test"} & set(re.split(r"[\W_]+", folder.lower()))
        if len(words) == 1:
            return words.pop()
    return None


def _lines(
    where: str, path: Path, split: str, faults: Faults
) -> dict[tuple[str, str], tuple[str, dict[str, str]]]:
    """Return the lines of a table by part and stem, each with its place."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:  # saved by a spreadsheet: curly quotes of Windows
        text = content.decode("cp1252", "backslashreplace")
    rows = csv.DictReader(io.StringIO(text, newline=""))
    remedy = "copy the table from the official release, without converting it"
    lacking = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
    if lacking:
        faults.add(where, f"has no column {', '.join(lacking)}", remedy)
        return {}
    lines: dict[tuple[str, str], tuple[str, dict[str, str]]] = {}
    for row in rows:
        here = f"{where} line {rows.line_num}"
        problem = _problem(row)
        if problem is None:
            key = split, f"dia{int(row['Dialogue_ID'])}_utt{int(row['Utterance_ID'])}"
            first = lines.setdefault(key, (here, row))
            if first[1] is not row:
                problem = f"names {key[1]} once more, as line {first[0].split()[-1]} does"
        if problem:
            faults.add(here, problem, remedy, "lines that cannot be used")
    return lines


def _problem(row: dict[str, str]) -> str | None:
    if None in row or None in row.values():
        return "has more or fewer cells than columns"
    numbers = ("Dialogue_ID", "Utterance_ID", "Season", "Episode")
    wrong = [f"{name} is {row[name]!r}" for name in numbers if not row[name].strip().isdecimal()]
    if wrong:
        return f"{', '.join(wrong)}, not a number"
    return None if row["Emotion"].strip() else "has no Emotion"


def _record(
    root: Path, path: Path, split: str, stem: str, row: dict[str, str],
    part: list[float | None] | None,
) -> Record:
    channels, seconds = _header(path)
    start, end = part if part is not None and seconds > LONGEST else (None, None)
    return Record(
        id=f"meld-{stem}-{split}",
        path=path.relative_to(root).as_posix(),
        label=row["Emotion"].strip(),
        speaker=row["Speaker"].strip() or None,
        session=f"s{int(row['Season']):02d}e{int(row['Episode']):02d}",
        text=row["Utterance"].strip() or None,
        language="en",
        split=split,
        start=start or None,
        end=end,
        channel=CENTRE if channels == SURROUND else None,
        tags={
            "dialogue": f"{split}-dia{int(row['Dialogue_ID'])}",
            "turn": str(int(row["Utterance_ID"])),
            "sentiment": row["Sentiment"].strip(),
            "start": row["StartTime"].strip(),
            "end": row["EndTime"].strip(),
        },
    )


def _header(path: Path) -> tuple[int, float]:
    """Return channels and seconds of a file, 0 where it cannot be read, which is found later."""
    import soundfile

    try:
        info = soundfile.info(str(path))
    except (RuntimeError, OSError, UnicodeError):
        return 0, 0.0
    return info.channels, info.duration
