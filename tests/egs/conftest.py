"""What the tests of preparers share."""

import dataclasses
import importlib.util
from collections import Counter
from pathlib import Path

import pytest
from hyperpyyaml import load_hyperpyyaml
from sertools.data.corpus import Corpus, Faults

EGS = Path(__file__).resolve().parents[2] / "egs"


@pytest.fixture
def load_prepare(monkeypatch):
    """Return a function from the name of a recipe folder to the module of its prepare.py."""

    def load(name: str, folder: Path = EGS):
        monkeypatch.syspath_prepend(str(folder / name))  # its neighbours, as in its own folder
        spec = importlib.util.spec_from_file_location(
            f"prepare_{name}", folder / name / "prepare.py"
        )
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def load_corpus():
    """Return a function that builds the Corpus of `<recipe>/hparams/<file>` with changes."""

    def load(name: str, file: str = "corpus.yaml", folder: Path = EGS, **changes) -> Corpus:
        path = folder / name / "hparams" / file
        corpus = load_hyperpyyaml(f"corpus: !include:{path}\n")["corpus"]
        return dataclasses.replace(corpus, **changes)

    return load


@pytest.fixture
def collect(load_prepare):
    """Return a function that runs a preparer: records by stem, and the faults."""

    def run(name: str, root: Path, **options):
        faults = Faults()
        found = list(load_prepare(name).records(root, faults, **options))
        by_stem = {Path(record.path).stem: record for record in found}
        assert len(by_stem) == len(found)
        return by_stem, faults

    return run


@pytest.fixture
def counted():
    """Return a function that counts a field's values over records."""

    def count(records, field: str) -> dict:
        return dict(Counter(getattr(record, field) for record in records.values()))

    return count
