"""A map of utterances as a picture: coloured dots and a key, as SVG or PNG."""

from __future__ import annotations

import colorsys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sertools.errors import ConfigError
from sertools.files import publish, write_text
from sertools.report.svg import Scale, drawing, hint, shape, words

_INKS = ("#1f5fa8", "#d1662b", "#2d8a57", "#b83a6b", "#7a5bc0", "#b08a12", "#3aa0b8", "#7a4a2b",
         "#5c6875", "#8fae2b")
"""Colours of the first ten groups; more groups share a colour wheel."""
_UNKNOWN = "#c9d0d8"
_SIDE, _MARGIN, _ROW = 560.0, 24.0, 20.0  # the square of the map, its margin, a line of the key
_MOST_NAMES = 26  # lines of the key
_SHARP = 3  # drawn so many times larger, then made smaller, so that edges are smooth
_STYLE = (
    "svg { background:#fff; font-family:system-ui,-apple-system,'Segoe UI',Arial,sans-serif }"
    " text { fill:#17202b; font-size:13px } .title { font-size:15px; font-weight:600 }"
    " .soft { fill:#5c6875; font-size:12px } .dot { stroke:#fff; stroke-width:.4 }"
    " .frame { fill:#fff; stroke:#dfe4ea }"
)


@dataclass(frozen=True)
class Scatter:
    """What a map shows."""

    points: np.ndarray
    """(n, 2) positions."""
    groups: Sequence[str | None]
    """Group of each point; None is drawn pale, behind the others."""
    tips: Sequence[str]
    """What a dot of the SVG says under the pointer."""
    title: str
    below: str = ""
    """A line under the map."""


def write_scatter(path: str | Path, scatter: Scatter) -> Path:
    """Publish the map as `.svg` or `.png`; equal contents give equal bytes.

    Raises:
        ConfigError: another extension, or PNG without Pillow.
    """
    path = Path(path)
    refuse_picture(path)
    if path.suffix.lower() == ".svg":
        return write_text(path, scatter_svg(scatter) + "\n")
    with publish(path) as temporary:
        _paint(scatter).save(temporary, format="PNG")
    return path


def refuse_picture(path: Path) -> None:
    """Raise ConfigError for a picture that could not be written in the end."""
    if path.suffix.lower() not in (".svg", ".png"):
        raise ConfigError(f"{path} is no picture that can be written",
                          remedy="end its name in .svg or .png")
    if path.suffix.lower() == ".png":
        try:
            import PIL  # noqa: F401
        except ImportError as error:
            raise ConfigError("PNG needs Pillow, which is not installed",
                              remedy="pip install pillow, or write .svg") from error


def scatter_svg(scatter: Scatter) -> str:
    """Return the map as a complete SVG document."""
    width, height = _size(scatter)
    parts = [f"<style>{_STYLE}</style>",
             words(_MARGIN, 26, scatter.title, class_="title"),
             shape("rect", x=_MARGIN, y=40.0, width=_SIDE, height=_SIDE, rx=6.0, class_="frame")]
    radius = _radius(scatter)
    for index, x, y, colour in _dots(scatter):
        parts.append(shape("circle", hint(scatter.tips[index]), cx=x, cy=y, r=radius, fill=colour,
                           class_="dot"))
    for x, y, colour, text in _key(scatter):
        if colour:
            parts.append(shape("circle", cx=x, cy=y - 4, r=5.0, fill=colour))
        parts.append(words(x + 12, y, text))
    parts.append(words(_MARGIN, _SIDE + 62, scatter.below, class_="soft"))
    document = drawing(width, height, parts, scatter.title, "figure")
    return document.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def _paint(scatter: Scatter):
    from PIL import Image, ImageDraw, ImageFont

    width, height = _size(scatter)
    picture = Image.new("RGB", (int(width * _SHARP), int(height * _SHARP)), "#ffffff")
    pen = ImageDraw.Draw(picture)
    fonts = {size: ImageFont.load_default(size * _SHARP) for size in (12, 13, 15)}

    def disc(x: float, y: float, radius: float, colour: str) -> None:
        box = [(value * _SHARP) for value in (x - radius, y - radius, x + radius, y + radius)]
        pen.ellipse(box, fill=colour, outline="#ffffff")

    def write(x: float, y: float, text: str, size: int, colour: str = "#17202b") -> None:
        pen.text((x * _SHARP, y * _SHARP), text, fill=colour, font=fonts[size], anchor="ls")

    write(_MARGIN, 26, scatter.title, 15)
    corners = [value * _SHARP for value in (_MARGIN, 40, _MARGIN + _SIDE, 40 + _SIDE)]
    pen.rounded_rectangle(corners, 6 * _SHARP, outline="#dfe4ea", width=_SHARP)
    for _, x, y, colour in _dots(scatter):
        disc(x, y, _radius(scatter), colour)
    for x, y, colour, text in _key(scatter):
        if colour:
            disc(x, y - 4, 5, colour)
        write(x + 12, y, text, 13)
    write(_MARGIN, _SIDE + 62, scatter.below, 12, "#5c6875")
    half = 2 / _SHARP  # two pixels a unit: sharp on today's screens
    size = (int(picture.width * half), int(picture.height * half))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _size(scatter: Scatter) -> tuple[float, float]:
    longest = max((len(text) for _, _, _, text in _key(scatter)), default=0)
    wide = max(_SIDE + 2 * _MARGIN + 40 + 7.4 * longest, 2 * _MARGIN + 5.9 * len(scatter.below),
               2 * _MARGIN + 8.4 * len(scatter.title))
    return wide, _SIDE + 82


def _radius(scatter: Scatter) -> float:
    return float(np.clip(60 / max(len(scatter.points), 1) ** 0.5, 1.6, 4.5))


def _dots(scatter: Scatter) -> list[tuple[int, float, float, str]]:
    """Return index, place and colour of each dot in the order of drawing: unknown ones first."""
    low, high = scatter.points.min(0), scatter.points.max(0)
    side = float((high - low).max()) or 1.0  # one scale for both axes: distances stay true
    middle = (low + high) / 2
    x = Scale(middle[0] - side / 2, middle[0] + side / 2, _MARGIN + 12, _MARGIN + _SIDE - 12)
    y = Scale(middle[1] - side / 2, middle[1] + side / 2, 40 + _SIDE - 12, 52.0)
    inks = _inks(scatter)
    order = sorted(range(len(scatter.points)), key=lambda index: scatter.groups[index] is not None)
    return [(index, x(float(scatter.points[index, 0])), y(float(scatter.points[index, 1])),
             inks.get(scatter.groups[index], _UNKNOWN)) for index in order]


def _inks(scatter: Scatter) -> dict[str | None, str]:
    names = sorted({group for group in scatter.groups if group is not None})
    if len(names) <= len(_INKS):
        return dict(zip(names, _INKS, strict=False))
    wheel = [colorsys.hls_to_rgb(n / len(names), (0.38, 0.52)[n % 2], 0.6)
             for n in range(len(names))]
    return {name: "#" + "".join(f"{round(255 * part):02x}" for part in colour)
            for name, colour in zip(names, wheel, strict=True)}


def _key(scatter: Scatter) -> list[tuple[float, float, str, str]]:
    """Return place, colour and text of each line of the key."""
    counts, inks = Counter(scatter.groups), _inks(scatter)
    lines = [(inks[name], f"{name} ({counts[name]})") for name in inks]
    if len(lines) > _MOST_NAMES:
        lines = [*lines[:_MOST_NAMES], ("", f"and {len(lines) - _MOST_NAMES} more")]
    if counts[None]:
        lines.append((_UNKNOWN, f"unknown ({counts[None]})"))
    return [(_MARGIN + _SIDE + 20, 56 + _ROW * row, *line) for row, line in enumerate(lines)]
