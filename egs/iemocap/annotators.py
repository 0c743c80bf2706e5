"""What single annotators said of IEMOCAP's turns.

`dialog/EmoEvaluation/<dialogue>.txt` has a line for each of them below every turn, and
`dialog/EmoEvaluation/Categorical/<dialogue>_<annotator>_cat.txt` is one annotator's own file.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from sertools.data.corpus import Faults, walk
from sertools.data.votes import shared, write_votes

VOTE = re.compile(r"C-(?P<who>\w+):(?P<said>[^(]*)")
CODES = {
    "neutral": "neu", "neutral state": "neu", "happiness": "hap", "sadness": "sad",
    "anger": "ang", "surprise": "sur", "fear": "fea", "disgust": "dis", "frustration": "fru",
    "excited": "exc", "other": "oth",
}  # fmt: skip
OTHER = "oth"
FIRST_FOUND = ("neu", "hap", "exc", "sad", "ang")
"""Parts of words that `last_labels` looks for, in this order; each is a code as well."""


def said_in(line: str) -> tuple[str, list[str]] | None:
    """Return who voted in a line of EmoEvaluation, and for what; None if it holds no vote."""
    match = VOTE.match(line)
    words = match and [word.strip() for word in match["said"].split(";") if word.strip()]
    return (match["who"], words) if words else None


def tags_of(id: str, said: Sequence[tuple[str, list[str]]], faults: Faults) -> dict[str, str]:
    """Return the tags `annotators`, what each of them said, and `votes` for codes.

    Votes are those of the annotators (E); the actors' opinions of themselves (F, M) are no votes.
    """
    if not said:
        return {}
    odd = [word for who, words in said for word in words if word.lower() not in CODES]
    for word in odd:
        faults.drop("word of a vote that is no label, counted as oth", f"{id}: {word}")
    votes = write_votes(shared([CODES.get(word.lower(), OTHER) for word in words]
                               for who, words in said if who.upper().startswith("E")))
    every = ";".join(f"{who}={'+'.join(words)}" for who, words in said)
    return {"annotators": every} | ({"votes": votes} if votes else {})


def last_labels(root: Path, faults: Faults) -> dict[str, str]:
    """Return the code of each turn as dataset.py of github.com/ouoouoouoouo/Gemoclap reads it.

    The first of `FIRST_FOUND` that stands anywhere in the first choice of a line, remarks included,
    is the label; lines without any are passed over. Of several annotators the one whose file comes
    last wins. There the order is that of the folder on the disk; here it is that of names.
    """
    files: dict[str, Path] = {}
    for path in sorted(walk(root), key=lambda path: (len(path.parts), path)):
        if path.parent.name == "Categorical" and path.name.endswith("_cat.txt"):
            files.setdefault(path.name, path)
    if not files:
        faults.add(root, "no EmoEvaluation/Categorical/*_cat.txt below it, so no turn has a label",
                   "unpack SessionN/dialog/EmoEvaluation/Categorical, or take consensus labels")
    labels = {}
    for _, path in sorted(files.items()):
        for _, line in numbered_lines(path):
            name, _, rest = line.strip().partition(":")
            choice = rest.partition(":")[0].lower()
            code = next((part for part in FIRST_FOUND if part in choice), None)
            if code and not name.startswith("["):
                labels[name.strip()] = code
    return labels


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line; what is not UTF-8 is read as Latin-1."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        yield number, line.rstrip("\n")
