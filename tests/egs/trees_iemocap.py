"""An imitation of IEMOCAP_full_release: its folders, its annotation files, tones for speech.

A turn is described as (dialogue, last part of the name, label); times, ratings, votes and texts
follow from its place, so that tests can say what a preparer must find.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from trees import sound

VOTES = {"neu": "Neutral", "hap": "Happiness", "sad": "Sadness", "ang": "Anger",
         "sur": "Surprise", "fea": "Fear", "dis": "Disgust", "fru": "Frustration",
         "exc": "Excited", "oth": "Other", "xxx": "Neutral"}
OTHERS = {"fru": 1849, "xxx": 2507, "sur": 107, "fea": 40, "oth": 3, "dis": 2}
"""Turns of the release outside the four classes."""
FOUR = ("neu", "hap", "ang", "sad", "exc")


@dataclass(frozen=True)
class Line:
    """A turn as the tree says it."""

    dialogue: str
    last: str
    label: str
    start: float
    means: tuple[float, float, float] = (2.5, 3.0, 3.5)
    """Valence, activation, dominance."""

    @property
    def name(self) -> str:
        return f"{self.dialogue}_{self.last}"

    @property
    def text(self) -> str:
        return f"That’s turn {self.last}, isn’t it?"


def small() -> list[Line]:
    """Return a few turns of every session: both talkers, four classes, others, odd names."""
    lines = []
    for session in "12345":
        for wears, scene in (("F", "impro01"), ("M", "script01_1")):
            dialogue = f"Ses0{session}{wears}_{scene}"
            for talker in "FM":
                lines += [
                    # the man's turns lie between the woman's: order in time is not that of names
                    Line(dialogue, f"{talker}{place:03d}", label,
                         10.0 * place + (5 if talker == "M" else 0),
                         (2.5 + place / 4, 3.0 - place / 4, 3.5 + place / 4))
                    for place, label in enumerate((*FOUR, "fru", "xxx"))
                ]
    lines += [Line("Ses03M_impro05a", "F000", "neu", 1.0),
              Line("Ses03M_impro05b", "M000", "sad", 1.0),
              Line("Ses05M_script01_1b", "F001", "ang", 2.0, (5.5, 0.5, 3.0)),
              Line("Ses05M_script01_1b", "M001", "hap", 4.0)]
    return lines


def official(meta: Path) -> list[Line]:
    """Return turns with the names and labels of the published lists, 10,039 with made-up others.

    Args:
        meta: the folder of EmoBox's fold lists, `fold_k/iemocap_test_fold_k.jsonl`.
    """
    entries = [json.loads(line) for path in sorted(meta.glob("fold_*/iemocap_test_fold_*.jsonl"))
               for line in path.read_text(encoding="utf-8").splitlines()]
    named = [(entry["key"].removeprefix("iemocap-"), entry["emo"]) for entry in entries]
    dialogues = sorted({name.rpartition("_")[0] for name, _ in named})
    others = [label for label, number in OTHERS.items() for _ in range(number)]
    named += [(f"{dialogues[n % len(dialogues)]}_{'FM'[n % 2]}{500 + n // len(dialogues)}", label)
              for n, label in enumerate(others)]
    lines, seen = [], Counter()
    for name, label in sorted(named):
        dialogue, _, last = name.rpartition("_")
        lines.append(Line(dialogue, last, label, 3.0 * seen[dialogue]))
        seen[dialogue] += 1
    return lines


def iemocap(root: Path, lines: Iterable[Line], write=sound, extension: str = ".wav",
            whole: bool = True, ends: str = "\n") -> list[str]:
    """Build the release's folders for these turns; return the names of all turns.

    Args:
        whole: also the recordings of whole dialogues, `dialog/wav`.
        ends: line ends of the text files.
    """
    lines = list(lines)
    dialogues = defaultdict(list)
    for line in lines:
        folder = _session(root, line.dialogue) / "sentences" / "wav" / line.dialogue
        write(folder / f"{line.name}{extension}")
        dialogues[line.dialogue].append(line)
    for dialogue, turns in dialogues.items():
        folder = _session(root, dialogue) / "dialog"
        _write(folder / "EmoEvaluation" / f"{dialogue}.txt", evaluation(turns), ends)
        _write(folder / "transcriptions" / f"{dialogue}.txt", transcript(turns), ends)
        if whole:
            write(folder / "wav" / f"{dialogue}{extension}", channels=2)
        # what else the release holds there: one annotator's own file, forced alignments
        _write(categorical_file(root, dialogue, "e2"), categorical(turns), ends)
        _write(_session(root, dialogue) / "sentences" / "ForcedAlignment" / dialogue
               / f"{turns[0].name}.wdseg", ["SFrm EFrm"], ends)
    return [line.name for line in lines]


def for_runs(root: Path) -> None:
    """Build a release that is long enough for every system."""
    iemocap(root, small(), lambda path: sound(path, seconds=0.4), whole=False)


def evaluation(turns: Iterable[Line]) -> list[str]:
    """Return the lines of an EmoEvaluation file: the woman's turns, then the man's."""
    out = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    for turn in sorted(turns, key=lambda turn: turn.last):
        means = ", ".join(f"{value:.4f}" for value in turn.means)
        said, span = VOTES[turn.label], f"[{turn.start:.4f} - {turn.start + 1.5:.4f}]"
        out += [f"{span}\t{turn.name}\t{turn.label}\t[{means}]",
                f"C-E2:\t{said};\t()", f"C-E3:\t{said}; Anger;\t(raised; voice)",
                f"C-{turn.last[0]}1:\t{said};\t(curious)",
                "A-E3:\tval 3; act 2; dom  2;\t()", "A-E4:\tval 2; act 3; dom  3;\t()", ""]
    return out


def categorical(turns: Iterable[Line]) -> list[str]:
    """Return the lines of an annotator's own file, who says what all agreed upon."""
    return [f"{turn.name} :{VOTES[turn.label].replace('Neutral', 'Neutral state')}; ()"
            for turn in turns]


def transcript(turns: Iterable[Line]) -> list[str]:
    """Return the lines of a transcript, in the order of time, with remarks between them."""
    out = []
    for turn in sorted(turns, key=lambda turn: turn.start):
        span = f"[{turn.start:08.4f}-{turn.start + 1.5:08.4f}]"
        out.append(f"{turn.name} {span}: {turn.text}")
    first = next(iter(turns))
    return [*out, "M: [LAUGHTER]", f"{first.dialogue}_MXX0 [000.1000-000.2000]: Hm."]


def evaluation_file(root: Path, dialogue: str) -> Path:
    """Return the path of a dialogue's labels."""
    return _session(root, dialogue) / "dialog" / "EmoEvaluation" / f"{dialogue}.txt"


def categorical_file(root: Path, dialogue: str, annotator: str) -> Path:
    """Return the path of an annotator's own file."""
    return (_session(root, dialogue) / "dialog" / "EmoEvaluation" / "Categorical"
            / f"{dialogue}_{annotator}_cat.txt")


def transcript_file(root: Path, dialogue: str) -> Path:
    """Return the path of a dialogue's texts."""
    return _session(root, dialogue) / "dialog" / "transcriptions" / f"{dialogue}.txt"


def _session(root: Path, dialogue: str) -> Path:
    return root / f"Session{dialogue[4]}"


def _write(path: Path, lines: Iterable[str], ends: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(ends.join([*lines, ""]).encode("utf-8"))
