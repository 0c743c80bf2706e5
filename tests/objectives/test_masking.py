"""Masks: exact counts, and the distribution of the three steps written out one by one."""

import random
import statistics

import pytest
import torch
from sertools.objectives.masking import block_mask, crop_masks, visible_first


def slow_mask(frames: int, share: float, span: int, adjust: float, draw: random.Random):
    """Draw one mask as it is defined: mark spans around centres, then mend the number."""
    marked = [False] * frames
    for _ in range(max(1, int((share + adjust) * frames / span))):
        centre = draw.randrange(frames)
        for place in range(centre - span // 2, centre + span // 2 + 1):
            if 0 <= place < frames:
                marked[place] = True
    target = int(share * frames)
    while sum(marked) > target:
        marked[draw.choice([i for i in range(frames) if marked[i]])] = False
    while sum(marked) < target:
        marked[draw.choice([i for i in range(frames) if not marked[i]])] = True
    return marked


def runs_of(row) -> list[int]:
    """Return the lengths of a row's runs of masked frames."""
    lengths, current = [], 0
    for value in [*row, False]:
        if value:
            current += 1
        elif current:
            lengths.append(current)
            current = 0
    return lengths


def summary(rows) -> dict[str, list[float]]:
    """Return statistics of each row whose means describe how masks are distributed."""
    found = {"mean run": [], "share in short runs": [], "first": [], "second": [], "third": [],
             "last": [], "middle": [], "spare marks at both ends": []}
    for row in rows:
        lengths = runs_of(row)
        found["mean run"].append(sum(lengths) / len(lengths))
        found["share in short runs"].append(sum(n for n in lengths if n < 5) / sum(lengths))
        found["first"].append(float(row[0]))
        found["second"].append(float(row[1]))
        found["third"].append(float(row[2]))
        found["last"].append(float(row[-1]))
        found["middle"].append(float(row[len(row) // 2]))
        found["spare marks at both ends"].append(float(row[0] and row[-1]))
    return found


def assert_alike(one: dict, other: dict, errors: float = 4.5):
    """Compare means within so many standard errors of their difference."""
    for name, values in one.items():
        spread = sum(statistics.pvariance(v) / len(v) for v in (values, other[name])) ** 0.5
        apart = abs(statistics.fmean(values) - statistics.fmean(other[name]))
        assert apart <= errors * spread + 1e-12, f"{name}: {apart} apart, {spread} expected"


@pytest.mark.parametrize("frames", [12, 13, 24, 25, 49, 100, 249, 500, 999, 1000])
@pytest.mark.parametrize("share", [0.5, 0.3, 0.8])
def test_every_row_masks_exactly_the_share(frames, share):
    mask = block_mask(50, frames, share)
    assert mask.dtype == torch.bool and mask.shape == (50, frames)
    assert set(mask.sum(1).tolist()) == {int(share * frames)}
    assert len({tuple(row) for row in mask.tolist()}) > 20


@pytest.mark.parametrize("frames, rows", [(12, 6000), (249, 3000), (1000, 400)])
def test_masks_are_distributed_as_by_the_three_steps(frames, rows):
    torch.manual_seed(0)
    draw = random.Random(1)
    ours = summary(block_mask(rows, frames).tolist())
    assert_alike(ours, summary(slow_mask(frames, 0.5, 5, 0.05, draw) for _ in range(rows)))


@pytest.mark.parametrize("span, share, adjust", [(3, 0.5, 0.05), (7, 0.3, 0.0), (1, 0.6, 0.1)])
def test_other_spans_and_shares_too(span, share, adjust):
    torch.manual_seed(2)
    draw = random.Random(3)
    ours = summary(block_mask(2000, 60, share, span, adjust).tolist())
    slow = [slow_mask(60, share, span, adjust, draw) for _ in range(2000)]
    assert_alike(ours, summary(slow))


def test_five_seconds_at_50_hz():
    """T = 249: 124 masked; mean run about 4.4; about 13 % of them in runs shorter than 5."""
    torch.manual_seed(0)
    mask = block_mask(4000, 249).tolist()
    assert {sum(row) for row in mask} == {124}
    lengths = [length for row in mask for length in runs_of(row)]
    short = sum(length for length in lengths if length < 5)
    assert short / sum(lengths) == pytest.approx(0.13, abs=0.015)
    assert statistics.fmean(lengths) == pytest.approx(4.4, abs=0.2)


def test_marks_and_spares_go_before_the_rest():
    """Where spans mark more than wanted all masked are marked; where less, all marked are."""
    for seed in range(20):
        torch.manual_seed(seed)
        centres = torch.randint(40, (1, int(0.55 * 40 / 5)))
        marked = {place for centre in centres[0].tolist() for place in range(centre - 2, centre + 3)
                  if 0 <= place < 40}
        torch.manual_seed(seed)
        masked = set(block_mask(1, 40).nonzero()[:, 1].tolist())
        assert masked <= marked or marked <= masked
        assert len(masked) == 20


def test_spans_are_clipped_at_both_ends():
    """With one centre and nothing to mend, the first and the last frame do get masked."""
    torch.manual_seed(0)
    mask = block_mask(4000, 12, share=3 / 12, span=5, adjust=0.0)
    frequency = mask.float().mean(0)
    assert float(frequency[0]) > 0.1 and float(frequency[-1]) > 0.1
    # frame 0 lies in the spans of centres 0, 1, 2; frame 5 in those of 3 to 7
    assert float(frequency[5]) > 1.3 * float(frequency[0])


def test_the_generator_decides():
    torch.manual_seed(5)
    one, two = block_mask(3, 100), block_mask(3, 100)
    torch.manual_seed(5)
    assert torch.equal(one, block_mask(3, 100)) and not torch.equal(one, two)


def test_cropped_masks_are_columns_of_the_whole():
    torch.manual_seed(0)
    whole, starts = block_mask(5, 80), torch.tensor([0, 7, 30, 50, 50])
    cropped = crop_masks(whole, starts, 30)
    for row, start in enumerate(starts.tolist()):
        assert cropped[row].tolist() == whole[row].tolist()[start : start + 30]
    assert len(set(crop_masks(block_mask(50, 200), torch.arange(50), 40).sum(1).tolist())) > 3


def test_visible_frames_first_and_in_order():
    torch.manual_seed(0)
    mask = block_mask(6, 33)
    for row, order in zip(mask.tolist(), visible_first(mask).tolist(), strict=True):
        assert order == [t for t in range(33) if not row[t]] + [t for t in range(33) if row[t]]
