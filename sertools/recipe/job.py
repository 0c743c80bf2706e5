"""What a stage function is given: its settings, its folders, its inputs, a way to speak."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sertools.recipe import provenance, rank
from sertools.recipe.places import Unit
from sertools.recipe.plan import Plan
from sertools.recipe.stage import Stage
from sertools.recipe.view import View


class Job:
    """One run of one stage, or of one unit (a fold and a seed) of it."""

    recipe: Path
    """The recipe's folder, which holds run.py."""
    home: Path
    """exp/<tag>, or data/<set> for the stages that experiments share."""
    folder: Path
    """This stage's or unit's own work folder: empty, or as an interrupted run left it."""
    fold: str | None
    seed: int | None
    system: str
    """Base name of the configuration file, such as `scratch`."""
    command: str
    """The command that makes the same results."""

    def __init__(self, plan: Plan, stage: Stage, unit: Unit | None, command: str,
                 say: Callable[[str], None], should_stop: Callable[[], bool]):
        self._plan, self._stage, self._unit = plan, stage, unit
        places = plan.places
        self.recipe, self.data, self.dump, self.exp = (
            places.recipe, places.data, places.dump, places.exp)
        self.home, self.folder = places.home(stage), places.folder(stage, unit)
        self.fold, self.seed = unit or (None, None)
        self.tag, self.system, self.command = places.tag, plan.config.path.stem, command
        self.config = View(plan.config, stage)
        self.say, self.should_stop = say, should_stop
        self.rank, self.world_size = rank.rank(), rank.world_size()

    @property
    def units(self) -> list[Unit]:
        """Return the selected (fold, seed) pairs; none while the folds are not known."""
        return list(self._plan.units() or ())

    def build(self, key: str, **more: Any) -> Any:
        """Construct what stands under a declared key; None if it is absent or null.

        Args:
            key: a top-level key; its `!new:` sections become objects, `!name:` ones partials.
            more: further arguments for the section's own `!new:` or `!name:`.
        """
        self.config.allow(key)
        return self._plan.config.build(key, **more)

    def folder_of(self, stage: str, fold: str | None = None, seed: int | None = None) -> Path:
        """Return the work folder of this or an earlier stage; fold and seed default to ours."""
        found = self._earlier(stage)
        return self._plan.places.folder(found, self._unit_of(found, fold, seed))

    def outputs_of(self, stage: str, fold: str | None = None,
                   seed: int | None = None) -> list[Path]:
        """Return the outputs of a stage named in `after`; none if the recipe lacks that stage.

        A stage that is not run per unit gets those of all selected units unless it names one.
        """
        found = self._earlier(stage)
        if not self._plan.part(stage):
            return []
        if found.units and not self._stage.units and fold is None:
            return [path for unit in self.units for path in self._outputs(found, unit)]
        return self._outputs(found, self._unit_of(found, fold, seed))

    def provenance(self) -> dict[str, Any]:
        """Return command, commit, whether files differ from it, hash of the config, versions."""
        code = provenance.code(self.recipe)
        return {"command": self.command, "commit": code["git"], "dirty": code["dirty"],
                "config_hash": self._plan.experiment_hash(), "versions": provenance.versions()}

    def _earlier(self, name: str) -> Stage:
        if name != self._stage.name and name not in self._stage.after:
            raise KeyError(f"stage {self._stage.name} reads stage {name} but does not declare it; "
                           "add it to its `after`")
        return self._plan.stages.get(name) or Stage(name, str, does="")

    def _unit_of(self, stage: Stage, fold: str | None, seed: int | None) -> Unit | None:
        if not stage.units:
            return None
        fold, seed = fold or self.fold, self.seed if seed is None else seed
        assert fold is not None and seed is not None, f"which fold and seed of {stage.name}?"
        return str(fold), int(seed)

    def _outputs(self, stage: Stage, unit: Unit | None) -> list[Path]:
        marker = self._plan.marker(stage, unit) or {"outputs": ()}
        return [self.recipe / entry["path"] for entry in marker["outputs"]]
