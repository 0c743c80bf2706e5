"""Two experiments compared on the same utterances, by command line and by hand."""

import importlib.util

import pytest
from sertools.files import write_json
from sertools.report.compare import compare
from sertools.scoring.predictions import Prediction, write_predictions


def experiment(folder, right):
    """Write two folds of two speakers; `right(speaker)` utterances of four are right."""
    units = []
    for fold, speakers in (("1", "ab"), ("2", "cd")):
        predictions = [
            Prediction(f"{s}{n}", s, "joy" if n % 2 else "rage",
                       ("joy" if n % 2 else "rage") if n < right(s) else "calm", None)
            for s in speakers for n in range(4)
        ]  # fmt: skip
        write_predictions(folder / f"fold{fold}/seed1/evaluate/test.jsonl", predictions)
        units.append({"fold": fold, "seed": 1})
    write_json(folder / "report/results.json", {"units": units, "classes": CLASSES})
    return folder


CLASSES = ["joy", "rage", "calm"]


@pytest.fixture
def script(repository):
    spec = importlib.util.spec_from_file_location("compare", repository / "utils/compare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_difference_by_hand(tmp_path, script, capsys):
    better = experiment(tmp_path / "better", lambda speaker: 4)
    worse = experiment(tmp_path / "worse", lambda speaker: 2)
    result = compare(better, worse)["metrics"]["WA"]
    assert result["difference"] == pytest.approx(0.5)
    assert result["low"] == result["high"] == pytest.approx(0.5)
    assert result["p"] < 0.01
    assert script.main([str(better), str(worse)]) == 0
    printed = capsys.readouterr().out
    assert "better - worse" in printed and "50.00" in printed and "4 speakers" in printed


def test_no_difference(tmp_path):
    same = [experiment(tmp_path / name, lambda speaker: 3) for name in "xy"]
    entry = compare(*same)["metrics"]["UA"]
    assert entry["difference"] == 0 and entry["p"] == 1


def test_unfinished_and_unlike_experiments_are_refused(tmp_path, script, capsys):
    one = experiment(tmp_path / "one", lambda speaker: 3)
    assert script.main([str(one), str(tmp_path / "none")]) == 3
    assert "no finished experiment" in capsys.readouterr().err
    other = experiment(tmp_path / "other", lambda speaker: 3)
    write_json(other / "report/results.json", {"units": [], "classes": ["joy"]})
    assert script.main([str(one), str(other)]) == 3
    assert "other classes" in capsys.readouterr().err
