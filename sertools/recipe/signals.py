"""Requests to stop: SIGTERM and SIGUSR1 from a scheduler, Ctrl-C from a person."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator

from sertools.errors import Interrupted

WATCHED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Signals:
    """Notes that a signal arrived; a second Ctrl-C stops at once."""

    def __init__(self):
        self.arrived: str | None = None
        self.on_arrival: Callable[[], None] | None = None
        """Called at once when a signal arrives, to pass it on."""
        self._waiting = False

    @contextlib.contextmanager
    def watched(self) -> Iterator[Signals]:
        """Watch while the block runs; then put the former handlers back."""
        former = {number: signal.signal(number, self._note) for number in WATCHED}
        try:
            yield self
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Let a signal break off what only waits.

        Raises:
            Interrupted: from inside the block, when a signal arrives.
        """
        self._waiting = True
        try:
            if self.arrived:
                raise Interrupted(f"stopped by {self.arrived}")
            yield
        finally:
            self._waiting = False

    def _note(self, number: int, frame) -> None:
        again, self.arrived = self.arrived, signal.Signals(number).name
        if self.on_arrival is not None:
            self.on_arrival()
        if again == "SIGINT" and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self._waiting:
            raise Interrupted(f"stopped by {self.arrived}")
