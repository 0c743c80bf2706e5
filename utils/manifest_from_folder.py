#!/usr/bin/env python3
"""Make a manifest without labels of any folder of audio, to pretrain on it.

    python utils/manifest_from_folder.py /corpora/podcasts --name podcasts

writes data/podcasts/utts.json. Every file is read and checked as in the stage prepare; the same
command reads only what changed since.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from sertools.data.corpus import Corpus, Faults, find_audio
from sertools.data.prepare import prepare_manifest
from sertools.data.record import LONGEST_ID, Record, id_problem
from sertools.data.script import run
from sertools.data.sniff import EXTENSIONS
from sertools.errors import DataError


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of audio files, however deep")
    parser.add_argument("--name", required=True, help="of the corpus; every id begins with it")
    parser.add_argument("--out", type=Path, metavar="FOLDER",
                        help="folder of the manifest (default: data/NAME)")
    parser.add_argument("--language", metavar="CODE", help="ISO 639-1, such as en")
    parser.add_argument("--speakers", action="store_true",
                        help="the first folder below FOLDER names the speaker")
    parser.add_argument("--min-seconds", type=float, default=0.1, metavar="S",
                        help="shorter files are bad audio (default: 0.1)")
    parser.add_argument("--skip-bad-audio", action="store_true",
                        help="leave audio out that cannot be used, and count it, instead of "
                        "stopping with a list of it")
    return run(parser, _prepare, argv)


def _prepare(options: argparse.Namespace) -> None:
    corpus = Corpus(options.name, options.language, unlabelled=True,
                    min_seconds=options.min_seconds,
                    bad_audio="skip" if options.skip_bad_audio else "refuse")
    out = options.out or Path("data") / options.name
    try:
        prepare_manifest(records_of(options.name, options.speakers), corpus, options.folder, out)
    except DataError as error:
        raise DataError(error.summary, error.problems, "what is called corpus.bad_audio: skip is "
                        "--skip-bad-audio here, and data_folder is FOLDER") from error
    print(out / "utts.json")


def records_of(name: str, speakers: bool) -> Callable[[Path, Faults], Iterator[Record]]:
    """Return a preparer that yields one record per audio file below a folder."""

    def records(root: Path, faults: Faults) -> Iterator[Record]:
        extensions = [extension for known in EXTENSIONS.values() for extension in known]
        found = find_audio(root, faults, extensions, duplicates="keep")
        paths = [path.relative_to(root) for path in found]
        plain = {path: f"{name}-{'_'.join(path.with_suffix('').parts)}" for path in paths}
        times = Counter(plain.values())
        for path, id in plain.items():
            if times[id] > 1 or id_problem(id):
                id = _told_apart(id, path)
            speaker = path.parts[0] if speakers and len(path.parts) > 1 else None
            yield Record(id=id, path=path.as_posix(), speaker=speaker)

    return records


def _told_apart(id: str, path: Path) -> str:
    """Return a sound id with a hash of the path, for names that clash or cannot be ids."""
    mark = hashlib.blake2b(path.as_posix().encode("utf-8", "surrogateescape"), digest_size=4)
    sound = "".join(letter if letter.isprintable() and letter not in "/\\" else "_"
                    for letter in id).replace("..", "__")
    return f"{sound[:LONGEST_ID - 9]}-{mark.hexdigest()}"


if __name__ == "__main__":
    sys.exit(main())
