"""Where a pretrained encoder comes from, in one sentence for the results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sertools.files import read_json
from sertools.models.weights.heard import pretrained_on


def told(encoder: str) -> str:
    """Say what an encoder was taught by and which corpora it was pretrained on.

    Args:
        encoder: folder or id. Beside `best/encoder` lie audio.json and, for a student of a
            teacher, vesper.json or distilled.json.
    """
    folder = Path(encoder).absolute().parents[1]
    student, audio = _student_in(folder), _read(folder / "audio.json")
    corpora = audio.get("corpora")
    if student.get("epochs") == 0:
        corpora = {}  # the audio was there, and nobody listened
    parts = [_student(student)] if student else [_name(encoder)]
    if corpora:
        hours = sum(corpus["hours"] for corpus in corpora.values())
        names = audio.get("heard") or corpora  # whatever a source is called
        parts.append(f"pretrained on {', '.join(names)} ({hours:.1f} h)")
    elif corpora is None:
        heard = pretrained_on(encoder)
        parts.append(f"pretrained on {', '.join(heard)}" if heard else
                     "what it was pretrained on is not written down")
    else:
        parts.append("not pretrained further")
    return ", ".join(parts)


def teacher_of(encoder: str, frozen: bool) -> dict[str, Any] | None:
    """Return `source` and `parameters` of a student's teacher; None for any other encoder.

    Args:
        encoder: folder or id, as in `told`.
        frozen: whether the student's layers are heard frozen; kept beside them.
    """
    teacher = _student_in(Path(encoder).absolute().parents[1]).get("teacher") or {}
    if "source" not in teacher or "parameters" not in teacher:
        return None
    return {"source": _name(str(teacher["source"])), "parameters": teacher["parameters"],
            "frozen": frozen}


def _student_in(folder: Path) -> dict[str, Any]:
    """Return what a pretraining with a teacher says of its student; empty for any other."""
    for name, kind in (("vesper.json", "Vesper student"), ("distilled.json", "distilled student")):
        if found := _read(folder / name):
            return {"kind": kind, **found}
    return {}


def _student(found: dict[str, Any]) -> str:
    teacher, student = found["teacher"], found["student"]
    source = _name(str(teacher.get("source", "a teacher without a name")))
    revision = f" at {teacher['revision']}" if teacher.get("revision") else ""
    return (f"{found['kind']} of {source}{revision} ({student['layers']} of {teacher['layers']} "
            f"blocks, {student['initialisation']}, {student['parameters']:,} parameters)")


def _name(source: str) -> str:
    """Return an id as it is, a path without what is of this machine."""
    path = Path(source)
    if not path.is_absolute():
        return source
    parts = path.parts
    start = len(parts) - parts[::-1].index("exp") - 1 if "exp" in parts else -1
    return "/".join(parts[start:])


def _read(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (OSError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}
