#!/usr/bin/env python3
"""Pack the audio of prepared sets into WebDataset shards: few large files instead of many small.

    python utils/make_shards.py egs/emodb/data/all=emodb egs/ravdess/data/all=ravdess \\
        --data-folder /corpora --out /corpora/shards/acted

reads the releases in /corpora/emodb and /corpora/ravdess. `sertools.data.pretraining` reads the
shards in any order (`shards: [shards/acted]`), and so does, one after the other, whatever reads
WebDataset. Interrupted, or is a shard damaged? The same command checks all shards and writes what
is not right.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sertools.data.prepare import MANIFEST
from sertools.data.prepared import Prepared, check_audio, read_prepared
from sertools.data.record import Record
from sertools.data.script import read_summary, run
from sertools.data.shard_writer import FORMATS, Clip, write_shards
from sertools.errors import ConfigError


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifests", nargs="+", metavar="MANIFEST[=FOLDER]",
                        help="utts.json of a prepared set, or its folder; FOLDER of its release "
                        "counts from the data folder, which it is if not given")
    parser.add_argument("--data-folder", "--data_folder", type=Path, required=True,
                        metavar="FOLDER", help="folder of the release, or that holds the releases")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR",
                        help="folder of the shards")
    parser.add_argument("--shard-megabytes", type=float, default=1000, metavar="MB",
                        help="a shard ends once it is that large (default: 1000)")
    parser.add_argument("--format", choices=FORMATS, default="flac",
                        help="flac: 16 bits; wav: 32-bit floats (default: flac)")
    parser.add_argument("--keep-rate", action="store_true",
                        help="keep each recording's rate instead of 16 kHz")
    parser.add_argument("--workers", type=int, metavar="N",
                        help="threads that encode (default: one a core, at most 8)")
    return run(parser, _make, argv)


def _make(options: argparse.Namespace) -> None:
    if options.workers is not None and options.workers < 1:
        raise ConfigError(f"--workers {options.workers}: give at least 1")
    sources = [_source(text, options.data_folder) for text in options.manifests]
    twice = {source.name for source in sources
             if sum(source.name == other.name for other in sources) > 1}
    if twice:
        raise ConfigError(f"several manifests are of one corpus: {', '.join(sorted(twice))}",
                          remedy="combine them with utils/combine.py, or pack them one by one")
    records = read_prepared(sources)
    check_audio(sources, {name: found.values() for name, found in records.items()})
    clips = [Clip(_corpus(record, source.name), record, source.folder)
             for source in sources for record in records[source.name].values()]
    folder = write_shards(
        clips, options.out, shard_megabytes=options.shard_megabytes, format=options.format,
        sample_rate=None if options.keep_rate else 16000, workers=options.workers)
    hours = sum(clip.record.duration for clip in clips) / 3600
    print(f"{folder}: {len(clips)} utterances, {hours:.2f} h, "
          f"{len(list(folder.glob('shard-*.tar')))} shards")


def _source(text: str, data_folder: Path) -> Prepared:
    name, _, own = text.partition("=")
    manifest = Path(name) / MANIFEST if Path(name).is_dir() else Path(name)
    return Prepared(str(read_summary(manifest.parent, ())["corpus"]), manifest,
                    data_folder / own)


def _corpus(record: Record, name: str) -> str:
    """Return the corpus of an utterance; a combined set's ids begin with corpora of their own."""
    return name if record.id.startswith(f"{name}-") else record.id.partition("-")[0]


if __name__ == "__main__":
    sys.exit(main())
