"""Vesper: a thinned encoder that regresses to its teacher's frames (arXiv 2307.10757).

The student is any `SpeechEncoder` with a mask embedding, such as `thinning.thin` makes; three
predictors map two of its depths to two of the teacher's. Where paper and released code leave
choices, "released" is what the code does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sertools.errors import ConfigError
from sertools.models.config import EncoderConfig
from sertools.models.encoder import SpeechEncoder
from torch import Tensor, nn

TERMS = ("acoustic", "semantic", "cross")
"""The losses, each with a predictor: middle to middle, last to last, last to middle."""
WEIGHTS = {"acoustic": 1.0, "semantic": 0.1, "cross": 1.0}
"""Published weights of the losses."""
PADDINGS = ("fixed", "released")


@dataclass
class Predictions:
    """What the student says of the teacher's frames; T frames of B utterances."""

    acoustic: Tensor | None
    """(B, T, D_t) of the teacher's middle depth, from the student's middle; None: no predictor."""
    semantic: Tensor | None
    """(B, T, D_t) of the teacher's last depth, from the student's last."""
    cross: Tensor | None
    """(B, T, D_t) of the teacher's middle depth, from the student's last."""
    frames: Tensor
    """(B,) valid frames."""
    counted: Tensor
    """(B, T) bool, frames of the cross loss: the valid ones; with `released` padding, all."""


class Predictor(nn.Sequential):
    """LayerNorm without affine, Linear to half the width, GELU, Linear to the teacher's width."""

    def __init__(self, dim: int, target_dim: int):
        super().__init__(nn.Linear(dim, dim // 2), nn.GELU(), nn.Linear(dim // 2, target_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D_t)."""
        return super().forward(F.layer_norm(x, x.shape[-1:]))


class Predictors(nn.ModuleDict):
    """The predictors of the losses that have a weight."""

    def forward(self, middle: Tensor, last: Tensor) -> dict[str, Tensor]:
        """Return the predictions (B, T, D_t) by loss, from the student's frames (B, T, D)."""
        return {name: one(middle if name == "acoustic" else last) for name, one in self.items()}


class Vesper(nn.Module):
    """Student and predictors. The student's convolutions are frozen, as published, and so is what
    no loss reaches: blocks behind the middle if only the acoustic loss has a weight.

    With one block there is no depth between the masks: both mask its input, so that what is
    regressed to stays hidden, and all losses read its output.

    Args:
        encoder: the student, with a mask embedding.
        target_dim: width of the teacher's frames.
        weights: of the losses acoustic, semantic and cross; what is left out or 0 gets no
            predictor. None: the published ones.

    Raises:
        ConfigError: a weight is negative or unknown, or the encoder cannot show masks.
    """

    def __init__(
        self,
        encoder: SpeechEncoder,
        target_dim: int,
        weights: Mapping[str, float] | None = None,
    ):
        super().__init__()
        weights = WEIGHTS if weights is None else weights
        _refuse(encoder.config, weights)
        self.encoder = encoder
        self.predictors = Predictors(
            {name: Predictor(encoder.dim, target_dim) for name in TERMS if weights.get(name)}
        )
        for part in self._never_learned():
            part.requires_grad_(False)

    @property
    def config(self) -> EncoderConfig:
        """Return the student's configuration."""
        return self.encoder.config

    @property
    def middle(self) -> int:
        """Depth that the acoustic loss reads, before the large mask: floor(N / 2), at least 1."""
        return max(1, self.encoder.num_layers // 2)

    def _never_learned(self) -> list[nn.Module]:
        encoder = self.encoder
        parts = [] if encoder.final_norm is None else [encoder.final_norm]
        if encoder.config.frontend == "conv":
            parts.append(encoder.frontend.layers)
        if list(self.predictors) == ["acoustic"]:
            parts += encoder.blocks[self.middle :]
        return parts

    def forward(
        self,
        waveforms: Tensor | None,
        lengths: Tensor | None = None,
        small: Tensor | None = None,
        large: Tensor | None = None,
        *,
        local: Tensor | None = None,
        padding: str = "fixed",
        normalised: bool = False,
    ) -> Predictions:
        """Predict the teacher's frames from masked ones.

        Args:
            waveforms: (B, L) samples, right-padded; may be None beside `local`.
            lengths: (B,) valid samples; None means that nothing is padded.
            small: (B, T) bool: frames that the mask embedding replaces before the first block.
            large: (B, T) bool: the same before block floor(N / 2) + 1.
            local: (B, T, C) of `convolve`, of any floating type, instead of the waveforms, whose
                values are not read then; `released` padding still reads their number.
            padding: `fixed` leaves padding out everywhere. `released`: see `convolve` and
                `released_frames`; L is then the same for every batch.
            normalised: the waveforms are (crops of) normalised ones already.
        """
        encoder, released = self.encoder, padding == "released"
        if local is None:
            heard = None if released else lengths
            features, frames = encoder.local(waveforms, heard, normalised=normalised)
        else:
            features = encoder.frontend.project(local.float())
            frames = None if lengths is None else encoder.config.frames(lengths)
        count, device = features.shape[1], features.device
        if released and lengths is not None:
            frames = released_frames(lengths, waveforms.shape[1], count)
        frames = frames if frames is None else frames.to(device)
        masks = self._masks(small, large)
        hidden = encoder.contextualise(features, frames, hidden=True, masks=masks).hidden
        said = self.predictors(hidden[self.middle], hidden[-1])
        if frames is None:
            frames = torch.full((len(features),), count, device=device)
        counted = (torch.arange(count, device=device)[None] < frames[:, None]) | released
        return Predictions(*map(said.get, TERMS), frames=frames, counted=counted)

    def convolve(
        self,
        waveforms: Tensor,
        lengths: Tensor | None = None,
        *,
        padding: str = "fixed",
        normalised: bool = False,
    ) -> Tensor:
        """Return the frozen part's frames (B, T, C), which `forward` takes as `local`.

        With `released` padding, zeros behind an utterance count as its samples when the waveform
        is normalised and are convolved like them.
        """
        samples = None if padding == "released" else lengths
        return self.encoder.convolve(waveforms, samples, normalised=normalised)

    def _masks(self, small: Tensor | None, large: Tensor | None) -> dict[int, Tensor]:
        depth = self.encoder.num_layers // 2
        if depth == 0 and small is not None and large is not None:
            return {0: small | large}
        return {at: mask for at, mask in ((0, small), (depth, large)) if mask is not None}


def released_frames(samples: Tensor, length: int, frames: int) -> Tensor:
    """Return the (B,) valid frames by the released code's rule.

    The last `length` mod `frames` samples are dropped, the others laid out as (frames, -1); a
    frame is padded if all samples of its row are.

    Args:
        samples: (B,) valid samples.
        length: samples L of the padded batch.
        frames: T of the padded batch.
    """
    row = length // frames
    return ((samples + row - 1) // row).clamp(max=frames)


def _refuse(config: EncoderConfig, weights: Mapping[str, float]) -> None:
    problems = []
    if not config.mask_embedding:
        problems.append("mask_embedding: the encoder has none, masked frames could not be shown")
    if config.num_layers < 1:
        problems.append(f"num_layers: {config.num_layers}; there must be a block")
    for name, weight in weights.items():
        if name not in TERMS:
            problems.append(f"{name}: no such loss; choose from {', '.join(TERMS)}")
        elif weight < 0:
            problems.append(f"{name}_weight: {weight}; must be 0 or more")
    if problems:
        raise ConfigError("Vesper cannot be built as configured.", problems)
