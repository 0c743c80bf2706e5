"""A student of fewer blocks from a trained encoder (Vesper, arXiv 2307.10757, section on
initialisation; the table of ways is that of the released code)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from sertools.errors import ConfigError
from sertools.models.bare import bare
from sertools.models.config import EncoderConfig
from sertools.models.encoder import SpeechEncoder
from torch import Tensor, nn

INITIALISATIONS = (
    "uniform_extract",
    "uniform_average",
    "custom_extract",
    "custom_average",
    "identity_mapping",
    "random",
)
"""Ways to fill a student's blocks from its teacher's; `random` takes nothing from the teacher."""

SIZES = ("dim", "num_heads", "ffn_dim", "conv_dim", "position_kernel", "position_groups")
"""Settings that a student of fresh weights may have of its own; the frame rate stays."""

BEHAVIOUR = ("dropout", "attention_dropout", "activation_dropout", "layerdrop", "attention")
"""Settings that every student may have of its own, since no weight depends on them."""


def thin(
    teacher: SpeechEncoder,
    layers: int,
    initialisation: str = "uniform_extract",
    blocks: Sequence[Any] | None = None,
    **sizes: Any,
) -> SpeechEncoder:
    """Build an encoder of N = `layers` blocks from a teacher of M.

    Everything outside the blocks is copied: front end, projection, position, shared bias, tokens
    and mask embedding (fresh, uniform in [0, 1), where the teacher has none). Gates of the bias
    travel with their block. There is no LayerNorm after the last block and no layer drop.

    Args:
        teacher: of any kind, with weights in single precision; it is not changed.
        layers: blocks of the student; may leave a remainder in M, which `uniform_extract` loses.
        initialisation: what block i, from 0, gets: `uniform_extract` the teacher's block
            i floor(M / N); `uniform_average` the mean of blocks floor(i M / N) to
            floor((i + 1) M / N) - 1; `custom_extract` block `blocks[i]`; `custom_average` the mean
            of blocks a to b, both included, of `blocks[i]` = [a, b]; `identity_mapping` block i;
            `random` fresh weights everywhere.
        blocks: see above; only for the custom ways.
        sizes: settings of `SIZES`, only with `random`, and of `BEHAVIOUR`. None: the teacher's.

    Returns:
        a trainable encoder on the CPU, in training mode.

    Raises:
        ConfigError: for wishes that cannot be had, all of them at once.
    """
    config = thinned_config(teacher.config, layers, initialisation, blocks, **sizes)
    if initialisation == "random":
        return _fresh(config)
    tensors = dict(teacher.state_dict())
    assert all(t.dtype == torch.float32 for t in tensors.values()), "thin before casting"
    state = {"mask_embedding": torch.rand(config.dim)}
    for name, tensor in tensors.items():
        if not name.startswith(("blocks.", "final_norm.")):
            state[name] = tensor.detach().to("cpu", copy=True)
    with bare():
        student = SpeechEncoder(config)
    sources = _sources(teacher.num_layers, layers, initialisation, blocks)
    for number, source in enumerate(sources):
        for name in student.blocks[number].state_dict():
            parts = [tensors[f"blocks.{block}.{name}"] for block in source]
            state[f"blocks.{number}.{name}"] = _mean(parts)
    student.load_state_dict(state, assign=True)
    return student.requires_grad_(True).train()


def shorten(encoder: SpeechEncoder, layers: int) -> SpeechEncoder:
    """Cut off all blocks of an encoder but its first `layers`, and the LayerNorm after the last.

    Its last output is then what the whole encoder's hidden state `layers` was. The encoder itself
    is changed.

    Raises:
        ConfigError: it has not that many blocks.
    """
    if not _whole(layers) or not 1 <= layers <= encoder.num_layers:
        raise ConfigError(f"layers: {layers!r}; the encoder has {encoder.num_layers} blocks",
                          remedy="keep 1 of them or more")
    del encoder.blocks[layers:]
    if layers < encoder.num_layers:
        encoder.final_norm = None
        encoder.config = dataclasses.replace(encoder.config, num_layers=layers, final_norm=False)
    return encoder


def thinned_config(
    teacher: EncoderConfig,
    layers: int,
    initialisation: str = "uniform_extract",
    blocks: Sequence[Any] | None = None,
    **sizes: Any,
) -> EncoderConfig:
    """Return the structure of the student that `thin` builds of a teacher of this structure.

    Raises:
        ConfigError: as `thin`.
    """
    sizes = {name: value for name, value in sizes.items() if value is not None}
    problems = _problems(teacher, layers, initialisation, blocks, sizes)
    known = {name: value for name, value in sizes.items() if name in (*SIZES, *BEHAVIOUR)}
    own = {"final_norm": False, "mask_embedding": True, "layerdrop": 0.0, **known}
    if _whole(layers):
        own["num_layers"] = layers
    try:
        config = dataclasses.replace(teacher, **own)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError("The student cannot be built as configured.", problems)
    return config


def target_depths(fractions_or_depths: Sequence[float], layers: int) -> list[int]:
    """Return the depths of a teacher of M = `layers` blocks whose frames are targets.

    Args:
        fractions_or_depths: shares of the depth in [0, 1], of which the nearest whole depth is
            taken (the deeper of two as near), or whole numbers above 1, which are depths. 1 is
            a depth among whole numbers one of which is above 1, and else the share: all blocks.
        layers: blocks of the teacher; depth 0 is the input of its first block.

    Raises:
        ConfigError: for what is neither, or deeper than the teacher.
    """
    depths, problems = [], []
    numbers = [wish for wish in fractions_or_depths if _number(wish)]
    whole = max(numbers, default=0) > 1 and all(wish == wish // 1 for wish in numbers)
    for wish in fractions_or_depths:
        if not _number(wish) or not 0 <= wish <= max(1, layers):
            problems.append(f"{wish!r}: the teacher has {layers} blocks")
        elif wish <= 1 and not whole:
            depths.append(int(wish * layers + 0.5))
        elif wish == int(wish):
            depths.append(int(wish))
        else:
            problems.append(f"{wish!r}: neither a share up to 1 nor a whole depth")
    if problems:
        raise ConfigError(
            "teacher_layers: no such depths.",
            problems,
            "name shares of the depth such as 0.5 and 1.0, or depths such as 12 and 24",
        )
    return depths


def _fresh(config: EncoderConfig) -> SpeechEncoder:
    """Build an encoder of new weights, its bias table as narrow as the released code's."""
    student = SpeechEncoder(config)
    if config.bias == "gated":
        nn.init.normal_(student.bias.by_distance.table.weight, std=0.02)
    return student


def _sources(depth: int, layers: int, initialisation: str, blocks) -> list[range]:
    """Return the teacher's blocks that each of the student's is the mean of."""
    if initialisation == "uniform_average":
        edges = [number * depth // layers for number in range(layers + 1)]
        return [range(edges[i], edges[i + 1]) for i in range(layers)]
    if initialisation == "custom_average":
        return [range(first, last + 1) for first, last in blocks]
    step = depth // layers if initialisation == "uniform_extract" else 1
    chosen = blocks if initialisation == "custom_extract" else range(0, layers * step, step)
    return [range(block, block + 1) for block in chosen]


def _mean(parts: list[Tensor]) -> Tensor:
    parts = [part.detach().to("cpu") for part in parts]
    return torch.stack(parts).mean(0) if len(parts) > 1 else parts[0].clone()


def _problems(teacher: EncoderConfig, layers, initialisation, blocks, sizes) -> list[str]:
    """Return what is wrong with the arguments of `thin`, in words."""
    problems, depth = [], teacher.num_layers
    if initialisation not in INITIALISATIONS:
        problems.append(
            f"initialisation: {initialisation!r}; choose from {', '.join(INITIALISATIONS)}"
        )
    if not _whole(layers) or layers < 1:
        problems.append(f"layers: {layers!r}; must be a whole number of at least 1")
    elif layers > depth and initialisation != "random":
        problems.append(
            f"layers: {layers}, but the teacher has {depth} blocks; only random makes more of them"
        )
    if initialisation in ("custom_extract", "custom_average"):
        problems += _block_problems(initialisation, blocks, layers, depth)
    elif blocks is not None:
        problems.append(f"blocks: {blocks!r}; only custom_extract and custom_average read them")
    for name, value in sizes.items():
        if name not in (*SIZES, *BEHAVIOUR):
            problems.append(f"{name}: {value!r}; of a student's own can be "
                            f"{', '.join((*SIZES, *BEHAVIOUR))}")  # fmt: skip
        elif name in SIZES and initialisation != "random" and value != getattr(teacher, name):
            problems.append(
                f"{name}: {value!r}, the teacher's is {getattr(teacher, name)}; copied weights "
                "need the same, another size needs initialisation: random"
            )
    return problems


def _block_problems(initialisation: str, blocks, layers, depth: int) -> list[str]:
    if not isinstance(blocks, Sequence) or isinstance(blocks, str) or not blocks:
        kind = "numbers" if initialisation == "custom_extract" else "[first, last] pairs"
        return [f"blocks: {blocks!r}; {initialisation} needs a list of the teacher's {kind}"]
    problems = []
    if _whole(layers) and len(blocks) != layers:
        problems.append(f"blocks: {len(blocks)} of them for {layers} layers")
    for wish in blocks:
        if initialisation == "custom_extract":
            fine = _whole(wish) and 0 <= wish < depth
        else:
            fine = isinstance(wish, Sequence) and len(wish) == 2 and all(map(_whole, wish))
            fine = fine and 0 <= wish[0] <= wish[1] < depth
        if not fine:
            problems.append(f"blocks: {wish!r}; the teacher's are 0 to {depth - 1}")
    return problems


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
