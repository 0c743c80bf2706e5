"""What is said about one unit."""

import json

import pytest
from sertools.errors import DataError
from sertools.scoring.predictions import Prediction
from sertools.scoring.unit import score_unit


def test_classification_is_plain_json(make_run, classes):
    scores = score_unit(make_run(seed=1, speakers=2), make_run(seed=2, speakers=3), classes)
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores
    assert (scores["task"], scores["n"], scores["speakers"]) == ("classification", 75, 3)
    assert scores["dev"]["n"] == 50
    assert set(scores["dev"]) == {"UA", "WA", "WF1", "MF1", "n"}
    assert scores["chance"]["UA"] == pytest.approx(1 / 3)
    assert scores["ece_after"] is not None


def test_test_labels_never_change_dev(make_run, classes):
    dev, test = make_run(seed=1), make_run(seed=2)
    broken = [Prediction(p.id, p.speaker, "sad", p.prediction, p.probabilities) for p in test]
    first, second = score_unit(dev, test, classes), score_unit(dev, broken, classes)
    assert first["UA"] != second["UA"]
    assert (first["dev"], first["temperature"]) == (second["dev"], second["temperature"])


def test_dimensions():
    run = [
        Prediction(f"u{i}", None, {"arousal": i, "valence": -i}, {"arousal": i, "valence": i})
        for i in range(5)
    ]
    scores = score_unit(run, run)
    assert (scores["task"], scores["speakers"]) == ("dimensions", None)
    assert (scores["CCC_arousal"], scores["dev"]["CCC"]) == (1, scores["CCC"])
    assert "ece_before" not in scores


def test_nothing_and_mixtures_are_refused(classes):
    named = Prediction("a", "s", "sad", "sad")
    numbered = Prediction("b", "s", {"arousal": 1.0}, {"arousal": 1.0})
    with pytest.raises(DataError, match="no test predictions"):
        score_unit([named], [], classes)
    with pytest.raises(DataError, match="mix classes with dimensions"):
        score_unit([named], [numbered], classes)
