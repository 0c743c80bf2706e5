"""What a model costs: parameters by part, multiply-accumulates per second of audio.

Counted on tensors without storage, so that the largest model takes no memory and no time.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch
from sertools.errors import ConfigError
from sertools.models import dimensional
from sertools.models.bare import bare
from sertools.models.config import EncoderConfig
from sertools.models.distilled import Distiller
from sertools.models.emotion2vec import Emotion2vec
from sertools.models.encoder import SpeechEncoder
from sertools.models.heads import EncoderWithHead, UtteranceHead
from sertools.models.language_audio import LanguageAudio
from sertools.models.presets import PRESETS, build_encoder
from sertools.models.text.pretrained import TransformersText
from sertools.models.vesper import Vesper
from sertools.models.whisper import SIZES, WindowedWhisper, build_whisper
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


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
    """Count the parameters of a model and what it computes for `seconds` of audio.

    Multiply-accumulates are those of all matrix products and convolutions, the products of
    queries, keys and values included; they grow with the length, which is therefore told. The
    Fourier transform of the log-mel front end and elementwise operations are left out. Whisper
    computes 30 s whatever it hears: per second it costs the less, the longer an utterance is.

    Args:
        model: a preset, a name in `REGISTRY`, whatever `load_encoder` takes, or a module that
            takes (1, samples) waveforms.
        seconds: length of the utterance that is counted.

    Returns:
        name, seconds, and totals and `parts` of parameters, trainable and macs_per_second.

    Raises:
        ConfigError: if there is no such model.
    """
    name = type(model).__name__ if isinstance(model, nn.Module) else str(model)
    model = model if isinstance(model, nn.Module) else find(model)
    macs = _macs(model, seconds)
    parts: dict[str, dict[str, Any]] = {}
    inner = _inner(model)
    for parameter_name, parameter in model.named_parameters():
        part = _part(parameter_name.removeprefix(inner))
        row = parts.setdefault(part, {"parameters": 0, "trainable": 0})
        row["parameters"] += parameter.numel()
        row["trainable"] += parameter.numel() * parameter.requires_grad
    for part, count in macs.items():
        row = parts.setdefault(part, {"parameters": 0, "trainable": 0})
        row["macs_per_second"] = count / seconds
    rows = [{"name": part, "macs_per_second": 0.0, **row} for part, row in parts.items()]
    totals = ("parameters", "trainable", "macs_per_second")
    return {
        "name": name,
        "seconds": seconds,
        **{key: sum(row[key] for row in rows) for key in totals},
        "parts": rows,
    }


def size_of(encoder: nn.Module, seconds: float = 10.0) -> dict[str, Any]:
    """Return what results say of an encoder: parameters, macs_per_second, seconds.

    Args:
        encoder: of this package, in any precision, or a module that takes (1, samples) waveforms
            at 16 kHz.
        seconds: length of the utterance that is counted; see `describe`.
    """
    ours = isinstance(encoder, SpeechEncoder)
    return dict(_size_by_config(encoder.config, seconds) if ours else _size(encoder, seconds))


@lru_cache
def _size_by_config(config: EncoderConfig, seconds: float) -> dict[str, Any]:
    """Count an encoder that is made anew, as a settled one holds cast matrices."""
    with bare():
        encoder = SpeechEncoder(config)
    return _size(encoder, seconds)


def _size(encoder: nn.Module, seconds: float) -> dict[str, Any]:
    counted = describe(encoder, seconds)
    return {name: counted[name] for name in ("parameters", "macs_per_second", "seconds")}


def _inner(model: nn.Module) -> str:
    """Return the prefix of an encoder inside the model, whose parts are told like the others."""
    ours = isinstance(getattr(model, "encoder", None), SpeechEncoder)
    return "encoder." if ours else "whisper." if isinstance(model, WindowedWhisper) else ""


def _part(name: str) -> str:
    """Return the part of the model that a parameter or module of this dotted name belongs to."""
    words = [word for word in name.split(".") if not word.isdigit()]
    return " ".join(words[: 2 if words[0] in ("blocks", "encoders", "layers") else 1])


def _macs(model: nn.Module, seconds: float) -> dict[str, int]:
    """Return the multiply-accumulates of each part; "(other)" for what no part accounts for."""
    skeleton = _skeleton(model)
    rate = model.config.sample_rate if isinstance(model, SpeechEncoder) else 16000
    with FlopCounterMode(display=False) as counter:
        skeleton(torch.zeros(1, round(seconds * rate), device="meta"))
    macs: dict[str, int] = {}
    inner = _inner(model)
    for module, counts in counter.get_flop_counts().items():
        name = module.partition(".")[2].removeprefix(inner)
        if f"{name}." == inner:
            continue
        depth = {"blocks": 3, "layers": 3, "encoders": 2}.get(name.partition(".")[0], 1)
        if name and name.count(".") + 1 == depth:
            macs[_part(name)] = macs.get(_part(name), 0) + sum(counts.values()) // 2
    rest = counter.get_total_flops() // 2 - sum(macs.values())
    return {**macs, "(other)": rest} if rest else macs


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


def _skeleton(model: nn.Module) -> nn.Module:
    """Return a copy without storage and without gradients, in eval mode."""
    tensors = [*model.parameters(), *model.buffers()]
    storage_free = {id(tensor): torch.empty_like(tensor, device="meta") for tensor in tensors}
    for parameter in model.parameters():
        empty = nn.Parameter(storage_free[id(parameter)], requires_grad=False)
        storage_free[id(parameter)] = empty
    return copy.deepcopy(model, storage_free).eval()
