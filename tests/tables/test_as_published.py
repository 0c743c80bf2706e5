"""The second table, by the paper's own protocol: made from the first, held to what it may say."""

from pathlib import Path

import pytest
from sertools.errors import ConfigError
from sertools.tables import Run, read_registry

SECOND = """\
published_protocol: paper
as_published:
  note: All toys on both sides.
  options:
    toy: {protocol: paper, width: 4}
columns:
"""
EGS = Path(__file__).resolve().parents[2] / "egs"


def with_second(bench, **changes):
    text = bench.table.read_text().replace("columns:\n", SECOND, 1)
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new, 1)
    bench.table.write_text(text)
    return {table.name: table for table in bench.registry().tables}


def test_rows_take_its_options_unless_they_give_their_own(bench):
    tables = with_second(bench, own=("    options: {width: 16}\n",
                                     "    options: {width: 16}\n"
                                     "    options_as_published: {seeds: 7}\n"))
    first, second = tables["p/t"], tables["p/t_as_published"]
    assert (second.protocol, second.published_protocol, second.number) == ("paper", "paper", "2")
    assert second.note == "All toys on both sides." and first.note is None
    column = second.columns[0]
    rows = {row.name: row for row in second.rows}
    assert rows["first"].run(column) == Run("toy", "first", (("protocol", "paper"), ("width", "4")))
    wide = rows["wide"].run(column)
    assert dict(wide.options) == {"width": "16", "protocol": "paper", "seeds": "7"}
    assert rows["others"].run(column) is None
    assert rows["others"].cells == first.rows[3].cells
    assert [row.run(column).options for row in first.rows[:2]] == [(), (("width", "16"),)]


def test_its_values_compare_where_those_of_the_first_do_not(bench, capsys):
    with_second(bench)
    assert bench.main("run", "p/t", "--rows", "first") == 0
    assert bench.main("run", "p/t_as_published", "--rows", "first") == 0
    capsys.readouterr()
    bench.main("show", "p/t")
    apart = "published with the protocol paper, ours with clean"
    assert apart in capsys.readouterr().out
    bench.main("show", "p/t_as_published")
    assert apart not in capsys.readouterr().out


def test_a_users_values_reach_it(bench, tmp_path):
    from sertools.tables.published import with_published

    with_second(bench)
    file, registry = tmp_path / "mine.yaml", bench.registry()
    file.write_text("p/t_as_published: {broken: {second: {value: 55, source: mine}}}\n"
                    "p/t: {wide: {ua: {value: 69.1, source: mine}}}\n")
    cells = {table.name: {row.name: row.cells for row in table.rows}
             for table in with_published(registry, file).tables}
    for name in ("p/t", "p/t_as_published"):
        assert cells[name]["wide"]["ua"].value == 69.1 and cells[name]["wide"]["ua"].user
    assert cells["p/t_as_published"]["broken"]["second"].value == 55
    assert "second" not in cells["p/t"]["broken"], "given for the second alone"
    file.write_text("p/t_as_published: {wide: {ua: {value: 68, source: mine}}}\n"
                    "p/t: {wide: {ua: {value: 69.1, source: mine}}}\n")
    with pytest.raises(ConfigError) as caught:
        with_published(registry, file)
    assert caught.value.problems == ["mine.yaml:1: p/t_as_published.wide.ua: 68 contradicts 69.1, "
                                     "which you give for p/t; it holds for both"]


@pytest.mark.parametrize("wrong, fault", [
    (("toy: {protocol: paper, width: 4}", "toy: {width: 4}"), "protocol: paper is expected among"),
    (("toy: {protocol: paper, width: 4}", "toys: {protocol: paper}"), "toy is missing"),
    (("  note: All toys on both sides.\n", ""), "note is missing"),
    (("published_protocol: paper\n", ""), "beside published values of the protocol paper"),
])  # fmt: skip
def test_what_it_must_say(bench, wrong, fault):
    with pytest.raises(ConfigError) as caught:
        with_second(bench, wrong=wrong)
    assert any(fault in line for line in caught.value.problems), caught.value.problems


def test_a_row_says_nothing_of_a_table_that_is_not_there(bench):
    bench.table.write_text(bench.table.read_text().replace(
        "    hours: 2\n", "    hours: 2\n    options_as_published: {width: 4}\n", 1))
    with pytest.raises(ConfigError) as caught:
        bench.registry()
    assert any("first: a key of _as_published without" in line for line in caught.value.problems)


def test_a_row_may_take_another_configuration_without_its_own_options(bench):
    """What fits the row's own configuration does not fit the other one."""
    own = ("    options: {width: 16}\n    hours: 1\n", """\
    options: {width: 16}
    per_recipe: {toy: {device: cpu}}
    config_as_published: broken
    per_recipe_as_published: {toy: {score: 0.25}}
    hours_as_published: 7
    hours: 1
""")
    tables = with_second(bench, own=own)
    column = tables["p/t"].columns[0]
    first, second = ({row.name: row for row in tables[name].rows}
                     for name in ("p/t", "p/t_as_published"))
    assert first["wide"].run(column) == Run("toy", "first", (("width", "16"), ("device", "cpu")))
    assert second["wide"].run(column) == Run(
        "toy", "broken", (("protocol", "paper"), ("width", "4"), ("score", "0.25")))
    assert (first["wide"].hours, second["wide"].hours, second["first"].hours) == (1, 7, 2)


@pytest.mark.parametrize("line, fault", [
    ("config_as_published: absent", "there is no egs/toy/hparams/absent.yaml"),
    ("config_as_published: {toys: first}", "no column has this recipe"),
    ("per_recipe_as_published: {toys: {width: 4}}", "this row has no command there"),
])  # fmt: skip
def test_another_configuration_must_be_there(bench, line, fault):
    with pytest.raises(ConfigError) as caught:
        with_second(bench, own=("    hours: 2\n", f"    hours: 2\n    {line}\n"))
    assert any(fault in found for found in caught.value.problems), caught.value.problems


def test_rows_of_others_have_no_other_configuration(bench):
    with pytest.raises(ConfigError) as caught:
        with_second(bench, own=("    config: null\n",
                                "    config: null\n    config_as_published: first\n"))
    assert any("this row has no command there" in found
               for found in caught.value.problems), caught.value.problems


def test_vespers_second_table_trains_as_its_released_code_does():
    (table,) = (each for each in read_registry(EGS).tables
                if each.name == "vesper/main_as_published")
    for row in table.rows:
        runs = table.runs_of(row)
        assert {run.recipe for run in runs} == {"iemocap", "meld", "cremad"}
        for run in runs:
            assert run.config == "vesper_released" and "upstream.source" not in dict(run.options)
            assert "trainer.encoder.source" in dict(run.options)


def test_every_command_of_the_shipped_ones_takes_the_protocol_paper():
    tables = [table for table in read_registry(EGS).tables if table.protocol == "paper"]
    assert len(tables) >= 9
    for table in tables:
        for run in table.runs():
            assert dict(run.options)["protocol"] == "paper", (table.name, run.command)
