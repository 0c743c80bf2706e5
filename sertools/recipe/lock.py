"""One writer per experiment folder: advisory locks that the system releases with their process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sertools.errors import ConfigError
from sertools.recipe.words import age

_open: set[int] = set()
"""Descriptors of locks held here; forked children close theirs, so that a lock ends with us."""


def _close_in_child() -> None:
    while _open:
        os.close(_open.pop())


os.register_at_fork(after_in_child=_close_in_child)


class Lock:
    """A lock on a file that says who holds it.

    Args:
        path: the lock file; it stays, empty, when nobody holds it.
        command: what the holder runs, for the message to others.
        shared: whether others may hold it too, as long as they also share it.
    """

    def __init__(self, path: Path, command: str = "", shared: bool = False):
        self.path, self.command, self.shared = path, command, shared
        self.descriptor: int | None = None
        self.left_behind: dict | None = None
        """Who held the lock last and did not end cleanly."""

    def acquire(self, wait: bool = False) -> bool:
        """Take the lock; without `wait` return False when another process holds it.

        Raises:
            ConfigError: the folder cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(f"{self.path.parent} cannot be written: {error.strerror}", [],
                              "name other places with --data-dir, --dump-dir and --exp-dir"
                              ) from error
        kind = fcntl.LOCK_SH if self.shared else fcntl.LOCK_EX
        try:
            fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, OSError) and error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        self.descriptor = descriptor
        _open.add(descriptor)
        if not self.shared:
            self.left_behind = holder(self.path)
            self._write({"host": socket.gethostname(), "pid": os.getpid(),
                         "command": self.command, "started": time.time()})
        return True

    def release(self) -> None:
        """Give the lock back, with an empty file: this run ended cleanly."""
        if not self.shared:
            self._write(None)
        _open.discard(self.descriptor)
        os.close(self.descriptor)
        self.descriptor = None

    def _write(self, content: dict | None) -> None:
        os.ftruncate(self.descriptor, 0)
        if content is not None:
            os.pwrite(self.descriptor, json.dumps(content).encode("utf-8"), 0)


def in_use(path: Path) -> dict | None:
    """Return who holds a lock file now (without `host` if unknown); None if nobody does.

    Looking takes nothing and changes nothing.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return holder(path) or {}
    finally:
        os.close(descriptor)
    return None


def holder(path: Path) -> dict | None:
    """Return who wrote a lock file last: host, pid, command, started; None if it is empty."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def described(who: dict | None) -> str:
    """Return "host h, pid 5, for 3 minutes"."""
    if not who:
        return "another process"
    seconds = max(0.0, time.time() - who["started"])
    return f"host {who['host']}, pid {who['pid']}, since {age(seconds)}"


@contextlib.contextmanager
def experiment(folder: Path, fold: str | None, command: str,
               say: Callable[[str], None]) -> Iterator[list[Lock]]:
    """Hold an experiment, or a single fold of it beside runs of other folds.

    Raises:
        ConfigError: naming the holder, when another run writes there.
    """
    locks = [Lock(folder / ".lock", command, shared=fold is not None)]
    if fold is not None:
        locks.append(Lock(folder / f"fold{fold}" / ".lock", command))
    with contextlib.ExitStack() as stack:
        for lock in locks:
            if not lock.acquire():
                raise _busy(folder, lock)
            stack.callback(lock.release)
            if lock.left_behind:
                who = lock.left_behind
                started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(who["started"]))
                say(f"the previous run (pid {who['pid']}, host {who['host']}, started {started}) "
                    "did not end cleanly; going on")
        yield locks


def _busy(folder: Path, lock: Lock) -> ConfigError:
    files = [lock.path, *sorted(folder.glob("fold*/.lock"))]
    who = next(filter(None, map(holder, files)), None)
    command = f" ({who['command']})" if who and who["command"] else ""
    stop = f", stop it with `kill {who['pid']}` on {who['host']}" if who else ""
    return ConfigError(
        f"{folder.name} is in use by another run: {described(who)}{command}",
        [f"the lock is {lock.path}"],
        f"wait for that run{stop}, or run single folds side by side with --fold K; "
        "the lock ends with its process and needs no deleting",
    )


@contextlib.contextmanager
def shared_work(path: Path, command: str, say: Callable[[str], None],
                waiting: contextlib.AbstractContextManager) -> Iterator[None]:
    """Hold what several experiments or folds share, after waiting for others to finish."""
    lock = Lock(path, command)
    if not lock.acquire():
        with waiting:
            say(f"waiting for {path}, held by {described(holder(path))}")
            lock.acquire(wait=True)
    try:
        yield
    finally:
        lock.release()
