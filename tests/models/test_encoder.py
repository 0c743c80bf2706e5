"""The encoder: shapes, lengths, padding, masks, tokens, training."""

import pytest
import torch

from sertools.errors import ConfigError
from sertools.models.presets import PRESETS, build_encoder

TINY = {"dim": 32, "num_layers": 2, "num_heads": 4, "ffn_dim": 64, "conv_dim": 16}
TINY_POSITION = {"position_kernel": 8, "position_groups": 4}

ENCODERS = {
    "mel": ("small", {}),
    "mel per bin, 50 Hz": ("small", {"mel_norm": "bin", "mel_stack": 2, "position": "none"}),
    "layer norm, gated": ("wavlm_large", {}),
    "group norm, gated": ("wavlm_base", {}),
    "group norm, normalised": ("hubert_base", {"normalise_waveform": True}),
    "layer norm, biased": ("wav2vec2_large", {}),
    "alibi, tokens": (
        "wav2vec2_large",
        {"bias": "alibi", "extra_tokens": 3, "position": "stack", "position_depth": 2},
    ),
    "gated, tokens": ("small", {"bias": "gated", "extra_tokens": 2, "position": "conv"}),
}


def tiny(name, **overrides):
    preset, settings = ENCODERS[name]
    torch.manual_seed(0)
    encoder = build_encoder(preset, **{**TINY, **TINY_POSITION, **settings, **overrides})
    with torch.no_grad():
        for parameter in encoder.parameters():  # no zero biases, no ones: everything must matter
            parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder.eval()


@pytest.fixture
def waves():
    torch.manual_seed(1)
    return 0.1 * torch.randn(4, 8000) + 0.02, torch.tensor([8000, 5123, 3000, 250])


@pytest.mark.parametrize("name", ENCODERS)
def test_alone_and_padded_agree(name, waves):
    encoder, (waveforms, lengths) = tiny(name), waves
    with torch.no_grad():
        together = encoder(waveforms, lengths, hidden=True)
        for row, length in enumerate(lengths.tolist()):
            alone = encoder(waveforms[row : row + 1, :length], hidden=True)
            frames = int(together.lengths[row])
            assert frames == alone.lengths.item() == alone.last.shape[1]
            for one, other in zip(together.hidden, alone.hidden, strict=True):
                torch.testing.assert_close(one[row, :frames], other[0], atol=1e-4, rtol=0)
            torch.testing.assert_close(together.last[row, :frames], alone.last[0], atol=1e-4, rtol=0)
