"""Named encoders: the published architectures, and a small one that a CPU trains."""

from __future__ import annotations

import dataclasses
from typing import Any

from sertools.errors import ConfigError
from sertools.models.config import EncoderConfig
from sertools.models.encoder import SpeechEncoder

_BASE = {
    "frontend": "conv",
    "conv_norm": "group",
    "dim": 768,
    "num_layers": 12,
    "num_heads": 12,
    "ffn_dim": 3072,
    "block_norm": "post",
    "input_norm": True,
    "final_norm": False,
    "position": "conv",
    "position_kernel": 128,
}
_LARGE = {
    **_BASE,
    "conv_norm": "layer",
    "normalise_waveform": True,
    "dim": 1024,
    "num_layers": 24,
    "num_heads": 16,
    "ffn_dim": 4096,
    "block_norm": "pre",
    "input_norm": False,
    "final_norm": True,
}
_DATA2VEC2 = {
    **_BASE,
    "conv_norm": "layer",
    "normalise_waveform": True,
    "position": "stack",
    "position_kernel": 19,
    "position_depth": 5,
    "bias": "alibi",
}
_VESPER = {
    **_LARGE,
    "bias": "gated",
    "final_norm": False,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "activation_dropout": 0.1,
}
PRESETS: dict[str, dict[str, Any]] = {
    "small": {},
    "wavlm_base": {**_BASE, "bias": "gated"},
    "wavlm_base_plus": {**_BASE, "bias": "gated"},
    "wavlm_large": {**_LARGE, "bias": "gated"},
    "hubert_base": _BASE,
    "hubert_large": _LARGE,
    "hubert_large_ll60k": {**_LARGE, "conv_bias": True},
    "wav2vec2_base": _BASE,
    "distilhubert": {
        **_BASE,
        "num_layers": 2,
        "projection_norm": False,
        "dropout": 0.1,
        "attention_dropout": 0.1,
        "activation_dropout": 0.1,
    },
    **{f"vesper{depth}": {**_VESPER, "num_layers": depth} for depth in (2, 4, 6, 8, 12)},
    "wav2vec2_large": {**_LARGE, "conv_bias": True},
    "wav2vec2_large_post": {
        **_BASE,
        "dim": 1024,
        "num_layers": 24,
        "num_heads": 16,
        "ffn_dim": 4096,
    },
    "data2vec2_base": _DATA2VEC2,
    "emotion2vec_base": {**_DATA2VEC2, "extra_tokens": 10},
    "emotion2vec_plus_large": {
        **_DATA2VEC2,
        "extra_tokens": 10,
        "dim": 1024,
        "num_heads": 16,
        "ffn_dim": 4096,
    },
    "emotion2vec_small": {
        "dim": 192,
        "num_layers": 6,
        "num_heads": 6,
        "ffn_dim": 768,
        "block_norm": "post",
        "input_norm": True,
        "final_norm": False,
        "bias": "alibi",
        "extra_tokens": 10,
        "mel_norm": "bin",
    },
}
"""Settings of `EncoderConfig` by name; later rooms add theirs.

`wav2vec2_large` is the layer-norm form (LV-60, robust, XLS-R); `wav2vec2_large_post` the form
of the first release on LibriSpeech. `normalise_waveform` is as the authors trained; some
converted releases differ, which their own files say and the loaders follow.
"""

RELEASES = {
    "microsoft/wavlm-base": "wavlm_base",
    "microsoft/wavlm-base-plus": "wavlm_base_plus",
    "microsoft/wavlm-large": "wavlm_large",
    "facebook/hubert-base-ls960": "hubert_base",
    "facebook/hubert-large-ll60k": "hubert_large_ll60k",
    "facebook/wav2vec2-base": "wav2vec2_base",
    "ntu-spml/distilhubert": "distilhubert",
    "emotion2vec/emotion2vec_base": "emotion2vec_base",
    "emotion2vec/emotion2vec_plus_large": "emotion2vec_plus_large",
}
"""Published weights by their id on the hub -> the preset of their structure."""


def preset_config(preset: str = "small", **overrides: Any) -> EncoderConfig:
    """Return the configuration of `preset` with some settings replaced.

    Raises:
        ConfigError: for a preset or a setting that does not exist.
    """
    if preset not in PRESETS:
        raise ConfigError(
            f"There is no encoder preset {preset!r}.", remedy=f"choose from {', '.join(PRESETS)}"
        )
    known = {field.name for field in dataclasses.fields(EncoderConfig)}
    unknown = sorted(set(overrides) - known)
    if unknown:
        raise ConfigError(
            f"Encoder preset {preset}: unknown settings {', '.join(unknown)}.",
            remedy=f"known settings are {', '.join(sorted(known))}",
        )
    return EncoderConfig(**{**PRESETS[preset], **overrides})


def build_encoder(preset: str = "small", **overrides: Any) -> SpeechEncoder:
    """Build an encoder with fresh weights from a preset and overriding settings.

    Raises:
        ConfigError: for a preset or a setting that does not exist.
    """
    return SpeechEncoder(preset_config(preset, **overrides))
