"""The layout of data2vec 2.0 audio models in fairseq: names, shapes and what they say.

emotion2vec has the same, plus `extra_tokens` (FunASR's and fairseq's `Data2VecMultiModel`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sertools.errors import ConfigError
from sertools.models.config import WAV2VEC_CONVS, EncoderConfig
from sertools.models.emotion2vec import DecoderConfig
from sertools.models.weights.fairseq import dig
from sertools.models.weights.microsoft import parse_convs
from torch import Tensor

AUDIO = "modality_encoders.AUDIO."
DECODER = AUDIO + "decoder."
TABLE = {
    "frontend.layers.{i}.weight": AUDIO + "local_encoder.conv_layers.{i}.0.weight",
    "frontend.layers.{i}.norm.": AUDIO + "local_encoder.conv_layers.{i}.2.1.",
    "frontend.norm.": AUDIO + "project_features.1.",
    "frontend.linear.": AUDIO + "project_features.2.",
    "position.convs.{i}.": AUDIO + "relative_positional_encoder.{i+1}.0.",
    "tokens": AUDIO + "extra_tokens",
    "bias.by_distance.scale": AUDIO + "alibi_scale",
    "input_norm.": AUDIO + "context_encoder.norm.",
    "blocks.{i}.attention.qkv.": "{block}attn.qkv.",
    "blocks.{i}.attention.out.": "{block}attn.proj.",
    "blocks.{i}.attention_norm.": "{block}norm1.",
    "blocks.{i}.ffn.0.": "{block}mlp.fc1.",
    "blocks.{i}.ffn.3.": "{block}mlp.fc2.",
    "blocks.{i}.ffn_norm.": "{block}norm2.",
    "decoder.convs.{i}.": DECODER + "blocks.{i}.0.",
    "decoder.linear.": DECODER + "proj.",
}
"""Our names or their beginnings -> theirs; {block} is context block i or main block i - context."""

REQUIRED = {
    "layer_norm_first": False,
    "norm_eps": 1e-5,
    "norm_affine": True,
    "modalities.audio.extractor_mode": "layer_norm",
    "modalities.audio.use_alibi_encoder": True,
    "modalities.audio.learned_alibi": False,
    "modalities.audio.conv_pos_pre_ln": False,
    "modalities.audio.decoder.decoder_residual": True,
    "modalities.audio.decoder.projection_layers": 1,
}
"""Settings below cfg.model that must have this value where they are given."""

_NUMBER = re.compile(r"\.(\d+)\.")


@dataclass(frozen=True)
class Structure:
    """What a file holds, by its shapes."""

    encoder: EncoderConfig
    context_layers: int
    decoder: DecoderConfig | None


def their_name(ours: str, context_layers: int) -> str:
    """Return the published name of our tensor of an encoder, or of "decoder."."""
    found = _NUMBER.search(ours)
    number = int(found.group(1)) if found else 0
    generic = _NUMBER.sub(".{i}.", ours, count=1)
    key = max((key for key in TABLE if generic.startswith(key)), key=len)
    main = f"blocks.{number - context_layers}."
    context = f"{AUDIO}context_encoder.blocks.{number}."
    theirs = TABLE[key].replace("{block}", context if number < context_layers else main)
    theirs = theirs.replace("{i}", str(number)).replace("{i+1}", str(number + 1))
    return theirs + generic[len(key) :]


def to_ours(name: str, theirs: Tensor) -> Tensor:
    """Return a tensor of theirs in our shape; `name` is ours."""
    if name.startswith("frontend.layers.") and theirs.dim() == 3:
        return theirs.transpose(1, 2)  # (out, in, kernel) -> (out, kernel, in)
    if name == "bias.by_distance.scale" and theirs.shape in _scales(theirs.numel()):
        return theirs.flatten()  # (1, 1, H, 1, 1), in old files (1, H, 1, 1)
    return theirs


def to_theirs(name: str, ours: Tensor) -> Tensor:
    """Return a tensor of ours in their shape; the inverse of `to_ours`."""
    if name.startswith("frontend.layers.") and ours.dim() == 3:
        return ours.transpose(1, 2)
    return ours.view(1, 1, -1, 1, 1) if name == "bias.by_distance.scale" else ours


def structure(tensors: Mapping[str, Tensor], cfg: Mapping | None, origin: str | Path) -> Structure:
    """Read depth, widths, heads and kernels from shapes, and compare them with `cfg`.

    Raises:
        ConfigError: tensors that tell the structure are missing or of another kind, or `cfg`
            contradicts them.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    shape, problems = _Shapes(shapes), []
    convs = shape.all(AUDIO + "local_encoder.conv_layers.{i}.0.weight", 3)
    position = shape.all(AUDIO + "relative_positional_encoder.{i}.0.weight", 3)
    projection = shape.one(AUDIO + "project_features.2.weight", 2)
    scale = shapes.get(AUDIO + "alibi_scale", ())
    if scale not in _scales(max(scale, default=0)):
        shape.problems.append(
            f"{AUDIO}alibi_scale: " + (f"shape {scale}" if scale else "missing")
            + "; one scale per head, shared by all blocks, is expected"
        )  # fmt: skip
    context = shape.count(AUDIO + "context_encoder.blocks.{i}.norm1.weight")
    main = shape.count("blocks.{i}.norm1.weight")
    fc1 = shape.one("blocks.0.mlp.fc1.weight", 2)
    tokens = shapes.get(AUDIO + "extra_tokens", (1, 0, 0))
    if shape.problems:
        raise ConfigError(
            f"{origin}: not a data2vec 2.0 or emotion2vec audio model that can be read.",
            shape.problems,
            "check that the file is whole and of this kind of model",
        )
    strides = _strides(convs, cfg, origin, problems)
    decoder = _decoder(shape, cfg)
    found = Structure(
        EncoderConfig(
            frontend="conv",
            normalise_waveform=_normalised(cfg),
            conv_dim=convs[0][0],
            conv_norm="layer",
            conv_bias=False,
            convs=strides,
            dim=projection[0],
            num_layers=context + main,
            num_heads=max(scale),
            ffn_dim=fc1[0],
            block_norm="post",
            input_norm=True,
            final_norm=False,
            position="stack",
            position_kernel=position[0][2],
            position_groups=position[0][0] // position[0][1],
            position_depth=len(position),
            bias="alibi",
            extra_tokens=tokens[1],
            dropout=_setting(cfg, "encoder_dropout", 0.1),
            attention_dropout=_setting(cfg, "attention_dropout", 0.1),
            activation_dropout=_setting(cfg, "activation_dropout", 0.0),
            layerdrop=_setting(cfg, "layerdrop", 0.0),
        ),
        context,
        decoder,
    )
    problems += contradictions(found, cfg)
    if problems:
        raise ConfigError(f"{origin}: weights and cfg do not fit together.", problems)
    return found


def contradictions(found: Structure, cfg: Mapping | None) -> list[str]:
    """Return where the settings below cfg.model differ from what the tensors are."""
    encoder, audio = found.encoder, "modalities.audio."
    held: dict[str, Any] = {
        "depth": encoder.num_layers - found.context_layers,
        "embed_dim": encoder.dim,
        "num_heads": encoder.num_heads,
        "mlp_ratio": encoder.ffn_dim / encoder.dim,
        audio + "prenet_depth": found.context_layers,
        audio + "num_alibi_heads": encoder.num_heads,
        audio + "conv_pos_depth": encoder.position_depth,
        audio + "conv_pos_groups": encoder.position_groups,
        audio + "num_extra_tokens": encoder.extra_tokens,
    }
    if found.decoder is not None:
        decoder = audio + "decoder.decoder_"
        held[decoder + "dim"], held[decoder + "groups"] = found.decoder.dim, found.decoder.groups
        held[decoder + "kernel"] = found.decoder.kernel
        held[decoder + "layers"] = found.decoder.layers
    problems = []
    for name, value in [*held.items(), *REQUIRED.items()]:
        told = dig(cfg, "model", *name.split("."))
        if told is not None and told != value:
            holds = "only {!r} can be read" if name in REQUIRED else "the file holds {!r}"
            problems.append(f"cfg.model.{name}: {told!r}, but {holds.format(value)}")
    return problems


class _Shapes:
    """Look up shapes by name and collect what is missing."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]):
        self.shapes, self.problems = shapes, []

    def one(self, name: str, dims: int) -> tuple[int, ...]:
        found = self.shapes.get(name)
        if found is None or len(found) != dims:
            self.problems.append(f"{name}: " + (f"shape {found}" if found else "missing"))
        return found or ()

    def count(self, pattern: str) -> int:
        """Return one more than the highest number in names like `pattern`."""
        numbered = re.compile(re.escape(pattern).replace(r"\{i\}", r"(\d+)"))
        found = [numbered.fullmatch(name) for name in self.shapes]
        count = max((int(match.group(1)) + 1 for match in found if match), default=0)
        if not count:
            self.problems.append(f"{pattern.format(i=0)}: missing")
        return count

    def all(self, pattern: str, dims: int) -> list[tuple[int, ...]]:
        """Return the shapes of all names like `pattern`; their numbers need not begin at 0."""
        first = 0 if pattern.format(i=0) in self.shapes else 1
        return [self.one(pattern.format(i=i), dims) for i in range(first, self.count(pattern))]


def _scales(heads: int) -> tuple[tuple[int, ...], ...]:
    return ((1, 1, heads, 1, 1), (1, heads, 1, 1))


def _strides(convs, cfg, origin, problems: list[str]) -> tuple[tuple[int, int], ...]:
    """Return (kernel, stride) pairs; strides are in no shape, only in cfg."""
    kernels = tuple(shape[2] for shape in convs)
    text = dig(cfg, "model", "modalities", "audio", "feature_encoder_spec")
    told = parse_convs(text, origin)[1] if text else WAV2VEC_CONVS
    if tuple(kernel for kernel, _ in told) != kernels:
        said = "cfg.model.modalities.audio.feature_encoder_spec" if text else "no cfg with strides"
        problems.append(f"{said}: {told}, but the file holds convolutions with kernels {kernels}")
    return told


def _decoder(shape: _Shapes, cfg: Mapping | None) -> DecoderConfig | None:
    if not any(name.startswith(DECODER) for name in shape.shapes):
        return None
    layers = shape.all(DECODER + "blocks.{i}.0.weight", 3)
    proj = shape.one(DECODER + "proj.weight", 2)
    if not layers or not all(layers) or not proj:
        return DecoderConfig()  # incomplete: filling it lists what is missing
    told = dig(cfg, "model", "modalities", "audio") or {}
    return DecoderConfig(
        dim=layers[0][0],
        kernel=layers[0][2],
        groups=proj[0] // layers[0][1],
        layers=len(layers),
        dropout=dig(told, "decoder", "input_dropout") or 0.0 if told else 0.1,
        noise=told.get("mask_noise_std", 0.01),
    )


def _normalised(cfg: Mapping | None) -> bool:
    """Whether waveforms are normalised: cfg.task says it; every released model has it."""
    told = dig(cfg, "task", "normalize")
    return True if told is None else bool(told)


def _setting(cfg: Mapping | None, name: str, default: float) -> float:
    told = dig(cfg, "model", name)
    return default if told is None else float(told)
