"""Recordings whose names say everything: what the preparers of such corpora share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path

from sertools.data.corpus import Faults, find_audio

REMEDY = "take the file out of the folder, or give it its official name back"


def named_audio(
    root: Path,
    faults: Faults,
    pattern: re.Pattern[str],
    form: str,
    problem: Callable[[re.Match[str], Path], str | None] = lambda match, where: None,
    name: Callable[[Path], str] = attrgetter("stem"),
) -> Iterator[tuple[str, re.Match[str]]]:
    """Yield each recording below `root` as its path there and its name taken apart.

    Every name that is not an official one becomes a fault, so that one pass lists them all.

    Args:
        root: folder of the release; see `find_audio` for what is passed over and for copies.
        faults: collects the names that cannot be used.
        pattern: what a whole official name looks like.
        form: the same in words, with an example, as in "speaker and take, as in 03a".
        problem: says of a name that fits, and of its path below `root`, why it cannot be one
            of the release's; None if it can.
        name: what is official about a path, if not its stem.
    """
    for path in find_audio(root, faults, name=name):
        where = path.relative_to(root)
        match = pattern.fullmatch(name(path))
        what = f"the name is not {form}" if match is None else problem(match, where)
        if what:
            faults.add(where, what, REMEDY)
        else:
            yield where.as_posix(), match
