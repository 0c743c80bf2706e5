"""The Transformer head: PyTorch's own blocks give the same, padding never matters."""

import pytest
import torch
from sertools.errors import ConfigError
from sertools.models.heads import EncoderWithHead
from sertools.models.presets import build_encoder
from sertools.models.transformer_head import TransformerHead
from torch import nn
from torch.nn import functional as F

LENGTHS = torch.tensor([9, 4, 1])
SMALL = {"depth": 2, "num_heads": 2, "ffn_dim": 12, "position_kernel": 4, "position_groups": 2}


@pytest.fixture
def hidden():
    torch.manual_seed(0)
    return torch.randn(3, 4, 9, 8)


@pytest.fixture
def head():
    torch.manual_seed(1)
    made = TransformerHead(4, 8, 3, **SMALL).eval()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made


def in_pytorch(head, layers):
    """Return the outputs of one utterance (N, T, D) with PyTorch's blocks and convolution."""
    weights = torch.softmax(head.layer_weights, 0)
    x = sum(weight * layer for weight, layer in zip(weights, layers, strict=True))
    position = nn.Conv1d(8, 8, 4, padding=2, groups=2)
    position.bias = head.position.bias
    position.weight = nn.Parameter(head.position.direction * head.position.gain
                                   / head.position.direction.norm(dim=(0, 1), keepdim=True))
    x = x + F.gelu(position(x.T[None])[0, :, : len(x)]).T
    for block in head.blocks:
        other = nn.TransformerEncoderLayer(8, 2, 12, 0.0, "gelu", batch_first=True, norm_first=True)
        other.self_attn.in_proj_weight = block.attention.qkv.weight
        other.self_attn.in_proj_bias = block.attention.qkv.bias
        other.self_attn.out_proj.weight = block.attention.out.weight
        other.self_attn.out_proj.bias = block.attention.out.bias
        other.linear1, other.linear2 = block.ffn[0], block.ffn[3]
        other.norm1, other.norm2 = block.attention_norm, block.ffn_norm
        x = other.train()(x[None])[0]
    first, _, _, second, _, _, third = head.output
    pooled = head.norm(x).mean(0)
    return third(F.gelu(second(F.gelu(first(pooled)))))


def test_equals_pytorchs_blocks_one_utterance_at_a_time(head, hidden):
    expected = torch.stack([in_pytorch(head, layers[:, :length])
                            for layers, length in zip(hidden, LENGTHS.tolist(), strict=True)])
    assert torch.allclose(head(hidden, LENGTHS), expected, atol=1e-5)
    assert torch.allclose(head(list(hidden.unbind(1)), LENGTHS), expected, atol=1e-5)
    assert torch.allclose(head(hidden.half(), LENGTHS), expected, atol=1e-1)


def test_padding_changes_nothing_even_if_it_is_nan(head, hidden):
    alone = head(hidden[1:2, :, :4], LENGTHS[1:2])
    spoiled = hidden.clone()
    spoiled[1, :, 4:] = float("nan")
    assert torch.allclose(head(spoiled, LENGTHS)[1:2], alone, atol=1e-5)
    spoiled.requires_grad_()
    head.train()(spoiled, LENGTHS).square().sum().backward()
    assert spoiled.grad[1, :, 4:].abs().sum() == 0 and spoiled.grad[1, :, :4].abs().sum() > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


@pytest.mark.parametrize(("dim", "layers"), [(1024, 5), (768, 13)])
def test_number_of_parameters(dim, layers):
    def linear(wide, narrow):
        return wide * narrow + narrow

    norm = 2 * dim
    position = 128 + dim * (dim // 16) * 128 + dim
    block = 4 * linear(dim, dim) + linear(dim, 512) + linear(512, dim) + 2 * norm
    last = linear(dim, dim // 2) + linear(dim // 2, dim // 4) + linear(dim // 4, 4)
    with torch.device("meta"):
        head = TransformerHead(layers, dim, 4)
    count = sum(p.numel() for p in head.parameters())
    assert count == layers + position + 4 * block + norm + last
    assert dim != 1024 or count == 30_059_401


def test_the_last_layer_alone_is_read_from_an_encoder(hidden):
    encoder = build_encoder(dim=8, num_layers=1, num_heads=2, ffn_dim=8, num_mels=8,
                            position_kernel=3)
    model = EncoderWithHead(encoder, TransformerHead(1, 8, 3, layers="last", **SMALL)).eval()
    wave = torch.randn(2, 8000)
    whole = model(wave, torch.tensor([8000, 5000]))
    assert torch.allclose(whole[1:], model(wave[1:, :5000]), atol=1e-5)
    assert not hasattr(model.head, "layer_weights") and not model.head.linear_before_pooling


def test_impossible_sizes_are_refused():
    with pytest.raises(ConfigError, match="not divisible by num_heads 3"):
        TransformerHead(2, 8, 3, **{**SMALL, "num_heads": 3})
    with pytest.raises(ConfigError, match="weighted_sum, last or 0 to 1"):
        TransformerHead(2, 8, 3, layers=5, **SMALL)
