"""Size and cost of the encoder: in every table and file, and absent from older results."""

import copy
import csv
import io

import pytest
from sertools.files import read_json
from sertools.report.aggregate import aggregate
from sertools.report.collect import read_results, to_csv
from sertools.report.markdown import many_experiments
from sertools.report.tables import brief_table, experiments_table
from sertools.report.terminal import print_report
from sertools.report.write import write_report

SIZE = {"parameters": 63_515_872, "macs_per_second": 4_567_000_000.0, "seconds": 10.0}


@pytest.fixture
def sized(make_units, make_meta, classes):
    """Return a function from an encoder's size to results."""

    def make(size, **facts):
        units = make_units(folds=2)
        for unit in units:
            unit.encoder = size
        return aggregate(units, classes, make_meta(folds=2, **facts))

    return make


def cells(table, system):
    (row,) = [row for row in table.rows if row[0].startswith(system)]
    return dict(zip(table.header, row, strict=True))


def test_every_file_of_an_experiment_says_it(sized, tmp_path):
    results = sized(SIZE)
    write_report(results, tmp_path)
    assert read_json(tmp_path / "results.json")["cost"]["encoder"] == SIZE
    words = "63\u202f515\u202f872 parameters; 4.57G multiply-accumulates per second of audio (10 s"
    for name in ("RESULTS.md", "report.html"):
        assert words in (tmp_path / name).read_text(encoding="utf-8"), name
    stream = io.StringIO()
    print_report(results, stream)
    assert f"Encoder: {words}" in stream.getvalue()


def test_tables_have_columns_where_something_is_known(sized):
    known = sized(SIZE, system="Sized")
    uncounted = sized({**SIZE, "macs_per_second": None, "seconds": None}, system="Whisper")
    older = copy.deepcopy(sized(None, system="Older"))
    del older["cost"]["encoder"]
    for make in (experiments_table, brief_table):
        table = make([known, uncounted, older], "t")
        found = [cells(table, name) for name in ("Sized", "Whisper", "Older")]
        assert [row["encoder"] for row in found] == ["63.52M", "63.52M", "–"]
        assert [row["MAC/s"] for row in found] == ["4.57G", "–", "–"]
        assert "encoder" not in make([older], "t").header
    assert "encoder" not in brief_table([known], "t", narrow=True).header
    assert "- encoder: its parameters; MAC/s: " in many_experiments([known, older])
    assert "MAC/s" not in many_experiments([older])


def test_spreadsheets_get_all_digits(sized):
    older = sized(None)
    del older["cost"]["encoder"]
    first, second = csv.DictReader(io.StringIO(to_csv([sized(SIZE), older])))
    assert first["encoder_parameters"] == "63515872"
    assert float(first["encoder_macs_per_second"]) == SIZE["macs_per_second"]
    assert second["encoder_parameters"] == second["encoder_macs_per_second"] == ""


def test_results_of_earlier_versions_are_still_read(repository):
    paths = sorted(repository.glob("egs/*/results/*.json"))
    assert paths
    several = read_results(paths)
    table = experiments_table(several, "t")
    assert len(table.rows) == len(paths)
