"""Targets of a teacher on the disk: in our cache, and in the files of Vesper's released code."""

from __future__ import annotations

import argparse
from pathlib import Path

import released_vesper as released
import soundfile
import torch
from sertools.data.audio import AudioReader
from sertools.data.batching import pad
from sertools.data.feature_cache import FeatureCache
from sertools.data.feature_writer import write_features
from sertools.data.record import Record
from sertools.models.encoder import Encoded
from torch import Tensor
from turns import waveforms


class Noise(torch.nn.Module):
    """A teacher for the cache: random frames of two depths, at 50 Hz."""

    num_layers, sample_rate, frame_rate = 1, 16000, 50.0

    def __init__(self, dim: int):
        super().__init__()
        self.dim, self.identity = dim, {"class": "Noise"}
        self.scale = torch.nn.Parameter(torch.ones(()))  # tells the device

    def forward(self, waveforms: Tensor, lengths: Tensor, hidden: bool = False) -> Encoded:
        """Return frames of the length that seven convolutions give."""
        frames = (waveforms.shape[1] - 400) // 320 + 1
        layers = [torch.randn(len(waveforms), frames, self.dim) for _ in range(2)]
        return Encoded(layers[-1], layers, (lengths - 400) // 320 + 1)


class Targets:
    """The same frames in our cache and as the released code's files, on the same disk."""

    def __init__(self, folder: Path, options: argparse.Namespace):
        self.folder, self.device = folder, options.device
        self.frames = (round(16000 * options.seconds) - 400) // 320 + 1
        self.names = [f"clip{number:05d}" for number in range(options.batch)]
        records = {}
        for name, wave in zip(self.names, waveforms(options.batch, options.seconds, "cpu"),
                              strict=True):
            soundfile.write(folder / f"{name}.wav", 0.1 * wave.numpy(), 16000)
            records[name] = Record(name, f"{name}.wav", duration=options.seconds,
                                   audio_hash=name, sample_rate=16000, channels=1)
        reader = AudioReader(normalise=False, cache_megabytes=0)
        self.cache = FeatureCache(write_features(
            Noise(options.width), records, folder, reader, folder / "cache", device="cpu",
            say=lambda _: None))
        for name in self.names:
            released.write_targets(folder, name, tuple(self.cache.get(name).float().numpy()))

    def ours(self) -> Tensor:
        """Return (B, 2, T, D) in half precision."""
        slices = [self.cache.slice(name, 0, self.frames) for name in self.names]
        return pad(slices, 1, self.frames)[0].to(self.device)

    def released(self) -> tuple[Tensor, Tensor]:
        """Return (B, T, D) in single precision, twice."""
        lower, upper = released.read_targets(self.folder, self.names, self.frames)
        return lower.to(self.device), upper.to(self.device)

    def megabytes(self) -> dict[str, float]:
        """Return what an utterance takes on the disk."""
        kinds = {"released": "*/*.mat", "sertools": "cache/*/*.safetensors"}
        return {name: sum(f.stat().st_size for f in self.folder.glob(kind)) / 1e6 / len(self.names)
                for name, kind in kinds.items()}
