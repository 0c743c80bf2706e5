"""The tones of toy.py with genders and a trainer of GEmo-CLAP of tiny encoders on them."""

import dataclasses
import functools
import os
import sys
from pathlib import Path

import sertools  # noqa: F401
import toy
from sertools.brains.gemoclap_trainer import GemoClapTrainer
from sertools.brains.work import FoldWork
from sertools.models.presets import build_encoder
from sertools.models.text import small_text

STILL = {"audio": functools.partial(build_encoder, **{**toy.TINY, "dropout": 0.0}),
         "text": functools.partial(small_text, dim=16, num_layers=1, num_heads=2, dropout=0.0)}
MASKED = functools.partial(build_encoder, mask_embedding=True, **{**toy.TINY, "dropout": 0.0})
"""An encoder with a weight that takes no part: that of masked frames."""
SEPARATE = {"model": "ml", "gender_logits": "separate"}


def make_work(root: Path, folder: Path, **changes) -> FoldWork:
    """Return one unit: 16 utterances train, 5 dev, 5 test; only the training part has genders."""
    manifest = {
        id: dataclasses.replace(record, gender=(("female", "male")[number // 2 % 2]
                                                if number < 16 else None),
                                tags={"votes": f"high={1 + number % 3};low={2 - number % 2};odd=2"})
        for number, (id, record) in enumerate(toy.make_corpus(root / "audio").items())}
    return toy.make_work(root, folder, **{"manifest": manifest, **changes})


def trainer(**changes) -> GemoClapTrainer:
    """Return a trainer of tiny encoders with dropout: two updates per epoch, in some passes."""
    values = {
        "audio": functools.partial(build_encoder, **toy.TINY),
        "text": functools.partial(small_text, dim=16, num_layers=1, num_heads=2, dropout=0.1),
        "text_pool": "mean", "tokeniser": 300, "max_tokens": 32, "dim": 12, "batch": 8,
        "prompts": "a {emotion} voice", "batch_seconds": 0.8, "epochs": 3, "lr": 1e-2,
        "attribute_prompts": {"female": "she said", "male": "he said"},
        "encoder_lr": 1e-2, "patience": None, "tensorboard": False,
    }
    return GemoClapTrainer(**{**values, **changes})


def main(root: Path, folder: Path, world_size: int) -> None:
    """Train in a process of its own, one of `world_size`, without dropout of sound."""
    rank = int(os.environ.get("RANK", "0"))
    for name, settings in (("unique", SEPARATE), ("per_item", {"text_encode": "per_item", **STILL}),
                           ("balanced", {"sampler": "balanced", "audio": MASKED})):
        work = make_work(root, folder / name, rank=rank, world_size=world_size)
        made = trainer(**{"audio": STILL["audio"], **settings})
        made.fit(work)
        made.predict(work, work.dev)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
