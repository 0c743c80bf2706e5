"""A made-up corpus and a tiny emotion2vec that pretrains on it in a second; also run alone."""

import contextlib
import functools
import math
import os
import sys
from pathlib import Path

import sertools  # noqa: F401
import soundfile
import torch
from sertools.brains import emotion2vec_pretrainer as module
from sertools.brains.emotion2vec import Emotion2vecBrain
from sertools.brains.emotion2vec_pretrainer import Emotion2vecPretrainer
from sertools.brains.work import PretrainingWork
from sertools.data.manifest import write_manifest
from sertools.data.pretraining import PretrainingData
from sertools.data.record import Record
from sertools.models.emotion2vec import DecoderConfig
from sertools.models.presets import build_encoder

TINY = {"preset": "emotion2vec_small", "dim": 16, "num_layers": 3, "num_heads": 2, "ffn_dim": 32,
        "num_mels": 16, "position_kernel": 5, "extra_tokens": 2}
STILL = {
    "encoder": functools.partial(build_encoder, **TINY),
    "decoder": DecoderConfig(dim=16, groups=2, kernel=3, layers=2, dropout=0.0, noise=0.0),
}


def make_corpus(root: Path, count: int = 14) -> None:
    """Write tones of different pitch and length, one at 8 kHz in stereo and one silent."""
    draw, records = torch.Generator().manual_seed(7), []
    (root / "audio").mkdir(parents=True)
    for number in range(count):
        seconds, rate = 0.6 + 0.05 * (number * 5 % 13), 8000 if number == 3 else 16000
        time = torch.arange(round(seconds * rate)) / rate
        wave = 0.3 * torch.sin(2 * math.pi * (100.0 + 90 * number) * time * (1 + time / 3))
        wave = (wave + 0.02 * torch.randn(len(time), generator=draw)) * (number != 5)
        wave = torch.stack([wave, wave / 2], 1) if number == 3 else wave
        soundfile.write(root / "audio" / f"u{number:02d}.wav", wave.numpy(), rate, subtype="FLOAT")
        records.append(Record(id=f"toy-u{number:02d}", path=f"u{number:02d}.wav",
                              speaker=f"s{number % 3}", duration=len(time) / rate))
    write_manifest(root / "utts.json", records)


def make_work(root: Path, folder: Path, **changes) -> PretrainingWork:
    """Return the work over the corpus in `root`."""
    options = {"min_seconds": 0.1, "max_seconds": 1.1, **changes.pop("data", {})}
    data = PretrainingData({"toy": {"manifest": "utts.json", "folder": "audio"}}, **options)
    dataset = data.dataset(root, root, 3)
    return PretrainingWork(**{
        "dataset": dataset, "summary": dataset.summary(), "folder": folder, "seed": 3,
        "device": "cpu", "precision": "fp32", "num_workers": 0, "should_stop": lambda: False,
        "say": lambda text: None, **changes,
    })


def pretrainer(**changes) -> Emotion2vecPretrainer:
    """Return a pretrainer with everything random: dropout, layerdrop, noise, masks."""
    encoder = functools.partial(build_encoder, **TINY, dropout=0.1, attention_dropout=0.1,
                                layerdrop=0.2)
    return Emotion2vecPretrainer(**{
        "encoder": encoder, "decoder": DecoderConfig(dim=16, groups=2, kernel=3, layers=2),
        "context_layers": 1, "clones": 2, "utterance_target": "before_norm", "alpha": 0.1,
        "ema_start": 0.9, "ema_end": 0.99, "ema_steps": 10, "updates": None, "epochs": 3,
        "batch_seconds": 2.5, "update_seconds": 5.0, "warmup_updates": 1, "lr": 1e-3, "seed": 3,
        "tensorboard": False, "keep_epochs": 2, "checkpoint_steps": 1, **changes,
    })


def still_pretrainer(**changes) -> Emotion2vecPretrainer:
    """Return a pretrainer in which only the masks are random."""
    return pretrainer(**{**STILL, "epochs": 2, **changes})


class Watched(Emotion2vecBrain):
    """Notes what goes into every update and what comes out of it, per rank."""

    noted: list

    def on_fit_start(self):
        """Note the weights before the first update."""
        super().on_fit_start()
        self.noted = [{"weights": self._copy(self.raw_model.state_dict()), "batches": []}]
        self.optimizer.register_step_pre_hook(self._note_gradients)

    def compute_forward(self, batch, stage):
        """Note waveforms and masks of a pass."""
        model = self.network(stage)
        handle = model.register_forward_pre_hook(self._note_pass)
        outputs = super().compute_forward(batch, stage)
        handle.remove()
        return outputs

    def after_step(self):
        """Note the weights after an update."""
        super().after_step()
        self.noted.append({"weights": self._copy(self.raw_model.state_dict()), "batches": []})
        torch.save(self.noted, self.folder / f"notes.rank{self.ranks.rank}.ckpt")

    def _note_pass(self, model, args):
        waveforms, mask, *_ = args
        self.noted[-1]["batches"].append((waveforms.clone(), mask.clone()))

    def _note_gradients(self, optimizer, args, kwargs):
        named = self.raw_model.named_parameters()
        self.noted[-1]["gradients"] = {k: p.grad.clone() for k, p in named if p.grad is not None}

    @staticmethod
    def _copy(state):
        return {name: value.detach().clone() for name, value in state.items()}


@contextlib.contextmanager
def watched():
    """Let pretrainers use the brain that takes notes."""
    before, module.Emotion2vecBrain = module.Emotion2vecBrain, Watched
    yield
    module.Emotion2vecBrain = before


def main(root: Path, folder: Path, kind: str, world_size: int) -> None:
    """Pretrain in a process of its own, one of `world_size`."""
    work = make_work(root, folder, rank=int(os.environ.get("RANK", "0")), world_size=world_size,
                     precision="bf16" if kind == "bf16" else "fp32")
    if kind == "watched":
        with watched():
            still_pretrainer(update_seconds=10.0).fit(work)
    else:
        pretrainer().fit(work)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
