"""ShEMO, Sharif Emotional Speech Database: records of the Persian release.

Mohamad Nezami, Jamshid Lou and Karami, "ShEMO: a large-scale validated database for Persian
speech emotion detection", Language Resources and Evaluation 53, 2019. A stem reads `M36S02`:
gender, speaker, emotion letter, number; the first F is female, the fourth letter F is fear.
What was said stands in `shemo.json`, which was published apart from the recordings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults
from sertools.data.names import named_audio
from sertools.data.record import Record
from sertools.files import read_json

STEM = re.compile(r"(?P<speaker>(?P<gender>[FM])\d\d)(?P<emotion>[A-Z])(?P<number>\d\d)")
FORM = "gender, speaker, emotion letter and number, as in M36S02"
GENDERS = {"F": "female", "M": "male"}
TRANSCRIPTS = "shemo.json"


def records(root: Path, faults: Faults) -> Iterator[Record]:
    """Yield one record per recording below `root`; the raw label is the emotion's letter.

    Args:
        root: the folder that holds `female` and `male`, and `shemo.json` where there is one.
        faults: collects every file that cannot be used, with its remedy.
    """
    texts = _transcripts(root / TRANSCRIPTS, faults)
    for where, match in named_audio(root, faults, STEM, FORM, _problem):
        yield Record(
            id=f"shemo-{match[0]}",
            path=where,
            label=match["emotion"],
            speaker=match["speaker"],
            gender=GENDERS[match["gender"]],
            text=texts.get(match[0]),
            language="fa",
        )


def _problem(match: re.Match[str], where: Path) -> str | None:
    folder = where.parent.name.lower()
    if folder in GENDERS.values() and folder != GENDERS[match["gender"]]:
        return f"the name says {GENDERS[match['gender']]}, its folder {folder}"
    return None


def _transcripts(path: Path, faults: Faults) -> dict[str, str]:
    """Return what was said by stem; nothing where the table is not there."""
    if not path.is_file():
        return {}
    try:
        return {stem: entry["transcript"].strip() for stem, entry in read_json(path).items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        faults.add(path.name, f"cannot be read: {error!r}",
                   "get it again, as UTF-8, or take it away: it only holds the transcripts")
        return {}
