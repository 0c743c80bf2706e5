"""Imitations of eight more releases; see trees.py, whose sounds and traps they share.

Every builder takes a folder and how a file is written, and returns the stems it wrote. Called
with nothing else it builds all of the release, without the audio that it cannot imitate.
"""

from __future__ import annotations

import csv
import functools
import itertools
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from trees import aiff_inside, litter, name_only, second_copy, sound, with_chunk

SAVEE_SPEAKERS = ("DC", "JE", "JK", "KL")
SAVEE = {"a": 15, "d": 15, "f": 15, "h": 15, "n": 30, "sa": 15, "su": 15}


def savee(root: Path, speakers: Iterable[str] = SAVEE_SPEAKERS,
          table: Mapping[str, int] = SAVEE, flat: bool = False, write=sound,
          extension: str = ".wav") -> list[str]:
    """Build `AudioData/DC/a01.wav` as the release has it, or flat `ALL/DC_a01.wav`."""
    names = []
    for speaker in speakers:
        for letters, number in table.items():
            for index in range(1, number + 1):
                stem = f"{letters}{index:02d}"
                names.append(f"{speaker}_{stem}")
                place = f"ALL/{speaker}_{stem}" if flat else f"AudioData/{speaker}/{stem}"
                write(root / f"{place}{extension}", rate=44100)
    (root / "Info.txt").write_text("recorded at 44.1 kHz\n", encoding="utf-8")
    return names


AESDD_FOLDERS = {"a": "anger", "d": "disgust", "f": "fear", "h": "happiness", "s": "sadness"}
AESDD = {"a": 121, "d": 122, "f": 120, "h": 119, "s": 122}


def aesdd(root: Path, table: Mapping[str, int] = AESDD, speakers: int = 6, write=sound,
          extension: str = ".wav") -> list[str]:
    """Build five folders of names with blanks and brackets, `(01)` for one utterance each.

    Utterances beyond 20 of each speaker become second takes, as `(5)b` is in the release;
    `s05 (3)`, which is broken there, is not built.
    """
    stems = []
    for letter, number in table.items():
        names = [(utterance, speaker) for utterance in range(40) for speaker in range(speakers)
                 if (letter, utterance, speaker) != ("s", 4, 2)]
        for utterance, speaker in names[:number]:
            take = "b" if utterance >= 20 else ""
            shown = "01" if (utterance, speaker) == (2, 0) else f"{speaker + 1}"
            stem = f"{letter}{utterance % 20 + 1:02d} ({shown}){take}"
            write(root / AESDD_FOLDERS[letter] / f"{stem}{extension}", rate=44100)
            stems.append(stem)
    return stems


CAFE_FOLDERS = {"N": "Neutre", "C": "Colere", "D": "Degout", "J": "Joie", "P": "Peur",
                "S": "Surprise", "T": "Tristesse"}
CAFE_ACCENTS = {"Colere": b"Col\x8are", "Degout": b"D\x82go\x96t"}
"""As an archive in code page 850 comes out: bytes that are no UTF-8."""


def cafe(root: Path, speakers: Iterable[int] = range(1, 13), sentences: Iterable[int] = range(1, 7),
         write=sound, extension: str = ".wav") -> list[str]:
    """Build the folders of CaFE_48k; neutral lies in no folder of intensities."""
    stems = []
    for speaker, letter, sentence in itertools.product(speakers, CAFE_FOLDERS, sentences):
        for intensity, folder in ((1, "Faible"), (2, "Fort")):
            place = root / CAFE_FOLDERS[letter] / folder
            if letter == "N":
                place = place.parent
                if intensity == 2:
                    continue
            stem = f"{speaker:02d}-{letter}-{intensity}-{sentence}"
            write(place / f"{stem}{extension}", rate=48000)
            stems.append(stem)
    for plain, accented in CAFE_ACCENTS.items():
        (root / plain).rename(root / os.fsdecode(accented))
    return stems


EMOVO_SPEAKERS = ("f1", "f2", "f3", "m1", "m2", "m3")
EMOVO_SENTENCES = ("b1", "b2", "b3", "l1", "l2", "l3", "l4", "n1", "n2", "n3", "n4", "n5", "d1",
                   "d2")
EMOVO_WORDS = ("dis", "gio", "neu", "pau", "rab", "sor", "tri")


def emovo(root: Path, speakers: Iterable[str] = EMOVO_SPEAKERS,
          sentences: Iterable[str] = EMOVO_SENTENCES, write=sound,
          extension: str = ".wav") -> list[str]:
    """Build a folder per speaker."""
    stems = []
    for speaker, word, sentence in itertools.product(speakers, EMOVO_WORDS, sentences):
        stems.append(f"{word}-{speaker}-{sentence}")
        write(root / speaker / f"{stems[-1]}{extension}", rate=48000)
    return stems


SUBESCO_WORDS = ("ANGRY", "DISGUST", "FEAR", "HAPPY", "NEUTRAL", "SAD", "SURPRISE")


def subesco(root: Path, speakers: int = 10, sentences: int = 10, takes: int = 5, write=sound,
            extension: str = ".wav") -> list[str]:
    """Build one flat folder, `speakers` of each gender; one name ends in a stray bracket."""
    stems = []
    for gender, number, sentence, word, take in itertools.product(
        "FM", range(1, speakers + 1), range(1, sentences + 1), SUBESCO_WORDS, range(1, takes + 1)
    ):
        stem = f"{gender}_{number:02d}_NAME{'AB'[gender == 'M']}_S_{sentence}_{word}_{take}"
        stem += "]" * ((gender, number, sentence, word, take) == ("F", 2, 1, "SAD", 1))
        write(root / f"{stem}{extension}", rate=(44100, 48000)[take % 2])
        stems.append(stem)
    return stems


SHEMO = {"N": 1160, "A": 1042, "S": 362, "H": 203, "W": 201, "F": 32}
SHEMO_WOMEN = {"N": 400, "A": 433, "S": 224, "H": 113, "W": 82, "F": 11}
"""Files of each letter by women: only their sum, 1,263, is that of the release."""


def shemo(root: Path, table: Mapping[str, int] = SHEMO,
          women: Mapping[str, int] = SHEMO_WOMEN, speakers: tuple[int, int] = (31, 56),
          write=sound, extension: str = ".wav") -> list[str]:
    """Build `female` and `male`, and the table of transcripts, which lacks the last one."""
    stems = []
    for letter, number in table.items():
        shares = {"F": women[letter], "M": number - women[letter]}
        for (gender, share), people in zip(shares.items(), speakers, strict=True):
            for index in range(share):
                take, person = divmod(index, people)
                stem = f"{gender}{person + 1:02d}{letter}{take + 1:02d}"
                folder = {"F": "female", "M": "male"}[gender]
                write(root / folder / f"{stem}{extension}", rate=(44100, 22050)[index % 2])
                stems.append(stem)
    texts = {stem: {"speaker_id": stem[:3], "transcript": f" متن {stem} "} for stem in stems[:-1]}
    (root / "shemo.json").write_text(json.dumps(texts), encoding="utf-8")
    return stems


RESD_WORDS = {"n": "neutral", "h": "happiness", "e": "enthusiasm", "s": "sadness", "a": "anger",
              "f": "fear", "d": "disgust"}
RESD = {"n": 191, "h": 218, "e": 198, "s": 162, "a": 219, "f": 223, "d": 185}


def resd(root: Path, table: Mapping[str, int] = RESD, dialogues: int = 50, test: int = 280,
         write=sound, extension: str = ".wav", tables: bool = True) -> list[str]:
    """Build `train` and `test`, `test` turns in the second, and their tables.

    The first ten dialogues have a blank before the letter, their number before the folder's name,
    and the emotions of the folder in the other order, as the release has it.
    """
    letters = [letter for letter, number in table.items() for _ in range(number)]
    turns = [(letter, index % dialogues + 1, index // dialogues)
             for index, letter in enumerate(letters)]
    stems, rows = [], {"train": [], "test": []}
    for index, (letter, dialogue, turn) in enumerate(turns):
        part = "test" if index * test % len(turns) < test else "train"
        word, other = RESD_WORDS[letter], "fear" if letter != "f" else "anger"
        blank = dialogue <= 10
        folder = f"{dialogue:02d}_{other}_{word}" if blank else f"{word}_{other}_{dialogue:02d}"
        stem = f"{dialogue:02d}_{word}_{other}{'_ '[blank]}{letter}_{turn:02d}0"
        write(root / part / folder / f"{stem}{extension}", rate=(44100, 16000)[turn % 2])
        row = {"path": f"{folder}/{stem}.wav", "emotion": word, "text": f"фраза {turn}"}
        rows[part].append(row)
        stems.append(stem)
    for part in rows if tables else ():
        with open(root / f"{part}.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["path", "emotion", "text"])
            writer.writeheader()
            writer.writerows(rows[part])
    return stems


M3ED_WORDS = ("Neutral", "Happy", "Sad", "Anger", "Fear", "Disgust", "Surprise")
M3ED_SERIES = {"train": ("anjia", "fendou"), "val": ("humamaoba",), "test": ("huanlesong",)}


def m3ed(root: Path, series: Mapping[str, Iterable[str]] = M3ED_SERIES, dialogues: int = 2,
         each: int = 1, write=sound, extension: str = ".wav") -> list[str]:
    """Build annotation.json, the lists of series and the audio of two speakers in turn.

    Names and letters change sides from dialogue to dialogue, one name has a blank in front, and
    the lists have no line end behind the last series, all as in the release.
    """
    stems, annotation = [], {}
    for part, names in series.items():
        lists = root / "splitInfo"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"movie_list_{part}.txt").write_text("\n".join(names), encoding="utf-8")
        for name in names:
            annotation[name] = {}
            for dialogue in range(1, dialogues + 1):
                people = [{"Name": " 骆玉珠", "Age": "mid", "Gender": "female", "OtherName": []},
                          {"Name": "P1", "Age": "young", "Gender": "male", "OtherName": []}]
                info = dict(zip("AB", people[:: (1, -1)[dialogue % 2 - 1]], strict=True))
                turns = {}
                for index, word in enumerate(M3ED_WORDS * each):
                    letter = "AB"[index % 2]
                    utterance = f"{name}_{dialogue}_{index + 1}"
                    turns[utterance] = {
                        "StartTime": "00:00:00:01", "EndTime": "00:00:01:04",
                        "Text": f" 第{index + 1}句 ", "Speaker": letter,
                        "EmoAnnotation": {"EmoAnnotator1": word, "final_main_emo": word,
                                          "final_mul_emo": f"{word},Neutral"}}
                    stems.append(f"{letter}_{utterance}")
                    write(root / "modality_speech" / f"{stems[-1]}{extension}", rate=16000)
                annotation[name][f"{name}_{dialogue}"] = {"SpeakerInfo": info, "Dialog": turns}
    text = json.dumps(annotation, ensure_ascii=False)
    (root / "annotation.json").write_text(text, encoding="utf-8")
    return stems


# ------------------------------------------------------------- what the common tests look at

ONE_EACH = dict.fromkeys(RESD_WORDS, 1)
SMALL = {  # corpus -> builder of a few files, whose stems name the utterances
    "savee": lambda root, **how: savee(
        root, ("DC", "KL"), {"a": 2, "sa": 1, "su": 1}, flat=True, **how),
    "aesdd": lambda root, **how: aesdd(root, dict.fromkeys("adfhs", 3), 2, **how),
    "cafe": lambda root, **how: cafe(root, (1, 12), (1,), **how),
    "emovo": lambda root, **how: emovo(root, ("f1", "m3"), ("b1",), **how),
    "subesco": lambda root, **how: subesco(root, 2, 1, 1, **how),
    "shemo": lambda root, **how: shemo(
        root, dict.fromkeys(SHEMO, 2), dict.fromkeys(SHEMO, 1), (1, 1), **how),
    "resd": lambda root, **how: resd(root, ONE_EACH, 12, 2, **how),
}
RELEASES = [(name, "corpus.yaml", build) for name, build in {
    "savee": functools.partial(savee, flat=True), "aesdd": aesdd, "cafe": cafe, "emovo": emovo,
    "subesco": subesco, "shemo": shemo, "resd": resd}.items()]
"""Recipe, corpus block and builder of the whole release."""

longer = functools.partial(sound, seconds=0.4)


def messy(root: Path) -> None:
    """Spoil a release in ways that a recipe must bear: stereo, AIFF inside, chunks, litter."""
    stereo, aiff, chunk = [path for path in sorted(root.rglob("*.wav")) if str(path).isascii()][:3]
    longer(stereo, rate=22050, channels=2)
    aiff_inside(aiff)
    with_chunk(chunk)
    litter(stereo.parent)
    second_copy(root, "once more")


def _savee(root: Path) -> None:
    """Build the official layout, in which files of equal names must not sound alike."""
    def write(path: Path, **how) -> None:
        longer(path.with_name(f"{path.parent.name}_{path.name}"), **how).rename(path)

    savee(root, SAVEE_SPEAKERS, dict.fromkeys(SAVEE, 1), write=write)


def _aesdd_with_its_broken_file(root: Path) -> None:
    aesdd(root, dict.fromkeys("adfhs", 4), 4, longer)
    name_only(root / "sadness" / "s05 (3).wav")


RUNS = {  # corpus -> builder of what a whole run in small form needs
    "savee": _savee,
    "aesdd": _aesdd_with_its_broken_file,
    "cafe": lambda root: cafe(root, (1, 2, 3, 4), (1,), longer),
    "emovo": lambda root: emovo(root, ("f1", "f2", "m1"), ("b1",), longer),
    "subesco": lambda root: subesco(root, 10, 1, 1, longer),
    "shemo": lambda root: shemo(
        root, dict.fromkeys(SHEMO, 6), dict.fromkeys(SHEMO, 3), (3, 3), longer),
    "resd": lambda root: resd(root, dict.fromkeys(RESD, 12), 5, 14, longer),
    "m3ed": lambda root: m3ed(root, write=longer),
}


def run(corpus: str, root: Path) -> None:
    """Build what a whole run of a recipe needs, with everything that may be wrong about it."""
    RUNS[corpus](root)
    messy(root)


FOR_RUNS = {corpus: functools.partial(run, corpus) for corpus in RUNS}
