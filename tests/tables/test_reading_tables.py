"""Tables are read whole, their faults are listed at once, a user's values are added."""

import pytest
from sertools.errors import ConfigError
from sertools.tables.data import Run
from sertools.tables.published import with_published

WRONG = """\
title: 5
kind: publishd
protocol: clean
colour: red
columns:
  - {name: ua, title: UA, recipe: toy, metric: UAR}
  - {name: ua, title: UA, recipe: toys, metric: UA}
  - {name: size, title: Size, computed: weight}
  - {name: none, title: None}
rows:
  - name: first
    title: First
    config: last
    options: {data_folder: /corpora, --width: 3, head: {layers: 2}}
    hours: -1
    cells:
      ua: {value: 70.5}
      wa: {value: 70.5, source: a page}
      size: {value: .inf, source: a page}
  - name: first
    title: Again
    confg: first
    results: {toy: never}
    per_recipe: {toys: {width: 2}}
    needs: [{recipe: toys, config: first}]
"""
FAULTS = [
    "p/t.yaml:4: colour: this key is unknown; did you mean columns?",
    "p/t.yaml:1: title: a text is expected; write numbers in quotes",
    "p/t.yaml:2: kind: one of published, study is expected, not 'publishd'",
    "p/t.yaml:6: columns[1].metric: results have no UAR; they have UA, WA, WF1, MF1",
    "p/t.yaml:7: columns[2].recipe: there is no recipe egs/toys",
    "p/t.yaml:7: columns[2].name: ua is there twice",
    "p/t.yaml:8: columns[3].computed: one of parameters, trainable, macs is expected",
    "p/t.yaml:9: columns[4]: either recipe and metric, or computed",
    "p/t.yaml:13: rows[1].config.toy: there is no egs/toy/hparams/last.yaml",
    "p/t.yaml:14: rows[1].options.data_folder: where data lies is no part of a table",
    "p/t.yaml:14: rows[1].options.--width: without dashes: width",
    "p/t.yaml:14: rows[1].options.head: write its keys by dots",
    "p/t.yaml:15: rows[1].hours: a number of at least 0 is expected, not -1",
    "p/t.yaml:17: rows[1].cells.ua: source is missing",
    "p/t.yaml:18: rows[1].cells.wa: this key is unknown; the keys are ua, ",
    "p/t.yaml:19: rows[1].cells.size.value: a number is expected, not inf",
    "p/t.yaml:20: rows[2]: config is missing",
    "p/t.yaml:20: rows[2].name: first is there twice",
    "p/t.yaml:22: rows[2].confg: this key is unknown; did you mean config?",
    "p/t.yaml:23: rows[2].results.toy: there is no egs/toy/results/never.json",
    "p/t.yaml:24: rows[2].per_recipe.toys: this row has no command there",
    "p/t.yaml:25: rows[2].needs[1].recipe: there is no recipe egs/toys",
    "q/: paper.yaml is missing",
    "p/broken.yaml:3: ",
    "p/twice.yaml:3: kind: is given twice",
]


def test_all_faults_of_all_files_are_listed_at_once(bench):
    bench.table.write_text(WRONG)
    (bench.papers / "q").mkdir()
    (bench.papers / "q/t.yaml").write_text("title: T\n")
    (bench.papers / "p/broken.yaml").write_text("title: A\nkind: [\n")
    (bench.papers / "p/twice.yaml").write_text("title: T\nkind: study\nkind: study\n")
    with pytest.raises(ConfigError) as caught:
        bench.registry()
    for fault in FAULTS:
        assert any(line.startswith(fault) for line in caught.value.problems), fault
    assert not any("broken.yaml" in line for line in caught.value.problems if "missing" in line)
    assert bench.main("list") == 2


def test_one_run_serves_all_columns_of_a_recipe(bench):
    table = bench.the_table()
    assert table.name == "p/t" and table.number == "2"
    assert table.runs() == [Run("toy", "first"), Run("toy", "first", (("width", "16"),)),
                            Run("toy", "broken")]
    assert table.runs(["wide"])[0].command == (
        "cd egs/toy && python run.py hparams/first.yaml --width 16")


def test_options_are_words_as_they_would_be_typed(bench):
    bench.table.write_text(bench.table.read_text().replace(
        "protocol: clean\ncolumns", "protocol: paper\ncolumns").replace(
        "options: {width: 16}", "options: {a: [1, [2, 3]], b: null, c: true, d: 1.0e-7, e: x y}\n"
        "    per_recipe: {toy: {c: false}}"))
    (run,) = bench.the_table().runs(["wide"])
    assert dict(run.options) == {"protocol": "paper", "a": "[1,[2,3]]", "b": "null", "c": "false",
                                 "d": "1.0e-07", "e": "x y"}
    assert run.inside == ("python run.py hparams/first.yaml --protocol paper --a [1,[2,3]] "
                          "--b null --c false --d 1.0e-07 --e 'x y'")


def test_a_column_may_ask_for_another_protocol(bench):
    bench.table.write_text(bench.table.read_text().replace(
        "part: test2", "options: {protocol: paper}"))
    table = bench.the_table()
    assert [dict(run.options) for run in table.runs(["first"])] == [{}, {"protocol": "paper"}]


def test_a_users_values_are_added_and_marked(bench, tmp_path, capsys, monkeypatch):
    file = tmp_path / "mine.yaml"
    file.write_text("p/t:\n  wide:\n    ua: {value: 69.1, source: my own reading}\n"
                    "  first:\n    ua: {value: 70.5, source: the same}\n")
    table = with_published(bench.registry(), file).tables[0]
    wide = table.rows[1].cells["ua"]
    assert wide.user and wide.value == 69.1 and wide.source == "my own reading"
    assert not table.rows[0].cells["ua"].user, "what comes with sertools stays"
    assert bench.main("show", "p/t", "--published", file) == 0
    out = capsys.readouterr().out
    assert "69.10*" in out and "* added by the user." in out
    monkeypatch.setenv("SERTOOLS_PUBLISHED", str(file))
    assert bench.main("list") == 0
    line = capsys.readouterr().out.splitlines()[2]
    assert line.split()[-4:] == ["4", "/", "8", "7"], "cells known of all; hours left"


@pytest.mark.parametrize("metric, value, fault", [
    ("UA", 0.705, "0.705 looks like a share; in percent it is 70.5"),
    ("UA", 705, "percent from 0 to 100 are expected, not 705"),
    ("CCC_valence", 70.5, "a value from -1 to 1 is expected, not 70.5"),
    ("MAE_valence", -0.1, "a value of at least 0 is expected, not -0.1"),
])  # fmt: skip
def test_values_keep_the_scale_of_their_column(bench, tmp_path, capsys, metric, value, fault):
    text = bench.table.read_text().replace("metric: UA, part", f"metric: {metric}, part")
    file = tmp_path / "mine.yaml"
    cell = f"{{value: {value}, source: a page}}"
    bench.table.write_text(text)
    file.write_text(f"p/t: {{first: {{second: {cell}}}}}\n")
    assert bench.main("list", "--published", file) == 2, "of a user"
    assert f"mine.yaml:1: p/t.first.second.value: {fault}" in capsys.readouterr().err
    bench.table.write_text(text.replace("    cells:\n", f"    cells:\n      second: {cell}\n", 1))
    assert bench.main("list") == 2, "and of those that come with sertools"
    assert f"rows[1].cells.second.value: {fault}" in capsys.readouterr().err


def test_a_line_that_ends_with_a_hyphen_is_refused(bench, capsys):
    bench.table.write_text(bench.table.read_text().replace(
        "columns:\n", "note: >-\n  Other toys-\n  have beaten Toy-\n  CLAP - hardly.\ncolumns:\n"))
    assert bench.main("list") == 2
    assert ("p/t.yaml:6: note: a line may not end with the hyphen of toys-: a blank would follow it"
            in capsys.readouterr().err)
    bench.table.write_text(bench.table.read_text().replace("toys-\n  have", "toys have").replace(
        "Toy-\n  CLAP -", "Toy-CLAP -\n "))
    assert bench.the_table().note == "Other toys have beaten Toy-CLAP - hardly."


def test_a_users_value_must_not_contradict(bench, tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text("p/t:\n  first:\n    ua: {value: 71, source: me}\n    wa: {value: 1}\n"
                    "  third: {}\np/u: {}\n")
    assert bench.main("list", "--published", file) == 2
    err = capsys.readouterr().err
    assert "mine.yaml:3: p/t.first.ua: 71 contradicts 70.5 (arXiv 2312.00001, table 2)" in err
    for place in ("mine.yaml:4: p/t.first.wa", "mine.yaml:5: p/t.third", "mine.yaml:6: p/u"):
        assert f"{place}: this key is unknown" in err
