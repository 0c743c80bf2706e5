#!/usr/bin/env python3
"""Write the embeddings of recordings to files: one vector for each utterance, or all its frames.

    python utils/extract_embeddings.py --model MODEL recordings/ --out emb
    python utils/extract_embeddings.py --model MODEL data/all/utts.json \\
        --data_folder /corpora/emodb --out emb --layer all --format safetensors --precision fp16
    python utils/extract_embeddings.py --model MODEL EmoBox/data/emodb/emodb.jsonl \\
        --data_folder EmoBox --out emb --level frame        # emb/<key>.npy, as EmoBox reads them

INPUT is a manifest (utts.json), an EmoBox list (.json, .jsonl), a Kaldi wav.scp, a folder that
holds one of these or audio, or any number of audio files, of any rate and number of channels. OUT
gets the embeddings, embeddings.jsonl (an EmoBox list with the file of each), meta.json and
inputs.json. Interrupted? The same command goes on with what is missing.

Files longer than --window-seconds are encoded in windows that overlap: memory stays bounded, and
frames near the seams differ a little from those that the whole file would give. A file that fits
the window is encoded as a whole, and gives the same in any batch.

Exit code 0: done; 2: options (nothing was touched); 3: some audio cannot be used (all of it is
listed, the rest is done); 4: interrupted.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sertools.data.script import device_named, run, writable
from sertools.errors import ConfigError, DataError

FORMATS = ("npy", "safetensors", "parquet")
LONGEST = 60.0


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    return run(_parser(), _extract, argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("input", nargs="+", help="one list or folder, or audio files")
    add("--model", required=True, metavar="SOURCE",
        help="file, folder or id of a pretrained encoder, as upstream.source in a recipe")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the embeddings")
    add("--data_folder", "--data-folder", type=Path, metavar="FOLDER",
        help="what the paths of a list start from (needed for a manifest)")
    add("--level", choices=("utterance", "frame"), default="utterance",
        help="mean over the frames, or all frames (default: utterance)")
    add("--layer", default="last", metavar="last|all|N|N,M,...",
        help="final output, all depths, or depths from 0, the input of the first block "
             "(default: last)")
    add("--format", choices=FORMATS, default="npy", help="kind of files (default: npy)")
    add("--precision", choices=("fp32", "bf16", "fp16"), default="fp32",
        help="of the stored numbers; bf16 only in safetensors (default: fp32)")
    add("--compute", choices=("fp32", "bf16"), default="fp32",
        help="of the computation; bf16 is faster on GPUs and changes values (default: fp32)")
    add("--batch-seconds", type=float, default=80.0, metavar="S",
        help="padded audio in a batch, seconds (default: 80)")
    add("--window-seconds", type=float, metavar="S",
        help=f"longest stretch that is encoded at once (default: {LONGEST:g}, or what the model "
             "hears at most)")
    add("--overlap-seconds", type=float, default=4.0, metavar="S",
        help="what neighbouring windows share; half of it is context alone (default: 4)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default: auto)")
    add("--num-workers", type=int, default=0, metavar="N",
        help="processes that read audio (default: 0)")
    return parser


def _extract(options: argparse.Namespace) -> None:
    _refuse(options)
    from sertools.brains.extract import Options, extract
    from sertools.data.corpus import Faults
    from sertools.data.embeddings import EmbeddingFolder
    from sertools.data.gather import gather
    from sertools.data.windows import refuse_windows
    from sertools.models.upstream import load_upstream
    from sertools.recipe.lock import Lock, described, holder
    from sertools.recipe.signals import Signals

    device, faults = device_named(options.device), Faults()
    records = gather(options.input, options.data_folder, faults)
    upstream = load_upstream(options.model)
    longest = upstream.max_seconds
    window = options.window_seconds or min(LONGEST, longest or LONGEST)
    refuse_windows(window, options.overlap_seconds, longest)
    layers = _layers(options.layer, upstream.num_layers)
    settings = {
        "format": options.format, "level": options.level,
        "layers": "last" if layers is None else layers, "precision": options.precision,
        "compute": options.compute, "window_seconds": window,
        "overlap_seconds": options.overlap_seconds, "model": upstream.identity,
        "sample_rate": upstream.sample_rate, "frame_rate": upstream.frame_rate,
        "dim": upstream.dim, "origin": upstream.origin,
    }
    made = Options(layers, options.level, options.precision, options.compute, window,
                   options.overlap_seconds, options.batch_seconds, options.num_workers)
    lock = Lock(writable(options.out, "--out") / ".lock", "extract_embeddings.py")
    if not lock.acquire():
        raise ConfigError(f"{options.out} is in use by {described(holder(lock.path))}",
                          remedy="wait for that run, or name another folder with --out")
    try:
        with Signals().watched() as signals:
            outcome = extract(upstream, records, EmbeddingFolder(options.out, settings), made,
                              faults, device, lambda: signals.arrived is not None)
    finally:
        lock.release()
    speed = outcome.audio_seconds / max(outcome.seconds, 1e-9)
    print(f"{options.out}: {outcome.done} embeddings made, {outcome.there} were there, "
          f"{outcome.total} in all; {outcome.audio_seconds / 3600:.2f} h of audio, "
          f"{speed:.1f} audio-seconds per second")
    if faults:
        raise DataError(f"{len(faults)} faults; everything else is done", faults.groups())


def _refuse(options: argparse.Namespace) -> None:
    wrong = []
    if options.precision == "bf16" and options.format != "safetensors":
        wrong.append(f"--precision bf16: {options.format} has no such type; take fp16 or fp32, or "
                     "--format safetensors")
    if not 0 < options.batch_seconds < float("inf"):
        wrong.append(f"--batch-seconds {options.batch_seconds:g}: give a positive number")
    if options.num_workers < 0:
        wrong.append(f"--num-workers {options.num_workers}: give 0 or more")
    if wrong:
        raise ConfigError("these options do not work", wrong)


def _layers(text: str, num_layers: int) -> list[int] | None:
    if text == "last":
        return None
    names = [str(depth) for depth in range(num_layers + 1)] if text == "all" else text.split(",")
    known = [name.strip().isdecimal() and int(name) <= num_layers for name in names]
    if not all(known) or len(set(names)) < len(names):
        raise ConfigError(f"--layer {text}: this model has the depths 0 to {num_layers}",
                          remedy="choose last, all, or some of them, each once: 4 or 0,4,8")
    return [int(name) for name in names]


if __name__ == "__main__":
    sys.exit(main())
