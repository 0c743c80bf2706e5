"""What stands below tables and in empty cells: warnings of results, notes, sources."""

import csv
import io
import json

import pytest
from sertools.tables.remarks import remarks
from sertools.tables.status import Stock
from sertools.tables.view import view

HEARD = "the encoder was pretrained on this corpus's audio, without labels"
MIXED = "speakers are on both sides"
NOTE = "which epoch is unknown, 50 % sure"
FORMS = [("show",), ("write", "--format", "markdown"), ("write", "--format", "latex")]


@pytest.fixture
def made(bench):
    """Return a bench whose runs are all done; two results warn, one is flagged, a cell is noted."""
    assert bench.main("run", "p/t", *bench.data()) == 0
    for tag, flags, warnings in (("first", [], [HEARD]), ("first_width=16", [], [HEARD]),
                                 ("broken", [MIXED], [])):
        path = bench.toy / "exp" / tag / "report/results.json"
        results = json.loads(path.read_text())
        results["protocol"] |= {"flags": flags, "warnings": warnings,
                                "in_domain_pretraining": bool(warnings)}
        path.write_text(json.dumps(results))
    bench.table.write_text(bench.table.read_text().replace(
        'ua: {value: 66.25, std: 1.5, source: "arXiv 2312.00001, table 2"',
        f'ua: {{value: 66.25, std: 1.5, source: a page, note: "{NOTE}"'))
    return bench


@pytest.mark.parametrize("words", FORMS, ids=lambda words: words[-1])
def test_every_form_has_warnings_notes_and_sources(made, capsys, words):
    capsys.readouterr()
    assert made.main(words[0], "p/t", *words[1:]) == 0
    out = capsys.readouterr().out
    percent = r"50 \% sure" if words[-1] == "latex" else "50 % sure"
    assert out.count(f"toy (First; First, wide): {HEARD}.") == 1, "one line of all its rows"
    assert out.count(f"toy (Broken): {MIXED}.") == 1
    assert percent in out and out.count("which epoch is unknown") == 1
    assert "Sources: arXiv 2312.00001, table 2; a page." in out


def test_what_all_results_say_names_no_rows(made):
    path = made.toy / "exp/broken/report/results.json"
    results = json.loads(path.read_text())
    results["protocol"]["warnings"] = [f"{HEARD}."]
    path.write_text(json.dumps(results).replace(f"{HEARD}.", HEARD))
    assert f"All of ours: {HEARD}." in remarks(view(made.the_table(), Stock(made.egs)))


def test_columns_of_different_settings_are_told_apart(made):
    made.table.write_text(made.table.read_text().replace(
        "part: test2}", "options: {width: 24}}", 1))
    assert made.main("run", "p/t", "--rows", "first") == 0
    told = remarks(view(made.the_table(), Stock(made.egs)))
    assert f"Toy_UA (First; First, wide); Toy UA (test2) (First, wide): {HEARD}." in told


def test_csv_has_protocols_notes_flags_and_both_scores(made, capsys):
    capsys.readouterr()
    assert made.main("write", "p/t", "--format", "csv") == 0
    lines = {(line["row"], line["column"]): line
             for line in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    first, broken, others = (lines[row, "ua"] for row in ("first", "broken", "others"))
    assert float(first["ours"]) == 100 * 0.72 and float(first["mean_over_folds"]) == 100 * 0.71
    assert float(first["difference"]) == pytest.approx(71.0 - 70.5)
    assert (first["published_protocol"], first["our_protocol"]) == ("clean", "clean")
    assert (first["warnings"], first["flags"], first["in_domain_pretraining"]) == (HEARD, "", "yes")
    assert (broken["published_protocol"], broken["our_protocol"]) == ("paper", "clean")
    assert (broken["flags"], broken["in_domain_pretraining"]) == (MIXED, "no")
    assert (others["note"], others["source"], others["our_protocol"]) == (NOTE, "a page", "")


def test_a_study_has_no_unknown_published_values(bench, capsys):
    bench.table.write_text(bench.table.read_text().replace("kind: published", "kind: study")
                           .replace("    cells:\n      ua: {value: 70.5, source: \"arXiv "
                                    "2312.00001, table 2\"}\n", ""))
    assert bench.main("run", "p/t", "--rows", "first") == 0
    found = view(bench.the_table(), Stock(bench.egs))
    assert found.known() == (2, 0)
    capsys.readouterr()
    assert bench.main("write", "p/t") == 0
    out = capsys.readouterr().out
    assert "are unknown" not in out and "—" not in out
    assert "| First | 72.00 [67.0, 76.0] | 36.00 [67.0, 76.0] |" in out
    assert "| First, wide | not run | not run |" in out
    assert "| Others' system, 50 % | 66.25 ± 1.50 |  |" in out, "no command, and nothing to know"
    assert bench.main("list") == 0
    assert capsys.readouterr().out.splitlines()[2].split()[4:7] == ["wood", "study", "2"]


def test_a_column_of_ours_has_no_unknown_published_values(bench, capsys):
    bench.table.write_text(bench.table.read_text().replace(
        "part: test2}", "own: true, options: {width: 24}}", 1))
    assert view(bench.the_table(), Stock(bench.egs)).known() == (3, 1)
    bench.table.write_text(bench.table.read_text().replace(
        "      ua: {value: 70.5", "      second: {value: 70.5", 1))
    assert bench.main("list") == 2
    assert "rows[1].cells.second: this key is unknown" in capsys.readouterr().err
