"""Layer weights of the heads: mean and spread over folds and seeds, in the file and as a figure."""

import re

import numpy as np
import pytest
from sertools.report.aggregate import aggregate
from sertools.report.html import page
from sertools.report.layer_weights import layer_weights_figure, summarise_layer_weights


@pytest.fixture
def weighed(make_units, make_meta, classes):
    """Return results of heads that weigh five layers, and those weights (units, layers)."""
    units = make_units(folds=3, seeds=(1, 2))
    weights = np.random.default_rng(1).dirichlet(np.ones(5), len(units))
    for unit, row in zip(units, weights, strict=True):
        unit.layer_weights = row.tolist()
    return aggregate(units, classes, make_meta(folds=3, seeds=(1, 2))), weights


def test_mean_and_spread_are_over_all_units(weighed):
    facts = weighed[0]["layer_weights"]
    assert facts["units"] == 6
    assert facts["mean"] == pytest.approx(weighed[1].mean(0), abs=1e-6)
    assert facts["std"] == pytest.approx(weighed[1].std(0, ddof=1), abs=1e-6)
    assert sum(facts["mean"]) == pytest.approx(1, abs=1e-5)


def test_the_page_shows_a_bar_per_layer(weighed):
    results, weights = weighed
    drawn = page(results)
    assert "Weight of each layer" in drawn and "mean of 6 folds and seeds" in drawn
    figure = layer_weights_figure(results["layer_weights"])
    tips = re.findall(r"layer (\d+): ([\d.]+) % ± ([\d.]+)", figure)
    assert [int(layer) for layer, _, _ in tips] == [0, 1, 2, 3, 4]
    assert [float(mean) for _, mean, _ in tips] == pytest.approx(100 * weights.mean(0), abs=0.051)
    heights = [float(h) for h in re.findall(r'<rect[^>]* height="([\d.]+)"', figure)]
    assert np.array(heights) / heights[0] == pytest.approx(weights.mean(0) / weights.mean(0)[0],
                                                           rel=1e-2)
    assert figure.count("whisker") == 5


def test_one_unit_has_no_spread_and_many_layers_keep_legible(make_units):
    (unit,) = make_units(folds=1)
    unit.layer_weights = [1 / 25] * 25
    facts = summarise_layer_weights([unit])
    assert facts["std"] is None and facts["units"] == 1
    figure = layer_weights_figure(facts)
    assert "whisker" not in figure and "±" not in figure and figure.count("<rect") == 25
    assert len(re.findall(r'class="tick middle"', figure)) <= 15


def test_other_heads_have_no_figure(make_units, make_meta, classes):
    units = make_units(folds=2)
    results = aggregate(units, classes, make_meta(folds=2))
    assert results["layer_weights"] is None and "Weight of each layer" not in page(results)
    older = {key: value for key, value in results.items() if key != "layer_weights"}
    assert page(older) == page(results)
    units[0].layer_weights, units[1].layer_weights = [0.5, 0.5], [0.2, 0.3, 0.5]
    assert summarise_layer_weights(units) is None
