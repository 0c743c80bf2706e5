"""Distances to several layers of a teacher, against loops and the formula of the released code."""

import math

import pytest
import torch
import torch.nn.functional as F
from sertools.objectives.knowledge import l1_and_cosine


@pytest.fixture
def frames():
    """Return predictions and targets (3, 2, 7, 5), and valid frames."""
    torch.manual_seed(0)
    valid = torch.arange(7)[None] < torch.tensor([7, 4, 1])[:, None]
    return torch.randn(3, 2, 7, 5), 2 * torch.randn(3, 2, 7, 5), valid


def test_over_padding_it_is_the_released_loss(frames):
    """As s3prl has it: means over batch, layers, time and width; the cosine's over the first."""
    prediction, target, _ = frames
    everything = torch.ones(3, 7, dtype=torch.bool)
    l1, cosine, count = l1_and_cosine(prediction, target, everything)
    ours = (l1 / count).mean() + (cosine / count).mean()
    rec_loss = torch.nn.L1Loss(reduction="none")(prediction, target).mean()
    sim_loss = -F.logsigmoid(F.cosine_similarity(prediction, target, dim=-1))
    torch.testing.assert_close(ours, rec_loss + sim_loss.mean())
    torch.testing.assert_close(l1 / count, (prediction - target).abs().mean((0, 2, 3)))


def test_over_real_frames_it_is_that_of_a_loop(frames):
    prediction, target, valid = frames
    l1, cosine, count = l1_and_cosine(prediction, target, valid)
    assert int(count) == 12
    for layer in range(2):
        differences, distances = 0.0, 0.0
        for row, time in valid.nonzero().tolist():
            one, other = prediction[row, layer, time].tolist(), target[row, layer, time].tolist()
            differences += sum(abs(a - b) for a, b in zip(one, other, strict=True)) / 5
            product = sum(a * b for a, b in zip(one, other, strict=True))
            cos = product / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))
            distances += math.log(1 + math.exp(-cos))
        assert float(l1[layer]) == pytest.approx(differences, rel=1e-5)
        assert float(cosine[layer]) == pytest.approx(distances, rel=1e-5)


def test_padding_changes_nothing_and_learns_nothing(frames):
    prediction, target, valid = frames
    prediction.requires_grad_(True)
    expected = l1_and_cosine(prediction, target, valid)
    other = target.masked_fill(~valid[:, None, :, None], 1e4)
    for one, two in zip(expected, l1_and_cosine(prediction, other, valid), strict=True):
        assert torch.equal(one, two)
    (expected[0].sum() + expected[1].sum()).backward()
    learned = prediction.grad.abs().sum((1, 3)) > 0
    assert torch.equal(learned, valid)


def test_half_precision_is_compared_in_single(frames):
    prediction, target, valid = (each.half() if each.is_floating_point() else each
                                 for each in frames)
    single = l1_and_cosine(prediction.float(), target.float(), valid)
    for one, other in zip(l1_and_cosine(prediction, target, valid), single, strict=True):
        assert torch.equal(one, other)
    assert single[0].dtype == torch.float32


def test_nothing_waits_for_the_device():
    frames = torch.empty(2, 3, 7, 5, device="meta", requires_grad=True)
    mask = torch.empty(2, 7, dtype=torch.bool, device="meta")
    l1, cosine, count = l1_and_cosine(frames, frames, mask)
    ((l1 + cosine).sum() / count).backward()
    assert l1.shape == cosine.shape == (3,) and count.shape == ()
