"""A made-up corpus, a tiny teacher and a student that pretrains in a second; also run alone."""

import contextlib
import dataclasses
import functools
import os
import sys
from pathlib import Path

import sertools  # noqa: F401
import torch
import toy_pretraining
from sertools.brains import vesper_pretrainer as module
from sertools.brains.vesper import VesperBrain
from sertools.brains.vesper_pretrainer import VesperPretrainer
from sertools.brains.work import PretrainingWork
from sertools.data.manifest import read_manifest, write_manifest
from sertools.data.pretraining import PretrainingData
from sertools.models.presets import build_encoder
from sertools.models.upstream import load_upstream
from sertools.models.weights import save_encoder

TINY = {"preset": "wavlm_large", "conv_dim": 8, "dim": 16, "num_layers": 4, "num_heads": 2,
        "ffn_dim": 32, "position_kernel": 8, "position_groups": 2}

OF_RANKS = {"dropout": 0.0, "epochs": 2, "batch": 8, "batch_seconds": 1.7}
"""Two passes of two utterances each, on each of two processes."""


def make_corpus(root: Path, count: int = 14) -> None:
    """Write the tones of `toy_pretraining` with hashes, and a teacher that knows nothing."""
    toy_pretraining.make_corpus(root, count)
    records = read_manifest(root / "utts.json").values()
    write_manifest(root / "utts.json", [
        dataclasses.replace(record, audio_hash=f"{number:032x}")
        for number, record in enumerate(records)])
    torch.manual_seed(5)
    teacher = build_encoder(**TINY)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.mul_(1.5)  # frames that tell tones apart
    save_encoder(teacher, root / "teacher", {"speeches": ["s0"]})


def make_work(root: Path, folder: Path, **changes) -> PretrainingWork:
    """Return the work over the corpus in `root`."""
    options = {"min_seconds": 0.1, "max_seconds": 1.1, **changes.pop("data", {})}
    data = PretrainingData({"toy": {"manifest": "utts.json", "folder": "audio"}}, **options)
    dataset = data.dataset(root, root, 3, normalise=False, crop="start")
    return PretrainingWork(**{
        "dataset": dataset, "summary": dataset.summary(), "folder": folder, "seed": 3,
        "device": "cpu", "precision": "fp32", "num_workers": 0, "should_stop": lambda: False,
        "say": lambda text: None, **changes,
    })


def pretrainer(root: Path, **changes) -> VesperPretrainer:
    """Return a pretrainer with dropout, two passes per update, on line."""
    dropout = changes.pop("dropout", 0.1)
    teacher = functools.partial(load_upstream, source=str(root / "teacher"), dropout=dropout)
    return VesperPretrainer(**{
        "teacher": teacher, "layers": 2, "targets": "online", "crop_seconds": 0.8,
        "small_span": 4, "large_span": 12, "epochs": 3, "batch": 6, "batch_seconds": 2.5,
        "lr": 2e-3, "warmup": 0.34, "seed": 3, "tensorboard": False, "checkpoint_steps": 1,
        "keep_epochs": 2, **changes,
    })


class Watching:
    """Notes the weights before every update, and its gradients, per rank; before a brain."""

    noted: list

    def on_fit_start(self):
        """Note the weights before the first update."""
        super().on_fit_start()
        self.noted = [self._begin()]
        self.optimizer.register_step_pre_hook(self._note_gradients)

    def after_step(self):
        """Go on to the next update."""
        super().after_step()
        self.noted.append(self._begin())
        torch.save(self.noted, self.folder / f"notes.rank{self.ranks.rank}.ckpt")

    def _note_gradients(self, optimizer, args, kwargs):
        named = self.raw_model.named_parameters()
        self.noted[-1]["gradients"] = {k: p.grad.clone() for k, p in named if p.grad is not None}

    def _begin(self):
        state = self.raw_model.state_dict()
        return {"weights": {k: v.detach().clone() for k, v in state.items()}, "passes": []}


class Watched(Watching, VesperBrain):
    """Notes what goes into every update and what comes out of it."""

    def compute_objectives(self, outputs, batch, stage):
        """Note a pass: what was heard, masked and aimed at."""
        self.noted[-1]["passes"].append({
            "waves": batch.inputs.clone(), "lengths": batch.lengths.clone(),
            "small": batch.small.clone(), "large": batch.large.clone(),
            "real": batch.real.clone(), "everything": batch.everything.clone(),
            "targets": outputs[1].clone(),
        })
        return super().compute_objectives(outputs, batch, stage)


@contextlib.contextmanager
def watched():
    """Let pretrainers use the brain that takes notes."""
    before, module.VesperBrain = module.VesperBrain, Watched
    yield
    module.VesperBrain = before


def main(root: Path, folder: Path, kind: str, world_size: int) -> None:
    """Pretrain in a process of its own, one of `world_size`."""
    work = make_work(root, folder, rank=int(os.environ.get("RANK", "0")), world_size=world_size,
                     precision="bf16" if kind == "bf16" else "fp32")
    if kind == "watched":
        with watched():
            pretrainer(root, **OF_RANKS).fit(work)
    else:
        pretrainer(root).fit(work)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
