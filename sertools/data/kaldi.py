"""Write a set as a Kaldi data folder: wav.scp, utt2spk, spk2utt, text and what else is known.

Kaldi wants names without blanks, every file sorted by bytes, and utterance names that begin with
their speaker's name, so that both sort orders agree.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from sertools.data.record import Record
from sertools.errors import DataError
from sertools.files import publish

_BAD = re.compile(r"[^\w.-]")


def write_kaldi(folder: str | Path, records: Iterable[Record], data_folder: str | Path) -> Path:
    """Publish a Kaldi data folder and return it.

    Besides the usual files: `utt2emo` (class), `utt2id` (the id in the manifest), `spk2gender`,
    `utt2lang`, `utt2dur`, and `segments` where utterances are parts of files. Unknown speakers
    become a speaker each, as Kaldi advises. FLAC, several channels and other formats are decoded
    by commands (`flac`, `sox`) in wav.scp.

    Raises:
        DataError: two utterances would get the same name.
    """
    records, data_folder = list(records), Path(data_folder).resolve()
    names = {record.id: _names(record) for record in records}
    number = Counter(utterance for utterance, _ in names.values())
    clashes = [id for id, (utterance, _) in names.items() if number[utterance] > 1]
    if clashes:
        raise DataError("ids are not unique once Kaldi's rules for names are applied", clashes)
    tables: dict[str, dict[str, str]] = defaultdict(dict)
    members: dict[str, list[str]] = defaultdict(list)
    for record in records:
        utterance, speaker = names[record.id]
        members[speaker].append(utterance)
        part = record.start is not None or record.end is not None
        sound = _recording(record) if part else utterance
        tables["wav.scp"][sound] = _command(record, data_folder)
        if part:
            start = record.start or 0.0
            end = start + record.duration if record.end is None else record.end
            tables["segments"][utterance] = f"{sound} {start:.6f} {end:.6f}"
        rows = {"utt2spk": speaker, "text": " ".join((record.text or "").split()),
                "utt2emo": record.label, "utt2id": record.id, "utt2lang": record.language,
                "utt2dur": record.duration and f"{record.duration:.6f}"}
        for file, value in rows.items():
            if value:
                tables[file][utterance] = value
        if record.gender:
            tables["spk2gender"][speaker] = record.gender[0]
    if "segments" in tables:  # every utterance or none must be a segment
        for record in records:
            utterance = names[record.id][0]
            tables["segments"].setdefault(utterance, f"{utterance} 0.000000 {record.duration:.6f}")
    tables["spk2utt"] = {name: " ".join(_sorted(own)) for name, own in members.items()}
    with publish(folder) as temporary:
        temporary.mkdir()
        for file, rows in tables.items():
            lines = (f"{name} {rows[name]}\n" for name in _sorted(rows))
            (temporary / file).write_text("".join(lines), encoding="utf-8", newline="\n")
    return Path(folder)


def _names(record: Record) -> tuple[str, str]:
    """Return the utterance's and the speaker's name."""
    corpus, _, stem = record.id.partition("-")
    if record.speaker is None:
        name = _plain(record.id)
        return name, name
    speaker = _plain(f"{corpus}-{record.speaker}")
    return f"{speaker}-{_plain(stem or record.id)}", speaker


def _recording(record: Record) -> str:
    channel = "" if record.channel is None else f"-channel{record.channel}"
    return _plain(record.path.replace("/", "-")) + channel


def _command(record: Record, data_folder: Path) -> str:
    """Return what stands in wav.scp: a path, or a command that writes WAV to its output."""
    path = str(data_folder / record.path)
    if record.channel is None and record.channels == 1:
        if path.lower().endswith(".wav") and not re.search(r"\s", path):
            return path
        if path.lower().endswith(".flac"):
            return f"flac -c -d -s {shlex.quote(path)} |"
    remix = "-" if record.channel is None else str(record.channel + 1)
    return f"sox {shlex.quote(path)} -t wav - remix {remix} |"


def _plain(name: str) -> str:
    """Replace what Kaldi cannot read, and all that sorts before '-'."""
    return _BAD.sub("_", name)


def _sorted(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: name.encode("utf-8", "surrogatepass"))
