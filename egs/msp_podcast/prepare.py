"""MSP-Podcast, turns of podcasts in English: records of the official release.

Lotfian and Busso, "Building Naturalistic Emotionally Balanced Speech Corpus by Retrieving
Emotional Speech from Existing Podcast Recordings", IEEE Transactions on Affective Computing 10(4),
2019. Labels are in `Labels/labels_consensus.csv` or `.json`; where a copy has neither,
`Labels.txt`, `Partitions.txt` and `Speaker_ids.txt` of older releases are read (labels.py). What
single workers heard is in `Labels/labels_detailed.csv` or `.json` (workers.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from labels import Turn, read_labels, read_partitions
from sertools.data.corpus import Faults, find_audio, walk
from sertools.data.record import Record
from sertools.data.votes import TAG
from sertools.errors import ConfigError
from workers import worker_votes

TURN = re.compile(r"MSP-PODCAST_(?P<podcast>\d+|test3)_\d+(_\d+)?")
SPLITS = {"Train": "train", "Development": "dev", "Test1": "test", "Test2": "test", "Test3": None}
"""Test3 has no labels, so that it is no part to test on here."""
WITHHELD = "Test3"
_NOT_RELEASED = "not known"
"""Partition of a recording that no list names."""


def records(root: Path, faults: Faults, withheld: str = "leave_out") -> Iterator[Record]:
    """Yield one record per labelled turn; the raw label is the code of one letter.

    Arousal, valence and dominance are the annotators' means, 1 to 7. The podcast stands for the
    session. Tags: `partition` (Train, Development, Test1, Test2, Test3), `emotion` (the code) and,
    where the copy tells them, `votes` of the workers for codes, as in "A=2;N=3". The text is ""
    where the transcript is empty, None where there is none.

    Args:
        root: the folder of the unpacked release.
        faults: collects every file and line that cannot be used, with its remedy.
        withheld: leave_out (and count) Test3, whose labels are not released, or keep it.

    Raises:
        ConfigError: `withheld` has none of these values.
    """
    if withheld not in ("leave_out", "keep"):
        raise ConfigError(f"withheld is {withheld!r}", remedy="choose leave_out or keep")
    recordings = _recordings(root, faults)
    if not recordings:
        return
    partitions = read_partitions(root, faults)
    turns = read_labels(root, partitions, faults)
    texts, votes = _texts(root, recordings, faults), worker_votes(root, faults)
    for name, path in recordings.items():
        turn, where = turns.get(name), path.relative_to(root).as_posix()
        partition = turn.partition if turn else _partition(name, partitions)
        if partition == WITHHELD and withheld == "leave_out":
            faults.drop("turn of Test3, whose labels are withheld", f"msp_podcast-{name}")
        elif partition == WITHHELD:
            yield _record(where, name, turn or Turn("", WITHHELD), texts.get(name), None)
        elif turn:
            yield _record(where, name, turn, texts.get(name), votes.get(name))
        elif turns:
            faults.drop("recording without a label", f"msp_podcast-{name}")
    for name, turn in turns.items():
        if name not in recordings and not (turn.partition == WITHHELD and withheld == "leave_out"):
            faults.add(turn.where, f"{name} has no recording, {name}.wav",
                       "complete the release in data_folder", "turns without a recording")


def _recordings(root: Path, faults: Faults) -> dict[str, Path]:
    """Return the recordings by name, in the order of their paths."""
    found = {}
    for path in find_audio(root, faults):
        if TURN.fullmatch(path.stem):
            found[path.stem] = path
        else:
            faults.add(path.relative_to(root).as_posix(),
                       "the name is not that of a turn, as in MSP-PODCAST_0001_0008",
                       "take the file out, or give it its official name back")
    return found


def _partition(name: str, partitions: dict[str, tuple[str, str]]) -> str:
    """Return the partition of a recording without a label; names of Test3 say it themselves."""
    own = WITHHELD if TURN.fullmatch(name)["podcast"] == "test3" else _NOT_RELEASED
    return partitions.get(name, ("", own))[1]


def _texts(root: Path, recordings: dict[str, Path], faults: Faults) -> dict[str, str]:
    """Return the human transcripts; nothing where a copy has no folder of them."""
    texts: dict[str, str] = {}
    for path in sorted(walk(root), key=lambda path: (len(path.parts), path)):
        if path.suffix.lower() != ".txt" or path.parent.name != "Transcripts":
            continue
        if path.stem not in recordings:
            faults.drop("transcript without a recording", path.relative_to(root).as_posix())
            continue
        content = path.read_bytes()
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252", "backslashreplace")
        texts.setdefault(path.stem, " ".join(text.split()))
    return texts


def _record(where: str, name: str, turn: Turn, text: str | None, votes: str | None) -> Record:
    podcast = TURN.fullmatch(name)["podcast"]
    tags = {"partition": turn.partition} | ({"emotion": turn.code} if turn.code else {})
    return Record(
        id=f"msp_podcast-{name}",
        path=where,
        label=turn.code,
        speaker=turn.speaker,
        session=None if podcast == "test3" else podcast,
        gender=turn.gender,
        text=text,
        language="en",
        **turn.ratings,
        split=SPLITS[turn.partition],
        tags=tags | ({TAG: votes} if votes else {}),
    )
