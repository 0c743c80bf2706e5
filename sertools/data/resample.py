"""Change a waveform's sampling rate with torchaudio's windowed sinc, also at awkward rates."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torchaudio.transforms import Resample

_WIDTH, _ROLLOFF = 6, 0.99  # torchaudio's own defaults
_LARGEST_KERNEL = 4_000_000  # elements; 24,414 Hz to 16 kHz would take 98 million
_ROWS = 1 << 16  # output samples computed at a time


def resample(waveform: Tensor, rate: int, new_rate: int) -> Tensor:
    """Return a waveform (samples,) at another rate: ceil(samples * new_rate / rate) samples.

    torchaudio keeps one filter per output phase, which needs gigabytes where the two rates have no
    large common divisor (24,414 Hz in TESS). There the same filter is evaluated where it is
    needed; both ways agree to rounding.
    """
    if rate == new_rate:
        return waveform
    divisor = math.gcd(rate, new_rate)
    old, new = rate // divisor, new_rate // divisor
    if new * (old + 2 * _reach(old, new)) > _LARGEST_KERNEL:
        return _by_the_sample(waveform, old, new)
    return _resampler(rate, new_rate)(waveform)


@lru_cache(maxsize=16)
def _resampler(rate: int, new_rate: int) -> Resample:
    return Resample(rate, new_rate, lowpass_filter_width=_WIDTH, rolloff=_ROLLOFF)


def _reach(old: int, new: int) -> int:
    """Return how many input samples the filter reaches to either side."""
    return math.ceil(_WIDTH * old / (min(old, new) * _ROLLOFF))


def _by_the_sample(waveform: Tensor, old: int, new: int) -> Tensor:
    base, reach = min(old, new) * _ROLLOFF, _reach(old, new)
    padded = torch.nn.functional.pad(waveform, (reach, reach + 1))
    offsets = torch.arange(-reach, reach + 2)
    pieces = []
    for first in range(0, math.ceil(len(waveform) * new / old), _ROWS):
        place = torch.arange(first, min(first + _ROWS, math.ceil(len(waveform) * new / old))) * old
        centre = torch.div(place, new, rounding_mode="floor")
        past = (place - centre * new).double() / new  # how far behind its input sample, 0 to 1
        time = (offsets - past[:, None]) * (base / old)
        window = torch.cos(time.clamp(-_WIDTH, _WIDTH) * (math.pi / _WIDTH / 2)) ** 2
        filters = (torch.sinc(time) * window * (base / old)).to(waveform.dtype)
        inputs = padded[(centre[:, None] + offsets + reach).clamp(max=len(padded) - 1)]
        pieces.append((filters * inputs).sum(1))
    return torch.cat(pieces)
