"""Saying in words what a run will do and why."""

from __future__ import annotations

from sertools.recipe.plan import Plan, Reason, Status
from sertools.recipe.stage import NAMES, Stage
from sertools.recipe.words import count, unit_words


def explain(plan: Plan, stages: list[Stage]) -> list[str]:
    """Return which changes make which finished stages run again, one line per set of stages."""
    statuses = [status for status in map(plan.status, stages) if status.part]
    groups: dict[tuple[str, ...], list[str]] = {}
    for status in statuses:
        for reason in status.reasons:
            if reason.kind in ("key", "input", "output"):
                again = _dependents(plan, status.stage, reason.text, statuses)
                known = groups.setdefault(again, [])
                if reason.text not in known:
                    known.append(reason.text)
    lines = [f"{_few(texts)}, so {'this stage runs' if len(names) == 1 else 'these stages run'} "
             f"again: {', '.join(names)}" for names, texts in groups.items()]
    lines += [f"stage {status.stage.number} {status.stage.name}: {reason.text}"
              for status in statuses for reason in status.reasons if reason.kind == "unfinished"]
    return lines


def _dependents(plan: Plan, origin: Stage, text: str,
                statuses: list[Status]) -> tuple[str, ...]:
    """Return the stages that a change reaches, directly or through what they read."""
    reached: list[str] = []
    for status in statuses:
        direct = status.stage is origin or Reason("key", text) in status.reasons
        if direct or (status.begun and set(plan.reads(status.stage)) & set(reached)):
            reached.append(status.stage.name)
    return tuple(reached)


def _few(texts: list[str]) -> str:
    return ", ".join(texts[:5]) + (f" and {len(texts) - 5} more" if len(texts) > 5 else "")


def progress(status: Status) -> str:
    """Return "stage 4 train: 3 of 10 units are done and kept"."""
    done = status.total - len(status.todo)
    return (f"stage {status.stage.number} {status.stage.name}: {done} of "
            f"{count(status.total, 'unit')} {'is' if done == 1 else 'are'} done and kept")


def listing(stages: dict[str, Stage], part) -> list[str]:
    """Return what `--list-stages` prints."""
    return [f"{number} {name:<9} {stages[name].does if part(name) else 'not part of this recipe'}"
            for number, name in enumerate(NAMES)]


def dry_run(plan: Plan, first: int, last: int) -> list[str]:
    """Return what `--dry-run` prints: state, reasons, inputs and outputs of every stage."""
    lines = [f"experiment folder: {plan.places.shown(plan.places.exp)}"]
    for number, name in enumerate(NAMES):
        head = f"stage {number} {name}:"
        if not plan.part(name):
            lines.append(f"{head} not part of this recipe")
            continue
        stage = plan.stages[name]
        status = plan.status(stage)
        runs = first <= number <= last and (not status.valid or number == first > 0)
        lines.append(f"{head} {_state(status, runs)}")
        lines += [f"    because {reason.text}" for reason in status.reasons[:8]]
        if status.valid and runs:
            lines.append("    because --stage asks for it")
        lines += _files(plan, stage)
    return lines


def _state(status: Status, runs: bool) -> str:
    if not runs:
        return "done" if status.valid else "not up to date, and not chosen"
    if status.total > 1 and status.todo:
        shown = ", ".join(unit_words(*unit) for unit in status.todo[:4])
        more = ", ..." if len(status.todo) > 4 else ""
        return f"will run, {len(status.todo)} of {status.total} units ({shown}{more})"
    return "will run"


def _files(plan: Plan, stage: Stage) -> list[str]:
    reads = plan.reads(stage)
    lines = [f"    reads: {', '.join(reads)}"] if reads else []
    units = plan.units_of(stage)
    unit = (units or [("<fold>", "<seed>")])[0] if stage.units else None
    marker = plan.marker(stage, unit) if units else None
    if marker and marker["outputs"]:
        names = [entry["path"] for entry in marker["outputs"]]
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        each = " (the first unit's)" if len(units) > 1 else ""
        return [*lines, f"    wrote: {', '.join(names[:4])}{more}{each}"]
    return [*lines, f"    works in: {plan.places.shown(plan.places.folder(stage, unit))}"]
