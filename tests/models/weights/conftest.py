"""Published architectures in miniature, with random weights."""

import pytest
import torch

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
BASE = {
    "conv_dim": [24] * 7,
    "feat_extract_norm": "group",
    "do_stable_layer_norm": False,
    "layerdrop": 0.0,
}
LARGE = {**BASE, "feat_extract_norm": "layer", "do_stable_layer_norm": True}
RELATIVES = {
    "wavlm base": ("WavLM", BASE),
    "wavlm large": ("WavLM", LARGE),
    "hubert base": ("Hubert", BASE),
    "hubert large": ("Hubert", {**LARGE, "conv_bias": True}),
    "wav2vec2 base": ("Wav2Vec2", BASE),
    "wav2vec2 large": ("Wav2Vec2", {**LARGE, "conv_bias": True}),
    "wav2vec2 mixed": ("Wav2Vec2", {**BASE, "feat_extract_norm": "layer"}),
}


def shake(model, amount=0.1):
    """Move every parameter, so that no zero bias or unit gain hides a mistake."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(amount * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture
def shaken():
    """Return `shake`."""
    return shake


@pytest.fixture
def make_relative():
    """Return a function from a name in RELATIVES to a tiny model of the transformers library."""
    import transformers

    def make(name, shake_by=0.1, **settings):
        kind, fixed = RELATIVES[name]
        torch.manual_seed(0)
        config = getattr(transformers, f"{kind}Config")(**{**SIZES, **fixed, **settings})
        return shake(getattr(transformers, f"{kind}Model")(config), shake_by)

    return make


@pytest.fixture(params=RELATIVES)
def a_relative(request, make_relative):
    """Return each of the tiny models in turn."""
    return make_relative(request.param)


def theirs(model, waveforms, lengths=None):
    mask = None
    if lengths is not None:
        mask = (torch.arange(waveforms.shape[1])[None] < lengths[:, None]).long()
    with torch.no_grad():
        return model(waveforms, attention_mask=mask, output_hidden_states=True)


def _assert_same(encoder, model, waveforms, lengths=None, tolerance=1e-4):
    wanted = theirs(model, waveforms, lengths)
    with torch.no_grad():
        got = encoder(waveforms, lengths, hidden=True)
    assert len(got.hidden) == len(wanted.hidden_states) == encoder.num_layers + 1
    pairs = [*zip(got.hidden, wanted.hidden_states, strict=True)]
    for one, other in [*pairs, (got.last, wanted.last_hidden_state)]:
        for row, frames in enumerate(got.lengths.tolist()):
            torch.testing.assert_close(
                one[row, :frames], other[row, :frames], atol=tolerance, rtol=0
            )


@pytest.fixture
def assert_same():
    """Return a function that compares every layer of our encoder with a transformers model."""
    return _assert_same


@pytest.fixture
def waves():
    """Return waveforms with offset and level, and their valid samples."""
    torch.manual_seed(1)
    waveforms = 0.3 * torch.randn(2, 9000) + 0.1
    lengths = torch.tensor([9000, 6100])
    waveforms[1, 6100:] = 0
    return waveforms, lengths
