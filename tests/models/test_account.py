"""Parameters and multiply-accumulates, against transformers and against counts by hand."""


import pytest
import torch
from sertools.errors import ConfigError
from sertools.models import account
from sertools.models.account import describe
from sertools.models.presets import PRESETS, build_encoder
from sertools.models.weights import save_encoder

LARGE = {
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
POST_LARGE = {**LARGE, "feat_extract_norm": "group", "do_stable_layer_norm": False}
PUBLISHED = {
    "wavlm_base": ("WavLM", {}, 94_381_936),
    "wavlm_base_plus": ("WavLM", {}, 94_381_936),
    "wavlm_large": ("WavLM", LARGE, 315_453_120),
    "hubert_base": ("Hubert", {}, 94_371_712),
    "hubert_large": ("Hubert", LARGE, 315_435_136),
    "wav2vec2_base": ("Wav2Vec2", {}, 94_371_712),
    "wav2vec2_large": ("Wav2Vec2", {**LARGE, "conv_bias": True}, 315_438_720),
    "wav2vec2_large_post": ("Wav2Vec2", POST_LARGE, 315_428_992),
}


@pytest.mark.parametrize("preset", PUBLISHED)
def test_presets_have_the_published_parameters(preset):
    import transformers

    kind, settings, count = PUBLISHED[preset]
    with torch.device("meta"):
        config = getattr(transformers, f"{kind}Config")(**settings)
        theirs = getattr(transformers, f"{kind}Model")(config)
        ours = build_encoder(preset, mask_embedding=True)
    assert sum(p.numel() for p in ours.parameters()) == count
    assert sum(p.numel() for p in theirs.parameters()) == count
    assert describe(preset)["parameters"] == count


def test_the_encoder_carries_other_published_models():
    with torch.device("meta"):
        vesper = build_encoder("wavlm_large", num_layers=4, final_norm=False, mask_embedding=True)
        emotion2vec = build_encoder(
            "wavlm_base",
            conv_norm="layer",
            position="stack",
            position_kernel=19,
            bias="alibi",
            extra_tokens=10,
        )
    assert describe(vesper)["parameters"] == 63_515_872
    assert describe(emotion2vec)["parameters"] == 93_171_212


def convolutions(samples, width):
    """Return multiply-accumulates of the seven convolutions, and the frames that come out."""
    macs, channels = 0, 1
    for kernel, stride in ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2)):
        samples = (samples - kernel) // stride + 1
        macs, channels = macs + samples * kernel * channels * width, width
    return macs, samples


def test_multiply_accumulates_are_those_of_the_shapes():
    dim, layers, heads, ffn = 768, 12, 12, 3072
    macs, frames = convolutions(160_000, 512)
    folding = (31999 * 10 + 512 * 10 + 512) * 10  # group norm: covariance of windows, and weights
    parts = {row["name"]: row["macs_per_second"] for row in describe("wavlm_base")["parts"]}
    projection = 4 * frames * dim * dim + 2 * frames * frames * dim
    gate = frames * heads * (dim // heads) * 2
    assert parts["blocks attention"] * 10 == layers * (projection + gate)
    assert parts["blocks ffn"] * 10 == layers * 2 * frames * dim * ffn
    assert parts["position"] * 10 == (frames + 1) * dim * 128 * (dim // 16)
    assert parts["frontend"] * 10 == macs + folding + frames * 512 * dim


def test_small_preset_by_hand():
    frames, dim = 1 + (160_000 - 880) // 640, 256
    mels = 1 + (160_000 - 400) // 160
    parts = {row["name"]: row["macs_per_second"] for row in describe("small")["parts"]}
    assert parts["frontend"] * 10 == mels * 257 * 80 + frames * 320 * dim
    assert parts["position"] * 10 == frames * dim * 31
    assert parts["blocks ffn"] * 10 == 4 * 2 * frames * dim * 1024
    attention = 4 * frames * dim * dim + 2 * frames * frames * dim
    assert parts["blocks attention"] * 10 == 4 * attention


def test_attention_grows_with_the_length():
    short, long = (describe("wavlm_base", seconds=s)["macs_per_second"] for s in (2, 20))
    assert long > short * 1.05


def test_parts_add_up_and_frozen_ones_are_told():
    encoder = build_encoder("small", extra_tokens=2)
    encoder.frontend.requires_grad_(False)
    told = describe(encoder)
    assert told["parameters"] == sum(p.numel() for p in encoder.parameters())
    frozen = sum(p.numel() for p in encoder.frontend.parameters())
    assert told["parameters"] - told["trainable"] == frozen
    for key in ("parameters", "trainable", "macs_per_second"):
        assert told[key] == pytest.approx(sum(row[key] for row in told["parts"]))
    assert all(p.device.type == "cpu" for p in encoder.parameters())


def test_presets_are_counted_without_storage():
    assert all(p.device.type == "meta" for p in account.find("wavlm_large").parameters())


def test_folders_and_registered_models_are_found(tmp_path, monkeypatch):
    encoder = build_encoder("small", dim=32, num_heads=2, num_layers=1, ffn_dim=16)
    count = describe(encoder)["parameters"]
    assert describe(str(save_encoder(encoder, tmp_path / "encoder")))["parameters"] == count
    monkeypatch.setitem(account.REGISTRY, "mine", lambda: build_encoder("small", num_layers=1))
    assert describe("mine")["parameters"] < describe("small")["parameters"]
    with pytest.raises(ConfigError, match="presets are"):
        describe("no_such_preset")


def test_every_preset_is_described():
    for preset in PRESETS:
        assert describe(preset, seconds=1)["macs_per_second"] > 0
