"""Aggregation against means counted by hand."""

import dataclasses
import json
import statistics

import pytest
from sertools.errors import DataError
from sertools.report.aggregate import aggregate
from sertools.scoring.calibration import apply_temperature, ece, probability_matrix
from sertools.scoring.classification import classification_scores
from sertools.scoring.intervals import bootstrap_intervals


def test_every_mean_by_hand(make_units, make_meta, classes):
    units = make_units(folds=3, seeds=(1, 2))
    results = aggregate(units, classes, make_meta(folds=3, seeds=(1, 2)))
    pooled, fold_means, fold_stds = [], [], []
    for seed in (1, 2):
        mine = [unit for unit in units if unit.seed == seed]
        run = [item for unit in mine for item in unit.test]
        assert len({item.id for item in run}) == len(run) == 180
        truth, said = [i.reference for i in run], [i.prediction for i in run]
        pooled.append(classification_scores(truth, said, classes)["UA"])
        scores = [unit.scores["UA"] for unit in mine]
        fold_means.append(statistics.mean(scores))
        fold_stds.append(statistics.stdev(scores))
    entry = results["summary"]["UA"]
    assert entry["pooled"] == pytest.approx(statistics.mean(pooled))
    assert entry["std_over_seeds"] == pytest.approx(statistics.stdev(pooled))
    assert entry["mean_over_folds"] == pytest.approx(statistics.mean(fold_means))
    assert entry["std_over_folds"] == pytest.approx(statistics.mean(fold_stds))
    assert entry["low"] < entry["pooled"] < entry["high"]
    assert [row["pooled"]["UA"] for row in results["seeds"]] == pytest.approx(pooled)
    assert sum(map(sum, results["confusion"])) == 360
    assert results["coverage"]["n"] == 180
    assert results["coverage"]["speakers"] == 6
    assert len(results["units"]) == 6
    assert results["cost"]["seconds"] == sum(unit.seconds for unit in units)
    assert results["cost"]["finished"] == "2026-01-03"


def test_interval_belongs_to_the_pooled_predictions(make_units, make_meta, classes):
    units = make_units(folds=3, seeds=(1, 2))
    results = aggregate(units, classes, make_meta(folds=3, seeds=(1, 2)))
    runs = [[i for u in units if u.seed == seed for i in u.test] for seed in (1, 2)]
    expected = bootstrap_intervals(runs, classes)["metrics"]["MF1"]
    entry = results["summary"]["MF1"]
    assert [entry["low"], entry["high"]] == pytest.approx(expected, rel=1e-6)
    assert results["interval"]["draws"] >= 1000
    assert results["interval"]["unit"] == "speaker"


def test_calibration_pools_with_each_units_temperature(make_units, make_meta, classes):
    units = make_units(folds=2)
    facts = aggregate(units, classes, make_meta(folds=2))["calibration"]
    confidence, right = [], []
    for unit in units:
        scaled = apply_temperature(
            probability_matrix(unit.test, classes), unit.scores["temperature"]
        )
        confidence += scaled.max(1).tolist()
        right += [item.reference == item.prediction for item in unit.test]
    import numpy as np

    assert facts["ece_after"] == pytest.approx(ece(np.array(confidence), np.array(right)))
    assert facts["ece_after"] < facts["ece_before"]
    assert sum(row["n"] for row in facts["bins_after"]) == 120


def test_content_is_plain_json_and_order_of_units_is_irrelevant(make_units, make_meta, classes):
    meta = make_meta(folds=3, seeds=(1, 2))
    units = make_units(folds=3, seeds=(1, 2))
    results = aggregate(units, classes, meta)
    assert json.loads(json.dumps(results, allow_nan=False)) == results
    shuffled = aggregate(units[::-1], classes, meta)
    assert shuffled["summary"] == results["summary"]
    assert shuffled["units"] == results["units"]


def test_missing_folds_are_said_and_uneven_seeds_left_out(make_units, make_meta, classes):
    units = make_units(folds=4, seeds=(1, 2))
    some = [unit for unit in units if unit.seed == 1 or unit.fold == "1"]
    meta = make_meta(folds=6, seeds=(1, 2, 3))
    coverage = aggregate(some, classes, meta)["coverage"]
    assert coverage["folds_done"] == ["1", "2", "3", "4"]
    assert (coverage["folds_total"], coverage["seeds_counted"]) == (6, [1])
    assert (coverage["units_done"], coverage["units_total"]) == (5, 18)
    assert len(coverage["missing"]) == 13
    alone = aggregate([u for u in units if u.seed == 1], classes, meta)
    assert alone["summary"] == aggregate(some, classes, meta)["summary"]


def test_overlapping_folds_are_counted_and_said(make_units, make_meta, classes):
    first, second = make_units(folds=2)
    twice = dataclasses.replace(second, test=first.test, scores=first.scores)
    coverage = aggregate([first, twice], classes, make_meta(folds=2))["coverage"]
    assert coverage["tested_more_than_once"] == 60


def test_flags_and_the_paper_protocol_stand_apart(make_units, make_meta, classes):
    units = make_units(folds=1)
    clean = aggregate(units, classes, make_meta(folds=1))["protocol"]
    assert (clean["own_table"], clean["reasons"]) == (False, [])
    flagged = aggregate(units, classes, make_meta(folds=1, flags=["selected on test"]))["protocol"]
    assert (flagged["own_table"], flagged["reasons"]) == (True, ["selected on test"])
    paper = aggregate(units, classes, make_meta(folds=1, protocol="paper"))["protocol"]
    assert paper["own_table"]
    assert "authors' own" in paper["reasons"][0]


def test_dimensions(dimensional_units, make_meta):
    results = aggregate(dimensional_units, [], make_meta(folds=2))
    assert results["metrics"] == ["CCC", "CCC_arousal", "CCC_valence", "CCC_dominance"]
    assert results["summary"]["CCC_valence"]["low"] < results["summary"]["CCC_valence"]["pooled"]
    assert "confusion" not in results


def test_best_epoch_is_given_or_found_on_dev(make_units, make_meta, classes):
    units = make_units(folds=2)
    units[0].best_epoch = 3
    scores = [line["dev"]["UA"] for line in units[1].history]
    curves = aggregate(units, classes, make_meta(folds=2))["curves"]
    assert curves["dev_score"] == "UA"
    assert curves["units"][0]["best_epoch"] == 3
    assert curves["units"][1]["best_epoch"] == 1 + scores.index(max(scores))


def test_a_number_that_is_not_finite_becomes_null(make_units, make_meta, classes):
    units = make_units(folds=1)
    units[0].history[2]["train"]["loss"] = float("nan")
    curves = aggregate(units, classes, make_meta(folds=1))["curves"]
    assert curves["units"][0]["train_loss"][2] is None


def test_units_that_do_not_belong_are_all_listed(make_units, make_meta, classes):
    units = make_units(folds=3)
    empty = dataclasses.replace(units[1], test=[])
    with pytest.raises(DataError, match="(?s)fold 2 .* no test.*fold 3 .* not part.*1 .* twice"):
        aggregate([units[0], empty, units[2], units[0]], classes, make_meta(folds=2))
    with pytest.raises(DataError, match="no fold is finished"):
        aggregate([], classes, make_meta())


def test_seeds_with_other_references_are_refused(make_units, make_meta, classes):
    one, two = make_units(folds=1, seeds=(1, 2))
    changed = dataclasses.replace(two.test[0], reference="sad", prediction="sad")
    changed.reference = "happy" if one.test[0].reference == "sad" else "sad"
    two.test[0] = changed
    with pytest.raises(DataError, match="differ in utterances, speakers or references"):
        aggregate([one, two], classes, make_meta(folds=1, seeds=(1, 2)))
