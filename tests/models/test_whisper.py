"""Whisper's encoder against transformers' own model and feature extractor."""

import json

import pytest
import torch
import transformers
from sertools.data.batching import Batch
from sertools.data.feature_writer import _encode
from sertools.errors import ConfigError
from sertools.models.account import describe
from sertools.models.upstream import load_upstream
from sertools.models.whisper import SIZES, LogMel

WINDOW = 2
"""Seconds that the small encoder hears; the published ones 30."""
SMALL = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2,
         "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 16,
         "vocab_size": 100, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
         "decoder_start_token_id": 1, "encoder_layerdrop": 0.9}  # fmt: skip


def build(folder, seconds=WINDOW, bands=20, kind="WhisperModel", **changes):
    config = transformers.WhisperConfig(
        **{**SMALL, "num_mel_bins": bands, "max_source_positions": 50 * seconds, **changes})
    torch.manual_seed(0)
    model = getattr(transformers, kind)(config)
    with torch.no_grad():  # as after training, LayerNorms are not those of a fresh model
        for name, value in model.named_parameters():
            if "layer_norm" in name:
                value.add_(0.3 * torch.randn_like(value))
    model.save_pretrained(folder)
    transformers.WhisperFeatureExtractor(
        feature_size=bands, chunk_length=seconds).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    return build(tmp_path_factory.mktemp("whisper"))


def speech(*lengths, seed=1):
    draw = torch.Generator().manual_seed(seed)
    batch = torch.zeros(len(lengths), max(lengths))
    for row, length in zip(batch, lengths, strict=True):
        row[:length] = 0.1 * torch.randn(length, generator=draw) + 0.05
    return batch, torch.tensor(lengths)


def theirs(folder, waveform):
    """Return all depths (T, D) and the final output of what transformers hears in one window."""
    extract = transformers.WhisperFeatureExtractor.from_pretrained(folder)
    mel = extract(waveform.numpy(), sampling_rate=16000, return_tensors="pt")["input_features"]
    encoder = transformers.WhisperModel.from_pretrained(folder).eval().encoder
    blocks = []
    for block in encoder.layers:
        block.register_forward_hook(lambda _, given, made: blocks.append((given[0], made)))
    with torch.no_grad():
        output = encoder(mel, output_hidden_states=True)
    hidden = [blocks[0][0], *(made for _, made in blocks)]
    assert len(output.hidden_states) == len(hidden)
    for one, other in zip(output.hidden_states[:-1], hidden[:-1], strict=True):
        assert torch.equal(one, other)
    return [layer[0] for layer in hidden], output.last_hidden_state[0]


@pytest.mark.parametrize("seconds, bands, kind", [
    (30, 80, "WhisperModel"), (30, 128, "WhisperForConditionalGeneration"), (2, 20, "WhisperModel"),
])  # fmt: skip
def test_all_depths_are_those_of_transformers(tmp_path, seconds, bands, kind):
    upstream = load_upstream(build(tmp_path, seconds, bands, kind))
    batch, lengths = speech(20000, 7001)
    encoded = upstream(batch, lengths, hidden=True)
    assert encoded.lengths.tolist() == [63, 22]  # 62.5 and 21.9 frames of 20 ms
    assert upstream.frame_rate == 50.0 and upstream.sample_rate == 16000
    assert (upstream.max_seconds, upstream.dim, upstream.num_layers) == (seconds, 16, 2)
    for row, length in enumerate(lengths.tolist()):
        hidden, last = theirs(tmp_path, batch[row, :length])
        frames = int(encoded.lengths[row])
        for ours, wanted in zip([*encoded.hidden, encoded.last], [*hidden, last], strict=True):
            torch.testing.assert_close(ours[row, :frames], wanted[:frames], atol=1e-5, rtol=0)
    only = upstream(batch, lengths)
    assert only.hidden is None and torch.equal(only.last, encoded.last)


@pytest.mark.parametrize("bands", [80, 128])
@pytest.mark.parametrize("loudness", [0.0, 1e-4, 0.3])
def test_spectrograms_are_those_of_the_official_extractor(bands, loudness):
    extract = transformers.WhisperFeatureExtractor(feature_size=bands)
    waves = loudness * torch.randn(2, 480000, generator=torch.Generator().manual_seed(3))
    waves[1, 100_000:] = 0.0
    wanted = extract(list(waves.numpy()), sampling_rate=16000, return_tensors="pt")
    mel = LogMel(extract)
    torch.testing.assert_close(mel(waves), wanted["input_features"], atol=1e-5, rtol=0)


def test_half_precision_spares_the_spectrogram():
    mel = LogMel(transformers.WhisperFeatureExtractor())
    waves = speech(16000)[0]
    with torch.autocast("cpu", torch.bfloat16):
        half = mel(waves)
    assert torch.equal(half, mel(waves))


def test_padding_and_neighbours_change_nothing(whisper):
    upstream = load_upstream(whisper)
    batch, lengths = speech(75000, 5200, 300, 32000, 32001, 9000, 9000, 9000)  # 11 windows
    batch[1, 5200:] = 7.0  # what stands in the padding must not matter either
    together = upstream(batch, lengths, hidden=True)
    assert together.lengths.tolist() == [235, 17, 1, 100, 101, 29, 29, 29]
    for row, length in enumerate(lengths.tolist()):
        alone = upstream(batch[row : row + 1, :length], hidden=True)
        frames = int(together.lengths[row])
        assert alone.last.shape == (1, frames, 16) and alone.lengths.tolist() == [frames]
        for one, many in zip([*alone.hidden, alone.last], [*together.hidden, together.last],
                             strict=True):
            torch.testing.assert_close(one[0], many[row, :frames], atol=1e-5, rtol=0)


def test_long_audio_is_heard_in_consecutive_windows(whisper):
    upstream = load_upstream(whisper)
    batch, _ = speech(75000)
    whole = upstream(batch, hidden=True)
    parts = [theirs(whisper, batch[0, start : start + 32000]) for start in (0, 32000, 64000)]
    for depth, layer in enumerate([*whole.hidden, whole.last]):
        heard = [last if depth == 3 else hidden[depth] for hidden, last in parts]
        wanted = torch.cat([heard[0], heard[1], heard[2][:35]])
        torch.testing.assert_close(layer[0], wanted, atol=1e-5, rtol=0)


def test_frozen_is_frozen_and_trainable_trains(whisper):
    frozen = load_upstream(whisper).train()
    batch, lengths = speech(9000, 40000)
    assert torch.equal(frozen(batch, lengths).last, frozen(batch, lengths).last)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    for freeze in (True, False):
        upstream = load_upstream(whisper, trainable=True, freeze_frontend=freeze, dropout=0.2)
        upstream.train()
        assert not torch.equal(upstream(batch, lengths).last, upstream(batch, lengths).last)
        encoded = upstream(batch, lengths, hidden=True)
        assert len(encoded.hidden) == 3  # the checkpoint's layer drop is off
        sum(layer.square().sum() for layer in (*encoded.hidden, encoded.last)).backward()
        convolutions = [parameter.grad for parameter in upstream.frontend.parameters()]
        assert [gradient is None for gradient in convolutions] == [freeze] * 4
        others = [value.grad for name, value in upstream.named_parameters() if ".layers." in name]
        assert all(gradient is not None and gradient.isfinite().all() for gradient in others)


def test_cached_features_are_the_frames(whisper):
    upstream = load_upstream(whisper)
    batch, lengths = speech(9000, 40000)
    cached = _encode(upstream, Batch(ids=["a", "b"], inputs=batch, lengths=lengths), [0, 2], "fp32",
                     torch.float32, "")
    encoded = upstream(batch, lengths, hidden=True)
    assert cached["a"].shape == (2, 29, 16) and cached["b"].shape == (2, 125, 16)
    assert torch.equal(cached["a"][1], encoded.hidden[2][0, :29])


def test_identity_follows_weights_and_extractor(whisper, tmp_path):
    first, copy = load_upstream(whisper).identity, load_upstream(build(tmp_path / "a")).identity
    other = load_upstream(build(tmp_path / "b", bands=30)).identity
    assert first == copy and first["config"] != other["config"]
    assert first["weights"] != other["weights"]


def change(folder, name, **values):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_faults_are_told_in_words(tmp_path):
    folder = build(tmp_path / "w")
    with pytest.raises(ConfigError, match="hears waveforms as they are(.|\n)*normalise to null"):
        load_upstream(folder, normalise=True)
    with pytest.raises(ConfigError, match="layers is 1, but transformers runs"):
        load_upstream(folder, layers=1)
    change(folder, "preprocessor_config.json", feature_size=80, chunk_length=30, dither=0.1)
    with pytest.raises(ConfigError, match="does not fit") as caught:
        load_upstream(folder)
    for words in ("feature_size is 80, the encoder has 20", "3000 frames, the encoder hears 200",
                  "dither is 0.1"):
        assert words in str(caught.value)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ConfigError, match="preprocessor_config.json is missing(.|\n)*put the"):
        load_upstream(folder)
    (folder / "preprocessor_config.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_upstream(folder)
    change(folder, "config.json", model_type="speech_to_text")
    with pytest.raises(ConfigError, match="speech_to_text(.|\n)*known are (.|\n)*whisper"):
        load_upstream(folder)


def test_missing_weights_are_named(tmp_path):
    from safetensors.torch import load_file, save_file

    weights = load_file(build(tmp_path) / "model.safetensors")
    (name,) = (name for name in weights if name.endswith("encoder.layers.1.fc1.weight"))
    del weights[name]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match="missing(.|\n)*encoder.layers.1.fc1.weight"):
        load_upstream(tmp_path)


PUBLISHED = {"tiny": (1536, 6), "base": (2048, 8), "small": (3072, 12), "medium": (4096, 16),
             "large_v2": (5120, 20), "large_v3": (5120, 20)}  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
def test_counts_are_those_of_transformers_and_of_the_shapes(size):
    dim, layers, bands = SIZES[size]
    inner, heads = PUBLISHED[size]
    with torch.device("meta"):
        config = transformers.WhisperConfig(
            d_model=dim, encoder_layers=layers, encoder_attention_heads=heads,
            encoder_ffn_dim=inner, num_mel_bins=bands, decoder_layers=1,
            decoder_attention_heads=heads)
        encoder = transformers.WhisperModel(config).encoder
    told = describe(f"whisper_{size}", 10.0)
    assert told["parameters"] == sum(p.numel() for p in encoder.parameters())
    assert told["parameters"] - told["trainable"] == 1500 * dim  # sinusoids
    block = 1500 * (4 * dim * dim + 2 * dim * inner) + 2 * 1500 * 1500 * dim
    front = 3000 * 3 * bands * dim + 1500 * 3 * dim * dim + 3000 * 201 * bands
    assert told["macs_per_second"] * 10 == layers * block + front
    assert describe(f"whisper_{size}", 30.0)["macs_per_second"] * 3 == told["macs_per_second"]


def test_a_loaded_encoder_is_counted_as_it_hears(whisper):
    upstream = load_upstream(whisper)
    size = upstream.size()
    assert size["parameters"] == sum(p.numel() for p in upstream.model.whisper.parameters())
    block = 100 * (4 * 16 * 16 + 2 * 16 * 24) + 2 * 100 * 100 * 16
    window = 2 * block + 200 * 3 * 20 * 16 + 100 * 3 * 16 * 16 + 200 * 201 * 20
    assert size["macs_per_second"] * size["seconds"] == 5 * window  # 10 s are five windows
    assert not any(tensor.is_meta for tensor in upstream.parameters())
