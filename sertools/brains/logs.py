"""What a training leaves to read: metrics.jsonl, TensorBoard curves, one line per epoch."""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from sertools.brains.distributed import Ranks
from sertools.files import write_text
from torch import Tensor
from tqdm import tqdm


class Sums:
    """Running sums of an epoch on this rank, kept on the device so that no step waits for them.

    Args:
        device: where the losses live.
        parts: further names, averaged as the loss is.
    """

    NAMES = ("loss", "weight", "norm", "steps", "audio_seconds")

    def __init__(self, device: str, parts: tuple[str, ...] = ()):
        self.names = (*self.NAMES, *parts)
        self._total = torch.zeros(len(self.names), dtype=torch.float64, device=device)

    def add(self, name: str, value: float | Tensor) -> None:
        """Add to one sum."""
        self._total[self.names.index(name)] += value

    def reset(self) -> None:
        """Begin anew."""
        self._total.zero_()

    def running_loss(self) -> float:
        """Return this rank's mean loss so far (waits for the device)."""
        loss, weight, *_ = self._total.tolist()
        return loss / weight if weight else float("nan")

    def means(self, ranks: Ranks) -> dict[str, float]:
        """Return loss, gradient norm and audio seconds over all ranks. Call it on all ranks."""
        loss, weight, norm, steps, audio, *parts = ranks.sum(self._total.clone()).tolist()
        named = zip(self.names[len(self.NAMES):], parts, strict=True)
        return {
            "loss": loss / weight if weight else float("nan"),
            "grad_norm": norm / steps if steps else 0.0,
            "audio_seconds": audio,
            **{name: value / weight if weight else float("nan") for name, value in named},
        }

    def save(self, path: Path) -> None:
        """Write the sums as JSON."""
        path.write_text(json.dumps(self._total.tolist()), encoding="utf-8")

    def load(self, path: Path) -> None:
        """Take over what `save` wrote."""
        self._total.copy_(torch.tensor(
            json.loads(path.read_text(encoding="utf-8")), dtype=torch.float64
        ))


LATEST = 2.0
"""Seconds that a finished epoch's line may wait, so that short epochs do not wait for the disk."""


class Logs:
    """Curves of one training, written from its whole history every time.

    A resumed training therefore leaves the same lines as an uninterrupted one. Nothing is lost
    when a line waits: every checkpoint holds the history too.

    Args:
        folder: gets metrics.jsonl and tensorboard/.
        ranks: only rank 0 writes.
        tensorboard: also write TensorBoard curves.
    """

    def __init__(self, folder: Path, ranks: Ranks, tensorboard: bool):
        self.folder, self.main, self.tensorboard = folder, ranks.main, tensorboard
        self._writer = None
        self._drawn = 0
        self._waiting: list[dict[str, Any]] | None = None
        self._written = -math.inf

    def write(self, history: list[dict[str, Any]]) -> None:
        """Publish the lines and draw what is new, unless that was done a moment ago."""
        self._waiting = history
        if time.monotonic() - self._written >= LATEST:
            self._publish()

    def _publish(self) -> None:
        history, self._waiting = self._waiting, None
        if not self.main or history is None:
            return
        lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in history]
        write_text(self.folder / "metrics.jsonl", "".join(lines))
        if self.tensorboard:
            self._draw(history)
        self._written = time.monotonic()

    def close(self) -> None:
        """Publish what waits and flush the curves."""
        self._publish()
        if self._writer is not None:
            self._writer.close()

    def _draw(self, history: list[dict[str, Any]]) -> None:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            shutil.rmtree(self.folder / "tensorboard", ignore_errors=True)
            self._writer = SummaryWriter(str(self.folder / "tensorboard"))
        for line in history[self._drawn :]:
            for name, value in _numbers(line):
                self._writer.add_scalar(name, value, line["epoch"])
        self._drawn = len(history)
        self._writer.flush()


def progress_bar(batches: Iterable, label: str, total: int, start: int, show: bool) -> tqdm:
    """Return a progress bar, visible only for `show` on a terminal."""
    hidden = not (show and sys.stderr.isatty())
    return tqdm(
        batches, desc=label, total=total, initial=start, disable=hidden, leave=False,
        dynamic_ncols=True,
    )


def epoch_line(line: dict[str, Any], select: str, best: bool) -> str:
    """Say an epoch in one line."""
    words = [f"epoch {line['epoch']}: train loss {line['train']['loss']:.4f}"]
    words += [f"dev {name} {value:.4f}" for name, value in line["dev"].items()
              if isinstance(value, float) and name in {"loss", "WA", "UA", "CCC", select}]
    words.append(f"lr {line['lr']:.2e}")
    words.append(f"{line['audio_seconds_per_second']:.0f} s of audio per second")
    return ", ".join(words) + (" (best so far)" if best else "")


def _numbers(line: dict[str, Any], before: str = "") -> Iterable[tuple[str, float]]:
    for name, value in line.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{before}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield before + name, value
