"""Vesper's files as the authors' code (github.com/HappyColor/Vesper) writes them, both ways.

* pretraining: {"cfg", "epoch", "iteration", "lowest_loss", "model", "optimizer", "scheduler"};
  names in `model` begin with `vesper.`, those of the predictors with `l_`, `h_` or `x_predictor.`.
* downstream: no `vesper.mask_emb`, but `projector.*`, `classifier.*` and, for a weighted sum of
  the layers, `weights`.

Behind the prefix the names are those of WavLM-Large.pt, without the LayerNorm behind the last
block. Depth, widths and heads are read from shapes. `cfg`, a yacs node whose code is never run,
must agree with them; it tells what no shape does, and may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from sertools.errors import ConfigError
from sertools.files import publish
from sertools.models.config import EncoderConfig
from sertools.models.encoder import SpeechEncoder
from sertools.models.heads import EncoderWithHead, UtteranceHead
from sertools.models.weights.assemble import assemble, disassemble
from sertools.models.weights.fairseq import dig, plain, read_fairseq
from sertools.models.weights.microsoft import DEFAULT_CONVS, TABLE, parse_convs
from torch import Tensor, nn

__all__ = ["is_of_kind", "layout_problems", "load_downstream", "load_file", "save_vesper"]

PREFIX = "vesper."
PREDICTORS = {"acoustic": "l_predictor", "semantic": "h_predictor", "cross": "x_predictor"}
"""Our name of a predictor -> theirs."""
_TABLE = {ours: PREFIX + theirs if isinstance(theirs, str) else tuple(map(PREFIX.__add__, theirs))
          for ours, theirs in TABLE.items()}  # fmt: skip
_IGNORE = (
    r"vesper\.mask_emb$",
    r"[lhx]_predictor\.simple_ffn\.[02]\.(weight|bias)$",
    r"weights$",
    r"(projector|classifier)\.(weight|bias)$",
)
_TELLING = {
    "vesper.post_extract_proj.weight": 2,
    "vesper.encoder.pos_conv.0.weight_v": 3,
    "vesper.encoder.layers.0.self_attn.grep_a": 4,
    "vesper.encoder.layers.0.self_attn.relative_attention_bias.weight": 2,
    "vesper.encoder.layers.0.fc1.weight": 2,
}
"""Tensors whose shapes tell the structure -> how many axes they have."""
_KIND = {
    "frontend": "conv",
    "sample_rate": 16000,
    "conv_norm": "layer",
    "conv_bias": False,
    "projection_norm": True,
    "block_norm": "pre",
    "input_norm": False,
    "final_norm": False,
    "norm_eps": 1e-5,
    "position": "conv",
    "bias": "gated",
    "extra_tokens": 0,
}
"""What the layout can hold."""


_FIXED = {
    "activation": "gelu",
    "extractor_mode": "layer_norm",
    "normalize_before": True,
    "qk_norm": False,
    "relative_position_embedding": True,
    "gru_rel_pos": True,
}
"""Switches of the authors' configuration that only these values can be read of."""


def is_of_kind(content: Any) -> bool:
    """Say whether the content of a file looks like Vesper."""
    names = content.get("model") if isinstance(content, Mapping) else None
    return isinstance(names, Mapping) and any(str(name).startswith(PREFIX) for name in names)


def load_file(path: Path, content: Any = None, **overrides: Any) -> SpeechEncoder:
    """Load the encoder of a file; predictors and classifier in it are left.

    Raises:
        ConfigError: it is unreadable, holds code or is another kind of file; missing, unexpected
            and wrongly shaped tensors, all at once; `cfg` contradicts them.
    """
    tensors, cfg = _content(path, content)
    config = _config(tensors, cfg, path, overrides)
    return assemble(config, tensors, _TABLE, _IGNORE, str(path))


def load_downstream(path: str | Path, **overrides: Any) -> EncoderWithHead:
    """Load a downstream file: waveforms to the outputs before the softmax, in eval mode.

    Args:
        path: of the file.
        overrides: settings of the encoder that no weight depends on, such as dropouts.

    Raises:
        ConfigError: as `load_file`; there is no classifier, or it does not fit the encoder.
    """
    path = Path(path)
    content = read_fairseq(path)
    tensors, _ = _content(path, content)
    encoder = load_file(path, content, **overrides)
    needed = ("projector.weight", "projector.bias", "classifier.weight", "classifier.bias")
    missing = [f"{name}: missing" for name in needed if name not in tensors]
    if missing:
        raise ConfigError(f"{path}: there is no classifier in it.", missing,
                          "take a file of the downstream training")  # fmt: skip
    width, outputs = len(tensors["projector.bias"]), len(tensors["classifier.bias"])
    summed = "weights" in tensors
    head = UtteranceHead(encoder.num_layers + 1 if summed else 1, encoder.dim, outputs,
                         "weighted_sum" if summed else "last", projection=width)  # fmt: skip
    names = {"projection": "projector", "output": "classifier"}
    state, problems = {}, []
    for name, ours in head.state_dict().items():
        part, _, kind = name.partition(".")
        theirs = "weights" if name == "layer_weights" else f"{names[part]}.{kind}"
        state[name] = tensors[theirs].float()
        if state[name].shape != ours.shape:
            problems.append(f"{theirs}: shape {tuple(state[name].shape)}, expected "
                            f"{tuple(ours.shape)}")  # fmt: skip
    if problems:
        raise ConfigError(f"{path}: the classifier does not fit the encoder.", problems)
    head.load_state_dict(state)
    return EncoderWithHead(encoder, head).eval()


def layout_problems(config: EncoderConfig) -> list[str]:
    """Return what of an encoder the layout cannot hold; nothing for those it can."""
    return [
        f"{name}: {getattr(config, name)!r}, the layout holds {value!r} only"
        for name, value in _KIND.items()
        if getattr(config, name) != value
    ]


def save_vesper(
    encoder: SpeechEncoder, path: str | Path, predictors: Mapping[str, nn.Module] | None = None
) -> Path:
    """Publish a student as {"cfg", "model"} in the authors' names; `cfg` is a plain dictionary.

    Args:
        encoder: the student; its mask embedding is written if it has one.
        path: the file, such as vesper.pt.
        predictors: some of acoustic, semantic and cross, each with two linear layers.

    Raises:
        ConfigError: the layout cannot hold such an encoder, or there is another predictor.
    """
    predictors = {name: module for name, module in (predictors or {}).items() if module is not None}
    problems = layout_problems(encoder.config)
    unknown = sorted(set(predictors) - set(PREDICTORS))
    problems += [f"predictor {name}: there is no such one" for name in unknown]
    if problems:
        raise ConfigError(f"{path}: the model cannot be saved in Vesper's layout.", problems)
    tensors = disassemble(encoder, _TABLE)
    for name, module in predictors.items():
        linears = [one for one in module.modules() if isinstance(one, nn.Linear)]
        for number, linear in zip((0, 2), linears, strict=True):
            for kind, value in linear.state_dict().items():
                theirs = f"{PREDICTORS[name]}.simple_ffn.{number}.{kind}"
                tensors[theirs] = value.detach().to("cpu", torch.float32).clone()
    cfg = {"model": _describe(encoder.config, predictors)}
    with publish(path) as temporary:
        torch.save({"cfg": cfg, "model": tensors}, temporary)
    return Path(path)


def _content(path: Path, content: Any) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
    """Return the tensors of a file by their full names, and its settings of the model."""
    content = read_fairseq(path) if content is None else content
    if not is_of_kind(content):
        raise ConfigError(
            f"{path}: not a Vesper file; it has no 'model' with names that begin with {PREFIX}.",
            remedy="name a checkpoint of Vesper's pretraining or downstream training",
        )
    odd = [name for name, value in content["model"].items() if not isinstance(value, Tensor)]
    if odd:
        raise ConfigError(f"{path}: something else than tensors is in 'model'.", odd)
    return content["model"], dig(plain(content.get("cfg")), "model") or {}


def _config(
    tensors: Mapping[str, Tensor], cfg: Mapping[str, Any], path: Path, overrides: Mapping[str, Any]
) -> EncoderConfig:
    """Return the structure that shapes tell, and settings from `cfg` or else as published."""
    problems = [f"{name}: missing" for name in _TELLING if name not in tensors]
    problems += [f"{name}: shape {tuple(tensors[name].shape)}, expected {axes} axes"
                 for name, axes in _TELLING.items()
                 if name in tensors and tensors[name].dim() != axes]  # fmt: skip
    if problems:
        raise ConfigError(f"{path}: the structure cannot be told.", problems, _WHOLE)
    (dim, conv_dim), (_, group, kernel), (_, heads, *_), (buckets, _), (inner, _) = (
        tensors[name].shape for name in _TELLING
    )
    numbers = [re.match(r"vesper\.encoder\.layers\.(\d+)\.", name) for name in tensors]
    shapes = {
        "encoder_layers": 1 + max(int(found.group(1)) for found in numbers if found),
        "encoder_embed_dim": dim,
        "ffn_embed_dim": inner,
        "num_heads": heads,
        "conv_pos": kernel,
        "conv_pos_groups": dim // max(group, 1),
        "num_buckets": buckets,
    }
    problems = [f"cfg.model.{name}: {cfg[name]!r}, but the file holds {value!r}"
                for name, value in shapes.items() if cfg.get(name, value) != value]  # fmt: skip
    problems += [f"cfg.model.{name}: {cfg[name]!r}; only {value!r} can be read"
                 for name, value in _FIXED.items() if cfg.get(name, value) != value]  # fmt: skip
    width, convs = parse_convs(cfg.get("conv_feature_layers", DEFAULT_CONVS), path)
    if "conv_feature_layers" in cfg and width != conv_dim:
        problems.append(f"cfg.model.conv_feature_layers: width {width}, but the file holds "
                        f"{conv_dim}")  # fmt: skip
    if problems:
        raise ConfigError(f"{path}: weights and cfg do not fit together.", problems, _WHOLE)
    dropout = cfg.get("dropout", 0.1)
    settings = {
        **_KIND,
        "normalise_waveform": cfg.get("normalize", True),
        "conv_dim": conv_dim,
        "convs": convs,
        "dim": dim,
        "num_layers": shapes["encoder_layers"],
        "num_heads": heads,
        "ffn_dim": inner,
        "position_kernel": kernel,
        "position_groups": shapes["conv_pos_groups"],
        "num_buckets": buckets,
        "max_distance": cfg.get("max_distance", 800),
        "mask_embedding": f"{PREFIX}mask_emb" in tensors,
        "dropout": dropout,
        "attention_dropout": dropout,
        "activation_dropout": dropout,
    }
    return EncoderConfig.from_dict({**settings, **overrides}, str(path))


_WHOLE = "check that the file is whole and of this kind of model"


def _describe(config: EncoderConfig, predictors: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Return `cfg.model` in the names of the authors' configuration."""
    convs = [f"[({config.conv_dim},{kernel},{stride})]" for kernel, stride in config.convs]
    return {
        "encoder_layers": config.num_layers,
        "encoder_embed_dim": config.dim,
        "ffn_embed_dim": config.ffn_dim,
        "num_heads": config.num_heads,
        **_FIXED,
        "dropout": config.dropout,
        "bias": True,
        "normalize": config.normalise_waveform,
        **{f"enable_{theirs}": name in predictors for name, theirs in PREDICTORS.items()},
        "conv_pos": config.position_kernel,
        "conv_pos_groups": config.position_groups,
        "num_buckets": config.num_buckets,
        "max_distance": config.max_distance,
        "conv_feature_layers": " + ".join(convs),
        "dropout_input": 0.0,
    }
