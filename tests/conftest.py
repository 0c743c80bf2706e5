"""What every test shares, and which tests stay together where several processes run them."""

import os
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # read when torch is imported; cores are for processes
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import sertools  # noqa: F401  mends torchaudio before anything imports it

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep the tests of a file in one process; of the rows of tables, those that share most."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduler(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, rest = nodeid.partition("::")
            return f"{file} {' '.join(rest.split()[:2])}" if "test_every_row" in file else file

    return Scheduler(config, log)


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


@pytest.fixture(scope="session")
def tiny_plus(tmp_path_factory) -> Path:
    """Return a folder with a small classifier of random weights in emotion2vec+'s layout."""
    import tiny_models

    return tiny_models.save("emotion2vec/emotion2vec_plus_base", tmp_path_factory.mktemp("plus"))
