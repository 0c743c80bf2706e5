"""Write emotion2vec in the layout of the released files, for fairseq and FunASR."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from sertools.errors import ConfigError
from sertools.files import publish
from sertools.models.config import EncoderConfig
from sertools.models.emotion2vec import DecoderConfig, Distillation, Emotion2vec
from sertools.models.weights.data2vec2 import their_name, to_theirs
from torch import Tensor, nn

_KIND = {
    "frontend": "conv",
    "conv_norm": "layer",
    "conv_bias": False,
    "projection_norm": True,
    "block_norm": "post",
    "input_norm": True,
    "final_norm": False,
    "norm_eps": 1e-5,
    "position": "stack",
    "bias": "alibi",
    "mask_embedding": False,
}
"""What the layout can hold."""


def layout_problems(config: EncoderConfig) -> list[str]:
    """Return what of an encoder the layout cannot hold; nothing for those it can."""
    return [
        f"{name}: {getattr(config, name)!r}, the layout holds {value!r} only"
        for name, value in _KIND.items()
        if getattr(config, name) != value
    ]


def save_official(
    model: Emotion2vec | Distillation, path: str | Path, teacher: bool = False
) -> Path:
    """Publish a model as fairseq's dictionary: `cfg` and `model`, names as released.

    The settings in `cfg` are those that the structure and inference depend on. FunASR loads
    `model` into its Emotion2vec; `load_start` takes the file to go on with pretraining.

    Args:
        model: student, or student and teacher.
        path: the file, such as emotion2vec_base.pt.
        teacher: add `_ema`, which needs a `Distillation`.

    Raises:
        ConfigError: the layout cannot hold such an encoder, or there is no teacher.
    """
    student = model.student if isinstance(model, Distillation) else model
    problems = layout_problems(student.config)
    if teacher and not isinstance(model, Distillation):
        problems.append("teacher: the model has none")
    if problems:
        raise ConfigError(f"{path}: the model cannot be saved in emotion2vec's layout.", problems)
    context = student.context_layers
    tensors: dict[str, Any] = {
        **_renamed(student.encoder, "", context),
        **_renamed(student.decoder, "decoder.", context),
    }
    if teacher:
        tensors["_ema"] = _renamed(model.teacher.encoder, "", context)
    cfg = describe(student.config, student.decoder.config, context)
    with publish(path) as temporary:
        torch.save({"cfg": cfg, "model": tensors}, temporary)
    return Path(path)


def _renamed(module: nn.Module, prefix: str, context_layers: int) -> dict[str, Tensor]:
    """Return float32 copies by their names."""
    return {
        their_name(prefix + name, context_layers): to_theirs(prefix + name, tensor)
        .detach()
        .to("cpu", torch.float32)
        .clone(memory_format=torch.contiguous_format)
        for name, tensor in module.state_dict().items()
    }


def describe(config: EncoderConfig, decoder: DecoderConfig, context_layers: int) -> dict[str, Any]:
    """Return `cfg` in the names of fairseq's `Data2VecMultiConfig` and its task."""
    convs = [f"[({config.conv_dim}, {kernel}, {stride})]" for kernel, stride in config.convs]
    audio = {
        "type": "AUDIO",
        "prenet_depth": context_layers,
        "prenet_layerdrop": config.layerdrop,
        "prenet_dropout": config.dropout,
        "start_drop_path_rate": 0.0,
        "end_drop_path_rate": 0.0,
        "num_extra_tokens": config.extra_tokens,
        "init_extra_token_zero": True,
        "mask_noise_std": decoder.noise,
        "mask_prob_min": None,
        "mask_prob": 0.5,
        "mask_length": 5,
        "inverse_mask": False,
        "mask_prob_adjust": 0.05,
        "keep_masked_pct": 0.0,
        "mask_dropout": 0.0,
        "add_masks": False,
        "remove_masks": False,
        "mask_channel_prob": 0.0,
        "mask_channel_length": 64,
        "encoder_zero_mask": True,
        "ema_local_encoder": False,
        "local_grad_mult": 1.0,
        "extractor_mode": "layer_norm",
        "feature_encoder_spec": " + ".join(convs),
        "conv_pos_width": config.position_kernel * config.position_depth,
        "conv_pos_groups": config.position_groups,
        "conv_pos_depth": config.position_depth,
        "conv_pos_pre_ln": False,
        "use_alibi_encoder": True,
        "alibi_scale": 1.0,
        "learned_alibi": False,
        "alibi_max_pos": None,
        "learned_alibi_scale": True,
        "learned_alibi_scale_per_head": True,
        "learned_alibi_scale_per_layer": False,
        "num_alibi_heads": config.num_heads,
        "model_depth": config.num_layers - context_layers,
        "decoder": {
            "decoder_dim": decoder.dim,
            "decoder_groups": decoder.groups,
            "decoder_kernel": decoder.kernel,
            "decoder_layers": decoder.layers,
            "input_dropout": decoder.dropout,
            "add_positions_masked": False,
            "add_positions_all": False,
            "decoder_residual": True,
            "projection_layers": 1,
            "projection_ratio": 2.0,
        },
    }
    return {
        "task": {
            "_name": "audio_pretraining",
            "sample_rate": config.sample_rate,
            "normalize": config.normalise_waveform,
        },
        "model": {
            "_name": "data2vec_multi",
            "supported_modality": "AUDIO",
            "depth": config.num_layers - context_layers,
            "embed_dim": config.dim,
            "num_heads": config.num_heads,
            "mlp_ratio": config.ffn_dim / config.dim,
            "norm_eps": config.norm_eps,
            "norm_affine": True,
            "layer_norm_first": False,
            "end_of_block_targets": False,
            "encoder_dropout": config.dropout,
            "post_mlp_drop": config.dropout,
            "attention_dropout": config.attention_dropout,
            "activation_dropout": config.activation_dropout,
            "dropout_input": 0.0,
            "layerdrop": config.layerdrop,
            "start_drop_path_rate": 0.0,
            "end_drop_path_rate": 0.0,
            "average_top_k_layers": config.num_layers - context_layers,
            "loss_beta": 0.0,
            "loss_scale": None,
            "clone_batch": 8,
            "modalities": {"audio": audio},
        },
    }
