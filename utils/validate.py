#!/usr/bin/env python3
"""Check a prepared set: manifest, texts, audio, duplicates and leaks between train, dev and test.

Nothing is changed. Exit code 0: sound, 3: something is wrong (at most 20 examples of each kind).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sertools.data.script import run
from sertools.data.validate import validate_set


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path, help="folder of the set, such as data/all")
    parser.add_argument("--folds", type=Path, metavar="FILE",
                        help="folds file to check, such as data/all/folds/loso-speaker-clean.json")
    parser.add_argument("--data-folder", type=Path, metavar="FOLDER",
                        help="folder of the release, to read the audio from")
    parser.add_argument("--no-text", action="store_true", help="texts may be missing")
    parser.add_argument("--no-audio", action="store_true", help="read no audio")
    return run(parser, _validate, argv)


def _validate(options: argparse.Namespace) -> None:
    found = validate_set(options.set, options.data_folder, options.folds,
                         text=not options.no_text, audio=not options.no_audio)
    for warning in found.warnings:
        print(f"warning: {warning}")
    found.faults.raise_if_any(f"{options.set} is not sound")
    print(f"{options.set} is sound: {len(found.records)} utterances, "
          f"{len(found.warnings)} warnings")


if __name__ == "__main__":
    sys.exit(main())
