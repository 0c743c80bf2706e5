"""A recipe: its stages, and the command line that runs them."""

from __future__ import annotations

import os
import re
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from sertools.errors import ConfigError, UserError
from sertools.files import write_json
from sertools.recipe import check, explain, lock, provenance, rank, tree
from sertools.recipe.config import Config
from sertools.recipe.disk import full_disk
from sertools.recipe.job import Job
from sertools.recipe.launch import Launch
from sertools.recipe.log import Log
from sertools.recipe.options import HELP, Options, parse
from sertools.recipe.places import Places, Unit, tag_of
from sertools.recipe.plan import Plan
from sertools.recipe.runner import Runner, chosen, earlier_problems
from sertools.recipe.signals import Signals
from sertools.recipe.stage import Stage
from sertools.recipe.work import Work
from sertools.recipe.worker import Worker

SET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")


class Recipe:
    """The stages of one corpus; `main` makes a command line of them.

    Args:
        file: `__file__` of the recipe's run.py; its folder is the recipe's.
        stages: what the recipe does, in any order; their numbers and names are canonical.
    """

    def __init__(self, file: str | Path, stages: Sequence[Stage]):
        self.script = Path(file).absolute()
        self.folder = self.script.parent
        self.stages = sorted(stages, key=lambda stage: stage.number)
        assert len({stage.name for stage in stages}) == len(stages), "a stage is given twice"

    def main(self, argv: Sequence[str] | None = None) -> None:
        """Run the command line and end the process with its exit code."""
        sys.exit(self.run(sys.argv[1:] if argv is None else list(argv)))

    def run(self, argv: Sequence[str]) -> int:
        """Run a command line and return its exit code: 0, 2 usage, 3 data, 4 interrupted, 1 bug."""
        session = Session(self, list(argv))
        try:
            session.run()
        except UserError as error:
            session.log.warn(str(error))
            return session.end(error.exit_code)
        except KeyboardInterrupt:
            session.log.warn("stopped at once; what was saved before is kept")
            return session.end(4)
        except Exception as error:
            full = full_disk(error)
            if full:
                session.log.warn(str(full))
                return session.end(full.exit_code)
            session.log.warn(traceback.format_exc().rstrip())
            if session.log.path:
                session.log.warn(f"this is a bug; the log is {session.log.path}")
            return session.end(1)
        return 0

    def plan(self, argv: Sequence[str]) -> tuple[Plan, list[str]]:
        """Return how a command line stands, and what is wrong with it; nothing runs.

        Raises:
            ConfigError: when it cannot be understood at all.
        """
        return Session(self, list(argv)).planned(parse(list(argv)))


class Session:
    """One call of a recipe's command line."""

    def __init__(self, recipe: Recipe, argv: list[str]):
        self.recipe, self.argv = recipe, argv
        self.log, self.signals = Log(None), Signals()
        self.runner: Runner | None = None

    def end(self, code: int) -> int:
        """Print the command that goes on, if the run may go on; return the exit code."""
        if code == 4 and rank.is_main():
            script = sys.argv[0] if sys.argv[1:] == self.argv else str(self.recipe.script)
            number = self.runner.stage if self.runner else 0
            print(provenance.resume(script, self.argv, number), flush=True)
        return code

    def run(self) -> None:
        """Do what the command line says."""
        options = parse(self.argv)
        if options.help:
            title = f"The recipe {self.recipe.folder.name}."
            print(HELP.format(title=title), end="")
        elif options.list_stages and options.config is None:
            stages = {stage.name: stage for stage in self.recipe.stages}
            print("\n".join(explain.listing(stages, stages.__contains__)))
        else:
            self._configured(options)

    def planned(self, options: Options) -> tuple[Plan, list[str]]:
        """Return how the configuration stands, and what is wrong with its text and keys."""
        path = find_config(options.config, self.recipe.folder)
        config = Config(path, options.overrides, self.recipe.folder)
        problems = config.problems + check.keys(config, self.recipe.stages)
        places = self._places(options, config)
        plan = Plan(config, self.recipe.stages, places, options.fold, options.seed, options.verify)
        return plan, problems

    def _configured(self, options: Options) -> None:
        plan, problems = self.planned(options)
        if options.list_stages:
            _refuse(problems)
            print("\n".join(explain.listing(plan.stages, plan.part)))
        elif options.worker is not None:
            _refuse(problems)
            self._worker(options, plan)
        else:
            lacking = self._check(options, plan, problems)
            if options.dry_run:
                self._dry_run(options, plan, lacking)
            else:
                self._real_run(options, plan)

    def _places(self, options: Options, config: Config) -> Places:
        def root(name: str) -> Path:
            given = getattr(options, f"{name}_dir")
            return Path(given).absolute() if given else self.recipe.folder / name

        corpus = config.values.get("corpus")
        name = str((corpus.get("set") if isinstance(corpus, dict) else None) or "all")
        if not SET_NAME.fullmatch(name):
            raise ConfigError(f"corpus.set: {name}: it names a folder; use letters, digits, - _ .")
        stages = self.recipe.stages
        shared = [stage for stage in stages if stage.home == "shared"]
        return Places(self.recipe.folder, root("data") / name, root("dump"),
                      root("exp") / tag_of(config, stages), root("exp") / tag_of(config, shared))

    def _check(self, options: Options, plan: Plan, problems: list[str]) -> list[str]:
        """Refuse what is wrong, all at once; return what a dry run may lack."""
        if not any(plan.part(stage.name) for stage in self.recipe.stages):
            problems = [*problems, f"{tree.shown(plan.config.path)}: it asks for none of this "
                        f"recipe's stages: {', '.join(plan.stages)}"]
        stages = [stage for stage in chosen(options, self.recipe.stages) if plan.part(stage.name)]
        if not problems:
            stages = [stage for stage in stages
                      if stage.number == options.stage or not plan.status(stage).valid]
        downloading = any(stage.name == "download" for stage in stages)
        lacking = check.values(plan.config, stages, downloading)
        if options.dry_run:
            _refuse(problems)
            return lacking
        keys = [key for stage in stages for key in stage.declared]
        _refuse(problems + lacking + check.calls(plan.config, keys))
        return []

    def _announce(self, plan: Plan) -> None:
        self.log.say(f"{plan.places.tag}: {plan.config.path.absolute()}")

    def _dry_run(self, options: Options, plan: Plan, lacking: list[str]) -> None:
        self._announce(plan)
        for line in explain.dry_run(plan, options.stage or 0, options.stop_stage):
            print(line)
        lacking = ([] if options.force else earlier_problems(plan, options)) + lacking
        if lacking:
            print("still lacking before a real run:")
            print("\n".join(f"  - {problem}" for problem in lacking))

    def _real_run(self, options: Options, plan: Plan) -> None:
        places, exp = plan.places, plan.places.exp
        command = shlex.join(["python", self.recipe.script.name, *self.argv])
        self._announce(plan)
        with self.signals.watched(), lock.experiment(
                exp, options.fold, command, self.log.say) as locks:
            self.log.folder = exp / "log"
            self.log.write(f"{command}\n{places.tag}: {plan.config.path.absolute()}")
            write_json(exp / "config.json", plan.config.values)
            launch = Launch(self.recipe.script, plan.config.path.absolute(), options, places,
                            self.log, self.signals, [held.descriptor for held in locks])
            plan.refresh()
            work = Work(plan, self.log, launch, lambda stage, unit, first=False: self._call(
                options, plan, stage, unit, lambda: self.signals.arrived is not None, first))
            self.runner = Runner(options, plan, work, self.log, self.signals, command)
            self.runner.run()

    def _worker(self, options: Options, plan: Plan) -> None:
        stage = plan.stages[options.worker]
        fold, _, seed = (options.unit or "").rpartition(",")
        unit = (fold, int(seed)) if options.unit else None
        self.log.folder = plan.places.exp / "log"
        self.log.enter(stage.name, f"fold {fold} seed {seed}" if unit else "")
        with self.signals.watched():
            worker = Worker(plan.places, stage, unit, self.signals)
            worker.run(lambda stage, unit: self._call(
                options, plan, stage, unit, worker.should_stop))

    def _call(self, options: Options, plan: Plan, stage: Stage, unit: Unit | None,
              should_stop, first: bool = False) -> list:
        keys = {key for each in self.recipe.stages for key in each.keys}
        hashed = plan.config.reached(keys) | {"seeds"}
        command = provenance.reproduce(options, plan.config, plan.places, hashed)
        job = Job(plan, stage, unit, command, self.log.say, should_stop)
        return stage.load(first)(job) or []


def find_config(name: str | None, recipe: Path) -> Path:
    """Return a config's path: from here, from the recipe's folder, or from the shared hparams/.

    Raises:
        ConfigError: naming the places that were tried, and the recipe's configs.
    """
    known = sorted(tree.shown(path) for path in (recipe / "hparams").glob("*.yaml"))
    remedy = f"the configs of this recipe are {', '.join(known)}" if known else None
    if name is None:
        raise ConfigError("which config? python run.py CONFIG [options]", [], remedy)
    repository = recipe.parent.parent
    tried = [Path(name), recipe / name, repository / "hparams" / name, repository / name]
    for path in tried:
        if path.is_file():
            return Path(os.path.abspath(path))
    places = [f"{tree.shown(path)}: there is no such file" for path in tried[:3]]
    raise ConfigError(f"{name}: this config was not found", places, remedy)


def _refuse(problems: list[str]) -> None:
    if problems:
        unique = list(dict.fromkeys(problems))
        raise ConfigError(f"the configuration cannot be used ({len(unique)} "
                          f"{'problem' if len(unique) == 1 else 'problems'}); nothing was touched",
                          unique)
