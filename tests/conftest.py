"""What every test shares."""

import os
from pathlib import Path

import pytest
import sertools  # noqa: F401  mends torchaudio before anything imports it

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the root of the checkout."""
    return REPOSITORY


@pytest.fixture
def real_data():
    """Return a function from a corpus name to its folder of real recordings; skip if absent."""

    def folder(corpus: str) -> Path:
        roots = [os.environ.get("SERTOOLS_REAL_DATA"), REPOSITORY.parent / "shared" / "data"]
        for root in filter(None, roots):
            if (Path(root) / corpus).is_dir():
                return Path(root) / corpus
        pytest.skip(f"no recordings of {corpus}: set SERTOOLS_REAL_DATA to a folder that has them")

    return folder
