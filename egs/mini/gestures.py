"""From a sentence and a manner of speaking to the moving controls of the voice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from prosody import Manner, Speaker
from script import SHAPES, Segment, segments
from voice import HOP, RATE, Array, Controls

_RATE = RATE / HOP  # control frames per second


@dataclass
class _Clock:
    """Which phoneme sounds at which control frame."""

    parts: list[Segment]
    starts: Array  # (parts,) seconds
    ends: Array  # (parts,) seconds
    time: Array  # (T,) seconds
    which: np.ndarray  # (T,) index of the part
    inside: Array  # (T,) 1 between the first and the last phoneme, else 0

    def track(self, values, smooth: float) -> Array:
        """Lay one value, or one row, per part over time: (T,) or (T, columns)."""
        steps = (np.array(values, dtype=float).T[..., self.which] * self.inside).T
        return _smooth(steps, smooth)


def controls(sentence: str, how: Manner, who: Speaker, rng: np.random.RandomState) -> Controls:
    """Return the tracks that make `who` say `sentence` in the manner `how`."""
    clock = _clock(segments(sentence), how, rng)
    phones = [part.phone for part in clock.parts]
    stress = _stress(clock)
    loud = 0.042 * 10 ** ((how.level + how.attack * (2 * stress - 0.6)) / 20)
    voice = clock.track([phone.voice for phone in phones], 0.03)
    breathy = 0.02 * 10 ** (how.breath / 20)
    noise = clock.track([[phone.noise.get(s, 0.0) for s in SHAPES] for phone in phones], 0.012)
    muffled = clock.track([phone.muffled for phone in phones], 0.03)
    rough = max(0.6 + how.jitter, 0.2)
    return Controls(
        f0=_melody(clock, stress, how, who, rng),
        voice=loud * voice,
        breath=loud * (clock.track([phone.breath for phone in phones], 0.03) + breathy * voice),
        noise=1.0 * (0.06 * loud**2)[:, None] ** (1 / 3) * noise,  # rises less than the voice does
        formants=_formants(clock, who.tract.scale * np.exp(how.smile)),
        nasal=clock.track([phone.nasal for phone in phones], 0.04),
        tilt=np.maximum(11.0 + how.tilt - 2.0 * stress + muffled, 1.0),
        open_quotient=np.full(len(stress), np.clip(0.6 + how.open_quotient, 0.35, 0.85)),
        jitter=rough / 100,
        shimmer=0.3 + 0.3 * rough,
    )


def _clock(parts: list[Segment], how: Manner, rng: np.random.RandomState) -> _Clock:
    spoken = np.array([part.seconds for part in parts]) * np.exp(-how.rate)
    spoken = spoken * np.exp(0.08 * rng.standard_normal(len(parts)))
    before, after = 0.12 + 0.08 * rng.random_sample(2)
    ends = before + np.cumsum(spoken)
    time = np.arange(int(np.ceil((ends[-1] + after) * _RATE))) / _RATE
    which = np.minimum(np.searchsorted(ends, time, side="right"), len(parts) - 1)
    inside = ((time >= before) & (time < ends[-1])).astype(float)
    return _Clock(parts, ends - spoken, ends, time, which, inside)


def _stress(clock: _Clock) -> Array:
    """Return 0..1: how near a stressed vowel is, as a bump a little wider than the vowel."""
    bumps = np.zeros(len(clock.time))
    for part, start, end in zip(clock.parts, clock.starts, clock.ends, strict=True):
        if part.stressed and part.phone.vowel:
            distance = (clock.time - (start + end) / 2) / (0.12 + 0.6 * (end - start))
            bumps = np.maximum(bumps, np.cos(np.clip(distance, -1, 1) * np.pi / 2) ** 2)
    return bumps


def _melody(
    clock: _Clock, stress: Array, how: Manner, who: Speaker, rng: np.random.RandomState
) -> Array:
    """Return F0 in Hz: a falling line, an accent on every stressed vowel, an ending, unrest."""
    begin, end = clock.starts[0], clock.ends[-1]
    gone = np.clip((clock.time - begin) / (end - begin), 0.0, 1.0)
    size = np.exp(how.melody)
    weights = 1 + 0.3 * rng.standard_normal(8)  # no two accents are alike
    accents = stress * np.interp(gone, np.linspace(0, 1, 8), weights)
    ending = (how.ending - 1.5) * np.clip((clock.time - end + 0.35) / 0.35, 0.0, 1.0)
    unrest = 0.5 * _smooth(rng.standard_normal(len(clock.time)), 0.12) * np.sqrt(12)
    semitones = how.pitch + size * (1.2 - 2.6 * gone + 2.6 * accents) + ending + 0.25 * unrest
    # a voice creaks rather than go on falling, and does not reach the whistle register
    return np.clip(who.f0 * 2 ** (semitones / 12), 0.6 * who.f0, 2.6 * who.f0)


def _formants(clock: _Clock, scale: float) -> Array:
    """Return F1 to F3 in Hz, (T, 3); neighbours reach into each other, as they do in speech."""
    begin = np.array([part.phone.formants for part in clock.parts], dtype=float)
    finish = np.array([part.phone.glide or part.phone.formants for part in clock.parts])
    length = clock.ends - clock.starts
    done = (clock.time - clock.starts[clock.which]) / length[clock.which]
    done = np.clip(1.4 * done - 0.2, 0.0, 1.0)[:, None]
    target = begin[clock.which] * (1 - done) + finish[clock.which] * done
    return scale * _smooth(target, 0.07)


def _smooth(track: Array, seconds: float) -> Array:
    """Average over time with a Hann window `seconds` long: (T,) or (T, columns)."""
    half = max(1, round(seconds * _RATE / 2))
    window = np.hanning(2 * half + 1)[1:-1] if half > 1 else np.ones(1)
    window = window / window.sum()
    reach = len(window) // 2
    padded = np.pad(track, [(reach, reach)] + [(0, 0)] * (track.ndim - 1), mode="edge")
    view = np.lib.stride_tricks.sliding_window_view(padded, len(window), axis=0)
    return view @ window
