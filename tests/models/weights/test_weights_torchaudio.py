"""torchaudio's models, in miniature, through the bundle's own door."""

import pytest
import torch
from sertools.errors import ConfigError
from sertools.models.weights import load_encoder
from torchaudio import pipelines
from torchaudio.models import wav2vec2_model, wavlm_model

PARAMS = {
    "extractor_mode": "layer_norm",
    "extractor_conv_layer_config": [(24, 10, 5), *[(24, 3, 2)] * 4, *[(24, 2, 2)] * 2],
    "extractor_conv_bias": False,
    "encoder_embed_dim": 32,
    "encoder_projection_dropout": 0.1,
    "encoder_pos_conv_kernel": 16,
    "encoder_pos_conv_groups": 4,
    "encoder_num_layers": 3,
    "encoder_num_heads": 4,
    "encoder_attention_dropout": 0.1,
    "encoder_ff_interm_features": 48,
    "encoder_ff_interm_dropout": 0.0,
    "encoder_dropout": 0.1,
    "encoder_layer_norm_first": True,
    "encoder_layer_drop": 0.0,
    "aux_num_out": None,
}
GATED = {"encoder_num_buckets": 32, "encoder_max_distance": 80}
POST = {"extractor_mode": "group_norm", "encoder_layer_norm_first": False}


@pytest.mark.parametrize("post", [False, True])
@pytest.mark.parametrize("gated", [False, True])
def test_every_layer_equals_torchaudio(post, gated, shaken, waves, monkeypatch):
    torch.manual_seed(0)
    params = PARAMS | (GATED if gated else {}) | (POST if post else {})
    model = shaken((wavlm_model if gated else wav2vec2_model)(**params))
    kind = "WavLM" if gated else "Wav2Vec2"
    bundle = pipelines.Wav2Vec2Bundle("absent.pth", params, 16000, not post, kind)
    asked = []

    def download(self, dl_kwargs):
        asked.append(dl_kwargs)
        return model.state_dict()

    monkeypatch.setattr(pipelines.Wav2Vec2Bundle, "_get_state_dict", download)
    monkeypatch.setattr(pipelines, "WAVLM_LARGE", bundle)
    encoder = load_encoder("torchaudio:WAVLM_LARGE")
    assert asked[0]["weights_only"] is True
    assert encoder.config.normalise_waveform == (not post)
    waveforms = waves[0]
    with torch.no_grad():
        got = encoder(waveforms, hidden=True)
        if not post:
            waveforms = torch.nn.functional.layer_norm(waveforms, waveforms.shape[1:])
        wanted, _ = model.extract_features(waveforms)
    assert len(wanted) == 3  # torchaudio leaves out the input of the first block
    for one, other in zip(got.hidden[1:], wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_real_bundles_have_the_structure_of_our_presets():
    from sertools.models.presets import preset_config
    from sertools.models.weights.torchaudio_bundles import to_config

    pairs = {
        "WAVLM_BASE": "wavlm_base",
        "WAVLM_LARGE": "wavlm_large",
        "HUBERT_BASE": "hubert_base",
        "HUBERT_LARGE": "hubert_large",
        "WAV2VEC2_BASE": "wav2vec2_base",
        "WAV2VEC2_LARGE": "wav2vec2_large_post",
        "WAV2VEC2_LARGE_LV60K": "wav2vec2_large",
    }
    free = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
    for name, preset in pairs.items():
        bundle = getattr(pipelines, name)
        config = to_config(bundle._params, bundle._normalize_waveform, **free)
        assert config == preset_config(preset), name


def test_unknown_and_undownloadable_bundles_are_told(monkeypatch):
    for name in ("NO_SUCH", "Wav2Vec2Bundle"):
        with pytest.raises(ConfigError, match="no such speech encoder"):
            load_encoder(f"torchaudio:{name}")

    def fail(self, *, dl_kwargs):
        raise OSError("no route")

    monkeypatch.setattr(pipelines.Wav2Vec2Bundle, "get_model", fail)
    with pytest.raises(ConfigError, match="cannot be downloaded"):
        load_encoder("torchaudio:HUBERT_BASE")
