"""The vectorised bootstrap against a plain loop, and what it must say about few speakers."""

import numpy as np
import pytest
from sertools.errors import DataError
from sertools.scoring.dimensions import dimensional_scores
from sertools.scoring.intervals import bootstrap_intervals, paired_difference
from sertools.scoring.predictions import Prediction
from sklearn.metrics import f1_score, recall_score


def _loop(run, draws, seed):
    """Draw speakers with the same generator, then score the drawn utterances one by one."""
    generator = np.random.default_rng(seed)
    names = sorted({item.speaker for item in run})
    result = []
    for row in generator.integers(0, len(names), (draws, len(names))):
        drawn = [item for index in row for item in run if item.speaker == names[index]]
        truth, said = [i.reference for i in drawn], [i.prediction for i in drawn]
        if isinstance(truth[0], dict):
            result.append([dimensional_scores(truth, said)["CCC_arousal"]])
            continue
        present = sorted(set(truth))
        result.append(
            [
                recall_score(truth, said, average="macro", labels=present),
                np.mean([a == b for a, b in zip(truth, said, strict=True)]),
                f1_score(truth, said, average="weighted", labels=present),
                f1_score(truth, said, average="macro", labels=present),
            ]
        )
    return np.quantile(np.array(result), [0.025, 0.975], axis=0)


def test_intervals_equal_a_plain_loop(make_run, classes):
    run = make_run(speakers=3, each=6)
    ours = bootstrap_intervals([run], classes, draws=1000, seed=3)
    low, high = _loop(run, 1000, 3)
    for index, name in enumerate(["UA", "WA", "WF1", "MF1"]):
        assert ours["metrics"][name] == pytest.approx([low[index], high[index]])
    assert (ours["unit"], ours["clusters"], ours["reason"]) == ("speaker", 3, None)


def test_ccc_intervals_equal_a_plain_loop():
    generator = np.random.default_rng(0)
    truth = generator.normal(50, 1, 40)
    said = truth + generator.normal(0, 1, 40)
    run = [
        Prediction(f"u{i}", f"s{i % 5}", {"arousal": truth[i]}, {"arousal": said[i]})
        for i in range(40)
    ]
    ours = bootstrap_intervals([run], draws=1000, seed=1)
    low, high = _loop(run, 1000, 1)
    assert ours["metrics"]["CCC_arousal"] == pytest.approx([low[0], high[0]], rel=1e-6)
    assert ours["metrics"]["CCC"] == ours["metrics"]["CCC_arousal"]


def test_equal_arguments_give_equal_intervals(make_run, classes):
    run = make_run()
    first = bootstrap_intervals([run], classes)
    assert first == bootstrap_intervals([list(reversed(run))], classes)
    assert first["draws"] == 2000
    assert first != bootstrap_intervals([run], classes, seed=1)


def test_speakers_that_differ_widen_the_interval(classes):
    """Every utterance of a speaker is right or every one is wrong: 6 facts, not 300."""
    run = [
        Prediction(f"u{i}", f"s{i // 50}", classes[i % 3], classes[(i + (i // 50) % 2) % 3])
        for i in range(300)
    ]
    alone = [Prediction(p.id, None, p.reference, p.prediction) for p in run]
    wide = bootstrap_intervals([run], classes)["metrics"]["WA"]
    narrow = bootstrap_intervals([alone], classes)["metrics"]["WA"]
    assert wide[1] - wide[0] > 4 * (narrow[1] - narrow[0])


def test_unknown_speakers_are_said(make_run, classes):
    result = bootstrap_intervals([make_run(unknown=200)], classes)
    assert (result["unit"], result["clusters"]) == ("utterance", 200)
    assert "200 of 200 utterances have no speaker" in result["reason"]
    assert result["metrics"]["UA"] is not None


def test_an_utterance_without_a_speaker_is_drawn_by_itself(make_run, classes):
    run = make_run(unknown=3)
    result = bootstrap_intervals([run], classes)
    known = {item.speaker for item in run} - {None}
    assert (result["unit"], result["clusters"]) == ("speaker", len(known) + 3)
    assert "3 of 200 utterances have no speaker, each is drawn by itself" in result["reason"]
    named = [Prediction(p.id, p.speaker or f"person {p.id}", p.reference, p.prediction)
             for p in run]
    assert result["clusters"] == bootstrap_intervals([named], classes)["clusters"]
    width = [high - low for low, high in (result["metrics"]["WA"],
             bootstrap_intervals([named], classes)["metrics"]["WA"])]
    assert width[0] == pytest.approx(width[1], rel=0.15)


def test_one_speaker_gives_no_interval_but_a_reason(make_run, classes):
    result = bootstrap_intervals([make_run(speakers=1)], classes)
    assert set(result["metrics"].values()) == {None}
    assert "one speaker" in result["reason"]


def test_several_seeds_give_the_interval_of_their_mean(make_run, classes):
    runs = [make_run(seed=seed) for seed in range(3)]
    together = bootstrap_intervals(runs, classes)["metrics"]["UA"]
    alone = [bootstrap_intervals([run], classes)["metrics"]["UA"] for run in runs]
    assert bootstrap_intervals([runs[0]] * 2, classes)["metrics"]["UA"] == pytest.approx(alone[0])
    assert min(a[0] for a in alone) < together[0] < together[1] < max(a[1] for a in alone)


def test_class_absent_from_a_draw_is_left_out(classes):
    run = [Prediction("a", "s1", "sad", "sad"), Prediction("b", "s2", "happy", "sad")]
    metrics = bootstrap_intervals([run], classes)["metrics"]
    assert metrics["UA"] == [0.0, 1.0]
    assert metrics["recall sad"] == [1.0, 1.0]
    assert metrics["recall neutral"] is None


def test_many_clusters_are_drawn_in_parts(make_run, classes, monkeypatch):
    run = make_run(speakers=8)
    whole = bootstrap_intervals([run], classes)["metrics"]["UA"]
    monkeypatch.setattr("sertools.scoring.resampling._WEIGHTS_AT_ONCE", 800)
    parts = bootstrap_intervals([run], classes)["metrics"]["UA"]
    assert parts == pytest.approx(whole, abs=0.01)


def test_difference_of_a_system_with_itself(make_run, classes):
    run = make_run()
    ua = paired_difference([run], [run], classes)["metrics"]["UA"]
    assert ua == {"difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}


def test_difference_finds_the_better_system_and_not_a_twin(make_run, classes):
    better = [make_run(seed=s, skill=2.5) for s in range(2)]
    worse, twin = [make_run(seed=5, skill=0.5)], [make_run(seed=6, skill=0.5)]
    clear = paired_difference(better, worse, classes)["metrics"]["UA"]
    assert clear["low"] > 0.1
    assert clear["p"] < 0.01
    assert paired_difference(worse, twin, classes)["metrics"]["UA"]["p"] > 0.05
    other_way = paired_difference(worse, better, classes)["metrics"]["UA"]
    assert other_way["difference"] == pytest.approx(-clear["difference"])


def test_difference_with_one_speaker_has_no_interval(make_run, classes):
    one = [make_run(speakers=1)]
    ua = paired_difference(one, [make_run(seed=4, speakers=1)], classes)["metrics"]["UA"]
    assert (ua["low"], ua["high"], ua["p"]) == (None, None, None)
    assert ua["difference"] is not None


def test_other_utterances_cannot_be_compared(make_run, classes):
    run = make_run()
    with pytest.raises(DataError, match="(?s)differ in utterances.*mini-0199"):
        paired_difference([run], [run[:-1]], classes)
    with pytest.raises(DataError, match="differ in utterances"):
        bootstrap_intervals([run, make_run(truth_seed=1)], classes)


def test_too_few_draws_and_nothing_are_refused(make_run, classes):
    with pytest.raises(DataError, match="at least 1000"):
        bootstrap_intervals([make_run()], classes, draws=100)
    with pytest.raises(DataError, match="no utterance"):
        bootstrap_intervals([[]], classes)
