"""A distillation in a second, of the teacher and the corpus of `toy_vesper`; also run alone."""

import contextlib
import functools
import os
import sys
from pathlib import Path

import sertools  # noqa: F401
import toy_vesper
from sertools.brains import distiller_pretrainer as module
from sertools.brains.distiller import DistillerBrain
from sertools.brains.distiller_pretrainer import DistillerPretrainer
from sertools.models.upstream import load_upstream

OF_RANKS = {"dropout": 0.0, "epochs": 2, "batch": 8, "batch_seconds": 1.7}
"""Two passes of two utterances each, on each of two processes."""


def pretrainer(root: Path, **changes) -> DistillerPretrainer:
    """Return a pretrainer with dropout, two passes per update, on line."""
    teacher = functools.partial(load_upstream, source=str(root / "teacher"))
    return DistillerPretrainer(**{
        "teacher": teacher, "teacher_layers": [0.5, 1.0], "teacher_precision": "fp32",
        "teacher_hears": "utterance", "crop_seconds": 0.8, "updates": None, "epochs": 3,
        "batch": 6, "batch_seconds": 2.5, "lr": 2e-3, "warmup": 0.3, "seed": 3,
        "tensorboard": False, "checkpoint_steps": 1, "keep_epochs": 2, **changes,
    })


class Watched(toy_vesper.Watching, DistillerBrain):
    """Notes what goes into every update and what comes out of it."""

    def compute_objectives(self, outputs, batch, stage):
        """Note a pass: what was heard and aimed at."""
        self.noted[-1]["passes"].append({
            "ids": list(batch.ids), "starts": batch.starts.clone(),
            "waves": batch.inputs.clone(), "lengths": batch.lengths.clone(),
            "targets": outputs.targets.clone(), "mask": outputs.mask.clone(),
        })
        return super().compute_objectives(outputs, batch, stage)


@contextlib.contextmanager
def watched():
    """Let pretrainers use the brain that takes notes."""
    before, module.DistillerBrain = module.DistillerBrain, Watched
    yield
    module.DistillerBrain = before


def main(root: Path, folder: Path, world_size: int) -> None:
    """Distil in a process of its own, one of `world_size`."""
    rank = int(os.environ.get("RANK", "0"))
    work = toy_vesper.make_work(root, folder, rank=rank, world_size=world_size)
    with watched():
        pretrainer(root, clip=None, **OF_RANKS).fit(work)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
