"""Running one stage, or one unit of it: begin or go on, call it, write its marker last."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sertools.errors import ConfigError
from sertools.files import write_json
from sertools.recipe import provenance
from sertools.recipe.launch import Launch
from sertools.recipe.log import Log
from sertools.recipe.marker import list_outputs, read_marker
from sertools.recipe.places import Unit
from sertools.recipe.plan import Plan, differences_of
from sertools.recipe.stage import Stage


@dataclass
class Work:
    """Runs stages of one experiment and keeps its records."""

    plan: Plan
    log: Log
    launch: Launch
    call: Callable[..., list]
    """`call(stage, unit, first=False)` runs a stage's function, or its `first`, in this process."""

    def run(self, stage: Stage, unit: Unit | None) -> None:
        """Run a stage or unit and write its marker.

        Raises:
            ConfigError: when it was begun with another number of processes.
        """
        places, begun = self.plan.places, time.monotonic()
        stamp, marker = self.plan.stamp(stage, unit), self.plan.path(stage, unit)
        started = places.record(stage, unit, "started")
        parallel = stage.parallel and self.launch.wanted
        self._begin(stage, unit, stamp, marker, started)
        paths = self.launch.run(stage, unit) if parallel else self.call(stage, unit)
        code = provenance.code(places.recipe)
        record = {
            "stage": stage.name,
            **({"unit": {"fold": unit[0], "seed": unit[1]}} if unit else {}),
            **stamp,
            "outputs": list_outputs(paths or (), places.recipe),
            "nproc": (read_marker(started) or {}).get("nproc"),
            "code": code,
            "versions": provenance.versions(),
            "seconds": round(time.monotonic() - begun, 1),
            "finished": time.time(),
        }
        write_json(marker, record)
        started.unlink(missing_ok=True)

    def _begin(self, stage: Stage, unit: Unit | None, stamp: dict, marker: Path,
               started: Path) -> None:
        """Make the work folder ready: kept if begun with the same, emptied or moved otherwise."""
        folder = self.plan.places.folder(stage, unit)
        before = None if marker.exists() else read_marker(started)
        changes = differences_of(before, stamp) if before else None
        nproc = self.launch.nproc if stage.parallel else 1
        if changes == []:
            if _content(folder):
                _same_size(stage, folder, before["nproc"], nproc)
                self.log.say(f"{self.plan.places.shown(folder)}: going on where it stopped")
            nproc = before["nproc"] if nproc is None else nproc
        else:
            former = read_marker(marker)
            marker.unlink(missing_ok=True)
            self._clear(stage, folder, differences_of(former, stamp) if former else changes)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(started, {**stamp, "nproc": nproc, "host": socket.gethostname(),
                             "pid": os.getpid(), "started": time.time()})

    def _clear(self, stage: Stage, folder: Path, changes: list[str] | None) -> None:
        content, shown = _content(folder), self.plan.places.shown
        if not content:
            return
        why = f"begun with other settings ({', '.join(changes)})" if changes else (
            "left by an earlier run")
        if stage.precious:
            aside = _free(folder)
            folder.rename(aside)
            self.log.say(f"{shown(folder)}: {why}; kept as {shown(aside)}, delete it at will")
            return
        self.log.say(f"{shown(folder)}: {why}; emptied")
        for path in content:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _free(folder: Path) -> Path:
    """Return the first of folder.old1, folder.old2, ... that is not there."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.old{number}")).exists():
        number += 1
    return aside


def _content(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _same_size(stage: Stage, folder: Path, before: int | None, now: int | None) -> None:
    if None not in (before, now) and before != now:
        raise ConfigError(
            f"stage {stage.name} was begun with {before} processes, not {now}",
            [f"{folder} holds its unfinished work, which another number would not continue"],
            f"go on with --nproc {before}, or delete that folder to begin again",
        )
