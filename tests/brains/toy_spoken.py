"""The tones of toy.py with ratings and words: the pitch is arousal, what is said is valence."""

import dataclasses
import functools
import os
import sys
from pathlib import Path

import sertools  # noqa: F401
import toy
from sertools.brains.audio_text_trainer import AudioTextTrainer
from sertools.brains.work import FoldWork
from sertools.data.record import Record
from sertools.models.presets import build_encoder
from sertools.models.text import small_text

SAID = {1: "what a bad day", 3: "a day", 5: "what a good day"}
STILL = {"audio": functools.partial(build_encoder, **{**toy.TINY, "dropout": 0.0}),
         "text": functools.partial(small_text, dim=16, num_layers=1, num_heads=2, dropout=0.0),
         "head_dropout": 0.0}


def make_manifest(folder: Path) -> dict[str, Record]:
    """Write the tones and return records that rate and transcribe them; the last say nothing."""
    manifest = {}
    for number, (id, record) in enumerate(toy.make_corpus(folder).items()):
        valence = (1, 5, 3)[number % 3]
        manifest[id] = dataclasses.replace(
            record, arousal=5.0 if record.label == "high" else 1.0, valence=float(valence),
            dominance=3.0 + number % 2, text=SAID[valence] if number < 25 else None)
    return manifest


def make_work(root: Path, folder: Path, **changes) -> FoldWork:
    """Return one unit: 16 utterances train, 5 dev, 5 test."""
    manifest = make_manifest(root / "audio")
    return toy.make_work(root, folder, **{"manifest": manifest, **changes})


def trainer(**changes) -> AudioTextTrainer:
    """Return a trainer of tiny encoders with dropout: two updates per epoch, in some passes."""
    values = {
        "audio": functools.partial(build_encoder, **toy.TINY),
        "text": functools.partial(small_text, dim=16, num_layers=1, num_heads=2, dropout=0.1),
        "tokeniser": 300, "max_tokens": 16, "freeze": [], "inner": 16, "fusion_heads": 2,
        "dimensions": ["arousal", "valence"], "scale": [1, 5], "batch": 8, "batch_seconds": 0.8,
        "epochs": 3, "lr": 3e-3, "encoder_lr": 3e-3, "patience": None, "tensorboard": False,
    }
    return AudioTextTrainer(**{**values, **changes})


def main(root: Path, folder: Path, world_size: int) -> None:
    """Train in a process of its own, one of `world_size`, without dropout."""
    rank = int(os.environ.get("RANK", "0"))
    work = make_work(root, folder, rank=rank, world_size=world_size)
    made = trainer(**STILL, loss="ccc+mse")
    made.fit(work)
    made.predict(work, work.dev)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
