"""Small pieces of SVG: escaped text, shapes, scales and axes. Colours come from the page's CSS."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape


def shape(name: str, content: str = "", **attributes: object) -> str:
    """Return one element; `class_` becomes class and underscores become dashes."""
    parts = [name]
    for key, value in attributes.items():
        written = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
        parts.append(f'{key.rstrip("_").replace("_", "-")}="{escape(written)}"')
    return f"<{' '.join(parts)}>{content}</{name}>" if content else f"<{' '.join(parts)}/>"


def words(x: float, y: float, content: str, **attributes: object) -> str:
    """Return text at a place."""
    return shape("text", escape(content), x=float(x), y=float(y), **attributes)


def hint(content: str) -> str:
    """Return the tooltip of an element, to be put inside it."""
    return shape("title", escape(content))


def drawing(width: float, height: float, content: Sequence[str], label: str, kind: str) -> str:
    """Return a whole SVG with a name for screen readers; `kind` is its CSS class."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}" '
        f'class="{kind}" style="max-width:{width:g}px">' + "".join(content) + "</svg>"
    )


@dataclass(frozen=True)
class Scale:
    """A linear map from values to positions."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the position of a value."""
        share = (value - self.low) / (self.high - self.low or 1)
        return self.start + share * (self.end - self.start)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers inside [low, high], roughly `about` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(step * index, 10) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def axes(
    x: Scale,
    y: Scale,
    x_label: str,
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    write: Callable[[float], str] = "{:g}".format,
) -> list[str]:
    """Return a light grid with labels; `write` turns values of the upright axis into text."""
    parts = []
    for value in y_ticks:
        height = y(value)
        parts.append(shape("line", x1=x.start, x2=x.end, y1=height, y2=height, class_="grid"))
        parts.append(words(x.start - 8, height + 4, write(value), class_="tick end"))
    for value in x_ticks:
        parts.append(words(x(value), y.start + 18, f"{value:g}", class_="tick middle"))
    parts.append(shape("line", x1=x.start, x2=x.end, y1=y.start, y2=y.start, class_="axis"))
    middle = (x.start + x.end) / 2
    return [*parts, words(middle, y.start + 38, x_label, class_="tick middle")]


def polyline(points: Sequence[tuple[float, float]], class_: str, tip: str) -> str:
    """Return a line through points, or a dot where there is only one."""
    if len(points) == 1:
        return shape("circle", hint(tip), cx=points[0][0], cy=points[0][1], r=2.5, class_="point")
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
    return shape("polyline", hint(tip), points=path, class_=class_)
