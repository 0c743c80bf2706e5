"""What a run gives to its stages: folders, files of stage prepare, the encoder, the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sertools.errors import ConfigError
from sertools.stages.chain import pretrains

ENCODER = Path("best") / "encoder"
"""What every pretraining leaves in its folder."""


def data_folder(job) -> Path:
    """Return the release's folder; a relative one is meant from the recipe's folder."""
    return job.recipe / job.config["data_folder"]


def prepared(job, name: str) -> Path:
    """Return the output of stage prepare called `name`; "folds" gives the folds file."""
    for path in job.outputs_of("prepare"):
        if name in (path.name, path.parent.name):
            return path
    raise AssertionError(f"stage prepare wrote no {name}")


def encoder_of(job) -> str | None:
    """Return the encoder that is `pretrained`, or else this run's own; None if there is none."""
    if job.config.get("pretrained") is not None:
        return job.build("pretrained")
    return str(job.folder_of("pretrain") / ENCODER) if pretrains(job.config) else None


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
