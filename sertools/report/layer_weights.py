"""How much each layer of an encoder counts for the heads that learned to weigh them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from sertools.report.svg import Scale, axes, drawing, hint, shape, ticks, words
from sertools.report.units import UnitResult


def summarise_layer_weights(units: Sequence[UnitResult]) -> dict[str, Any] | None:
    """Return the mean and spread of the units' layer weights; None where no head learned any.

    Returns:
        `mean` and `std` (sample standard deviation, None for one unit), each by layer, the input
        of the first block first; `units`: how many there are.
    """
    known = [unit.layer_weights for unit in units if unit.layer_weights]
    if not known or len({len(weights) for weights in known}) > 1:
        return None
    layers = list(zip(*known, strict=True))
    return {
        "mean": [statistics.fmean(layer) for layer in layers],
        "std": [statistics.stdev(layer) for layer in layers] if len(known) > 1 else None,
        "units": len(known),
    }


def layer_weights_figure(facts: dict[str, Any]) -> str:
    """Return one bar per layer, with a whisker of one standard deviation; dashed: all alike."""
    means, stds = facts["mean"], facts["std"] or [0.0] * len(facts["mean"])
    highest = max(mean + std for mean, std in zip(means, stds, strict=True))
    x, y = Scale(-0.5, len(means) - 0.5, 52.0, 448.0), Scale(0, highest, 220.0, 28.0)
    step = -(-len(means) // 13)
    parts = axes(x, y, "layer (0: input of the first block)", range(0, len(means), step),
                 ticks(0, highest), lambda value: f"{100 * value:g}")
    parts.append(words(4, 12, "weight in %", class_="tick"))
    wide = 0.7 * (x(1) - x(0))
    for layer, (mean, std) in enumerate(zip(means, stds, strict=True)):
        tip = f"layer {layer}: {100 * mean:.1f} %" + (f" ± {100 * std:.1f}" if std else "")
        parts.append(shape("rect", hint(tip), x=x(layer) - wide / 2, y=y(mean), width=wide,
                           height=y(0) - y(mean), class_="bar"))
        if std:
            ends = {"y1": y(max(0.0, mean - std)), "y2": y(mean + std)}
            parts.append(shape("line", x1=x(layer), x2=x(layer), **ends, class_="whisker"))
    alike = y(1 / len(means))
    parts.append(shape("line", x1=x.start, x2=x.end, y1=alike, y2=alike, class_="ideal"))
    return drawing(460, 266, parts, "Weight of each layer", "figure")
