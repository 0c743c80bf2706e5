"""Models of arousal, valence and dominance by name, in their published sizes (arXiv 2305.19184).

Encoders, fusion and frozen parts are those of the rows of the tables of `distilled`; see
egs/msp_podcast/DISTILLED.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from sertools.models.distilled import student_config
from sertools.models.encoder import SpeechEncoder
from sertools.models.fusion import AudioText
from sertools.models.presets import preset_config
from sertools.models.text.pretrained import TransformersText
from torch import Tensor

BY_DEFAULT = ("cnn", "embeddings")
"""What is frozen."""


class SoundAndText(AudioText):
    """An `AudioText` that hears a text of 128 tokens beside its waveforms."""

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return the outputs (B, K)."""
        words = torch.zeros(len(waveforms), 128, dtype=torch.long, device=waveforms.device)
        return super().forward(waveforms, None, words)


def build(
    audio: str | None,
    student: int | None = None,
    fusion: str = "concat",
    frozen: tuple[str, ...] = BY_DEFAULT,
    outputs: int = 3,
) -> SoundAndText:
    """Build a model of random weights.

    Args:
        audio: preset of the speech encoder; None for fusion text_only.
        student: its encoder is a student of so many blocks of that preset instead.
        fusion: one of `fusion.FUSIONS`; DistilBERT reads the words.
        frozen: some of cnn (convolutions), embeddings (of the words), audio and text (encoders).
        outputs: 3 dimensions, or 1.
    """
    from transformers import DistilBertConfig, DistilBertModel

    heard = text = None
    if audio is not None:
        config = preset_config(audio)
        config = config if student is None else student_config(config, student)
        heard = SpeechEncoder(config).requires_grad_("audio" not in frozen)
        if "cnn" in frozen:
            heard.frontend.layers.requires_grad_(False)
    if fusion != "audio_only":
        how = "all" if "text" in frozen else "embeddings" if "embeddings" in frozen else "none"
        text = TransformersText(DistilBertModel(DistilBertConfig()), how)
    return SoundAndText(heard, text, outputs, fusion)


def _rows() -> dict[str, dict[str, Any]]:
    distil, base, large = {"audio": "distilhubert"}, "hubert_base", "hubert_large_ll60k"
    both = {f"student{n}_distilbert": {"audio": base, "student": n} for n in (1, 2, 3, 4, 6)}
    alone = {f"student{n}": {**settings, "fusion": "audio_only"}
             for n, settings in zip((1, 2, 3, 4, 6), both.values(), strict=True)}
    return {
        "hubert_large": {"audio": large, "fusion": "audio_only"},
        "hubert_base": {"audio": base, "fusion": "audio_only"},
        "distilhubert": {**distil, "fusion": "audio_only"},
        "student_large": {"audio": large, "student": 2, "fusion": "audio_only"},
        "distilbert": {"audio": None, "fusion": "text_only"},
        "distilhubert_distilbert": distil,
        "hubert_large_distilbert": {"audio": large},
        "gated": {**distil, "fusion": "gated"},
        "cross_attention": {**distil, "fusion": "cross_attention"},
        "frozen_nothing": {**distil, "frozen": ()},
        "frozen_cnn": {**distil, "frozen": ("cnn",)},
        "frozen_encoders": {**distil, "frozen": ("audio", "text")},
        "one_dimension": {**distil, "outputs": 1},
        **alone,
        **both,
    }


MODELS: dict[str, Callable[[], SoundAndText]] = {
    f"dimensions_{name}": partial(build, **settings) for name, settings in _rows().items()
}
"""What builds each model; `models.account.describe` counts them by these names."""
