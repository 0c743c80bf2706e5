"""A small prepared set with its release, folds and a way to run the scripts on it."""

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import soundfile
from sertools.data.corpus import Corpus
from sertools.data.folds import Folds, write_folds
from sertools.data.manifest import read_manifest
from sertools.data.prepare import prepare_manifest
from sertools.data.protocol import make_folds
from sertools.data.record import Record

UTILS = Path(__file__).resolve().parents[2] / "utils"


def script(name: str):
    """Return a script of utils/ as a module, imported from its file."""
    spec = importlib.util.spec_from_file_location(f"utils_{name}", UTILS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def make_set(folder: Path, name: str = "toy", speakers: int = 4, classes=("angry", "calm"),
             **changes) -> Path:
    """Prepare `folder/<name>` from a synthetic release `folder/release/<name>`; return the set.

    Every speaker says every class twice, each time with a text of its own.
    """
    generator = np.random.default_rng(speakers)
    root, records = folder / "release" / name, []
    (root / "wav").mkdir(parents=True)
    for speaker in range(speakers):
        for label in classes:
            for take in "12":
                stem = f"s{speaker}_{label}_{take}"
                length = 3200 + 160 * len(records)
                soundfile.write(root / "wav" / f"{stem}.wav",
                                0.1 * generator.standard_normal(length), 16000)
                records.append(dataclasses.replace(Record(
                    id=f"{name}-{stem}", path=f"wav/{stem}.wav", label=label,
                    speaker=f"s{speaker}", gender=("female", "male")[speaker % 2],
                    text=f"words of {stem}"), **changes))
    target = folder / name
    prepare_manifest(records, Corpus(name, "en", list(classes)), root, target, say=lambda _: None)
    manifest = read_manifest(target / "utts.json")
    folds = make_folds(manifest, Folds())
    write_folds(target / "folds" / f"{folds.name}.json", folds)
    return target


def change(manifest: Path, id: str, **values) -> None:
    """Change fields of one entry of a manifest, behind the library's back."""
    content = json.loads(manifest.read_text(encoding="utf-8"))
    content[id] |= values
    manifest.write_text(json.dumps(content), encoding="utf-8")
