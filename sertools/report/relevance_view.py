"""Sentences, table and figure of what each layer knows, from results.json."""

from __future__ import annotations

from typing import Any

from sertools.report import text
from sertools.report.svg import Scale, axes, drawing, hint, polyline, shape, ticks, words
from sertools.report.tables import Table


def relevance_sentences(facts: dict[str, Any]) -> list[str]:
    """Say where in depth each dimension lies, how the intervals were made, and if the claim holds.
    """
    level = f"{100 * facts['interval']['level']:g} %"
    what = ("softmax weights of the layers in a learned mixture"
            + (", layers normalised" if facts["normalise"] else ", layers as they are")
            if facts["relevance"] == "weights"
            else f"{facts['score']} of a linear head on each layer, over the test part")
    lines = [f"Layers 0 (input of the first block) to {facts['layers'] - 1}: {what}, mean of "
             f"{facts['draws']} draws. Depth: sum of l s(l) over sum of s(l), s the "
             + ("weight" if facts["relevance"] == "weights" else "score above the worst layer's")
             + f" of layer l. {level} intervals over {facts['interval']['over']}."]
    claim = facts["claim"]
    if claim is None or claim["difference"] is None:
        return lines
    span = ("" if claim["low"] is None
            else f", {level} interval of the difference [{claim['low']:.2f}, {claim['high']:.2f}]")
    said = {True: "holds", False: "does not hold", None: "cannot be judged: no intervals"}
    return [*lines, f"The claim that {claim['shallow']} lies in shallower layers than "
            f"{claim['deep']}, with intervals that do not overlap, {said[claim['holds']]}: "
            f"{claim['difference']:+.2f} layers{span}.".replace("-", "−")]


def relevance_table(facts: dict[str, Any]) -> Table:
    """Return one row per layer, then the place in depth, with intervals."""
    metric = "weight" if facts["relevance"] == "weights" else facts["score"]
    unit = metric if metric == "CCC" else f"{metric} in %"
    groups = facts["groups"]
    title = "Weights of the layers" if metric == "weight" else "Scores of the layers"
    table = Table(title, ["layer", *(f"{name}, {unit}" for name in groups)], words=1)
    for layer in range(facts["layers"]):
        row = [str(layer)]
        for group in groups.values():
            low = None if group["low"] is None else group["low"][layer]
            high = None if group["high"] is None else group["high"][layer]
            row.append(text.with_interval(
                metric, {"pooled": group["curve"][layer], "low": low, "high": high}))
        table.rows.append(row)
    if any(group["std"] for group in groups.values()):
        table.rows.append(["largest std over draws", *(
            text.number(metric, max(group["std"])) for group in groups.values())])
    if any(group["chosen"] for group in groups.values()):
        table.rows.append(["chosen by dev: layer × units", *(
            ", ".join(f"{layer} × {units}" for layer, units in (group["chosen"] or {}).items())
            for group in groups.values())])
    table.rows.append(["depth", *map(_depth, groups.values())])
    return table


def relevance_figure(facts: dict[str, Any]) -> str:
    """Return a line per dimension over the layers, its interval shaded, its depth as a mark."""
    groups, last = facts["groups"], facts["layers"] - 1
    values = [value for group in groups.values() for key in ("curve", "low", "high")
              for value in group[key] or [] if value is not None]
    low, high = min(0.0, *values), max(values)
    spare = 0.06 * (high - low) or 0.05
    percent = facts["relevance"] == "weights" or facts["score"] != "CCC"
    x = Scale(0, last, 52.0, 470.0)
    y = Scale(low - spare if low < 0 else 0, high + spare, 262.0, 40.0)
    step = -(-(last + 1) // 13)
    write = (lambda value: f"{100 * value:g}") if percent else "{:g}".format
    parts = axes(x, y, "layer (0: input of the first block)", range(0, last + 1, step),
                 ticks(y.low, y.high), write)
    name = "weight" if facts["relevance"] == "weights" else facts["score"]
    parts.append(words(4, 14, f"{name} in %" if percent else name, class_="tick"))
    parts.append(words(4, 33, "depth", class_="tick"))
    for index, (group, curve) in enumerate(groups.items()):
        look = index % 3
        places, above, below = (
            [(x(layer), y(value)) for layer, value in enumerate(curve[key] or [])]
            for key in ("curve", "high", "low"))
        if below:
            edge = [*above, *reversed(below)]
            points = " ".join(f"{px:.1f},{py:.1f}" for px, py in edge)
            parts.append(shape("polygon", points=points, class_=f"band{look}"))
        parts.append(polyline(places, f"curve{look}", group))
        for layer, value in enumerate(curve["curve"]):
            tip = f"{group}, layer {layer}: {text.number(name, value)}"
            parts.append(shape("circle", hint(tip), cx=x(layer), cy=y(value), r=2.5,
                               class_=f"curve{look}"))
        key = 150 + 110 * index
        parts.append(shape("line", x1=key, x2=key + 24, y1=10, y2=10, class_=f"curve{look}"))
        parts.append(words(key + 30, 14, group, class_="tick"))
        parts += _mark(group, curve, x, 24.0 + 5 * look, look)
    return drawing(490, 306, parts, f"{name} by layer", "figure")


def _mark(name: str, group: dict[str, Any], x: Scale, height: float, look: int) -> list[str]:
    """Return the place in depth, with its interval, above the curves."""
    if group["depth"] is None:
        return []
    tip = f"{name}: depth {_depth(group)}"
    parts = [shape("circle", hint(tip), cx=x(group["depth"]), cy=height, r=3.0,
                   class_=f"curve{look}")]
    if group["depth_low"] is not None:
        ends = [x(min(max(group[key], x.low), x.high)) for key in ("depth_low", "depth_high")]
        parts.append(shape("line", x1=ends[0], x2=ends[1], y1=height, y2=height,
                           class_=f"curve{look}"))
    return parts


def _depth(group: dict[str, Any]) -> str:
    if group["depth"] is None:
        return text.NONE
    span = ("" if group["depth_low"] is None
            else f" [{group['depth_low']:.2f}, {group['depth_high']:.2f}]")
    return f"{group['depth']:.2f}{span}"
