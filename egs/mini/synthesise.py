"""Make the corpus `mini`: write the release that the other recipes would have to download.

    python synthesise.py [folder] [--seed 1] [--speakers 12] [--utterances 10]

Every utterance follows from the seed and its id alone, so a small release is a part of a large
one. Random numbers come from numpy's RandomState, whose streams are frozen for good.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
from gestures import controls
from prosody import EMOTIONS, Speaker, draw_intensity, manner, rate_emotion, speaker
from script import SENTENCES
from voice import RATE, speak

from sertools.errors import ConfigError, DataError, Interrupted
from sertools.files import publish, read_json, sha256, write_json, write_text

VERSION = 1  # raise it with every change that is heard
_SLOTS = "nvnnvnvnnv"  # n: wording without valence, the same for every emotion; v: with valence
_WORDINGS = {"neutral": "pupu", "happy": "pppu", "sad": "uuup", "angry": "uuup"}
_SUMS, _RELEASE = "sha256sums.txt", "release.json"


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


def download(job) -> list[Path]:
    """Make the release in the data folder (the body of stage download).

    Reads `data_folder` (relative to the recipe's folder) and `synthesis` (a mapping with the
    keys seed, speakers, utterances) of the config.
    """
    folder = Path(job.recipe) / job.config["data_folder"]
    synthesise(folder, **job.config["synthesis"], say=job.say, should_stop=job.should_stop)
    return [folder / name for name in ("metadata.csv", _RELEASE, _SUMS)]


def synthesise(
    folder: str | Path,
    seed: int = 1,
    speakers: int = 12,
    utterances: int = 10,
    say: Callable[[str], None] = print,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Write wav/<speaker>/<stem>.wav, metadata.csv, release.json and sha256sums.txt to `folder`.

    The folder appears when all of it is there. A release that is complete is kept; one that is
    damaged or was made with other options is made anew.

    Args:
        folder: of the release; must not hold anything else.
        seed: of everything that is drawn.
        speakers: female and male in turn; each such pair is a session.
        utterances: per speaker and emotion.
        say: gets a line per speaker.
        should_stop: asked before every speaker.

    Raises:
        ConfigError: an option is out of range.
        DataError: the folder holds files that are not part of a release.
        Interrupted: `should_stop` said so; nothing is left behind.
    """
    folder = Path(folder)
    release = {"corpus": "mini", "version": VERSION, "seed": seed, "speakers": speakers,
               "utterances": utterances, "sample_rate": RATE}  # fmt: skip
    if speakers < 1 or utterances < 1 or seed < 0:
        raise ConfigError(
            f"Nothing to make with speakers={speakers}, utterances={utterances}, seed={seed}.",
            remedy="give at least 1 speaker, 1 utterance and a seed of 0 or more",
        )
    if folder.exists():
        fault = _fault(folder, release)
        if fault is None:
            say(f"{folder}: complete, kept")
            return
        say(f"{folder}: {fault}; making it anew")
    with publish(folder) as temporary:
        rows = []
        for number in range(speakers):
            if should_stop():
                raise Interrupted(f"Stopped after {number} of {speakers} speakers.")
            who = speaker(number, _random(seed, f"speaker {number}"))
            mine = list(_plan(who, number, speakers, utterances, seed))
            for row in mine:
                path = temporary / row.file
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, _render(row, who, seed), RATE, subtype="PCM_16")
            rows += mine
            say(f"speaker {who.name} ({number + 1} of {speakers}): {len(mine)} utterances")
        _write_metadata(temporary / "metadata.csv", rows)
        write_json(temporary / _RELEASE, release)
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        sums = [f"{sha256(path)}  {path.relative_to(temporary).as_posix()}\n" for path in files]
        write_text(temporary / _SUMS, "".join(sums))


def _plan(
    who: Speaker, number: int, speakers: int, utterances: int, seed: int
) -> Iterator[Row]:
    """Yield what one speaker says, with its labels."""
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


def _render(row: Row, who: Speaker, seed: int) -> np.ndarray:
    """Return the samples of one utterance as they are written (int16)."""
    rng = _random(seed, f"voice {row.id}")
    how = manner(row.label, row.intensity, who, rng)
    sentence = row.id.split("_")[2]
    wave = speak(controls(sentence, how, who, rng), who.tract, rng)
    hiss = rng.standard_normal(len(wave) + 1)
    wave = wave + 10 ** (who.room / 20) * (hiss[1:] + hiss[:-1]) / 2
    return np.round(32767 * np.clip(wave, -1.0, 1.0)).astype(np.int16)


def _random(seed: int, name: str) -> np.random.RandomState:
    """Return the generator of one thing, whatever else is drawn."""
    digest = hashlib.sha256(f"mini {seed} {name}".encode()).digest()
    return np.random.RandomState(np.frombuffer(digest, dtype="<u4"))


def _write_metadata(path: Path, rows: list[Row]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(rows[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _fault(folder: Path, release: dict) -> str | None:
    """Return why a folder is not the wanted release, None if it is; refuse to touch any other."""
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    lines = (folder / _SUMS).read_text(encoding="utf-8").splitlines() if _SUMS in present else []
    sums = {name: total for total, _, name in (line.partition("  ") for line in lines)}
    foreign = sorted(n for n in present - set(sums) - {_SUMS} if not n.endswith(".DS_Store"))
    if foreign:
        raise DataError(
            f"{folder} holds files that are not part of the corpus mini.",
            foreign,
            remedy="move them away, or give another data_folder",
        )
    damaged = [n for n in sums if n not in present or sha256(folder / n) != sums[n]]
    if damaged:
        return f"{len(damaged)} of {len(sums)} files missing or damaged (first: {damaged[0]})"
    if _RELEASE not in sums:
        return "no release in it"
    return None if read_json(folder / _RELEASE) == release else "made with other options"


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default="downloads/mini", help="of the release")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn")
    parser.add_argument("--speakers", type=int, default=12, help="female and male in turn")
    parser.add_argument("--utterances", type=int, default=10, help="per speaker and emotion")
    synthesise(**vars(parser.parse_args()))


if __name__ == "__main__":
    _main()
