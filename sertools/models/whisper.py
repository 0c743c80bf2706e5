"""The encoder of Whisper (Radford et al. 2022, arXiv 2212.04356) on waveforms of any length."""

from __future__ import annotations

from typing import Any

import torch
from sertools.models.encoder import Encoded
from sertools.models.precision import full_precision
from torch import Tensor, nn

SIZES: dict[str, tuple[int, int, int]] = {
    "tiny": (384, 4, 80),
    "base": (512, 6, 80),
    "small": (768, 12, 80),
    "medium": (1024, 24, 80),
    "large_v2": (1280, 32, 80),
    "large_v3": (1280, 32, 128),
}
"""Published encoders: width, blocks, mel bands. Heads are 64 wide, the inner width is 4 times D."""
_AT_ONCE = 8
"""Windows in one pass: 240 s of audio, however short the utterances are."""


class LogMel(nn.Module):
    """Log-mel bands as `transformers.WhisperFeatureExtractor` computes them, wherever the audio is.

    Args:
        extractor: a `WhisperFeatureExtractor`, for its filters, window and hop.
    """

    def __init__(self, extractor: Any):
        super().__init__()
        self.fft, self.hop = extractor.n_fft, extractor.hop_length
        with torch.device("cpu"):  # constants are real even in an encoder without storage
            banks = torch.from_numpy(extractor.mel_filters.T.copy()).float()
            taper = torch.hann_window(self.fft)
        self.register_buffer("banks", banks, persistent=False)
        self.register_buffer("taper", taper, persistent=False)

    def forward(self, windows: Tensor) -> Tensor:
        """Map (B, L) waveforms to (B, bands, L // hop); each row by itself."""
        with full_precision(windows.device):
            spectrum = torch.stft(windows.float(), self.fft, self.hop, window=self.taper,
                                  return_complex=True)
            power = torch.view_as_real(spectrum[..., :-1]).square().sum(-1)
            bands = (self.banks @ power).clamp(min=1e-10).log10()
            floor = bands.amax((1, 2), keepdim=True) - 8.0
            return (torch.maximum(bands, floor) + 4.0) / 4.0


class WindowedWhisper(nn.Module):
    """Whisper's encoder, which hears 30 s at a time: an utterance, and the silence behind it.

    There is no padding mask; every window is filled up with zeros to 30 s, as in training, and the
    frames behind the audio are left out. Longer utterances are cut into consecutive windows of
    30 s, each heard by itself, and their frames are joined. A pass costs as much for 1 s as for
    30 s.

    Args:
        encoder: the `WhisperEncoder` of transformers.
        extractor: the `WhisperFeatureExtractor` of its checkpoint.
    """

    def __init__(self, encoder: nn.Module, extractor: Any):
        super().__init__()
        self.mel, self.whisper = LogMel(extractor), encoder
        self.window = extractor.n_samples
        self.hop = self.window // encoder.config.max_source_positions

    def forward(
        self, waveforms: Tensor, lengths: Tensor | None = None, *, hidden: bool = False
    ) -> Encoded:
        """Encode (B, L) right-padded waveforms with (B,) valid samples (None: all L).

        An utterance of n samples has ceil(n / 320) frames: all that hear some of it.
        """
        count, longest = waveforms.shape
        samples = [longest] * count if lengths is None else lengths.tolist()
        pieces = [(row, start, max(0, min(length - start, self.window)))
                  for row, length in enumerate(samples)
                  for start in range(0, max(1, length), self.window)]
        rows: list[list[Tensor]] = [[] for _ in samples]
        for first in range(0, len(pieces), _AT_ONCE):
            group = pieces[first : first + _AT_ONCE]
            windows = waveforms.new_zeros(len(group), self.window)
            for window, (row, start, length) in zip(windows, group, strict=True):
                window[:length] = waveforms[row, start : start + length]
            frames = [self._frames(length) for _, _, length in group]
            depths = self._encode(windows, hidden, max(frames))
            for number, ((row, *_), kept) in enumerate(zip(group, frames, strict=True)):
                rows[row].append(depths[number, :kept])
        joined = [torch.cat(parts) for parts in rows]
        *below, last = nn.utils.rnn.pad_sequence(joined, batch_first=True).unbind(2)
        return Encoded(
            last=last,
            hidden=below if hidden else None,
            lengths=torch.tensor([len(row) for row in joined], device=waveforms.device),
        )

    def _frames(self, samples: int) -> int:
        return max(1, -(-samples // self.hop))

    def _encode(self, windows: Tensor, hidden: bool, frames: int) -> Tensor:
        """Map (B, 30 s) to the first frames (B, T, depths, D); the final output comes last."""
        raw: list[Tensor] = []
        hook = self.whisper.layers[-1].register_forward_hook(lambda *seen: raw.append(seen[2]))
        try:
            output = self.whisper(self.mel(windows), output_hidden_states=hidden)
        finally:
            hook.remove()
        depths = [output.last_hidden_state]
        if hidden:  # transformers gives the last block's output after the LayerNorm
            depths = [*output.hidden_states[:-1], raw[0], output.last_hidden_state]
        return torch.stack([depth[:, :frames] for depth in depths], 2)


def build_whisper(size: str) -> WindowedWhisper:
    """Build an encoder of a published size (a key of `SIZES`) with fresh weights."""
    from transformers import WhisperConfig, WhisperFeatureExtractor
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    dim, layers, bands = SIZES[size]
    config = WhisperConfig(d_model=dim, encoder_layers=layers, encoder_attention_heads=dim // 64,
                           encoder_ffn_dim=4 * dim, num_mel_bins=bands)
    return WindowedWhisper(WhisperEncoder(config), WhisperFeatureExtractor(feature_size=bands))
