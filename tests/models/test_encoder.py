"""The encoder: lengths, padding, masks, tokens, biases, attention, training."""

import functools
import json

import pytest
import torch
import torchaudio
from sertools.errors import ConfigError
from sertools.models import attention, frontend
from sertools.models.bias import Alibi, GatedRelativeBias, alibi_slopes
from sertools.models.config import EncoderConfig
from sertools.models.precision import cast_matrices
from sertools.models.presets import PRESETS, build_encoder, preset_config

close = functools.partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4)


@pytest.fixture
def waves():
    torch.manual_seed(1)
    return 0.1 * torch.randn(4, 8000) + 0.02, torch.tensor([8000, 5123, 3000, 250])


def test_alone_and_padded_agree(a_tiny_encoder, waves):
    encoder, (waveforms, lengths) = a_tiny_encoder, waves
    with torch.no_grad():
        together = encoder(waveforms, lengths, hidden=True)
        for row, length in enumerate(lengths.tolist()):
            alone = encoder(waveforms[row : row + 1, :length], hidden=True)
            frames = int(together.lengths[row])
            assert frames == alone.lengths.item() == alone.last.shape[1]
            for one, other in zip(together.hidden, alone.hidden, strict=True):
                torch.testing.assert_close(one[row, :frames], other[0], atol=1e-4, rtol=0)
            torch.testing.assert_close(
                together.last[row, :frames], alone.last[0], atol=1e-4, rtol=0
            )


def test_frames_follow_conv_arithmetic():
    config = preset_config("wavlm_base")
    assert (config.hop, config.receptive_field, config.frame_rate) == (320, 400, 50.0)
    for samples, frames in ((80000, 249), (104000, 324), (72000, 224), (48000, 149), (400, 1)):
        assert config.frames(samples) == frames
    assert config.frames(torch.tensor([1, 719, 720])).tolist() == [1, 1, 2]
    assert preset_config("small").frame_rate == 25.0
    assert preset_config("small", mel_stack=2).frames(80000) == 249


def test_garbage_in_the_padding_changes_nothing(a_tiny_encoder, waves):
    waveforms, lengths = waves
    loud = waveforms.clone()
    for row, length in enumerate(lengths.tolist()):
        loud[row, length:] = 100.0
    with torch.no_grad():
        quiet, noisy = a_tiny_encoder(waveforms, lengths), a_tiny_encoder(loud, lengths)
    for row, frames in enumerate(quiet.lengths.tolist()):
        assert torch.equal(quiet.last[row, :frames], noisy.last[row, :frames])


def test_gradients_and_chunks_take_different_ways_to_the_same(a_tiny_encoder, waves, monkeypatch):
    encoder, (waveforms, lengths) = a_tiny_encoder, waves
    monkeypatch.setattr(frontend, "CHUNK", 7)
    with torch.no_grad():
        chunked = encoder(waveforms, lengths)
    at_once = encoder(waveforms, lengths)
    assert at_once.last.requires_grad
    for row, frames in enumerate(chunked.lengths.tolist()):
        close(chunked.last[row, :frames], at_once.last[row, :frames])


@pytest.mark.parametrize("name", ["layer norm, gated", "alibi, tokens", "mel"])
def test_both_attentions_agree_also_in_their_gradients(name, tiny_encoder, waves):
    results = []
    for implementation in ("fused", "explicit"):
        encoder = tiny_encoder(name, attention=implementation)
        last = encoder(*waves).last[:, :6]
        last.square().mean().backward()
        results.append([last, *(p.grad for p in encoder.parameters() if p.grad is not None)])
    assert len(results[0]) == len(results[1]) > 10
    for one, other in zip(*results, strict=True):
        close(one, other)


def test_auto_attention_is_explicit_only_where_it_is_faster(tiny_encoder, waves, monkeypatch):
    used = []
    spelled_out = attention.attention_spelled_out
    monkeypatch.setattr(
        attention, "attention_spelled_out", lambda *a, **k: used.append(1) or spelled_out(*a, **k)
    )

    def explicit(name, precision=torch.float32, gradients=True):
        used.clear()
        autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16)
        with torch.set_grad_enabled(gradients), autocast:
            tiny_encoder(name)(waves[0])
        return bool(used)

    assert explicit("layer norm, gated") and explicit("mel", torch.bfloat16)
    assert not explicit("mel") and not explicit("layer norm, gated", gradients=False)


def test_every_parameter_learns(a_tiny_encoder, waves):
    a_tiny_encoder.train()(*waves).last.square().mean().backward()
    gradients = {n: p.grad for n, p in a_tiny_encoder.named_parameters()}
    without = {n for n, g in gradients.items() if g is None or not g.abs().sum() > 0}
    # A convolution's bias is taken away by the normalisation that follows it.
    assert {n for n in without if n != "frontend.layers.0.bias"} == set()


def test_bfloat16_is_close_and_finite(a_tiny_encoder, waves):
    with torch.no_grad():
        wanted = a_tiny_encoder(*waves).last
        with torch.autocast("cpu", torch.bfloat16):
            got = a_tiny_encoder(*waves).last.float()
    difference = (got - wanted)[:2, :6]
    assert difference.square().mean().sqrt() < 0.03 * wanted[:2, :6].std()
    with torch.autocast("cpu", torch.bfloat16):
        a_tiny_encoder(*waves).last.float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in a_tiny_encoder.parameters() if p.grad is not None)


def test_matrices_cast_once_give_what_autocast_gives(a_tiny_encoder, waves):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        wanted = a_tiny_encoder(*waves).last
        got = cast_matrices(a_tiny_encoder, torch.bfloat16)(*waves).last
    assert a_tiny_encoder.blocks[0].ffn[0].weight.dtype == torch.bfloat16
    assert torch.equal(got, wanted)


def test_masks_replace_frames_at_their_depth(waves):
    torch.manual_seed(0)
    encoder = build_encoder(
        "small", dim=32, num_layers=3, ffn_dim=64, mask_embedding=True, extra_tokens=2
    ).eval()
    frames = encoder.config.frames(8000)
    small = torch.zeros(4, frames, dtype=torch.bool)
    large = small.clone()
    small[:, 2:4], large[:, 5:8] = True, True
    with torch.no_grad():
        plain = encoder(waves[0], hidden=True)
        masked = encoder(waves[0], hidden=True, masks={0: small, 2: large})
        late = encoder(waves[0], hidden=True, masks={2: large})
        after = encoder.transform(
            torch.where(small[..., None], encoder.mask_embedding, plain.hidden[0])
        )
    assert torch.equal(masked.hidden[0], plain.hidden[0])  # recorded before the replacement
    assert not torch.equal(masked.hidden[1], plain.hidden[1])
    for depth in (0, 1, 2):
        assert torch.equal(late.hidden[depth], plain.hidden[depth])
    assert not torch.equal(late.hidden[3], plain.hidden[3])
    only_small = encoder(waves[0], masks={0: small})
    close(only_small.last, after.last)


def test_masked_frames_do_not_leak_their_content(tiny_encoder):
    encoder = tiny_encoder("mel", mask_embedding=True, num_layers=1)
    x = torch.randn(1, 9, 32)
    mask = torch.zeros(1, 9, dtype=torch.bool)
    mask[0, 4] = True
    changed = x.clone()
    changed[0, 4] += 1
    with torch.no_grad():
        one, other = (encoder.transform(v, masks={0: mask}).last for v in (x, changed))
    assert torch.equal(one, other)


def test_extra_tokens_see_and_are_seen_without_bias(tiny_encoder, waves):
    encoder = tiny_encoder("alibi, tokens")
    with torch.no_grad():
        encoded = encoder(*waves, hidden=True)
        bias = encoder.bias(5)
        assert encoded.tokens.shape == (4, 3, 32)
        assert encoded.last.shape == encoded.hidden[1].shape
        assert bias.shape == (1, 4, 8, 8)
        assert not bias[..., :3].any() and not bias[:, :, :3].any()
        before = encoded.last
        encoder.tokens.add_(1.0)
        assert not torch.equal(before, encoder(*waves).last)


def test_alibi_falls_with_the_distance_by_head(tiny_encoder):
    assert alibi_slopes(8) == [2.0**-n for n in range(1, 9)]
    assert alibi_slopes(12)[8:] == [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]
    bias = Alibi(4)
    wanted = -torch.tensor(alibi_slopes(4))[:, None] * torch.tensor([3.0, 0.0, 2.0])
    close(bias(torch.tensor([-3, 0, 2])), wanted)
    with torch.no_grad():
        bias.scale.fill_(-1)
    assert not bias(torch.tensor([-3, 0, 2])).any()


@pytest.mark.parametrize("name", ["alibi, tokens", "gated, tokens"])
def test_left_out_frames_keep_their_distances(name, tiny_encoder):
    encoder = tiny_encoder(name)
    extra = encoder.config.extra_tokens
    kept = torch.tensor([[0, 2, 3, 6], [1, 2, 5, 6]])
    with torch.no_grad():
        whole, some = encoder.bias(7)[0], encoder.bias(7, kept)
    for row, positions in enumerate(kept):
        picked = torch.cat([torch.arange(extra), positions + extra])
        close(some[row], whole[:, picked][:, :, picked])


def test_gated_buckets_tell_near_distances_and_directions_apart():
    bias = GatedRelativeBias(2, 320, 800)
    near = bias.buckets(torch.arange(-79, 80))
    assert len(set(near.tolist())) == 159
    far = bias.buckets(torch.tensor([80, 500, 799, 800, 5000, -5000]))
    assert far.tolist()[-3:] == [319, 319, 159] and (far[:3].diff() > 0).all()


def test_layerdrop_keeps_the_number_of_hidden_tensors(waves):
    encoder = build_encoder("small", dim=32, num_layers=6, ffn_dim=64, layerdrop=0.5)
    torch.manual_seed(0)
    hidden = encoder.train()(waves[0], hidden=True).hidden
    same = [torch.equal(a, b) for a, b in zip(hidden, hidden[1:], strict=False)]
    assert len(hidden) == 7 and any(same) and not all(same)
    hidden = encoder.eval()(waves[0], hidden=True).hidden
    assert not any(torch.equal(a, b) for a, b in zip(hidden, hidden[1:], strict=False))


@pytest.mark.parametrize("dropout", ["dropout", "attention_dropout", "activation_dropout"])
def test_dropouts_act_in_training_only(dropout, waves):
    torch.manual_seed(0)
    settings = {"dim": 32, "num_layers": 1, "ffn_dim": 64, dropout: 0.5}
    encoder = build_encoder("small", **settings).train()
    assert not torch.equal(encoder(waves[0]).last, encoder(waves[0]).last)
    encoder.eval()
    assert torch.equal(encoder(waves[0]).last, encoder(waves[0]).last)


def test_folded_weight_norm_follows_the_weights(tiny_encoder, waves):
    encoder = tiny_encoder("layer norm, gated")
    position = encoder.position
    wanted = torch._weight_norm(position.direction, position.gain, 2)
    with torch.no_grad():
        close(position.weight(), wanted)
        assert position.weight() is position.weight()
        before = encoder(waves[0]).last
        position.gain.mul_(2)
        close(position.weight(), 2 * wanted)
        assert not torch.allclose(encoder(waves[0]).last, before)
    encoder.load_state_dict({**encoder.state_dict(), "position.gain": position.gain / 2})
    with torch.no_grad():
        close(position.weight(), wanted)
    assert position.weight().requires_grad
    with torch.inference_mode():
        close(position.weight(), wanted)
    encoder.requires_grad_(False).frontend.requires_grad_(True)
    encoder(waves[0]).last.sum().backward()  # what inference mode made cannot be kept for this


@pytest.mark.parametrize(("kernel", "stride"), [(10, 5), (3, 2), (2, 2), (5, 2), (1, 1), (2, 3)])
def test_gradient_of_windows(kernel, stride):
    torch.manual_seed(0)
    for frames in (12, 13, 14):
        x = torch.randn(2, frames, 3, dtype=torch.double, requires_grad=True)
        windows = frontend.Windows.apply(x, kernel, stride)
        for t in range(windows.shape[1]):
            assert torch.equal(windows[:, t], x[:, t * stride : t * stride + kernel].flatten(1))
        assert torch.autograd.gradcheck(lambda v: frontend.Windows.apply(v, kernel, stride), (x,))


@pytest.mark.parametrize("per_bin", [False, True])
def test_log_mel_is_normalised_over_valid_frames_and_blind_to_level(per_bin, tiny_encoder):
    mel = tiny_encoder("mel", mel_norm="bin" if per_bin else "utterance").frontend
    waveforms = torch.randn(1, 16000)
    bands = mel.normalise(mel.log_mel(waveforms), None)
    over = 1 if per_bin else (1, 2)
    close(bands.mean(over), torch.zeros_like(bands.mean(over)))
    close(bands.std(over), torch.ones_like(bands.std(over)), atol=0.02)
    close(mel(waveforms, None), mel(10 * waveforms, None), atol=1e-3)


def test_log_mel_is_torchaudios(tiny_encoder):
    mel = tiny_encoder("mel").frontend
    waveforms = torch.randn(1, 16000)
    other = torchaudio.transforms.MelSpectrogram(
        16000, n_fft=512, win_length=400, hop_length=160, f_min=20.0, n_mels=80, center=False
    )
    # torchaudio centres the window of 400 in its frame of 512: 56 samples later than ours.
    wanted = (other(torch.nn.functional.pad(waveforms, (56, 56))) + 1e-6).log().transpose(1, 2)
    close(mel.log_mel(waveforms), wanted, atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"preset": "huge"}, "no encoder preset 'huge'"),
        ({"colour": "red"}, "unknown settings colour"),
        ({"position": "sine", "bias": "rotary"}, "position: 'sine'"),
        ({"position": "sine", "bias": "rotary"}, "bias: 'rotary'"),
        ({"dim": 30}, "not divisible by num_heads"),
        ({"dim": 36, "position": "conv"}, "not divisible by position_groups"),
        ({"dropout": 1.0}, "dropout: 1.0"),
        ({"bias": "gated", "num_buckets": 30}, "num_buckets: 30"),
        ({"dim": 0}, "dim: 0"),
    ],
)
def test_impossible_encoders_are_refused(settings, said):
    with pytest.raises(ConfigError) as caught:
        build_encoder(**settings)
    assert said in str(caught.value)


def test_configurations_survive_json():
    for preset in PRESETS:
        config = preset_config(preset, dropout=0.1)
        assert EncoderConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
