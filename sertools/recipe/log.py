"""Plain lines, on the terminal and in a file per stage."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from sertools.recipe import rank
from sertools.recipe.disk import FULL


class Log:
    """Says things to the terminal and to `<folder>/<stage>.log`.

    Args:
        folder: where the files go; None keeps everything on the terminal.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder
        self.stage, self.prefix = "run", ""

    @property
    def path(self) -> Path | None:
        """Return the file that is written now; further processes have their own."""
        own = "" if rank.is_main() else f".rank{rank.rank()}"
        return self.folder / f"{self.stage}{own}.log" if self.folder else None

    def enter(self, stage: str, prefix: str = "") -> None:
        """Write to the file of this stage from now on, `prefix` before every line there."""
        self.stage, self.prefix = stage, prefix

    def say(self, text: str) -> None:
        """Say something; only the first process says it on the terminal."""
        if rank.is_main():
            print(text, flush=True)
        self.write(text)

    def warn(self, text: str) -> None:
        """Say something on standard error."""
        sys.stdout.flush()
        print(text, file=sys.stderr, flush=True)
        self.write(text)

    def write(self, text: str) -> None:
        """Write to the file alone; a full disk loses the line, so that what fails next is said."""
        if self.path is None:
            return
        head = time.strftime("%Y-%m-%d %H:%M:%S ") + (f"{self.prefix}: " if self.prefix else "")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a", encoding="utf-8") as file:
                file.write("".join(f"{head}{line}\n" for line in text.splitlines() or [""]))
        except OSError as error:
            if error.errno not in FULL:
                raise
