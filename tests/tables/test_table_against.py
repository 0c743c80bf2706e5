"""Two rows of a table compared on the same utterances."""

import json

import pytest
from sertools.scoring.predictions import Prediction, write_predictions

CLASSES = ["joy", "rage", "calm"]


def predicted(bench, tag, right, seeds=(1,), protocol="clean", further=None):
    """Put predictions beside the results of a toy's run; `right` utterances of four are right.

    `further`: as many are right in the further test part, which only the first fold has.
    """
    folder = bench.toy / "exp" / tag
    path, units = folder / "report/results.json", []
    for seed in seeds:
        for fold, speakers in (("1", "ab"), ("2", "cd")):
            truth = ["joy", "rage", "joy", "rage"]
            parts = {"test": right} | ({"test_test2": further} if further and fold == "1" else {})
            for name, number in parts.items():
                write_predictions(
                    folder / f"fold{fold}/seed{seed}/evaluate/{name}.jsonl",
                    [Prediction(f"{speaker}{n}", speaker, truth[n],
                                truth[n] if n < number else "calm", None)
                     for speaker in speakers for n in range(4)])
            units.append({"fold": fold, "seed": seed})
    results = json.loads(path.read_text())
    results["protocol"]["protocol"] = protocol
    path.write_text(json.dumps(results | {"units": units, "classes": CLASSES}))


@pytest.fixture
def made(bench):
    assert bench.main("run", "p/t", *bench.data()) == 0
    return bench


def test_a_difference_is_one_or_none_is_shown(made, capsys):
    predicted(made, "first", 4)
    predicted(made, "first_width=16", 2)
    predicted(made, "broken", 2)
    capsys.readouterr()
    assert made.main("compare", "p/t", "first", "wide") == 0
    out = capsys.readouterr().out
    # joy and rage: 4 of 4 against 2 of 4 right, the same for each of four speakers
    assert "First minus First, wide" in out
    assert "50.00" in out and "[50.0, 50.0]" in out and "higher" in out and "4 speakers" in out
    assert made.main("compare", "p/t", "wide", "first", "--metric", "UA") == 0
    out = capsys.readouterr().out
    assert "lower" in out and "A difference is called one where p is below 0.05." in out
    assert made.main("compare", "p/t", "wide", "broken") == 0
    assert "no difference shown" in capsys.readouterr().out


def test_a_further_test_part_is_compared_on_its_own(made, capsys):
    predicted(made, "first", 4, further=2)
    predicted(made, "first_width=16", 4, further=3)
    capsys.readouterr()
    assert made.main("compare", "p/t", "first", "wide") == 0
    lines = capsys.readouterr().out.splitlines()
    main, second = [line for line in lines if line.startswith("toy")]
    # of joy 1 of 2 and of rage 1 of 2 against 2 of 2 and 1 of 2: UA 0.50 against 0.75
    assert second.startswith("toy test2") and " -25.00 " in second and "2 speakers" in second
    assert " 0.00" in main and "4 speakers" in main and "no difference shown" in main
    assert lines[-1].endswith("A difference is called one where Holm's p is below 0.05.")
    predicted(made, "broken", 4)
    assert made.main("compare", "p/t", "first", "broken") == 0
    out = capsys.readouterr().out
    assert "toy test2: left out, " in out
    assert "broken has no predictions of the test part test2" in out


def test_what_cannot_be_compared_is_told(made, capsys):
    predicted(made, "first", 4)
    predicted(made, "first_width=16", 2, protocol="paper")
    for words, told in [
            (["first", "wide"], "toy: left out, the protocols are clean and paper"),
            (["first", "others"], "toy: left out, others has no command there"),
            (["first", "last"], "p/t has no row last"),
            (["first", "first"], "a row is not compared with itself"),
            (["first", "wide", "--metric", "WA"], "p/t has no column of WA"),
    ]:
        capsys.readouterr()
        assert made.main("compare", "p/t", *words) == 2
        assert told in "".join(capsys.readouterr()), words


def test_holm_of_three_by_hand():
    from sertools.tables.against import Against, Paired

    scores = tuple(Paired(None, 0.1, 0, 1, p, "") for p in (0.04, 0.01, None, 0.03))
    assert Against((None, None), scores, {}).adjusted() == pytest.approx(
        [0.06, 0.03, None, 0.06])
