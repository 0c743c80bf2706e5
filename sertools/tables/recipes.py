"""The recipes behind runs: their stages read in this process, nothing run."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from sertools.errors import ConfigError
from sertools.recipe import Recipe, check, overrides, references, tree
from sertools.recipe.config import digest
from sertools.recipe.plan import Plan
from sertools.recipe.relative import STARTS, settings_from
from sertools.recipe.tree import UNFILLED
from sertools.tables.data import Run


@dataclass(frozen=True)
class Resolved:
    """What a run's command means."""

    run: Run
    plan: Plan | None
    """None when the command cannot be understood at all."""
    problems: list[str] = field(default_factory=list)

    @property
    def needs_data(self) -> bool:
        """Return whether the configuration leaves open where the official release lies."""
        stages = [stage for name, stage in self.plan.stages.items() if self.plan.part(name)]
        folder = self.plan.config.values.get("data_folder")
        return folder in (None, "", UNFILLED) and any("data_folder" in stage.declared
                                                      for stage in stages)

    @property
    def reports(self) -> bool:
        """Return whether the run ends with a results.json."""
        return self.plan.part("report")

    def hash(self, seeds: list[int]) -> str:
        """Return the hash that results of this command have if they are of these seeds."""
        stages, config = self.plan.stages.values(), self.plan.config
        values = config.pick({key for stage in stages for key in stage.keys})
        return digest(values | ({"seeds": seeds} if "seeds" in values else {}))


@functools.cache
def recipe_of(folder: Path) -> Recipe:
    """Return the recipe of a folder, from its run.py.

    Raises:
        ConfigError: its run.py cannot be imported or has no `recipe`.
    """
    stages = sys.modules.get("sertools.stages")
    if stages and isinstance(stages.train, ModuleType):  # a stage that ran hides its factory
        importlib.reload(stages)
    script = folder / "run.py"
    spec = importlib.util.spec_from_file_location(f"recipe_{folder.name}", script)
    module, known = importlib.util.module_from_spec(spec), set(sys.modules)
    former = _put_away(folder)
    sys.path.insert(0, str(folder))
    try:
        spec.loader.exec_module(module)
        return module.recipe
    except (ImportError, AttributeError, SyntaxError, OSError) as error:
        raise ConfigError(f"{script} cannot be used: {error}") from error
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - known:  # every recipe has a module `prepare` of its own
            if _inside(sys.modules[name], folder):
                del sys.modules[name]
        sys.modules.update(former)


def _put_away(folder: Path) -> dict[str, ModuleType]:
    """Take modules out of sight that have the names of this recipe's."""
    names = {path.stem for path in folder.glob("*.py")}
    return {name: sys.modules.pop(name) for name in names & set(sys.modules)}


def _inside(module: ModuleType, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).parent == folder


@functools.cache
def resolve(egs: Path, run: Run) -> Resolved:
    """Return what a run means: its places, and what is wrong with its options."""
    folder = Path(os.path.abspath(egs / run.recipe))
    words = [str(folder / f"hparams/{run.config}.yaml")]
    for name, value in run.options:
        words.append(f"--{name}={_from_here(value, folder)}")
    try:
        plan, problems = recipe_of(folder).plan(words)
    except ConfigError as error:
        return Resolved(run, None, [error.summary, *error.problems])
    return Resolved(run, plan, problems)


def _from_here(value: str, folder: Path) -> str:
    """Return a relative path of a command in the recipe's folder as it counts from here."""
    if not value.startswith(STARTS):
        return value
    path = os.path.relpath(folder / value)
    return path if path.startswith(STARTS) else f"./{path}"


def faults(egs: Path, runs: list[Run]) -> list[str]:
    """Return what is wrong with the text of runs: configurations, option keys, values.

    What is wrong with several is told once, with the first of them.
    """
    found: dict[str, list[Run]] = {}
    for run in runs:
        for problem in resolve(egs, run).problems:
            found.setdefault(problem, []).append(run)
    return [f"{same[0].command}{f' and {len(same) - 1} more' if same[1:] else ''}: {problem}"
            for problem, same in found.items()]


def faults_of_many(egs: Path, runs: list[Run]) -> list[str]:
    """Return what is wrong with many runs: each configuration once, its classes and functions
    too (which imports them), and the options of each run held against the keys of the files.
    """
    found, plain = [], dict.fromkeys(Run(run.recipe, run.config) for run in runs)
    for run in plain:
        resolved = resolve(egs, run)
        problems = list(resolved.problems)
        if not problems:
            plan = resolved.plan
            stages = [stage for name, stage in plan.stages.items() if plan.part(name)]
            problems = check.calls(plan.config, [k for stage in stages for k in stage.declared])
        found += [f"{run.command}: {problem}" for problem in problems]
    for run in dict.fromkeys(runs):
        if run.options:
            found += [f"{run.command}: {problem}" for problem in _options(egs / run.recipe, run)]
    return found


def _options(folder: Path, run: Run) -> list[str]:
    """Return what is wrong with options, without resolving the configuration: that takes long."""
    problems: list[str] = []
    file = tree.read(folder / f"hparams/{run.config}.yaml", [])
    references.mend(file, [], set())
    overrides.apply(file, settings_from(folder, dict(run.options)), problems)
    return problems
