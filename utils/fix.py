#!/usr/bin/env python3
"""Keep what is sound of a prepared set: readable, once, sorted, the same in manifest and folds.

Says what would go; --apply does it and keeps the files as they were in .backup. Exit code 0: done
or nothing to do, 3: something would go, but --apply was not given, or nothing is left.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sertools.data.repair import fix_set
from sertools.data.script import run
from sertools.errors import DataError


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path, help="folder of the set, such as data/all")
    parser.add_argument("--data-folder", type=Path, metavar="FOLDER",
                        help="folder of the release: utterances whose audio does not work go too")
    parser.add_argument("--apply", action="store_true", help="change the files")
    return run(parser, _fix, argv)


def _fix(options: argparse.Namespace) -> None:
    changes = fix_set(options.set, options.data_folder, options.apply)
    if changes and not options.apply:
        raise DataError(f"{options.set} is not sound", remedy="give --apply")


if __name__ == "__main__":
    sys.exit(main())
