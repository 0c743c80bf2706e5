from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from sertools.errors import ConfigError
from sertools.hub import find_folder


class Hub:
    """A hub of one model, with a cache; knows what was asked of the network."""

    def __init__(self, folder: Path, there: list[str], cached: list[str], online: bool = True):
        self.folder, self.there, self.online, self.asked = folder, there, online, []
        for name in cached:
            self.put(name)

    def put(self, name: str):
        self.folder.mkdir(exist_ok=True)
        (self.folder / name).touch()

    def __call__(self, name, revision=None, allow_patterns=(), local_files_only=False):
        if local_files_only or not self.online:
            if not self.folder.exists():
                raise LocalEntryNotFoundError("offline and not cached")
            return str(self.folder)
        assert not set(allow_patterns) - {"config.json", "model.safetensors", "pytorch_model.bin"}
        self.asked.append((name, revision, list(allow_patterns)))
        for file in set(allow_patterns) & set(self.there):
            self.put(file)
        return str(self.folder)


CASES = [
    # on the hub, in the cache, what is asked for beside config.json
    (["config.json", "model.safetensors", "pytorch_model.bin"], [], ["model.safetensors"]),
    (["config.json", "pytorch_model.bin"], [], ["model.safetensors", "pytorch_model.bin"]),
    ([], ["config.json", "model.safetensors"], []),
    ([], ["config.json", "pytorch_model.bin"], []),
    (["config.json", "model.safetensors"], ["config.json"], ["model.safetensors"]),
]


@pytest.mark.parametrize(("there", "cached", "asked"), CASES)
def test_only_what_is_needed_is_fetched(tmp_path, monkeypatch, there, cached, asked):
    hub = Hub(tmp_path / "snapshot", there, cached)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    found = find_folder("some/model@v2", ["config.json"], ["model.safetensors",
                                                           "pytorch_model.bin"])
    assert found == tmp_path / "snapshot"
    assert hub.asked == [("some/model", "v2", ["config.json", name]) for name in asked]


def test_an_id_without_an_organisation_is_one_too(tmp_path, monkeypatch):
    hub = Hub(tmp_path / "snapshot", ["model.safetensors"], [])
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    find_folder("distilbert-base-uncased", [], ["model.safetensors"])
    assert hub.asked == [("distilbert-base-uncased", None, ["model.safetensors"])]


def test_offline_is_said_with_what_to_do(tmp_path, monkeypatch):
    hub = Hub(tmp_path / "snapshot", [], [], online=False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    with pytest.raises(ConfigError, match="not to be had.*\n.*offline and not cached\n.*folder"):
        find_folder("some/model", ["config.json"], ["model.safetensors"])


def test_a_folder_is_taken_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    assert find_folder("model", [], ["x"]) == Path("model")
    assert find_folder(tmp_path / "model", [], ["x"]) == tmp_path / "model"
