"""The three files agree, are made again byte by byte, and need nothing but themselves."""

import re
from html.parser import HTMLParser

import pytest
from sertools.files import read_json
from sertools.report.aggregate import aggregate
from sertools.report.text import system
from sertools.report.write import write_report

VOID = {"meta"}


class Page(HTMLParser):
    """Collect the text, tables and tags of a page; complain about tags that do not match."""

    def __init__(self, text: str):
        super().__init__()
        self.rows, self.open, self.names, self.attributes = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


@pytest.fixture
def written(make_units, make_meta, classes, tmp_path):
    """Return results and the folder that they were written to."""
    units = make_units(folds=3, seeds=(1, 2))
    meta = make_meta(folds=5, seeds=(1, 2), flags=["selected on <test>"], warnings=["A subset."])
    results = aggregate(units, classes, meta)
    write_report(results, tmp_path)
    return results, tmp_path


def _markdown_rows(text: str) -> list[list[str]]:
    rows = [line for line in text.splitlines() if line.startswith("|") and ":--" not in line]
    cells = [re.split(r"(?<!\\)\|", row)[1:-1] for row in rows]
    return [[re.sub(r"\\(.)", r"\1", cell).strip() for cell in row] for row in cells]


def test_numbers_are_those_of_results_json(written):
    _, folder = written
    stored = read_json(folder / "results.json")
    markdown = _markdown_rows((folder / "RESULTS.md").read_text(encoding="utf-8"))
    page = Page((folder / "report.html").read_text(encoding="utf-8")).rows
    for name, row_name in (("UA", "UA (unweighted accuracy)"), ("MF1", "Macro F1")):
        entry = stored["summary"][name]
        expected = [
            f"{100 * entry['pooled']:.2f} [{100 * entry['low']:.1f}, {100 * entry['high']:.1f}]",
            f"{100 * entry['std_over_seeds']:.2f}",
            f"{100 * entry['mean_over_folds']:.2f} ± {100 * entry['std_over_folds']:.2f}",
            f"{100 * stored['chance'][name]:.2f}",
        ]
        assert [row_name, *expected] in markdown
        assert [row_name, *expected] in [row[:5] for row in page]
    for unit in stored["units"]:
        start = [unit["fold"], str(unit["seed"]), "60", "2", f"{100 * unit['UA']:.2f}"]
        assert start in [row[:5] for row in markdown]
        assert start in [row[:5] for row in page]
    for index, name in enumerate(stored["classes"]):
        shown = next(row for row in markdown if row[0] == name and "(" in row[1])
        assert [int(cell.split()[0]) for cell in shown[1:]] == stored["confusion"][index]


def test_every_cell_of_the_markdown_is_in_the_page(written):
    _, folder = written
    text = (folder / "report.html").read_text(encoding="utf-8")
    rows = Page(text).rows
    for row in _markdown_rows((folder / "RESULTS.md").read_text(encoding="utf-8")):
        if row[0] == "reference \\ answer" or "%)" in row[1]:
            continue  # the page draws the confusion matrix
        assert row in [shown[: len(row)] for shown in rows]


def test_made_again_is_byte_equal(written, make_units, make_meta, classes, tmp_path):
    results, folder = written
    names = ("RESULTS.md", "results.json", "report.html")
    first = [(folder / name).read_bytes() for name in names]
    units = make_units(folds=3, seeds=(1, 2))
    meta = make_meta(folds=5, seeds=(1, 2), flags=["selected on <test>"], warnings=["A subset."])
    write_report(aggregate(units, classes, meta), tmp_path / "again")
    assert [(tmp_path / "again" / name).read_bytes() for name in names] == first
    write_report(read_json(folder / "results.json"), tmp_path / "reread")
    assert [(tmp_path / "reread" / name).read_bytes() for name in names] == first


def test_page_needs_nothing_but_itself_and_escapes_names(written):
    _, folder = written
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.names)
    assert not {"src", "href", "onload", "onclick"} & {name for name, _ in page.attributes}
    assert "url(" not in text
    assert "@import" not in text
    assert "http" not in text
    assert "Small &lt;Net&gt; &amp; Co" in text
    assert "<Net>" not in text
    assert "selected on &lt;test&gt;" in text
    assert "/a &amp; b" in text
    assert page.names.count("svg") == 4 + 5


def test_what_limits_the_numbers_is_said_in_both(written):
    _, folder = written
    for name in ("RESULTS.md", "report.html"):
        text = (folder / name).read_text(encoding="utf-8")
        assert "PARTIAL RESULT: 6 of 10 units" in text
        assert "folds 1, 2, 3 of 5 with seeds 1, 2 only" in text
        assert "NOT COMPARABLE" in text
        assert "A subset." in text
        assert "deadbeef with uncommitted changes" in text
        assert "bootstrap draws over 6 speakers" in text


def test_dimensions_and_units_without_history(dimensional_units, make_meta, tmp_path):
    results = aggregate(dimensional_units, [], make_meta(folds=2))
    write_report(results, tmp_path)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    entry = results["summary"]["CCC_valence"]
    cell = f"{entry['pooled']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}]"
    assert ["CCC valence", cell] in [row[:2] for row in page.rows]
    assert cell in (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert page.names.count("svg") == 4


def test_system_without_probabilities_or_epochs(make_units, make_meta, classes, tmp_path):
    from sertools.scoring.unit import score_unit

    units = make_units(folds=2, history=False)
    for unit in units:
        for item in unit.test:
            item.probabilities = None
        unit.scores = score_unit([], unit.test, classes)
        unit.dev, unit.seconds, unit.parameters = [], None, None
    write_report(aggregate(units, classes, make_meta(folds=2)), tmp_path)
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "this system gives no probabilities" in text
    Page((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_one_speaker_and_one_epoch_and_many_classes(make_units, make_meta, classes, tmp_path):
    unit = make_units(folds=1)[0]
    for item in [*unit.test, *unit.dev]:
        item.speaker = "only"
        item.probabilities += [0.0] * 4
    unit.history = unit.history[:1]
    more = [*classes, "a very long name of a class", "x", "y", "z"]
    results = aggregate([unit], more, make_meta(folds=1))
    write_report(results, tmp_path)
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "No 95 % interval: one speaker only" in text
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    Page(page)
    assert "no reference" in page


def test_an_experiment_is_named_by_what_differs():
    command = ("python run.py hparams/probe.yaml --data_folder DATA_FOLDER --seeds 1,2 "
               "--trainer.lr 0.1 --upstream.source ../pretrain/exp/small/pretrain/best/encoder")
    results = {"experiment": {"system": "probe"}, "provenance": {"command": command}}
    assert system(results) == "probe lr=0.1 upstream.source=…/small/pretrain/best/encoder"
    assert system({**results, "provenance": {"command": "python run.py hparams/x.yaml"}}) == "probe"
