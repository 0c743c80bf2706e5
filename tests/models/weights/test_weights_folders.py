"""Our own folders: what goes in comes out, and nothing else passes."""

import json

import pytest
import torch
from sertools.errors import ConfigError
from sertools.models.presets import build_encoder
from sertools.models.weights import load_encoder, save_encoder


def test_saved_and_loaded_are_equal(a_tiny_encoder, tmp_path):
    encoder = a_tiny_encoder
    loaded = load_encoder(save_encoder(encoder, tmp_path / "encoder"))
    assert loaded.config == encoder.config and not loaded.training
    waveforms = torch.randn(2, 8000)
    with torch.no_grad():
        assert torch.equal(loaded(waveforms).last, encoder(waveforms).last)
    assert all(p.requires_grad for p in loaded.parameters())


def test_free_settings_change_and_others_do_not(tiny_encoder, tmp_path):
    save_encoder(tiny_encoder("mel"), tmp_path / "encoder")
    assert load_encoder(tmp_path / "encoder", dropout=0.2).config.dropout == 0.2
    with pytest.raises(ConfigError, match="num_layers cannot be changed"):
        load_encoder(tmp_path / "encoder", num_layers=3)


def test_foreign_versions_and_settings_are_refused(tiny_encoder, tmp_path):
    folder = save_encoder(tiny_encoder("mel"), tmp_path / "encoder")
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "format": "sertools-encoder-9"}))
    with pytest.raises(ConfigError, match="another version"):
        load_encoder(folder)
    (folder / "config.json").write_text(json.dumps({**values, "colour": "red"}))
    with pytest.raises(ConfigError, match="colour: 'red'"):
        load_encoder(folder)
    (folder / "config.json").write_text(json.dumps({**values, "num_layers": 3}))
    with pytest.raises(ConfigError, match=r"blocks\.2\.attention\.qkv\.weight: missing"):
        load_encoder(folder)


def test_a_preset_is_no_source(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="preset without weights"):
        load_encoder("small")
    with pytest.raises(ConfigError, match="no such file"):
        load_encoder("no_such_thing")


def test_saving_replaces_the_folder_whole(tiny_encoder, tmp_path):
    folder = save_encoder(tiny_encoder("mel"), tmp_path / "encoder")
    save_encoder(build_encoder("small", dim=16, num_heads=2, num_layers=1), folder)
    assert load_encoder(folder).dim == 16
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert [p.name for p in tmp_path.iterdir()] == ["encoder"]
