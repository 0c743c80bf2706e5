#!/usr/bin/env python3
"""Make one set of several; ids that clash and classes that differ are refused.

    python utils/combine.py data/both egs/emodb/data/all=emodb egs/ravdess/data/all=ravdess \\
        --data-folder /corpora

reads the releases in /corpora/emodb and /corpora/ravdess; the new set's data folder is /corpora.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sertools.data.combine import combine, common_sources
from sertools.data.prepare import describe
from sertools.data.script import run
from sertools.errors import ConfigError


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, help="folder to make, such as data/both")
    parser.add_argument("sets", nargs="+", metavar="SET=FOLDER",
                        help="a prepared set and its data folder; without =FOLDER the common one")
    parser.add_argument("--data-folder", type=Path, required=True, metavar="FOLDER",
                        help="folder that holds all the releases")
    parser.add_argument("--union-labels", action="store_true",
                        help="allow sets whose classes differ; the new one has all of them")
    return run(parser, _combine, argv)


def _combine(options: argparse.Namespace) -> None:
    if len(options.sets) < 2:
        raise ConfigError("one set needs no combining", remedy="name two or more")
    pairs = [name.partition("=") for name in options.sets]
    sources = common_sources(((Path(name), Path(own or ".")) for name, _, own in pairs),
                             options.data_folder)
    for line in describe(combine(options.target, sources, options.union_labels)):
        print(line)


if __name__ == "__main__":
    sys.exit(main())
