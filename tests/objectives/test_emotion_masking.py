"""Masks of Vesper: the rule written out in loops on the same draws, and the shares it must give."""

import random
from fractions import Fraction

import pytest
import torch
from sertools.errors import ConfigError
from sertools.objectives import emotion_masking
from sertools.objectives.emotion_masking import MaskRule, draw_masks, frame_energy
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

RULES = [MaskRule(), MaskRule(mask="random"), MaskRule(mask="released")]
MATCHED = MaskRule(mask="random", budget="matched")


def speech(rows: int, seconds: float = 5.0) -> torch.Tensor:
    """Return noise (rows, L) of unit variance whose loudness goes up and down like syllables."""
    samples = round(16000 * seconds)
    rate, phase = 1.5 + 3 * torch.rand(rows, 1), 2 * torch.pi * torch.rand(rows, 1)
    waves = torch.sin(2 * torch.pi * rate * torch.arange(samples) / 16000 + phase)
    loudness = waves.clamp(min=0) ** 2 + 0.02
    return torch.nn.functional.layer_norm(loudness * torch.randn(rows, samples), (samples,))


def energies(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    return frame_energy(speech(rows), 249, 400, 320), torch.full((rows,), 249)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# The rule in loops: sections 3.4 (guided, random) and 8 (released) of the description


def slow_choice(among, keys, number):
    return sorted(among, key=lambda t: -keys[t])[:number]


def slow_apart(starts, apart, last):
    """Move starts one after the other, as the released code does, then drop."""
    starts = list(starts)
    for k in range(1, len(starts)):
        if starts[k] - starts[k - 1] < apart:
            starts[k] = starts[k - 1] + apart
    return [start for start in starts if start <= last]


def slow_row(energy, length, rule, keys, bounds):
    """Return both masks of one utterance as lists; `keys` are its random numbers, draw by draw."""
    total = len(energy)
    small, large = [False] * total, [False] * total
    span, apart, last = rule.small_span, rule.small_span + rule.gap, length - rule.small_span
    number = min(rule.small_spans, int(Fraction(str(rule.share)) * length / span))
    if rule.mask == "random":
        starts = slow_choice(range(last), next(keys), number)
        starts = slow_apart(sorted(starts), apart, last)
    else:
        loud = [t for t in range(last) if bounds[0] <= energy[t] <= bounds[1]]
        soft = [t for t in range(last) if bounds[2] <= energy[t] <= bounds[3]]
        loud = slow_choice(loud, next(keys), number // 2)
        soft = slow_choice(soft, next(keys), number - len(loud))
        if rule.mask == "emotion_guided":
            loud, soft = sorted(loud), sorted(soft)
        starts = slow_apart(loud, apart, last) + slow_apart(soft, apart, last)
    filling = next(keys)
    if len(starts) < number:
        starts += slow_choice(range(last), filling, number - len(starts))
    alone = slow_choice(range(last), next(keys), 1)
    for start in starts:
        for t in range(start, start + span):
            small[t] = True
    if not starts:
        starts = alone
        for t in range(alone[0], length):
            small[t] = True
    first, last = starts[0], length - rule.large_span
    number = min(rule.large_spans, int(Fraction(str(rule.share)) * length / rule.large_span))
    starts = sorted(start for start in starts if start < last)
    starts = slow_apart(starts, rule.large_span + rule.gap, last)
    subset, filling = next(keys), next(keys)
    if len(starts) < number:
        starts += slow_choice(range(last), filling, number - len(starts))
    else:
        starts = [starts[k] for k in slow_choice(range(len(starts)), subset, number)]
    for start in starts:
        for t in range(start, start + rule.large_span):
            large[t] = True
    if not starts:
        for t in range(first, length):
            large[t] = True
    return small, large


def slow_masks(energy, frames, rule, generator):
    """Loop over the utterances with the draws of a generator, in the order of `draw_masks`."""
    rows, total = energy.shape
    most = min(rule.small_spans, total)
    places = [total] * (3 if rule.mask == "random" else 4)  # small: sets, filling, the only start
    # large: which of the starts (every column that small ones take), filling
    columns = 2 * most + (min(max(1, rule.small_spans // 2), total) if rule.mask != "random" else 0)
    tables = [torch.rand(rows, place, generator=generator) for place in [*places, columns, total]]
    bounds = [torch.tensor(value) for value in (*rule.high, *rule.low)]
    smalls, larges = [], []
    for row in range(rows):
        length = int(frames[row])
        greatest = energy[row, : length - rule.small_span].max()
        if rule.mask == "released":  # the thresholds compound
            bounds = [bound * greatest for bound in bounds]
            own = bounds
        else:
            own = [bound * greatest for bound in bounds]
        draws = iter([table[row].tolist() for table in tables])
        small, large = slow_row(energy[row].tolist(), length, rule, draws,
                                [float(bound) for bound in own])
        smalls.append(small)
        larges.append(large)
    return torch.tensor(smalls), torch.tensor(larges)


@pytest.mark.parametrize("rule", [
    *RULES, MaskRule(small_span=4, large_span=20), MaskRule(small_span=3, small_spans=1, gap=0),
    MaskRule(mask="released", small_span=4, large_span=20, share=0.5, high=(0.3, 0.8)),
    MaskRule(mask="random", small_span=5, large_span=11, large_spans=9, gap=3),
], ids=lambda rule: f"{rule.mask}-{rule.small_span}-{rule.large_span}")
def test_masks_are_those_of_the_loops(rule):
    torch.manual_seed(0)
    for seed in range(6):
        energy, _ = energies(12)
        frames = torch.randint(rule.small_span + 1, 250, (12,))
        frames[:3] = torch.tensor([249, rule.small_span + 1, 62])
        if seed == 5:  # maxima below 1: the released thresholds stay small and catch frames
            energy = 0.25 * energy
        small, large = draw_masks(energy, frames, rule, seeded(seed))
        slow_small, slow_large = slow_masks(energy, frames, rule, seeded(seed))
        assert torch.equal(small, slow_small) and torch.equal(large, slow_large)
        assert small.dtype == large.dtype == torch.bool and small.shape == energy.shape


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.mask)
@pytest.mark.parametrize("total", [12, 20, 70])
def test_short_utterances(rule, total):
    """R from 9 to 70: no span up to 12 frames, no large span up to 62, one or more from there."""
    frames = torch.arange(9, total + 1)
    energy = torch.rand(len(frames), total) + 0.1
    for seed in range(5):
        small, large = draw_masks(energy, frames, rule, seeded(seed))
        slow_small, slow_large = slow_masks(energy, frames, rule, seeded(seed))
        assert torch.equal(small, slow_small) and torch.equal(large, slow_large)
        for length, one, other in zip(frames.tolist(), small.tolist(), large.tolist(), strict=True):
            assert any(one) and any(other) and not any(one[length:]) and not any(other[length:])
            if length <= 12:
                assert one[length - 1] and one == other  # one start, masked to the end
            elif length <= 62:
                assert other[length - 1] and one[other.index(True)]
            else:
                assert sum(other) == 40


def test_an_utterance_shorter_than_a_span_is_masked_as_a_whole():
    for rule in RULES:
        small, large = draw_masks(torch.rand(3, 30), torch.tensor([8, 3, 0]), rule)
        assert small.sum(1).tolist() == large.sum(1).tolist() == [8, 3, 0]


# Parts


def test_starts_are_pushed_apart_as_one_after_the_other():
    draw = random.Random(0)
    for _ in range(2000):
        number, last, apart = draw.randint(1, 20), draw.randint(20, 240), draw.randint(1, 41)
        starts = [draw.randrange(last) for _ in range(number)]
        counted = draw.randint(0, number)
        for sort in (True, False):
            given = sorted(starts[:counted]) if sort else starts[:counted]
            found, kept = emotion_masking.push_apart(
                torch.tensor([starts]), torch.arange(number)[None] < counted, apart,
                torch.tensor([[last]]), sort)
            assert found[kept].tolist() == slow_apart(given, apart, last)
            assert kept[0].tolist() == sorted(kept[0].tolist(), reverse=True)


@pytest.mark.parametrize("share", [0.64, 0.5, 0.35, 0.9])
@pytest.mark.parametrize("span, most", [(8, 20), (40, 4), (4, 20), (20, 4), (7, 1000)])
def test_span_counts_are_those_of_exact_arithmetic(share, span, most):
    frames = torch.arange(1, 3001)
    wanted = [min(most, int(Fraction(str(share)) * length / span)) for length in frames.tolist()]
    assert emotion_masking.span_counts(frames, share, span, most)[:, 0].tolist() == wanted
    assert emotion_masking.span_counts(torch.tensor([249]), 0.64, 8, 20).tolist() == [[19]]
    assert emotion_masking.span_counts(torch.tensor([249]), 0.64, 40, 4).tolist() == [[3]]


def test_loud_and_soft_frames():
    torch.manual_seed(0)
    energy, rule = torch.rand(4, 50), MaskRule()
    energy[2] = 0.0  # silence: every frame is as loud as the loudest
    lasts = [42, 10, 42, 1]
    energy[1, 10] = 9.0  # too late to begin a span: it sets no threshold
    inside = torch.arange(50) < torch.tensor(lasts)[:, None]
    loud, soft = emotion_masking.candidates(energy, inside, rule)
    for row, last in enumerate(lasts):
        top = max(energy[row, :last].tolist())
        values = energy[row].tolist()
        assert loud[row].tolist() == [
            t < last and 0.5 * top <= values[t] <= top for t in range(50)]
        assert soft[row].tolist() == [
            t < last and 0.2 * top <= values[t] <= 0.49 * top for t in range(50)]


def test_released_thresholds_compound():
    maxima = torch.tensor([2.0, 3.0, 0.5])
    found = emotion_masking.thresholds(maxima, MaskRule(mask="released"))
    shares = torch.tensor([0.5, 1.0, 0.2, 0.49])
    torch.testing.assert_close(found, torch.stack([2 * shares, 6 * shares, 3 * shares]))


def test_energy_is_the_root_mean_square_of_each_frame():
    torch.manual_seed(0)
    waves = torch.randn(2, 4000)
    found = frame_energy(waves, 12, 400, 320)
    for row in range(2):
        for frame in range(12):
            piece = waves[row, 320 * frame : 320 * frame + 400]
            assert float(found[row, frame]) == pytest.approx(float(piece.square().mean()) ** 0.5)
    more = frame_energy(waves, 15, 400, 320)  # a front end that pads its end
    assert more.shape == (2, 15) and torch.equal(more[:, :12], found) and not more[:, 13:].any()
    assert torch.equal(frame_energy(waves, 5, 400, 320), found[:, :5])
    assert frame_energy(waves.half(), 12, 400, 320).dtype == torch.float32


# Distribution


def test_shares_and_places_of_five_seconds():
    """The expected values of the description for amplitude-modulated noise, R = 249."""
    torch.manual_seed(0)
    energy, frames = energies(400)
    inside = (torch.arange(249) < 241).expand(400, -1)
    loud, soft = emotion_masking.candidates(energy, inside, MaskRule())
    assert float(loud[:, :241].float().mean()) == pytest.approx(0.255, abs=0.02)
    assert float(soft[:, :241].float().mean()) == pytest.approx(0.118, abs=0.02)
    expected = {"released": (0.47, 0.48, 0.25, 0.12), "emotion_guided": (0.49, 0.48, 0.37, 0.42),
                "random": (0.60, 0.48, 0.27, 0.10)}
    for mask, (small_share, large_share, in_loud, in_soft) in expected.items():
        rule = MaskRule(mask=mask)
        small, large = draw_masks(energy, frames, rule)
        assert float(small.float().mean()) == pytest.approx(small_share, abs=0.02)
        assert float(large.float().mean()) == pytest.approx(large_share, abs=0.01)
        assert int(large.sum(1).max()) == 120  # 3 spans of 40
        starts, kept, tail = emotion_masking.small_starts(
            energy, frames, rule, lambda columns: torch.rand(400, columns))
        assert set(kept.sum(1).tolist()) == {19} and not tail.any()
        starts = starts.masked_fill(~kept, 0)
        for places, wanted in ((loud, in_loud), (soft, in_soft)):
            share = float((places.gather(1, starts) & kept).sum() / kept.sum())
            assert share == pytest.approx(wanted, abs=0.035)


def test_a_matched_budget_is_the_guided_share():
    torch.manual_seed(0)
    energy, frames = energies(300)
    guided = draw_masks(energy, frames, MaskRule())[0].float().mean()
    plain = draw_masks(energy, frames, MaskRule(mask="random"), seeded(1))
    thinned = draw_masks(energy, frames, MATCHED, seeded(1))
    assert float(plain[0].float().mean()) > float(guided) + 0.08
    assert float(thinned[0].float().mean()) == pytest.approx(float(guided), abs=0.015)
    assert torch.equal(thinned[1], plain[1])  # the large mask stays
    assert not (thinned[0] & ~plain[0]).any()  # frames are only taken away
    fragments = [length for row in thinned[0].tolist() for length in runs(row) if length < 8]
    assert len(fragments) <= 300  # one span of an utterance in part, the others whole


def test_a_matched_mask_has_the_count_of_a_guided_one():
    torch.manual_seed(2)
    energy, _ = energies(50)
    frames = torch.randint(9, 250, (50,))
    thinned = draw_masks(energy, frames, MATCHED, seeded(3))[0]
    draws = seeded(3)
    plain = draw_masks(energy, frames, MaskRule(mask="random"), draws)[0]
    guided = draw_masks(energy, frames, MaskRule(), draws)[0]  # the draws that follow
    assert torch.equal(thinned.sum(1), plain.sum(1).minimum(guided.sum(1)))


def runs(row):
    lengths, current = [], 0
    for value in [*row, False]:
        if not value and current:
            lengths.append(current)
        current = current + 1 if value else 0
    return lengths


# What must hold in any case


@pytest.mark.parametrize("rule", [*RULES, MATCHED], ids=lambda rule: f"{rule.mask}-{rule.budget}")
def test_the_generator_decides_and_padding_does_not(rule):
    torch.manual_seed(0)
    energy, _ = energies(8)
    frames = torch.tensor([249, 200, 100, 64, 63, 62, 13, 9])
    one = draw_masks(energy, frames, rule, seeded(1))
    again = draw_masks(energy, frames, rule, seeded(1))
    assert torch.equal(one[0], again[0]) and torch.equal(one[1], again[1])
    assert not torch.equal(one[0], draw_masks(energy, frames, rule, seeded(2))[0])
    torch.manual_seed(1)
    default = draw_masks(energy, frames, rule)
    assert torch.equal(default[0], one[0])
    padded = torch.arange(249) >= frames[:, None]
    for value in (0.0, 1e6, float("nan"), float("inf")):
        other = draw_masks(energy.masked_fill(padded, value), frames, rule, seeded(1))
        assert torch.equal(other[0], one[0]) and torch.equal(other[1], one[1])
    assert not (one[0] & padded).any() and not (one[1] & padded).any()


@pytest.mark.parametrize("rule", [MaskRule(), MaskRule(mask="random"), MATCHED],
                         ids=lambda rule: f"{rule.mask}-{rule.budget}")
def test_masks_are_the_same_with_a_wider_batch(rule, monkeypatch):
    """With equal random numbers for equal frames, more padding behind changes nothing."""
    torch.manual_seed(0)
    energy, frames = torch.rand(6, 90), torch.tensor([90, 80, 63, 40, 12, 9])
    numbers = torch.rand(20, 6, 400)
    turn = iter(())
    monkeypatch.setattr(emotion_masking.torch, "rand",
                        lambda rows, columns, **_: next(turn)[:rows, :columns])
    turn = iter(numbers)
    small, large = draw_masks(energy, frames, rule)
    turn = iter(numbers)
    wide = draw_masks(torch.nn.functional.pad(energy, (0, 210)), frames, rule)
    assert torch.equal(wide[0][:, :90], small) and not wide[0][:, 90:].any()
    assert torch.equal(wide[1][:, :90], large) and not wide[1][:, 90:].any()


@pytest.mark.parametrize("rule", [*RULES, MATCHED], ids=lambda rule: f"{rule.mask}-{rule.budget}")
def test_nothing_waits_for_values(rule):
    """Tensors without values: reading one, or a shape that depends on one, would raise."""
    with FakeTensorMode() as mode:
        with pytest.raises(DynamicOutputShapeException):
            torch.ones(3).nonzero()
        waves = torch.empty(5, 80000)
        frames = torch.empty(5, dtype=torch.long)
        small, large = draw_masks(frame_energy(waves, 249, 400, 320), frames, rule)
        assert small.shape == large.shape == (5, 249) and small.fake_mode is mode
        with pytest.raises(DataDependentOutputException):
            bool(small.any())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("rule", [*RULES, MATCHED], ids=lambda rule: f"{rule.mask}-{rule.budget}")
def test_nothing_waits_for_a_gpu(rule):
    waves, frames = speech(5).cuda(), torch.tensor([249, 200, 70, 30, 9]).cuda()
    draw_masks(frame_energy(waves, 249, 400, 320), frames, rule)  # loads kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        small, large = draw_masks(frame_energy(waves, 249, 400, 320), frames, rule)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    padded = torch.arange(249) >= frames.cpu()[:, None]
    for mask in (small.cpu(), large.cpu()):
        assert mask.any(1).all() and not (mask & padded).any()


def test_every_start_masks_exactly_its_span():
    starts = torch.tensor([[0, 3, 92, 50], [7, 7, 20, 90]])
    kept = torch.tensor([[True, True, True, False], [True, True, False, False]])
    found = emotion_masking.span_mask(starts, kept, 8, 100)
    assert found.nonzero()[:, 1].tolist() == [*range(11), *range(92, 100), *range(7, 15)]


def test_settings_that_cannot_work_are_all_named():
    with pytest.raises(ConfigError) as caught:
        MaskRule(mask="loud", budget="none", small_span=0, small_spans=2.5, gap=-1, share=1.0,
                 high=(0.9, 0.1), low=(0.2,))
    for name in ("mask:", "budget:", "small_span:", "small_spans:", "gap:", "share:", "high:",
                 "low:"):
        assert name in str(caught.value)
    with pytest.raises(ConfigError, match="large_span: 4 is less than small_span"):
        MaskRule(large_span=4)
    with pytest.raises(ConfigError, match="thins random masks"):
        MaskRule(budget="matched")
    assert MaskRule(high=[0.5, 1], low=[0.2, 0.49]) == MaskRule()  # lists, as from YAML
