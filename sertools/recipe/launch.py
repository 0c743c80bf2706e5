"""Several processes for a parallel stage: start torchrun, pass signals on, collect the outcome."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from sertools.errors import ConfigError, DataError, Interrupted, UserError
from sertools.files import write_text
from sertools.recipe.log import Log
from sertools.recipe.marker import read_object
from sertools.recipe.options import Options
from sertools.recipe.places import Places, Unit
from sertools.recipe.signals import Signals
from sertools.recipe.stage import Stage

ERRORS = {error.exit_code: error for error in (ConfigError, DataError, Interrupted)}
STOP_NOW = "now"


@dataclass
class Launch:
    """Starts the processes of parallel stages as `--nproc` and `--launcher` say."""

    script: Path
    config: Path
    options: Options
    places: Places
    log: Log
    signals: Signals
    locks: list[int] = field(default_factory=list)
    """Descriptors of our locks: the launcher keeps them, so that they last as long as it does."""

    @property
    def wanted(self) -> bool:
        """Return whether more than this process was asked for."""
        return self.options.nproc > 1 or self.options.launcher is not None

    @property
    def nproc(self) -> int | None:
        """Return the number of processes; None when only the launcher knows."""
        return None if self.options.launcher else self.options.nproc

    def command(self, stage: Stage, unit: Unit | None) -> list[str]:
        """Return the command line that runs one stage or unit in several processes."""
        options = self.options
        if options.launcher:
            words = shlex.split(options.launcher)
        else:
            words = [sys.executable, "-m", "torch.distributed.run", "--standalone",
                     f"--nproc_per_node={options.nproc}"]
        words += [str(self.script), str(self.config)]
        words += [f"--{key}={text}" for key, text in options.overrides.items()]
        for name in ("fold", "seed"):
            if getattr(options, name) is not None:
                words.append(f"--{name}={getattr(options, name)}")
        for name in ("data_dir", "dump_dir", "exp_dir"):
            if getattr(options, name) is not None:
                words.append(f"--{name}={Path(getattr(options, name)).absolute()}")
        words += ["--worker", stage.name]
        return words + (["--unit", f"{unit[0]},{unit[1]}"] if unit else [])

    def run(self, stage: Stage, unit: Unit | None) -> list[str]:
        """Run a stage or unit to its end and return the outputs that its first process named.

        Raises:
            UserError: what one of the processes raised.
            RuntimeError: when a process failed; its log has the traceback.
        """
        stop = self.places.record(stage, unit, "stop")
        results = self.places.record(stage, unit, "result")
        for path in [stop, *_all(results)]:
            path.unlink(missing_ok=True)
        self.signals.on_arrival = lambda: stop.touch()
        child = None
        try:
            if self.signals.arrived:
                stop.touch()
            child = subprocess.Popen(self.command(stage, unit), start_new_session=True,
                                     pass_fds=self.locks)
            code = child.wait()
            outputs = self._outcome(stage, code, results)
        except KeyboardInterrupt:
            # The file stays: processes that outlive their launcher read it a moment later.
            write_text(stop, STOP_NOW)
            if child is not None:
                with contextlib.suppress(ProcessLookupError):  # it is gone already
                    os.killpg(child.pid, signal.SIGTERM)
                child.wait()
            raise
        finally:
            self.signals.on_arrival = None
        for path in [stop, *_all(results)]:
            path.unlink(missing_ok=True)
        return outputs

    def _outcome(self, stage: Stage, code: int, results: Path) -> list[str]:
        found = [result for result in map(read_object, _all(results)) if result]
        errors = sorted((result for result in found if "exit_code" in result),
                        key=lambda result: result["exit_code"] == Interrupted.exit_code)
        for error in errors:
            kind = ERRORS.get(error["exit_code"], UserError)
            raise kind(error["summary"], error["problems"], error["remedy"])
        if code == Interrupted.exit_code:
            raise Interrupted(f"stage {stage.name} was interrupted")
        outputs = [result["outputs"] for result in found if "outputs" in result]
        if code != 0 or not outputs:
            raise RuntimeError(f"the processes of stage {stage.name} failed (exit code {code}); "
                               f"their logs are {self.log.folder}/{stage.name}*.log")
        return outputs[0]


def _all(results: Path) -> list[Path]:
    """Return the files in which processes left their outcome."""
    return sorted(results.parent.glob(f"{results.stem}*.json"))
