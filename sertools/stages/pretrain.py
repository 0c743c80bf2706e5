"""Stage pretrain: one encoder from the audio of any number of prepared corpora."""

from __future__ import annotations

from pathlib import Path

from sertools.brains.work import PretrainingWork
from sertools.stages.unit import data_folder


def pretrain(job) -> list[Path]:
    """Pretrain until done or stopped; the same call after a stop goes on where it was."""
    trainer, data = job.build("pretrainer"), job.build("pretraining_data")
    dataset = data.dataset(job.recipe, data_folder(job), trainer.seed)
    work = PretrainingWork(
        dataset=dataset,
        summary=dataset.summary(),
        folder=job.folder,
        seed=trainer.seed,
        device=job.config.get("device", "auto"),
        precision=job.config.get("precision", "fp32"),
        num_workers=job.config.get("num_workers", 0),
        should_stop=job.should_stop,
        say=job.say,
        rank=job.rank,
        world_size=job.world_size,
    )
    trainer.fit(work)
    return trainer.artefacts(work) if job.rank == 0 else []
