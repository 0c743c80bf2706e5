"""Which utterances there are, what their labels are, and what they sound like.

Every utterance follows from the seed and its id alone, so a small release is a part of a large
one. Random numbers come from numpy's RandomState, whose streams are frozen for good.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from gestures import controls
from prosody import EMOTIONS, Speaker, draw_intensity, manner, rate_emotion, speaker
from script import SENTENCES
from voice import speak

_SLOTS = "nvnnvnvnnv"  # n: wording without valence, the same for every emotion; v: with valence
_WORDINGS = {"neutral": "pupu", "happy": "pppu", "sad": "uuup", "angry": "uuup"}


@dataclass(frozen=True)
class Row:
    """One line of metadata.csv."""

    id: str
    file: str
    label: str
    speaker: str
    gender: str
    session: int
    text: str
    arousal: float
    valence: float
    dominance: float
    intensity: float
    split: str


def cast(number: int, seed: int) -> Speaker:
    """Return speaker `number`, from 0."""
    return speaker(number, _random(seed, f"speaker {number}"))


def plan(number: int, speakers: int, utterances: int, seed: int) -> Iterator[Row]:
    """Yield what speaker `number` of `speakers` says, `utterances` per emotion, with its labels."""
    who = cast(number, seed)
    for emotion in EMOTIONS:
        takes: Counter[str] = Counter()
        for sentence in _sentences(emotion, number, utterances):
            takes[sentence] += 1
            stem = f"{who.name}_{emotion}_{sentence}_{takes[sentence]}"
            rng = _random(seed, f"labels {stem}")
            intensity = draw_intensity(rng)
            wording, text, _ = SENTENCES[sentence]
            ratings = rate_emotion(emotion, intensity, wording, rng)
            yield Row(
                stem, f"wav/{who.name}/{stem}.wav", emotion, who.name, who.gender, who.session,
                text, *ratings, intensity, _split(who.session, (speakers + 1) // 2),
            )  # fmt: skip


def render(row: Row, who: Speaker, seed: int) -> np.ndarray:
    """Return the samples of one utterance as they are written: (samples,) int16."""
    rng = _random(seed, f"voice {row.id}")
    how = manner(row.label, row.intensity, who, rng)
    sentence = row.id.split("_")[2]
    wave = speak(controls(sentence, how, who, rng), who.tract, rng)
    hiss = rng.standard_normal(len(wave) + 1)
    wave = wave + 10 ** (who.room / 20) * (hiss[1:] + hiss[:-1]) / 2
    return np.round(32767 * np.clip(wave, -1.0, 1.0)).astype(np.int16)


def _sentences(emotion: str, number: int, utterances: int) -> Iterator[str]:
    kinds: Counter[str] = Counter()
    for slot in range(utterances):
        kind = _SLOTS[slot % len(_SLOTS)]
        turn = kinds[kind]
        kinds[kind] += 1
        if kind == "v":
            kind = _WORDINGS[emotion][turn % 4]
        among = sum(name.startswith(kind) for name in SENTENCES)
        yield f"{kind}{(number + turn) % among + 1:02d}"


def _split(session: int, sessions: int) -> str:
    """The last session is the test part, the one before the dev part."""
    if session == sessions and sessions > 1:
        return "test"
    return "dev" if session == sessions - 1 and sessions > 2 else "train"


def _random(seed: int, name: str) -> np.random.RandomState:
    """Return the generator of one thing, whatever else is drawn."""
    digest = hashlib.sha256(f"mini {seed} {name}".encode()).digest()
    return np.random.RandomState(np.frombuffer(digest, dtype="<u4"))
