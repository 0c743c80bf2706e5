"""RAVDESS, acted speech and song in English: records of the official audio-only release.

Livingstone and Russo, "The Ryerson Audio-Visual Database of Emotional Speech and Song", PLoS
ONE 13(5), 2018. A stem has seven two-digit fields: modality, vocal channel, emotion,
intensity, statement, repetition, actor. The archives of speech and of song unpack into the
same `Actor_NN` folders, so that only the second field tells them apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults, find_audio
from sertools.data.record import Record
from sertools.errors import ConfigError

STEM = re.compile(
    r"(?P<modality>\d\d)-(?P<channel>\d\d)-(?P<emotion>\d\d)-(?P<intensity>\d\d)"
    r"-(?P<statement>\d\d)-(?P<repetition>\d\d)-(?P<actor>\d\d)"
)
FOLDER = re.compile(r"Actor_(\d\d)", re.IGNORECASE)
PARTS = ("speech", "song", "both")

CHANNELS = {"01": "speech", "02": "song"}
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
ACTORS = [f"{number:02d}" for number in range(1, 25)]
NEUTRAL, SONG_EMOTIONS = "01", ("01", "02", "03", "04", "05", "06")


def records(root: Path, faults: Faults, part: str = "speech") -> Iterator[Record]:
    """Yield one record per recording of `part`; the raw label is the emotion's two digits.

    Args:
        root: the folder that holds `Actor_01` to `Actor_24`, at any depth.
        faults: collects every file that cannot be used, with its remedy.
        part: speech (1,440 files), song (1,012 files) or both.

    Raises:
        ConfigError: `part` is something else.
    """
    if part not in PARTS:
        raise ConfigError(f"RAVDESS has no part {part!r}", remedy=f"choose {', '.join(PARTS)}")
    for path in find_audio(root, faults):
        where = path.relative_to(root).as_posix()
        match = STEM.fullmatch(path.stem)
        problem = _problem(match, path.parent.name)
        if problem:
            faults.add(where, problem, "take the file out, or give it its official name back")
            continue
        if part not in ("both", CHANNELS[match["channel"]]):
            faults.drop(f"{CHANNELS[match['channel']]}, not in part {part}", f"ravdess-{path.stem}")
            continue
        yield _record(where, path.stem, match)


def _problem(match: re.Match[str] | None, folder: str) -> str | None:
    """Say in which field a name cannot be one of the release's, if it cannot."""
    if match is None:
        return "the name is not seven two-digit fields, as in 03-01-06-01-02-01-12"
    actor_folder = FOLDER.fullmatch(folder)
    problems = {
        f"modality {match['modality']} is not 03, audio only": match["modality"] != "03",
        f"vocal channel {match['channel']} is not 01 or 02": match["channel"] not in CHANNELS,
        f"intensity {match['intensity']} is not 01 or 02": match["intensity"] not in INTENSITIES,
        f"statement {match['statement']} is not 01 or 02": match["statement"] not in STATEMENTS,
        f"repetition {match['repetition']} is not 01 or 02": match["repetition"]
        not in ("01", "02"),
        f"actor {match['actor']} is not 01 to 24": match["actor"] not in ACTORS,
        f"actor {match['actor']} lies in the folder of another": actor_folder is not None
        and actor_folder[1] != match["actor"],
        "neutral was not recorded at strong intensity": match["emotion"] == NEUTRAL
        and match["intensity"] == "02",
        f"emotion {match['emotion']} was not sung": match["channel"] == "02"
        and match["emotion"] not in SONG_EMOTIONS,
    }
    return next((text for text, wrong in problems.items() if wrong), None)


def _record(where: str, stem: str, match: re.Match[str]) -> Record:
    return Record(
        id=f"ravdess-{stem}",
        path=where,
        label=match["emotion"],
        speaker=match["actor"],
        gender="male" if int(match["actor"]) % 2 else "female",  # by the release's own rule
        text=STATEMENTS[match["statement"]],
        language="en",
        tags={
            "channel": CHANNELS[match["channel"]],
            "intensity": INTENSITIES[match["intensity"]],
            "statement": match["statement"],
            "repetition": match["repetition"],
        },
    )
