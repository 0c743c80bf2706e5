"""Which stages are done, which are not, and why: the configuration held against the markers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sertools.errors import ConfigError
from sertools.recipe.config import Config, digest
from sertools.recipe.marker import Checker, differences, outputs_hash, read_marker, read_object
from sertools.recipe.options import FOLD
from sertools.recipe.places import Places, Unit
from sertools.recipe.stage import Stage
from sertools.recipe.view import View
from sertools.recipe.words import unit_words


@dataclass(frozen=True)
class Reason:
    """Why a stage, or one unit of it, is not valid."""

    kind: str
    """new, unfinished, key, follows, input, output or folds."""
    text: str


@dataclass
class Status:
    """How a stage stands; valid when nothing is left to do."""

    stage: Stage
    part: bool = True
    """Whether the stage is part of the recipe as configured."""
    todo: list[Unit | None] = field(default_factory=list)
    total: int = 1
    begun: bool = False
    """Whether some of it was done or begun before."""
    reasons: list[Reason] = field(default_factory=list)

    @property
    def valid(self) -> bool:
        """Return whether nothing is left to do; a stage that is no part counts as done."""
        return not self.reasons


class Plan:
    """Reads the markers of one experiment; writes nothing.

    What it found is remembered until `refresh`, which is due after every stage.
    """

    def __init__(self, config: Config, stages: Sequence[Stage], places: Places,
                 fold: str | None = None, seed: int | None = None, verify: bool = False):
        self.config, self.places, self.fold, self.seed = config, places, fold, seed
        self.stages = {stage.name: stage for stage in sorted(stages, key=lambda s: s.number)}
        self.checker = Checker(places.recipe, verify)
        self.refresh()

    def refresh(self, outside: bool = True) -> None:
        """Forget what was read from disk; the listing of outside files only if `outside`."""
        self._stamps: dict[tuple, dict] = {}
        self._reasons: dict[tuple, list[Reason]] = {}
        self._units: list[Unit] | None = None
        if outside:
            self._externals: dict[str, str | None] = {}

    def experiment_hash(self) -> str:
        """Return the hash of every key that changes a result of this recipe."""
        return digest(self.config.pick({key for s in self.stages.values() for key in s.keys}))

    def part(self, name: str) -> bool:
        """Return whether the recipe has this stage and the configuration asks for it."""
        stage = self.stages.get(name)
        if stage is None or stage.requires is None:
            return stage is not None
        if isinstance(stage.requires, str):
            return self.config.given(stage.requires)
        return stage.requires(self.config.values)

    def reads(self, stage: Stage) -> list[str]:
        """Return the earlier stages whose outputs enter a stage's marker."""
        always = lambda values: True  # noqa: E731
        return [name for name in stage.after
                if self.part(name) and stage.when.get(name, always)(self.config.values)]

    def units(self) -> list[Unit] | None:
        """Return the selected folds and seeds, or None while the folds are not known.

        Raises:
            ConfigError: when `--fold` or `--seed` selects nothing.
        """
        if self._units is None:
            folds = self._folds()
            self._units = None if folds is None else self._select(folds)
        return self._units

    def _folds(self) -> list[str] | None:
        marker = self.marker(self.stages["prepare"], None) if self.part("prepare") else None
        for entry in (marker or {}).get("outputs", ()):
            path = self.places.recipe / entry["path"]
            if path.parent.name == "folds" and path.suffix == ".json":
                found = read_object(path)
                names = [str(fold["name"]) for fold in found["folds"]] if found else None
                bad = [name for name in names or () if not FOLD.fullmatch(name)]
                assert not bad, f"names of folds name folders; these cannot: {bad}"
                return names
        return None

    def _select(self, folds: list[str]) -> list[Unit]:
        seeds = self.config.values.get("seeds") or [1]
        problems = []
        if self.fold is not None and self.fold not in folds:
            problems.append(f"--fold {self.fold}: the folds are {', '.join(folds)}")
        if self.seed is not None and self.seed not in seeds:
            problems.append(f"--seed {self.seed}: the key seeds holds {seeds}; to add this one: "
                            f"--seeds {','.join(map(str, [*seeds, self.seed]))}")
        if problems:
            raise ConfigError("nothing is selected", problems)
        return [(fold, seed) for fold in folds for seed in seeds
                if self.fold in (None, fold) and self.seed in (None, seed)]

    def units_of(self, stage: Stage) -> list[Unit | None] | None:
        """Return what a stage runs over: its units, or a single None; None if unknown."""
        return self.units() if stage.units else [None]

    def stamp(self, stage: Stage, unit: Unit | None) -> dict[str, Any]:
        """Return what the outputs of a stage depend on: config keys, inputs, external inputs."""
        key = (stage.name, unit)
        if key not in self._stamps:
            config = self.config.pick(stage.keys)
            config = stage.narrow(config) if stage.narrow else config
            inputs = {name: self._input(stage, name, unit) for name in self.reads(stage)}
            self._stamps[key] = {"config": config, "config_hash": digest(config),
                                 "inputs": inputs, "external": self._external(stage)}
        return self._stamps[key]

    def _input(self, stage: Stage, name: str, unit: Unit | None) -> Any:
        earlier = self.stages[name]
        if earlier.units and not stage.units:
            return {unit_words(*each): self._hash(earlier, each) for each in self.units() or ()}
        return self._hash(earlier, unit if earlier.units else None)

    def _hash(self, stage: Stage, unit: Unit | None) -> str | None:
        marker = self.marker(stage, unit)
        return outputs_hash(marker) if marker else None

    def _external(self, stage: Stage) -> str | None:
        """Return the fingerprint of what lies outside; None while the data folder is away."""
        if stage.fingerprint is None:
            return None
        if stage.name not in self._externals:
            away = "data_folder" in stage.declared and not Path(
                str(self.config.values.get("data_folder"))).is_dir()
            view = View(self.config, stage)
            self._externals[stage.name] = None if away else stage.fingerprint(view)
        return self._externals[stage.name]

    def path(self, stage: Stage, unit: Unit | None) -> Path:
        """Return where the marker belongs; shared folders keep one per configuration and inputs."""
        if stage.home != "data":
            return self.places.record(stage, unit, "")
        stamp = self.stamp(stage, unit)
        return self.places.record(stage, unit, digest([stamp["config"], stamp["inputs"]])[:8])

    def marker(self, stage: Stage, unit: Unit | None) -> dict | None:
        """Read the marker of a stage or unit, valid or not."""
        return read_marker(self.path(stage, unit))

    def status(self, stage: Stage) -> Status:
        """Say how a stage stands."""
        if not self.part(stage.name):
            return Status(stage, part=False)
        units = self.units_of(stage)
        if units is None:
            text = "the folds are known once stage prepare has run"
            return Status(stage, total=0, reasons=[Reason("folds", text)])
        status = Status(stage, total=len(units))
        for unit in units:
            reasons = self.reasons(stage, unit)
            if reasons:
                status.todo.append(unit)
                status.begun |= all(reason.kind != "new" for reason in reasons)
                status.reasons += [reason for reason in reasons if reason not in status.reasons]
        return status

    def reasons(self, stage: Stage, unit: Unit | None) -> list[Reason]:
        """Say why a stage or unit is not valid; nothing if it is."""
        key = (stage.name, unit)
        if key not in self._reasons and self._serves_what_is_done(stage):
            self._reasons[key] = []
        if key not in self._reasons:
            follows = [Reason("follows", f"it reads the outputs of {name}, which runs first")
                       for name in self.reads(stage)
                       if self._runs(stage, unit, self.stages[name])]
            self._reasons[key] = self._own(stage, unit, bool(follows)) + follows
        return self._reasons[key]

    def _serves_what_is_done(self, stage: Stage) -> bool:
        served = stage.serves(self.config.values) if stage.serves else None
        return served is not None and self.part(served) and self.status(self.stages[served]).valid

    def _runs(self, stage: Stage, unit: Unit | None, earlier: Stage) -> bool:
        if earlier.units and stage.units:
            return bool(self.reasons(earlier, unit))
        return not self.status(earlier).valid

    def _own(self, stage: Stage, unit: Unit | None, follows: bool) -> list[Reason]:
        stamp, marker = self.stamp(stage, unit), self.marker(stage, unit)
        started = read_marker(self.places.record(stage, unit, "started"))
        if marker is None and started:
            changes = _changes(started, stamp, follows)
            return [*changes, Reason("unfinished", "it was begun and did not finish")]
        old = marker or self._another(stage)
        if old is None:
            return [Reason("new", "not done yet")]
        reasons = _changes(old, stamp, follows)
        if marker:
            reasons += [Reason("output", fault) for fault in self.checker.faults(marker)]
        elif not reasons and not follows:
            reasons = [Reason("new", "not done yet")]
        return reasons

    def _another(self, stage: Stage) -> dict | None:
        """Return the newest marker that the stage has for other keys or inputs."""
        if stage.home != "data":
            return None
        found = map(read_marker, self.path(stage, None).parent.glob(f"{stage.name}.????????.json"))
        return max(filter(None, found), key=lambda marker: marker["finished"], default=None)


def differences_of(record: dict, stamp: dict) -> list[str]:
    """Return what differs between what a record was begun with and what counts now."""
    return [reason.text for reason in _changes(record, stamp, follows=False)]


def _changes(old: dict, stamp: dict, follows: bool) -> list[Reason]:
    reasons = [Reason("key", text) for text in differences(old["config"], stamp["config"])]
    before, after = old["inputs"], stamp["inputs"]
    if not follows:
        reasons += [Reason("input", f"the outputs of {name} are others than before")
                    for name in sorted(before.keys() | after.keys())
                    if before.get(name) != after.get(name)]
    external = stamp["external"]
    known = (external, *getattr(external, "former", ()))
    if external is not None and old["external"] not in known:
        reasons.append(Reason("input", "the files it reads from outside the recipe changed"))
    return reasons
