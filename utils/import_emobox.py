#!/usr/bin/env python3
"""Turn the fold lists that EmoBox publishes for a corpus into a folds file of a prepared set.

    python utils/import_emobox.py EmoBox/data/emodb data/all --protocol paper

What the lists and the set do not have in common, and what the folds leak, is printed and stored.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sertools.data.emobox import match_emobox, read_emobox
from sertools.data.folds import PROTOCOLS, Folds, write_folds
from sertools.data.manifest import read_manifest
from sertools.data.prepare import MANIFEST
from sertools.data.protocol import make_folds
from sertools.data.script import run


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lists", type=Path, help="folder that holds fold_1, fold_2, ...")
    parser.add_argument("set", type=Path, help="folder of the set, such as data/all")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="clean",
                        help="where the dev part comes from (default: clean)")
    return run(parser, _import, argv)


def _import(options: argparse.Namespace) -> None:
    records = read_manifest(options.set / MANIFEST)
    folds = make_folds(records, Folds("emobox", folder=str(options.lists)), options.protocol)
    lists = read_emobox(options.lists)
    for label, classes in match_emobox(lists, records).labels.items():
        common = lists.common_name(label)
        words = ", ".join(f"{name} {number}" for name, number in classes.most_common())
        print(f"label {label}{f' ({common})' if common else ''}: {words}")
    path = write_folds(options.set / "folds" / f"{folds.name}.json", folds)
    for fold in folds:
        print(f"fold {fold.name}: train {len(fold.train)}, dev {len(fold.dev)}, "
              f"test {len(fold.test)}")
    for line in [*folds.flags, *folds.notes]:
        print(f"note: {line}")
    print(path)


if __name__ == "__main__":
    sys.exit(main())
