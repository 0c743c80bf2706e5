"""A shallow student of a teacher: its shape, what it begins with, gradients, padding."""

import pytest
import torch
from sertools.errors import ConfigError
from sertools.models.account import describe
from sertools.models.distilled import Distiller, Heads, student_of
from sertools.models.presets import build_encoder


@pytest.fixture
def waves():
    """Return three waveforms and their valid samples; noise behind the shorter ones."""
    torch.manual_seed(3)
    return 0.3 * torch.randn(3, 8000), torch.tensor([8000, 5000, 1500])


def distiller(teacher, targets=2, **options):
    torch.manual_seed(1)
    return Distiller(student_of(teacher, 1), 10, targets, **options).eval()


def test_published_parameters():
    encoder = describe("distilhubert", 1)
    assert encoder["parameters"] == 23_491_200
    with torch.device("meta"):
        convolutions = build_encoder("distilhubert").frontend.layers
    assert sum(p.numel() for p in convolutions.parameters()) == 4_200_448
    whole = describe("distilhubert_distillation", 1)
    assert whole["parameters"] == 27_034_752
    heads = {row["name"]: row["parameters"] for row in whole["parts"]}["heads"]
    assert heads == 27_034_752 - 23_491_200


def test_heads_are_separate_layers_of_their_own_slices():
    torch.manual_seed(0)
    heads, x = Heads(6, 4, 3), torch.randn(2, 5, 6)
    inner = torch.nn.functional.gelu(x @ heads.inner.weight.t() + heads.inner.bias)
    for layer, outer in enumerate(heads.outer):
        mine = inner[..., 6 * layer : 6 * (layer + 1)]
        torch.testing.assert_close(heads(x)[:, layer], mine @ outer.weight.t() + outer.bias)


@pytest.mark.parametrize("blocks", [None, [1, 0], [1, 1]])
def test_the_student_begins_as_its_teacher(a_tiny_encoder, blocks):
    teacher = a_tiny_encoder
    student = student_of(teacher, 2, "teacher", blocks, dropout=0.1)
    theirs, config = teacher.state_dict(), teacher.config
    found = set()
    for name, value in student.state_dict().items():
        if name.startswith("blocks."):
            _, number, rest = name.split(".", 2)
            name = f"blocks.{(blocks or [0, 1])[int(number)]}.{rest}"
        if name.startswith(("input_norm", "final_norm")):  # fresh, as in the released code
            assert torch.equal(value, torch.full_like(value, name.endswith("weight")))
        else:
            assert torch.equal(value, theirs[name]), name
            found.add(name)
    assert student.training and all(p.requires_grad for p in student.parameters())
    assert student.config.dropout == 0.1 and student.config.final_norm == config.final_norm
    assert student.mask_embedding is None
    left = {name for name in theirs if not name.startswith(("input_norm", "final_norm", "blocks"))}
    lost = {"frontend.norm.weight", "frontend.norm.bias"} if config.frontend == "conv" else set()
    assert left - found == lost


def test_random_students_take_nothing(tiny_encoder):
    teacher = tiny_encoder("group norm, gated")
    student = student_of(teacher, 3, "random", dim=48, num_heads=2, ffn_dim=16)
    assert (student.dim, student.num_layers, student.frontend.norm) == (48, 3, None)
    theirs = teacher.state_dict()
    weights = [name for name, value in student.state_dict().items() if value.dim() > 1
               and name in theirs and value.shape == theirs[name].shape]
    assert weights
    assert not any(torch.equal(student.state_dict()[name], theirs[name]) for name in weights)


@pytest.mark.parametrize("options, words", [
    ({"layers": 3}, "layers: 3, but the teacher has 2 blocks"),
    ({"layers": 2, "blocks": [0, 5]}, "blocks: 5"),
    ({"layers": 1, "blocks": [0, 1]}, "blocks: 2 of them for 1 layers"),
    ({"layers": 0}, "layers: 0"),
    ({"layers": 1, "initialisation": "half"}, "initialisation: 'half'"),
    ({"layers": 1, "dim": 8}, "dim: 8"),
])
def test_students_that_cannot_be_are_refused(tiny_encoder, options, words):
    with pytest.raises(ConfigError) as caught:
        student_of(tiny_encoder("layer norm, gated"), **options)
    assert words in "\n".join(caught.value.problems)


def test_alone_and_padded_agree(a_tiny_encoder, waves):
    model = distiller(a_tiny_encoder)
    with torch.no_grad():
        together, frames = model(*waves)
        assert together.shape[:2] == (3, 2) and together.shape[3] == 10
        for row, length in enumerate(waves[1].tolist()):
            alone, own = model(waves[0][row : row + 1, :length])
            assert own.tolist() == [frames[row]]
            torch.testing.assert_close(together[row, :, : frames[row]], alone[0], atol=2e-5,
                                       rtol=1e-4)
        local = model.encoder.convolve(*waves)
        cached, _ = model(None, waves[1], local=local)
        for row, number in enumerate(frames.tolist()):
            torch.testing.assert_close(together[row, :, :number], cached[row, :, :number])


def test_plain_group_norms_see_the_padding(tiny_encoder, waves):
    teacher = tiny_encoder("group norm, normalised")
    masked, plain = (distiller(teacher, frontend_norm=how) for how in ("masked", "plain"))
    with torch.no_grad():
        one, frames = masked(*waves)
        other, same = plain(*waves)
        assert torch.equal(frames, same)
        torch.testing.assert_close(one[0], other[0])  # the longest has no padding
        assert not torch.allclose(one[2, :, : frames[2]], other[2, :, : frames[2]], atol=1e-2)
        silent = waves[0].clone()
        silent[2, 1500:] = 0
        heard = silent[2:] - silent[2:, :1500].mean()
        heard[:, 1500:] = 0
        heard = heard / (heard[:, :1500].square().mean() + 1e-5).sqrt()
        features, _ = plain.encoder.local(heard, None, normalised=True)
        last = plain.encoder.contextualise(features, frames[2:]).last
        torch.testing.assert_close(other[2:, :, : frames[2]], plain.heads(last)[:, :, : frames[2]])


@pytest.mark.parametrize("name", ["group norm, gated", "layer norm, biased", "mel"])
def test_only_the_convolutions_learn_more_slowly(tiny_encoder, waves, name):
    gradients = {}
    for scale in (1.0, 0.1, 0.0):
        model = distiller(tiny_encoder(name), frontend_gradient=scale)
        model(*waves)[0].square().sum().backward()
        gradients[scale] = {key: p.grad for key, p in model.named_parameters()}
    assert all(gradient is not None for gradient in gradients[1.0].values())
    for key, gradient in gradients[1.0].items():
        convolution = key.startswith("encoder.frontend.layers.")
        factor = 0.1 if convolution else 1.0
        close = {"rtol": 1e-3, "atol": 1e-4 * float(gradient.abs().max())}
        torch.testing.assert_close(gradients[0.1][key], factor * gradient, **close)
        if convolution:
            assert gradients[0.0][key] is None
        else:
            torch.testing.assert_close(gradients[0.0][key], gradient, **close)


def test_what_cannot_be_is_refused_at_once(tiny_encoder):
    with pytest.raises(ConfigError) as caught:
        Distiller(tiny_encoder("mel"), 8, 0, frontend_gradient=-1, frontend_norm="both")
    assert [one.split(":")[0] for one in caught.value.problems] == [
        "targets", "frontend_gradient", "frontend_norm"]


def test_nothing_waits_for_the_device(tiny_encoder):
    model = distiller(tiny_encoder("group norm, gated")).to("meta")
    waveforms = torch.empty(3, 8000, device="meta")
    lengths = torch.empty(3, dtype=torch.long, device="meta")
    predictions, frames = model(waveforms, lengths)
    predictions.square().sum().backward()
    assert predictions.shape == (3, 2, 24, 10) and frames.shape == (3,)
