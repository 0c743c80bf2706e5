"""Fusion of sound and words: by hand, whatever the padding, and as many parameters as expected."""

import math

import pytest
import torch
import transformers
from sertools.errors import ConfigError
from sertools.models.fusion import FUSIONS, AudioText, parameter_account, without_layerdrop
from sertools.models.presets import build_encoder
from sertools.models.text import TransformersText, small_text
from torch import nn

AUDIO = {"dim": 16, "num_layers": 2, "num_heads": 2, "ffn_dim": 32, "num_mels": 8,
         "position_kernel": 3}
LARGE, LARGE_WITHOUT_CNN = 315_438_720, 311_228_544


def model_of(fusion="concat", text_dim=16, **options):
    torch.manual_seed(3)
    text = small_text(40, dim=text_dim, num_layers=1, num_heads=2)
    settings = {"inner": 12, "heads": 2, **options}
    model = AudioText(build_encoder(**AUDIO), text, 3, fusion, **settings).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def batch():
    """Return three utterances with padding that would change everything if it were heard."""
    draw = torch.Generator().manual_seed(1)
    lengths, word_lengths = torch.tensor([8000, 5000, 6500]), torch.tensor([2, 7, 4])
    waves, words = torch.full((3, 8000), 3.0), torch.full((3, 9), 39)
    for n in range(3):
        waves[n, : lengths[n]] = torch.randn(int(lengths[n]), generator=draw)
        words[n, : word_lengths[n]] = torch.randint(1, 30, (int(word_lengths[n]),), generator=draw)
    return waves, lengths, words, word_lengths


@pytest.mark.parametrize("layers", ["last", "weighted_sum", 1])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_outputs_do_not_depend_on_padding_or_company(fusion, layers):
    model = model_of(fusion, layers=layers)
    waves, lengths, words, word_lengths = batch()
    together = model(waves, lengths, words, word_lengths)
    assert together.shape == (3, 3)
    for n in range(3):
        alone = model(waves[n : n + 1, : lengths[n]], None, words[n : n + 1, : word_lengths[n]])
        torch.testing.assert_close(together[n], alone[0], atol=2e-5, rtol=1e-4)
    others = torch.flip(torch.arange(3), [0])
    again = model(waves[others], lengths[others], words[others], word_lengths[others])
    torch.testing.assert_close(together, again[others], atol=2e-5, rtol=1e-4)


def by_hand(model, n=1):
    """Return the outputs of one utterance, in small steps."""
    waves, lengths, words, word_lengths = batch()
    said = {k: v.detach() for k, v in model.named_parameters()}
    if model.fusion != "text_only":
        frames = model.encoders["audio"](waves[n : n + 1, : lengths[n]]).last[0]
        a = sum(frames) / len(frames)
    if model.fusion != "audio_only":
        tokens = model.encoders["text"](words[n : n + 1, : word_lengths[n]])[0]
        t = sum(tokens) / len(tokens) if model.pool == "mean" else tokens[0]
    if model.fusion == "concat":
        x = torch.cat([a, t])
    elif model.fusion == "gated":
        if "match.weight" in said:
            t = said["match.weight"] @ t + said["match.bias"]
        g = 1 / (1 + torch.exp(-(said["gate.weight"] @ torch.cat([a, t]) + said["gate.bias"])))
        x = g * a + (1 - g) * t
    elif model.fusion == "cross_attention":
        x = attended(model.attention, frames, tokens)
        x = nn.functional.layer_norm(
            frames + x, frames.shape[-1:], said["attention_norm.weight"],
            said["attention_norm.bias"]).mean(0)
    else:
        x = a if model.fusion == "audio_only" else t
    inner = torch.tanh(said["head.1.weight"] @ x + said["head.1.bias"])
    return said["head.4.weight"] @ inner + said["head.4.bias"]


def attended(layer, frames, tokens):
    dim, bias = frames.shape[-1], layer.in_proj_bias.split(frames.shape[-1])
    if layer.in_proj_weight is not None:
        maps = layer.in_proj_weight.split(dim)
    else:
        maps = (layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight)
    q, k, v = (x @ w.T + b for x, w, b in
               zip((frames, tokens, tokens), maps, bias, strict=True))
    width, mixed = dim // layer.num_heads, []
    for head in range(layer.num_heads):
        part = slice(head * width, (head + 1) * width)
        weights = (q[:, part] @ k[:, part].T / math.sqrt(width)).softmax(-1)
        mixed.append(weights @ v[:, part])
    return layer.out_proj(torch.cat(mixed, dim=-1))


@pytest.mark.parametrize("text_dim, pool", [(16, "mean"), (8, "cls")])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_each_fusion_by_hand(fusion, pool, text_dim):
    model = model_of(fusion, text_dim, pool=pool)
    expected = by_hand(model)
    torch.testing.assert_close(model(*batch())[1], expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("fusion", ["concat", "gated", "text_only"])
def test_pooled_words_stand_for_their_tokens(fusion):
    model = model_of(fusion)
    waves, lengths, words, word_lengths = batch()
    vectors = model.pool_words(words, word_lengths)
    torch.testing.assert_close(model(waves, lengths, vectors),
                               model(waves, lengths, words, word_lengths))


def test_what_a_fusion_does_not_need_is_not_built():
    assert list(model_of("text_only").encoders) == ["text"]
    assert list(model_of("audio_only").encoders) == ["audio"]
    assert model_of("text_only")(words=batch()[2]).shape == (3, 3)


def test_the_layer_drop_is_turned_off():
    encoder = without_layerdrop(build_encoder(**AUDIO, layerdrop=0.5))
    assert encoder.config.layerdrop == 0
    config = transformers.HubertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        conv_dim=(8,) * 7, num_conv_pos_embedding_groups=2, layerdrop=0.3)
    assert without_layerdrop(transformers.HubertModel(config)).config.layerdrop == 0


@pytest.mark.parametrize("arguments, match", [
    ((None, None, 3), "no audio encoder"), ((None, None, 3, "text_only"), "no text encoder"),
    ((None, None, 3, "sum"), "fusion is 'sum'"),
])
def test_models_that_cannot_be_are_refused(arguments, match):
    with pytest.raises(ConfigError) as caught:
        AudioText(*arguments)
    assert any(match in problem for problem in caught.value.problems)
    with pytest.raises(ConfigError, match="configured"):
        model_of("cross_attention", heads=3)


# --- parameters ----------------------------------------------------------------------------------


def proposal(freeze=("cnn", "embeddings"), head=True):
    """Count DistilHuBERT and DistilBERT on tensors without storage."""
    with torch.device("meta"):
        audio = build_encoder("distilhubert")
        bert = transformers.DistilBertModel(transformers.DistilBertConfig())
        text = TransformersText(bert, "embeddings" if "embeddings" in freeze else "none")
        model = AudioText(audio, text, 3)
    if "cnn" in freeze:
        audio.frontend.layers.requires_grad_(False)
    return parameter_account(model if head else model.encoders)


@pytest.mark.parametrize("freeze, head, trained, share, of", [
    ((), False, 89_854_080, 28.5, LARGE),
    (("cnn",), False, 85_653_632, 27.5, LARGE_WITHOUT_CNN),
    (("embeddings",), False, 66_018_432, 20.9, LARGE),
    (("cnn", "embeddings"), False, 61_817_984, 19.6, LARGE),
    (("cnn", "embeddings"), False, 61_817_984, 19.9, LARGE_WITHOUT_CNN),
    (("cnn", "embeddings"), True, 63_000_707, 20.0, LARGE),
    (("cnn", "embeddings"), True, 63_000_707, 20.2, LARGE_WITHOUT_CNN),
])
def test_a_fifth_of_a_large_model_is_trained(freeze, head, trained, share, of):
    account = proposal(freeze, head)
    assert account == {"total": 89_854_080 + (1_182_723 if head else 0), "trainable": trained}
    assert round(100 * trained / of, 1) == share


def test_the_large_models_are_as_large_as_counted():
    with torch.device("meta"):
        hubert = transformers.HubertModel(transformers.HubertConfig(
            hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
            feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True))
    cnn = parameter_account(hubert.feature_extractor)["total"]
    total = parameter_account(hubert)["total"]
    assert (total, total - cnn) == (LARGE, LARGE_WITHOUT_CNN)
