"""Files of the public transcription of GEmo-CLAP, `fold_<k>_best.pth`, read without running code.

A third party wrote it (github.com/ouoouoouoouo/Gemoclap, 3287003); the authors released nothing.
Encoders have the names of transformers' models, heads and scales names of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from sertools.errors import ConfigError
from sertools.models.language_audio import LanguageAudio
from sertools.models.upstream.own import OwnUpstream
from sertools.models.weights.assemble import assemble
from sertools.models.weights.fairseq import dig, is_tensors, read_fairseq
from sertools.models.weights.huggingface import IGNORE, TABLE, with_plain_names
from torch import Tensor, nn

HEADS = {"audio_head.": "audio_projection.proj.", "text_head.": "text_projection.proj."}
SCALES = ("logit_scale_audio", "logit_scale_text")
"""In the order of `LanguageAudio.log_scales`; logarithms there too."""
_WITHOUT_USE = ("masked_spec_embed", "embeddings.position_ids", "embeddings.token_type_ids")
_OPTIONAL = "attribute_log_scales"
"""Of gender_logits separate, which that code does not have: they begin as always."""


def load_into(model: LanguageAudio, path: Path) -> None:
    """Load all weights of a file into a model of the same encoders and sizes, in place.

    Raises:
        ConfigError: the file is absent, damaged, of another kind, holds code, or does not fit; all
            differences are listed.
    """
    tensors = read(path)
    own = model.state_dict()
    state, problems = _heads(tensors), []
    for name, theirs in (("audio", "audio_encoder."), ("text", "text_encoder.")):
        if name not in model.encoders:
            problems.append(f"{theirs}*: the model has no encoder of {name}; use inputs: audio")
            continue
        found, wrong = _encoder(model.encoders[name], _below(tensors, theirs), str(path))
        state |= {f"encoders.{name}.model.{key}": value for key, value in found.items()}
        problems += [f"{theirs}{each}" for each in wrong]
    problems += [f"{name}: {list(state[name].shape)} in the file, {list(own[name].shape)} in the "
                 "model" for name in sorted(own.keys() & state.keys())
                 if own[name].shape != state[name].shape]
    heads = own.keys() - {_OPTIONAL}
    problems += [f"{name}: not in the file" for name in sorted(heads - state.keys())
                 if not name.startswith("encoders.")]
    if problems:
        raise ConfigError(
            f"{path} does not fit the model of this recipe", problems,
            "give the trainer the encoders that it was trained with, dim 512, layers last and "
            "pool mean")
    model.load_state_dict(state, strict=False)


def read(path: Path) -> dict[str, Tensor]:
    """Return the model's tensors by the names of that code, float32.

    Raises:
        ConfigError: the file is absent, damaged, of another kind, or holds code.
    """
    content = read_fairseq(path)  # scores in it may be scalars of numpy
    tensors = dig(content, "model_state_dict")
    if not is_tensors(tensors) or not {*SCALES} <= set(tensors):
        raise ConfigError(
            f"{path}: no file of GEmo-CLAP's public transcription; it has no model_state_dict with "
            f"{' and '.join(SCALES)}", remedy="name its fold_<k>_best.pth, or a model trained here")
    return {name: tensor.float() for name, tensor in tensors.items()}


def _heads(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    state = {ours + name: tensor for ours, theirs in HEADS.items()
             for name, tensor in _below(tensors, theirs).items()}
    return {**state, "log_scales": torch.stack([tensors[name].reshape(()) for name in SCALES])}


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()
            if name.startswith(prefix)}


def _encoder(
    encoder: nn.Module, tensors: Mapping[str, Tensor], origin: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights by the names of an encoder's own `model`, and what does not fit."""
    if isinstance(encoder, OwnUpstream):
        try:
            built = assemble(encoder.model.config, with_plain_names(dict(tensors)), TABLE, IGNORE,
                             origin)
        except ConfigError as error:
            return {}, error.problems
        return dict(built.state_dict()), []
    if not isinstance(getattr(encoder, "model", None), nn.Module):
        return {}, [f"*: the model's encoder is a {type(encoder).__name__}, none of transformers"]
    theirs = with_plain_names({name: tensor for name, tensor in tensors.items()
                               if not name.startswith("pooler.") and name not in _WITHOUT_USE})
    known = {next(iter(with_plain_names({name: tensor}))): name
             for name, tensor in encoder.model.state_dict().items() if name not in _WITHOUT_USE}
    problems = [f"{name}: missing" for name in sorted(known.keys() - theirs.keys())]
    problems += [f"{name}: not in the model" for name in sorted(theirs.keys() - known.keys())]
    return {known[name]: theirs[name] for name in theirs if name in known}, problems
