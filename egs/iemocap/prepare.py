"""IEMOCAP, improvised and scripted dialogues in English: records of `IEMOCAP_full_release`.

Busso et al., "IEMOCAP: interactive emotional dyadic motion capture database", Language Resources
and Evaluation 42(4), 2008. Labels, ratings and votes of the turns are in `dialog/EmoEvaluation`
(annotators.py reads the votes), texts in `dialog/transcriptions`, recordings in `sentences/wav`.
The first part of a name says who wore the motion capture markers in the dialogue; who talks is the
letter of its last part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from annotators import last_labels, numbered_lines, said_in, tags_of
from sertools.data.corpus import Faults, find_audio, walk
from sertools.data.record import Record
from sertools.errors import ConfigError

_DIALOGUE = r"(?P<session>Ses0[1-5])[FM]_(?P<scene>impro\d\d[a-z]?|script\d\d_\d[a-z]?)"
DIALOGUE = re.compile(_DIALOGUE)
TURN = re.compile(rf"(?P<dialogue>{_DIALOGUE})_(?P<talker>[FM])(?:\d{{3}}|XX\d+)")
EVALUATION = re.compile(
    r"\[\s*(?P<start>\d+\.?\d*)\s*-\s*(?P<end>\d+\.?\d*)\s*\]\s+(?P<turn>\S+)\s+(?P<code>\S+)\s+"
    r"\[\s*(?P<valence>[\d.]+)\s*,\s*(?P<arousal>[\d.]+)\s*,\s*(?P<dominance>[\d.]+)\s*\]\s*"
)
TRANSCRIPT = re.compile(r"(?P<turn>\S+)\s+\[[^\]]*\]\s*:(?P<text>.*)")

LABELS = ("neu", "hap", "sad", "ang", "sur", "fea", "dis", "fru", "exc", "oth", "xxx")
"""xxx: the annotators did not agree, oth: something else."""
GENDERS = {"F": "female", "M": "male"}
STYLES = ("improvised", "scripted")
SOURCES = ("consensus", "annotator_last")
DIMENSIONS = ("arousal", "valence", "dominance")
LOWEST, HIGHEST = 1.0, 5.0
"""The scale of the ratings."""
BEYOND = 0.5
"""A few means of the release lie so far outside the scale; they are moved to its end."""
_OFFICIAL = "copy the file from the official release, as it is"


def records(root: Path, faults: Faults, labels: Iterable[str] | None = None, subset: str = "all",
            label_source: str = "consensus") -> Iterator[Record]:
    """Yield one record per evaluated turn; the raw label is the code of three letters.

    Arousal, valence and dominance are the annotators' means, 1 to 5. Tags: `dialogue` and `turn`
    (place in it by time, from 0, turns of every label counted), `start` and `end` in the dialogue
    in seconds, `style` and `scene`, `emotion` (the code agreed upon), `votes` of the annotators for
    codes, as in "ang=0.5;fru=0.5;neu=1", `annotators`, what each of them (E) and the actors
    themselves (F, M) said, as in "E2=Neutral;E4=Anger+Frustration;F1=Anger", and `rated` (valence,
    arousal, dominance) where a mean was off the scale.

    Args:
        root: the unpacked release, the folder that holds `Session1` to `Session5`.
        faults: collects every file and line that cannot be used, with its remedy.
        labels: turns of other labels are left out and counted; None takes all.
        subset: all, improvised or scripted turns; the others are left out and counted.
        label_source: consensus (the label agreed upon) or annotator_last (see `last_labels`).

    Raises:
        ConfigError: the release has no such label, or an option no such value.
    """
    unknown = sorted(set(labels or ()) - set(LABELS))
    if unknown:
        raise ConfigError(f"IEMOCAP has no label {', '.join(map(repr, unknown))}",
                          remedy=f"choose from {', '.join(LABELS)}")
    for option, value, known in (("subset", subset, ("all", *STYLES)),
                                 ("label_source", label_source, SOURCES)):
        if value not in known:
            raise ConfigError(f"{option} is {value!r}", remedy=f"choose from {', '.join(known)}")
    recordings = _recordings(root, faults)
    if not recordings:
        return
    evaluations, transcripts = _text_files(root, faults)
    turns = _evaluated(root, evaluations, faults)
    texts = _texts(root, transcripts, turns, faults)
    _unevaluated(recordings, evaluations, turns, faults)
    given = {name: turn.code for name, turn in turns.items()}
    if label_source == "annotator_last":
        given = last_labels(root, faults)
    left_out = set() if labels is None else set(LABELS) - set(labels)

    def why_not(name: str) -> str | None:
        style = _style(TURN.fullmatch(name))
        if subset not in ("all", style):
            return f"{style} turn"
        if name not in given:
            return "turn to which no annotator gave one of the four labels"
        return f"label {given[name]}" if given[name] in left_out else None

    for name, path in recordings.items():
        if name not in turns:
            continue
        reason = why_not(name)
        if reason:
            faults.drop(reason, f"iemocap-{name}")
            continue
        yield _record(path.relative_to(root).as_posix(), name, given[name], turns[name],
                      texts.get(name), faults)
    for name, turn in turns.items():
        if name not in recordings and why_not(name) is None:
            faults.add(turn.where, f"{name} has no recording, {name}.wav in sentences/wav",
                       "complete the release in data_folder", "turns without a recording")


class Turn(NamedTuple):
    """What `EmoEvaluation` says of a turn."""

    where: str
    """File and line."""
    start: str
    end: str
    code: str
    ratings: dict[str, float]
    rated: str | None
    """The means as released, where one was off the scale."""
    said: list[tuple[str, list[str]]]
    """Annotators and actors, and their words."""
    place: int = 0
    """Among the turns of its dialogue, by time."""

    @property
    def when(self) -> tuple[float, float]:
        """Return start and end in the dialogue, in seconds."""
        return float(self.start), float(self.end)


def _recordings(root: Path, faults: Faults) -> dict[str, Path]:
    """Return the recordings of turns by name, in the order of their paths."""
    found, dialogues = {}, 0
    for path in find_audio(root, faults):
        if TURN.fullmatch(path.stem):
            found[path.stem] = path
        elif DIALOGUE.fullmatch(path.stem):
            dialogues += 1  # dialog/wav, both talkers in one file: not needed
        else:
            faults.add(path.relative_to(root).as_posix(),
                       "the name is not that of a turn, as in Ses01F_impro01_F000",
                       "take the file out, or give it its official name back")
    if dialogues and not found:
        faults.add(root, "holds recordings of whole dialogues, none of turns",
                   "unpack SessionN/sentences/wav as well")
    return found


def _text_files(root: Path, faults: Faults) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the files of `EmoEvaluation` and of `transcriptions` by dialogue."""
    folders: dict[str, dict[str, Path]] = {"EmoEvaluation": {}, "transcriptions": {}}
    for path in sorted(walk(root), key=lambda path: (len(path.parts), path)):
        taken = folders.get(path.parent.name)
        if taken is None or path.suffix.lower() != ".txt":
            continue
        if not DIALOGUE.fullmatch(path.stem):
            faults.drop(f"file of {path.parent.name} that is no dialogue's",
                        path.relative_to(root).as_posix())
            continue
        first = taken.setdefault(path.stem, path)
        if first is not path and first.read_bytes() != path.read_bytes():
            faults.add(path, f"has the name of {first}, but says something else",
                       "keep one copy of the release in data_folder", "files that clash")
    if not folders["EmoEvaluation"]:
        faults.add(root, "no EmoEvaluation/*.txt below it, so no turn has a label",
                   "unpack SessionN/dialog/EmoEvaluation as well")
    return folders["EmoEvaluation"], folders["transcriptions"]


def _evaluated(root: Path, files: dict[str, Path], faults: Faults) -> dict[str, Turn]:
    """Return all turns of all dialogues by name."""
    turns: dict[str, Turn] = {}
    for dialogue, path in sorted(files.items()):
        here: dict[str, Turn] = {}
        turn = None  # whose votes follow
        for number, line in numbered_lines(path):
            where = f"{path.relative_to(root).as_posix()} line {number}"
            if line.startswith("["):
                turn = _evaluation(where, dialogue, line, here, faults)
            elif turn is not None and (said := said_in(line)):
                turn.said.append(said)
        if not here:
            faults.add(path.relative_to(root).as_posix(), "names no turn that can be used",
                       _OFFICIAL)
        for place, name in enumerate(sorted(here, key=lambda name: (here[name].when, name))):
            turns[name] = here[name]._replace(place=place)
    return turns


def _evaluation(
    where: str, dialogue: str, line: str, here: dict[str, Turn], faults: Faults
) -> Turn | None:
    """Add the turn of one line to those of its dialogue; None if the line cannot be used."""
    match = EVALUATION.fullmatch(line)
    named = match and TURN.fullmatch(match["turn"])
    if match is None:
        problem = "does not read [start - end] turn label [valence, arousal, dominance]"
    elif named is None or named["dialogue"] != dialogue:
        problem = f"{match['turn']} is no turn of {dialogue}"
    elif match["turn"] in here:
        problem = f"{match['turn']} stands already in line {here[match['turn']].where.split()[-1]}"
    else:
        means, problem = _means(match)
    if problem:
        faults.add(where, problem, _OFFICIAL, "lines of EmoEvaluation that cannot be used")
        return None
    ratings = {name: min(max(value, LOWEST), HIGHEST) for name, value in means.items()}
    rated = None if ratings == means else " ".join(
        match[name] for name in ("valence", "arousal", "dominance"))
    here[match["turn"]] = Turn(where, match["start"], match["end"], match["code"], ratings,
                               rated, [])
    return here[match["turn"]]


def _means(match: re.Match[str]) -> tuple[dict[str, float], str | None]:
    """Return the mean ratings of a line, and what is wrong with them."""
    try:
        means = {name: float(match[name]) for name in DIMENSIONS}
    except ValueError:
        return {}, "the mean ratings are not numbers"
    wrong = [f"{name} is {value:g}" for name, value in means.items()
             if not LOWEST - BEYOND <= value <= HIGHEST + BEYOND]
    return means, f"{', '.join(wrong)}, off the scale of 1 to 5" if wrong else None


def _texts(
    root: Path, files: dict[str, Path], turns: dict[str, Turn], faults: Faults
) -> dict[str, str]:
    """Return what is said in each turn; nothing where a copy has no transcriptions at all."""
    texts: dict[str, str] = {}
    for path in files.values():
        for number, line in numbered_lines(path):
            match = TRANSCRIPT.fullmatch(line.strip())
            if match and match["turn"] in turns and match["turn"] not in texts:
                texts[match["turn"]] = match["text"].strip()
            elif line.strip():  # remarks, and turns that nobody evaluated
                where = f"{path.relative_to(root).as_posix()} line {number}"
                faults.drop("line of a transcript without an evaluated turn of its own", where)
    lacking = {_dialogue(name) for name in turns} - files.keys() if files else ()
    for dialogue in sorted(lacking):
        faults.add(f"transcriptions/{dialogue}.txt", "is missing",
                   "complete the release in data_folder", "transcripts that are missing")
    return texts


def _unevaluated(
    recordings: dict[str, Path], files: dict[str, Path], turns: dict[str, Turn], faults: Faults
) -> None:
    """Note dialogues without their file in EmoEvaluation, and single turns that it lacks."""
    if not files:
        return  # a fault already
    for dialogue in sorted({_dialogue(name) for name in recordings} - files.keys()):
        faults.add(f"EmoEvaluation/{dialogue}.txt", f"is missing, {dialogue} has recordings",
                   "complete the release in data_folder", "evaluations that are missing")
    for name in recordings:
        if name not in turns and _dialogue(name) in files:
            faults.drop("recording that EmoEvaluation does not name", f"iemocap-{name}")


def _record(
    where: str, name: str, label: str, turn: Turn, text: str | None, faults: Faults
) -> Record:
    match = TURN.fullmatch(name)
    tags = {
        "dialogue": match["dialogue"],
        "turn": str(turn.place),
        "start": turn.start,
        "end": turn.end,
        "style": _style(match),
        "scene": match["scene"],
        "emotion": turn.code,
        **tags_of(f"iemocap-{name}", turn.said, faults),
    }
    return Record(
        id=f"iemocap-{name}",
        path=where,
        label=label,
        speaker=match["session"] + match["talker"],
        session=f"Session{match['session'][-1]}",
        gender=GENDERS[match["talker"]],
        text=text or None,
        language="en",
        **turn.ratings,
        tags=tags | ({"rated": turn.rated} if turn.rated else {}),
    )


def _style(turn: re.Match[str]) -> str:
    return STYLES[not turn["scene"].startswith("impro")]


def _dialogue(turn: str) -> str:
    return turn.rpartition("_")[0]
