"""Microsoft's WavLM files: WavLM-Base.pt, WavLM-Base+.pt, WavLM-Large.pt ({"cfg", "model"})."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sertools.errors import ConfigError
from sertools.models.config import EncoderConfig
from sertools.models.encoder import SpeechEncoder
from sertools.models.weights.assemble import assemble
from sertools.models.weights.read import read_pickled

_LAYER, _ATTENTION = "encoder.layers.{i}.", "encoder.layers.{i}.self_attn."
TABLE = {
    "frontend.layers.{i}.": "feature_extractor.conv_layers.{i}.0.",
    "frontend.layers.{i}.norm.": "feature_extractor.conv_layers.{i}.2.1.",
    "frontend.layers.{i}.group_norm.": "feature_extractor.conv_layers.{i}.2.",
    "frontend.norm.": "layer_norm.",
    "frontend.linear.": "post_extract_proj.",
    "position.gain": "encoder.pos_conv.0.weight_g",
    "position.direction": "encoder.pos_conv.0.weight_v",
    "position.bias": "encoder.pos_conv.0.bias",
    "input_norm.": "encoder.layer_norm.",
    "final_norm.": "encoder.layer_norm.",
    "blocks.{i}.attention.qkv.": tuple(f"{_ATTENTION}{part}_proj." for part in "qkv"),
    "blocks.{i}.attention.out.": f"{_ATTENTION}out_proj.",
    "blocks.{i}.attention.gate.linear.": f"{_ATTENTION}grep_linear.",
    "blocks.{i}.attention.gate.scale": f"{_ATTENTION}grep_a",
    "bias.by_distance.table.": "encoder.layers.0.self_attn.relative_attention_bias.",
    "blocks.{i}.attention_norm.": f"{_LAYER}self_attn_layer_norm.",
    "blocks.{i}.ffn.0.": f"{_LAYER}fc1.",
    "blocks.{i}.ffn.3.": f"{_LAYER}fc2.",
    "blocks.{i}.ffn_norm.": f"{_LAYER}final_layer_norm.",
    "mask_embedding": "mask_emb",
}
IGNORE = (r"mask_emb$", r"(final_proj|quantizer|label_embs_concat)\b")

_CONVS = re.compile(r"\[((?:\(\d+,\d+,\d+\),?)+)\](?:\*(\d+))?")


def load_file(path: Path, **overrides: Any) -> SpeechEncoder:
    """Load an encoder from one of Microsoft's WavLM files.

    Raises:
        ConfigError: if the file is unreadable, another kind of checkpoint, or inconsistent.
    """
    content = read_pickled(path)
    if not isinstance(content, dict) or not {"cfg", "model"} <= set(content):
        raise ConfigError(
            f"{path}: not a WavLM file of Microsoft; it has no 'cfg' and 'model'.",
            remedy="name a Hugging Face folder, a sertools folder, or a WavLM-*.pt file",
        )
    return assemble(
        to_config(content["cfg"], path, **overrides), content["model"], TABLE, IGNORE, str(path)
    )


def to_config(cfg: dict[str, Any], path: Path, **overrides: Any) -> EncoderConfig:
    """Return the structure that Microsoft's `cfg` describes."""
    missing = [name for name in ("encoder_layers", "encoder_embed_dim") if name not in cfg]
    if missing or cfg.get("activation_fn", "gelu") != "gelu":
        problems = [f"cfg.{name}: missing" for name in missing]
        if cfg.get("activation_fn", "gelu") != "gelu":
            problems.append(f"cfg.activation_fn: {cfg['activation_fn']!r}; only gelu is supported")
        raise ConfigError(f"{path}: not a WavLM that can be read.", problems)
    pre = bool(cfg.get("layer_norm_first", False))
    width, convs = parse_convs(cfg.get("conv_feature_layers", DEFAULT_CONVS), path)
    settings = {
        "frontend": "conv",
        "normalise_waveform": bool(cfg.get("normalize", False)),
        "conv_dim": width,
        "conv_norm": "layer" if cfg.get("extractor_mode") == "layer_norm" else "group",
        "conv_bias": bool(cfg.get("conv_bias", False)),
        "convs": convs,
        "dim": cfg["encoder_embed_dim"],
        "num_layers": cfg["encoder_layers"],
        "num_heads": cfg.get("encoder_attention_heads", 12),
        "ffn_dim": cfg.get("encoder_ffn_embed_dim", 3072),
        "block_norm": "pre" if pre else "post",
        "input_norm": not pre,
        "final_norm": pre,
        "position": "conv",
        "position_kernel": cfg.get("conv_pos", 128),
        "position_groups": cfg.get("conv_pos_groups", 16),
        "bias": "gated" if cfg.get("relative_position_embedding") else "none",
        "num_buckets": cfg.get("num_buckets", 320),
        "max_distance": cfg.get("max_distance", 1280),
        "dropout": cfg.get("dropout", 0.1),
        "attention_dropout": cfg.get("attention_dropout", 0.1),
        "activation_dropout": cfg.get("activation_dropout", 0.0),
    }
    return EncoderConfig(**{**settings, **overrides})


DEFAULT_CONVS = "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"


def parse_convs(text: str, path: Path) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Read width and (kernel, stride) pairs from "[(512,10,5)] + [(512,3,2)] * 4 + ...".

    The text is Python source in the released files; it is parsed here, never evaluated.
    """
    compact = re.sub(r"\s", "", text)
    layers: list[tuple[int, ...]] = []
    for part in compact.split("+"):
        found = _CONVS.fullmatch(part)
        if not found:
            raise ConfigError(f"{path}: cfg.conv_feature_layers {text!r} cannot be read.")
        triples = re.findall(r"\((\d+),(\d+),(\d+)\)", found.group(1))
        layers += [tuple(map(int, triple)) for triple in triples] * int(found.group(2) or 1)
    if len({width for width, *_ in layers}) != 1:
        raise ConfigError(f"{path}: convolutions of different widths ({text}) are not supported.")
    return layers[0][0], tuple((kernel, stride) for _, kernel, stride in layers)
