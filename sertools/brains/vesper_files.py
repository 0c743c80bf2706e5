"""What a Vesper pretraining leaves: the student in two layouts, and where it comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sertools.models.bare import bare
from sertools.models.encoder import SpeechEncoder
from sertools.models.weights import save_encoder
from sertools.models.weights.heard import Heard
from torch import nn

OFFICIAL = "vesper.pt"
"""The student and its predictors in the layout of the authors' code."""
ORIGIN = "vesper.json"
"""Teacher, initialisation, masks and sizes, for reports."""


def write_student(
    encoder: SpeechEncoder, predictors: Mapping[str, nn.Module], folder: Path, heard: Heard | None
) -> None:
    """Write `encoder`, and `vesper.pt` if that layout can hold the student.

    Args:
        encoder: the student.
        predictors: by the names of their losses; only `vesper.pt` keeps them.
        folder: gets both.
        heard: the corpora that the student has heard, and their speakers.
    """
    from sertools.models.weights.vesper import layout_problems, save_vesper

    save_encoder(without_mask(encoder), folder / "encoder", heard)
    if not layout_problems(encoder.config):
        save_vesper(encoder, folder / OFFICIAL, dict(predictors.items()))


def without_mask(encoder: SpeechEncoder) -> SpeechEncoder:
    """Return an encoder without its mask embedding, which only pretraining needs, to be saved."""
    with bare():
        student = SpeechEncoder(dataclasses.replace(encoder.config, mask_embedding=False))
    state = {name: value.detach() for name, value in encoder.state_dict().items()
             if name != "mask_embedding"}
    student.load_state_dict(state, assign=True)
    return student


def shares_of(line: Mapping[str, Any] | None, names: tuple[str, ...]) -> dict[str, float | None]:
    """Return the masked shares of an epoch's line of metrics.jsonl; None where nothing was."""
    train = {} if line is None else line["train"]
    return {name: train.get(name) for name in names}
