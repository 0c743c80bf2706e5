"""Load an utterance's sound as one channel of floats at the rate that models want."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO

import soundfile
import torch
from sertools.data.corpus import shown
from sertools.data.facts import decoding_error, file_name, segment
from sertools.data.record import Record
from sertools.data.resample import resample
from sertools.errors import ConfigError, DataError
from torch import Tensor

_EPS = 1e-5


def load_audio(
    path: str | Path,
    sample_rate: int = 16000,
    start: float | None = None,
    end: float | None = None,
    channel: int | None = None,
    content: BinaryIO | None = None,
) -> Tensor:
    """Return a file, or a part of it, as a float32 waveform (samples,) at `sample_rate`.

    Args:
        path: WAV, FLAC, AIFF, OGG or MP3; the contents count, not the extension.
        sample_rate: in Hz.
        start: seconds; only the wanted part is read.
        end: seconds.
        channel: 0-based; None takes the mean of all channels.
        content: what to read instead; `path` is then only its name in messages.

    Raises:
        DataError: the file is missing, cannot be decoded, lacks the channel or the part, or holds
            samples that are not finite.
    """
    try:
        source = file_name(Path(path)) if content is None else content
        with soundfile.SoundFile(source) as file:
            rate, channels = file.samplerate, file.channels
            first, last = segment(start, end, rate, file.frames)
            if not 0 <= first < last:
                raise _bad(path, f"no sample lies between {start or 0.0} s and its end"
                           if file.frames else "it is empty")
            if channel is not None and not 0 <= channel < channels:
                raise _bad(path, f"channel {channel} is wanted, it has {channels} (from 0)")
            file.seek(first)
            samples = file.read(last - first, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        there = content is not None or Path(path).is_file()
        raise _bad(path, decoding_error(error) if there else "there is no such file") from error
    waveform = torch.from_numpy(samples.mean(1) if channel is None else samples[:, channel].copy())
    if not len(waveform):
        raise _bad(path, "its samples cannot be read")
    if not torch.isfinite(waveform).all():
        raise _bad(path, "it holds NaN or infinite samples")
    return resample(waveform, rate, sample_rate)


class AudioReader:
    """Reads the sound of records: resampled, normalised, cropped; keeps what fits in memory.

    Args:
        sample_rate: in Hz.
        crop: None (all of it), `start` (the first `crop_seconds`) or `random`.
        crop_seconds: longest waveform that is returned.
        normalise: True gives zero mean and unit variance over the whole utterance, before any
            crop; `crop` does so over what the crop leaves; False leaves the level as recorded.
        cache_megabytes: memory for waveforms before crop and normalisation; 0 keeps none. Every
            DataLoader worker has its own.

    Raises:
        ConfigError: arguments that do not fit together.
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        crop: str | None = None,
        crop_seconds: float | None = None,
        normalise: bool | str = True,
        cache_megabytes: float = 512,
    ):
        problems = []
        if crop not in (None, "start", "random"):
            problems.append(f"crop: {crop!r} is not one of null, start, random")
        if (crop is None) != (crop_seconds is None):
            problems.append("crop and crop_seconds: give both or neither")
        if crop_seconds is not None and crop_seconds * sample_rate < 1:
            problems.append(f"crop_seconds: {crop_seconds} leaves nothing")
        if normalise not in (True, False, "crop"):
            problems.append(f"normalise: {normalise!r} is not one of true, false, crop")
        if cache_megabytes < 0:
            problems.append(f"cache_megabytes: {cache_megabytes} is below 0")
        if problems:
            raise ConfigError("the audio reader's options are not sound", problems)
        self.sample_rate, self.crop, self.crop_seconds = sample_rate, crop, crop_seconds
        self.normalise = normalise
        self.cache = WaveformCache(int(cache_megabytes * 2**20))

    def __call__(
        self, record: Record, data_folder: str | Path, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the record's waveform (samples,), float32.

        Args:
            record: which utterance.
            data_folder: what its path is relative to.
            generator: draws the place of a random crop; None uses torch's global one.

        Raises:
            DataError: the audio cannot be used; the message names the file.
        """
        path = Path(data_folder) / record.path
        key = (str(path), record.start, record.end, record.channel)
        waveform = self.cache.get(key)
        if waveform is None:
            waveform = self.load(path, record)
            self.cache.put(key, waveform)
        if self.normalise is True:
            waveform = normalised(waveform)
        waveform = self._cropped(waveform, generator)
        if self.normalise == "crop":
            return normalised(waveform)
        return waveform.clone()  # neither the cache nor the rest of a crop may leave with it

    def load(self, path: Path, record: Record) -> Tensor:
        """Return the whole waveform (samples,) of a record; subclasses read from elsewhere."""
        return load_audio(path, self.sample_rate, record.start, record.end, record.channel)

    def _cropped(self, waveform: Tensor, generator: torch.Generator | None) -> Tensor:
        if self.crop_seconds is None:
            return waveform
        length = int(round(self.crop_seconds * self.sample_rate))
        spare = len(waveform) - length
        if spare <= 0:
            return waveform
        first = 0
        if self.crop == "random":
            first = int(torch.randint(spare + 1, (1,), generator=generator))
        return waveform[first:first + length]


class WaveformCache:
    """Keeps the waveforms used last, up to a number of bytes; safe to use from several threads."""

    def __init__(self, limit: int):
        self.limit, self.held = limit, 0
        self._waveforms: OrderedDict[tuple, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple) -> Tensor | None:
        """Return what was put under a key, if it is still there."""
        with self._lock:
            if key in self._waveforms:
                self._waveforms.move_to_end(key)
            return self._waveforms.get(key)

    def put(self, key: tuple, waveform: Tensor) -> None:
        """Keep a waveform; those not used for longest make room. The caller must not change it."""
        size = waveform.numel() * waveform.element_size()
        with self._lock:
            if size > self.limit or key in self._waveforms:
                return
            self._waveforms[key] = waveform
            self.held += size
            while self.held > self.limit:
                _, oldest = self._waveforms.popitem(last=False)
                self.held -= oldest.numel() * oldest.element_size()

    def __getstate__(self) -> dict:
        return {"limit": self.limit}  # a worker process starts empty; locks do not travel

    def __setstate__(self, state: dict) -> None:
        self.__init__(**state)


def normalised(waveform: Tensor) -> Tensor:
    """Return a waveform (samples,) with zero mean and unit variance; silence stays zero."""
    variance, mean = torch.var_mean(waveform, correction=0)
    return (waveform - mean) / torch.sqrt(variance + _EPS)


def _bad(path: str | Path, what: str) -> DataError:
    return DataError(f"{shown(Path(path))}: {what}",
                     remedy="get the file again, or run the stage prepare, which finds such files")
