"""The recipe folder of mini for its tests: its modules, and small releases."""

import csv
import sys
from pathlib import Path

MINI = Path(__file__).resolve().parents[2] / "egs" / "mini"


sys.path.append(str(MINI))  # its modules import each other, as they do under its run.py


def synthesise(folder, say=lambda _: None, **options):
    """Make a release in `folder`, silently."""
    from synthesise import synthesise

    synthesise(folder, say=say, **options)


def table(folder):
    """Return the lines of metadata.csv."""
    with open(folder / "metadata.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder):
    """Return the bytes of every file by its name."""
    return {p.relative_to(folder).as_posix(): p.read_bytes()
            for p in folder.rglob("*") if p.is_file()}
