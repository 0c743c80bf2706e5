#!/usr/bin/env python3
"""Make a smaller set of a prepared one, always the same part; conditions add up.

    python utils/subset.py data/all data/small --per-class 20
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sertools.data.manifest import read_manifest
from sertools.data.prepare import MANIFEST, describe
from sertools.data.script import new_folder, read_summary, run, write_set
from sertools.data.select import select
from sertools.errors import ConfigError

NUMBERS = {
    "speakers": "only the first N speakers by name",
    "per-speaker": "at most N utterances of each speaker",
    "per-class": "at most N utterances of each class",
    "shortest": "the N shortest utterances",
    "first": "the first N utterances by id",
    "last": "the last N utterances by id",
}


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path, help="folder of the set, such as data/all")
    parser.add_argument("target", type=Path, help="folder to make, such as data/small")
    for name, words in NUMBERS.items():
        parser.add_argument(f"--{name}", type=int, metavar="N", help=words)
    parser.add_argument("--utt-list", type=Path, metavar="FILE", help="only these ids, one a line")
    parser.add_argument("--spk-list", type=Path, metavar="FILE",
                        help="only these speakers, one a line")
    return run(parser, _subset, argv)


def _subset(options: argparse.Namespace) -> None:
    target = new_folder(options.target)
    records = read_manifest(options.set / MANIFEST)
    chosen = select(records, utterances=_lines(options.utt_list),
                    speaker_names=_lines(options.spk_list),
                    **{name.replace("-", "_"): getattr(options, name.replace("-", "_"))
                       for name in NUMBERS})
    summary = read_summary(options.set, records.values()) | {"set": target.name}
    summary["warnings"] = [*summary.get("warnings", ()),
                           f"subset: {len(chosen)} of {len(records)} utterances"]
    for line in describe(write_set(target, chosen, summary)):
        print(line)


def _lines(path: Path | None) -> list[str] | None:
    """Return the lines of a list; ids may hold blanks, so a line is a name."""
    if path is None:
        return None
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    text = path.read_text(encoding="utf-8-sig")
    return [line.strip() for line in text.splitlines() if line.strip()]


if __name__ == "__main__":
    sys.exit(main())
