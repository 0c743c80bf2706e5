"""Encoders that are cut after some blocks: their output is the whole one's hidden state."""

import pytest
import torch
from sertools.errors import ConfigError
from sertools.models.presets import build_encoder
from sertools.models.upstream import load_upstream
from sertools.models.weights import save_encoder

SIZES = {"dim": 16, "num_layers": 3, "num_heads": 2, "ffn_dim": 32, "num_mels": 8,
         "position_kernel": 3}


@pytest.fixture(params=[False, True], ids=["post", "final_norm"])
def folder(request, tmp_path):
    torch.manual_seed(0)
    encoder = build_encoder(**SIZES, final_norm=request.param)
    save_encoder(encoder, tmp_path / "encoder")
    return tmp_path / "encoder"


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_shortened_upstream_says_what_the_whole_one_says_at_that_depth(folder, layers):
    whole, short = load_upstream(folder), load_upstream(folder, layers=layers)
    waves, lengths = torch.randn(2, 4000), torch.tensor([4000, 2500])
    wanted, found = whole(waves, lengths, hidden=True), short(waves, lengths, hidden=True)
    assert short.num_layers == layers and len(found.hidden) == layers + 1
    for one, other in zip(found.hidden, wanted.hidden, strict=False):
        assert torch.equal(one, other)
    assert torch.equal(found.last, wanted.last if layers == 3 else wanted.hidden[layers])
    assert (short.identity == whole.identity) == (layers == 3)
    assert load_upstream(folder, layers=layers).identity == short.identity
    tuned = load_upstream(folder, layers=layers, trainable=True)
    tuned(waves, lengths).last.sum().backward()
    assert all(p.grad is not None for p in tuned.model.blocks.parameters())


@pytest.mark.parametrize("layers", [0, 4, True, 1.5])
def test_depths_that_do_not_exist_are_refused(folder, layers):
    with pytest.raises(ConfigError, match="the encoder has 3 blocks"):
        load_upstream(folder, layers=layers)
