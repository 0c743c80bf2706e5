"""emotion2vec against a slow reference, against transformers' parts, and against FunASR's model."""

import importlib
import math
import sys
import types

import pytest
import torch
import torch.nn.functional as F
from emotion2vec_files import A, fine_tuned, pretrained, tiny
from sertools.models.emotion2vec import Emotion2vec
from sertools.models.presets import build_encoder
from sertools.models.weights.emotion2vec import LABELS, load_classifier, save_official

# -------------------------------------------------- the network as its table says, step by step


def normalise(x, weight=None, bias=None):
    """LayerNorm of the last axis, eps 1e-5."""
    centred = x - x.mean(-1, keepdim=True)
    y = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return y if weight is None else y * weight + bias


def gelu(x):
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def convolve(x, weight, bias=None, stride=1, groups=1, pad=0):
    """Convolve (T, C) with (O, C / groups, k): one output frame after the other."""
    outputs, width, kernel = weight.shape
    silence = x.new_zeros(pad, x.shape[1])
    x, share, frames = torch.cat([silence, x, silence]), outputs // groups, []
    for start in range(0, len(x) - kernel + 1, stride):
        window = x[start : start + kernel].T  # (C, k)
        parts = [
            (weight[g * share : (g + 1) * share] * window[g * width : (g + 1) * width]).sum((1, 2))
            for g in range(groups)
        ]
        frames.append(torch.cat(parts) + (0 if bias is None else bias))
    return torch.stack(frames)


def attend(x, w, name, heads, scale, tokens):
    """Every query and key by itself, with ALiBi between frames and none at tokens."""
    qkv = x @ w[f"{name}.attn.qkv.weight"].T + w[f"{name}.attn.qkv.bias"]
    query, key, value = qkv.chunk(3, 1)
    width, mixed = x.shape[1] // heads, torch.empty_like(x)
    for head in range(heads):
        own, slope = slice(head * width, (head + 1) * width), 2 ** (-8 * (head + 1) / heads)
        for i in range(len(x)):
            logits = key[:, own] @ query[i, own] / math.sqrt(width)
            for j in range(len(x)):
                if i >= tokens and j >= tokens:
                    logits[j] -= abs(i - j) * slope * max(float(scale[head]), 0.0)
            mixed[i, own] = logits.softmax(0) @ value[:, own]
    return mixed @ w[f"{name}.attn.proj.weight"].T + w[f"{name}.attn.proj.bias"]


def reference(tensors, waveform, heads, blocks, groups):
    """Return tokens (K, D), and per block (frames (T, D), teacher's signal (T, D)) of (L,)."""
    w = {name: value.double() for name, value in tensors.items() if name != "_ema"}
    x = normalise(waveform.double())[:, None]
    for i, stride in enumerate((5, 2, 2, 2, 2, 2, 2)):
        layer = f"{A}local_encoder.conv_layers.{i}"
        x = convolve(x, w[f"{layer}.0.weight"], stride=stride)
        x = gelu(normalise(x, w[f"{layer}.2.1.weight"], w[f"{layer}.2.1.bias"]))
    x = normalise(x, w[A + "project_features.1.weight"], w[A + "project_features.1.bias"])
    x = position = x @ w[A + "project_features.2.weight"].T + w[A + "project_features.2.bias"]
    for i in range(1, 6):
        layer = f"{A}relative_positional_encoder.{i}.0"
        position = convolve(position, w[f"{layer}.weight"], w[f"{layer}.bias"], 1, groups, 9)
        position = gelu(normalise(position))
    x = torch.cat([w[A + "extra_tokens"][0], x + position])
    tokens, scale = w[A + "extra_tokens"].shape[1], w[A + "alibi_scale"].flatten()
    x = normalise(x, w[A + "context_encoder.norm.weight"], w[A + "context_encoder.norm.bias"])
    said = []
    for name in blocks:
        x = x + attend(x, w, name, heads, scale, tokens)
        x = normalise(x, w[f"{name}.norm1.weight"], w[f"{name}.norm1.bias"])
        inner = gelu(x @ w[f"{name}.mlp.fc1.weight"].T + w[f"{name}.mlp.fc1.bias"])
        t = inner @ w[f"{name}.mlp.fc2.weight"].T + w[f"{name}.mlp.fc2.bias"]
        x = normalise(x + t, w[f"{name}.norm2.weight"], w[f"{name}.norm2.bias"])
        said.append((x[tokens:], t[tokens:]))
    return x[:tokens], said


def decode(tensors, x, groups):
    """Return what the decoder makes of (T, D)."""
    w = {name: value.double() for name, value in tensors.items() if name != "_ema"}
    for i in range(4):
        layer = f"{A}decoder.blocks.{i}.0"
        y = convolve(x, w[f"{layer}.weight"], w[f"{layer}.bias"], 1, groups, 3)
        x = gelu(normalise(y)) + (x if i else 0)
    return x @ w[A + "decoder.proj.weight"].T + w[A + "decoder.proj.bias"]


def assert_near(got, wanted, tolerance):
    torch.testing.assert_close(got.double(), wanted.double(), atol=tolerance, rtol=0)


BLOCKS = (f"{A}context_encoder.blocks.0", "blocks.0", "blocks.1")


@pytest.fixture(scope="module")
def model():
    with torch.no_grad():
        made = tiny()
        made.student.encoder.bias.by_distance.scale[1] = -0.5  # counts as 0
    return made


@pytest.mark.parametrize("samples", [400, 3333, 6000])
def test_every_block_equals_the_slow_reference(model, samples):
    torch.manual_seed(samples)
    waveform = 0.3 * torch.randn(samples) + 0.1
    tensors, encoder = pretrained(model), model.student.encoder
    with torch.no_grad():
        tokens, said = reference(tensors, waveform, 4, BLOCKS, 4)
        features, _ = encoder.local(waveform[None])
        got = encoder.contextualise(features, hidden=True, signals=True)
        assert len(said[0][0]) == got.last.shape[1] == 1 + (samples - 400) // 320
        for depth, (frames, signal) in enumerate(said):
            assert_near(got.hidden[depth + 1][0], frames, 1e-5)
            assert_near(got.signals[depth][0], signal, 1e-5)
        assert_near(got.last[0], said[-1][0], 1e-5)
        assert_near(got.tokens[0], tokens, 1e-5)
        decoded = model.student.decoder(got.last)[0]
        assert_near(decoded, decode(tensors, said[-1][0], 4), 1e-5)


def test_slopes_of_twelve_heads_are_interleaved():
    from sertools.models.bias import alibi_slopes

    first, rest = [2**-n for n in range(1, 9)], [2 ** -(n + 0.5) for n in range(4)]
    assert alibi_slopes(12) == pytest.approx(first + rest)


@pytest.mark.parametrize("padding", [0, 1, 7000])
def test_batched_equals_one_by_one(model, padding):
    """Frames and tokens, whatever lies in the padding."""
    torch.manual_seed(0)
    lengths = torch.tensor([9000, 400, 6100, 8999])
    batch = 100 * torch.randn(4, 9000 + padding)
    with torch.no_grad():
        together = model.student.encoder(batch, lengths, hidden=True)
        for row, length in enumerate(lengths.tolist()):
            alone = model.student.encoder(batch[row : row + 1, :length], hidden=True)
            frames = alone.last.shape[1]
            assert together.lengths[row] == frames
            assert_near(together.tokens[row], alone.tokens[0], 1e-4)
            for one, other in zip(together.hidden, alone.hidden, strict=True):
                assert_near(one[row, :frames], other[0], 1e-4)


# --------------------------------------------------------------------- parts in other libraries


def test_front_end_and_position_equal_those_of_transformers(model):
    """data2vec audio has the same convolutions, projection and stack of position convolutions."""
    from transformers import Data2VecAudioConfig
    from transformers.models.data2vec.modeling_data2vec_audio import (
        Data2VecAudioFeatureEncoder,
        Data2VecAudioFeatureProjection,
        Data2VecAudioPositionalConvEmbedding,
    )

    config = Data2VecAudioConfig(
        hidden_size=32, conv_dim=[16] * 7, num_conv_pos_embedding_groups=4, conv_pos_kernel_size=19
    )
    tensors = pretrained(model)
    convs = Data2VecAudioFeatureEncoder(config).eval()
    projection = Data2VecAudioFeatureProjection(config).eval()
    position = Data2VecAudioPositionalConvEmbedding(config).eval()
    fill(convs, tensors, {"conv_layers.{}.conv": "local_encoder.conv_layers.{}.0",
                          "conv_layers.{}.layer_norm": "local_encoder.conv_layers.{}.2.1"})
    fill(projection, tensors, {"layer_norm": "project_features.1",
                               "projection": "project_features.2"})
    fill(position, tensors, {"layers.{}.conv": "relative_positional_encoder.{+}.0"})
    waveforms = torch.randn(2, 7000)
    with torch.no_grad():
        features, _ = model.student.encoder.local(waveforms, normalised=True)
        wanted = projection(convs(waveforms).transpose(1, 2))
        wanted = wanted[0] if isinstance(wanted, tuple) else wanted
        assert_near(features, wanted, 1e-5)
        assert_near(model.student.encoder.position(features, None), position(wanted), 1e-5)


def fill(module, tensors, names):
    """Copy published tensors into a module of transformers; nothing of it may be left out."""
    state = {}
    for ours in module.state_dict():
        place, _, kind = ours.rpartition(".")
        number = "".join(filter(str.isdigit, place))
        theirs = names[place.replace(f".{number}.", ".{}.") if number else place]
        theirs = theirs.replace("{}", number).replace("{+}", str(int(number or 0) + 1))
        state[ours] = tensors[f"{A}{theirs}.{kind}"]
    module.load_state_dict(state)


# --------------------------------------------------------------------------------------- FunASR


def funasr_model(monkeypatch, cfg, outputs=-1):
    """Build FunASR's Emotion2vec; what reads audio files for it is not needed."""
    pytest.importorskip("funasr")
    pytest.importorskip("omegaconf")
    try:
        importlib.import_module("funasr.utils.load_utils")
    except ImportError:
        reader = types.ModuleType("funasr.utils.load_utils")
        reader.load_audio_text_image_video = None
        monkeypatch.setitem(sys.modules, reader.__name__, reader)
    module = importlib.import_module("funasr.models.emotion2vec.model")
    settings = {**cfg["model"], "normalize": True}
    return module.Emotion2vec(model_conf=settings, vocab_size=outputs).eval()


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "heads"), [(768, 12), (1024, 16)])
def test_full_size_equals_funasr(dim, heads, tmp_path, monkeypatch):
    """Every block and the features at random weights, then the scores of a classifier.

    funasr 1.4.16 (with omegaconf and kaldiio), torch 2.13 on a CPU: frames, signals and tokens of
    all blocks within 9.9e-6 (768) and 9.4e-6 (1024), scores within 4.5e-8 and 6.0e-8.
    """
    torch.manual_seed(0)
    encoder = build_encoder(
        "emotion2vec_base", dim=dim, num_heads=heads, ffn_dim=4 * dim, num_layers=12
    )
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    save_official(Emotion2vec(encoder.eval()), tmp_path / "m.pt")
    content = torch.load(tmp_path / "m.pt", weights_only=True)
    theirs = funasr_model(monkeypatch, content["cfg"])
    assert set(theirs.state_dict()) == set(content["model"])
    theirs.load_state_dict(content["model"])
    seen = []
    blocks = [*theirs.modality_encoders["AUDIO"].context_encoder.blocks, *theirs.blocks]
    for block in blocks:
        block.register_forward_hook(lambda _, __, output: seen.append(output))
    worst = 0.0
    for samples in (400, 8000, 33_333, 80_000):
        waveform = 0.3 * torch.randn(1, samples) + 0.1
        seen.clear()
        with torch.no_grad():
            source = F.layer_norm(waveform[0], waveform[0].shape)[None]
            wanted = theirs.extract_features(source)["x"]
            features, _ = encoder.local(waveform)
            got = encoder.contextualise(features, hidden=True, signals=True)
        pairs = [(got.last, wanted)]
        pairs += [(h, x[:, 10:]) for h, (x, _) in zip(got.hidden[1:], seen, strict=True)]
        pairs += [(s, t[:, 10:]) for s, (_, t) in zip(got.signals, seen, strict=True)]
        pairs += [(got.tokens, seen[-1][0][:, :10])]
        worst = max(worst, *((one - other).abs().max().item() for one, other in pairs))
    print(f"{dim}: largest difference of blocks, signals, tokens and features {worst:.1e}")
    assert worst <= 1e-4

    tensors = {f"d2v_model.{name}": value for name, value in content["model"].items()}
    tensors |= {"proj.weight": torch.randn(9, dim) / 30, "proj.bias": torch.randn(9)}
    torch.save(tensors, tmp_path / "model.pt")
    classifier, labels = load_classifier(tmp_path / "model.pt")
    theirs = funasr_model(monkeypatch, content["cfg"], len(LABELS))
    assert labels == list(LABELS)
    theirs.load_state_dict({k.removeprefix("d2v_model."): v for k, v in tensors.items()})
    with torch.no_grad():
        wanted = theirs.proj(theirs.extract_features(source)["x"].mean(1)).softmax(-1)
        got = classifier(waveform).softmax(-1)
    assert_near(got, wanted, 1e-4)
    print(f"{dim}: largest difference of scores {(got - wanted).abs().max().item():.1e}")


def test_fine_tuned_names_are_the_published_ones(model):
    """183 tensors of an encoder of 4 + 8 blocks, two of the classifier."""
    encoder = build_encoder("emotion2vec_base", dim=16, num_heads=2, ffn_dim=8, conv_dim=8)
    assert len(encoder.state_dict()) == 183
    assert len(fine_tuned(model.student.encoder)) == 183 - 9 * 12 + 2
