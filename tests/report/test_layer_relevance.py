"""Curves over layers in reports: pooled over folds, places in depth, intervals, the claim."""

import re

import numpy as np
import pytest
from scipy import stats
from sertools.report.aggregate import aggregate
from sertools.report.html import page
from sertools.report.markdown import one_experiment
from sertools.report.relevance import summarise_relevance
from sertools.report.relevance_view import relevance_figure, relevance_sentences, relevance_table
from sertools.report.units import UnitResult
from sertools.scoring.dimensions import dimensional_scores
from sertools.scoring.predictions import Prediction
from sertools.scoring.relevance import (
    above_worst,
    additive_statistics,
    depth_of,
    interval_over_folds,
    read_relevance,
    score_of,
    write_relevance,
)
from sertools.scoring.unit import score_unit

NAMES, LAYERS, DRAWS = ["arousal", "valence"], 5, 2
NOISE = {"arousal": [0.2, 0.1, 0.6, 2.0, 2.0], "valence": [2.0, 2.0, 0.8, 0.1, 0.2]}


def unit(fold: int, apart: bool = True, speakers: int = 3) -> UnitResult:
    """Return a unit whose heads say the truth and noise: by layer as NOISE, or alike."""
    draw = np.random.default_rng(fold)
    truth = draw.normal(size=(60, 2))
    noise = np.array([NOISE[name] if apart else [0.5] * LAYERS for name in NAMES]).T
    said = truth[:, None, None] + draw.normal(size=(60, DRAWS, LAYERS, 2)) * noise
    places = np.arange(60) % speakers
    heads = np.broadcast_to(truth[:, None, None], said.shape).reshape(60, -1)
    sums = additive_statistics(heads, said.reshape(60, -1), places, speakers)
    sums = sums.reshape(speakers, DRAWS, LAYERS, 2, 6)
    chosen = [1, 3]
    run = [Prediction(f"u{fold}-{n:02d}", f"{fold}{places[n]}",
                      dict(zip(NAMES, truth[n].tolist(), strict=True)),
                      {name: float(said[n, 0, chosen[g], g]) for g, name in enumerate(NAMES)})
           for n in range(60)]
    weights = np.exp(-noise.T * 2)[None] * draw.uniform(0.9, 1.1, (DRAWS, 2, LAYERS))
    facts = {"relevance": "probes", "score": "CCC", "groups": NAMES, "layers": LAYERS,
             "draws": DRAWS, "normalise": False, "chosen": chosen, "dev": None, "weights": None,
             "test": score_of(sums.sum(0), "CCC").tolist(), "cluster": "speaker",
             "clusters": [f"speaker {fold}{n}" for n in range(speakers)], "statistics": sums}
    made = UnitResult(str(fold), 1, score_unit(run, run), run, run, relevance=facts)
    made.raw = (truth, said, weights / weights.sum(-1, keepdims=True))
    return made


def mixtures(folds: int, apart: bool = True) -> list[UnitResult]:
    units = [unit(fold, apart) for fold in range(1, folds + 1)]
    for made in units:
        made.relevance |= {"relevance": "weights", "weights": made.raw[2].tolist()}
    return units


def summary(units: list[UnitResult]):
    return summarise_relevance([{made.fold: made for made in units}])


def test_depth_is_the_mean_layer():
    assert depth_of(np.array([[0, 0, 1.0, 0], [1, 1, 1, 1]])) == pytest.approx([2, 1.5])
    assert np.isnan(depth_of(np.zeros(3)))
    assert above_worst(np.array([0.5, 0.2, 0.3])) == pytest.approx([0.3, 0, 0.1])


def test_curves_are_scores_of_all_folds_together():
    units = [unit(1), unit(2), unit(3)]
    facts = summary(units)
    for index, name in enumerate(NAMES):
        truth = np.concatenate([made.raw[0][:, index] for made in units])
        curve = []
        for layer in range(LAYERS):
            each = [dimensional_scores([{name: y} for y in truth], [
                {name: y} for made in units for y in made.raw[1][:, draw, layer, index]])["CCC"]
                for draw in range(DRAWS)]
            curve.append(np.mean(each))
        group = facts["groups"][name]
        assert group["curve"] == pytest.approx(curve, abs=1e-9)
        shares = np.array(curve) - min(curve)
        assert group["depth"] == pytest.approx((shares * range(LAYERS)).sum() / shares.sum())
        assert group["depth_low"] < group["depth"] < group["depth_high"]
        assert all(low < mid < high for low, mid, high in
                   zip(group["low"], curve, group["high"], strict=True))
    assert facts["groups"]["valence"]["chosen"] == {"3": 3}
    assert "2\u202f000 bootstrap draws of 9 test speakers" in facts["interval"]["over"]


def test_the_claim_needs_intervals_that_are_apart():
    claim = summary([unit(1), unit(2)])["claim"]
    assert claim["holds"] is True and 0 < claim["low"] < claim["difference"] < claim["high"]
    alike = summary([unit(1, apart=False), unit(2, apart=False)])
    assert alike["claim"]["holds"] is False
    assert "does not hold" in relevance_sentences(alike)[-1]
    swapped = [unit(1), unit(2)]
    for made in swapped:
        made.relevance |= {"groups": NAMES[::-1]}
    assert summary(swapped)["claim"]["holds"] is False


def test_weights_are_means_and_their_intervals_jackknives():
    units = mixtures(4)
    facts = summary(units)
    assert facts["claim"]["holds"] is True and "jackknife over 4 folds" in facts["interval"]["over"]
    weights = np.stack([made.raw[2] for made in units])  # (folds, draws, G, L)
    group = facts["groups"]["valence"]
    assert group["curve"] == pytest.approx(weights.mean((0, 1))[1])
    assert group["std"] == pytest.approx(weights.mean(0).std(0, ddof=1)[1])
    assert min(group["low"]) >= 0 and max(group["high"]) <= 1
    depths = weights.mean(1)[:, 1] @ np.arange(LAYERS)
    left_out = [np.delete(depths, fold).mean() for fold in range(4)]  # never more than a check
    assert np.mean(left_out) == pytest.approx(depths.mean())
    error = np.sqrt(3 / 4 * ((depths - depths.mean()) ** 2).sum())
    width = stats.t.ppf(0.975, 3) * error
    assert [group["depth_low"], group["depth_high"]] == pytest.approx(
        [depths.mean() - width, depths.mean() + width])
    assert interval_over_folds(depths) == pytest.approx((depths.mean() - width,
                                                         depths.mean() + width))


def test_a_single_fold_says_that_only_seeds_were_varied():
    facts = summary(mixtures(1))
    assert "2 draws of initial weights" in facts["interval"]["over"]
    alone = summary([unit(1, speakers=1)])
    assert "say nothing of other speakers" in alone["interval"]["over"]
    one = mixtures(1)
    one[0].relevance["weights"] = one[0].relevance["weights"][:1]
    facts = summary(one)
    assert facts["claim"]["holds"] is None and facts["groups"]["arousal"]["low"] is None
    assert "cannot be judged" in relevance_sentences(facts)[-1]
    assert "polygon" not in relevance_figure(facts)


def test_page_and_markdown_show_it(make_meta):
    units = [unit(1), unit(2)]
    results = aggregate(units, [], make_meta(folds=2))
    facts = results["relevance"]
    drawn, written = page(results), one_experiment(results)
    assert "Scores of the layers" in drawn and "## Scores of the layers" in written
    assert "with intervals that do not overlap, holds" in written
    table = relevance_table(facts)
    assert [row[0] for row in table.rows[:LAYERS]] == list("01234")
    assert table.rows[-1][0] == "depth" and table.rows[-2][1:] == ["1 × 2", "3 × 2"]
    figure = relevance_figure(facts)
    assert figure.count("<polygon") == 2 and figure.count("<polyline") == 2
    (places,) = re.findall(r'<polyline points="([^"]+)" class="curve1"', figure)
    heights = [float(place.split(",")[1]) for place in places.split()]
    values = facts["groups"]["valence"]["curve"]
    assert np.argsort(heights).tolist() == np.argsort(values)[::-1].tolist()
    without = {key: value for key, value in results.items() if key != "relevance"}
    assert "Scores of the layers" not in page(without) + one_experiment(without)


def test_other_systems_have_none(make_units, make_meta, classes):
    assert aggregate(make_units(folds=2), classes, make_meta(folds=2))["relevance"] is None


def test_what_was_measured_is_read_again(tmp_path):
    facts = unit(1).relevance
    write_relevance(tmp_path, facts)
    found = read_relevance(tmp_path)
    assert np.array_equal(found.pop("statistics"), facts["statistics"])
    assert found == {key: value for key, value in facts.items() if key != "statistics"}
    assert read_relevance(tmp_path / "none") is None


def test_counts_of_answers_give_the_unweighted_accuracy():
    truth = np.array([0, 0, 1, 1, 1])
    said = np.zeros((5, 1, 2))
    said[[0, 1, 2], 0, 0] = said[[3, 4], 0, 1] = 1
    sums = additive_statistics(truth, said, [0, 1, 0, 1, 0], 2)
    assert score_of(sums.sum(0), "UA") == pytest.approx([(1 + 2 / 3) / 2])
