"""How runs stand: where their experiment lies, whether it is done, and its results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sertools.errors import DataError
from sertools.recipe.lock import described, in_use
from sertools.report.collect import read_results
from sertools.tables.data import Row, Run
from sertools.tables.recipes import Resolved, resolve

STATES = ("done", "running", "begun", "missing")


@dataclass(frozen=True)
class Standing:
    """How one run stands."""

    run: Run
    state: str
    """One of `STATES`."""
    folder: Path | None = None
    """Its experiment's folder; None while nothing with this configuration is there."""
    results: dict[str, Any] | None = None
    """Content of results.json, of a run that is done."""
    why: str | None = None
    """What is left, of a run that was begun; who runs it."""


def standing(egs: Path, run: Run) -> Standing:
    """Say how a run stands in `egs/<recipe>/exp`; nothing is written.

    Raises:
        ConfigError: its recipe cannot be imported.
    """
    exp = egs / run.recipe / "exp"
    if not any(exp.glob(f"{run.config}*")):  # the name of an experiment begins with it
        return Standing(run, "missing")
    resolved = resolve(egs, run)
    if resolved.plan is None:
        return Standing(run, "missing", why=resolved.problems[0])
    folder = exp / resolved.plan.places.tag
    if not folder.is_dir():
        return Standing(run, "missing", folder)
    holder = in_use(folder / ".lock")
    if holder is not None:
        return Standing(run, "running", folder, why=described(holder))
    if not resolved.reports:
        return _without_report(resolved, folder)
    path = folder / "report/results.json"
    if not path.is_file():
        begun = any(folder.glob(".done/*")) or any(folder.glob("fold*"))
        return Standing(run, "begun" if begun else "missing", folder)
    return _reported(resolved, folder, path)


def _reported(resolved: Resolved, folder: Path, path: Path) -> Standing:
    try:
        (results,) = read_results([path])
    except DataError as error:
        return Standing(resolved.run, "begun", folder, why=error.problems[0])
    coverage = results["coverage"]
    if coverage["missing"]:
        why = f"{coverage['units_done']} of {coverage['units_total']} folds and seeds"
        return Standing(resolved.run, "begun", folder, why=why)
    made = (results.get("provenance") or {}).get("config_hash")
    seeds = resolved.plan.config.values.get("seeds")
    if made not in (resolved.hash(seeds), resolved.hash(coverage["seeds_counted"])):
        why = "its configuration is another one now"
        return Standing(resolved.run, "begun", folder, why=why)
    return Standing(resolved.run, "done", folder, results)


def _without_report(resolved: Resolved, folder: Path) -> Standing:
    plan = resolved.plan
    plan.refresh()
    left = [name for name, stage in plan.stages.items()
            if plan.part(name) and not plan.status(stage).valid]
    if not left:
        return Standing(resolved.run, "done", folder)
    return Standing(resolved.run, "begun", folder, why=f"left: {', '.join(left)}")


class Stock:
    """What is known of runs, looked up once: experiments here, and results in the repository.

    Args:
        egs: folder of the recipes.
        local: whether the experiments on this machine count; else only what the repository holds.
    """

    def __init__(self, egs: Path, local: bool = True):
        self.egs, self.local = egs, local
        self._standings: dict[Run, Standing] = {}
        self._committed: dict[tuple[str, str], dict] = {}

    def standing(self, run: Run) -> Standing:
        """Return how a run stands here."""
        if run not in self._standings:
            self._standings[run] = (standing(self.egs, run) if self.local
                                    else Standing(run, "missing"))
        return self._standings[run]

    def committed(self, row: Row, recipe: str) -> dict[str, Any] | None:
        """Return the results that a row names as part of the repository.

        Raises:
            DataError: they cannot be read.
        """
        name = row.results.get(recipe)
        if name is None:
            return None
        if (recipe, name) not in self._committed:
            path = self.egs / recipe / f"results/{name}.json"
            (self._committed[recipe, name],) = read_results([path])
        return self._committed[recipe, name]

    def results(self, row: Row, recipe: str, run: Run | None) -> dict[str, Any] | None:
        """Return a row's results of a recipe: of its run here, else those in the repository."""
        found = self.standing(run).results if run else None
        return found or self.committed(row, recipe)

    def left(self, row: Row, run: Run) -> bool:
        """Return whether a row's run still has to be made."""
        return self.standing(run).state != "done" and run.recipe not in row.results


def log_of(egs: Path, run: Run) -> Path:
    """Return where what a run prints is kept."""
    return egs / run.recipe / "exp/.tables" / f"{resolve(egs, run).plan.places.tag}.log"
