"""M3ED, Chinese dialogues from television series: records of the authors' release.

Zhao et al., "M3ED: Multi-modal Multi-scene Multi-label Emotional Dialogue Database", ACL 2022.
`annotation.json` says everything about an utterance, `splitInfo/` which series belong to which
part; the audio of `anjia_1_1`, spoken by A, is `modality_speech/A_anjia_1_1.wav`. The letters
are local to a dialogue, so that a speaker is a series and a name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sertools.data.corpus import Faults, find_audio
from sertools.data.record import GENDERS, Record
from sertools.files import read_json

SPLITS = {"train": "train", "val": "dev", "test": "test"}
"""Name in the list's file name -> official part."""
AGAIN = "get it again from the authors' repository"


def records(root: Path, faults: Faults) -> Iterator[Record]:
    """Yield one record per annotated utterance; the raw label is the main emotion.

    Args:
        root: the folder that holds `annotation.json`, `splitInfo` and `modality_speech`.
        faults: collects everything that cannot be used, with its remedy.
    """
    audio = {path.stem: path.relative_to(root).as_posix() for path in find_audio(root, faults)}
    if not audio:
        return  # find_audio said why
    parts = _parts(root / "splitInfo", faults)
    named = set()
    for series, dialogues in _read(root / "annotation.json", faults).items():
        if series not in parts:
            faults.add(f"annotation.json: {series}", "the series is in none of the lists", AGAIN)
            continue
        for dialogue, content in dialogues.items():
            for name, turn in content["Dialog"].items():
                stem = f"{turn.get('Speaker')}_{name}"
                named.add(stem)
                if stem in audio:
                    speakers = content.get("SpeakerInfo", {})
                    yield _record(series, dialogue, name, turn, speakers, audio[stem],
                                  parts[series])
                else:
                    faults.add(name, f"there is no audio file {stem}",
                               "complete modality_speech, or get annotation.json again",
                               "utterances without audio")
    for stem in sorted(audio.keys() - named):
        faults.drop("audio that annotation.json does not name", audio[stem])


def _record(series: str, dialogue: str, name: str, turn: dict[str, Any],
            speakers: dict[str, Any], where: str, split: str) -> Record:
    speaker = speakers.get(turn["Speaker"], {})
    known = (speaker.get("Name") or "").strip()
    gender = (speaker.get("Gender") or "").strip().lower()
    emotions = turn.get("EmoAnnotation", {})
    tags = {"age": speaker.get("Age"), "emotions": emotions.get("final_mul_emo")}
    return Record(
        id=f"m3ed-{name}",
        path=where,
        label=emotions.get("final_main_emo"),
        speaker=f"{series}/{known}" if known else None,
        session=dialogue,
        gender=gender if gender in GENDERS else None,
        text=(turn.get("Text") or "").strip() or None,
        language="zh",
        split=split,
        tags={key: str(value) for key, value in tags.items() if value},
    )


def _parts(folder: Path, faults: Faults) -> dict[str, str]:
    """Return the official part of each series."""
    parts: dict[str, str] = {}
    for name, split in SPLITS.items():
        file = folder / f"movie_list_{name}.txt"
        where = f"splitInfo/{file.name}"
        try:
            lines = file.read_text(encoding="utf-8-sig").split()
        except (OSError, UnicodeDecodeError) as error:
            faults.add(where, f"cannot be read: {error}", AGAIN)
            continue
        for series in lines:
            if parts.setdefault(series, split) != split:
                faults.add(where, f"series {series} is in {parts[series]} as well", AGAIN)
    return parts


def _read(path: Path, faults: Faults) -> dict[str, dict[str, Any]]:
    """Return annotation.json, series -> dialogue -> content; nothing if it cannot be that."""
    try:
        content = read_json(path)
        for dialogues in content.values():
            for dialogue in dialogues.values():
                for turn in dialogue["Dialog"].values():
                    turn["Speaker"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        faults.add(path.name, f"cannot be read: {error!r}",
                   "put the file of the release beside modality_speech")
        return {}
    return content
