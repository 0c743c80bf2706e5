"""Randomness: equal weights, unequal dropout, states that come back."""

import random

import numpy as np
import torch
from sertools.brains.randomness import (
    RandomState,
    derive,
    loader_generator,
    seed_training,
    seed_weights,
)


def draw():
    return torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random(), random.gauss(0, 1)


def test_seeds_do_what_they_say():
    draws = {}
    for name, seed in (("a", lambda: seed_weights(1)), ("b", lambda: seed_weights(1)),
                       ("c", lambda: seed_weights(2)), ("d", lambda: seed_training(1, 0)),
                       ("e", lambda: seed_training(1, 1)), ("f", lambda: seed_training(2, 0))):
        seed()
        draws[name] = draw()
    assert draws["a"] == draws["b"]
    assert len({str(value) for value in draws.values()}) == 5


def test_states_come_back(tmp_path):
    seed_training(1, 0)
    random.gauss(0, 1)  # leaves a second value behind, which must come back too
    np.random.randn()
    state = RandomState()
    state.save(tmp_path / "state")
    first = draw(), np.random.randn(3).tolist()
    draw()
    state.load(tmp_path / "state")
    assert (draw(), np.random.randn(3).tolist()) == first


def test_derived_numbers_and_generators():
    assert derive("a", 1) == derive("a", 1) != derive("a", 2)
    assert 0 <= derive("x") < 2**63
    one, two = loader_generator(1, 0, 1), loader_generator(1, 0, 2)
    assert one.initial_seed() != two.initial_seed()
