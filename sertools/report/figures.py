"""The figures of the HTML report, drawn from results.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sertools.report import text
from sertools.report.svg import Scale, axes, drawing, hint, polyline, shape, ticks, words


def confusion_figure(results: dict[str, Any]) -> str:
    """Return the confusion matrix as a heat map: row percentages large, counts small."""
    classes, rows = results["classes"], results["confusion"]
    cell = min(78.0, max(48.0, 340 / len(classes)))
    longest = max(len(name) for name in classes)
    left, slanted = 24 + 7.2 * longest, longest * 7.2 > cell - 6
    top = 40 + (4.6 * longest if slanted else 0)
    size = cell * len(classes)
    parts = [words(left + size / 2, 14, "answer", class_="tick middle")]
    middle = top + size / 2
    turn = f"rotate(-90 10 {middle:.1f})"
    parts.append(words(10, middle, "reference", class_="tick middle", transform=turn))
    for index, name in enumerate(classes):
        x, y = left + cell * (index + 0.5), top + cell * (index + 0.5)
        look = {"class_": "label middle"}
        if slanted:
            look = {"class_": "label", "transform": f"rotate(-40 {x:.1f} {top - 10:.1f})"}
        parts.append(words(x, top - 10, name, **look))
        parts.append(words(left - 10, y + 4, name, class_="label end"))
    for index, counts in enumerate(rows):
        for column, number in enumerate(counts):
            place = (left + cell * column, top + cell * index, cell)
            tip = f"{classes[index]} answered as {classes[column]}"
            parts.append(_heat_cell(number, sum(counts), place, tip, index == column))
    margin = 4.6 * longest if slanted else 0
    label = "Confusion matrix, rows are references"
    return drawing(left + size + 4 + margin, top + size + 4, parts, label, "figure")


def _heat_cell(
    number: int, total: int, place: tuple[float, float, float], tip: str, right: bool
) -> str:
    x, y, cell = place
    share = number / total if total else 0.0
    look = {"x": x + 1, "y": y + 1, "width": cell - 2, "height": cell - 2, "rx": 6.0}
    parts = [
        hint(f"{tip}: {number} of {total} ({100 * share:.1f} %)"),
        shape("rect", class_="cell", **look),
        shape("rect", class_="heat right" if right else "heat", fill_opacity=0.92 * share, **look),
    ]
    ink = "on" if share > 0.65 else "off"  # where both inks are about equally readable
    if number:
        middle = x + cell / 2
        big = f"cellbig middle {ink}"
        parts.append(words(middle, y + cell / 2 + 1, f"{100 * share:.0f}%", class_=big))
        small = f"cellsmall middle {ink}"
        parts.append(words(middle, y + cell / 2 + 17, text.count(number), class_=small))
    return shape("g", "".join(parts))


def recall_figure(results: dict[str, Any]) -> str:
    """Return a bar per class with its interval; a dashed line marks the mean, which is the UA."""
    rows = results["by_class"]
    left = 24 + 7.2 * max(len(row["class"]) for row in rows)
    right, step = left + 300.0, 34.0
    bottom = 22 + step * len(rows)
    x = Scale(0, 1, left, right)
    parts = []
    for value in (0, 0.25, 0.5, 0.75, 1):
        parts.append(shape("line", x1=x(value), x2=x(value), y1=16, y2=bottom, class_="grid"))
        parts.append(words(x(value), bottom + 16, f"{100 * value:g}", class_="tick middle"))
    for index, row in enumerate(rows):
        parts.append(_recall_bar(row, x, 22 + step * index))
    mean = results["summary"]["UA"]["pooled"]
    parts.append(shape("line", hint("UA"), x1=x(mean), x2=x(mean), y1=16, y2=bottom, class_="mean"))
    parts.append(words(x(mean), 11, f"UA {text.number('UA', mean)}", class_="tick middle strong"))
    return drawing(right + 92, bottom + 24, parts, "Recall of each class in percent", "figure")


def _recall_bar(row: dict[str, Any], x: Scale, y: float) -> str:
    middle = y + 11
    parts = [words(x.start - 10, middle + 4, row["class"], class_="label end")]
    if row["recall"] is None:
        return parts[0] + words(x.start + 8, middle + 4, "no reference", class_="tick")
    end = x(row["recall"])
    tip = f"{row['class']}: recall {text.number('recall', row['recall'])} %, n {row['n']}"
    width = end - x.start
    parts.append(
        shape("rect", hint(tip), x=x.start, y=y, width=width, height=22.0, rx=3.0, class_="bar")
    )
    if row["low"] is not None:
        low, high = x(row["low"]), x(row["high"])
        parts.append(shape("line", x1=low, x2=high, y1=middle, y2=middle, class_="whisker"))
        for edge in (low, high):
            upright = {"x1": edge, "x2": edge, "y1": middle - 4, "y2": middle + 4}
            parts.append(shape("line", class_="whisker", **upright))
    beside = f"{text.number('recall', row['recall'], 1)}  (n {row['n']})"
    parts.append(words(x.end + 10, middle + 4, beside, class_="tick"))
    return "".join(parts)


def curve_figure(curves: dict[str, Any], key: str, label: str, percent: bool) -> str:
    """Return thin lines of all units, their mean in bold, and a dot at each best epoch."""
    units = [unit for unit in curves["units"] if _points(unit, key)]
    if not units:
        return ""
    values = [value for unit in units for _, value in _points(unit, key)]
    epochs = [epoch for unit in units for epoch, _ in _points(unit, key)]
    low, high = min(values), max(values)
    spare = 0.06 * (high - low) or 0.05
    x = Scale(min(epochs), max(epochs), 52.0, 448.0)
    y = Scale(low - spare, high + spare, 222.0, 30.0)
    whole = [tick for tick in ticks(x.low, x.high) if tick == int(tick)]
    write = (lambda value: f"{100 * value:g}") if percent else "{:g}".format
    parts = [words(52, 16, label, class_="label")]
    parts += axes(x, y, "epoch", whole, ticks(y.low, y.high), write)
    for unit in units:
        places = [(x(epoch), y(value)) for epoch, value in _points(unit, key)]
        parts.append(polyline(places, "unit", f"fold {unit['fold']}, seed {unit['seed']}"))
    mean = _mean_curve(units, key)
    if len(units) > 1:
        parts.append(polyline([(x(e), y(v)) for e, v in mean], "average", "mean over units"))
    parts += [_best_dot(unit, key, x, y, percent) for unit in units]
    return drawing(460, 266, parts, f"{label} by epoch", "figure")


def _points(unit: dict[str, Any], key: str) -> list[tuple[int, float]]:
    pairs = zip(unit["epochs"], unit[key], strict=True)
    return [(epoch, value) for epoch, value in pairs if value is not None]


def _mean_curve(units: Sequence[dict[str, Any]], key: str) -> list[tuple[int, float]]:
    """Average over the units as long as all of them are still training."""
    curves = [dict(_points(unit, key)) for unit in units]
    shared = sorted(set.intersection(*(set(curve) for curve in curves)))
    return [(e, sum(curve[e] for curve in curves) / len(curves)) for e in shared]


def _best_dot(unit: dict[str, Any], key: str, x: Scale, y: Scale, percent: bool) -> str:
    value = dict(_points(unit, key)).get(unit["best_epoch"])
    if value is None:
        return ""
    written = f"{100 * value:.1f} %" if percent else f"{value:.4g}"
    tip = f"fold {unit['fold']}, seed {unit['seed']}: best epoch {unit['best_epoch']}, {written}"
    return shape("circle", hint(tip), cx=x(unit["best_epoch"]), cy=y(value), r=4.0, class_="best")


def calibration_figure(facts: dict[str, Any]) -> str:
    """Return accuracy against confidence, before and after the temperature; area is the count."""
    x, y = Scale(0, 1, 52.0, 332.0), Scale(0, 1, 300.0, 20.0)
    fifths = [0, 0.2, 0.4, 0.6, 0.8, 1]
    parts = axes(x, y, "confidence in %", [], fifths, lambda value: f"{100 * value:g}")
    parts += [words(x(v), 318, f"{100 * v:g}", class_="tick middle") for v in fifths]
    parts.append(shape("line", x1=x(0), y1=y(0), x2=x(1), y2=y(1), class_="ideal"))
    for name in ("before", "after"):
        bins = facts[f"bins_{name}"]
        if bins:
            places = [(x(row["confidence"]), y(row["accuracy"])) for row in bins]
            parts.append(polyline(places, f"line {name}", name))
        most = max((row["n"] for row in bins), default=1)
        for row in bins:
            tip = (
                f"{name}: {row['n']} utterances, confidence {100 * row['confidence']:.1f} %, "
                f"accuracy {100 * row['accuracy']:.1f} %"
            )
            place = {"cx": x(row["confidence"]), "cy": y(row["accuracy"])}
            radius = 2.5 + 5.5 * (row["n"] / most) ** 0.5
            parts.append(shape("circle", hint(tip), **place, r=radius, class_=f"dot {name}"))
    return drawing(344, 346, parts, "Accuracy by confidence", "figure")


def interval_strip(low: float, high: float, point: float, chance: float | None, edge: float) -> str:
    """Return a small strip from `edge` to 1: interval, pooled score and a tick at chance."""
    x = Scale(edge, 1, 4.0, 216.0)
    parts = [shape("line", x1=x.start, x2=x.end, y1=11, y2=11, class_="grid")]
    if chance is not None:
        tick = {"x1": x(chance), "x2": x(chance), "y1": 4, "y2": 18}
        parts.append(shape("line", hint("chance"), class_="chance", **tick))
    look = {"width": x(high) - x(low), "height": 8.0, "rx": 4.0, "class_": "span"}
    parts.append(shape("rect", hint("interval"), x=x(low), y=7.0, **look))
    mark = {"x": x(point) - 1.25, "y": 3.0, "width": 2.5, "height": 16.0, "rx": 1.0}
    parts.append(shape("rect", hint("pooled"), class_="at", **mark))
    return drawing(220, 22, parts, "interval", "strip")
