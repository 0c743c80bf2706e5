"""Cache what a student is trained with: its teacher's frames, and its own frozen convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from sertools.data.audio import AudioReader
from sertools.data.feature_shards import digest
from sertools.data.feature_writer import write_features
from sertools.data.pretraining_dataset import PretrainingDataset
from sertools.data.shards import ShardReader
from sertools.errors import ConfigError
from sertools.files import hash_tensors
from torch import Tensor, nn

CODE_VERSION = 1
"""Raised when the convolutions' outputs would be others for the same weights."""


def write_targets(
    upstream: Any,
    audio: PretrainingDataset,
    folder: str | Path,
    depths: Sequence[int],
    precision: str = "fp32",
    device: str = "auto",
    num_workers: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = print,
    batch_seconds: float = 80.0,
) -> Path:
    """Cache the frames of a frozen teacher in half precision and return the cache's folder.

    Args:
        upstream: the teacher (`models.upstream`); normalises waveforms itself if it wants to.
        audio: what it hears: utterances as recorded, cut at their start or not at all.
        folder: where caches are kept; names are made of all that their content depends on.
        depths: layers in the order wanted: 0 (input of the first block) to the number of blocks.
        precision: "fp32" or "bf16" (autocast).
        device: "auto" takes a GPU if there is one.
        num_workers: processes that read audio.
        should_stop: asked between batches.
        say: told the hours of audio, the disk space, and the hours that are left.
        batch_seconds: padded audio of a batch; changes speed and memory only.

    Raises:
        ConfigError: teacher and audio do not fit together.
        DataError, Interrupted: see `feature_writer.write_features`.
    """
    reader = audio.reader
    wrong = _not_as_recorded(audio)
    longest = getattr(upstream, "max_seconds", None)
    if longest is not None and (reader.crop_seconds is None or reader.crop_seconds > longest):
        wrong.append(f"max_seconds: the teacher hears {longest:g} s at most")
    if getattr(upstream, "trainable", False):
        wrong.append("teacher: it is trainable; its frames would not be the same tomorrow")
    if wrong:
        raise ConfigError("the teacher's frames cannot be cached like this", wrong)
    records = {record.id: record for record in audio.records}
    return write_features(
        upstream, records, audio.data_folder, reader, folder, layers=list(depths),
        batch_seconds=batch_seconds, precision=precision, storage="fp16", device=device,
        num_workers=num_workers, should_stop=should_stop, say=say,
        remedy="set targets: online; the teacher then runs in every epoch, and nothing is stored")


def write_convolutions(
    encoder: Any,
    audio: PretrainingDataset,
    folder: str | Path,
    crop: str = "start",
    crop_seconds: float = 5.0,
    padded: bool = False,
    precision: str = "fp32",
    device: str = "auto",
    num_workers: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = print,
    batch_seconds: float = 80.0,
) -> Path:
    """Cache the outputs of a student's frozen convolutions, (1, frames, conv_dim), as fp16.

    With `crop: start` they hear the crop, with `random` all that the teacher hears, normalised
    over just that if the student wants normalised waveforms.

    Args:
        encoder: a `models.encoder.SpeechEncoder` with convolutions on the waveform.
        padded: normalise over the crop padded with zeros to its full length, and keep the frames of
            that padding, as Vesper's released code does; only with `crop: start`.
        others: as in `write_targets` and `TargetDataset`.

    Raises:
        ConfigError: the encoder has no convolutions, or their outputs depend on the crop.
        DataError, Interrupted: see `feature_writer.write_features`.
    """
    config = encoder.config
    wrong = _not_as_recorded(audio)
    if config.frontend != "conv":
        wrong.append("frontend: there are no convolutions on the waveform to be cached; take audio")
    elif crop == "random" and config.conv_norm == "group":
        wrong.append("frontend: a group norm's statistics depend on the stretch that it hears, so "
                     "random crops cannot be cached; take audio, or crop: start")
    if padded and crop != "start":
        wrong.append("padding: crops are padded to full length only with crop: start")
    if wrong:
        raise ConfigError("convolutions cannot be cached like this", wrong)
    reader = _reader_like(audio.reader, convolution_audio(audio, crop, crop_seconds))
    convolutions = convolutions_of(encoder, crop_seconds, padded)
    was, training = next(encoder.parameters()).device, encoder.training
    try:
        return write_features(
            convolutions, {record.id: record for record in audio.records},
            audio.data_folder, reader, folder, layers="last", batch_seconds=batch_seconds,
            precision=precision, storage="fp16", device=device, num_workers=num_workers,
            should_stop=should_stop, say=say,
            remedy="set frontend: audio; the convolutions then run in every epoch")
    finally:
        encoder.to(was).train(training)


def convolutions_of(encoder: Any, crop_seconds: float, padded: bool) -> Convolutions:
    """Return what `write_convolutions` runs; its `identity` is that of the cache."""
    samples = round(crop_seconds * encoder.config.sample_rate) if padded else None
    return Convolutions(encoder, samples)


def convolution_audio(audio: PretrainingDataset, crop: str, crop_seconds: float) -> dict[str, Any]:
    """Return how audio is read for cached convolutions: its rate and where it is cut."""
    reader = audio.reader
    start = {"crop": "start", "crop_seconds": crop_seconds}
    whole = {"crop": reader.crop, "crop_seconds": reader.crop_seconds}
    return {"sample_rate": reader.sample_rate, **(start if crop == "start" else whole)}


def check_rates(teacher: float, student: float) -> list[str]:
    """Return what is wrong with the frames per second of teacher and student, if anything."""
    if abs(teacher - student) <= 1e-6 * student:
        return []
    return [f"frames: {teacher:g} a second are given, the student makes {student:g}; take a "
            "teacher and a student of one frame rate (a mel front end of 50 Hz has mel_stack 2)"]


class Convolutions(nn.Module):
    """The convolutions of an encoder as something that `write_features` can run.

    Args:
        encoder: whose convolutions.
        samples: pad all to this length, normalise over it, and keep its frames; None: no padding.
    """

    num_layers = 0

    def __init__(self, encoder: Any, samples: int | None = None):
        super().__init__()
        config = encoder.config
        self.encoder, self.config, self.samples = encoder, config, samples
        self.dim, self.frame_rate = config.conv_dim, config.frame_rate
        self.sample_rate = config.sample_rate
        values = config.to_dict()
        matters = ("sample_rate", "normalise_waveform", "conv_dim", "conv_norm", "conv_bias",
                   "convs")
        self.identity = {
            "class": "Convolutions", "weights": hash_tensors(encoder.frontend.layers.state_dict()),
            "config": digest({name: values[name] for name in matters} | {"padded": samples}),
            "code": f"sertools {CODE_VERSION}"}

    def forward(self, waveforms: Tensor, lengths: Tensor, hidden: bool = False) -> Any:
        """Map (B, L) waveforms with (B,) valid samples to `last` (B, T, C) and `lengths` (B,)."""
        if self.samples is None:
            last = self.encoder.convolve(waveforms, lengths)
        else:
            lengths = torch.full_like(lengths, self.samples)
            last = self.encoder.convolve(F.pad(waveforms, (0, self.samples - waveforms.shape[1])))
        return SimpleNamespace(last=last, hidden=None, lengths=self.config.frames(lengths))


def _not_as_recorded(audio: PretrainingDataset) -> list[str]:
    reader = audio.reader
    if reader.normalise or reader.crop == "random":
        return ["audio: it must be as recorded, cut at the start or not at all"]
    return []


def _reader_like(reader: AudioReader, options: dict[str, Any]) -> ShardReader:
    """Return a reader of the same files and shards with other options."""
    shards = reader.shards.values() if isinstance(reader, ShardReader) else ()
    return ShardReader(shards, **options, normalise=False, cache_megabytes=0)
