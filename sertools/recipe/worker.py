"""One of several processes of a parallel stage: runs the function, leaves the outcome in a file."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from sertools.errors import ConfigError, UserError
from sertools.files import write_json
from sertools.recipe import rank
from sertools.recipe.disk import full_disk
from sertools.recipe.launch import STOP_NOW
from sertools.recipe.marker import read_marker
from sertools.recipe.places import Places, Unit
from sertools.recipe.signals import Signals
from sertools.recipe.stage import Stage


class Worker:
    """Runs one stage or unit under torchrun; it takes no locks and writes no markers."""

    def __init__(self, places: Places, stage: Stage, unit: Unit | None, signals: Signals):
        self.stage, self.unit, self.signals = stage, unit, signals
        self.stop = places.record(stage, unit, "stop")
        self.started = places.record(stage, unit, "started")
        self.result = places.record(stage, unit, f"result.rank{rank.rank()}")
        record = read_marker(self.started) or {}
        here = record.get("host") == socket.gethostname()
        self.parent = record.get("pid") if here else None
        self.begun = record.get("nproc")
        signals.on_arrival = self._hurry

    def run(self, call: Callable[[Stage, Unit | None], list]) -> None:
        """Call the function; leave its outputs, or what it refused, for the parent process."""
        try:
            self._check_size()
            outputs = call(self.stage, self.unit)
        except Exception as problem:
            error = problem if isinstance(problem, UserError) else full_disk(problem)
            if error is None:
                raise
            # The exit code stays 0: torchrun kills the other processes when one of them fails,
            # and they may still be writing what is needed to go on.
            write_json(self.result, {"exit_code": error.exit_code, "summary": error.summary,
                                     "problems": error.problems, "remedy": error.remedy})
        else:
            if rank.is_main():
                write_json(self.result, {"outputs": [str(path) for path in outputs or ()]})

    def should_stop(self) -> bool:
        """Return whether the parent was asked to stop, or is gone."""
        return self.signals.arrived is not None or self.stop.exists() or not self._parent_lives()

    def _parent_lives(self) -> bool:
        if self.parent is None:
            return True
        try:
            os.kill(self.parent, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # it lives and belongs to somebody else
            return True
        return True

    def _hurry(self) -> None:
        """End at once when the person at the terminal insisted."""
        if self.stop.exists() and self.stop.read_text(encoding="utf-8") == STOP_NOW:
            os._exit(1)

    def _check_size(self) -> None:
        """Refuse a number of processes other than the work was begun with; note it when new."""
        world = rank.world_size()
        if self.begun not in (None, world):
            raise ConfigError(
                f"stage {self.stage.name} was begun with {self.begun} processes, not {world}", [],
                "start as many as before, or delete its work folder to begin again")
        record = read_marker(self.started)
        if rank.is_main() and record is not None and record.get("nproc") is None:
            write_json(self.started, {**record, "nproc": world})
