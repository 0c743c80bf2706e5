"""Modules without storage have the same names, shapes and types as filled ones."""

import pytest
import torch
from sertools.models.bare import bare
from sertools.models.presets import build_encoder


def described(module):
    return {name: (value.shape, value.dtype) for name, value in module.state_dict().items()}


@pytest.mark.parametrize("preset", ["emotion2vec_small", "distilhubert"])
def test_structure_is_that_of_a_filled_one(preset):
    with bare():
        found = build_encoder(preset)
    assert all(value.is_meta for value in found.state_dict().values())
    assert described(found) == described(build_encoder(preset))


def test_no_random_numbers_are_drawn_and_outside_all_is_as_before():
    before = torch.get_rng_state()
    with bare():
        torch.nn.Linear(3, 4).weight.data.normal_()
    assert torch.equal(torch.get_rng_state(), before)
    linear = torch.nn.Linear(64, 64)
    assert linear.weight.device.type == "cpu" and linear.weight.std() > 0
    assert torch.nn.init.ones_(linear.bias).sum() == 64
