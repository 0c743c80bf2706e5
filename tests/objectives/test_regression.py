"""Masked regression, against a loop over frames and against a gradient by hand."""

import pytest
import torch
from sertools.objectives.regression import masked_regression


@pytest.fixture
def frames():
    torch.manual_seed(0)
    mask = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]], dtype=torch.bool)
    return torch.randn(3, 5, 4), torch.randn(3, 5, 4), mask


def by_loop(prediction, target, mask):
    total, count = 0.0, 0
    for row in range(mask.shape[0]):
        for step in range(mask.shape[1]):
            if mask[row, step]:
                pairs = zip(prediction[row, step].tolist(), target[row, step].tolist(), strict=True)
                squares = [(p - t) ** 2 for p, t in pairs]
                total, count = total + sum(squares) / len(squares), count + 1
    return total, count


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("cached", [torch.float32, torch.float16, torch.bfloat16])
def test_sum_and_count_are_those_of_a_loop(frames, kind, cached):
    prediction, target, mask = frames[0].to(kind), frames[1].to(cached), frames[2]
    total, count = masked_regression(prediction, target, mask)
    wanted, number = by_loop(prediction, target, mask)
    assert total.dtype == torch.float32 and total.item() == pytest.approx(wanted, rel=1e-6)
    assert count.item() == number == 3


def test_by_hand():
    prediction = torch.tensor([[[1.0, 3.0], [9.0, 9.0]]])
    target = torch.tensor([[[0.0, 1.0], [0.0, 0.0]]])
    total, count = masked_regression(prediction, target, torch.tensor([[True, False]]))
    assert (total.item(), count.item()) == (2.5, 1)  # (1 + 4) / 2


def test_nothing_masked_is_zero_with_a_gradient(frames):
    prediction = frames[0].requires_grad_()
    total, count = masked_regression(prediction, frames[1], torch.zeros(3, 5, dtype=torch.bool))
    total.backward()
    assert total.item() == 0 and count.item() == 0
    assert torch.equal(prediction.grad, torch.zeros_like(prediction))


def test_gradient_by_hand(frames):
    prediction, target, mask = frames
    prediction.requires_grad_()
    masked_regression(prediction, target, mask)[0].backward()
    wanted = 2 * (prediction - target).detach() / 4 * mask[..., None]
    torch.testing.assert_close(prediction.grad, wanted)


def test_parts_add_up_to_the_whole(frames):
    """Sums and counts of passes, added, are those of all utterances in one pass."""
    whole = masked_regression(*frames)
    parts = [masked_regression(*(tensor[row : row + 1] for tensor in frames)) for row in range(3)]
    assert sum(total for total, _ in parts).item() == pytest.approx(whole[0].item())
    assert sum(count for _, count in parts).item() == whole[1].item()


def test_one_tensor_is_kept_for_the_gradient(frames):
    kept = []

    def keep(tensor):
        kept.append(tensor)
        return tensor

    prediction = frames[0].to(torch.bfloat16).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        masked_regression(prediction, frames[1].half(), frames[2])
    assert len([tensor for tensor in kept if tensor.dim() == 3]) == 1
