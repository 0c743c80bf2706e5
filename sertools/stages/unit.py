"""What the stages of one unit (a fold and a seed) hand to a trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sertools.brains.work import FoldWork
from sertools.data.folds import Fold, read_folds
from sertools.data.manifest import read_manifest
from sertools.errors import ConfigError


def data_folder(job) -> Path:
    """Return the release's folder; a relative one is meant from the recipe's folder."""
    return job.recipe / job.config["data_folder"]


def prepared(job, name: str) -> Path:
    """Return the output of stage prepare called `name`; "folds" gives the folds file."""
    for path in job.outputs_of("prepare"):
        if name in (path.name, path.parent.name):
            return path
    raise AssertionError(f"stage prepare wrote no {name}")


def fold_of(job) -> Fold:
    """Return the fold that this unit is about."""
    split = read_folds(prepared(job, "folds"))
    return next(fold for fold in split.folds if fold.name == job.fold)


def fold_work(job, fold: Fold) -> FoldWork:
    """Gather manifest, split, folders and devices for one fold and seed."""
    cached = job.outputs_of("features")
    return FoldWork(
        **surroundings(job),
        manifest=read_manifest(prepared(job, "utts.json")),
        train=fold.train,
        dev=fold.dev,
        classes=list(job.build("corpus").classes),
        data_folder=data_folder(job),
        features=cached[0].parent if cached else None,
        folder=job.folder_of("train", job.fold, job.seed),
        seed=job.seed,
    )


def num_workers(job) -> int:
    """Return how many processes load audio.

    Raises:
        ConfigError: it is no whole number of 0 or more.
    """
    count = job.config.get("num_workers", 0)
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ConfigError(
            f"num_workers: {count}; give 0, which loads in the training process, or more"
        )
    return count


def surroundings(job) -> dict[str, Any]:
    """Return what every `Work` takes over from the run: machine, processes, voice."""
    return {
        "device": job.config.get("device", "auto"),
        "precision": job.config.get("precision", "fp32"),
        "num_workers": num_workers(job),
        "should_stop": job.should_stop,
        "say": job.say,
        "rank": job.rank,
        "world_size": job.world_size,
    }
