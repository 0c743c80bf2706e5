"""What the stages of one unit (a fold and a seed) hand to a trainer."""

from __future__ import annotations

from pathlib import Path

from sertools.brains.work import FoldWork
from sertools.data.folds import Fold, read_folds
from sertools.data.manifest import read_manifest
from sertools.stages.chain import hears_upstream
from sertools.stages.given import data_folder, encoder_of, prepared, surroundings
from sertools.stages.layers import cached_layers


def fold_of(job) -> Fold:
    """Return the fold that this unit is about."""
    split = read_folds(prepared(job, "folds"))
    return next(fold for fold in split.folds if fold.name == job.fold)


def fold_work(job, fold: Fold) -> FoldWork:
    """Gather manifest, split, folders and devices for one fold and seed."""
    return FoldWork(
        **surroundings(job),
        manifest=read_manifest(prepared(job, "utts.json")),
        train=fold.train,
        dev=fold.dev,
        classes=list(job.build("corpus").classes),
        data_folder=data_folder(job),
        features=_features(job),
        encoder=encoder_of(job),
        folder=job.folder_of("train", job.fold, job.seed),
        seed=job.seed,
        fold=fold.name,
    )


def _features(job) -> Path | None:
    """Return the folder of cached layers, an upstream's or our encoder's; None if there is none."""
    if hears_upstream(job.config):
        return job.outputs_of("features")[0].parent
    return cached_layers(job)
