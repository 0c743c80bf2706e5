"""Acoustic statistics of an utterance: one named vector, for classical classifiers."""

from __future__ import annotations

import functools

import torch
from sertools.models.contours import FRAME_RATE, RATE, Contours, contours
from torch import Tensor

CODE_VERSION = 1
"""Raised whenever the same waveform would give other values."""
_VOICED_ONLY = ("pitch", "hnr")
_FUNCTIONALS = ("mean", "std", "p05", "p20", "p50", "p80", "p95", "range", "slope", "change")
_SHARES = (0.05, 0.2, 0.5, 0.8, 0.95)


def acoustic_statistics(waveform: Tensor) -> Tensor:
    """Return the statistics (S,) float32 of a waveform (samples,) at 16 kHz.

    Every contour gives mean, standard deviation, five percentiles, their range (95 % - 5 %), the
    slope per second and the mean absolute change per frame, over the frames that are not silent
    (pitch and harmonicity: that are voiced). The cepstrum's deltas give mean and standard
    deviation. Rhythm: how much is voiced, how long voiced stretches and pauses last, how often
    loudness peaks. Finite for any finite waveform, also silence.
    """
    return torch.stack(list(_named(contours(waveform)).values()))


@functools.cache
def statistic_names() -> tuple[str, ...]:
    """Return the name of every statistic, in order, such as `pitch.p50` or `mfcc3.delta_std`."""
    return tuple(_named(contours(torch.zeros(RATE))))


def _named(found: Contours) -> dict[str, Tensor]:
    statistics: dict[str, Tensor] = {}
    for name, values in found.values.items():
        where = found.voiced if name in _VOICED_ONLY else found.active
        columns = _functionals(values[:, None], where)
        statistics |= {f"{name}.{key}": column[0] for key, column in columns.items()}
    delta = _delta(found.mfcc)
    tables = _functionals(found.mfcc, found.active)
    changes = _functionals(delta, found.active)
    for place in range(found.mfcc.shape[1]):
        statistics |= {f"mfcc{place}.{key}": table[place] for key, table in tables.items()}
        for key in ("mean", "std"):
            statistics[f"mfcc{place}.delta_{key}"] = changes[key][place]
    return statistics | _rhythm(found)


def _functionals(values: Tensor, where: Tensor) -> dict[str, Tensor]:
    """Return each functional (columns,) of contours (T, columns) over the chosen frames."""
    chosen = values[where]
    if len(chosen) < 2:
        return dict.fromkeys(_FUNCTIONALS, values.new_zeros(values.shape[1]))
    p05, p20, p50, p80, p95 = chosen.quantile(torch.tensor(_SHARES), 0)
    seconds = torch.arange(len(values))[where] / FRAME_RATE
    seconds = seconds - seconds.mean()
    steps = (values[1:] - values[:-1])[where[1:] & where[:-1]].abs()
    change = steps.mean(0) if len(steps) else values.new_zeros(values.shape[1])
    slope = seconds @ chosen / seconds.square().sum()
    found = (chosen.mean(0), chosen.std(0), p05, p20, p50, p80, p95, p95 - p05, slope, change)
    return dict(zip(_FUNCTIONALS, found, strict=True))


def _delta(values: Tensor) -> Tensor:
    """Return the regression slope over five frames of every column of (T, columns)."""
    padded = torch.cat([values[:1], values[:1], values, values[-1:], values[-1:]])
    length = len(values)
    return (
        sum(
            shift
            * (padded[2 + shift : 2 + shift + length] - padded[2 - shift : 2 - shift + length])
            for shift in (1, 2)
        )
        / 10
    )


def _rhythm(found: Contours) -> dict[str, Tensor]:
    voiced, sounding = _runs(found.voiced), _runs(found.active)
    first, last = (sounding[0][0], sounding[-1][1]) if sounding else (0, 0)
    seconds = max(last - first, 1) / FRAME_RATE
    spoken = found.voiced[first:last]
    pauses = [end - start for start, end in _runs(~spoken)]
    loudness = found.values["loudness"][first:last]
    smooth = loudness.unfold(0, 5, 1).mean(1) if len(loudness) >= 5 else loudness
    top = smooth.amax() if len(smooth) else torch.tensor(0.0)
    middle = smooth[1:-1]
    peaks = (middle > smooth[:-2]) & (middle >= smooth[2:]) & (middle > 0.2 * top)
    return {
        "rhythm.seconds": torch.tensor(seconds),
        "rhythm.voiced_share": spoken.float().mean() if len(spoken) else torch.tensor(0.0),
        "rhythm.voiced_per_second": torch.tensor(len(voiced) / seconds),
        "rhythm.voiced_seconds": _mean([end - start for start, end in voiced]),
        "rhythm.voiced_seconds_std": _std([end - start for start, end in voiced]),
        "rhythm.pause_seconds": _mean(pauses),
        "rhythm.pause_seconds_std": _std(pauses),
        "rhythm.peaks_per_second": peaks.sum() / seconds,
    }


def _runs(flags: Tensor) -> list[tuple[int, int]]:
    """Return start and end (exclusive) of every run of true frames."""
    edges = torch.diff(torch.nn.functional.pad(flags.int(), (1, 1)))
    starts, ends = (edges == 1).nonzero()[:, 0], (edges == -1).nonzero()[:, 0]
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def _mean(frames: list[int]) -> Tensor:
    return torch.tensor(sum(frames) / len(frames) / FRAME_RATE if frames else 0.0)


def _std(frames: list[int]) -> Tensor:
    return torch.tensor(frames).float().std(correction=0) / FRAME_RATE if frames else _mean([])
