"""Make the runs of a table, several side by side; a failed one is told and the others go on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sertools.errors import ConfigError, UserError
from sertools.recipe.lock import described, in_use
from sertools.tables.data import Run
from sertools.tables.tasks import Task

PAUSE = 0.2
"""Seconds between two looks at what runs."""
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
INTERRUPTED = 4
"""Exit code of a recipe that was stopped and can go on."""


class Handle(Protocol):
    """A run that was started."""

    name: str
    """What it is called elsewhere, such as "job 17"; empty for a process here."""

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""

    def stop(self, at_once: bool) -> bool:
        """Ask it to save and stop; return whether it will."""


@dataclass
class Process:
    """A run on this machine."""

    process: subprocess.Popen
    name: str = ""

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""
        return self.process.poll()

    def stop(self, at_once: bool) -> bool:
        """Ask it to save and stop; the second time at once."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT if at_once else signal.SIGTERM)
            if at_once:
                time.sleep(PAUSE)  # the second Ctrl-C is the one that it obeys at once
                self.process.send_signal(signal.SIGINT)
        return True


def start_here(task: Task, gpu: str | None) -> Process:
    """Start a run on this machine, in a session of its own: a Ctrl-C reaches it through us."""
    environment = os.environ | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})
    with open_log(task) as log:
        return Process(subprocess.Popen(task.argv, cwd=task.folder, env=environment, stdout=log,
                                        stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                        start_new_session=True))


def open_log(task: Task):
    """Return a task's log, opened to be added to, after a line that says when and what.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        task.log.parent.mkdir(parents=True, exist_ok=True)
        log = open(task.log, "ab", buffering=0)
    except OSError as error:
        raise ConfigError(f"{task.log.parent} cannot be written: {error.strerror}", [],
                          "logs and results lie there: work in a checkout that can be written"
                          ) from error
    log.write(f"\n# {datetime.now():%Y-%m-%d %H:%M:%S} {task.run.command}\n".encode())
    return log


@dataclass
class Outcome:
    """How the runs ended."""

    done: list[Run] = field(default_factory=list)
    failed: dict[Run, str] = field(default_factory=dict)
    """Run -> why, with its log."""
    skipped: dict[Run, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    """Names of those that go on without us, such as "job 17"."""
    stopped: bool = False

    @property
    def exit_code(self) -> int:
        """Return 0 if nothing failed, 1 if something did, 4 if it was stopped."""
        return INTERRUPTED if self.stopped else 1 if self.failed else 0


def said(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


class Launcher:
    """Runs tasks, at most `jobs` at a time.

    Args:
        tasks: what to run; those that others need come first.
        jobs: how many at a time.
        gpus: values of CUDA_VISIBLE_DEVICES, one for each of the jobs in turn.
        elsewhere: runs that other processes make now -> who; what needs them is not started.
        start: starts a task on a GPU.
        follow: finds what an earlier call began elsewhere and what goes on there; None if nothing.
        say: prints a line.
    """

    def __init__(self, tasks: tuple[Task, ...], jobs: int = 1, gpus: tuple[str, ...] = (),
                 elsewhere: dict[Run, str] | None = None,
                 start: Callable[[Task, str | None], Handle] = start_here,
                 follow: Callable[[Task], Handle | None] = lambda task: None,
                 say: Callable[[str], None] = said):
        self.waiting, self.number, self.say = list(tasks), len(tasks), say
        self.start, self.follow = start, follow
        self.free = [gpus[n % len(gpus)] if gpus else None for n in range(jobs)]
        self.running: list[tuple[Task, Handle, str | None, float]] = []
        self.outcome, self.signals = Outcome(skipped=dict(elsewhere or {})), 0
        self.begun = 0

    def run(self) -> Outcome:
        """Run everything to its end, or until a signal stops it."""
        former = {number: signal.signal(number, self._note) for number in STOPPING}
        try:
            told = 0
            while self.running or (self.waiting and not self.signals):
                if self.signals > told:
                    told = self.signals
                    self._stop(at_once=told > 1)
                self._collect()
                if not self.signals:
                    self._fill()
                    if not self.running and self.waiting:
                        self._give_up()
                time.sleep(PAUSE if self.running else 0)
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)
        self.outcome.stopped = bool(self.signals)
        return self.outcome

    def _note(self, number: int, frame) -> None:
        self.signals += 1

    def _stop(self, at_once: bool) -> None:
        # A run that goes on elsewhere without us is not waited for.
        self.outcome.left += [each[1].name for each in self.running if each[1].name]
        if not all(each[1].name for each in self.running):
            self.say("stopping at once" if at_once else
                     "stopping: runs save and end (Ctrl-C again: at once)")
        self.running = [each for each in self.running if each[1].stop(at_once)]

    def _fill(self) -> None:
        while self.free and (task := self._next()) is not None:
            self.waiting.remove(task)
            handle = self.follow(task)
            holder = in_use(task.exp / ".lock") if handle is None else None
            if holder is not None:
                self._skip(task, f"in use by {described(holder)}")
                continue
            gpu, since = self.free[0], time.monotonic()
            on = f" on GPU {gpu}" if gpu is not None else ""
            if handle is None:
                try:
                    handle = self.start(task, gpu)
                except UserError as error:
                    if not (self.begun or self.outcome.failed):
                        raise
                    self._fail(task, ": ".join([error.summary, *error.problems[:1]]))
                    continue
                on += f" as {handle.name}" if handle.name else ""
            else:
                on = f" goes on as {handle.name}"
            self.free.pop(0)
            self.begun += 1
            self.say(f"[{self.begun} of {self.number}]{on}: {task.run.command}\n    {task.log}")
            self.running.append((task, handle, gpu, since))

    def _give_up(self) -> None:
        for task in self.waiting:
            self._fail(task, "it waits for runs that wait for it: mend `needs` in the table")
        self.waiting = []

    def _next(self) -> Task | None:
        """Return the next task that may run; drop those whose needs came to nothing."""
        for task in list(self.waiting):
            lost = next((need for need in task.needs
                         if need in self.outcome.failed or need in self.outcome.skipped), None)
            if lost is not None:
                self.waiting.remove(task)
                note, how = ((self._fail, "failed") if lost in self.outcome.failed
                             else (self._skip, "is not done"))
                note(task, f"it needs `{lost.command}`, which {how}")
            elif not self._pending(task):
                return task
        return None

    def _pending(self, task: Task) -> bool:
        others = [other.run for other in (*self.waiting, *(each[0] for each in self.running))]
        return any(need in others for need in task.needs)

    def _collect(self) -> None:
        for each in list(self.running):
            task, handle, gpu, since = each
            code = handle.poll()
            if code is None:
                continue
            self.running.remove(each)
            self.free.append(gpu)
            holder = in_use(task.exp / ".lock") if code == 2 else None
            if code == 0:
                self.outcome.done.append(task.run)
                self.say(f"done in {(time.monotonic() - since) / 60:.1f} min: {task.run.command}")
            elif holder is not None:
                self._skip(task, f"in use by {described(holder)}")
            elif self.signals and (code == INTERRUPTED or code < 0):  # < 0: not yet begun
                self.outcome.skipped[task.run] = "stopped; everything is saved"
            elif code == INTERRUPTED:
                self._fail(task, f"stopped by somebody else; everything is saved; log {task.log}")
            else:
                self._fail(task, f"exit code {code}: {reason(task)}; log {task.log}")

    def _fail(self, task: Task, why: str) -> None:
        self.outcome.failed[task.run] = why
        self.say(f"failed: {task.run.command}: {why}")

    def _skip(self, task: Task, why: str) -> None:
        self.outcome.skipped[task.run] = why
        self.say(f"skipped: {task.run.command}: {why}")


def reason(task: Task) -> str:
    """Return what a run said last: a line of its own, with the first fault listed below it."""
    try:
        text = task.log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    text = text.rpartition(f" {task.run.command}\n")[2]
    lines = [line for line in text.splitlines() if line.strip()]
    head = next((n for n in reversed(range(len(lines))) if not lines[n].startswith(" ")), None)
    if head is None:
        return lines[-1].strip() if lines else "it said nothing"
    below = lines[head + 1:head + 2]
    return ": ".join([lines[head].strip(), *(line.strip().removeprefix("- ") for line in below)])
