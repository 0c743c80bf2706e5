"""Fill an encoder from named tensors of another layout, using every one exactly once; and back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from sertools.errors import ConfigError
from sertools.models.bare import bare
from sertools.models.config import EncoderConfig
from sertools.models.encoder import SpeechEncoder
from torch import Tensor

Table = Mapping[str, str | tuple[str, ...]]
"""Our name or its beginning ("blocks.{i}.ffn.0.") -> theirs; several are joined along axis 0."""

_NUMBERED = re.compile(r"^(frontend\.layers|blocks)\.(\d+)\.")


def assemble(
    config: EncoderConfig,
    tensors: Mapping[str, Tensor],
    table: Table,
    ignore: Iterable[str],
    origin: str,
    taps_last: bool = True,
) -> SpeechEncoder:
    """Build the encoder of `config` with the weights in `tensors`.

    Args:
        config: the structure that the file says it has.
        tensors: their names -> tensors.
        table: our names -> theirs.
        ignore: regular expressions of their names that no encoder needs.
        origin: what to call the file in messages.
        taps_last: their front end holds (out, in, kernel), ours (out, kernel, in).

    Raises:
        ConfigError: for missing, unexpected and wrongly shaped tensors, all of them at once.
    """
    with bare():
        encoder = SpeechEncoder(config)
    state, problems, used = {}, [], set()
    for name, ours in encoder.state_dict().items():
        theirs = their_names(name, table)
        used.update(theirs)
        missing = [one for one in theirs if one not in tensors]
        if missing and name == "mask_embedding":
            state[name] = torch.rand(ours.shape)
        elif missing:
            problems += [f"{one}: missing" for one in missing]
        else:
            state[name] = _joined(name, [tensors[one].float() for one in theirs], taps_last)
            if state[name].shape != ours.shape:
                problems.append(
                    f"{', '.join(theirs)}: shape {tuple(state[name].shape)}, "
                    f"but the configuration says {tuple(ours.shape)}"
                )
    patterns = [re.compile(pattern) for pattern in ignore]
    for name in tensors:
        if name not in used and not any(pattern.match(name) for pattern in patterns):
            problems.append(f"{name}: unexpected, no part of the encoder uses it")
    if problems:
        raise ConfigError(
            f"{origin}: weights and configuration do not fit together.",
            problems,
            "check that file and configuration belong together (depth, width, kind of model)",
        )
    encoder.load_state_dict(state, assign=True)
    for parameter in encoder.parameters():
        parameter.requires_grad_(True)
    return encoder.eval()


def disassemble(encoder: SpeechEncoder, table: Table, taps_last: bool = True) -> dict[str, Tensor]:
    """Return float32 copies of an encoder's tensors by the names of another layout.

    The other way of `assemble`: the same `table`, and the same tensors come out bit for bit.
    """
    tensors = {}
    for name, tensor in encoder.state_dict().items():
        names = their_names(name, table)
        tensor = tensor.detach().to("cpu", torch.float32)
        for theirs, part in zip(names, tensor.chunk(len(names)), strict=True):
            tensors[theirs] = _joined(name, [part], taps_last)
    return tensors


def their_names(name: str, table: Table) -> tuple[str, ...]:
    """Return the names in `table`'s layout of the tensors that make up our tensor `name`."""
    numbered = _NUMBERED.match(name)
    generic = _NUMBERED.sub(r"\1.{i}.", name)
    number = numbered.group(2) if numbered else ""
    for ours in sorted(table, key=len, reverse=True):
        if generic.startswith(ours):
            theirs = table[ours]
            ends = generic[len(ours) :]
            joined = (theirs,) if isinstance(theirs, str) else theirs
            return tuple((one + ends).replace("{i}", number) for one in joined)
    return (f"(no counterpart of {name})",)


def _joined(name: str, parts: list[Tensor], taps_last: bool) -> Tensor:
    tensor = parts[0] if len(parts) == 1 else torch.cat(parts)
    if taps_last and name.startswith("frontend.layers.") and tensor.dim() == 3:
        tensor = tensor.transpose(1, 2)
    return tensor.clone(memory_format=torch.contiguous_format)
