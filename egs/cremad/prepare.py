"""CREMA-D, acted in English by 91 actors: records of the release on GitHub.

Cao et al., "CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset", IEEE Transactions on
Affective Computing 5(4), 2014. A stem reads `1001_IEO_ANG_HI`: actor, sentence, the emotion that
was to be acted, its level. What listeners heard is in `processedResults/tabulatedVotes.csv`,
gender and age of the actors in `VideoDemographics.csv`; copies often lack both.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from sertools.data.corpus import Faults, walk
from sertools.data.names import named_audio
from sertools.data.record import Record
from sertools.data.votes import TAG, write_votes

STEM = re.compile(
    r"(?P<actor>\d{4})_(?P<sentence>[A-Z]{3})_(?P<emotion>[A-Z]{3})_(?P<level>[A-Z]{2})"
)
FORM = "actor, sentence, emotion and level, as in 1001_IEO_ANG_HI"
RENAMED = {"1040_ITH_SAD_X": "1040_ITH_SAD_XX"}
"""Names of older copies -> names of the release, which mended them in 2022."""
SILENT = "1076_MTI_SAD_XX"
"""Has no sound in the release; some copies lack the file."""
SENTENCES = {
    "IEO": "It's eleven o'clock",
    "TIE": "That is exactly what happened",
    "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about",
    "TAI": "The airplane is almost full",
    "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock",
    "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified"}
WITH_LEVELS, NEUTRAL = "IEO", "NEU"
GENDERS = {"Female": "female", "Male": "male"}
VOTES = {"A": "ANG", "D": "DIS", "F": "FEA", "H": "HAP", "N": "NEU", "S": "SAD"}
"""Columns of the table of votes -> labels."""
VOICE_ONLY = re.compile(r"1\d{5}")
"""Numbers of the rows whose listeners saw no face (2: saw only, 3: heard and saw)."""
_OFFICIAL = "copy the table from github.com/CheyneyComputerScience/CREMA-D, as it is"


def records(root: Path, faults: Faults) -> Iterator[Record]:
    """Yield one record per recording below `root`; the raw label is the emotion of the name.

    Tags: `sentence`, `level`; where the tables are there also `age` in years, `votes` of those who
    only heard the voice, as in "DIS=1;NEU=8;SAD=1", and `voice`, the emotion with most votes, or
    several, as in "A:D".

    Args:
        root: the repository, or any folder that holds the recordings; tables at any depth.
        faults: collects every file and line that cannot be used, with its remedy.
    """
    audio = list(named_audio(root, faults, STEM, FORM, _problem, _official))
    if not audio:
        return
    actors, votes = _actors(root, faults), _votes(root, faults)
    for where, match in [*audio, *_silent(audio)]:
        gender, age = actors.get(match["actor"], (None, {}))
        yield Record(
            id=f"cremad-{match[0]}",
            path=where,
            label=match["emotion"],
            speaker=match["actor"],
            gender=gender,
            text=SENTENCES[match["sentence"]],
            language="en",
            tags={"sentence": match["sentence"], "level": LEVELS[match["level"]]}
            | age | votes.get(match[0], {}),
        )


def _official(path: Path) -> str:
    return RENAMED.get(path.stem, path.stem)


def _problem(match: re.Match[str], where: Path) -> str | None:
    if not 1001 <= int(match["actor"]) <= 1091:
        return f"actor {match['actor']} is not 1001 to 1091"
    if match["sentence"] not in SENTENCES:
        return f"sentence {match['sentence']} is none of {', '.join(SENTENCES)}"
    if match["level"] not in LEVELS:
        return f"level {match['level']} is none of {', '.join(LEVELS)}"
    levelled = match["sentence"] == WITH_LEVELS and match["emotion"] != NEUTRAL
    if levelled != (match["level"] != "XX"):
        return (f"level {match['level']}, but LO, MD and HI belong to sentence {WITH_LEVELS} in "
                "all emotions but neutral, XX to everything else")
    return None


def _silent(audio: list[tuple[str, re.Match[str]]]) -> list[tuple[str, re.Match[str]]]:
    """Return the clip without sound where its actor is there but its file is not."""
    names = {match[0] for _, match in audio}
    beside = next((where for where, match in audio if match["actor"] == SILENT[:4]), None)
    if beside is None or SILENT in names:
        return []
    path = Path(beside)
    return [(path.with_name(SILENT + path.suffix).as_posix(), STEM.fullmatch(SILENT))]


def _actors(root: Path, faults: Faults) -> dict[str, tuple[str | None, Mapping[str, str]]]:
    """Return gender and age (as a tag) of each actor."""
    actors = {}
    for where, row in _rows(root, "VideoDemographics.csv", ("ActorID", "Age", "Sex"), faults):
        sex, age = row["Sex"].strip(), row["Age"].strip()
        if sex not in GENDERS or not age.isdecimal():
            faults.add(where, f"Sex is {sex!r} and Age {age!r}", _OFFICIAL, "lines of tables")
        else:
            actors[row["ActorID"].strip()] = (GENDERS[sex], {"age": age})
    return actors


def _votes(root: Path, faults: Faults) -> dict[str, dict[str, str]]:
    """Return the tags of each clip that those who only heard it voted on."""
    votes = {}
    for where, row in _rows(root, "tabulatedVotes.csv", ("", *VOTES, "fileName"), faults):
        if not VOICE_ONLY.fullmatch(row[""].strip()):
            continue
        counts = {emotion: row[emotion].strip() for emotion in VOTES}
        if not all(cell.isdecimal() and len(cell) < 7 for cell in counts.values()):
            faults.add(where, f"votes are {counts}, not numbers", _OFFICIAL, "lines of tables")
            continue
        most = max(map(int, counts.values()))
        votes[row["fileName"].strip()] = {
            TAG: write_votes({VOTES[name]: int(number) for name, number in counts.items()}),
            "voice": ":".join(name for name, number in counts.items() if int(number) == most),
        } if most else {}
    return votes


def _rows(
    root: Path, name: str, columns: tuple[str, ...], faults: Faults
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield place and cells of each line of a table; nothing where there is no such table."""
    found = [path for path in walk(root) if path.name.lower() == name.lower()]
    if not found:
        return
    path = min(found, key=lambda path: (len(path.parts), path))
    for other in found:
        if other.read_bytes() != path.read_bytes():
            faults.add(other.relative_to(root), f"is not what {path.relative_to(root)} is",
                       "keep one copy of the release in data_folder", "files that clash")
    where = path.relative_to(root).as_posix()
    text = path.read_bytes().decode("utf-8-sig", "backslashreplace")
    rows = csv.DictReader(io.StringIO(text, newline=""))
    lacking = [column for column in columns if column not in (rows.fieldnames or ())]
    if lacking:
        faults.add(where, f"has no column {', '.join(map(repr, lacking))}", _OFFICIAL)
        return
    for row in rows:
        here = f"{where} line {rows.line_num}"
        if None in row or None in row.values():
            faults.add(here, "has more or fewer cells than columns", _OFFICIAL, "lines of tables")
        else:
            yield here, row
