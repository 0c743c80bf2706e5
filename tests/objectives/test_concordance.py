"""The concordance loss against the definition in numpy."""

import numpy as np
import pytest
import torch
from sertools.objectives.concordance import concordance_loss


def ccc(x, y):
    covariance = np.mean((x - x.mean()) * (y - y.mean()))
    return 2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)


def test_equals_the_definition():
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(9, 3)), draw.normal(0.3, 2.0, size=(9, 3))
    expected = np.mean([1 - ccc(x[:, k], y[:, k]) for k in range(3)])
    loss = float(concordance_loss(torch.tensor(x), torch.tensor(y)))
    assert loss == pytest.approx(expected, abs=1e-5)


def test_agreement_opposition_and_constants():
    x = torch.linspace(0, 1, 5)[:, None]
    assert float(concordance_loss(x, x)) == pytest.approx(0, abs=1e-6)
    assert float(concordance_loss(1 - x, x)) == pytest.approx(2, abs=1e-6)
    constant = torch.ones(5, 1, requires_grad=True)
    loss = concordance_loss(constant, torch.ones(5, 1))
    loss.backward()
    assert float(loss.detach()) == 1 and torch.isfinite(constant.grad).all()
