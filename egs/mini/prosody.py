"""Who says it and how: the speakers, and what an emotion does to their manner of speaking."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from voice import Tract

EMOTIONS = ("neutral", "happy", "sad", "angry")


@dataclass(frozen=True)
class Manner:
    """A manner of speaking, as differences from the speaker's ordinary one."""

    pitch: float = 0.0
    """Level of F0 in semitones"""
    melody: float = 0.0
    """Size of accents and of the fall over the sentence: natural logarithm of a factor"""
    rate: float = 0.0
    """Natural logarithm of a factor on the tempo"""
    level: float = 0.0
    """dB"""
    tilt: float = 0.0
    """Loss at 3 kHz in dB: less is brighter"""
    open_quotient: float = 0.0
    """More is laxer"""
    breath: float = 0.0
    """Aspiration in dB"""
    jitter: float = 0.0
    """Standard deviation in % of a period"""
    ending: float = 0.0
    """Movement of F0 at the end in semitones"""
    smile: float = 0.0
    """Natural logarithm of a factor on the formants"""
    attack: float = 0.0
    """Loudness of stressed syllables in dB"""


# At full intensity. Happy and angry are meant to be near each other, as they are in real voices.
MANNERS = {
    "neutral": Manner(pitch=0.7, melody=0.15, rate=0.04, level=1.0, tilt=-1.0),
    "happy": Manner(pitch=5.2, melody=0.7, rate=0.12, level=5.0, tilt=-3.0, open_quotient=-0.03,
                    ending=3.0, smile=0.055, attack=0.5, jitter=-0.1),
    "sad": Manner(pitch=-2.4, melody=-0.8, rate=-0.24, level=-4.5, tilt=5.5, open_quotient=0.1,
                  breath=8.0, ending=-0.5, jitter=0.5, attack=-1.0),
    "angry": Manner(pitch=3.4, melody=0.45, rate=0.14, level=7.0, tilt=-7.5, open_quotient=-0.14,
                    breath=-2.0, ending=-3.5, smile=-0.025, attack=3.5, jitter=1.0),
}  # fmt: skip

# How much a manner differs between utterances of one emotion, and between speakers.
VARIATION = Manner(pitch=1.1, melody=0.2, rate=0.06, level=2.5, tilt=1.6, open_quotient=0.03,
                   breath=2.2, ending=1.2, smile=0.016, attack=0.8, jitter=0.2)  # fmt: skip

# Emotion -> what a listener would say of arousal, valence, dominance at full intensity.
RATINGS = {
    "neutral": (0.8, 0.0, 0.0), "happy": (2.3, 1.0, 1.0),
    "sad": (-2.2, -1.2, -1.8), "angry": (2.5, -1.0, 2.2),
}  # fmt: skip
WORDING = 1.5
"""What the words alone add to or take from valence."""


@dataclass(frozen=True)
class Speaker:
    """A person with a voice, a habit of speaking and a place to record in."""

    name: str
    gender: str
    session: int
    f0: float
    """Ordinary F0 in Hz"""
    tract: Tract
    habit: Manner
    """This speaker's own lasting deviations"""
    expressive: float
    """How strongly emotions show"""
    room: float
    """Level of the background noise in dB of full scale"""


def speaker(number: int, rng: np.random.RandomState) -> Speaker:
    """Make speaker `number` (from 0): female and male in turn, each such pair one session."""
    female = number % 2 == 0
    place = (0.3 + number // 2 * 0.6180339887) % 1.0  # spreads evenly for any number of speakers
    f0 = (172 + 56 * place) if female else (92 + 46 * place)
    length = (place * 3.7) % 1.0
    scale = 1.11 + 0.09 * length if female else 0.95 + 0.08 * length
    return Speaker(
        name=f"{'f' if female else 'm'}{number // 2 + 1:02d}",
        gender="female" if female else "male",
        session=number // 2 + 1,
        f0=float(f0),
        tract=Tract(scale=float(scale), bandwidth=float(rng.uniform(0.9, 1.15))),
        habit=_deviation(rng, 0.7),
        expressive=float(rng.uniform(0.8, 1.15)),
        room=float(rng.uniform(-72, -62)),
    )


def draw_intensity(rng: np.random.RandomState) -> float:
    """Draw how intensely an emotion is felt, 0.5..1, with the two decimals that are published."""
    return round(float(rng.uniform(0.5, 1.0)), 2)


def rate_emotion(
    emotion: str, intensity: float, wording: int, rng: np.random.RandomState
) -> tuple[float, float, float]:
    """Return arousal, valence and dominance on a scale of 1..7 as one listener gives them."""
    # neutral speech is as often livelier than its mean as it is calmer
    strength = intensity if emotion != "neutral" else intensity - 0.75
    moved = 4.0 + strength * np.array(RATINGS[emotion]) + [0.0, WORDING * wording, 0.0]
    rated = np.clip(moved + 0.25 * rng.standard_normal(3), 1.0, 7.0)
    arousal, valence, dominance = (round(float(value), 2) for value in rated)
    return arousal, valence, dominance


def manner(emotion: str, intensity: float, who: Speaker, rng: np.random.RandomState) -> Manner:
    """Return how `who` speaks one utterance."""
    strength = (intensity if emotion != "neutral" else intensity - 0.75) * who.expressive
    chance = _deviation(rng, 0.85)
    return Manner(*(
        strength * getattr(MANNERS[emotion], item.name)
        + getattr(who.habit, item.name)
        + getattr(chance, item.name)
        for item in fields(Manner)
    ))  # fmt: skip


def _deviation(rng: np.random.RandomState, factor: float) -> Manner:
    spread = np.array([getattr(VARIATION, item.name) for item in fields(Manner)])
    return Manner(*(factor * spread * rng.standard_normal(len(spread))).tolist())
