"""Corpora that recipes prepared: their manifests, and whether the audio they name is there."""

from __future__ import annotations

import os
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sertools.data.corpus import shown
from sertools.data.manifest import read_manifest
from sertools.data.record import Record
from sertools.errors import ConfigError, DataError

INDEX = "index.json"
"""Name of the file that closes a folder of shards."""


SUBSTITUTE = (
    "run these commands; or, for audio that you cannot get, name other corpora under "
    "pretraining_data.sources: any that a recipe here prepares, or a folder of any audio, whose "
    "manifest utils/manifest_from_folder.py writes. Results name what was heard"
)


@dataclass(frozen=True)
class Prepared:
    """A prepared corpus."""

    name: str
    manifest: Path
    folder: Path
    """Of the release: what the manifest's paths start from."""


def read_prepared(
    sources: Sequence[Prepared], missing: Iterable[str] = ()
) -> dict[str, dict[str, Record]]:
    """Return the records of every source, by its name.

    Raises:
        ConfigError: see `check_prepared`.
        DataError: a manifest is not sound.
    """
    check_prepared(sources, missing)
    return {source.name: read_manifest(source.manifest) for source in sources}


def check_prepared(sources: Sequence[Prepared], missing: Iterable[str] = ()) -> None:
    """Check that every manifest exists.

    Args:
        sources: whose manifests.
        missing: what else is missing, as sentences, to be said together with the manifests.

    Raises:
        ConfigError: all that is missing, each manifest with the command that makes it.
    """
    problems = [f"{source.name}: {shown(source.manifest)} does not exist; make it with\n"
                f"      {making_command(source)}"
                for source in sources if not source.manifest.is_file()]
    problems += missing
    if problems:
        raise ConfigError("corpora to train on are not prepared yet", problems, SUBSTITUTE)


def making_command(source: Prepared) -> str:
    """Return the command that writes a source's manifest, to be run from the current folder."""
    recipe = source.manifest.parent.parent.parent
    release = shlex.quote(os.path.abspath(source.folder))
    configuration = _configuration(recipe, source.manifest.parent.name)
    if source.manifest.parent.parent.name == "data" and configuration:
        return (f"cd {shlex.quote(os.path.relpath(recipe))} && python run.py "
                f"hparams/{configuration} --stop-stage prepare --data_folder {release}")
    return (f"python utils/manifest_from_folder.py {release} --name {source.name} "
            f"--out {shlex.quote(str(source.manifest.parent))}")


def check_audio(sources: Sequence[Prepared], records: Mapping[str, Iterable[Record]]) -> None:
    """Check that every audio file is there; folders are listed, no file is opened.

    Args:
        sources: where the releases are.
        records: the utterances that are needed, by source.

    Raises:
        DataError: releases or files are missing.
    """
    problems = []
    for source in sources:
        if not source.folder.is_dir():
            problems.append(f"{source.name}: the folder {shown(source.folder)} does not exist")
            continue
        gone = missing_files(source.folder, (record.path for record in records[source.name]))
        problems += [f"{source.name}: {shown(source.folder / path)}" for path in gone]
    if problems:
        raise DataError("audio that the manifests name is missing", problems,
                        "complete the releases, or correct data_folder or a source's `folder`")


def missing_files(root: Path, paths: Iterable[str]) -> list[str]:
    """Return those of the paths below `root` that are no files, sorted."""
    folders: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        folder, _, name = path.rpartition("/")
        folders[folder].add(name)
    gone = []
    for folder, names in folders.items():
        try:
            with os.scandir(root / folder) as entries:
                there = {entry.name for entry in entries if entry.is_file()}
        except OSError:
            there = set()
        gone += [f"{folder}/{name}" if folder else name for name in names - there]
    return sorted(gone)


def _configuration(recipe: Path, wanted: str) -> str | None:
    """Return the name of a recipe's YAML that writes `data/<wanted>`, the plainest there is."""
    if not (recipe / "run.py").is_file():
        return None
    files = [file for file in (recipe / "hparams").glob("*.yaml")
             if _corpus_set(file) == wanted]
    files.sort(key=lambda file: ("classical" not in file.name, len(file.name), file.name))
    return files[0].name if files else None


def _corpus_set(file: Path) -> str | None:
    """Return the set that a configuration prepares; None for a block such as corpus.yaml."""
    text = file.read_text(encoding="utf-8")
    include = re.search(r"^corpus:\s*!include:(\S+).*\n((?:[ #].*\n)*)", text, re.M)
    block = file.parent / include[1] if include else None
    if block is None or not block.is_file():
        return None
    named = re.search(r"^\s+set:\s*(\S+)", include[2], re.M) or re.search(
        r"^set:\s*(\S+)", block.read_text(encoding="utf-8"), re.M)
    return named[1].strip("'\"") if named else "all"
