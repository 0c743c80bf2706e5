"""Every kind of encoder in miniature."""

import pytest
import torch
from sertools.models.presets import build_encoder

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


def _tiny(name, **overrides):
    preset, settings = ENCODERS[name]
    torch.manual_seed(0)
    encoder = build_encoder(preset, **{**TINY, **TINY_POSITION, **settings, **overrides})
    with torch.no_grad():
        for parameter in encoder.parameters():  # no zero biases, no ones: everything must matter
            parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder.eval()


@pytest.fixture
def tiny_encoder():
    """Return a function from a name in ENCODERS (and overrides) to an encoder in eval mode."""
    return _tiny


@pytest.fixture(params=ENCODERS)
def a_tiny_encoder(request):
    """Return each of the tiny encoders in turn."""
    return _tiny(request.param)
