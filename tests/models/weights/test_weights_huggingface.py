"""Our encoder against the transformers library, from its own files."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from sertools.errors import ConfigError
from sertools.models.weights import load_encoder


def test_every_layer_equals_transformers(a_relative, assert_same, waves, tmp_path):
    model, (waveforms, lengths) = a_relative, waves
    model.save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path, normalise_waveform=False)
    assert_same(encoder, model, waveforms)
    if encoder.config.conv_norm == "layer":  # theirs normalises groups over padding, too
        assert_same(encoder, model, waveforms, lengths)
    for row, length in enumerate(lengths.tolist()):
        assert_same(encoder, model, waveforms[row : row + 1, :length])


def test_waveform_normalisation_is_the_preprocessors(make_relative, waves, tmp_path):
    from transformers import Wav2Vec2FeatureExtractor

    model, (waveforms, lengths) = make_relative("wavlm large"), waves
    model.save_pretrained(tmp_path)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    extractor.save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path)
    assert encoder.config.normalise_waveform
    raw = [wave[:length].numpy() for wave, length in zip(waveforms, lengths, strict=True)]
    prepared = extractor(raw, sampling_rate=16000, padding=True, return_tensors="pt")
    with torch.no_grad():
        wanted = model(**prepared).last_hidden_state
        got = encoder(waveforms, lengths)
    for row, frames in enumerate(got.lengths.tolist()):
        torch.testing.assert_close(got.last[row, :frames], wanted[row, :frames], atol=1e-4, rtol=0)
    Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path)
    assert not load_encoder(tmp_path).config.normalise_waveform


@pytest.mark.parametrize("old_names", [False, True])
def test_pickled_files_and_old_weight_norm_names(
    old_names, make_relative, assert_same, waves, tmp_path
):
    model = make_relative("hubert base")
    model.config.save_pretrained(tmp_path)
    state = {f"hubert.{name}": tensor for name, tensor in model.state_dict().items()}
    state["lm_head.weight"] = torch.zeros(3, 32)
    if old_names:
        for new, old in (("original0", "weight_g"), ("original1", "weight_v")):
            key = f"hubert.encoder.pos_conv_embed.conv.parametrizations.weight.{new}"
            state[f"hubert.encoder.pos_conv_embed.conv.{old}"] = state.pop(key)
    torch.save(state, tmp_path / "pytorch_model.bin")
    assert_same(load_encoder(tmp_path, normalise_waveform=False), model, waves[0])


def test_half_precision_files_become_single(make_relative, tmp_path):
    make_relative("wavlm base").half().save_pretrained(tmp_path)
    assert {p.dtype for p in load_encoder(tmp_path).parameters()} == {torch.float32}


def test_mask_embedding_is_kept_when_wanted(make_relative, tmp_path):
    model = make_relative("wavlm base")
    model.save_pretrained(tmp_path)
    assert load_encoder(tmp_path).mask_embedding is None
    kept = load_encoder(tmp_path, mask_embedding=True).mask_embedding
    torch.testing.assert_close(kept.data, model.masked_spec_embed.data)


def test_all_misfits_are_told_at_once(make_relative, tmp_path):
    make_relative("wavlm base").save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    del state["encoder.layers.1.attention.k_proj.bias"]
    state["encoder.layers.0.layer_norm.weight"] = torch.ones(7)
    state["encoder.layers.9.layer_norm.weight"] = torch.ones(32)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError) as caught:
        load_encoder(tmp_path)
    said = str(caught.value)
    assert "encoder.layers.1.attention.k_proj.bias: missing" in said
    assert "encoder.layers.0.layer_norm.weight: shape (7,)" in said and "(32,)" in said
    assert "encoder.layers.9.layer_norm.weight: unexpected" in said


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("num_hidden_layers", 4, "layers.3.layer_norm.weight: missing"),
        ("num_hidden_layers", 2, "layers.2.layer_norm.weight: unexpected"),
        ("hidden_size", 64, "shape (32,)"),
        ("model_type", "bert", "model_type: 'bert'"),
        ("hidden_act", "relu", "hidden_act: 'relu'"),
        ("conv_dim", [24] * 6 + [32], "conv_dim"),
        ("num_attention_heads", 5, "not divisible by num_heads 5"),
    ],
)
def test_wrong_configurations_are_refused(key, value, said, make_relative, tmp_path):
    make_relative("wav2vec2 large").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(ConfigError) as caught:
        load_encoder(tmp_path)
    assert said in str(caught.value)


def test_truncated_and_absent_files_are_told(make_relative, tmp_path):
    make_relative("wavlm base").save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ConfigError, match=r"model\.safetensors: cannot be read"):
        load_encoder(tmp_path)
    weights.unlink()
    with pytest.raises(ConfigError, match="neither model.safetensors nor pytorch_model.bin"):
        load_encoder(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json: cannot be read"):
        load_encoder(tmp_path)


def test_an_id_without_connection_is_told(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="not to be had from the Hugging Face hub"):
        load_encoder("nobody-here/no-such-model")


def test_an_id_is_looked_up_with_its_revision(monkeypatch, make_relative, tmp_path):
    import huggingface_hub

    make_relative("wavlm base").save_pretrained(tmp_path)
    asked = []

    def download(repository, revision, allow_patterns):
        asked.append((repository, revision, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    load_encoder("someone/model@abc123")
    assert asked[0][:2] == ("someone/model", "abc123") and len(asked) == 1
    assert "model.safetensors" in asked[0][2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wavlm base", "wavlm large", "hubert large", "wav2vec2 base"])
def test_real_sizes_equal_transformers(name, make_relative, assert_same, tmp_path):
    dim, layers, heads = (1024, 24, 16) if "large" in name else (768, 12, 12)
    model = make_relative(
        name,
        conv_dim=[512] * 7,
        hidden_size=dim,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * dim,
        num_conv_pos_embeddings=128,
        num_conv_pos_embedding_groups=16,
        shake_by=0.0,
    )
    model.save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path, normalise_waveform=False)
    waveforms, lengths = 0.3 * torch.randn(2, 32000), torch.tensor([32000, 20000])
    waveforms[1, 20000:] = 0
    assert_same(encoder, model, waveforms)
    if "large" in name:
        assert_same(encoder, model, waveforms, lengths)
