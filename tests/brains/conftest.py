"""Fixtures of the brains' tests: a toy corpus and its features, made once."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def toy():
    """Return the module toy.py beside this file."""
    spec = importlib.util.spec_from_file_location("brains_toy", HERE / "toy.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["brains_toy"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def root(toy, tmp_path_factory):
    """Return a folder with the toy corpus in `audio` and its features in `features`."""
    folder = tmp_path_factory.mktemp("toy")
    toy.make_features(folder)
    return folder


@pytest.fixture
def work_of(request, toy, root, tmp_path):
    """Return a function that makes a unit in the folder `name` of this test.

    The unit is one of toy.py, or of what the test's module calls `toy`.
    """
    toy = getattr(request.module, "toy", toy)

    def make(name="unit", inputs="audio", **changes):
        if inputs == "features":
            changes.setdefault("features", next((root / "features").iterdir()))
        return toy.make_work(root, tmp_path / name, **changes)

    return make


@pytest.fixture(autouse=True)
def one_thread():
    """Sums over threads differ in the last bit; everything here is compared bit by bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
