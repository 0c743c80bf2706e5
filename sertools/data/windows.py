"""Cut a long recording into overlapping windows whose frames join without a seam."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sertools.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of an utterance that is encoded by itself, and which of its frames count."""

    start: float
    """Seconds from the utterance's beginning."""
    end: float | None
    """Seconds; None is the utterance's end."""
    first: int = 0
    """First frame (of the piece) that counts."""
    last: int | None = None
    """Frame behind the last one that counts; None: all to the end."""


WHOLE = (Piece(0.0, None),)


def cut(
    seconds: float, window: float, overlap: float, hop: int, sample_rate: int, file_rate: int
) -> Sequence[Piece]:
    """Return the pieces of an utterance, in order; one that fits a window is a single piece.

    Neighbours share at least `overlap` seconds; the seam lies half of it behind the later one's
    start, so every frame is taken from a window that hears that much around it. Windows begin
    where a frame begins and where a sample of the file lies, so that their frames are those of the
    whole (25 or 50 Hz models at common rates: any frame; otherwise up to every second).

    Args:
        seconds: length of the utterance.
        window: longest piece in seconds.
        overlap: in seconds, less than half a window.
        hop: samples between frames, at `sample_rate` (the model's).
        file_rate: samples per second of the file.
    """
    if seconds <= window:
        return WHOLE
    grid = hop * (sample_rate // math.gcd(sample_rate, hop * file_rate))
    grid = grid if grid <= sample_rate else hop  # odd hops: half a sample of the file off at most
    wide = int(window * sample_rate) // grid * grid
    half = -(-int(overlap * sample_rate / 2) // hop)  # frames
    step = (wide - 2 * half * hop) // grid * grid
    assert step > 0, "refuse_windows was not asked"
    total = int(round(seconds * sample_rate))
    final = -(-(total - wide) // grid) * grid  # the last window is as long as the others, nearly
    starts = [*range(0, final, step), final]
    pieces = []
    for number, start in enumerate(starts):
        ends = number + 1 == len(starts)
        seam = None if ends else (starts[number + 1] - start) // hop + half
        pieces.append(Piece(start / sample_rate, None if ends else (start + wide) / sample_rate,
                            half if number else 0, seam))
    return pieces


def refuse_windows(window: float, overlap: float, longest: float | None) -> None:
    """Raise ConfigError for windows that cannot be meant.

    Args:
        window: seconds; at least 5.
        overlap: seconds, 0.5 to a quarter of the window.
        longest: what the model hears at most, None for any length.
    """
    wrong = []
    if not 5 <= window < math.inf:
        wrong.append(f"a window of {window:g} s: give 5 s or more")
    elif not 0.5 <= overlap <= window / 4:
        wrong.append(f"an overlap of {overlap:g} s: give 0.5 s to {window / 4:g} s, "
                     "a quarter of the window")
    if longest is not None and window > longest:
        wrong.append(f"a window of {window:g} s: this model hears {longest:g} s at most")
    if wrong:
        raise ConfigError("long files cannot be cut like this", wrong)
