"""CCC by hand and by another formula."""

import numpy as np
import pytest
from sertools.errors import DataError
from sertools.scoring.dimensions import dimensional_scores


def _rows(values, name="arousal"):
    return [{name: float(value)} for value in values]


def test_by_hand():
    """x = 1 2 3, y = 2 2 5: means 2 and 3, variances 2/3 and 2, covariance 1."""
    scores = dimensional_scores(_rows([1, 2, 3]), _rows([2, 2, 5]))
    assert scores["CCC_arousal"] == pytest.approx(2 * 1 / (2 / 3 + 2 + 1))
    assert scores["Pearson_arousal"] == pytest.approx(1 / np.sqrt(2 / 3 * 2))
    assert scores["MAE_arousal"] == pytest.approx(1.0)
    assert scores["CCC"] == scores["CCC_arousal"]
    assert scores["n"] == 3


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_against_correlation_times_bias(offset):
    """Lin's other form: CCC = r * 2 / (sx/sy + sy/sx + (mx - my)^2 / (sx sy))."""
    generator = np.random.default_rng(5)
    names = ["arousal", "valence", "dominance"]
    truth = generator.normal(4, 1, (300, 3)) + offset
    said = 0.5 * truth + generator.normal(0, 0.7, (300, 3)) + 0.5 * offset
    as_rows = [[dict(zip(names, row, strict=True)) for row in part] for part in (truth, said)]
    scores = dimensional_scores(*as_rows)
    expected = []
    for index, name in enumerate(names):
        x, y = truth[:, index], said[:, index]
        r = np.corrcoef(x, y)[0, 1]
        sx, sy, gap = x.std(), y.std(), x.mean() - y.mean()
        expected.append(r * 2 / (sx / sy + sy / sx + gap**2 / (sx * sy)))
        assert scores[f"CCC_{name}"] == pytest.approx(expected[-1], rel=1e-6)
        assert scores[f"Pearson_{name}"] == pytest.approx(r, rel=1e-6)
        assert scores[f"MAE_{name}"] == pytest.approx(np.abs(x - y).mean())
    assert scores["CCC"] == pytest.approx(np.mean(expected), rel=1e-6)


def test_constant_answers_are_no_agreement_and_no_crash():
    constant = dimensional_scores(_rows([1, 2, 3]), _rows([2, 2, 2]))
    assert constant["CCC_arousal"] == 0
    assert constant["Pearson_arousal"] is None
    nothing_varies = dimensional_scores(_rows([0.1, 0.1, 0.1]), _rows([0.1, 0.1, 0.1]))
    assert nothing_varies["CCC"] is None


def test_whole_partition_is_not_a_mean_over_batches():
    truth, said = _rows([1, 2, 5, 6]), _rows([2, 1, 6, 5])
    halves = [dimensional_scores(truth[:2], said[:2]), dimensional_scores(truth[2:], said[2:])]
    assert dimensional_scores(truth, said)["CCC"] > 0.8
    assert np.mean([half["CCC"] for half in halves]) < 0


def test_faults_are_named():
    with pytest.raises(DataError, match="no utterance"):
        dimensional_scores([], [])
    with pytest.raises(DataError, match="1 references but 2"):
        dimensional_scores(_rows([1]), _rows([1, 2]))
    with pytest.raises(DataError, match="(?s)finite numbers for arousal.*utterance 2"):
        dimensional_scores(_rows([1, 2]), [{"arousal": 1.0}, {"valence": 1.0}])
