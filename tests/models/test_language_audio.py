"""Sound and sentences in one space: against transformers, whatever the padding, of known size."""

import math

import pytest
import torch
import transformers
from sertools.errors import ConfigError
from sertools.models.account import describe
from sertools.models.fusion import parameter_account
from sertools.models.language_audio import AttentivePool, LanguageAudio
from sertools.models.presets import build_encoder
from sertools.models.text import TransformersText, load_text, small_text
from sertools.models.upstream import load_upstream
from torch import nn

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 24, "conv_dim": (8,) * 7, "layerdrop": 0.5,
         "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
LAYER_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
KINDS = {"WavLM": LAYER_NORM, "Hubert": LAYER_NORM, "Wav2Vec2": LAYER_NORM,
         "Data2VecAudio": {"conv_pos_kernel_size": 3, "num_conv_pos_embeddings": 2}}
ROBERTA = {"vocab_size": 50, "max_position_embeddings": 40, "hidden_size": 12,
           "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
           "type_vocab_size": 1, "layer_norm_eps": 1e-5}
OWN = {"dim": 16, "num_layers": 2, "num_heads": 2, "ffn_dim": 32, "num_mels": 8,
       "position_kernel": 3}


def jolt(model):
    """Give every parameter another value: no zero biases, no ones; everything must matter."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return folders of tiny models of transformers, by kind."""
    root = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    for kind, settings in KINDS.items():
        config = getattr(transformers, f"{kind}Config")(**{**SMALL, **settings})
        jolt(getattr(transformers, f"{kind}Model")(config)).save_pretrained(root / kind)
    text = transformers.RobertaModel(transformers.RobertaConfig(**ROBERTA))
    jolt(text).save_pretrained(root / "Roberta")
    return {path.name: path for path in root.iterdir()}


@pytest.fixture
def make(saved):
    """Return a function that builds a model of an audio and a text encoder, in eval mode."""

    def build(audio="own", text="own", trainable=True, **options):
        torch.manual_seed(2)
        ears = build_encoder(**OWN) if audio == "own" else None
        if audio not in ("own", None):
            ears = load_upstream(saved[audio], "transformers", trainable, freeze_frontend=False)
        reader = (jolt(small_text(50, dim=12, num_layers=1, num_heads=2)) if text == "own"
                  else load_text(saved[text], freeze="none"))
        return LanguageAudio(ears, reader, **{"dim": 8, **options}).eval()

    return build


def batch():
    """Return waveforms and prompts whose padding would change everything if it were heard."""
    draw = torch.Generator().manual_seed(1)
    lengths, token_lengths = torch.tensor([5200, 3300, 4100]), torch.tensor([3, 7, 2, 5])
    waves, tokens = torch.full((3, 5200), 3.0), torch.full((4, 9), 39)
    for row, length in zip(waves, lengths.tolist(), strict=True):
        row[:length] = 0.1 * torch.randn(length, generator=draw)
    for row, length in zip(tokens, token_lengths.tolist(), strict=True):
        row[:length] = torch.randint(5, 35, (length,), generator=draw)
    return waves, lengths, tokens, token_lengths


@pytest.mark.parametrize("audio, text, options", [
    ("own", "own", {}),
    ("own", "own", {"pool": "attentive", "layers": "weighted_sum", "text_pool": "mean"}),
    ("own", "Roberta", {"layers": [0, -1]}),
    ("WavLM", "Roberta", {}),
    ("WavLM", "Roberta", {"pool": "attentive"}),
    ("Hubert", "Roberta", {"text_pool": "mean"}),
    ("Wav2Vec2", "own", {"pool": "attentive", "layers": "weighted_sum"}),
    ("Data2VecAudio", "own", {}),
])  # fmt: skip
def test_padding_and_company_change_nothing(make, audio, text, options):
    model = make(audio, text, **options)
    waves, lengths, tokens, token_lengths = batch()
    heard, read = model(waves, lengths, tokens, token_lengths)
    assert heard.shape == (3, 8) and read.shape == (4, 8)
    for vectors in (heard, read):
        assert vectors.dtype == torch.float32
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))
        assert (vectors[0] - vectors[1]).abs().max() > 1e-4  # not all the same to it
    for n in range(3):
        alone = model.embed_audio(waves[n : n + 1, : lengths[n]])[0]
        torch.testing.assert_close(heard[n], alone, atol=2e-5, rtol=1e-4)
    for n in range(4):
        alone = model.embed_text(tokens[n : n + 1, : token_lengths[n]])[0]
        torch.testing.assert_close(read[n], alone, atol=2e-6, rtol=1e-5)
    longer = nn.functional.pad(waves, (0, 3000), value=9.0)
    again = model.embed_audio(longer.flip(0), lengths.flip(0)).flip(0)
    torch.testing.assert_close(again, heard, atol=2e-5, rtol=1e-4)


def test_one_model_with_transformers_alone(make, saved):
    """WavLM and RoBERTa on each item by itself, mean of frames, first token, linear maps."""
    model = make("WavLM", "Roberta")
    wavlm = transformers.WavLMModel.from_pretrained(saved["WavLM"]).eval()
    roberta = transformers.RobertaModel.from_pretrained(saved["Roberta"]).eval()
    waves, lengths, tokens, token_lengths = batch()
    said = {name: value.detach() for name, value in model.named_parameters()}

    def space(head, vector):
        inner = said[f"{head}.0.weight"] @ vector + said[f"{head}.0.bias"]
        out = said[f"{head}.2.weight"] @ inner.clamp(min=0) + said[f"{head}.2.bias"]
        return out / out.square().sum().sqrt()

    sound, words = [], []
    with torch.no_grad():
        for wave, length in zip(waves, lengths, strict=True):
            wave = wave[:length]
            wave = (wave - wave.mean()) / (wave.var(correction=0) + 1e-5).sqrt()
            frames = wavlm(wave[None]).last_hidden_state[0]
            assert len(frames) == (int(length) - 400) // 320 + 1
            sound.append(space("audio_head", sum(frames) / len(frames)))
        for row, length in zip(tokens, token_lengths, strict=True):
            states = roberta(row[None, :length]).last_hidden_state[0]
            words.append(space("text_head", states[0]))
    sound, words = torch.stack(sound), torch.stack(words)
    heard, read = model(*batch())
    torch.testing.assert_close(heard, sound, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(read, words, atol=2e-6, rtol=1e-5)
    logits = [[sum(a * t) / 0.07 for t in words] for a in sound]
    torch.testing.assert_close(model.logits(heard, read), torch.tensor(logits), atol=5e-4, rtol=0)


def test_class_embeddings_gathered_are_those_of_every_item(make):
    """Each prompt encoded once, then gathered by label, is each item's own prompt."""
    model = make("own", "Roberta")
    _, _, tokens, token_lengths = batch()
    labels = torch.tensor([2, 0, 2, 3, 1, 0])
    once = model.embed_text(tokens, token_lengths)[labels]
    each = model.embed_text(tokens[labels], token_lengths[labels])
    torch.testing.assert_close(once, each, atol=2e-6, rtol=1e-5)
    model.train()  # dropout makes the difference
    each = model.embed_text(tokens[labels], token_lengths[labels])
    assert (each[0] - each[2]).abs().max() > 1e-4


def test_attentive_pooling_by_hand():
    torch.manual_seed(4)
    pool, frames = jolt(AttentivePool(3, inner=5)), torch.randn(2, 4, 3)
    lengths = torch.tensor([4, 2])
    frames[1, 2:] = math.nan
    (w, b), (v, c) = ((layer.weight, layer.bias) for layer in (pool.score[0], pool.score[2]))
    for row, length in ((0, 4), (1, 2)):
        scores = [(v @ torch.tanh(w @ h + b) + c).item() for h in frames[row, :length]]
        whole = sum(math.exp(score) for score in scores)
        expected = sum(math.exp(score) / whole * h
                       for score, h in zip(scores, frames[row], strict=False))
        torch.testing.assert_close(pool(frames, lengths)[row], expected)


# Inputs that are pooled, texts that are


def test_cached_vectors_stand_for_their_sound(make):
    model = make("own")
    waves, lengths, tokens, token_lengths = batch()
    cached = make(None, audio_dim=16)
    rest = {k: v for k, v in model.state_dict().items() if not k.startswith("encoders.audio")}
    cached.load_state_dict(rest)
    expected = model.embed_audio(waves, lengths)
    vectors = model.pool_audio(waves, lengths)
    assert torch.equal(cached(vectors)[0], expected)
    frames = model.encoders["audio"](waves, lengths)
    stacked = torch.stack([frames.last.flip(0), frames.last], 1)  # the last layer is heard
    torch.testing.assert_close(cached(stacked, frames.lengths)[0], expected)
    pooled = model.pool_tokens(tokens, token_lengths)
    assert torch.equal(cached.embed_text(pooled), model.embed_text(tokens, token_lengths))


def test_cached_layers_are_weighed(make):
    model, cached = make("own", layers="weighted_sum"), make(
        None, audio_dim=16, layers="weighted_sum", audio_layers=3)
    nn.init.normal_(model.reader.layer_weights)
    rest = {k: v for k, v in model.state_dict().items() if not k.startswith("encoders.audio")}
    cached.load_state_dict(rest)
    waves, lengths, *_ = batch()
    encoded = model.encoders["audio"](waves, lengths, hidden=True)
    frames = torch.stack(encoded.hidden, 1)
    torch.testing.assert_close(cached.embed_audio(frames, encoded.lengths),
                               model.embed_audio(waves, lengths))  # fmt: skip


# Scales


def test_scales_begin_at_the_inverse_of_007_and_stay_in_bounds(make):
    model = make(separate=True)
    for scales in (model.scales(), model.attribute_scales()):
        torch.testing.assert_close(scales, torch.tensor([1 / 0.07, 1 / 0.07]))
    with torch.no_grad():
        model.log_scales.copy_(torch.tensor([-0.5, 7.0]))
        model.attribute_log_scales.copy_(torch.tensor([4.0, 5.0]))
    torch.testing.assert_close(model.scales(), torch.tensor([1.0, 100.0]))
    model.clamp_scales()
    torch.testing.assert_close(model.log_scales.detach(), torch.tensor([0.0, math.log(100)]))
    torch.testing.assert_close(model.attribute_log_scales.detach(),
                               torch.tensor([4.0, math.log(100)]))  # fmt: skip


def test_a_clamped_scale_still_learns(make):
    model = make()
    with torch.no_grad():
        model.log_scales.copy_(torch.tensor([-3.0, 9.0]))
    model.scales().sum().backward()
    assert not model.log_scales.grad.any()  # dead outside
    model.log_scales.grad = None
    model.clamp_scales()
    model.scales().sum().backward()
    torch.testing.assert_close(model.log_scales.grad, torch.tensor([1.0, 100.0]))


def test_logits_are_scaled_cosines(make):
    model = make()
    with torch.no_grad():
        model.log_scales.copy_(torch.tensor([math.log(5.0), math.log(9.0)]))
    audio, classes = torch.eye(3, 8), torch.tensor([[0.6, 0.8, 0, 0, 0, 0, 0, 0]])
    expected = torch.tensor([[3.0], [4.0], [0.0]])
    torch.testing.assert_close(model.logits(audio, classes), expected)
    with torch.autocast("cpu", torch.bfloat16):
        half = model.logits(audio, classes)
    assert half.dtype == torch.float32 and torch.equal(half, model.logits(audio, classes))


def test_vectors_are_exact_units_under_autocast(make):
    model = make("WavLM", "Roberta")
    with torch.autocast("cpu", torch.bfloat16):
        half = model(*batch())
    for vectors, whole in zip(half, model(*batch()), strict=True):
        assert vectors.dtype == torch.float32 and not torch.equal(vectors, whole)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))
        assert (vectors * whole).sum(1).min() > 0.99


# Training


@pytest.mark.parametrize("options", [{}, {"pool": "attentive", "layers": "weighted_sum"}])
def test_everything_that_is_trained_gets_a_gradient(make, options):
    model = make("own", "Roberta", **options).train()
    heard, read = model(*batch())
    (model.logits(heard, read).logsumexp(1).sum() + model.scales()[1]).backward()
    unused = {name for name, p in model.named_parameters() if p.grad is None}
    norm = {f"encoders.audio.final_norm.{name}" for name in ("weight", "bias")}
    assert unused == (norm if "layers" in options else set())  # hidden layers are before the norm
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_the_layer_drop_is_off_in_training(make, saved):
    encoder = build_encoder(**OWN, layerdrop=0.9)
    model = LanguageAudio(encoder, small_text(50, dim=12, num_layers=1, num_heads=2), 8)
    assert model.encoders["audio"].config.layerdrop == 0
    drop = make("WavLM").encoders["audio"].model.config
    assert drop.layerdrop == 0 and not drop.apply_spec_augment
    assert transformers.WavLMConfig.from_pretrained(saved["WavLM"]).layerdrop == 0.5


def test_frozen_encoders_leave_the_heads_to_learn(make):
    model = make("WavLM", trainable=False).train()
    heard, _ = model(*batch())
    heard[:, 0].sum().backward()
    assert all(p.grad is None for p in model.encoders.parameters())
    assert model.audio_head[0].weight.grad.any() and not model.encoders["audio"].training


def test_a_device_is_never_asked_for_a_value(make):
    """Tensors without storage have none to give."""
    model = make("own", "own", pool="attentive", layers="weighted_sum").to("meta")
    heard, read = model(*(each.to("meta") for each in batch()))
    assert model.logits(heard, read).shape == (3, 4)


# Size


LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
         "intermediate_size": 4096}


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def roberta_base(pooler=False):
    config = transformers.RobertaConfig(vocab_size=50265, max_position_embeddings=514,
                                        type_vocab_size=1, layer_norm_eps=1e-5)
    with torch.device("meta"):
        return transformers.RobertaModel(config, add_pooling_layer=pooler)


def test_parameters_are_as_published():
    with torch.device("meta"):
        text = TransformersText(roberta_base(), "none")
        model = LanguageAudio(build_encoder("wavlm_large", mask_embedding=True), text)
        base = LanguageAudio(None, text, audio_dim=768)
    assert count(model.audio_head) == 1024 * 512 + 512 + 512 * 512 + 512 == 787_456
    assert count(model.text_head) == count(base.audio_head) == 656_384
    assert count(model) - count(model.encoders) == 1_443_842
    assert count(model.encoders["text"]) == 124_055_040
    assert count(roberta_base(pooler=True)) == 124_645_632
    assert count(model.encoders["audio"]) == 315_453_120
    assert parameter_account(model) == {"total": 440_952_002, "trainable": 440_952_002}


@pytest.mark.parametrize("name, audio", [
    ("wavlm_large", 315_453_120), ("hubert_large", 315_438_720), ("wav2vec2_large", 315_438_720),
    ("wavlm_base", 94_381_936), ("wavlm_base_plus", 94_381_936), ("hubert_base", 94_371_712),
    ("wav2vec2_base", 94_371_712),
])  # fmt: skip
def test_info_counts_each_audio_encoder(name, audio):
    told = describe(f"gemoclap_{name}", seconds=1)
    parts = {row["name"]: row["parameters"] for row in told["parts"]}
    head = 787_456 if "large" in name else 656_384
    assert parts.pop("(other)") == 0  # the cosines
    assert parts == {"encoders audio": audio, "encoders text": 124_055_040, "audio_head": head,
                     "text_head": 656_384, "log_scales": 2}
    assert told["parameters"] == told["trainable"] == sum(parts.values())


def test_data2vec_is_as_large_as_counted():
    """By transformers' published structure: layer norms in five position convolutions."""
    config = transformers.Data2VecAudioConfig(**LARGE)
    with torch.device("meta"):
        model = transformers.Data2VecAudioModel(config)
    assert round(count(model) / 1e6, 1) == 313.3


# Refusals


@pytest.mark.parametrize("options, match", [
    ({"pool": "max"}, "pool is 'max'"), ({"text_pool": "last"}, "text_pool is 'last'"),
    ({"dim": 0}, "dim is 0"), ({"audio_dim": 7}, "audio_dim is 7"),
    ({"audio": None}, "audio_dim must say"),
    ({"audio": None, "audio_dim": 16, "pool": "attentive"}, "pool is attentive"),
])  # fmt: skip
def test_models_that_cannot_be_are_refused(make, options, match):
    with pytest.raises(ConfigError) as caught:
        make(**options)
    assert len(caught.value.problems) == 1 and match in caught.value.problems[0]


def test_all_faults_are_told_at_once(make):
    with pytest.raises(ConfigError) as caught:
        LanguageAudio(None, None, 0, "attentive", text_pool="max")
    assert len(caught.value.problems) == 5
    with pytest.raises(ConfigError, match="layers is 7"):
        make(layers=7)
