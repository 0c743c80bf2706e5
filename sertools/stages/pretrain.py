"""Stage pretrain: one encoder from the audio of any number of prepared corpora."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sertools.brains.work import PretrainingWork
from sertools.stages.given import data_folder, surroundings

TARGETS = "targets"
"""Folder in dump/ of what a pretrainer caches."""


def pretrain(job) -> list[Path]:
    """Pretrain until done or stopped; the same call after a stop goes on where it was."""
    trainer = job.build("pretrainer")
    caches = [path for path in job.outputs_of("features")
              if path.is_relative_to(job.dump / TARGETS)]
    work = pretraining_work(job, trainer, caches)
    for line in work.dataset.describe():
        work.say(line)
    trainer.fit(work)
    return trainer.artefacts(work) if job.rank == 0 else []


def write_targets(job) -> list[Path]:
    """Write what the pretrainer wants cached, where it is not yet; return the indices alone.

    They seal their shards. The shards take much room and may be deleted after the pretraining.
    """
    trainer = job.build("pretrainer")
    written = trainer.write_caches(pretraining_work(job, trainer), job.dump / TARGETS)
    return [path for path in written if path.name == "index.json"]


def pretraining_work(job, trainer: Any, caches: list[Path] | None = None) -> PretrainingWork:
    """Gather audio, folders and devices for a pretraining."""
    dataset = job.build("pretraining_data").dataset(
        job.recipe, data_folder(job), trainer.seed, **getattr(trainer, "reading", {}))
    return PretrainingWork(
        **surroundings(job),
        dataset=dataset,
        summary={**dataset.summary(), "heard": sorted(dataset.heard())},
        folder=job.folder,
        seed=trainer.seed,
        caches=caches or [],
    )
