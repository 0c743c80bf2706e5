"""The speech encoder: waveforms in, frames out, of every block if wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sertools.models.attention import SelfAttention
from sertools.models.bias import AttentionBias
from sertools.models.config import EncoderConfig
from sertools.models.frontend import ConvFrontEnd
from sertools.models.mel import MelFrontEnd
from sertools.models.position import build_position, silence
from torch import Tensor, nn


@dataclass
class Encoded:
    """What an encoder returns for B utterances of at most T frames."""

    last: Tensor
    """(B, T, D) output of the last block, after the final LayerNorm where there is one."""
    hidden: list[Tensor] | None
    """N + 1 tensors (B, T, D): the input of block 1, then the raw output of every block."""
    lengths: Tensor
    """(B,) valid frames of each utterance."""
    tokens: Tensor | None = None
    """(B, K, D) outputs at the extra tokens, if the encoder has any."""
    signals: list[Tensor] | None = None
    """N tensors (B, T, D): each feed-forward network's output before it is added (data2vec 2.0)."""


class Block(nn.Module):
    """One Transformer block, with LayerNorm before or after its two parts."""

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.pre = config.block_norm == "pre"
        self.attention = SelfAttention(config)
        self.attention_norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.ffn = nn.Sequential(
            nn.Linear(config.dim, config.ffn_dim),
            nn.GELU(),
            nn.Dropout(config.activation_dropout),
            nn.Linear(config.ffn_dim, config.dim),
        )
        self.ffn_norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Tensor, bias: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Map (B, T, D) to (B, T, D), and to the output of the feed-forward network.

        `bias` and `mask` are as in `SelfAttention`.
        """
        if self.pre:
            x = x + self.dropout(self.attention(self.attention_norm(x), bias, mask))
            signal = self.ffn(self.ffn_norm(x))
            return x + self.dropout(signal), signal
        x = self.attention_norm(x + self.dropout(self.attention(x, bias, mask)))
        signal = self.ffn(x)
        return self.ffn_norm(x + self.dropout(signal)), signal


class SpeechEncoder(nn.Module):
    """Front end, position and Transformer blocks as one `EncoderConfig` describes them.

    Features of an utterance do not depend on what it is padded with or batched with.
    """

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.config = config
        self.frontend = (ConvFrontEnd if config.frontend == "conv" else MelFrontEnd)(config)
        self.position = build_position(config)
        self.input_norm = _norm(config) if config.input_norm else None
        self.dropout = nn.Dropout(config.dropout)
        self.bias = AttentionBias(config) if config.bias != "none" else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.final_norm = _norm(config) if config.final_norm else None
        self._add_vectors()
        for linear in self.blocks.modules():
            if isinstance(linear, nn.Linear):
                nn.init.normal_(linear.weight, std=0.02)
                nn.init.zeros_(linear.bias)

    def _add_vectors(self) -> None:
        config = self.config
        self.tokens = self.mask_embedding = None
        if config.extra_tokens:
            self.tokens = nn.Parameter(torch.randn(1, config.extra_tokens, config.dim))
            with torch.no_grad():
                self.tokens[:, 0] = 0
        if config.mask_embedding:
            self.mask_embedding = nn.Parameter(torch.rand(config.dim))

    @property
    def dim(self) -> int:
        """Width of the frames."""
        return self.config.dim

    @property
    def num_layers(self) -> int:
        """Number of blocks; there is one hidden tensor more."""
        return self.config.num_layers

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.config.frame_rate

    def forward(
        self,
        waveforms: Tensor,
        lengths: Tensor | None = None,
        *,
        hidden: bool = False,
        masks: Mapping[int, Tensor] | None = None,
    ) -> Encoded:
        """Encode a batch of utterances.

        Args:
            waveforms: (B, L) samples, right-padded.
            lengths: (B,) valid samples; None means all L.
            hidden: return the frames of all depths, not only the last.
            masks: {depth: (B, T) bool}: frames that the mask embedding replaces after `depth`
                blocks. `Encoded.hidden[depth]` is from before the replacement.
        """
        features, frames = self.local(waveforms, lengths)
        return self.contextualise(features, frames, hidden=hidden, masks=masks)

    def local(
        self, waveforms: Tensor, lengths: Tensor | None = None, *, normalised: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return frames (B, T, D) before position and their (B,) numbers (None: all T valid).

        `normalised` says that the waveforms are (crops of) normalised ones already.
        """
        waveforms, samples, frames = self._heard(waveforms, lengths, normalised)
        return self.frontend(waveforms, samples), frames

    def convolve(
        self, waveforms: Tensor, lengths: Tensor | None = None, *, normalised: bool = False
    ) -> Tensor:
        """Return (B, T, C): `local` before the front end's projection, padded frames undefined."""
        waveforms, samples, _ = self._heard(waveforms, lengths, normalised)
        return self.frontend.convolve(waveforms, samples)

    def _heard(self, waveforms: Tensor, lengths: Tensor | None, normalised: bool):
        """Return what the front end hears, its valid samples, and the frames they give."""
        if lengths is not None:
            lengths = lengths.to(waveforms.device)
            if lengths.device.type == "cpu" and bool((lengths >= waveforms.shape[1]).all()):
                lengths = None
        waveforms = prepare(waveforms, lengths, self.config, normalised)
        samples = None if lengths is None else lengths.clamp(min=self.config.receptive_field)
        return waveforms, samples, None if lengths is None else self.config.frames(lengths)

    def contextualise(
        self,
        features: Tensor,
        lengths: Tensor | None = None,
        *,
        hidden: bool = False,
        signals: bool = False,
        masks: Mapping[int, Tensor] | None = None,
    ) -> Encoded:
        """Add position to (B, T, D) local features and run the blocks; see `forward`."""
        valid = None
        if lengths is not None:
            steps = torch.arange(features.shape[1], device=features.device)
            valid = (steps[None] < lengths[:, None])[..., None]
        x = self.place(silence(features, valid), valid)
        return self.transform(x, valid, hidden=hidden, signals=signals, masks=masks)

    def place(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Add their position to (B, T, D) frames whose padding is zero."""
        return x if self.position is None else x + self.position(x, valid)

    def transform(
        self,
        x: Tensor,
        valid: Tensor | None = None,
        *,
        positions: Tensor | None = None,
        frames: int | None = None,
        hidden: bool = False,
        signals: bool = False,
        masks: Mapping[int, Tensor] | None = None,
    ) -> Encoded:
        """Run the blocks on (B, T, D) frames that know their position.

        Args:
            x: (B, T, D); `valid` is (B, T, 1) bool, or None where all frames are.
            positions: (B, T) original indices, where frames were left out.
            frames: number of frames before some were left out; goes with `positions`.
            hidden: as in `forward`, like `masks`.
            signals: return the feed-forward networks' outputs of all blocks.
        """
        extra, masks = self.config.extra_tokens, masks or {}
        bias = None if self.bias is None else _cast_once(self.bias(frames or x.shape[1], positions))
        mask = key_mask(valid, extra)
        if self.tokens is not None:
            x = torch.cat([self.tokens.expand(len(x), -1, -1).to(x.dtype), x], dim=1)
        x = x if self.input_norm is None else self.input_norm(x)
        x = self.dropout(x)
        seen, said = [x], []
        x = self._mask(x, masks.get(0))
        for depth, block in enumerate(self.blocks, start=1):
            if not self._dropped():
                x, signal = block(x, bias, mask)
                if signals:
                    said.append(signal[:, extra:])
            seen.append(x)
            x = self._mask(x, masks.get(depth))
        last = x if self.final_norm is None else self.final_norm(x)
        return Encoded(
            last=last[:, extra:],
            hidden=[h[:, extra:] for h in seen] if hidden else None,
            lengths=_counts(x, valid, extra),
            tokens=last[:, :extra] if extra else None,
            signals=said if signals else None,
        )

    def _dropped(self) -> bool:
        chance = self.config.layerdrop
        return self.training and chance > 0 and float(torch.rand(())) < chance

    def _mask(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return x
        assert self.mask_embedding is not None, "masks need EncoderConfig.mask_embedding"
        mask = F.pad(mask, (self.config.extra_tokens, 0)) if self.config.extra_tokens else mask
        return torch.where(mask[..., None], self.mask_embedding.to(x.dtype), x)


def prepare(
    waveforms: Tensor, lengths: Tensor | None, config: EncoderConfig, normalised: bool = False
) -> Tensor:
    """Zero what is padding, normalise over valid samples, pad to at least one frame: (B, L)."""
    valid = None
    if lengths is not None:
        steps = torch.arange(waveforms.shape[1], device=waveforms.device)
        valid = steps[None] < lengths[:, None]
        waveforms = waveforms.masked_fill(~valid, 0.0)
    if config.normalise_waveform and not normalised:
        count = waveforms.shape[1] if lengths is None else lengths[:, None]
        centred = waveforms - waveforms.sum(1, keepdim=True) / count
        centred = centred if valid is None else centred.masked_fill(~valid, 0.0)
        variance = centred.square().sum(1, keepdim=True) / count
        waveforms = centred * (variance + 1e-5).rsqrt()
    missing = config.receptive_field - waveforms.shape[1]
    return F.pad(waveforms, (0, missing)) if missing > 0 else waveforms


def _cast_once(bias: Tensor) -> Tensor:
    """Return the bias in the type that all blocks compute in, where that is autocast's.

    Fused CPU kernels, used without gradients, want it in single precision.
    """
    kind = bias.device.type
    if not torch.amp.is_autocast_available(kind):  # tensors without storage know no autocast
        return bias
    if not torch.is_autocast_enabled(kind) or (kind == "cpu" and not torch.is_grad_enabled()):
        return bias
    return bias.to(torch.get_autocast_dtype(kind))


def _norm(config: EncoderConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.dim, eps=config.norm_eps)


def key_mask(valid: Tensor | None, extra: int) -> Tensor | None:
    """Return (B, 1, 1, K + T): 0 for valid keys and tokens, -inf for padded frames."""
    if valid is None:
        return None
    mask = torch.zeros(valid.shape[:2], device=valid.device)
    mask = mask.masked_fill(~valid[..., 0], float("-inf"))
    return F.pad(mask, (extra, 0))[:, None, None]


def _counts(x: Tensor, valid: Tensor | None, extra: int) -> Tensor:
    if valid is not None:
        return valid.sum((1, 2))
    return torch.full((len(x),), x.shape[1] - extra, dtype=torch.long, device=x.device)
