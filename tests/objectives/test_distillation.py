"""Targets, losses and moving average against loops over rows, frames and channels."""

import copy
import math

import pytest
import torch
from sertools.objectives.distillation import (
    decay,
    follow,
    frame_loss,
    spread,
    squared_error,
    summarise,
    teacher_targets,
    utterance_loss,
)

close = torch.testing.assert_close


@pytest.fixture
def signals():
    torch.manual_seed(0)
    return [3 * torch.randn(2, 7, 5) + torch.randn(5) for _ in range(3)]


def slow_targets(signals):
    """Return frame targets, and the time mean of the blocks' average before normalisation."""
    rows, frames, dims = signals[0].shape
    target, plain = torch.zeros(rows, frames, dims), torch.zeros(rows, dims)
    for signal in signals:
        for row in range(rows):
            for dim in range(dims):
                channel = [float(value) for value in signal[row, :, dim]]
                mean = sum(channel) / frames
                variance = sum((value - mean) ** 2 for value in channel) / frames
                plain[row, dim] += mean / len(signals)
                for frame, value in enumerate(channel):
                    target[row, frame, dim] += (
                        (value - mean) / math.sqrt(variance + 1e-5) / len(signals))
    return target, plain


def test_targets_are_normalised_over_time_and_averaged_over_blocks(signals):
    frames, plain = slow_targets(signals)
    ours, utterance = teacher_targets(signals)
    close(ours, frames, atol=1e-5, rtol=0)
    close(teacher_targets(signals, "before_norm")[0], frames, atol=1e-5, rtol=0)
    close(teacher_targets(signals, "before_norm")[1], plain, atol=1e-5, rtol=0)
    assert ours.dtype == utterance.dtype == torch.float32


def test_the_released_utterance_target_is_zero_for_every_utterance():
    torch.manual_seed(1)
    signals = [5 + 10 * torch.randn(3, 249, 64) for _ in range(8)]
    assert float(teacher_targets(signals)[1].abs().max()) <= 1e-6
    told = teacher_targets(signals, "before_norm")[1]
    assert float((told[0] - told[1]).abs().mean()) > 0.1


def test_targets_in_half_precision_are_computed_in_single(signals):
    half = [signal.bfloat16() for signal in signals]
    ours = teacher_targets(half)[0]
    close(ours, teacher_targets([s.float() for s in half])[0], atol=0, rtol=0)


def test_a_constant_channel_gives_a_finite_target():
    ours = teacher_targets([torch.zeros(1, 6, 4), torch.full((1, 6, 4), 7.0)])[0]
    assert float(ours.abs().max()) < 1e-4


def test_frame_loss_by_loops():
    torch.manual_seed(2)
    prediction, target = torch.randn(3, 6, 4), torch.randn(3, 6, 4)
    weight = torch.tensor([[1, 0, 1, 1, 0, 0], [0] * 6, [1] * 6])
    total = {"all": 0.0, "weighted": 0.0}
    for row in range(3):
        for frame in range(6):
            for dim in range(4):
                error = (prediction[row, frame, dim] - target[row, frame, dim]) ** 2 / math.sqrt(4)
                total["all"] += float(error)
                total["weighted"] += float(error) * int(weight[row, frame])
    assert float(frame_loss(prediction, target)) == pytest.approx(total["all"] / 18)
    weighted = float(frame_loss(prediction, target, weight.float()))
    assert weighted == pytest.approx(total["weighted"] / 9)


def test_no_masked_frame_is_no_error():
    prediction = torch.randn(2, 0, 4, requires_grad=True)
    loss = frame_loss(prediction, torch.randn(2, 0, 4))
    loss.backward()
    assert float(loss.detach()) == 0
    weighted = frame_loss(torch.randn(2, 3, 4), torch.randn(2, 3, 4), torch.zeros(2, 3))
    assert float(weighted) == 0


def test_utterance_loss_by_loops():
    torch.manual_seed(3)
    summary, target = torch.randn(4, 9), torch.randn(4, 9)
    total = 0.0
    for row in range(4):
        for dim in range(9):
            total += float((summary[row, dim] - target[row, dim]) ** 2) / 3
    assert float(utterance_loss(summary, target)) == pytest.approx(total, rel=1e-5)
    assert float(utterance_loss(summary, target, "mean")) == pytest.approx(total / 4, rel=1e-5)


@pytest.mark.parametrize("reduction, growth", [("released", 8.0), ("mean", 1.0)])
def test_only_the_released_utterance_term_grows_with_the_rows(reduction, growth):
    """Size and gradient of one row's summary, in a batch of one and of eight equal rows."""
    torch.manual_seed(4)
    one, target = torch.randn(1, 16), torch.randn(1, 16)
    sizes, slopes = [], []
    for rows in (1, 8):
        shared = one.clone().requires_grad_(True)
        loss = utterance_loss(shared.expand(rows, -1), target.expand(rows, -1), reduction)
        loss.backward()
        sizes.append(float(loss.detach()))
        slopes.append(float(shared.grad.norm()))
    assert sizes[1] / sizes[0] == pytest.approx(growth, rel=1e-5)
    assert slopes[1] / slopes[0] == pytest.approx(growth, rel=1e-5)


def test_losses_are_computed_in_single_precision():
    torch.manual_seed(5)
    prediction, target = torch.randn(2, 300, 8).bfloat16(), torch.randn(2, 300, 8)
    assert squared_error(prediction, target).dtype == torch.float32
    assert float(frame_loss(prediction, target)) == float(frame_loss(prediction.float(), target))


@pytest.mark.parametrize("variant", ["chunk", "token", "global"])
def test_summaries_by_loops(variant):
    torch.manual_seed(6)
    tokens, frames = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
    ours = summarise(tokens, frames, variant)
    for row in range(2):
        for dim in range(4):
            expected = {
                "chunk": sum(float(tokens[row, k, dim]) for k in range(3)) / 3,
                "token": float(tokens[row, 2, dim]),
                "global": sum(float(frames[row, t, dim]) for t in range(5)) / 5,
            }[variant]
            assert float(ours[row, dim]) == pytest.approx(expected, abs=1e-6)


def test_spread_is_the_mean_of_the_channels_standard_deviations():
    values = torch.tensor([[[0.0, 5.0], [2.0, 5.0]], [[4.0, 5.0], [6.0, 5.0]]])
    # channel 0: 0 2 4 6, variance 20 / 3; channel 1 is constant
    expected = (math.sqrt(20 / 3 + 1e-6) + math.sqrt(1e-6)) / 2
    assert float(spread(values)) == pytest.approx(expected, rel=1e-6)


def test_decay_rises_linearly_and_then_stays():
    assert decay(0, 0.999, 0.99999, 20_000) == 0.999
    assert decay(5_000, 0.999, 0.99999, 20_000) == pytest.approx(0.999 + 0.00099 / 4, abs=1e-12)
    assert decay(19_999, 0.999, 0.99999, 20_000) < 0.99999
    assert decay(20_000, 0.999, 0.99999, 20_000) == decay(90_000, 0.999, 0.99999, 20_000) == 0.99999
    assert decay(1, 0.9, 0.99, 0) == 0.99


def test_the_teacher_is_the_moving_average_of_a_student_that_moves():
    torch.manual_seed(7)
    student = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    teacher = copy.deepcopy(student).requires_grad_(False)
    slow = {name: value.double() for name, value in teacher.state_dict().items()}
    for step in range(1, 30):
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        tau = decay(step, 0.5, 0.95, 20)
        follow(teacher, student, tau)
        for name, value in student.state_dict().items():
            slow[name] = tau * slow[name] + (1 - tau) * value.double()
    for name, value in teacher.state_dict().items():
        close(value.double(), slow[name], atol=1e-5, rtol=1e-5)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_the_teacher_may_hold_a_part_of_the_student_only():
    student = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    teacher = copy.deepcopy(student).requires_grad_(False)
    teacher[0] = torch.nn.Identity()
    before = student[0].weight.detach().clone()
    with torch.no_grad():
        student[1].weight.add_(1.0)
    follow(teacher, student, 0.75)
    close(student[1].weight - teacher[1].weight, torch.full((2, 2), 0.75))
    close(student[0].weight, before, atol=0, rtol=0)
