"""The order of a run: which stages, with which locks, until done, stopped or refused."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from sertools.errors import ConfigError, DataError, Interrupted
from sertools.recipe.explain import explain, progress
from sertools.recipe.lock import shared_work
from sertools.recipe.log import Log
from sertools.recipe.options import Options
from sertools.recipe.places import Unit
from sertools.recipe.plan import Plan, Status
from sertools.recipe.signals import Signals
from sertools.recipe.stage import NAMES, Stage
from sertools.recipe.words import unit_words
from sertools.recipe.work import Work


@dataclass
class Runner:
    """Runs the chosen stages of one experiment in their canonical order."""

    options: Options
    plan: Plan
    work: Work
    log: Log
    signals: Signals
    command: str
    stage: int = 0
    """The number of the stage that runs."""

    def run(self) -> None:
        """Run every chosen stage that is not valid, and `--stage` in any case.

        Raises:
            ConfigError: when a stage before `--stage` is not valid.
            Interrupted: when a signal arrived; everything finished keeps its marker.
        """
        self._check_earlier()
        stages = chosen(self.options, list(self.plan.stages.values()))
        expected = [stage.name for stage in stages if not self.plan.status(stage).valid]
        for line in explain(self.plan, stages):
            self.log.say(line)
        for number in range(self.options.stage or 0, self.options.stop_stage + 1):
            self.stage = number
            stage = self.plan.stages.get(NAMES[number])
            if stage is None or not self.plan.part(stage.name):
                self.log.say(f"stage {number} {NAMES[number]}: not part of this recipe")
                continue
            status = self.plan.status(stage)
            if status.valid and number != self.options.stage:
                same = ", for its inputs came out the same" if stage.name in expected else ""
                self.log.say(f"stage {number} {stage.name}: done{same}")
            else:
                with self._alone(stage):
                    self._run(stage)
        self.log.enter("run")

    def _check_earlier(self) -> None:
        problems = earlier_problems(self.plan, self.options)
        if problems and not self.options.force:
            raise ConfigError(
                f"--stage {NAMES[self.options.stage]}: earlier stages are not up to date",
                problems, "leave out --stage to run them first, or add --force to go on anyway")

    def _alone(self, stage: Stage) -> contextlib.AbstractContextManager:
        """Hold what this stage shares with runs of other experiments or other folds."""
        if stage.home == "data":
            path = self.plan.places.data / ".lock"
        elif stage.home == "shared" or (self.options.fold is not None and not stage.units):
            path = self.plan.places.record(stage, None, "lock").with_suffix("")
        else:
            return contextlib.nullcontext()
        return shared_work(path, self.command, self.log.say, self.signals.waiting())

    def _run(self, stage: Stage) -> None:
        self.plan.refresh(outside=stage.home == "data")
        status = self.plan.status(stage)
        forced = stage.number == self.options.stage
        if status.valid and not forced:
            self.log.say(f"stage {stage.number} {stage.name}: done by another run meanwhile")
            return
        todo = self._todo(stage, status)
        for number, unit in enumerate(todo, 1):
            if self.signals.arrived:
                raise Interrupted(f"stopped by {self.signals.arrived} before stage {stage.name}")
            part = f", {unit_words(*unit)} ({number} of {len(todo)})" if unit else ""
            self.log.enter(stage.name, unit_words(*unit) if unit else "")
            self.log.say(f"stage {stage.number} {stage.name}{part}: {stage.does}")
            self._check_shared(stage)
            self._first(stage, unit)
            self.work.run(stage, unit)
        self.plan.refresh(outside=stage.home == "data")

    def _first(self, stage: Stage, unit: Unit | None) -> None:
        """Do what the processes of a unit share, one fold after the other."""
        if stage.first is None:
            return
        lock = self.plan.places.record(stage, None, "first.lock").with_suffix("")
        alone = contextlib.nullcontext() if self.options.fold is None else shared_work(
            lock, self.command, self.log.say, self.signals.waiting())
        with alone:
            self.work.call(stage, unit, first=True)

    def _check_shared(self, stage: Stage) -> None:
        """Refuse to read what a run with other settings wrote into data/<set> meanwhile."""
        shared = [self.plan.stages[name] for name in self.plan.reads(stage)
                  if self.plan.stages[name].home == "data"]
        markers = [self.plan.marker(earlier, None) for earlier in shared]
        faults = [fault for marker in markers if marker
                  for fault in self.plan.checker.faults(marker)]
        if faults and not self.options.force:
            raise DataError(
                f"stage {stage.name}: what it reads is not what this run began with", faults,
                "run the same command again; settings of the corpus that differ need folders that "
                "differ: give each a corpus.set of its own, or wait for the other run")

    def _todo(self, stage: Stage, status: Status) -> list:
        """Return what to run; a stage that is forced although valid loses its markers first."""
        units = self.plan.units_of(stage)
        if units is None:
            raise ConfigError(f"stage {stage.name} runs once per fold, and no folds are known",
                              ["stage prepare left no file folds/<protocol>.json"],
                              "give the key folds, and run stage prepare")
        if not status.valid:
            if status.total > len(status.todo):
                self.log.say(progress(status))
            return status.todo
        for unit in units:
            self.plan.path(stage, unit).unlink(missing_ok=True)
        return units


def chosen(options: Options, stages: Sequence[Stage]) -> list[Stage]:
    """Return the recipe's stages between `--stage` and `--stop-stage`."""
    first = options.stage or 0
    return [stage for stage in stages if first <= stage.number <= options.stop_stage]


def earlier_problems(plan: Plan, options: Options) -> list[str]:
    """Return why stages before `--stage` are not valid."""
    return [
        f"stage {stage.number} {stage.name}: {'; '.join(r.text for r in status.reasons[:3])}"
        for stage in plan.stages.values() if stage.number < (options.stage or 0)
        for status in [plan.status(stage)] if not status.valid
    ]
