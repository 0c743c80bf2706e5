"""WA, UA and F1 against scikit-learn, which counts in its own way."""

import numpy as np
import pytest
from sertools.errors import DataError
from sertools.scoring.classification import (
    chance_levels,
    classification_scores,
    confusion_matrix,
    metrics_of,
)
from sklearn import metrics as theirs

CLASSES = ["neutral", "happy", "angry", "sad", "fear"]


def _answers(seed: int, n: int = 200, used: int = 5) -> tuple[list[str], list[str]]:
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, used, n)
    said = np.where(generator.random(n) < 0.6, truth, generator.integers(0, 5, n))
    return [CLASSES[i] for i in truth], [CLASSES[i] for i in said]


@pytest.mark.parametrize("used", [5, 3, 1])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scores_equal_scikit_learn(seed, used):
    truth, said = _answers(seed, used=used)
    ours = classification_scores(truth, said, CLASSES)
    present = [name for name in CLASSES if name in truth]
    assert ours["WA"] == pytest.approx(theirs.accuracy_score(truth, said))
    assert ours["UA"] == pytest.approx(
        theirs.recall_score(truth, said, average="macro", labels=present)
    )
    for ours_name, average in (("MF1", "macro"), ("WF1", "weighted")):
        expected = theirs.f1_score(truth, said, average=average, labels=present)
        assert ours[ours_name] == pytest.approx(expected)
    assert ours["confusion"] == theirs.confusion_matrix(truth, said, labels=CLASSES).tolist()
    options = {"labels": present, "zero_division": 0}
    precision = theirs.precision_score(truth, said, average="macro", **options)
    assert ours["macro_precision"] == pytest.approx(precision)
    precision = theirs.precision_score(truth, said, average=None, **options)
    assert [ours["precision"][name] for name in present] == pytest.approx(list(precision))
    recall = theirs.recall_score(truth, said, average=None, labels=present)
    assert [ours["recall"][name] for name in present] == pytest.approx(list(recall))
    assert ours["absent"] == [name for name in CLASSES if name not in truth]
    assert ours["n"] == len(truth)


def test_absent_class_enters_no_mean_and_is_listed():
    scores = classification_scores(["happy", "sad"], ["happy", "happy"], ["happy", "sad", "angry"])
    assert scores["UA"] == 0.5
    assert scores["absent"] == ["angry"]
    assert scores["recall"] == {"happy": 1.0, "sad": 0.0, "angry": None}
    assert scores["precision"] == {"happy": 0.5, "sad": 0.0, "angry": None}
    assert scores["macro_precision"] == 0.25


def test_answer_that_never_occurs_costs_recall():
    scores = classification_scores(["happy", "sad"], ["happy", "angry"], ["happy", "sad", "angry"])
    assert (scores["UA"], scores["WA"], scores["MF1"]) == (0.5, 0.5, 0.5)


def test_many_matrices_at_once_equal_one_by_one():
    truth, said = _answers(3)
    matrices = np.stack(
        [confusion_matrix(truth[i : i + 40], said[i : i + 40], CLASSES) for i in range(0, 200, 40)]
    )
    together = metrics_of(matrices)
    for row, matrix in enumerate(matrices):
        for name, value in metrics_of(matrix).items():
            assert together[name][row] == pytest.approx(float(value))


def test_chance_is_the_answer_of_the_largest_class():
    truth, _ = _answers(4, used=4)
    largest = max(CLASSES, key=truth.count)
    constant = classification_scores(truth, [largest] * len(truth), CLASSES)
    chance = chance_levels(confusion_matrix(truth, truth, CLASSES))
    assert chance == {name: pytest.approx(constant[name]) for name in ("UA", "WA", "WF1", "MF1")}
    assert chance["UA"] == pytest.approx(1 / 4)


def test_unknown_names_are_all_listed():
    with pytest.raises(DataError, match="(?s)reference.*'boredom'.*'calm'"):
        classification_scores(["boredom", "happy", "calm"], ["happy"] * 3, CLASSES)
    with pytest.raises(DataError, match="prediction names.*"):
        classification_scores(["happy"], ["joy"], CLASSES)


def test_empty_unequal_and_repeated_are_refused():
    with pytest.raises(DataError, match="no utterance"):
        classification_scores([], [], CLASSES)
    with pytest.raises(DataError, match="2 references but 1 predictions"):
        classification_scores(["happy", "sad"], ["happy"], CLASSES)
    with pytest.raises(DataError, match="named twice"):
        classification_scores(["happy"], ["happy"], ["happy", "happy"])
