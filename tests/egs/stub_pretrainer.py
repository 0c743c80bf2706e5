"""A pretrainer that learns nothing and notes what it was asked."""

import sertools  # noqa: F401
import torch
from sertools.files import write_json, write_text
from sertools.models.presets import build_encoder
from sertools.models.weights import save_encoder

CALLS = []
"""What was asked, in order: (what, utterances)."""


class Stub:
    """Caches one file per utterance list, leaves an encoder that depends on `lr`."""

    reading = {"normalise": False, "crop": "start"}

    def __init__(self, teacher=None, targets="cached", frontend="audio", lr=1.0, seed=5):
        self.seed, self.lr, self.targets = seed, lr, targets

    def write_caches(self, work, folder):
        CALLS.append(("caches", len(work.dataset)))
        index, shard = folder / "stub" / "index.json", folder / "stub" / "0.safetensors"
        write_json(index, sorted(work.dataset.ids))
        write_text(shard, "frames")
        return [index, shard]

    def fit(self, work):
        CALLS.append(("fit", len(work.dataset)))
        assert [path.name for path in work.caches] == ["index.json"] * (self.targets == "cached")
        assert all((path.parent / "0.safetensors").is_file() for path in work.caches)
        torch.manual_seed(int(self.lr * 10))
        encoder = build_encoder("emotion2vec_small", dim=16, num_layers=2, num_heads=2, ffn_dim=32,
                                num_mels=16, position_kernel=5, extra_tokens=2)
        save_encoder(encoder, work.folder / "best" / "encoder", work.dataset.heard())
        write_json(work.folder / "audio.json", work.summary)

    def artefacts(self, work):
        encoder = work.folder / "best" / "encoder"
        return [encoder / "config.json", encoder / "model.safetensors", work.folder / "audio.json"]
