"""emotiontts_open_db, acted and read speech in Korean: records of the public sample.

Published by Selvas AI and KAIST; github.com/emotiontts/emotiontts_open_db, folder
`Dataset/SpeechCorpus`. `Emotional/` has labels, `Main/` and `Personality/` have none. The text
is in `transcript/` (UTF-8 with a byte order mark); `script/`, what was to be read, is not used.

Which block of hundred is which emotion. All speakers read sentences 1-100 neutral and 101-200
happy. The publisher's README calls 201-300 angry and 301-400 sad, but the recordings say the
opposite: the sentences of the third block tell of grief ("it hurts to hear that", "I am so
depressed"), those of the fourth scold; and 14 of 15 speakers read the third block lower than
their neutral one (2.9 semitones on average), softer and slower, and the fourth higher.
`label_order: content`, the default, therefore takes 201-300 as sadness and 301-400 as anger;
`label_order: readme` keeps the publisher's order, for comparison with numbers made from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults, find_audio
from sertools.data.record import Record
from sertools.errors import ConfigError

STEM = re.compile(r"(?P<speaker>[a-z]{3})(?P<number>\d{5})")
PARTS = {
    "emotional": ("Emotional",),
    "unlabelled": ("Main", "Personality"),
    "all": ("Emotional", "Main", "Personality"),
}
LABEL_ORDERS = {
    "content": ("neutral", "happiness", "sadness", "anger"),
    "readme": ("neutral", "happiness", "anger", "sadness"),
}
BLOCK = 100
"""Consecutive sentences of a speaker that share an emotion."""

# As the publisher's README files list them.
GENDERS = dict.fromkeys(
    "nea neb nec ned nee ema emb ava avb avc avd ada adb lmy"
    " pfa pfb pfc pfd pfi pfl pfm pfo pfp".split(),
    "female",
) | dict.fromkeys(
    "nek nel nem nen neo emf emg emh adc add kih pma pmb pmc pmd pmi pmj pml".split(), "male"
)


def records(
    root: Path, faults: Faults, part: str = "emotional", label_order: str = "content"
) -> Iterator[Record]:
    """Yield one record per recording of `part`; labels are words, None where there is none.

    Args:
        root: the folder that holds `Emotional`, `Main` and `Personality`.
        faults: collects every file that cannot be used, with its remedy.
        part: emotional, unlabelled or all.
        label_order: content or readme, see above.

    Raises:
        ConfigError: an option has none of these values.
    """
    if part not in PARTS:
        raise ConfigError(f"there is no part {part!r}", remedy=f"choose {', '.join(PARTS)}")
    if label_order not in LABEL_ORDERS:
        raise ConfigError(
            f"there is no label order {label_order!r}", remedy=f"choose {', '.join(LABEL_ORDERS)}"
        )
    for folder in PARTS[part]:
        if not (root / folder).is_dir():
            faults.add(
                folder,
                "the folder is missing",
                "give the folder that holds it as data_folder: Dataset/SpeechCorpus of the "
                "repository",
            )
            continue
        for path in find_audio(root / folder, faults):
            record = _record(root, path, LABEL_ORDERS[label_order], faults)
            if record is not None:
                yield record


def _record(root: Path, path: Path, order: tuple[str, ...], faults: Faults) -> Record | None:
    where = path.relative_to(root)
    match = STEM.fullmatch(path.stem)
    if match is None:
        faults.add(
            where.as_posix(),
            "the name is not three letters and five digits, as in nea00101",
            "take the file out of the folder, or give it its official name back",
        )
        return None
    speaker, number = match["speaker"], int(match["number"])
    if speaker not in where.parts:
        faults.add(
            where.as_posix(),
            f"speaker {speaker} lies in the folder of another",
            f"move the file to {speaker}/wav",
        )
        return None
    label = None
    if where.parts[0] == "Emotional":
        if not 1 <= number <= BLOCK * len(order):
            faults.add(
                where.as_posix(),
                f"sentence {number} is in no emotion's block",
                f"take the file out; sentences run from 1 to {BLOCK * len(order)}",
            )
            return None
        label = order[(number - 1) // BLOCK]
    return Record(
        id=f"emotiontts_ko-{path.stem}",
        path=where.as_posix(),
        label=label,
        speaker=speaker,
        gender=GENDERS.get(speaker),
        text=_transcript(root, path, faults),
        language="ko",
        tags={"group": where.parts[1] if where.parts[0] != "Personality" else "personality"},
    )


def _transcript(root: Path, path: Path, faults: Faults) -> str | None:
    """Return what is said in `path`; None where a copy has no transcripts at all."""
    folder = path.parent.parent / "transcript"
    file = folder / f"{path.stem}.txt"
    if not folder.is_dir():
        return None
    where = file.relative_to(root).as_posix()
    try:
        return file.read_text(encoding="utf-8-sig").strip() or None
    except FileNotFoundError:
        faults.add(where, "the transcript is missing", "copy it from the official repository")
    except UnicodeDecodeError as error:
        faults.add(
            where,
            f"the transcript is not UTF-8 (byte {error.start})",
            "copy it from the official repository, without converting it",
        )
    return None
