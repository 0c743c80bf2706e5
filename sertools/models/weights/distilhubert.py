"""DistilHuBERT (arXiv 2110.01900): its authors' .ckpt files, and HuBERT's layout for transformers.

A .ckpt holds {"Config": the YAML of the training, "Distiller": tensors}, in the names of fairseq.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from sertools.errors import ConfigError
from sertools.files import publish, write_json
from sertools.models.config import EncoderConfig
from sertools.models.encoder import SpeechEncoder
from sertools.models.weights import huggingface
from sertools.models.weights.assemble import assemble, disassemble
from sertools.models.weights.fairseq import dig, plain, read_fairseq
from sertools.models.weights.microsoft import DEFAULT_CONVS, TABLE, parse_convs
from torch import Tensor

_IGNORE = (r"output_layer\.",)
"""The prediction heads."""
_KNOWN = {
    "extractor_mode": ("default", "layer_norm"),
    "activation_fn": ("gelu",),
    "attention_type": ("original",),
    "task_emb_type": ("expand-last", "self-hidden", "none"),
}
"""Settings of the authors' configuration, the first their default, that can be read."""
_HOLDS = {"frontend": "conv", "sample_rate": 16000, "position": "conv", "bias": "none",
          "extra_tokens": 0, "mask_embedding": False}  # fmt: skip
"""What HuBERT's layout can hold."""


def is_of_kind(content: Any) -> bool:
    """Say whether the content of a file looks like DistilHuBERT."""
    return isinstance(content, Mapping) and {"Config", "Distiller"} <= set(content)


def load_file(path: Path, content: Any = None, **overrides: Any) -> SpeechEncoder:
    """Load the student of a file; prediction heads in it are left.

    Raises:
        ConfigError: it is unreadable, holds code or is another kind of file; missing, unexpected
            and wrongly shaped tensors, all at once; settings that cannot be read.
    """
    content = read_fairseq(path) if content is None else content
    if not is_of_kind(content):
        raise ConfigError(f"{path}: not a DistilHuBERT file; it has no 'Config' and 'Distiller'.",
                          remedy="name a checkpoint of s3prl's distiller")
    tensors = content["Distiller"]
    odd = [name for name, value in tensors.items() if not isinstance(value, Tensor)]
    if odd:
        raise ConfigError(f"{path}: something else than tensors is in 'Distiller'.", odd)
    config = to_config(dig(plain(content["Config"]), "distiller"), path, **overrides)
    return assemble(config, huggingface.with_plain_names(tensors), TABLE, _IGNORE, str(path))


def to_config(values: Any, path: Path, **overrides: Any) -> EncoderConfig:
    """Return the structure that the authors' `Config.distiller` describes."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: 'Config' has no 'distiller'.", remedy="the file is not whole")
    problems = [f"Config.distiller.{name}: {values[name]!r}; {' or '.join(known)} can be read"
                for name, known in _KNOWN.items() if values.get(name, known[0]) not in known]
    width, convs = parse_convs(values.get("extractor_conv_feature_layers", DEFAULT_CONVS), path)
    dim = values.get("encoder_embed_dim", 768)
    if dim == width:
        problems.append(f"Config.distiller.encoder_embed_dim: {dim}, the convolutions' own width; "
                        "there is no projection then")
    if problems:
        raise ConfigError(f"{path}: not a DistilHuBERT that can be read.", problems)
    pre = bool(values.get("layer_norm_first", False))
    return EncoderConfig(**{
        "frontend": "conv",
        "conv_dim": width,
        "conv_norm": "layer" if values.get("extractor_mode") == "layer_norm" else "group",
        "convs": convs,
        "projection_norm": False,
        "dim": dim,
        "num_layers": values.get("encoder_layers", 1),
        "num_heads": values.get("encoder_attention_heads", 12),
        "ffn_dim": values.get("encoder_ffn_embed_dim", 3072),
        "block_norm": "pre" if pre else "post",
        "input_norm": not pre,
        "final_norm": pre,
        "position": "conv",
        "position_kernel": values.get("conv_pos", 128),
        "position_groups": values.get("conv_pos_groups", 16),
        **{name: values.get(name, 0.1) for name in
           ("dropout", "attention_dropout", "activation_dropout")},
        **overrides,
    })  # fmt: skip


def layout_problems(config: EncoderConfig) -> list[str]:
    """Return what of an encoder HuBERT's layout cannot hold; nothing for those it can."""
    pre = config.block_norm == "pre"
    wanted = {**_HOLDS, "input_norm": not pre, "final_norm": pre}
    return [f"{name}: {getattr(config, name)!r}, the layout holds {value!r} only"
            for name, value in wanted.items() if getattr(config, name) != value]


def save_hubert(encoder: SpeechEncoder, folder: str | Path) -> Path:
    """Publish an encoder as a folder that `transformers.HubertModel.from_pretrained` reads.

    Raises:
        ConfigError: the layout cannot hold such an encoder.
    """
    config, folder = encoder.config, Path(folder)
    problems = layout_problems(config)
    if problems:
        raise ConfigError(f"{folder}: the encoder cannot be saved in HuBERT's layout.", problems)
    kernels, strides = zip(*config.convs, strict=True)
    values = {
        "architectures": ["HubertModel"],
        "model_type": "hubert",
        "hidden_size": config.dim,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "intermediate_size": config.ffn_dim,
        "layer_norm_eps": config.norm_eps,
        "do_stable_layer_norm": config.block_norm == "pre",
        "feat_extract_norm": config.conv_norm,
        "feat_proj_layer_norm": config.projection_norm,
        "feat_proj_dropout": 0.0,
        "conv_dim": [config.conv_dim] * len(kernels),
        "conv_kernel": list(kernels),
        "conv_stride": list(strides),
        "conv_bias": config.conv_bias,
        "num_feat_extract_layers": len(kernels),
        "num_conv_pos_embeddings": config.position_kernel,
        "num_conv_pos_embedding_groups": config.position_groups,
        "hidden_dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "activation_dropout": config.activation_dropout,
        "layerdrop": config.layerdrop,
        "mask_time_prob": 0.0,  # else it wants an embedding of masked frames
        "mask_feature_prob": 0.0,
        "torch_dtype": "float32",
    }
    extractor = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "do_normalize": config.normalise_waveform,
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": config.conv_norm == "layer",
        "sampling_rate": config.sample_rate,
    }
    with publish(folder) as temporary:
        temporary.mkdir()
        write_json(temporary / "config.json", values)
        write_json(temporary / "preprocessor_config.json", extractor)
        save_file(disassemble(encoder, huggingface.TABLE), temporary / "model.safetensors",
                  metadata={"format": "pt"})
    return folder
