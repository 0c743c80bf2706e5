"""Light augmentation of waveforms in training, with SpeechBrain's transforms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from sertools.errors import ConfigError
from sertools.models.heads import valid_frames
from torch import Tensor


class Augmentation:
    """Change speed, add white noise and silence short stretches, each if asked for.

    All randomness is torch's, so a resumed training draws the same. Padding stays zero.

    Args:
        sample_rate: in Hz.
        speeds: percent of the original speed, one drawn per batch, such as [95, 100, 105].
        noise: lowest and highest signal-to-noise ratio in dB, drawn per utterance.
        silences: most stretches silenced per utterance (0 to this many).
        silence_seconds: longest stretch.

    Raises:
        ConfigError: an option that cannot be meant; all are listed.
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        speeds: Sequence[int] | None = None,
        noise: Sequence[float] | None = None,
        silences: int = 0,
        silence_seconds: float = 0.1,
    ):
        problems = []
        if speeds is not None and (not speeds or not all(20 <= s <= 500 for s in speeds)):
            problems.append(f"speeds is {speeds}: give percents such as [95, 100, 105]")
        if noise is not None and (len(noise) != 2 or noise[0] > noise[1]):
            problems.append(f"noise is {noise}: give the lowest and the highest dB, as [10, 30]")
        if silences < 0 or silence_seconds <= 0:
            problems.append("silences must be 0 or more, and silence_seconds more than 0")
        if problems:
            raise ConfigError("the augmentation's options are not sound", problems)
        from speechbrain.augment.time_domain import AddNoise, DropChunk, SpeedPerturb

        self._speed = SpeedPerturb(sample_rate, list(speeds)) if speeds else None
        self._noise = AddNoise(snr_low=noise[0], snr_high=noise[1]) if noise else None
        longest = max(1, round(silence_seconds * sample_rate))
        self._drop = DropChunk(1, longest, 0, silences) if silences else None

    def __call__(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return changed waveforms (B, L') and valid samples (B,) from (B, L) and (B,)."""
        if self._speed is not None:
            before = waveforms.shape[1]
            self._speed.device = waveforms.device
            waveforms = self._speed(waveforms)
            lengths = (lengths * waveforms.shape[1]).div(before, rounding_mode="floor")
            lengths = lengths.clamp(min=1)
        share = lengths / waveforms.shape[1]
        if self._noise is not None:
            waveforms = self._noise(waveforms, share)
        if self._drop is not None:
            waveforms = self._drop(waveforms, share)
        mask = valid_frames(lengths, waveforms.shape[1])
        return torch.where(mask, waveforms, 0.0), lengths
