"""The models that are counted by name, and what they cost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from sertools.errors import ConfigError
from sertools.models import dimensional
from sertools.models.bare import bare
from sertools.models.counting import count
from sertools.models.distilled import Distiller
from sertools.models.emotion2vec import Emotion2vec
from sertools.models.heads import EncoderWithHead, UtteranceHead
from sertools.models.language_audio import LanguageAudio
from sertools.models.presets import PRESETS, build_encoder
from sertools.models.text.pretrained import TransformersText
from sertools.models.vesper import Vesper
from sertools.models.whisper import SIZES, build_whisper
from torch import Tensor, nn


def _emotion2vec(preset: str) -> Emotion2vec:
    return Emotion2vec(build_encoder(preset))


def _emotion2vec_plus(preset: str) -> EncoderWithHead:
    encoder = build_encoder(preset)
    return EncoderWithHead(encoder, UtteranceHead(1, encoder.dim, 9, "last", projection=None))


def _vesper(preset: str) -> Vesper:
    encoder = build_encoder(preset, mask_embedding=True)
    return Vesper(encoder, encoder.dim)


def _distiller(preset: str, targets: int) -> Distiller:
    encoder = build_encoder(preset)
    return Distiller(encoder, encoder.dim, targets)


def _data2vec() -> nn.Module:
    """The first data2vec, which transformers runs."""
    from transformers import Data2VecAudioConfig, Data2VecAudioModel

    return Data2VecAudioModel(Data2VecAudioConfig())


class SoundAndPrompts(LanguageAudio):
    """An audio encoder, and RoBERTa-base that reads four prompts of 8 tokens beside the sound."""

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return the logits (B, 4)."""
        prompts = torch.zeros(4, 8, dtype=torch.long, device=waveforms.device)
        return self.logits(*super().forward(waveforms, None, prompts))


def roberta_base() -> TransformersText:
    """Return a RoBERTa-base of random weights, without the pooler that nothing reads."""
    from transformers import RobertaConfig, RobertaModel

    config = RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1,
                           layer_norm_eps=1e-5)
    return TransformersText(RobertaModel(config, add_pooling_layer=False), "none")


def _language_audio(preset: str) -> SoundAndPrompts:
    return SoundAndPrompts(build_encoder(preset, mask_embedding=True), roberta_base())


GEMOCLAP = {
    "wavlm_base": "wavlm_base",
    "wavlm_base_plus": "wavlm_base_plus",
    "wavlm_large": "wavlm_large",
    "hubert_base": "hubert_base",
    "hubert_large": "hubert_large_ll60k",
    "wav2vec2_base": "wav2vec2_base",
    "wav2vec2_large": "wav2vec2_large",
}
"""Audio encoders of GEmo-CLAP by name -> preset; counted with the mask embedding, as published."""

REGISTRY: dict[str, Callable[[], nn.Module]] = {
    "data2vec2_base": partial(_emotion2vec, "data2vec2_base"),
    "emotion2vec_base": partial(_emotion2vec, "emotion2vec_base"),
    "emotion2vec_plus_large": partial(_emotion2vec_plus, "emotion2vec_plus_large"),
    "distilhubert": partial(build_encoder, "distilhubert"),  # published without mask embedding
    "distilhubert_distillation": partial(_distiller, "distilhubert", 3),
    "data2vec_base": _data2vec,
    "distilhubert_distilbert": dimensional.MODELS["dimensions_distilhubert_distilbert"],
    **dimensional.MODELS,
    **{f"gemoclap_{name}": partial(_language_audio, preset) for name, preset in GEMOCLAP.items()},
    "vesper4_pretraining": partial(_vesper, "vesper4"),
    "vesper12_pretraining": partial(_vesper, "vesper12"),
    **{f"whisper_{size}": partial(build_whisper, size) for size in SIZES},
}
"""Further models by name, or more than the encoder of the preset of that name: what builds them.
They must take (1, samples) waveforms."""


def describe(model: str | nn.Module, seconds: float = 10.0) -> dict[str, Any]:
    """Count the parameters of a model and what it computes, as `counting.count` does.

    Args:
        model: a preset, a name in `REGISTRY`, whatever `load_encoder` takes, or a module that
            takes (1, samples) waveforms.
        seconds: length of the utterance that is counted.

    Returns:
        name, seconds, and totals and `parts` of parameters, trainable and macs_per_second.

    Raises:
        ConfigError: if there is no such model.
    """
    if isinstance(model, nn.Module):
        return {"name": type(model).__name__, **count(model, seconds)}
    return {"name": str(model), **count(find(model), seconds)}


def find(name: str) -> nn.Module:
    """Return the model that `name` stands for; see `describe`.

    Published encoders are counted as their authors count them, with the mask embedding.
    """
    if name in REGISTRY or name in PRESETS:
        with bare():
            if name in REGISTRY:
                return REGISTRY[name]()
            published = PRESETS[name].get("frontend") == "conv"
            return build_encoder(name, mask_embedding=published)
    from sertools.models.weights import load_encoder

    try:
        return load_encoder(name)
    except ConfigError as error:
        known = ", ".join(sorted({*PRESETS, *REGISTRY}))
        raise ConfigError(
            f"{name}: no model to be counted.", [str(error)], f"presets are {known}"
        ) from error
