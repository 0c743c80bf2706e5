"""What a student hears and what its teacher made of the same frames, cached or yet to be computed.

Both count frames from the first sample of what the teacher hears, `hop` samples apart. A crop that
begins at frame `start` therefore has the teacher's frames from `start` on. Front ends of equal
rate differ by at most two frames at an utterance's end: what the teacher has more is cut, and
frames that it lacks are zeros and not counted in `TargetBatch.frames`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from sertools.data.audio import normalised
from sertools.data.dataset import own_generator
from sertools.data.feature_cache import FeatureCache
from sertools.data.pretraining_dataset import PretrainingDataset
from sertools.data.target_batch import TargetBatch, TargetExample, collate_targets, take_frames
from sertools.data.target_writer import (
    check_rates,
    convolution_audio,
    convolutions_of,
    write_convolutions,
    write_targets,
)
from sertools.errors import ConfigError, DataError
from torch import Tensor
from torch.utils.data import Dataset

__all__ = ["TargetBatch", "TargetDataset", "TargetExample", "check_rates", "collate_targets",
           "convolutions_of", "take_frames", "too_short", "write_convolutions", "write_targets"]

END = 2
"""Frames by which front ends of equal rate may differ at the end of an utterance."""


class TargetDataset(Dataset):
    """Crops for a student together with its teacher's frames, or with what the teacher must hear.

    A random crop begins at a multiple of `hop`, at a place that depends on (seed, epoch, utterance)
    alone, and ends before what the teacher heard does. Utterances shorter than the crop are whole.

    Args:
        audio: utterances as recorded (not normalised), cut at their start or not at all: what the
            teacher hears.
        hop: samples from one frame of the student to the next.
        frames: the student's number of frames of so many samples; a function that can be pickled.
        crop: `start`, or `random` (another place in every epoch).
        crop_seconds: longest crop.
        seed: of the places.
        cache: the teacher's frames, from `write_targets`.
        local: the outputs of the student's convolutions, from `write_convolutions`.
        online: give what the teacher must hear instead of cached frames.
        small_span: utterances of so few frames, in which no mask fits, are left out.
        normalise: zero mean, unit variance over what the teacher hears, before a random crop. A
            crop at the start is left as recorded: the student's own normalisation is right there.
        teacher_rate: frames per second of a teacher that is run; checked against the student's.

    Raises:
        ConfigError: options, rates or caches that do not fit together; all of them are listed.
        DataError: a cache lacks utterances, or none is long enough.
    """

    def __init__(
        self,
        audio: PretrainingDataset,
        hop: int,
        frames: Callable[[int], int],
        crop: str = "start",
        crop_seconds: float = 5.0,
        seed: int = 0,
        cache: FeatureCache | None = None,
        local: FeatureCache | None = None,
        online: bool = False,
        small_span: int = 8,
        normalise: bool = True,
        teacher_rate: float | None = None,
    ):
        self.audio, self.hop, self.count = audio, hop, frames
        self.crop, self.crop_seconds, self.normalise = crop, crop_seconds, normalise
        self.cache, self.local, self.online = cache, local, online
        self.seed, self.epoch = seed, 0
        self.crop_samples = round(crop_seconds * audio.reader.sample_rate)
        """Samples of a full crop."""
        self.crop_frames = frames(self.crop_samples)
        """The student's frames of a full crop."""
        self._check(small_span, teacher_rate if cache is None else cache.frame_rate)
        self.too_short = too_short(audio, frames, small_span)
        """Utterances that are left out."""
        if cache is not None:  # a teacher may have fewer frames
            known = set(self.too_short)
            self.too_short += [id for id in audio.ids if id not in known and id in cache
                               and cache.frames(id) <= small_span]
        left_out = set(self.too_short)
        self._indices = [index for index, id in enumerate(audio.ids) if id not in left_out]
        self._check_members(small_span)

    @property
    def ids(self) -> list[str]:
        """Return the utterance ids in order."""
        return [self.audio.records[index].id for index in self._indices]

    @property
    def seconds(self) -> list[float]:
        """Return the duration of each crop, what the batch sampler needs."""
        return [min(self.crop_seconds, seconds) for seconds in self.heard_seconds]

    @property
    def heard_seconds(self) -> list[float]:
        """Return the duration of what the teacher hears of each utterance."""
        seconds = self.audio.seconds
        return [seconds[index] for index in self._indices]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose random crops are drawn."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> TargetExample:
        example = self.audio[self._indices[index]]
        id, whole = example.id, example.inputs
        start = self._start(id, len(whole))
        heard = normalised(whole) if self.crop == "random" and self.normalise else whole
        first = start * self.hop
        crop = heard[first:first + self.crop_samples].clone()
        frames = self.count(len(crop))
        found = TargetExample(id, crop, start=start, frames=frames,
                              whole=whole if self.online else None)
        if self.cache is not None:
            self._check_length(id, self.cache.frames(id), self.count(len(whole)))
            found.teacher = self.cache.slice(id, start, frames)
        if self.local is not None:
            found.local = self._local(id, start, frames)
        return found

    def _start(self, id: str, samples: int) -> int:
        places = max(0, samples - self.crop_samples) // self.hop + 1
        if self.crop == "start" or places == 1:
            return 0
        generator = own_generator("targets", self.seed, self.epoch, id)
        return int(torch.randint(places, (1,), generator=generator))

    def _local(self, id: str, start: int, frames: int) -> Tensor:
        assert self.local is not None
        if self.crop == "start":  # frames of padding, if cached, belong to it
            local = self.local.get(id)[0]
        else:
            local = self.local.slice(id, start, frames)[0]
        if len(local) < frames:
            raise _unequal(id, "The cached convolutions", len(local), frames)
        return local

    def _check_length(self, id: str, teacher: int, student: int) -> None:
        if abs(teacher - student) > END:
            raise _unequal(id, "The cached teacher", teacher, student)

    def _check(self, small_span: int, teacher_rate: float | None) -> None:
        reader, wrong = self.audio.reader, []
        if self.crop not in ("start", "random"):
            wrong.append(f"crop: {self.crop!r} is not one of start, random")
        if reader.normalise or reader.crop == "random":
            wrong.append("audio: the teacher wants it as recorded, cut at the start or not at all")
        wrong += odd_crop(self.audio, self.crop_seconds, self.hop, self.count, small_span)
        if self.online == (self.cache is not None):
            wrong.append("targets: either a cache or a teacher that is run, not both, not none")
        if teacher_rate is not None:
            wrong += check_rates(teacher_rate, reader.sample_rate / self.hop)
        heard = {"sample_rate": reader.sample_rate, "crop": reader.crop,
                 "crop_seconds": reader.crop_seconds}
        wrong += _other_audio("the teacher", self.cache, heard)
        if self.local is not None:
            wrong += check_rates(self.local.frame_rate, reader.sample_rate / self.hop)
            heard = convolution_audio(self.audio, self.crop, self.crop_seconds)
            wrong += _other_audio("the convolutions", self.local, heard)
        if wrong:
            raise ConfigError("student and teacher cannot be trained like this", wrong)

    def _check_members(self, small_span: int) -> None:
        if not self._indices:
            raise DataError(f"all {len(self.too_short)} utterances have {small_span} frames or "
                            "fewer", remedy="name longer utterances, or shorten the masks")
        for what, cache in (("teacher", self.cache), ("convolutions", self.local)):
            missing = [] if cache is None else [id for id in self.ids if id not in cache]
            if missing:
                raise DataError(f"the cache of the {what} lacks utterances", missing,
                                "run stage features again")


def odd_crop(audio: PretrainingDataset, crop_seconds: float, hop: int,
             frames: Callable[[int], int], small_span: int) -> list[str]:
    """Return why crops of this length cannot be learned from; arguments as of `TargetDataset`."""
    wrong, longest = [], audio.reader.crop_seconds
    if longest is not None and crop_seconds > longest:
        wrong.append(f"crop_seconds: {crop_seconds:g} is above max_seconds {longest:g}, "
                     "what the teacher hears")
    samples = round(crop_seconds * audio.reader.sample_rate)
    count = frames(samples)
    if samples < hop or count <= small_span:
        wrong.append(f"crop_seconds: {crop_seconds:g} gives {count} frames, too few for a mask of "
                     f"{small_span}")
    return wrong


def too_short(audio: PretrainingDataset, frames: Callable[[int], int], small_span: int
              ) -> list[str]:
    """Return the utterances of at most `small_span` frames: no mask of that length fits."""
    rate = audio.reader.sample_rate
    return [record.id for record, seconds in zip(audio.records, audio.seconds, strict=True)
            if frames(round(seconds * rate)) <= small_span]


def _other_audio(what: str, cache: FeatureCache | None, heard: Mapping[str, Any]) -> list[str]:
    """Say how the audio of a cache differs from what is wanted."""
    if cache is None:
        return []
    audio = cache.key["audio"]
    return [f"the cache of {what} ({cache.folder}): {name} is {audio[name]!r}, wanted is {value!r}"
            for name, value in heard.items() if audio[name] != value]


def _unequal(id: str, what: str, found: int, wanted: int) -> DataError:
    return DataError(f"{id}: {what} has {found} frames, the student {wanted}.",
                     remedy="the audio changed since it was cached: run the stages prepare and "
                            "features again")
