"""Stage prepare: records of a corpus -> manifest, folds, and what they look like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sertools.data.folds import FoldSet, write_folds
from sertools.data.manifest import read_manifest
from sertools.data.prepare import MANIFEST, OUTPUTS, prepare_manifest
from sertools.data.protocol import make_folds
from sertools.stages.given import data_folder


def prepare(job, records: Callable) -> list[Path]:
    """Write manifest, summary, list of skipped audio and `folds/<protocol>.json`; return them.

    Raises:
        DataError: with every fault of the corpus, or when its groups allow no such folds.
        ConfigError: when corpus or folds are declared wrongly.
    """
    corpus, folds = job.build("corpus"), job.build("folds")
    prepare_manifest(
        records, corpus, data_folder(job), job.home, job.say, should_stop=job.should_stop
    )
    outputs = [job.home / name for name in OUTPUTS]
    if folds is None:
        job.say("no `folds` in this configuration: the manifest alone is written")
        return outputs
    manifest = read_manifest(job.home / MANIFEST)
    split = make_folds(manifest, folds, job.config.get("protocol") or "clean", base=job.recipe)
    _say(job, split, manifest, corpus.classes)
    return [*outputs, write_folds(job.home / "folds" / f"{split.name}.json", split)]


def _say(job, split: FoldSet, manifest, classes: list[str]) -> None:
    """Print each fold's sizes and classes, then what the folds give away."""
    for fold in split.folds:
        sizes = ", ".join(f"{part} {len(getattr(fold, part))}" for part in ("train", "dev", "test"))
        counts = Counter(manifest[utterance].label for utterance in fold.test)
        shown = " ".join(f"{label} {counts[label]}" for label in classes if counts[label])
        job.say(f"fold {fold.name}: {sizes}" + (f"; test: {shown}" if shown else ""))
    for flag in split.flags:
        job.say(f"every result will say: {flag}")
    for note in split.notes:
        job.say(f"note: {note}")
