"""From waveform to frames for small models: log-mel bands, normalised, stacked, projected."""

from __future__ import annotations

import torch
import torchaudio.functional
from sertools.models.config import EncoderConfig
from sertools.models.precision import full_precision
from torch import Tensor, nn

LOG_FLOOR = 1e-6
"""Added to mel energies before the logarithm, so that digital silence stays finite."""


class MelFrontEnd(nn.Module):
    """Log-mel bands of 25 ms windows every 10 ms; neighbours stacked; Linear to the blocks' width.

    Bands are normalised per utterance over valid frames only, so padding changes nothing.
    """

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.window, self.hop = config.sample_rate // 40, config.sample_rate // 100
        self.stack, self.per_bin = config.mel_stack, config.mel_norm == "bin"
        self.fft = 2 ** (self.window - 1).bit_length()
        with torch.device("cpu"):  # constants are real even in an encoder without storage
            banks = torchaudio.functional.melscale_fbanks(
                self.fft // 2 + 1, 20.0, config.sample_rate / 2, config.num_mels, config.sample_rate
            )
            taper = torch.hann_window(self.window)
        self.register_buffer("banks", banks, persistent=False)
        self.register_buffer("taper", taper, persistent=False)
        self.linear = nn.Linear(config.num_mels * config.mel_stack, config.dim)

    def forward(self, waveforms: Tensor, samples: Tensor | None) -> Tensor:
        """Map (B, L) waveforms with (B,) valid samples (None: all) to (B, T, D) frames."""
        return self.project(self.convolve(waveforms, samples))

    def convolve(self, waveforms: Tensor, samples: Tensor | None) -> Tensor:
        """Map (B, L) waveforms to (B, T, bands * stack): all that has no weights."""
        with full_precision(waveforms.device):
            bands = self.normalise(self.log_mel(waveforms.float()), samples)
        frames = bands.shape[1] // self.stack
        return bands[:, : frames * self.stack].reshape(bands.shape[0], frames, -1)

    def project(self, frames: Tensor) -> Tensor:
        """Map (B, T, bands * stack) of `convolve` to (B, T, D)."""
        return self.linear(frames)

    def log_mel(self, waveforms: Tensor) -> Tensor:
        """Map (B, L) to (B, M, bands), M = 1 + (L - window) // hop."""
        windows = waveforms.unfold(1, self.window, self.hop) * self.taper
        spectrum = torch.view_as_real(torch.fft.rfft(windows, n=self.fft))
        power = spectrum.square().sum(-1)  # the root of abs() would be for nothing
        return (power @ self.banks + LOG_FLOOR).log()

    def normalise(self, bands: Tensor, samples: Tensor | None) -> Tensor:
        """Give zero mean and unit variance to the valid frames of each utterance."""
        over = 1 if self.per_bin else (1, 2)
        if samples is None:
            valid = bands.new_ones(1, bands.shape[1], 1)
        else:
            count = (samples - self.window) // self.hop + 1
            valid = torch.arange(bands.shape[1], device=bands.device)[None] < count[:, None]
            valid = valid[..., None].to(bands.dtype)
        total = valid.sum(1, keepdim=True) * (1 if self.per_bin else bands.shape[2])
        mean = (bands * valid).sum(over, keepdim=True) / total
        centred = bands - mean
        variance = (centred.square() * valid).sum(over, keepdim=True) / total
        return centred * (variance + 1e-5).rsqrt()
