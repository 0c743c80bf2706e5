"""Stage pretrain: one encoder from the audio of any number of prepared corpora."""

from __future__ import annotations

from pathlib import Path

from sertools.brains.work import PretrainingWork
from sertools.stages.unit import data_folder, surroundings


def pretrain(job) -> list[Path]:
    """Pretrain until done or stopped; the same call after a stop goes on where it was."""
    trainer, data = job.build("pretrainer"), job.build("pretraining_data")
    dataset = data.dataset(job.recipe, data_folder(job), trainer.seed)
    work = PretrainingWork(
        **surroundings(job),
        dataset=dataset,
        summary=dataset.summary(),
        folder=job.folder,
        seed=trainer.seed,
    )
    for line in dataset.describe():
        work.say(line)
    trainer.fit(work)
    return trainer.artefacts(work) if job.rank == 0 else []
