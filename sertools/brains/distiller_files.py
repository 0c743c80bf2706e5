"""What a distillation leaves: the student in two layouts, its heads, and where it comes from."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file
from sertools.models.encoder import SpeechEncoder
from sertools.models.weights import save_encoder
from sertools.models.weights.heard import Heard
from torch import nn

HUBERT = "hubert"
"""The student in the layout of transformers' HubertModel."""
HEADS = "heads.safetensors"
"""The prediction heads, which only the distillation needs."""
ORIGIN = "distilled.json"
"""Teacher, initialisation and sizes, for reports."""


def write_student(
    encoder: SpeechEncoder, heads: nn.Module | None, folder: Path, heard: Heard | None
) -> None:
    """Write `encoder`, `heads.safetensors`, and `hubert` if that layout can hold the student.

    Args:
        encoder: the student.
        heads: None writes none.
        folder: gets all.
        heard: the corpora that the student has heard, and their speakers.
    """
    from sertools.models.weights.distilhubert import layout_problems, save_hubert

    save_encoder(encoder, folder / "encoder", heard)
    if heads is not None:
        tensors = {name: value.detach().cpu() for name, value in heads.state_dict().items()}
        save_file(tensors, folder / HEADS, metadata={"format": "pt"})
    if not layout_problems(encoder.config):
        save_hubert(encoder, folder / HUBERT)
