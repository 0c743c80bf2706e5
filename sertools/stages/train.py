"""Stage train: one model for one fold and seed."""

from __future__ import annotations

from pathlib import Path

from sertools.stages.unit import fold_of, fold_work


def train(job) -> list[Path]:
    """Train until done or stopped; the same call after a stop goes on where it was."""
    work = fold_work(job, fold_of(job))
    trainer = job.build("trainer")
    trainer.fit(work)
    return trainer.artefacts(work) if job.rank == 0 else []
