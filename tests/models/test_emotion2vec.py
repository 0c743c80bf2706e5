"""emotion2vec: one pass against loops over rows, heads and frames; counts and cold start."""

import functools
import math

import pytest
import torch
import torch.nn.functional as F
from sertools.errors import ConfigError
from sertools.models.bias import alibi_slopes
from sertools.models.emotion2vec import DecoderConfig, Distillation, Emotion2vec
from sertools.models.presets import build_encoder
from sertools.objectives.distillation import teacher_targets
from sertools.objectives.masking import block_mask

close = functools.partial(torch.testing.assert_close, atol=2e-4, rtol=1e-4)
TINY = {"dim": 24, "num_layers": 3, "num_heads": 6, "ffn_dim": 32, "conv_dim": 16,
        "position_kernel": 5, "position_groups": 4, "position_depth": 2, "extra_tokens": 3}
QUIET = {"dropout": 0.0, "noise": 0.0}


def make(dropout=0.0, decoder=None, seed=0, preset="emotion2vec_base", **changes):
    """Return a Distillation whose teacher differs from the student and no weight is trivial."""
    torch.manual_seed(seed)
    options = {name: changes.pop(name) for name in
               ("utterance_loss", "utterance_target", "token_dropout") if name in changes}
    settings = {**TINY, "dropout": dropout, "attention_dropout": dropout, **changes}
    student = Emotion2vec(
        build_encoder(preset, **settings),
        DecoderConfig(**{"dim": 16, "groups": 4, "kernel": 3, "layers": 3, **QUIET,
                         **(decoder or {})}), context_layers=1,
    )
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model = Distillation(student, **options)
    with torch.no_grad():
        for parameter in model.teacher.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for encoder in (student.encoder, model.teacher.encoder):
            encoder.bias.by_distance.scale[1] = -0.5  # counts as 0
    return model


def waves(rows=2, frames=20):
    torch.manual_seed(1)
    return torch.randn(rows, 400 + 320 * (frames - 1))


# The same by loops


def slow_local(frontend, wave):
    """Return the (T, D) local features of one utterance (L,)."""
    x = wave[None]
    for layer in frontend.layers:
        x = F.conv1d(x, layer.weight.transpose(1, 2), None, stride=layer.stride)
        x = F.gelu(F.layer_norm(x.T, x.shape[:1], layer.norm.weight, layer.norm.bias)).T
    x = F.layer_norm(x.T, x.shape[:1], frontend.norm.weight, frontend.norm.bias)
    return x @ frontend.linear.weight.T + frontend.linear.bias


def slow_convs(convs, x, residual):
    """Run (T, D) through convolutions with LayerNorm without affine and GELU."""
    for conv in convs:
        y = F.conv1d(x.T, conv.weight, conv.bias, padding=conv.kernel_size[0] // 2,
                     groups=conv.groups).T
        y = F.gelu((y - y.mean(1, keepdim=True))
                   / (y.var(1, correction=0, keepdim=True) + 1e-5).sqrt())
        x = x + y if residual and x.shape == y.shape else y
    return x


def slow_attention(attention, x, places, scale):
    """Attend head by head, query by query, key by key; `places` is None for a token."""
    count, dim = x.shape
    heads = attention.num_heads
    width = dim // heads
    slopes = alibi_slopes(heads)
    query, key, value = (x @ attention.qkv.weight.T + attention.qkv.bias).chunk(3, 1)
    mixed = []
    for i in range(count):
        parts = []
        for head in range(heads):
            own = slice(head * width, (head + 1) * width)
            logits = []
            for j in range(count):
                bias = 0.0
                if places[i] is not None and places[j] is not None:
                    distance = abs(places[i] - places[j])
                    bias = -distance * slopes[head] * scale[head].clamp(min=0)
                logits.append((query[i, own] @ key[j, own]) / math.sqrt(width) + bias)
            weights = torch.stack(logits).softmax(0)
            parts.append(sum(weights[j] * value[j, own] for j in range(count)))
        mixed.append(torch.cat(parts))
    return torch.stack(mixed) @ attention.out.weight.T + attention.out.bias


def slow_blocks(encoder, frames, places):
    """Return outputs at tokens, at frames, and every block's signal at the frames."""
    extra = encoder.config.extra_tokens
    x = torch.cat([encoder.tokens[0], frames])
    places, signals = [None] * extra + places, []
    x = encoder.input_norm(x)
    for block in encoder.blocks:
        scale = encoder.bias.by_distance.scale
        x = block.attention_norm(x + slow_attention(block.attention, x, places, scale))
        first, _, _, second = block.ffn
        signal = F.gelu(x @ first.weight.T + first.bias) @ second.weight.T + second.bias
        x = block.ffn_norm(x + signal)
        signals.append(signal[extra:])
    return x[:extra], x[extra:], signals


def slow_student(model, wave, mask, shown):
    """Return the decoder's (T, D) output and the mean token of one masked row."""
    encoder, decoder = model.student.encoder, model.student.decoder
    rows = [torch.zeros(encoder.dim) if masked else row for row, masked in
            zip(slow_local(encoder.frontend, wave), mask, strict=True)]
    rows = torch.stack(rows)
    rows = rows + slow_convs(encoder.position.convs, rows, residual=False)
    order = ([t for t, masked in enumerate(mask) if not masked]
             + [t for t, masked in enumerate(mask) if masked])[:shown]
    tokens, frames, _ = slow_blocks(encoder, torch.stack([rows[t] for t in order]), order)
    full = torch.zeros(len(mask), encoder.dim)
    for frame, place in zip(frames, order, strict=True):
        full[place] = frame
    full = slow_convs(decoder.convs, full, residual=True)
    summary = {"chunk": tokens.mean(0), "token": tokens[-1], "global": frames.mean(0)}
    return full @ decoder.linear.weight.T + decoder.linear.bias, summary[model.utterance_loss]


def slow_signals(model, wave):
    """Return the teacher's main blocks' signals of a whole utterance."""
    features = slow_local(model.student.encoder.frontend, wave)
    encoder = model.teacher.encoder
    rows = features + slow_convs(encoder.position.convs, features, residual=False)
    return slow_blocks(encoder, rows, list(range(len(rows))))[2][1:]


def compare(model, waveforms, mask, masked):
    with torch.no_grad():
        out = model(waveforms, mask, masked)
        signals = [slow_signals(model, wave) for wave in waveforms]
        frames, utterances = teacher_targets(
            [torch.stack(layer) for layer in zip(*signals, strict=True)], model.utterance_target)
        shown = mask.shape[1] - int(mask[0].sum())
        for row in range(len(mask)):
            utterance = row // (len(mask) // len(waveforms))
            mine = mask[row].tolist()
            expected, summary = slow_student(model, waveforms[utterance], mine, shown)
            where = [t for t in range(len(mine)) if mine[t]]
            got = out.prediction[row], out.target[row]
            if out.weight is not None:
                assert int(out.weight[row].sum()) == len(where)
                got = [values[out.weight[row].bool()] for values in got]
            close(got[0], torch.stack([expected[t] for t in where]))
            close(got[1], torch.stack([frames[utterance, t] for t in where]))
            close(out.summary[row], summary)
            close(out.utterance[row], utterances[utterance])
    return out


@pytest.mark.parametrize("variant, target", [
    ("chunk", "released"), ("token", "before_norm"), ("global", "before_norm")])
def test_one_pass_by_loops(variant, target):
    model = make(utterance_loss=variant, utterance_target=target)
    mask = block_mask(4, 20)
    out = compare(model, waves(), mask, 10)
    assert out.prediction.shape == out.target.shape == (4, 10, 24) and out.weight is None
    assert out.summary.shape == out.utterance.shape == (4, 24)


def test_rows_that_mask_other_numbers_show_as_many_as_the_first():
    torch.manual_seed(3)
    mask = torch.rand(4, 20) < torch.tensor([0.5, 0.3, 0.7, 0.4])[:, None]
    assert len(set(mask.sum(1).tolist())) > 2
    out = compare(make(), waves(), mask, None)
    assert out.prediction.shape == (4, 20, 24)


def test_without_a_number_equal_rows_give_the_same():
    model, mask, audio = make(), block_mask(4, 20), waves()
    one, other = model(audio, mask, 10), model(audio, mask)
    close(other.prediction[other.weight.bool()].view(4, 10, 24), one.prediction)
    close(other.summary, one.summary)


def test_the_front_end_runs_once_per_utterance_and_the_teacher_too():
    model, seen = make(), []
    model.student.encoder.frontend.register_forward_hook(
        lambda module, args, output: seen.append(("front end", len(output))))
    model.student.encoder.blocks[0].register_forward_hook(
        lambda module, args, output: seen.append(("student", *output[0].shape[:2])))
    model.teacher.encoder.blocks[0].register_forward_hook(
        lambda module, args, output: seen.append(("teacher", *output[0].shape[:2])))
    model(waves(), block_mask(16, 20), 10)
    assert sorted(seen) == [("front end", 2), ("student", 16, 3 + 10), ("teacher", 2, 3 + 20)]


def total(out):
    return out.prediction.square().sum() + out.summary.square().sum()


def test_gradients_reach_every_weight_of_the_student_and_none_of_the_teacher():
    model = make()
    with torch.no_grad():
        model.student.encoder.bias.by_distance.scale.abs_()
    out = model(waves(), block_mask(4, 20), 10)
    assert not out.target.requires_grad and not out.utterance.requires_grad
    total(out).backward()
    for name, parameter in model.student.named_parameters():
        assert float(parameter.grad.abs().sum()) > 0, name
    assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())
    assert len(list(model.teacher.parameters())) > 30


def test_the_front_end_learns_from_the_student_only():
    """Its gradient is the same with a teacher that says something else."""
    model, audio, mask = make(), waves(), block_mask(4, 20)
    gradients = []
    for _ in range(2):
        model.zero_grad()
        total(model(audio, mask, 10)).backward()
        gradients.append(model.student.encoder.frontend.linear.weight.grad.clone())
        with torch.no_grad():
            for parameter in model.teacher.parameters():
                parameter.mul_(1.5)
    assert torch.equal(*gradients)


def test_the_teacher_never_trains():
    model = make(dropout=0.3, layerdrop=0.3).train()
    assert model.student.encoder.training
    assert not any(module.training for module in model.teacher.modules())
    audio, mask = waves(), block_mask(4, 20)
    one, other = model(audio, mask, 10), model(audio, mask, 10)
    assert torch.equal(one.target, other.target)
    assert not torch.allclose(one.prediction, other.prediction)
    assert model.teacher.train().training is False
    assert not hasattr(model.teacher.encoder.frontend, "layers")


@pytest.mark.parametrize("kind, zeros", [("released", True), ("none", False)])
def test_the_released_dropout_hits_the_tokens_too(kind, zeros):
    model = make(decoder={"dropout": 0.5}, utterance_loss="token", token_dropout=kind).train()
    out = model(waves(), block_mask(40, 20), 10)
    share = float((out.summary == 0).float().mean())
    assert share == pytest.approx(0.5 if zeros else 0.0, abs=0.08)
    model.eval()
    assert bool((model(waves(), block_mask(40, 20), 10).summary != 0).all())


def test_masked_slots_are_noise_for_the_decoder():
    model, got = make(decoder={"noise": 0.01}), []
    model.student.decoder.register_forward_pre_hook(lambda module, args: got.append(args[0]))
    mask = block_mask(40, 60)
    model(waves(2, 60), mask, 30)
    noise = got[0][mask].detach()
    assert float(noise.std()) == pytest.approx(0.01, rel=0.02)
    assert abs(float(noise.mean())) < 3e-4
    assert float(got[0][~mask].detach().std()) > 0.5


def test_without_tokens_frames_alone_are_learned():
    model = make(extra_tokens=0, utterance_loss="global", utterance_target="before_norm")
    out = model(waves(), block_mask(4, 20), 10)
    assert out.prediction.shape == (4, 10, 24) and out.summary.shape == (4, 24)


def test_silence_and_half_precision_stay_finite():
    model, mask = make(dropout=0.1).train(), block_mask(4, 20)
    for audio in (waves(), torch.zeros(2, 400 + 320 * 19)):
        with torch.autocast("cpu", torch.bfloat16):
            out = model(audio, mask, 10)
            loss = total(out).float() + (out.prediction.float() - out.target).square().sum()
        model.zero_grad()
        loss.backward()
        assert math.isfinite(float(loss.detach()))
        assert all(bool(torch.isfinite(p.grad).all()) for p in model.student.parameters())


def test_half_precision_is_close_to_single():
    model, audio, mask = make(), waves(), block_mask(4, 20)
    with torch.no_grad():
        single = model(audio, mask, 10)
        with torch.autocast("cpu", torch.bfloat16):
            half = model(audio, mask, 10)
    for name in ("prediction", "target", "summary"):
        one, other = getattr(single, name), getattr(half, name).float()
        assert float((one - other).norm() / one.norm()) < 0.05, name
    assert half.target.dtype == torch.float32


def test_the_teacher_as_a_whole_encoder_has_the_students_front_end():
    model, audio = make(dropout=0.2).train(), waves()
    whole = model.teacher_encoder()
    assert not whole.training
    with torch.no_grad():
        model.eval()
        features, _ = model.student.encoder.local(audio, normalised=True)
        signals = whole.contextualise(features, signals=True).signals
        for one, other in zip(signals[1:], model.teacher(features, 1), strict=True):
            close(one, other)
        ours = {name: value for name, value in model.student.encoder.named_parameters()}
        for name, value in whole.named_parameters():
            assert torch.equal(value, ours[name]) == name.startswith("frontend."), name


def test_the_mel_front_end_is_distilled_as_well():
    model = make(preset="emotion2vec_small")
    out = model(torch.randn(2, 16000), block_mask(4, 24), 12)
    total(out).backward()
    assert out.prediction.shape == (4, 12, 24)
    assert all(p.grad is not None for p in model.student.parameters())


def test_impossible_models_are_refused():
    encoder = build_encoder("emotion2vec_base", **TINY)
    with pytest.raises(ConfigError, match="context_layers: 3 leaves no main block of 3"):
        Emotion2vec(encoder, DecoderConfig(dim=16, groups=4), context_layers=3)
    with pytest.raises(ConfigError, match="groups: 16 does not divide"):
        Emotion2vec(encoder, DecoderConfig(), context_layers=1)
    with pytest.raises(ConfigError) as caught:
        DecoderConfig(dim=-7, dropout=2.0)
    assert caught.value.problems == ["dim: -7; must be positive", "dropout: 2.0; must be in [0, 1)"]
    with pytest.raises(ConfigError, match="extra_tokens: -3; must be 0 or more"):
        build_encoder("emotion2vec_base", **{**TINY, "extra_tokens": -3})


# The published model


def count(module):
    sizes = [parameter.numel() for parameter in module.parameters()]
    return sum(sizes), len(sizes)


def test_parameters_of_the_published_base_model():
    with torch.device("meta"):
        student = Emotion2vec(build_encoder("emotion2vec_base"))
    encoder = student.encoder
    assert count(student) == (93_790_988, 193)
    assert count(encoder) == (93_171_212, 183) and count(student.decoder) == (619_776, 10)
    assert count(encoder.frontend.layers)[0] == 4_206_592
    assert count(encoder.frontend)[0] - 4_206_592 == 395_008
    assert count(encoder.position)[0] == 3_505_920 and count(encoder.bias)[0] == 12
    assert encoder.tokens.numel() == 7_680 and count(encoder.input_norm)[0] == 1_536
    assert [count(block)[0] for block in encoder.blocks] == [7_087_872] * 12
    assert count(student)[0] - 7_680 == 93_783_308  # data2vec 2.0


def test_parameters_of_plus_large():
    with torch.device("meta"):
        encoder = build_encoder("emotion2vec_plus_large")
    head = torch.nn.Linear(1024, 9)
    assert tuple(a + b for a, b in zip(count(encoder), count(head), strict=True)) == (
        162_140_185, 185)


def test_a_cold_start_is_drawn_as_published():
    torch.manual_seed(0)
    settings = {"dim": 192, "num_layers": 3, "num_heads": 6, "ffn_dim": 384, "conv_dim": 64}
    student = Emotion2vec(build_encoder("emotion2vec_base", **settings),
                          DecoderConfig(dim=96), context_layers=1)
    encoder, decoder = student.encoder, student.decoder

    student.requires_grad_(False)

    def normal(tensor, std):
        assert float(tensor.std()) == pytest.approx(std, rel=0.05)
        assert float(tensor.abs().max()) > 2.5 * std  # a uniform one ends at 1.7

    def uniform(tensor, fan_in):
        bound = 1 / math.sqrt(fan_in)
        assert float(tensor.abs().max()) <= bound
        assert float(tensor.std()) == pytest.approx(bound / math.sqrt(3), rel=0.05)

    for number, layer in enumerate(encoder.frontend.layers):
        normal(layer.weight, math.sqrt(2 / ((64 if number else 1) * layer.kernel)))
        assert layer.bias is None
    for module in encoder.blocks.modules():
        if isinstance(module, torch.nn.Linear):
            normal(module.weight, 0.02)
            assert not module.bias.any()
    for module in student.modules():
        if isinstance(module, torch.nn.LayerNorm):
            assert bool((module.weight == 1).all()) and not module.bias.any()
    for conv in (*encoder.position.convs, *decoder.convs):
        uniform(conv.weight, conv.weight[0].numel())
        assert conv.bias.any()
    uniform(encoder.frontend.linear.weight, 64)
    uniform(decoder.linear.weight, 96)
    assert not encoder.tokens[0, 0].any()
    normal(encoder.tokens[0, 1:], 1.0)
    assert bool((encoder.bias.by_distance.scale == 1).all())
