"""Masks of Vesper: short spans that follow loudness, and long spans grown out of them.

Source: Vesper (arXiv 2307.10757) and its released code. Everything is drawn on the device of the
energies with batched sorts and scatters: shapes do not depend on values, and nothing waits for the
device. Positions are in frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from sertools.errors import ConfigError
from torch import Tensor

MASKS = ("emotion_guided", "random", "released")
BUDGETS = ("released", "matched")


@dataclass(frozen=True)
class MaskRule:
    """How masks are drawn; the defaults are the published ones, at 50 frames per second.

    Raises:
        ConfigError: settings that cannot work, all of them at once.
    """

    mask: str = "emotion_guided"
    """`emotion_guided`: half of the spans start in loud frames, the others in soft ones;
    `random`: anywhere; `released`: as the released code does it, see `thresholds`."""
    budget: str = "released"
    """`released`: as many frames as the spans cover; `matched`, for `random` alone: no more frames
    of an utterance than a guided mask of it would have."""
    small_span: int = 8
    """Frames of a span of the small mask."""
    small_spans: int = 20
    """Most spans of the small mask."""
    large_span: int = 40
    """Frames of a span of the large mask."""
    large_spans: int = 4
    """Most spans of the large mask."""
    share: float = 0.64
    """No more spans than would fill this share of the utterance if none overlapped."""
    gap: int = 1
    """Frames between spans that are pushed apart."""
    high: tuple[float, float] = (0.5, 1.0)
    """Energy of loud frames, in shares of the utterance's maximum."""
    low: tuple[float, float] = (0.2, 0.49)
    """Energy of soft frames."""

    def __post_init__(self) -> None:
        wrong = [f"{name}: {getattr(self, name)!r} is unknown; give one of {', '.join(known)}"
                 for name, known in (("mask", MASKS), ("budget", BUDGETS))
                 if getattr(self, name) not in known]
        for name, least in (("small_span", 1), ("small_spans", 1), ("large_span", 1),
                            ("large_spans", 1), ("gap", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                wrong.append(f"{name}: {value!r}; give a whole number from {least} on")
        if not _is_number(self.share) or not 0 < self.share < 1:
            wrong.append(f"share: {self.share!r}; give a number between 0 and 1")
        for name in ("high", "low"):
            value = getattr(self, name)
            if (not isinstance(value, (list, tuple)) or len(value) != 2
                    or not all(map(_is_number, value)) or not 0 <= value[0] <= value[1] <= 1):
                wrong.append(f"{name}: {value!r}; give two numbers from 0 to 1, the lower first")
            else:
                object.__setattr__(self, name, tuple(map(float, value)))
        if not wrong and self.large_span < self.small_span:
            wrong.append(f"large_span: {self.large_span} is less than small_span, "
                         f"{self.small_span}; the large spans grow out of the small ones")
        if not wrong and self.budget == "matched" and self.mask != "random":
            wrong.append(f"budget: matched thins random masks, but mask is {self.mask}; "
                         "give budget: released or mask: random")
        if wrong:
            raise ConfigError("masks cannot be drawn like this", wrong)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def frame_energy(waveforms: Tensor, frames: int, window: int, hop: int) -> Tensor:
    """Return the root mean square of each frame's samples.

    Args:
        waveforms: (B, L), normalised.
        frames: how many values are wanted, T; samples beyond the end count as zeros.
        window: samples of a frame, 400 for seven convolutions as in wav2vec 2.0.
        hop: samples from one frame to the next, 320 there.

    Returns:
        float32 (B, T).
    """
    waveforms = waveforms.detach().float()
    missing = max(0, (frames - 1) * hop + window - waveforms.shape[1])
    pieces = F.pad(waveforms, (0, missing)).unfold(1, window, hop)[:, :frames]
    return torch.linalg.vector_norm(pieces, dim=-1) / window**0.5


@torch.no_grad()
def draw_masks(
    energy: Tensor, frames: Tensor, rule: MaskRule, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Draw the small and the large mask of each utterance.

    Args:
        energy: (B, T) from `frame_energy`; its values in padded frames do not matter.
        frames: int (B,) real frames R, on the same device. An utterance should have more than
            `small_span`; one that has not is masked as a whole.
        rule: the settings.
        generator: of that device; its default generator if None.

    Returns:
        (small, large): bool (B, T), True where a frame is masked.

    Only with `mask: released` do an utterance's masks depend on the others of the batch: on those
    before it, see `thresholds`.
    """

    def draw(columns: int) -> Tensor:
        return torch.rand(len(energy), columns, device=energy.device, generator=generator)

    starts, kept, tail = small_starts(energy, frames, rule, draw)
    small = span_mask(starts, kept, rule.small_span, energy.shape[1]) | tail
    large = _large_mask(starts, kept, tail, frames, rule, draw)
    if rule.budget == "matched":
        guided = replace(rule, mask="emotion_guided", budget="released")
        other, other_kept, other_tail = small_starts(energy, frames, guided, draw)
        other = span_mask(other, other_kept, rule.small_span, energy.shape[1]) | other_tail
        small = _thin(small, starts, kept, rule.small_span, other.sum(1, keepdim=True), draw)
    return small, large


def small_starts(energy: Tensor, frames: Tensor, rule: MaskRule, draw) -> tuple[Tensor, ...]:
    """Draw where spans of the small mask begin.

    Args:
        draw: gives (B, columns) numbers of [0, 1), each a draw of its own.

    Returns:
        starts int64 (B, M), kept bool (B, M): which of them count, and tail bool (B, T): what is
        masked instead where the utterance is too short for a single span by `share`.
    """
    width = energy.shape[1]
    most, length, apart = rule.small_spans, rule.small_span, rule.small_span + rule.gap
    last = (frames - length).clamp(min=0)[:, None].long()  # the last place where a span fits
    number = span_counts(frames, rule.share, length, most)
    inside = torch.arange(width, device=energy.device) < last
    sort = rule.mask != "released"
    if rule.mask == "random":
        drawn = [push_apart(*choose(inside, draw(width), number, most), apart, last, sort)]
    else:
        loud, soft = candidates(energy, inside, rule)
        half = (number // 2).minimum(loud.sum(1, keepdim=True))
        high, high_kept = choose(loud, draw(width), half, max(1, most // 2))
        low, low_kept = choose(soft, draw(width), number - half, most)
        drawn = [push_apart(high, high_kept, apart, last, sort),
                 push_apart(low, low_kept, apart, last, sort)]
    drawn.append(choose(inside, draw(width), number, most))
    starts, kept = (torch.cat(parts, 1) for parts in zip(*drawn, strict=True))
    kept = kept & (kept.cumsum(1) <= number)  # the uniform ones fill up what is missing
    # too short for a span: everything from one uniform start on
    begin = choose(inside, draw(width), torch.ones_like(last), 1)[0] * (last > 0)
    return starts, kept, _from(begin, frames, width) & ~kept.any(1, keepdim=True)


def _large_mask(starts: Tensor, kept: Tensor, tail: Tensor, frames: Tensor, rule: MaskRule,
                draw) -> Tensor:
    width, length = tail.shape[1], rule.large_span
    last = (frames - length).clamp(min=0)[:, None].long()
    number = span_counts(frames, rule.share, length, rule.large_spans)
    spread, fits = push_apart(starts, kept & (starts < last), length + rule.gap, last)
    column, chosen = choose(fits, draw(fits.shape[1]), number, rule.large_spans)
    inside = torch.arange(width, device=tail.device) < last
    more, uniform = choose(inside, draw(width), number, rule.large_spans)
    large = torch.cat([spread.gather(1, column), more], 1)
    large_kept = torch.cat([chosen, uniform], 1)
    large_kept = large_kept & (large_kept.cumsum(1) <= number)
    # too short for a large span: everything from the first small start on
    first = (starts * (kept & (kept.cumsum(1) == 1))).sum(1, keepdim=True)
    short = _from(first, frames, width) & kept.any(1, keepdim=True) | tail
    short = short & ~large_kept.any(1, keepdim=True)
    return span_mask(large, large_kept, length, width) | short


def thresholds(maxima: Tensor, rule: MaskRule) -> Tensor:
    """Return the energies between which frames are loud or soft: (B, 4), as `high` then `low`.

    The released code multiplies the shares by an utterance's maximum in place, so that they
    compound over the batch and hardly any frame is loud or soft from the third utterance on; with
    `mask: released` they do so here.

    Args:
        maxima: (B,) greatest energy of each utterance.
    """
    shares = (*rule.high, *rule.low)
    if rule.mask != "released":
        return torch.stack([maxima * share for share in shares], 1)
    rest = maxima[1:]
    return torch.stack([torch.cat([maxima[:1] * share, rest]).cumprod(0) for share in shares], 1)


def candidates(energy: Tensor, inside: Tensor, rule: MaskRule) -> tuple[Tensor, Tensor]:
    """Return loud and soft frames, bool (B, T) each, out of those `inside` (B, T)."""
    energy = energy.masked_fill(~inside, 0).float()  # energies are never negative
    bounds = thresholds(energy.amax(1), rule)[:, :, None]
    loud = (energy >= bounds[:, 0]) & (energy <= bounds[:, 1]) & inside
    soft = (energy >= bounds[:, 2]) & (energy <= bounds[:, 3]) & inside
    return loud, soft


def span_counts(frames: Tensor, share: float, length: int, most: int) -> Tensor:
    """Return min(most, floor(share R / length)) as int64 (B, 1); 19 of 20 for R = 249, 8."""
    exact = frames[:, None].double() * share / length
    return (exact + 1e-9).floor().long().clamp(max=most)


def choose(among: Tensor, keys: Tensor, number: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Choose columns of each row without replacement, in the order of falling random keys.

    Args:
        among: bool (B, T), what may be chosen.
        keys: (B, T) random numbers of [0, 1).
        number: (B, 1) how many; fewer if there are no more.
        most: no row's number is greater.

    Returns:
        columns int64 (B, K) and which count, bool (B, K); those that count come first.
    """
    keys, columns = keys.masked_fill(~among, -1).topk(min(most, keys.shape[1]), dim=1)
    places = torch.arange(keys.shape[1], device=keys.device)
    return columns, (keys >= 0) & (places < number)


def push_apart(
    starts: Tensor, kept: Tensor, apart: int, last: Tensor, sort: bool = True
) -> tuple[Tensor, Tensor]:
    """Move starts later until neighbours are `apart`, and give up those behind `last`.

    One after the other, s_k becomes max(s_k, s_{k-1} + apart); in closed form the running maximum
    of s_k - k apart, plus k apart. Without `sort` the same happens in the order given, as in the
    released code (its starts then run away to the end, and many are given up).

    Args:
        starts: int64 (B, K).
        kept: bool (B, K), those that count; without `sort` they must come first.
        last: int64 (B, 1).

    Returns:
        starts and kept, those that count first.
    """
    if sort:
        starts, order = starts.masked_fill(~kept, torch.iinfo(torch.int32).max).sort(dim=1)
        kept = kept.gather(1, order)
    ramp = apart * torch.arange(starts.shape[1], device=starts.device)
    starts = (starts - ramp).cummax(1).values + ramp
    return starts, kept & (starts <= last)


def span_mask(starts: Tensor, kept: Tensor, length: int, width: int) -> Tensor:
    """Return bool (B, width) with `length` frames from each start (B, K) that counts."""
    marks = torch.zeros(len(starts), width + 1, dtype=torch.int32, device=starts.device)
    marks.scatter_(1, starts.masked_fill(~kept, width).clamp(max=width), 1)
    seen = marks[:, :width].cumsum(1)
    return seen > F.pad(seen, (length, 0))[:, :width]


def _from(begin: Tensor, frames: Tensor, width: int) -> Tensor:
    places = torch.arange(width, device=begin.device)
    return (places >= begin) & (places < frames[:, None])


def _thin(mask: Tensor, starts: Tensor, kept: Tensor, length: int, number: Tensor, draw) -> Tensor:
    """Take away masked frames beyond a number: spans in random order, the last one in part."""
    width = mask.shape[1]
    ranks = draw(starts.shape[1]).argsort(1).argsort(1).float()
    first = torch.full((len(mask), width + 1), torch.inf, device=mask.device)
    places = starts.masked_fill(~kept, width).clamp(max=width)
    first = first.scatter_reduce(1, places, ranks, "amin")[:, :width]
    first = -F.max_pool1d(F.pad(-first, (length - 1, 0), value=-torch.inf), length, stride=1)
    # whole spans, and from left to right within one, so that the rest stays in pieces
    order = torch.where(first.isinf(), 0.0, first) * width
    order = order + torch.arange(width, device=mask.device)
    order = order.masked_fill(~mask, torch.inf).argsort(1)
    wanted = (torch.arange(width, device=mask.device) < number).expand(len(mask), -1)
    return mask & torch.zeros_like(mask).scatter(1, order, wanted)
