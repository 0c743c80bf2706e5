"""Imitations of TESS, CASIA, JL-Corpus, EmoV-DB, MESD, Polish, TurEV-DB and eNTERFACE'05.

See trees.py, whose sounds and traps they share. Builders return the stems they wrote, or for
corpora whose stems recur the names that their utterances get.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path

from trees import litter, second_copy, sound

longer = functools.partial(sound, seconds=0.4)


def apart(path: Path, name: str, write, **how) -> None:
    """Write a file whose name recurs elsewhere, so that it sounds like no other one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path.with_name(f"{name}{path.suffix}"), **how).rename(path)


# -------------------------------------------------------------------------------------- TESS

TESS = {"OAF": {"angry": "angry", "disgust": "disgust", "Fear": "fear", "happy": "happy",
                "neutral": "neutral", "Pleasant_surprise": "ps", "Sad": "sad"},
        "YAF": {"angry": "angry", "disgust": "disgust", "fear": "fear", "happy": "happy",
                "neutral": "neutral", "pleasant_surprised": "ps", "sad": "sad"}}  # fmt: skip
"""Folders of each speaker, spelled as in the release."""
TESS_WORDS = ("bite", "back", "food",
              *map("".join, itertools.product("bdfgk", "aeiou", "lmnpqrst")))[:200]


def tess(root: Path, words: int = 200, write=sound, extension: str = ".wav",
         flat: bool = False) -> list[str]:
    """Build folders of speaker and emotion, or none; `bite` lacks a letter once, as there."""
    stems = []
    for speaker, folders in TESS.items():
        for (folder, emotion), word in itertools.product(folders.items(), TESS_WORDS[:words]):
            stem = f"{speaker}_{word}_{emotion}".replace("OAF_bite_neutral", "OA_bite_neutral")
            place = root if flat else root / f"{speaker}_{folder}"
            write(place / f"{stem}{extension}",
                  rate=96000 if stem == "OAF_food_fear" else 24414)
            stems.append(stem)
    return stems


# ------------------------------------------------------------------------------------- CASIA

CASIA_SPEAKERS = ("liuchanhg", "wangzhe", "zhaoquanyin", "zhaozuoxiang")
CASIA_WORDS = ("angry", "fear", "happy", "neutral", "sad", "surprise")


def casia(root: Path, each: int = 50, write=sound, extension: str = ".wav",
          spelled: Mapping[str, str] = {}) -> list[str]:  # noqa: B006
    """Build the part in circulation; `spelled` has other spellings of the speakers' folders."""
    names = []
    for speaker, word, number in itertools.product(CASIA_SPEAKERS, CASIA_WORDS,
                                                   range(201, 201 + each)):
        names.append(f"{number}-{speaker}-{word}")
        path = root / spelled.get(speaker, speaker) / word / f"{number}{extension}"
        apart(path, names[-1], write, rate=16000)
    return names


# --------------------------------------------------------------------------------- JL-Corpus

JL_SPEAKERS = ("female1", "female2", "male1", "male2")
JL_WORDS = ("angry", "anxious", "apologetic", "assertive", "concerned", "encouraging", "excited",
            "happy", "neutral", "sad")
JL_FOLDER = "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)"


def jl_corpus(root: Path, speakers: Iterable[str] = JL_SPEAKERS, sentences: int = 15, write=sound,
              extension: str = ".wav") -> list[str]:
    """Build the raw recordings with their texts."""
    stems = []
    for speaker, word, number, letter, take in itertools.product(
            speakers, JL_WORDS, range(1, sentences + 1), "ab", "12"):
        stems.append(f"{speaker}_{word}_{number}{letter}_{take}")
        write(root / JL_FOLDER / f"{stems[-1]}{extension}", rate=44100)
        text = root / JL_FOLDER / f"{stems[-1]}.txt"
        text.write_text(f"Sentence {number}{letter}.\n", encoding="utf-8")
    return stems


# ----------------------------------------------------------------------------------- EmoV-DB

EMOV = {"bea": "Amused Angry Disgusted Neutral Sleepy", "josh": "Amused Neutral Sleepy",
        "jenie": "Amused Angry Disgusted Neutral Sleepy",
        "sam": "Amused Angry Disgusted Neutral Sleepy"}
EMOV_WORDS = {"Amused": "amused", "Angry": "anger", "Disgusted": "disgust", "Neutral": "neutral",
              "Sleepy": "sleepiness"}


def emov_db(root: Path, each: int = 2, write=sound, extension: str = ".wav",
            place: str = "{speaker}_{style}") -> list[str]:
    """Build the unpacked archives, `place` being where each of them lies."""
    names = []
    for speaker, styles in EMOV.items():
        for style, number in itertools.product(styles.split(), range(1, each + 1)):
            stem = f"{EMOV_WORDS[style]}_1-28_{number:04d}"
            names.append(f"{speaker}-{style}-{stem}")
            path = root / place.format(speaker=speaker, style=style) / f"{stem}{extension}"
            apart(path, names[-1], write, rate=44100 if speaker == "josh" else 16000)
    return names


# -------------------------------------------------------------------------------------- MESD

MESD_WORDS = ("Anger", "Disgust", "Fear", "Happiness", "Neutral", "Sadness")
MESD_SAID = ("basta_ya", "de_nada", "tarde", *(f"palabra{letter}" for letter in
                                               "abcdefghijklmnopqrstu"))
MESD_LACKS = ("Anger_C_B_palabrau", "Neutral_M_B_palabrau")
"""Two recordings that the release lacks; which ones they are is ours."""


def mesd(root: Path, words: int = 24, write=sound, extension: str = ".wav") -> list[str]:
    """Build one folder; list B has other words for every emotion there, here the same ones."""
    stems = [f"{word}_{voice}_{which}_{said}" for word, voice, which, said in itertools.product(
        MESD_WORDS, "FMC", "AB", MESD_SAID[:words])]
    stems = [stem for stem in stems if stem not in MESD_LACKS]
    for stem in stems:
        write(root / "Mexican Emotional Speech Database (MESD)" / f"{stem}{extension}", rate=48000)
    return stems


# ------------------------------------------------------------------------------------ Polish


def polish(root: Path, takes: int = 5, write=sound, extension: str = ".wav") -> list[str]:
    """Build one flat folder."""
    words = ("nie", "oddaj", "podaj", "stop", "tak", "trzymaj")
    stems = [f"m{speaker}.{letter}_{word}_{take}" for speaker, letter, word, take in
             itertools.product(range(1, 6), "ans", words, range(1, takes + 1))]
    for stem in stems:
        write(root / f"{stem}{extension}", rate=44100)
    return stems


# ---------------------------------------------------------------------------------- TurEV-DB

TUREV = {"Angry": ("kz", 487), "Calm": ("sk", 408), "Happy": ("mt", 357), "Sad": ("hl", 483)}
TUREV_SPEAKERS = ("1157", "1234", "1358", "1984", "6783", "7895")


def turev_db(root: Path, most: int = 487, write=sound, extension: str = ".wav") -> list[str]:
    """Build `Sound Source` with at most so many words of an emotion; speakers take turns."""
    stems = []
    for folder, (letters, number) in TUREV.items():
        for place in range(min(number, most)):
            speaker, word = TUREV_SPEAKERS[place % 6], TESS_WORDS[place // 6]
            stems.append(f"{speaker}_{letters}_{word}")
            write(root / "Sound Source" / folder / f"{stems[-1]}{extension}", rate=44100)
    return stems


# ------------------------------------------------------------------------------- eNTERFACE'05

ENTERFACE_WORDS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")


def enterface(root: Path, subjects: Iterable[int] = range(1, 45), sentences: int = 5, write=sound,
              extension: str = ".flac") -> list[str]:
    """Build the videos' places with all their slips, sound or whatever `write` writes in them.

    Subject 6 is uncut, 23 lacks three sentences, 11 has the names of 12, 2 has two of them swapped.
    """
    names = []
    for subject, word, number in itertools.product(subjects, ENTERFACE_WORDS,
                                                   range(1, sentences + 1)):
        stem, name = f"s{subject}_{word[:2]}_{number}", f"s{subject}_{word[:2]}_{number}"
        folder = root / f"subject {subject}" / word / f"sentence {number}"
        if subject == 6:
            if number == 1:
                apart(folder.parent / f"s6_{word[:2]}{extension}", f"s6_{word[:2]}", write)
            continue
        if subject == 23 and word == "happiness" and number <= 3:
            continue
        if subject == 11:
            stem = stem.replace("s11", "s12")
        if subject == 3 and word in ("happiness", "sadness", "surprise"):
            stem = stem.replace("s3", "s_3")
        if subject == 2 and word == "anger" and number <= 2:
            folder = folder.with_name(f"sentence {3 - number}")
        stem = stem.replace("s16_su_3", "s16_su_3avi")
        apart(folder / f"{stem}{extension}", name, write, rate=48000, channels=2)
        names.append(name)
    return names


# ------------------------------------------------------------- what the common tests look at

SMALL = {  # corpus -> builder of a few files, whose stems name the utterances
    "tess": lambda root, **how: tess(root, 2, **how),
    "jl_corpus": lambda root, **how: jl_corpus(root, ("female2", "male1"), 1, **how),
    "mesd": lambda root, **how: mesd(root, 2, **how),
    "polish": lambda root, **how: polish(root, 1, **how),
    "turev_db": lambda root, **how: turev_db(root, 3, **how),
}
RELEASES = [("tess", "corpus.yaml", tess), ("mesd", "corpus.yaml", mesd),
            ("jl_corpus", "corpus.yaml", jl_corpus), ("polish", "corpus.yaml", polish),
            ("turev_db", "corpus.yaml", turev_db)]
"""Recipe, corpus block and builder of the whole release."""


def _messy(build, **how):
    """Return a builder of a release long enough for every system, spoiled as downloads are."""
    def run(root: Path) -> None:
        build(root, write=longer, **how)
        litter(sorted(path.parent for path in root.rglob("*.wav"))[0])
        second_copy(root, "once more")
    return run


def _tess(root: Path) -> None:
    """Build a copy that nests everything once more, with AIFF inside of two files."""
    tess(root, 3, longer)
    for place in ("YAF_angry/YAF_back_angry.wav", "YAF_fear/YAF_back_fear.wav"):
        real = longer((root / place).with_suffix(".aiff"))
        real.replace(root / place)
    second_copy(root, "TESS Toronto emotional speech set data")


FOR_RUNS = {
    "tess": _tess,
    "casia": _messy(casia, each=1),
    "jl_corpus": _messy(jl_corpus, sentences=1),
    "emov_db": _messy(emov_db, each=2),
    "mesd": _messy(mesd, words=1),
    "polish": _messy(polish, takes=1),
    "turev_db": _messy(turev_db, most=12),
    "enterface": lambda root: enterface(root, (1, 2, 3, 6, 11, 12, 16, 23), 4, longer),
}
