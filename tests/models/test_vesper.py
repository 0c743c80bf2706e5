"""Vesper: published counts, masks at their depths, padding, cached convolutions, gradients."""

import copy
import functools

import pytest
import torch
import torch.nn.functional as F
from sertools.errors import ConfigError
from sertools.models.account import describe
from sertools.models.heads import UtteranceHead
from sertools.models.presets import build_encoder
from sertools.models.thinning import thin
from sertools.models.upstream import load_upstream
from sertools.models.vesper import TERMS, Vesper, released_frames
from sertools.objectives.regression import masked_regression

close = functools.partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4)
BLOCK, OUTSIDE, CONVOLUTIONS, PREDICTOR = 12_596_760, 13_128_832, 4_206_592, 1_050_112


@pytest.fixture
def waves():
    torch.manual_seed(1)
    return 0.1 * torch.randn(3, 8000) + 0.02, torch.tensor([8000, 5123, 3000])


def masks_of(model, waveforms):
    torch.manual_seed(4)
    shape = (len(waveforms), model.config.frames(waveforms.shape[1]))
    return torch.rand(shape) < 0.4, torch.rand(shape) < 0.5


def vesper(encoder, layers=2, way="identity_mapping", **weights):
    torch.manual_seed(2)
    return Vesper(thin(encoder, layers, way), 12, weights or None).eval()


@pytest.mark.parametrize(
    ("name", "layers", "encoder", "pretraining", "trainable"),
    [
        ("vesper4", 4, 63_515_872, 66_666_208, 62_459_616),
        ("vesper12", 12, 164_289_952, 167_440_288, 163_233_696),
    ],
)
def test_published_counts(name, layers, encoder, pretraining, trainable):
    told = describe(name, 1)
    assert told["parameters"] == encoder == OUTSIDE + layers * BLOCK
    told = describe(f"{name}_pretraining", 1)
    parts = {row["name"]: row for row in told["parts"]}
    assert told["parameters"] == pretraining == encoder + 3 * PREDICTOR
    assert told["trainable"] == trainable == pretraining - CONVOLUTIONS
    assert parts["predictors"]["parameters"] == 3 * PREDICTOR
    assert parts["frontend"]["parameters"] - parts["frontend"]["trainable"] == CONVOLUTIONS
    assert parts["predictors"]["macs_per_second"] == 3 * 2 * 49 * 1024 * 512


@pytest.mark.parametrize(("layers", "count"), [(4, 263_433), (12, 263_441)])
def test_published_head_counts(layers, count):
    head = UtteranceHead(layers + 1, 1024, 4, layers="weighted_sum", projection=256)
    assert sum(parameter.numel() for parameter in head.parameters()) == count


@pytest.fixture(scope="module")
def wavlm(tmp_path_factory):
    """Return transformers' model in WavLM Large's layout, tiny, and its folder."""
    from transformers import WavLMConfig, WavLMModel

    torch.manual_seed(0)
    config = WavLMConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=64,
        conv_dim=[16] * 7, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=4,
        feat_extract_norm="layer", do_stable_layer_norm=True,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("wavlm") / "model"
    model = WavLMModel(config).eval()
    model.save_pretrained(folder)
    return model, folder


@pytest.mark.parametrize("layers", [2, 3, 4])
def test_masks_reach_their_depths(wavlm, waves, layers):
    """The same as transformers' blocks with frames replaced before block 1 and block I + 1."""
    theirs = copy.deepcopy(wavlm[0])
    theirs.encoder.layers = theirs.encoder.layers[:layers]
    model = vesper(load_upstream(wavlm[1], mask_embedding=True).model, layers)
    small, large = masks_of(model, waves[0])
    outputs, vector, middle = [], theirs.masked_spec_embed, layers // 2

    def replace(mask, module, args):
        frames = args[0].clone()
        for row in range(len(mask)):
            for step in range(mask.shape[1]):
                if mask[row, step]:
                    frames[row, step] = vector
        return (frames, *args[1:])

    for depth, mask in ((0, small), (middle, large)):
        hook = functools.partial(replace, mask)
        theirs.encoder.layers[depth].register_forward_pre_hook(hook)
    for layer in theirs.encoder.layers:
        layer.register_forward_hook(lambda *call: outputs.append(call[2][0]))
    with torch.no_grad():
        theirs(F.layer_norm(waves[0], waves[0].shape[-1:]))
        said = model(waves[0], None, small, large)
        assert model.middle == middle
        for name in TERMS:
            frames = outputs[middle - 1] if name == "acoustic" else outputs[-1]
            mean, std = frames.mean(-1, keepdim=True), frames.var(-1, keepdim=True, correction=0)
            first, _, second = model.predictors[name]
            inner = (frames - mean) / (std + 1e-5).sqrt() @ first.weight.t() + first.bias
            inner = 0.5 * inner * (1 + torch.erf(inner / 2**0.5))
            close(getattr(said, name), inner @ second.weight.t() + second.bias)
    assert first.weight.shape == (16, 32) and second.weight.shape == (12, 16)


def test_what_masks_hide_is_not_heard(tiny_encoder, waves):
    """No position: a frame that is masked before block 1 has no say anywhere."""
    model = vesper(tiny_encoder("mel per bin, 50 Hz"))
    frames = model.config.frames(waves[0].shape[1])
    small = torch.zeros(3, frames, dtype=torch.bool)
    small[:, 5:9] = True
    large = torch.zeros_like(small)
    large[:, 14] = True
    local = model.convolve(waves[0])
    changed, later = local.clone(), local.clone()
    changed[:, 5:9] += 1
    later[:, 14] += 1
    with torch.no_grad():
        said, same, heard = (model(None, None, small, large, local=x)
                             for x in (local, changed, later))  # fmt: skip
    for name in TERMS:
        assert torch.equal(getattr(said, name), getattr(same, name))
        assert not torch.equal(getattr(said, name), getattr(heard, name))
    # The large mask replaces the input of block 2, so that block 2 knows frame 14 only through
    # what block 1 told the others; what the middle says of it is from before the mask.
    assert not torch.equal(said.acoustic[:, 14], heard.acoustic[:, 14])


def test_one_block_reads_its_output_behind_both_masks(tiny_encoder, waves):
    model = vesper(tiny_encoder("mel"), 1)
    small, large = masks_of(model, waves[0])
    assert model.middle == 1
    with torch.no_grad():
        said = model(waves[0], None, small, large)
        again = model(waves[0], None, small | large)
        frames = model.encoder(waves[0], masks={0: small | large}).last
    for name in TERMS:
        assert torch.equal(getattr(said, name), getattr(again, name))
        close(getattr(said, name), model.predictors[name](frames))


@pytest.mark.parametrize("padding", ["fixed", "released"])
def test_cached_convolutions_say_the_same_as_audio(a_tiny_encoder, waves, padding):
    model = vesper(a_tiny_encoder)
    small, large = masks_of(model, waves[0])
    with torch.no_grad():
        audio = model(*waves, small, large, padding=padding)
        local = model.convolve(*waves, padding=padding)
        cached = model(*waves, small, large, local=local, padding=padding)
        half = model(*waves, small, large, local=local.half(), padding=padding)
        assert local.shape[:2] == small.shape
    assert torch.equal(audio.frames, cached.frames)
    for row, frames in enumerate(audio.frames.tolist()):
        for name in TERMS:
            one, other = getattr(audio, name)[row, :frames], getattr(cached, name)[row, :frames]
            close(one, other)
            close(one, getattr(half, name)[row, :frames], rtol=0.02, atol=0.02)


def test_alone_and_padded_agree(a_tiny_encoder, waves):
    model = vesper(a_tiny_encoder)
    small, large = masks_of(model, waves[0])
    with torch.no_grad():
        together = model(*waves, small, large)
        for row, length in enumerate(waves[1].tolist()):
            frames = int(together.frames[row])
            mine = [mask[row : row + 1, :frames] for mask in (small, large)]
            alone = model(waves[0][row : row + 1, :length], None, *mine)
            assert alone.frames.tolist() == [frames] and together.counted[row].sum() == frames
            assert alone.counted.all()
            for name in TERMS:
                close(getattr(together, name)[row, :frames], getattr(alone, name)[0])


def test_released_frames_are_those_of_the_reshape():
    torch.manual_seed(0)
    for length in (80_000, 79_999, 16_000, 8_000, 719):
        frames = 1 + (length - 400) // 320
        samples = torch.cat([torch.randint(1, length + 1, (50,)), torch.tensor([1, length])])
        padded = torch.arange(length)[None] >= samples[:, None]
        extra = length % frames
        padded = padded[:, :-extra] if extra else padded
        padded = padded.view(len(samples), frames, -1).all(-1)
        assert torch.equal(released_frames(samples, length, frames), (~padded).sum(1))


def test_released_padding_normalises_over_zeros_and_counts_all_frames(wavlm, waves):
    model = vesper(load_upstream(wavlm[1]).model)
    small, large = masks_of(model, waves[0])
    loud = waves[0].masked_fill(torch.arange(8000)[None] >= waves[1][:, None], 0.0)
    with torch.no_grad():
        said = model(loud, waves[1], small, large, padding="released")
        features, none = model.encoder.local(F.layer_norm(loud, (8000,)), normalised=True)
        frames = released_frames(waves[1], 8000, features.shape[1])
        masks = {0: small, 1: large}
        hidden = model.encoder.contextualise(features, frames, hidden=True, masks=masks).hidden
    assert none is None and torch.equal(said.frames, frames) and said.counted.all()
    assert not torch.equal(frames, model.config.frames(waves[1]))  # 333 samples a row, not 320
    close(said.cross, model.predictors["cross"](hidden[-1]))
    close(said.acoustic, model.predictors["acoustic"](hidden[1]))
    fixed = model(*waves, small, large)
    assert not torch.allclose(fixed.cross[2, :5], said.cross[2, :5], atol=1e-2)


def learned(model, waves, names):
    """Return the parameters that the losses of these names reach, and those that want to be."""
    said = model.train()(*waves, *masks_of(model, waves[0]))
    sum(getattr(said, name).square().sum() for name in names).backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    return reached, {name for name, p in model.named_parameters() if p.requires_grad}


def test_gradients_reach_all_but_the_convolutions(a_tiny_encoder, waves):
    model = vesper(a_tiny_encoder)
    reached, wanted = learned(model, waves, TERMS)
    assert reached == wanted
    frozen = {name for name, _ in model.named_parameters()} - wanted
    convolutions = model.config.frontend == "conv"
    assert all(name.startswith("encoder.frontend.layers.") for name in frozen)
    assert bool(frozen) == convolutions


@pytest.mark.parametrize("names", [["acoustic"], ["semantic"], ["acoustic", "cross"]])
def test_losses_without_weight_have_no_predictor(wavlm, waves, names):
    weights = {**dict.fromkeys(TERMS, 0), **dict.fromkeys(names, 0.5)}
    model = vesper(load_upstream(wavlm[1]).model, 4, **weights)
    said = model(*waves)
    assert [name for name in TERMS if getattr(said, name) is not None] == names
    assert list(model.predictors) == names
    reached, wanted = learned(model, waves, names)
    assert reached == wanted
    behind = {name for name in wanted if name.startswith(("encoder.blocks.2", "encoder.blocks.3"))}
    assert bool(behind) == (names != ["acoustic"])


def test_bf16_is_near_and_learns(wavlm, waves):
    model = vesper(load_upstream(wavlm[1]).model, 4)
    masks = masks_of(model, waves[0])
    single = model(*waves, *masks)
    local = model.convolve(*waves).half()
    with torch.autocast("cpu", torch.bfloat16):
        half = model(*waves, *masks)
        cached = model(*waves, *masks, local=local)
    for row, frames in enumerate(single.frames.tolist()):
        for said in (half, cached):
            one, other = said.cross[row, :frames].float(), single.cross[row, :frames]
            assert (one - other).abs().max() < 0.1
    half.cross.float().square().sum().backward()
    assert model.encoder.mask_embedding.grad.isfinite().all()


def test_what_cannot_be_is_refused_at_once(tiny_encoder):
    with pytest.raises(ConfigError) as caught:
        Vesper(tiny_encoder("mel"), 8, {"acoustic": -1, "kross": 1})
    told = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 3, told
    assert "mask_embedding" in told and "acoustic_weight: -1" in told and "kross" in told


def test_widths_may_differ():
    encoder = build_encoder("small", dim=24, num_heads=2, ffn_dim=8, mask_embedding=True)
    model = Vesper(encoder, 40, {"cross": 1})
    shapes = [tuple(p.shape) for p in model.predictors.parameters()]
    assert shapes == [(12, 24), (12,), (40, 12), (40,)]
    assert model(torch.randn(1, 8000)).cross.shape == (1, 12, 40)


@pytest.mark.parametrize("padding", ["fixed", "released"])
def test_nothing_waits_for_the_device(tiny_encoder, padding):
    """Tensors without storage cannot be looked at: whatever waited for a device would fail."""
    model = vesper(tiny_encoder("layer norm, gated")).to("meta")
    waveforms = torch.empty(3, 8000, device="meta")
    lengths = torch.empty(3, dtype=torch.long, device="meta")
    mask = torch.empty(3, 24, dtype=torch.bool, device="meta")
    local = model.convolve(waveforms, lengths, padding=padding)
    for given in (None, local):
        said = model(waveforms, lengths, mask, mask, local=given, padding=padding)
        target = torch.empty(3, 24, 12, dtype=torch.half, device="meta")
        total, count = masked_regression(said.cross, target, said.counted)
        total.backward()
        assert total.shape == count.shape == () and said.frames.shape == (3,)
