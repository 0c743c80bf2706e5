"""Parameter groups: rates fall with depth, vectors do not decay, nothing is left out."""

import pytest
import torch
from sertools.brains.groups import adamw, parameter_groups, sgd
from sertools.models.heads import EncoderWithHead, UtteranceHead
from sertools.models.presets import build_encoder
from sertools.models.whisper import build_whisper


@pytest.fixture
def model():
    encoder = build_encoder(frontend="conv", conv_dim=8, dim=16, num_layers=3, num_heads=2,
                            ffn_dim=32, position_kernel=3)
    return EncoderWithHead(encoder, UtteranceHead(4, 16, 2, projection=8))


def rates_of(model, groups):
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)]: (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}


def test_rates_by_depth(model):
    groups = parameter_groups(model, 1.0, 0.01, encoder_lr=0.1, layer_decay=0.5)
    rates = rates_of(model, groups)
    assert rates.keys() == {name for name, _ in model.named_parameters()}
    assert rates["head.output.weight"] == (1.0, 0.01)
    assert rates["encoder.blocks.2.ffn.0.weight"] == (0.1, 0.01)
    assert rates["encoder.blocks.0.ffn.0.weight"] == (0.025, 0.01)
    assert rates["encoder.frontend.linear.weight"][0] == 0.0125
    assert rates["encoder.frontend.layers.6.weight"][0] == 0.0125
    assert rates["encoder.final_norm.weight"] == (0.1, 0.0)
    assert rates["encoder.blocks.1.ffn.0.bias"] == (0.05, 0.0)
    assert rates["head.layer_weights"] == (1.0, 0.0)
    assert all(group["initial_lr"] == group["lr"] for group in groups)


def test_rates_in_whisper():
    whisper = build_whisper("tiny")
    model = EncoderWithHead(whisper, UtteranceHead(5, 384, 2))
    rates = rates_of(model, parameter_groups(model, 1.0, 0.0, encoder_lr=0.1, layer_decay=0.5))
    expected = {"conv1.weight": 0.1 / 16, "layers.0.fc1.weight": 0.1 / 8,
                "layers.3.fc1.weight": 0.1, "layer_norm.weight": 0.1}
    for name, rate in expected.items():
        assert rates[f"encoder.whisper.{name}"] == (pytest.approx(rate), 0.0)


def test_without_options_there_are_two_groups(model):
    groups = parameter_groups(model, 0.3, 0.01)
    assert [(g["lr"], g["weight_decay"]) for g in groups] in (
        [(0.3, 0.01), (0.3, 0.0)], [(0.3, 0.0), (0.3, 0.01)]
    )


def test_frozen_parameters_are_left_out(model):
    model.encoder.requires_grad_(False)
    names = rates_of(model, parameter_groups(model, 1.0, 0.0))
    assert all(name.startswith("head.") for name in names)


def test_optimizers_take_the_groups(model):
    groups = parameter_groups(model, 1.0, 0.01, encoder_lr=0.1)
    for make in (adamw((0.8, 0.9)), sgd(0.5)):
        optimizer = make(groups)
        assert {group["lr"] for group in optimizer.param_groups} == {0.1, 1.0}
    assert torch.optim.SGD is type(sgd()(groups))
