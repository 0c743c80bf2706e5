"""Imitations of official releases: the right folders and names, synthetic tones for speech.

Each builder returns the stems it wrote, so that tests count against the tree and not against
the preparer. The second half plants what real downloads hold besides good files.
"""

from __future__ import annotations

import itertools
import shutil
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy
import soundfile

# ------------------------------------------------------------------------------------ audio


def sound(path: Path, rate: int = 16000, channels: int = 1, seconds: float = 0.15) -> Path:
    """Write a tone in noise; files of equal stems sound alike, as copies do, others do not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = numpy.random.default_rng(zlib.crc32(path.stem.encode()))
    time = numpy.arange(round(rate * seconds)) / rate
    tone = 0.1 * numpy.sin(2 * numpy.pi * generator.uniform(100, 400) * time)
    mono = tone + 0.01 * generator.standard_normal(len(time))
    soundfile.write(path, numpy.repeat(mono[:, None], channels, axis=1), rate,
                    format=path.suffix[1:].upper())
    return path


def name_only(path: Path, **_) -> Path:
    """Make an empty file, for tests that read names and no audio."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


# --------------------------------------------------------------------------------- releases

EMODB_LETTERS = "WLEAFTN"
EMODB = {  # files per speaker and letter in the release: 08 has no disgust, 03 and 10 one
    "03": (14, 5, 1, 4, 7, 7, 11), "08": (12, 10, 0, 6, 11, 9, 10), "09": (13, 4, 8, 1, 4, 4, 9),
    "10": (10, 8, 1, 8, 4, 3, 4), "11": (11, 8, 2, 10, 8, 7, 9), "12": (12, 5, 2, 6, 2, 4, 4),
    "13": (12, 10, 8, 7, 10, 5, 9), "14": (16, 8, 8, 12, 8, 10, 7),
    "15": (13, 9, 5, 8, 6, 4, 11), "16": (14, 14, 11, 7, 11, 9, 5),
}
SMALL_EMODB = {"03": (2, 1, 1, 1, 1, 1, 1), "08": (1, 1, 0, 1, 1, 1, 1)}
EMODB_SENTENCES = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10")


def emodb(root: Path, table: Mapping[str, Iterable[int]] = EMODB, write=sound,
          extension: str = ".wav") -> list[str]:
    """Build the tree of EMO-DB's download.zip with `table[speaker]` files per letter."""
    names = list(itertools.product("abcdef", EMODB_SENTENCES))
    stems = [
        f"{speaker}{sentence}{letter}{take}"
        for speaker, row in table.items()
        for letter, number in zip(EMODB_LETTERS, row, strict=True)
        for take, sentence in names[:number]
    ]
    for stem in stems:
        write(root / "wav" / f"{stem}{extension}")
        label = root / "lablaut" / f"{stem}xx.lablaut"
        label.parent.mkdir(exist_ok=True)
        label.write_text("0.1 a\n", encoding="latin-1")
    lines = [f"{n}\xa0\t{stem}.wav\t97,50\t80,00" for n, stem in enumerate(stems)]
    (root / "erkennung.txt").write_text("\n".join(lines), encoding="latin-1")
    return stems


def ravdess_stems(actors: Iterable[str], channel: str) -> list[str]:
    """Return the names that a channel's archive holds for these actors."""
    stems = []
    for actor in actors:
        if channel == "02" and actor == "18":
            continue  # did not sing
        for emotion in range(1, 9 if channel == "01" else 7):
            for intensity in ("01",) if emotion == 1 else ("01", "02"):
                for statement, repetition in itertools.product(("01", "02"), repeat=2):
                    stems.append(f"03-{channel}-{emotion:02d}-{intensity}-{statement}"
                                 f"-{repetition}-{actor}")
    return stems


def ravdess(root: Path, actors: Iterable[str], channels: Iterable[str] = ("01",), write=sound,
            extension: str = ".wav") -> list[str]:
    """Build `Actor_NN` folders; speech (01) and song (02) lie side by side in them."""
    stems = [stem for channel in channels for stem in ravdess_stems(actors, channel)]
    for stem in stems:
        write(root / f"Actor_{stem[-2:]}" / f"{stem}{extension}", rate=48000)
    return stems


URDU_FOLDERS = {"A": "Angry", "H": "Happy", "N": "Neutral", "S": "Sad"}
URDU = {  # clips per letter and speaker in the authors' repository
    "A": {"SM1": 22, "SM2": 28, "SM3": 2, "SM4": 48},
    "H": {"SF1": 12, "SF2": 2, "SF3": 2, "SF4": 4, "SF5": 4, "SF6": 14, "SF7": 6, "SF8": 2,
          "SM17": 2, "SM18": 2, "SM19": 2, "SM3": 2, "SM5": 8, "SM6": 10, "SM7": 28},
    "N": {"SF9": 4, "SM20": 10, "SM21": 4, "SM22": 2, "SM3": 8, "SM5": 72},
    "S": {"SF10": 2, "SF11": 4, "SM23": 6, "SM24": 38, "SM25": 40, "SM26": 2, "SM27": 4,
          "SM6": 4},
}
SMALL_URDU = {"A": {"SM1": 2, "SM3": 1}, "H": {"SF1": 2, "SM3": 1}, "N": {"SF9": 2, "SM5": 1},
              "S": {"SF10": 1, "SM24": 2}}


def urdu(root: Path, table: Mapping[str, Mapping[str, int]] = URDU, write=sound,
         extension: str = ".wav") -> list[str]:
    """Build the four folders of the authors' repository."""
    stems = []
    for letter, speakers in table.items():
        clips = [(speaker, n + 1) for speaker, number in speakers.items() for n in range(number)]
        for index, (speaker, clip) in enumerate(clips, start=1):
            stem = f"{speaker}_F{clip}_{letter}0{index}"
            write(root / URDU_FOLDERS[letter] / f"{stem}{extension}", rate=44100)
            stems.append(stem)
    return stems


EMOTIONTTS = {
    "Emotional/emotional-to-emotional": ("nea", "neb", "nec", "ned", "nee", "nek", "nel", "nem",
                                         "nen", "neo"),
    "Emotional/plain-to-emotional": ("ema", "emb", "emf", "emg", "emh"),
}
SMALL_EMOTIONTTS = {"Emotional/emotional-to-emotional": ("nea", "nek"),
                    "Emotional/plain-to-emotional": ("emf",)}
EMOTIONTTS_READ = {"Main/main": ("lmy", "kih"), "Main/average_voice_model": ("ava",),
                   "Main/adaptive": ("adc",), "Personality": ("pfa", "pma")}


def emotiontts(root: Path, groups: Mapping[str, Iterable[str]] = EMOTIONTTS,
               read: Mapping[str, Iterable[str]] = EMOTIONTTS_READ, each: int = 5, write=sound,
               extension: str = ".wav") -> list[str]:
    """Build the public sample: `each` sentences of four blocks, and as many of `read` speakers."""
    stems = []
    for group, speaker, first in [
        *((group, name, first) for group, names in groups.items() for name in names
          for first in (1, 101, 201, 301)),
        *((group, name, 1) for group, names in read.items() for name in names),
    ]:
        for number in range(first, first + each):
            stem = f"{speaker}{number:05d}"
            folder = root / group / speaker
            write(folder / "wav" / f"{stem}{extension}", rate=22050)
            transcript(folder / "transcript" / f"{stem}.txt", f"{number}번 문장이에요.\n")
            transcript(folder / "script" / f"{stem}.txt", "대본입니다.\n")
            stems.append(stem)
    return stems


def transcript(path: Path, text: str) -> None:
    """Write a text as the corpus does: UTF-8 with a byte order mark, line ends as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8-sig"))


# ------------------------------------------------------------------------------------ traps


def litter(folder: Path) -> None:
    """Plant what file managers leave behind, next to and around the audio of `folder`."""
    audio = next(path for path in sorted(folder.iterdir()) if path.is_file())
    (folder / f"._{audio.name}").write_bytes(b"\x00\x05\x16\x07")
    (folder / ".DS_Store").write_bytes(b"Bud1")
    (folder / "Thumbs.db").write_bytes(b"thumbs")
    for hidden in ("__MACOSX", ".cache"):
        (folder / hidden).mkdir()
        shutil.copy(audio, folder / hidden / f"copy_of_{audio.name}")


def second_copy(root: Path, name: str) -> None:
    """Nest everything below `root` once more in the folder `name`, as re-uploads do."""
    entries = sorted(root.iterdir())
    for entry in entries:
        if entry.is_dir():
            shutil.copytree(entry, root / name / entry.name)
        else:
            (root / name).mkdir(exist_ok=True)
            shutil.copy(entry, root / name)


def with_chunk(path: Path, name: bytes = b"FLLR", size: int = 400) -> Path:
    """Put an extra chunk between `fmt ` and `data` of a WAV file."""
    content = path.read_bytes()
    at = content.index(b"data")
    chunk = name + struct.pack("<I", size) + bytes(size)
    total = struct.pack("<I", len(content) - 8 + len(chunk))
    path.write_bytes(content[:4] + total + content[8:at] + chunk + content[at:])
    return path


def aiff_inside(path: Path) -> Path:
    """Write AIFF audio under a name that ends in something else."""
    real = sound(path.with_suffix(".aiff"))
    real.replace(path)
    return path


def pointer(path: Path) -> Path:
    """Write what a clone without Git LFS holds in place of audio."""
    path.write_text("version https://git-lfs.github.com/spec/v1\n"
                    f"oid sha256:{'0' * 64}\nsize 123456\n", encoding="utf-8")
    return path


def truncated(path: Path) -> Path:
    """Cut the file at half its length, as a broken download does."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path
