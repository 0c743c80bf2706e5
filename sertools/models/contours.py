"""Acoustic contours: what loudness, pitch, voice and spectrum do, every 10 ms."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
import torchaudio.functional as audio
from torch import Tensor
from torch.nn import functional as F

RATE = 16000
"""Samples per second of the waveforms."""
HOP = 160
FRAME_RATE = RATE / HOP
_WINDOW, _FFT = 400, 512
_PITCH_WINDOW, _PITCH_FFT = 800, 2048
LOWEST, HIGHEST = 55.0, 600.0
"""Pitch that is looked for, in Hz."""
SEMITONE_ZERO = 27.5
"""Pitch in semitones is counted from this frequency, in Hz (as eGeMAPS does)."""
_VOICED = 0.45  # of a perfectly periodic frame; Praat's default
_OCTAVE_COST = 0.02  # the least without octave errors on synthetic voices of 60 to 600 Hz
_ACTIVE = 40.0  # dB below the loud frames (95 %) that still count as sound
_MELS, _MFCCS = 26, 20
_TINY = 1e-10


@dataclass
class Contours:
    """Contours of one utterance of T frames."""

    values: dict[str, Tensor]
    """(T,) float32 by name; see `contours`."""
    active: Tensor
    """(T,) bool: frames that are not silence."""
    voiced: Tensor
    """(T,) bool: active frames with a pitch."""
    mfcc: Tensor
    """(T, 20) mel cepstrum, from coefficient 0."""


def contours(waveform: Tensor) -> Contours:
    """Return the contours of a waveform (samples,) at 16 kHz; always at least 5 frames.

    `energy` (dB), `loudness` (sum of mel power ** 0.3), `pitch` (semitones above 27.5 Hz), `hnr`
    (dB), `centroid` (Hz), `entropy` (0 to 1), `flux`, `rolloff` (Hz), `alpha` and `hammarberg`
    ratios (dB) and the slopes `slope_low` (0-500 Hz) and `slope_high` (500-1500 Hz, dB per kHz) as
    eGeMAPS defines them (Eyben et al. 2016, IEEE Trans. Affective Computing, section 3).
    """
    waveform = F.pad(waveform.float(), (0, max(0, _WINDOW + 4 * HOP - len(waveform))))
    frames = waveform.unfold(0, _WINDOW, HOP)
    power = torch.fft.rfft(frames * _hann(_WINDOW), _FFT).abs().square()
    mel = power @ _mel_filters()
    values = _spectral(power)
    values["energy"] = 10 * torch.log10(frames.square().mean(1) + _TINY)
    values["loudness"] = mel.pow(0.3).sum(1)
    loud = values["energy"].quantile(0.95)
    active = values["energy"] >= loud - _ACTIVE
    frequency, strength = pitch(waveform)
    voiced = active & _mostly(strength > _VOICED) & (loud > -90)
    values["pitch"] = 12 * torch.log2(frequency / SEMITONE_ZERO)
    certain = strength.clamp(1e-3, 1 - 1e-4)
    values["hnr"] = 10 * torch.log10(certain / (1 - certain))
    mfcc = torch.log(mel + _TINY) @ _cosines()
    return Contours(values, active, voiced, mfcc)


def pitch(waveform: Tensor) -> tuple[Tensor, Tensor]:
    """Return frequency in Hz and strength (0 to 1) of the best pitch of every frame.

    Normalised autocorrelation of 50 ms, corrected for the window (Boersma 1993, "Accurate
    short-term analysis of the fundamental frequency"), then a running median over 5 frames.

    Args:
        waveform: (samples,) at 16 kHz, at least 400.
    """
    margin = (_PITCH_WINDOW - _WINDOW) // 2
    frames = F.pad(waveform, (margin, margin)).unfold(0, _PITCH_WINDOW, HOP)
    frames = frames - frames.mean(1, keepdim=True)
    shortest, longest = int(RATE / HIGHEST), math.ceil(RATE / LOWEST)
    correlation = _autocorrelation(frames * _hann(_PITCH_WINDOW))[:, : longest + 2]
    correlation = correlation / _autocorrelation(_hann(_PITCH_WINDOW)[None])[:, : longest + 2]
    left, middle, right = (
        correlation[:, shortest + shift : longest + shift] for shift in (-1, 0, 1)
    )
    bend = left - 2 * middle + right
    peaks = (middle > left) & (middle >= right) & (bend < 0)
    shift = torch.where(peaks, 0.5 * (left - right) / bend, torch.zeros_like(bend))
    height = (middle - 0.25 * (left - right) * shift).masked_fill(~peaks, -1.0)
    lags = torch.arange(shortest, longest) + shift
    best = (height - _OCTAVE_COST * torch.log2(LOWEST * lags / RATE)).argmax(1, keepdim=True)
    strength = height.gather(1, best)[:, 0]
    frequency = RATE / lags.gather(1, best)[:, 0]
    smooth = F.pad(frequency[None], (2, 2), mode="replicate")[0].unfold(0, 5, 1).median(1).values
    return smooth, strength.clamp(0, 1)


def _mostly(flags: Tensor) -> Tensor:
    """Return what most of the five frames around each say."""
    return F.pad(flags.float(), (2, 2)).unfold(0, 5, 1).sum(1) >= 3


def _autocorrelation(frames: Tensor) -> Tensor:
    spectrum = torch.fft.rfft(frames, _PITCH_FFT).abs().square()
    correlation = torch.fft.irfft(spectrum)
    return correlation / correlation[:, :1].clamp(min=_TINY)


def _spectral(power: Tensor) -> dict[str, Tensor]:
    hertz = torch.linspace(0, RATE / 2, power.shape[1])
    total = power.sum(1, keepdim=True) + _TINY
    share = power / total
    decibel = 10 * torch.log10(power + _TINY)

    def band(low: float, high: float) -> Tensor:
        return (hertz >= low) & (hertz < high)

    def level(low: float, high: float) -> Tensor:
        return 10 * torch.log10(power[:, band(low, high)].sum(1) + _TINY)

    def peak(low: float, high: float) -> Tensor:
        return decibel[:, band(low, high)].amax(1)

    def slope(low: float, high: float) -> Tensor:
        kilohertz = hertz[band(low, high)] / 1000
        centred = kilohertz - kilohertz.mean()
        return decibel[:, band(low, high)] @ centred / centred.square().sum()

    shape = share.sqrt()
    change = F.pad((shape[1:] - shape[:-1]).square().sum(1), (1, 0))
    return {
        "centroid": share @ hertz,
        "entropy": -(share * torch.log(share + _TINY)).sum(1) / math.log(power.shape[1]),
        "flux": change,
        "rolloff": hertz[(share.cumsum(1) < 0.85).sum(1).clamp(max=len(hertz) - 1)],
        "alpha": level(1000, 5000) - level(50, 1000),
        "hammarberg": peak(0, 2000) - peak(2000, 5000),
        "slope_low": slope(0, 500),
        "slope_high": slope(500, 1500),
    }


@functools.cache
def _hann(length: int) -> Tensor:
    return torch.hann_window(length)


@functools.cache
def _mel_filters() -> Tensor:
    return audio.melscale_fbanks(_FFT // 2 + 1, 20.0, RATE / 2, _MELS, RATE, mel_scale="htk")


@functools.cache
def _cosines() -> Tensor:
    return audio.create_dct(_MFCCS, _MELS, norm="ortho")
