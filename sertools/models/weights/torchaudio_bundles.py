"""Pretrained models of torchaudio: "torchaudio:WAVLM_LARGE", "torchaudio:HUBERT_BASE", ..."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sertools.errors import ConfigError
from sertools.models.config import EncoderConfig
from sertools.models.encoder import SpeechEncoder
from sertools.models.weights.assemble import assemble
from sertools.models.weights.huggingface import TABLE as HUGGINGFACE
from sertools.models.weights.huggingface import with_plain_names
from torch import Tensor

TABLE: dict[str, str | tuple[str, ...]] = {
    # torchaudio keeps projection and Transformer together: encoder.{feature_projection,transformer}
    ours: tuple(
        part.replace("encoder.", "encoder.transformer.", 1)
        if part.startswith("encoder.")
        else f"encoder.{part}"
        if part.startswith("feature_projection.")
        else part
        for part in ((theirs,) if isinstance(theirs, str) else theirs)
    )
    for ours, theirs in HUGGINGFACE.items()
}
_FUSED = "encoder.transformer.layers.{i}.attention.attention."
WAVLM_TABLE = {
    **TABLE,
    "blocks.{i}.attention.qkv.": f"{_FUSED}in_proj_",
    "blocks.{i}.attention.out.": f"{_FUSED}out_proj.",
}
IGNORE = (r"aux\.",)


def load_bundle(name: str, **overrides: Any) -> SpeechEncoder:
    """Load the bundle `name` of `torchaudio.pipelines`, downloaded by torchaudio where needed.

    Raises:
        ConfigError: if there is no such bundle or it cannot be downloaded.
    """
    from torchaudio import pipelines

    bundle = getattr(pipelines, name, None)
    if not isinstance(bundle, pipelines.Wav2Vec2Bundle):
        raise ConfigError(
            f"torchaudio:{name}: torchaudio has no such speech encoder.",
            remedy="choose for example WAVLM_LARGE, HUBERT_BASE or WAV2VEC2_LARGE_LV60K",
        )
    try:
        model = bundle.get_model(dl_kwargs={"weights_only": True, "map_location": "cpu"})
    except OSError as error:
        raise ConfigError(
            f"torchaudio:{name}: the weights cannot be downloaded.",
            [str(error)],
            "check the connection, or name a folder with the same model",
        ) from error
    config = to_config(bundle._params, bundle._normalize_waveform, **overrides)
    tensors = {key.removeprefix("model."): value for key, value in model.state_dict().items()}
    return from_tensors(config, tensors, f"torchaudio:{name}")


def from_tensors(config: EncoderConfig, tensors: dict[str, Tensor], origin: str) -> SpeechEncoder:
    """Build an encoder from the state dict of a torchaudio model."""
    table = WAVLM_TABLE if config.bias == "gated" else TABLE
    return assemble(config, with_plain_names(tensors), table, IGNORE, origin)


def to_config(params: Mapping[str, Any], normalise: bool, **overrides: Any) -> EncoderConfig:
    """Return the structure that the arguments of torchaudio's model functions describe."""
    pre = params["encoder_layer_norm_first"]
    convs = params["extractor_conv_layer_config"]
    settings = {
        "frontend": "conv",
        "normalise_waveform": normalise,
        "conv_dim": convs[0][0],
        "conv_norm": "layer" if params["extractor_mode"] == "layer_norm" else "group",
        "conv_bias": params["extractor_conv_bias"],
        "convs": tuple((kernel, stride) for _, kernel, stride in convs),
        "dim": params["encoder_embed_dim"],
        "num_layers": params["encoder_num_layers"],
        "num_heads": params["encoder_num_heads"],
        "ffn_dim": params["encoder_ff_interm_features"],
        "block_norm": "pre" if pre else "post",
        "input_norm": not pre,
        "final_norm": pre,
        "position": "conv",
        "position_kernel": params["encoder_pos_conv_kernel"],
        "position_groups": params["encoder_pos_conv_groups"],
        "bias": "gated" if "encoder_num_buckets" in params else "none",
        "num_buckets": params.get("encoder_num_buckets", 320),
        "max_distance": params.get("encoder_max_distance", 800),
        "dropout": params["encoder_dropout"],
        "attention_dropout": params["encoder_attention_dropout"],
        "activation_dropout": params["encoder_ff_interm_dropout"],
    }
    return EncoderConfig(**{**settings, **overrides})
