"""What a student keeps of its teacher, where the results of both are shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from sertools.report import text


def students(several: Sequence[dict[str, Any]]) -> list[str]:
    """Return a sentence for each system whose encoder was taught by that of another one here.

    Args:
        several: content of results.json files.
    """
    found = []
    for results in several:
        teachers = [other for other in several if other is not results and _taught(other, results)]
        found += [_sentence(results, teacher) for teacher in teachers[:1]]
    return found


def _taught(teacher: dict[str, Any], student: dict[str, Any]) -> bool:
    """Say whether the student's teacher is the encoder that the other experiment pretrained."""
    source = _facts(student).get("source")
    parts = PurePath(source).parts if source else ()
    names, others = student["experiment"], teacher["experiment"]
    same = all(names[key] == others[key] for key in ("corpus", "task") if key in names)
    made = any(pair == ("exp", others["tag"]) for pair in zip(parts, parts[1:], strict=False))
    return same and made and student["protocol"]["name"] == teacher["protocol"]["name"]


def _sentence(student: dict[str, Any], teacher: dict[str, Any]) -> str:
    facts, metric = _facts(student), student["metrics"][0]
    size, names = text.encoder_size(student).get("parameters"), student["experiment"]
    above = teacher["experiment"]["system"]
    ways = {True: "its layers frozen", False: "fine-tuned end to end"}
    how, other = ways[facts["frozen"]], ways[not _fine_tuned(teacher)]
    how += " as its teacher's" if how == other == ways[True] else ""
    how += "" if how.startswith(other) else f" (the teacher: {other})"
    score, best = (each["summary"][metric]["pooled"] for each in (student, teacher))
    share = f"{100 * size / facts['parameters']:.0f} %" if size else "some"
    line = f"{names['system']} has {share} of the parameters of its teacher {above}"
    if score is None or not best or best <= 0:
        return f"{line}."
    line += (f" and, {how}, {100 * score / best:.0f} % of its {metric} "
             f"({text.number(metric, score)} of {text.number(metric, best)}")
    chance = (student.get("chance") or {}).get(metric)
    if chance and best > chance:
        line += f"; {100 * (score - chance) / (best - chance):.0f} % of what is above chance"
    return line + ")."


def _fine_tuned(results: dict[str, Any]) -> bool:
    """Say whether more was trained than a head."""
    size = text.encoder_size(results).get("parameters")
    trained = ((results.get("cost") or {}).get("parameters") or {}).get("trainable")
    return bool(size and trained and trained >= size)


def _facts(results: dict[str, Any]) -> dict[str, Any]:
    return (results.get("provenance") or {}).get("teacher") or {}
