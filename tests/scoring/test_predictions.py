"""The file of predictions: what is written is read again, what is broken is named."""

import json

import pytest
from sertools.errors import DataError
from sertools.scoring.predictions import (
    Prediction,
    read_predictions,
    round_number,
    write_predictions,
)


def _some() -> list[Prediction]:
    return [
        Prediction("mini-b", "s2", "sad", "happy", [2 / 3, 1 / 3]),
        Prediction("mini-a", None, "happy", "happy", [0.25, 0.75]),
    ]


def test_round_trip_is_sorted_and_byte_equal(tmp_path):
    path = write_predictions(tmp_path / "deep" / "p.jsonl", _some())
    first = path.read_bytes()
    again = read_predictions(path)
    assert [item.id for item in again] == ["mini-a", "mini-b"]
    assert again[1].probabilities == [0.6666667, 0.3333333]
    assert write_predictions(path, reversed(again)).read_bytes() == first
    assert not list(path.parent.glob(".tmp*"))


def test_dimensions_and_letters_beyond_ascii_survive(tmp_path):
    item = Prediction(
        "mini-ü\u2028", "spk", {"arousal": 0.1, "valence": 3}, {"arousal": 1, "valence": 2}
    )
    path = write_predictions(tmp_path / "p.jsonl", [item])
    assert read_predictions(path) == [item]
    assert item.dimensional
    assert "ü" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("value", [1 / 3, 1e-30, 123456789.0, -2.5e-7, 0.0])
def test_rounding_twice_changes_nothing(value):
    once = round_number(value)
    assert round_number(once) == once
    assert once == pytest.approx(value, rel=1e-6)


def test_every_broken_line_is_named(tmp_path):
    path = write_predictions(tmp_path / "p.jsonl", _some())
    good = path.read_text(encoding="utf-8").splitlines()
    odd = json.loads(good[0])
    lines = [
        good[0],
        "{not json",
        json.dumps({"id": "x"}),
        json.dumps(odd | {"id": "", "speaker": 3}),
        json.dumps(odd | {"id": "c", "probabilities": [float("nan")]}),
        json.dumps(odd | {"id": "d", "prediction": {"arousal": 1.0}}),
        good[0],
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_predictions(path)
    text = str(caught.value)
    for number, words in (
        (2, "not JSON"),
        (3, "keys id, speaker"),
        (4, "id must be"),
        (4, "speaker must be"),
        (5, "probabilities must be"),
        (6, "both be class names"),
        (7, "'mini-a' occurs twice"),
    ):
        assert any(f":{number}: " in line and words in line for line in text.splitlines())
    assert caught.value.exit_code == 3


def test_missing_and_empty_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_predictions(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="holds no prediction"):
        read_predictions(tmp_path / "empty.jsonl")


def test_unwritable_predictions_leave_no_file(tmp_path):
    bad = [
        Prediction("a", "s", "sad", "sad", [float("inf")]),
        Prediction("b", "s", "sad", "sad"),
        Prediction("b", "s", "sad", "sad"),
    ]
    with pytest.raises(DataError, match="(?s)a: probabilities.*'b' occurs twice"):
        write_predictions(tmp_path / "p.jsonl", bad)
    assert not list(tmp_path.iterdir())
