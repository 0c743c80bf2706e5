"""emotion2vec: an encoder that learns from its own moving average (arXiv 2312.15185).

`Emotion2vec` is what is published: a `SpeechEncoder` whose first blocks are called context encoder
and the others main blocks, and a convolutional decoder. `Distillation` adds the teacher.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sertools.errors import ConfigError
from sertools.models.config import EncoderConfig
from sertools.models.encoder import SpeechEncoder
from sertools.models.position import convolve
from sertools.objectives.distillation import summarise, teacher_targets
from sertools.objectives.masking import visible_first
from torch import Tensor, nn


@dataclass(frozen=True)
class DecoderConfig:
    """The decoder of masked frames; the defaults are those of the published base model."""

    dim: int = 384
    """Channels."""
    kernel: int = 7
    """Frames that a convolution sees."""
    groups: int = 16
    """Groups of the convolutions."""
    layers: int = 4
    """Convolutions."""
    dropout: float = 0.1
    """Share dropped of what the encoder hands over."""
    noise: float = 0.01
    """Standard deviation of what fills the masked frames."""

    def __post_init__(self):
        problems = [f"{name}: {getattr(self, name)}; must be positive"
                    for name in ("dim", "kernel", "groups", "layers") if getattr(self, name) < 1]
        if not 0 <= self.dropout < 1:
            problems.append(f"dropout: {self.dropout}; must be in [0, 1)")
        if self.noise < 0:
            problems.append(f"noise: {self.noise}; must be 0 or more")
        if problems:
            raise ConfigError("The decoder cannot be built as configured.", problems)


class Decoder(nn.Module):
    """Convolutions with LayerNorm without affine and GELU, then a linear map back to the encoder.

    Layers that keep the width are residual.
    """

    def __init__(self, encoder_dim: int, config: DecoderConfig):
        super().__init__()
        if config.dim % config.groups or encoder_dim % config.groups:
            raise ConfigError(
                f"decoder groups: {config.groups} does not divide both {encoder_dim}, the "
                f"encoder's width, and {config.dim}, the decoder's"
            )
        self.config = config
        widths = [encoder_dim, *[config.dim] * (config.layers - 1)]
        self.convs = nn.ModuleList(
            nn.Conv1d(width, config.dim, config.kernel, groups=config.groups) for width in widths
        )
        self.linear = nn.Linear(config.dim, encoder_dim)

    def forward(self, x: Tensor, places: Tensor | None = None) -> Tensor:
        """Map (R, T, D) to (R, T, D), or to (R, n, D) at the frame indices `places` (R, n)."""
        for conv in self.convs:
            y = convolve(x, None, conv.weight, conv.bias, conv.groups)
            y = F.gelu(F.layer_norm(y, y.shape[-1:]))
            x = x + y if x.shape == y.shape else y
        return self.linear(x if places is None else take(x, places))


class Emotion2vec(nn.Module):
    """The encoder and its decoder.

    Args:
        encoder: with extra tokens; of its blocks the first `context_layers` only prepare.
        decoder: sizes of the decoder.
        context_layers: blocks of the context encoder; the others are the main blocks, whose
            signals are the teacher's targets.

    Raises:
        ConfigError: no main block is left, or widths and groups do not fit.
    """

    def __init__(
        self, encoder: SpeechEncoder, decoder: DecoderConfig | None = None, context_layers: int = 4
    ):
        super().__init__()
        if not 0 <= context_layers < encoder.num_layers:
            raise ConfigError(
                f"context_layers: {context_layers} leaves no main block of {encoder.num_layers}"
            )
        self.encoder, self.context_layers = encoder, context_layers
        self.decoder = Decoder(encoder.dim, decoder or DecoderConfig())

    @property
    def config(self) -> EncoderConfig:
        """Return the encoder's configuration."""
        return self.encoder.config

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode and decode (B, L) waveforms without masks: what counting parts runs."""
        return self.decoder(self.encoder(waveforms, lengths).last)


class Teacher(nn.Module):
    """The moving average of an encoder without its front end; never trained, never in training.

    It reads the student's local features (section 3.2 of data2vec 2.0's speech recipe).
    """

    moving = True  # changes without gradients: part of every checkpoint

    def __init__(self, encoder: SpeechEncoder):
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        self.encoder.frontend = nn.Identity()
        self.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Teacher:
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, features: Tensor, context_layers: int) -> list[Tensor]:
        """Return the main blocks' signals (B, T, D) of local features (B, T, D)."""
        encoded = self.encoder.contextualise(features, signals=True)
        return encoded.signals[context_layers:]


@dataclass
class Distilled:
    """One step of distillation: R = clones x B masked rows of B utterances."""

    prediction: Tensor
    """(R, n, D) of the decoder at `places`."""
    target: Tensor
    """(R, n, D) of the teacher at the same places."""
    summary: Tensor
    """(R, D) utterance representation of each row."""
    utterance: Tensor
    """(R, D) of the teacher."""
    weight: Tensor | None
    """(R, n), 1 where a place is masked; None: all are."""


class Distillation(nn.Module):
    """Student and teacher, and one pass of both.

    Args:
        student: what is learned.
        utterance_loss: chunk, token, global or none (see `objectives.distillation`).
        utterance_target: released or before_norm.
        token_dropout: `released` drops out the summary as well, since the released decoder's input
            dropout works in place; `none` does not.
    """

    def __init__(
        self,
        student: Emotion2vec,
        utterance_loss: str = "chunk",
        utterance_target: str = "released",
        token_dropout: str = "released",
    ):
        super().__init__()
        self.student, self.teacher = student, Teacher(student.encoder)
        self.utterance_loss, self.utterance_target = utterance_loss, utterance_target
        self.token_dropout = token_dropout

    def forward(self, waveforms: Tensor, mask: Tensor, masked: int | None = None) -> Distilled:
        """Let the student infer masked frames and utterance from what it sees.

        Args:
            waveforms: (B, L), normalised before they were cropped; nothing is padded.
            mask: bool (R, T); R / B rows in a row belong to each utterance.
            masked: how many frames every row masks. None: rows differ, and every row shows as many
                frames as the first one, as in the released code (waits for the device).
        """
        encoder = self.student.encoder
        features, _ = encoder.local(waveforms, normalised=True)
        with torch.no_grad():
            signals = self.teacher(features.detach(), self.student.context_layers)
            targets = teacher_targets(signals, self.utterance_target)
        clones, frames = len(mask) // len(features), features.shape[1]
        rows = features.repeat_interleave(clones, 0).masked_fill(mask[..., None], 0.0)
        order, equal = visible_first(mask), masked is not None
        shown = frames - (masked if equal else int(mask[0].sum()))
        seen = order[:, :shown]
        encoded = encoder.transform(take(encoder.place(rows), seen), positions=seen, frames=frames)
        tokens, visible = self._handed_over(encoded.tokens, encoded.last)
        places = order[:, shown:] if equal else order
        target, utterance = (values.repeat_interleave(clones, 0) for values in targets)
        return Distilled(
            prediction=self.student.decoder(self._filled(visible, seen, frames), places),
            target=take(target, places),
            summary=summarise(tokens, visible, self.utterance_loss),
            utterance=utterance,
            weight=None if equal else mask.gather(1, order).float(),
        )

    def _handed_over(self, tokens: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the decoder's input dropout, to the tokens as well if released."""
        rate = self.student.decoder.config.dropout
        if self.token_dropout == "released" and tokens is not None:
            both = F.dropout(torch.cat([tokens, frames], 1), rate, self.training)
            return both[:, : tokens.shape[1]], both[:, tokens.shape[1] :]
        return tokens, F.dropout(frames, rate, self.training)

    def _filled(self, visible: Tensor, seen: Tensor, frames: int) -> Tensor:
        """Put (R, T', D) visible frames back among noise, (R, T, D)."""
        noise = self.student.decoder.config.noise
        full = visible.new_empty(len(visible), frames, visible.shape[-1]).normal_(0, noise)
        return full.scatter(1, seen[..., None].expand(-1, -1, visible.shape[-1]), visible)

    @torch.no_grad()
    def teacher_encoder(self) -> SpeechEncoder:
        """Return the teacher as a whole encoder: its parts with the student's front end."""
        whole = copy.deepcopy(self.student.encoder).eval()
        own = dict(self.teacher.encoder.named_parameters())
        for name, parameter in whole.named_parameters():
            if name in own:
                parameter.copy_(own[name])
        return whole


def take(x: Tensor, places: Tensor) -> Tensor:
    """Return the frames of (R, T, D) at the indices (R, n): (R, n, D)."""
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[-1]))
