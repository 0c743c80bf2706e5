#!/usr/bin/env python3
"""Write a prepared set as a Kaldi data folder: wav.scp, utt2spk, spk2utt, text, utt2emo, ...

    python utils/to_kaldi.py data/all kaldi/all --data-folder /corpora/emodb
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sertools.data.folds import read_folds
from sertools.data.kaldi import write_kaldi
from sertools.data.manifest import read_manifest
from sertools.data.prepare import MANIFEST
from sertools.data.script import new_folder, run
from sertools.errors import ConfigError


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path, help="folder of the set, such as data/all")
    parser.add_argument("target", type=Path, help="folder to make")
    parser.add_argument("--data-folder", type=Path, required=True, metavar="FOLDER",
                        help="folder of the release; its absolute path goes into wav.scp")
    parser.add_argument("--folds", type=Path, metavar="FILE",
                        help="write TARGET/fold<K>/{train,dev,test} of this folds file instead")
    return run(parser, _write, argv)


def _write(options: argparse.Namespace) -> None:
    records = read_manifest(options.set / MANIFEST)
    new_folder(options.target)
    if options.folds is None:
        write_kaldi(options.target, records.values(), options.data_folder)
        print(f"{options.target}: {len(records)} utterances")
        return
    for fold in read_folds(options.folds):
        for part in ("train", "dev", "test"):
            ids = getattr(fold, part)
            unknown = [id for id in ids if id not in records]
            if unknown:
                raise ConfigError(f"{options.folds} does not belong to {options.set}", unknown)
            write_kaldi(options.target / f"fold{fold.name}" / part,
                        [records[id] for id in ids], options.data_folder)
            print(f"{options.target}/fold{fold.name}/{part}: {len(ids)} utterances")


if __name__ == "__main__":
    sys.exit(main())
