"""Parameters and multiply-accumulates, against transformers and against counts by hand."""

import pytest
import torch
from sertools.errors import ConfigError
from sertools.models import account
from sertools.models.account import describe
from sertools.models.emotion2vec import DecoderConfig, Emotion2vec
from sertools.models.heads import UtteranceHead
from sertools.models.presets import PRESETS, build_encoder
from sertools.models.weights import save_encoder
from sertools.models.weights.emotion2vec import save_official

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
    "hubert_large_ll60k": ("Hubert", {**LARGE, "conv_bias": True}, 315_438_720),
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


EMOTION2VEC = {  # counted by hand from the published shapes
    "cnn": 512 * 10 + 4 * 512 * 512 * 3 + 2 * 512 * 512 * 2 + 7 * 2 * 512,
    "projection": lambda dim: 2 * 512 + 512 * dim + dim,
    "position": lambda dim: 5 * (dim * dim // 16 * 19 + dim),
    "block": lambda dim: 12 * dim * dim + 13 * dim,
    "decoder": 384 * 48 * 7 + 3 * 384 * 24 * 7 + 4 * 384 + 384 * 768 + 768,
}


@pytest.mark.parametrize(
    ("name", "dim", "heads", "tokens", "last", "count"),
    [
        ("emotion2vec_base", 768, 12, 10, "decoder", 93_790_988),
        ("data2vec2_base", 768, 12, 0, "decoder", 93_783_308),
        ("emotion2vec_plus_large", 1024, 16, 10, "head", 162_140_185),
    ],
)
def test_emotion2vec_has_the_published_parameters_in_parts(name, dim, heads, tokens, last, count):
    told = describe(name)
    parts = {row["name"]: row["parameters"] for row in told["parts"]}
    assert told["parameters"] == count
    assert parts["frontend"] == EMOTION2VEC["cnn"] + EMOTION2VEC["projection"](dim)
    assert parts["position"] == EMOTION2VEC["position"](dim)
    blocks = sum(number for part, number in parts.items() if part.startswith("blocks "))
    assert blocks == 12 * EMOTION2VEC["block"](dim)
    assert parts.get("tokens", 0) == tokens * dim and parts["bias"] == heads
    assert parts[last] == (EMOTION2VEC["decoder"] if last == "decoder" else 9 * dim + 9)
    assert told["macs_per_second"] == pytest.approx(
        sum(row["macs_per_second"] for row in told["parts"])
    )
    inner = {row["name"]: row["macs_per_second"] for row in describe(build(name))["parts"]}
    for row in told["parts"]:  # the parts inside cost what they cost alone
        if row["name"] != last:
            assert row["macs_per_second"] == pytest.approx(inner[row["name"]]), row["name"]
    frames = 499  # of 10 s
    if last == "decoder":
        wanted = frames * (384 * 48 * 7 + 3 * 384 * 24 * 7 + 384 * 768)
        (cost,) = (row["macs_per_second"] for row in told["parts"] if row["name"] == "decoder")
        assert cost * 10 == wanted


def build(name):
    with torch.device("meta"):
        return build_encoder(name)


@pytest.mark.parametrize(("dim", "count"), [(768, 197_892), (1024, 263_428)])
def test_probes_have_the_published_parameters(dim, count):
    head = UtteranceHead(1, dim, 4, layers="last", projection=256, activation="relu")
    assert sum(parameter.numel() for parameter in head.parameters()) == count


def test_checkpoint_files_are_counted(tmp_path):
    encoder = build_encoder("emotion2vec_base", dim=32, num_layers=2, num_heads=2, ffn_dim=16,
                            conv_dim=16, position_groups=4)  # fmt: skip
    model = Emotion2vec(encoder, DecoderConfig(dim=16, groups=4), 1)
    path = save_official(model, tmp_path / "emotion2vec_base.pt")
    wanted = describe(encoder)
    for source in (path, tmp_path):
        assert describe(str(source))["parts"] == wanted["parts"]
