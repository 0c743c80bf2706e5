"""ESD, Emotional Speech Dataset, in Mandarin and English: records of the official release.

Zhou, Sisman, Liu and Li, "Emotional voice conversion: Theory, databases and ESD", Speech
Communication 137, 2022. A recording is `0001/Angry/train/0001_000351.wav`: speaker, emotion, part,
and the number within the speaker, 350 to an emotion. Copies without the folders of the parts are
read as well. `0001/0001.txt` says what was spoken, and the emotion once more; these tables are
UTF-8, UTF-16, GBK or Latin, and some of their lines lack a column.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults, walk
from sertools.data.names import named_audio
from sertools.data.record import Record

STEM = re.compile(r"(?P<speaker>00(?:0[1-9]|1\d|20))_(?P<number>\d{6})")
FORM = "speaker and number, as in 0001_000351"
LINE = re.compile(r"(?P<stem>\d{4}_\d{6})\s*(?P<rest>.*)")
TABLE = re.compile(r"(?P<speaker>00(?:0[1-9]|1\d|20))\.txt")
EMOTIONS = ("Neutral", "Angry", "Happy", "Sad", "Surprise")
"""In the order of the numbers: 1 to 350 are neutral, 351 to 700 angry, and so on."""
EACH = 350
"""Utterances of a speaker in an emotion: the same sentences in the same order."""
WORDS = {"中立": "Neutral", "生气": "Angry", "快乐": "Happy", "伤心": "Sad", "惊喜": "Surprise",
         **{word: word for word in EMOTIONS}}
"""Word in the tables -> emotion."""
PARTS = {"train": "train", "evaluation": "dev", "test": "test"}
"""Folder below an emotion's -> official part."""
LAST_MANDARIN = "0010"
AGAIN = ("get it again from the official release; or believe the folders and take the texts only, "
         "with corpus.options.check_tables: false")

Table = dict[str, tuple[str | None, str | None]]
"""Stem -> text and emotion, each None where the line lacks it."""


def records(root: Path, faults: Faults, check_tables: bool = True) -> Iterator[Record]:
    """Yield one record per recording below `root`; the raw label is the emotion's folder.

    Args:
        root: the folder that holds `0001` to `0020`.
        faults: collects every file and line that cannot be used, with its remedy.
        check_tables: refuse tables that cannot be read or that name another emotion than the
            folder; else they give texts only, and their odd lines are counted.
    """
    table: Table = {}
    for path in _tables(root, faults):
        table |= _table(path, path.relative_to(root).as_posix(), faults, check_tables)
    for where, match in named_audio(root, faults, STEM, FORM, _problem):
        emotion, part = _folders(Path(where))
        text, said = table.get(match[0], (None, None))
        if check_tables and said not in (None, emotion):
            faults.add(where, f"its folder says {emotion}, {match['speaker']}.txt {said}", AGAIN,
                       "recordings whose emotion is in doubt")
        yield Record(
            id=f"esd-{match[0]}",
            path=where,
            label=emotion,
            speaker=match["speaker"],
            text=text,
            language="zh" if match["speaker"] <= LAST_MANDARIN else "en",
            split=PARTS.get(part),
            tags={"sentence": f"{(int(match['number']) - 1) % EACH + 1:03d}"},
        )


def _folders(where: Path) -> tuple[str, str]:
    """Return the folder of the emotion and that of the part, "" where there is none."""
    folders = list(reversed(where.parent.parts)) + ["", ""]
    part = folders.pop(0) if folders[0] in PARTS else ""
    return folders[0], part


def _problem(match: re.Match[str], where: Path) -> str | None:
    number, (emotion, _) = int(match["number"]), _folders(where)
    if not 1 <= number <= EACH * len(EMOTIONS):
        return f"number {number} is not 1 to {EACH * len(EMOTIONS)}"
    if emotion not in EMOTIONS:
        return f"it lies in no folder of an emotion: {', '.join(EMOTIONS)}"
    meant = EMOTIONS[(number - 1) // EACH]
    if meant != emotion:
        return f"number {number} is {meant}, the folder {emotion}"
    speakers = [part for part in where.parts[:-1] if re.fullmatch(r"\d{4}", part)]
    if speakers and speakers[-1] != match["speaker"]:
        return f"speaker {match['speaker']} lies in the folder of another"
    return None


def _tables(root: Path, faults: Faults) -> list[Path]:
    """Return one table per speaker; copies that differ are a fault."""
    taken: dict[str, Path] = {}
    for path in sorted(walk(root), key=lambda path: (len(path.parts), path)):
        if TABLE.fullmatch(path.name):
            first = taken.setdefault(path.name, path)
            if first is not path and first.read_bytes() != path.read_bytes():
                faults.add(path.relative_to(root), f"is not what {first.relative_to(root)} is",
                           "keep one copy of the release in data_folder", "files that clash")
    return list(taken.values())


def _table(path: Path, where: str, faults: Faults, check: bool) -> Table:
    """Return what a speaker's table says of each recording."""
    found: Table = {}
    for number, line in enumerate(re.split(r"\r\n?|\n", _text(path)), 1):
        if not line.strip():
            continue
        stem, text, word = _columns(line)
        problem = None
        if not stem.startswith(f"{path.stem}_"):
            problem = f"begins with no name of speaker {path.stem}"
        elif word is not None and word not in WORDS:
            problem = f"names the emotion {word!r}, which is none of {', '.join(WORDS)}"
        if problem and check:
            faults.add(f"{where} line {number}", problem, AGAIN, "lines of tables")
        elif problem:
            faults.drop("line of a table that cannot be read", f"{where} line {number}")
        if not problem:
            found[stem] = text, None if word is None else WORDS[word]
    return found


def _columns(line: str) -> tuple[str, str | None, str | None]:
    """Return name, text and emotion of a line; None for a column that it lacks.

    Tabs part them, but not everywhere: a blank stands for one in some lines.
    """
    match = LINE.fullmatch(line.strip())
    if match is None:
        return "", None, None
    cells = [cell.strip() for cell in match["rest"].split("\t") if cell.strip()]
    if len(cells) > 1:
        return match["stem"], " ".join(cells[:-1]), cells[-1].capitalize()
    text = "".join(cells)
    before, _, last = text.rpartition(" ")
    if last in WORDS:
        return match["stem"], before.strip() or None, last
    return match["stem"], text or None, None


def _text(path: Path) -> str:
    """Decode a table: UTF-16 shows itself, then UTF-8, then what its language was written in."""
    content = path.read_bytes()
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "backslashreplace")
    if b"\0" in content[:2]:
        order = "be" if content[:1] == b"\0" else "le"
        return content.decode(f"utf-16-{order}", "backslashreplace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        mandarin = path.stem <= LAST_MANDARIN
        return content.decode("gb18030" if mandarin else "cp1252", "backslashreplace")
