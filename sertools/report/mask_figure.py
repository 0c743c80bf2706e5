"""An utterance's energy over time with strips of marked frames under it, as SVG or PNG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sertools.files import publish, write_text
from sertools.report.scatter import refuse_picture
from sertools.report.svg import Scale, drawing, hint, shape, ticks, words

_INKS = ("#c9772b", "#5b93a8", "#1f5fa8", "#7a5bc0")
"""Colours of the strips, from the top."""
_INK, _SOFT, _GRID, _PALE = "#17202b", "#5c6875", "#dfe4ea", "#f1f4f7"
_LEFT, _TOP, _HEIGHT, _STRIP, _MARGIN = 112.0, 44.0, 190.0, 26.0, 24.0
_SHARP = 3  # drawn so many times larger, then made smaller, so that edges are smooth
_STYLE = (
    "svg { background:#fff; font-family:system-ui,-apple-system,'Segoe UI',Arial,sans-serif }"
    " .end { text-anchor:end } .middle { text-anchor:middle }"
)


@dataclass(frozen=True)
class MaskFigure:
    """What the figure shows; one value per frame."""

    energy: Sequence[float]
    """The curve."""
    frame_seconds: float
    """Seconds from one frame to the next."""
    strips: Mapping[str, Sequence[bool]]
    """Frames that are marked, by the name of their strip; at most four."""
    bands: Sequence[tuple[str, float, float]] = field(default_factory=tuple)
    """Stretches of the upright axis: the strip whose colour they have, from, to. What lies above
    the curve is left out."""
    title: str = ""
    below: str = ""
    """A line under the figure."""


def write_mask_figure(path: str | Path, figure: MaskFigure) -> Path:
    """Publish the figure as `.svg` or `.png`; equal contents give equal bytes.

    Raises:
        ConfigError: another extension, or PNG without Pillow.
    """
    path = Path(path)
    refuse_picture(path)
    if path.suffix.lower() == ".svg":
        return write_text(path, mask_figure_svg(figure) + "\n")
    with publish(path) as temporary:
        _paint(figure).save(temporary, format="PNG")
    return path


def mask_figure_svg(figure: MaskFigure) -> str:
    """Return the figure as a complete SVG document; strips are groups named by their marks."""
    parts = [f"<style>{_STYLE}</style>"]
    for kind, *what in _shapes(figure):
        if kind == "box":
            (x, y, width, height), colour, opacity, tip = what
            parts.append(shape("rect", hint(tip) if tip else "", x=x, y=y, width=width,
                               height=height, fill=colour, fill_opacity=opacity,
                               class_="mark" if tip else "band"))
        elif kind == "line":
            points, colour, width = what
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            parts.append(shape("polyline", points=path, fill="none", stroke=colour,
                               stroke_width=width))
        else:
            (x, y), text, size, colour, anchor = what
            parts.append(words(x, y, text, fill=colour, font_size=size, class_=anchor))
    document = drawing(*_size(figure), parts, figure.title, "figure")
    return document.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def _paint(figure: MaskFigure):
    from PIL import Image, ImageColor, ImageDraw, ImageFont

    width, height = _size(figure)
    picture = Image.new("RGB", (int(width * _SHARP), int(height * _SHARP)), "#ffffff")
    pen = ImageDraw.Draw(picture)
    fonts = {size: ImageFont.load_default(size * _SHARP) for size in (12, 13, 15)}
    for kind, *what in _shapes(figure):
        if kind == "box":
            (x, y, wide, high), colour, opacity, _ = what
            paper = ImageColor.getrgb(colour)
            blended = tuple(round(255 + opacity * (part - 255)) for part in paper)
            corners = [v * _SHARP for v in (x, y, x + wide, y + high)]
            pen.rectangle([corners[0], corners[1], corners[2] - 1, corners[3] - 1], fill=blended)
        elif kind == "line":
            points, colour, wide = what
            pen.line([(x * _SHARP, y * _SHARP) for x, y in points], fill=colour,
                     width=round(wide * _SHARP), joint="curve")
        else:
            (x, y), text, size, colour, anchor = what
            at = {"end": "rs", "middle": "ms", "": "ls"}[anchor]
            pen.text((x * _SHARP, y * _SHARP), text, fill=colour, font=fonts[size], anchor=at)
    half = 2 / _SHARP  # two pixels a unit: sharp on today's screens
    return picture.resize((int(picture.width * half), int(picture.height * half)),
                          Image.Resampling.LANCZOS)


def _plot_width(figure: MaskFigure) -> float:
    return min(max(3.0 * len(figure.energy), 620.0), 2400.0)


def _size(figure: MaskFigure) -> tuple[float, float]:
    wide = _LEFT + _plot_width(figure) + _MARGIN
    wide = max(wide, 2 * _MARGIN + 8.4 * len(figure.title), 2 * _MARGIN + 6.2 * len(figure.below))
    return wide, _TOP + _HEIGHT + _STRIP * len(figure.strips) + 92


def _shapes(figure: MaskFigure) -> Iterator[tuple]:
    """Give what is drawn, in order: boxes, lines and texts."""
    frames, seconds = len(figure.energy), figure.frame_seconds
    top = max([*figure.energy, 1e-9]) * 1.05
    x = Scale(0, frames, _LEFT, _LEFT + _plot_width(figure))
    y = Scale(0, top, _TOP + _HEIGHT, _TOP)
    inks = dict(zip(figure.strips, _INKS, strict=False))
    yield "text", (_MARGIN, 26.0), figure.title, 15, _INK, ""
    for name, low, high in figure.bands:
        low, high = min(low, top), min(high, top)
        if not low < high:  # beyond what there is
            continue
        place = (x.start, y(high), x.end - x.start, y(low) - y(high))
        yield "box", place, inks[name], 0.12, ""
    for value in ticks(0, top):
        yield "line", ((x.start, y(value)), (x.end, y(value))), _GRID, 1.0
        yield "text", (x.start - 8, y(value) + 4), f"{value:g}", 12, _SOFT, "end"
    points = [(x(frame + 0.5), y(value)) for frame, value in enumerate(figure.energy)]
    yield "line", points, _INK, 1.5
    bottom = y.start + 10
    for row, (name, marks) in enumerate(figure.strips.items()):
        upper = bottom + _STRIP * row
        yield "box", (x.start, upper + 4, x.end - x.start, _STRIP - 8), _PALE, 1.0, ""
        yield "text", (x.start - 8, upper + 17), name, 12, _INK, "end"
        for first, last in runs(marks):
            place = (x(first), upper + 4, x(last) - x(first), _STRIP - 8)
            tip = f"{name}: frames {first} to {last - 1}, {first * seconds:.2f} s"
            yield "box", place, inks[name], 1.0, tip
    bottom += _STRIP * len(figure.strips)
    for value in ticks(0, frames * seconds, 8):
        yield "text", (x(value / seconds), bottom + 18), f"{value:g}", 12, _SOFT, "middle"
    yield "text", ((x.start + x.end) / 2, bottom + 38), "seconds", 12, _SOFT, "middle"
    yield "text", (_MARGIN, bottom + 64), figure.below, 12, _SOFT, ""


def runs(marks: Sequence[bool]) -> list[tuple[int, int]]:
    """Return (first, end) of each run of marked frames, `end` being the first behind it."""
    edges = [frame for frame in range(len(marks) + 1)
             if (frame > 0 and marks[frame - 1]) != (frame < len(marks) and marks[frame])]
    return list(zip(edges[::2], edges[1::2], strict=True))
