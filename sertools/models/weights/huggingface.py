"""Hugging Face models: a folder or an id with config.json and model.safetensors or a .bin file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sertools.errors import ConfigError
from sertools.models.config import EncoderConfig
from sertools.models.encoder import SpeechEncoder
from sertools.models.weights.assemble import assemble
from sertools.models.weights.read import read_pickled, read_safetensors
from torch import Tensor

KINDS = ("wavlm", "hubert", "wav2vec2")
"""Values of `model_type` that this loader knows; also the prefixes of models with a head."""

_LAYER, _ATTENTION = "encoder.layers.{i}.", "encoder.layers.{i}.attention."
TABLE = {
    "frontend.layers.{i}.": "feature_extractor.conv_layers.{i}.conv.",
    "frontend.layers.{i}.norm.": "feature_extractor.conv_layers.{i}.layer_norm.",
    "frontend.layers.{i}.group_norm.": "feature_extractor.conv_layers.{i}.layer_norm.",
    "frontend.norm.": "feature_projection.layer_norm.",
    "frontend.linear.": "feature_projection.projection.",
    "position.gain": "encoder.pos_conv_embed.conv.weight_g",
    "position.direction": "encoder.pos_conv_embed.conv.weight_v",
    "position.bias": "encoder.pos_conv_embed.conv.bias",
    "input_norm.": "encoder.layer_norm.",
    "final_norm.": "encoder.layer_norm.",
    "blocks.{i}.attention.qkv.": tuple(f"{_ATTENTION}{part}_proj." for part in "qkv"),
    "blocks.{i}.attention.out.": f"{_ATTENTION}out_proj.",
    "blocks.{i}.attention.gate.linear.": f"{_ATTENTION}gru_rel_pos_linear.",
    "blocks.{i}.attention.gate.scale": f"{_ATTENTION}gru_rel_pos_const",
    "bias.by_distance.table.": "encoder.layers.0.attention.rel_attn_embed.",
    "blocks.{i}.attention_norm.": f"{_LAYER}layer_norm.",
    "blocks.{i}.ffn.0.": f"{_LAYER}feed_forward.intermediate_dense.",
    "blocks.{i}.ffn.3.": f"{_LAYER}feed_forward.output_dense.",
    "blocks.{i}.ffn_norm.": f"{_LAYER}final_layer_norm.",
    "mask_embedding": "masked_spec_embed",
}
IGNORE = (
    r"masked_spec_embed$",
    r"(quantizer|project_q|project_hid|lm_head|projector|classifier|tdnn|objective)\.",
    r"(label_embeddings_concat|layer_weights)$",
    r"(final_proj|dropout_features)\.",
)
"""Parts of pretraining and of tasks, which an encoder does not need."""

_UNSUPPORTED = {
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "conv_pos_batch_norm": False,
    "add_adapter": False,
    "adapter_attn_dim": None,
}
"""Settings that must have this value where they are given."""


def load_folder(folder: Path, **overrides: Any) -> SpeechEncoder:
    """Load an encoder from a folder as `save_pretrained` writes it or the hub holds it."""
    config = read_config(folder, **overrides)
    if (folder / "model.safetensors").is_file():
        tensors = read_safetensors(folder / "model.safetensors")
    elif (folder / "pytorch_model.bin").is_file():
        tensors = read_pickled(folder / "pytorch_model.bin")
    else:
        raise ConfigError(f"{folder}: neither model.safetensors nor pytorch_model.bin is there.")
    return assemble(config, with_plain_names(tensors), TABLE, IGNORE, str(folder))


def load_id(name: str, **overrides: Any) -> SpeechEncoder:
    """Load "organisation/model" or "organisation/model@revision", downloading it where needed."""
    from sertools.models.weights import checkpoint, emotion2vec
    from sertools.models.weights.hub import fetch

    small = ["config.json", "preprocessor_config.json"]
    for weights in ("model.safetensors", "pytorch_model.bin"):
        folder = fetch(name, [*small, weights])
        if (folder / weights).is_file():
            return load_folder(folder, **overrides)
    published = checkpoint.find_file(fetch(name, checkpoint.FETCHED))
    if published is not None:
        return emotion2vec.load_file(published, **overrides)
    return load_folder(folder, **overrides)  # which says what is missing


def read_config(folder: Path, **overrides: Any) -> EncoderConfig:
    """Return the structure that config.json (and preprocessor_config.json) of `folder` tell."""
    values = _read(folder / "config.json")
    _refuse_unsupported(values, folder)
    layer = values.get("feat_extract_norm", "group") == "layer"
    normalise = layer  # as the authors trained, unless the preprocessor says otherwise
    preprocessor = folder / "preprocessor_config.json"
    if preprocessor.is_file():
        normalise = _read(preprocessor).get("do_normalize", normalise)
    pre = bool(values.get("do_stable_layer_norm", False))
    settings = {
        "frontend": "conv",
        "normalise_waveform": normalise,
        "conv_dim": values.get("conv_dim", [512])[0],
        "conv_norm": "layer" if layer else "group",
        "conv_bias": values.get("conv_bias", False),
        "convs": tuple(
            zip(
                values.get("conv_kernel", (10, 3, 3, 3, 3, 2, 2)),
                values.get("conv_stride", (5, 2, 2, 2, 2, 2, 2)),
                strict=True,
            )
        ),
        "projection_norm": values.get("feat_proj_layer_norm", True),
        "dim": values.get("hidden_size", 768),
        "num_layers": values.get("num_hidden_layers", 12),
        "num_heads": values.get("num_attention_heads", 12),
        "ffn_dim": values.get("intermediate_size", 3072),
        "norm_eps": values.get("layer_norm_eps", 1e-5),
        "block_norm": "pre" if pre else "post",
        "input_norm": not pre,
        "final_norm": pre,
        "position": "conv",
        "position_kernel": values.get("num_conv_pos_embeddings", 128),
        "position_groups": values.get("num_conv_pos_embedding_groups", 16),
        "bias": "gated" if values["model_type"] == "wavlm" else "none",
        "num_buckets": values.get("num_buckets", 320),
        "max_distance": values.get("max_bucket_distance", 800),
        "dropout": values.get("hidden_dropout", 0.1),
        "attention_dropout": values.get("attention_dropout", 0.1),
        "activation_dropout": values.get("activation_dropout", 0.1),
    }
    return EncoderConfig(**{**settings, **overrides})


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read.", [str(error)]) from error


def _refuse_unsupported(values: dict[str, Any], folder: Path) -> None:
    problems = []
    if values.get("model_type") not in KINDS:
        problems.append(f"model_type: {values.get('model_type')!r}; known are {', '.join(KINDS)}")
    for name, wanted in _UNSUPPORTED.items():
        if values.get(name, wanted) != wanted:
            problems.append(f"{name}: {values[name]!r}; only {wanted!r} is supported")
    if len(set(values.get("conv_dim", [512]))) != 1:
        problems.append(f"conv_dim: {values['conv_dim']}; all convolutions must be equally wide")
    if problems:
        raise ConfigError(f"{folder / 'config.json'}: not a model that can be read.", problems)


def with_plain_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop the prefix of models with a head; give both spellings of weight norm the older one."""
    plain = {}
    for name, tensor in tensors.items():
        first, _, rest = name.partition(".")
        name = rest if first in KINDS else name
        name = name.replace("parametrizations.weight.original0", "weight_g")
        plain[name.replace("parametrizations.weight.original1", "weight_v")] = tensor
    return plain
