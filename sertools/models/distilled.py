"""A shallow student that predicts several layers of a teacher (DistilHuBERT, arXiv 2110.01900)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from sertools.errors import ConfigError
from sertools.models.config import EncoderConfig
from sertools.models.encoder import SpeechEncoder, prepare
from sertools.models.thinning import thinned_config
from torch import Tensor, nn

FRESH = ("input_norm.", "final_norm.")
"""LayerNorms around the blocks, which a student does not take from its teacher."""


class Heads(nn.Module):
    """Linear to K times the student's width, GELU, and a Linear of its own for each of K targets.

    Args:
        dim: width of the student's frames.
        target_dim: width of the teacher's.
        targets: K, layers that are predicted.
    """

    def __init__(self, dim: int, target_dim: int, targets: int):
        super().__init__()
        self.inner = nn.Linear(dim, dim * targets)
        self.outer = nn.ModuleList(nn.Linear(dim, target_dim) for _ in range(targets))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, D) to (B, K, T, D_t)."""
        parts = nn.functional.gelu(self.inner(x)).chunk(len(self.outer), dim=-1)
        return torch.stack([one(part) for one, part in zip(self.outer, parts, strict=True)], 1)


class Distiller(nn.Module):
    """Student and prediction heads; the heads are left behind after the distillation.

    Args:
        encoder: the student, of any kind.
        target_dim: width of the teacher's frames.
        targets: K, layers of the teacher that are predicted from the student's last.
        frontend_gradient: what the gradient of the convolutions is multiplied with; 0 freezes
            them. The released code has 0.1.
        frontend_norm: statistics of a group norm over an utterance's own samples ("masked"), or
            over the padding behind them too ("plain", as the released code).

    Raises:
        ConfigError: options that cannot be.
    """

    def __init__(
        self, encoder: SpeechEncoder, target_dim: int, targets: int,
        frontend_gradient: float = 0.1, frontend_norm: str = "masked",
    ):
        super().__init__()
        problems = []
        if targets < 1:
            problems.append(f"targets: {targets}; there must be one or more")
        if frontend_gradient < 0:
            problems.append(f"frontend_gradient: {frontend_gradient}; give 0 or more")
        if frontend_norm not in ("masked", "plain"):
            problems.append(f"frontend_norm: {frontend_norm!r}; choose from masked, plain")
        if problems:
            raise ConfigError("The student cannot be distilled as configured.", problems)
        self.encoder = encoder
        self.frontend_gradient, self.frontend_norm = float(frontend_gradient), frontend_norm
        self.heads = Heads(encoder.dim, target_dim, targets)
        if not frontend_gradient and encoder.config.frontend == "conv":
            encoder.frontend.layers.requires_grad_(False)

    @property
    def config(self) -> EncoderConfig:
        """Return the student's configuration."""
        return self.encoder.config

    def forward(
        self,
        waveforms: Tensor | None,
        lengths: Tensor | None = None,
        *,
        local: Tensor | None = None,
        normalised: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Predict the teacher's layers.

        Args:
            waveforms: (B, L) samples, right-padded; may be None beside `local`.
            lengths: (B,) valid samples; None means that nothing is padded.
            local: (B, T, C) outputs of the convolutions, which the waveforms are not read for then.
            normalised: the waveforms are (crops of) normalised ones already.

        Returns:
            (B, K, T, D_t), and the (B,) valid frames.
        """
        encoder = self.encoder
        if local is None:
            heard = prepare(waveforms, lengths, self.config, normalised)
            samples = lengths if self.frontend_norm == "masked" else None
            local = encoder.convolve(heard, samples, normalised=True)
        else:
            local = local.float()
        if local.requires_grad and self.frontend_gradient != 1.0:
            local.register_hook(lambda gradient: gradient * self.frontend_gradient)
        features = encoder.frontend.project(local)
        frames = None if lengths is None else self.config.frames(lengths).to(features.device)
        encoded = encoder.contextualise(features, frames)
        return self.heads(encoded.last), encoded.lengths


def student_of(
    teacher: SpeechEncoder,
    layers: int,
    initialisation: str = "teacher",
    blocks: Sequence[int] | None = None,
    **sizes: Any,
) -> SpeechEncoder:
    """Build a student of `layers` blocks.

    It has the structure of its teacher, but no LayerNorm between convolutions and projection. With
    `teacher` it begins with the teacher's convolutions, projection, position, bias, tokens and
    blocks; LayerNorms before and behind the blocks are fresh, as in the released code.

    Args:
        teacher: of any kind, with weights in single precision; it is not changed.
        layers: blocks of the student.
        initialisation: `teacher`, or `random`: fresh weights everywhere.
        blocks: the teacher's blocks, from 0, that the student begins with; None: the first ones.
        sizes: settings of `thinning.SIZES`, only with `random`, and of `thinning.BEHAVIOUR`.

    Returns:
        a trainable encoder in training mode, on the CPU.

    Raises:
        ConfigError: for wishes that cannot be had, all of them at once.
    """
    student = SpeechEncoder(student_config(teacher.config, layers, initialisation, blocks, **sizes))
    if initialisation == "random":
        return student.train()
    state, chosen = teacher.state_dict(), blocks or range(layers)
    taken = {}
    for name in student.state_dict():
        if name.startswith(FRESH):
            continue
        first, _, rest = name.partition(".")
        number, _, inside = rest.partition(".")
        theirs = f"blocks.{chosen[int(number)]}.{inside}" if first == "blocks" else name
        assert state[theirs].dtype == torch.float32, "build the student before casting"
        taken[name] = state[theirs].detach().cpu()
    student.load_state_dict(taken, strict=False)
    return student.requires_grad_(True).train()


def student_config(
    teacher: EncoderConfig,
    layers: int,
    initialisation: str = "teacher",
    blocks: Sequence[int] | None = None,
    **sizes: Any,
) -> EncoderConfig:
    """Return the structure of the student that `student_of` builds of such a teacher.

    Raises:
        ConfigError: as `student_of`.
    """
    if initialisation not in ("teacher", "random"):
        raise ConfigError("The student cannot be built as configured.",
                          [f"initialisation: {initialisation!r}; choose from teacher, random"])
    if initialisation == "teacher":
        whole = isinstance(layers, int) and layers > 0
        chosen = blocks if blocks is not None or not whole else list(range(layers))
        config = thinned_config(teacher, layers, "custom_extract", chosen, **sizes)
    else:
        config = thinned_config(teacher, layers, "random", blocks, **sizes)
    return dataclasses.replace(
        config, mask_embedding=False, final_norm=teacher.final_norm,
        projection_norm=config.frontend != "conv",
    )
