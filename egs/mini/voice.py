"""A source-filter voice: glottal pulses and noise, shaped by moving formants, in plain numpy.

Every glottal pulse is computed in the frequency domain and added at its exact, fractional time.
The source is the causal-anticausal linear model of Doval, d'Alessandro and Henrich, "The voice
source as a causal/anticausal linear filter" (VOQUAL 2003); the vocal tract is a cascade of digital
resonators with one nasal pole and zero, after Klatt, "Software for a cascade/parallel formant
synthesizer" (J. Acoust. Soc. Am. 67, 1980).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from script import SHAPES

Array = NDArray[np.float64]

RATE = 16000
"""Samples per second."""
HOP = 80
"""Samples per control frame (5 ms)."""
_PULSE, _BEFORE = 768, 200  # length of a pulse's response and its part before glottal closure
_FADE = np.ones(_PULSE)
_FADE[:48] = 0.5 - 0.5 * np.cos(np.pi * np.arange(48) / 48)
_FADE[-96:] = 0.5 + 0.5 * np.cos(np.pi * np.arange(96) / 96)


@dataclass
class Tract:
    """A speaker's vocal tract: what no phoneme changes."""

    scale: float
    """Formants relative to an adult man's"""
    bandwidth: float = 1.0
    """Bandwidths relative to the usual"""


@dataclass
class Controls:
    """What moves while speaking: one row per control frame of HOP samples."""

    f0: Array
    """(T,) in Hz"""
    voice: Array
    """(T,) amplitude of the glottal pulses"""
    breath: Array
    """(T,) amplitude of noise at the glottis"""
    noise: Array
    """(T, shapes) amplitude of noise in the mouth"""
    formants: Array
    """(T, 3) in Hz, already scaled to the speaker"""
    nasal: Array
    """(T,) 0 = closed velum, 1 = open"""
    tilt: Array
    """(T,) loss of the source at 3 kHz in dB"""
    open_quotient: Array
    """(T,) open part of the glottal period"""
    jitter: float
    """Standard deviation of a pulse's time, in periods"""
    shimmer: float
    """Standard deviation of a pulse's amplitude, in dB"""


def speak(controls: Controls, tract: Tract, rng: np.random.RandomState) -> Array:
    """Return the waveform, (T * HOP,) samples at RATE; sounds alike for equal `rng` states."""
    phase = np.cumsum(_at_samples(controls.f0)) / RATE
    return (
        _voiced(controls, tract, phase, rng)
        + _aspiration(controls, tract, phase, rng)
        + _frication(controls, rng)
    )


def _voiced(controls: Controls, tract: Tract, phase: Array, rng: np.random.RandomState) -> Array:
    samples = len(phase)
    times = np.interp(np.arange(1.0, phase[-1]), phase, np.arange(samples))
    deviations = rng.standard_normal((2, len(times)))  # drawn for all: equal however few sound
    f0 = _at(controls.f0, times)
    amplitude = _at(controls.voice, times) * 10 ** (controls.shimmer * deviations[0] / 20)
    times = times + controls.jitter * deviations[1] * RATE / f0
    sounding = amplitude > 1e-3
    times, f0, amplitude = times[sounding], f0[sounding], amplitude[sounding]
    starts = np.floor(times).astype(int)
    source = _glottis(
        f0, _at(controls.open_quotient, times), _at(controls.tilt, times), times - starts
    )
    spectra = source * _transfer(controls, tract, times, _PULSE)
    pulses = np.fft.irfft(spectra, _PULSE, axis=1) * (amplitude[:, None] * _FADE)
    out = np.zeros(samples + 2 * _PULSE)
    for start, pulse in zip(starts, pulses, strict=True):
        begin = max(0, start - _BEFORE + _PULSE)
        out[begin : begin + _PULSE] += pulse
    return out[_PULSE : _PULSE + samples]


def _glottis(f0: Array, open_quotient: Array, tilt: Array, delay: Array) -> Array:
    """Return spectra (pulses, bins) of the flow derivative, closure `_BEFORE` + delay samples in.

    Two poles outside the unit circle make the glottal formant, a causal one the spectral tilt;
    the jump at closure has unit height whatever the quotient.
    """
    omega = 2 * np.pi * np.fft.rfftfreq(_PULSE, 1 / RATE)
    opening = open_quotient / f0
    decay, turn = np.pi / (opening * np.tan(0.3 * np.pi)), np.pi / opening  # asymmetry 0.7
    s = 1j * omega
    formant = s * RATE / ((s - decay[:, None]) ** 2 + turn[:, None] ** 2)
    corner = 3000 / np.sqrt(10 ** (np.maximum(tilt, 0.5) / 10) - 1)
    lag = np.exp(-s * ((delay + _BEFORE) / RATE)[:, None])
    return formant * lag / (1 + s / (2 * np.pi * corner[:, None]))


def _transfer(controls: Controls, tract: Tract, times: Array, size: int) -> Array:
    """Return the vocal tract's response (len(times), size // 2 + 1) at times given in samples."""
    z1 = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    fixed = np.ones_like(z1)
    for number in range(4, 9):  # higher formants of a tube as long as this speaker's
        centre = (1000 * number - 500) * tract.scale
        if centre < 0.47 * RATE:
            fixed *= _resonator(centre, tract.bandwidth * (60 + 0.06 * centre), z1)
    response = np.broadcast_to(fixed, (len(times), len(z1)))
    widths = tract.bandwidth * np.array([80.0, 100.0, 150.0])
    for column, width in enumerate(widths):
        response = response * _resonator(_at(controls.formants[:, column], times), width, z1)
    nasal = _at(controls.nasal, times)
    if nasal.any():
        rows = nasal > 0.01
        pole = _resonator(270.0 * tract.scale, 100.0, z1)
        zero = _resonator((270.0 + 330.0 * nasal[rows]) * tract.scale, 100.0, z1)
        response[rows] *= pole / zero
    return response


def _resonator(centre: Array | float, width: float, z1: Array) -> Array:
    """Return a two-pole resonance with unit gain at 0 Hz: (len(centre), bins), or (bins,)."""
    radius = np.exp(-np.pi * width / RATE)
    first = 2 * radius * np.cos(2 * np.pi * np.asarray(centre) / RATE)[..., None]
    second = radius * radius
    return (1 - first + second) / (1 - first * z1 + second * z1 * z1)


def _aspiration(
    controls: Controls, tract: Tract, phase: Array, rng: np.random.RandomState
) -> Array:
    """Breath noise through the vocal tract, strongest while the glottis is open."""
    noise = rng.standard_normal(len(phase))
    voiced = np.minimum(_at_samples(controls.voice), 1.0)
    noise *= _at_samples(controls.breath) * (1 - 0.5 * voiced * np.cos(2 * np.pi * phase))
    window, size = 4 * HOP, 512
    frames = _frames(noise, window, HOP)
    times = np.arange(len(frames)) * float(HOP)
    response = _transfer(controls, tract, times, size)
    return _overlap_add(np.fft.irfft(np.fft.rfft(frames, size) * response, size), window, HOP)[
        : len(phase)
    ]


def _frication(controls: Controls, rng: np.random.RandomState) -> Array:
    """Noise of fricatives and bursts, with short windows so that a burst stays sharp."""
    samples = len(controls.f0) * HOP
    noise = rng.standard_normal(samples)
    hop = HOP // 2
    window, size = 4 * hop, 256
    frames = _frames(noise, window, hop)
    times = np.arange(len(frames)) * float(hop)
    amplitudes = np.stack([_at(column, times) for column in controls.noise.T], axis=1)
    response = amplitudes @ _SHAPE_SPECTRA
    spread = np.fft.irfft(np.fft.rfft(frames, size) * response, size)
    # a magnitude alone is centred on 0: turn the early half back to the front
    return _overlap_add(np.roll(spread, 48, axis=1), window, hop, early=48)[:samples]


def _shape_spectra(size: int = 256) -> Array:
    hertz = np.fft.rfftfreq(size, 1 / RATE)
    return np.array([
        sum(gain * np.exp(-0.5 * ((hertz - centre) / width) ** 2) for centre, width, gain in bands)
        for bands in SHAPES.values()
    ])  # fmt: skip


_SHAPE_SPECTRA = _shape_spectra()


def _frames(signal: Array, window: int, hop: int) -> Array:
    """Cut into Hann windows (frames, window); frame k is centred on sample k * hop."""
    padded = np.pad(signal, (window // 2, window))
    taper = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)) / 2  # sums to 1 at 75 %
    count = len(signal) // hop + 1
    return np.lib.stride_tricks.sliding_window_view(padded, window)[: count * hop : hop] * taper


def _overlap_add(frames: Array, window: int, hop: int, early: int = 0) -> Array:
    """Undo `_frames` for frames that a filter made longer and `early` samples earlier."""
    count, size = frames.shape
    blocks = -(-size // hop)
    frames = np.pad(frames, ((0, 0), (0, blocks * hop - size))).reshape(count, blocks, hop)
    out = np.zeros((count + blocks, hop))
    for block in range(blocks):
        out[block : block + count] += frames[:, block]
    return out.reshape(-1)[window // 2 + early :]


def _at(track: Array, times: Array) -> Array:
    """Read a control track at times given in samples."""
    return np.interp(times, np.arange(len(track)) * float(HOP), track)


def _at_samples(track: Array) -> Array:
    return _at(track, np.arange(len(track) * float(HOP)))
