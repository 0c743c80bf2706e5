"""What tables show and write: published beside ours, apart where they do not compare."""

import csv
import io
import re
import shutil
import subprocess

import pytest
from sertools.report.tables import Table as Sheet
from sertools.tables import read_registry
from sertools.tables.latex import escaped, latex_table
from sertools.tables.render import written
from sertools.tables.status import Stock
from sertools.tables.view import view

SIZES = """\
title: Sizes
kind: published
columns:
  - {name: parameters, title: "parameters, M", computed: parameters}
  - {name: macs, title: MMAC per second, computed: macs}
rows:
  - {name: vesper4, title: Vesper-4, config: null, preset: vesper4,
     cells: {parameters: {value: 63.52, source: a page}}}
  - {name: wavlm, title: WavLM Base, config: null, preset: wavlm_base,
     cells: {parameters: {value: 94.70, source: a page}}}
"""


@pytest.fixture
def made(bench):
    """Return a bench whose runs are all done."""
    assert bench.main("run", "p/t", *bench.data()) == 0
    return bench


def entries_of(bench):
    found = view(bench.the_table(), Stock(bench.egs))
    return found, found.entries


def test_ours_stand_beside_the_published(made, capsys):
    found, entries = entries_of(made)
    first = entries["first", "ua"]
    assert first.ours.pooled == pytest.approx(72.0)
    assert first.difference == pytest.approx(71.0 - 70.5), "over folds, as the published value"
    assert entries["first", "second"].ours.pooled == pytest.approx(36.0), "another test part"
    assert entries["first", "second"].difference is None
    assert found.known() == (3, 5)
    broken = entries["broken", "ua"]
    assert broken.difference is None and broken.apart == (
        "published with the protocol paper, ours with clean")
    capsys.readouterr()
    assert made.main("show", "p/t") == 0
    out = capsys.readouterr().out
    assert "p/t, table 2: Toys, 100 % wood" in out
    lines = [re.split(r"  +", line.strip()) for line in out.splitlines()]
    assert ["First", "70.50; ours 72.00 [67.0, 76.0], folds 71.00",
            "—; ours 36.00 [67.0, 76.0]"] in lines
    assert ["First", "Toy_UA", "70.50", "72.00 [67.0, 76.0]", "71.00 ± 2.00", "1.00", "+0.50",
            "here"] in lines
    assert ("Differences: our mean over folds less the published value, which is one; a cell has "
            "it behind folds.") in out
    assert "Sources: arXiv 2312.00001, table 2." in out
    beside, alone = out.index("Ours beside the published"), out.index("\nOurs\n")
    assert beside < alone < out.rindex("First, wide  Toy_UA"), "nothing is published beside it"
    assert ["Broken", "Toy_UA", "81.00", "50.00 [45.0, 54.0]", "49.00 ± 2.00", "1.00", "†",
            "here"] in lines
    assert ["Others' system, 50 %", "66.25 ± 1.50", "—"] in lines
    assert "—: of 8 published values 5 are unknown." in out
    assert "† not comparable, published with the protocol paper, ours with clean: Broken." in out
    assert ("  done: First, wide\n      cd egs/toy && python run.py hparams/first.yaml --width 16\n"
            in out), "a command is on one line, to be copied"


def test_list_counts_rows_cells_and_hours(bench, capsys):
    def line():
        capsys.readouterr()
        assert bench.main("list", "--paper", "p") == 0
        out = capsys.readouterr().out
        return re.split(r"  +", out.splitlines()[2])[2:], out

    cells, out = line()
    assert cells == ["published", "2", "0 / 3", "3 / 8", "7"]
    assert ("Total: 1 tables, 3 different runs; 0 done, 3 left, 7 GPU hours." in out)
    text = bench.table.read_text().replace("title: Toys", "title: Again")
    (bench.papers / "p/u.yaml").write_text(text.replace("{width: 16}", "{width: 24}"))
    bench.main("run", "p/t", "--rows", "first")
    cells, out = line()
    assert cells == ["published", "2", "1 / 3", "3 / 8", "5"]
    assert ("Total: 2 tables, 4 different runs; 1 done, 3 left, 6 GPU hours." in out), (
        "what tables share counts once: broken 4, wide 1 and 1")
    assert bench.main("list", "--paper", "q") == 2


def test_a_small_model_stands_only_where_it_has_something_to_say(bench):
    bench.table.write_text(bench.table.read_text() + "  - {name: tiny, title: Tiny, small: true, "
                           "config: null}\n")
    found = view(bench.the_table(), Stock(bench.egs))
    assert "tiny" not in [row.name for row in found.rows]
    assert "others" in [row.name for row in found.rows], "what others published may be unknown"


def test_values_of_our_own_are_not_counted_as_published(bench):
    text = bench.table.read_text().replace("rows:\n", "  - {name: share, title: Share, own: true}"
                                           "\nrows:\n", 1)
    bench.table.write_text(text.replace("      ua: {value: 70.5",
                                        "      share: {value: 0.5, source: drawn here}\n"
                                        "      ua: {value: 70.5"))
    found = view(bench.the_table(), Stock(bench.egs))
    assert found.entries["first", "share"].published.value == 0.5
    assert found.known() == (3, 5), "as without it"


def test_a_command_that_recipes_share_is_told_once(bench, capsys):
    shutil.copytree(bench.toy, bench.egs / "doll")
    text = bench.table.read_text().replace(
        "rows:\n", "  - {name: doll, title: Doll, recipe: doll, metric: UA}\nrows:\n", 1)
    bench.table.write_text(text)
    assert bench.main("show", "p/t") == 0
    out = capsys.readouterr().out
    assert out.count("hparams/first.yaml --width 16") == 1
    assert "cd egs/{toy,doll} && python run.py hparams/first.yaml --width 16" in out
    bench.main("run", "p/t", "--rows", "first")
    capsys.readouterr()
    shutil.rmtree(bench.egs / "doll/exp")
    bench.main("show", "p/t")
    out = capsys.readouterr().out
    assert "  done: First\n      cd egs/toy && python run.py hparams/first.yaml\n" in out
    assert "  missing: First\n      cd egs/doll && python run.py hparams/first.yaml\n" in out


def test_counted_columns_are_compared(bench, capsys):
    (bench.papers / "p/sizes.yaml").write_text(SIZES)
    assert bench.main("show", "p/sizes") == 0
    out = capsys.readouterr().out
    assert "63.52; counted 63.52 (63,515,872), exact" in out
    assert "94.70; counted 94.38 (94,381,936), differs" in out
    assert "differs −0.32" in out and "5,615.4" in out


def test_csv_has_all_digits(made, capsys):
    capsys.readouterr()
    assert made.main("write", "p/t", "--format", "csv") == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(lines) == 8
    first, other = lines[0], lines[6]
    assert (first["row"], first["column"], first["state"]) == ("first", "ua", "done")
    assert float(first["ours"]) == 100 * 0.72 and first["published"] == "70.5"
    assert first["source"] == "arXiv 2312.00001, table 2" and first["user"] == "no"
    assert first["command"] == "cd egs/toy && python run.py hparams/first.yaml"
    assert other["published_std"] == "1.5" and other["ours"] == other["command"] == ""


def test_latex_prints_every_sign_as_it_is(made, tmp_path):
    out = tmp_path / "deep/t.tex"
    assert made.main("write", "p/t", "--format", "latex", "--out", out) == 0
    text = out.read_text()
    assert r"\caption{p/t, table 2: Toys, 100 \% wood}" in text
    assert r"system & Toy\_UA \\" in text and r"system & Toy UA (test2) \\" in text
    assert r"Others' system, 50 \% & 66.25 $\pm$ 1.50 \\" in text
    assert r"[45.0, 54.0]\dag{}" in text
    assert text.count(r"\begin{") == text.count(r"\end{") == 4
    assert not re.search(r"(?<!\\)%(?! Made)|[—±†−]", text)
    assert escaped('1 < 2 | "x"') == "1 $<$ 2 $|$ ''x''"
    assert escaped("a_b & 50 % $x$ #1 {y} \\z ~^") == (
        r"a\_b \& 50 \% \$x\$ \#1 \{y\} \textbackslash{}z \textasciitilde{}\textasciicircum{}")


def test_latex_of_a_large_table_is_in_parts_that_fit():
    rows = [[f"a system with a name of many words, {n}", *["84.34; ours 72.00 [67.0, 76.0]"] * 4]
            for n in range(50)]
    header = ["system", *(f"a long heading of several words, {n}" for n in range(4))]
    text = latex_table("p/t", Sheet("Large", header, rows), ["of 200 values none is known"])
    parts = text.split("\n\n")
    assert len(parts) == 12, "four blocks of a column, each of 100 lines on three pages"
    assert text.count(r"\label{tab:p-t}") == text.count(r"\caption{Large}") == 1
    assert text.count(r"\addtocounter{table}{-1}") == text.count(r"\caption[]{Large, cont") == 11
    assert all(f"name of many words, {n} &" in text for n in range(50))
    assert text.count("ours 72.00") == 200 and r"\shortstack[r]{a long heading of several\\" in text
    assert all(len(row.split(" & ")) == 2 for row in text.splitlines() if row.endswith(r" \\"))
    assert "none is known" in parts[-1] and "none is known" not in parts[0]


def compiled(folder, name):
    """Compile a document of one table and return LaTeX's log."""
    (folder / f"main-{name}.tex").write_text(
        rf"\documentclass{{article}}\begin{{document}}\input{{{name}}}\end{{document}}")
    done = subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error",
                           f"main-{name}.tex"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    return (folder / f"main-{name}.log").read_text(errors="replace")


has_latex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")


@has_latex
def test_latex_compiles(made, tmp_path):
    made.main("write", "p/t", "--format", "latex", "--out", tmp_path / "t.tex")
    compiled(tmp_path, "t")


@has_latex
@pytest.mark.slow
def test_every_table_compiles_and_fits_the_page(repository, tmp_path):
    stock = Stock(repository / "egs", local=False)
    for table in read_registry(repository / "egs").tables:
        name = table.name.replace("/", "-")
        (tmp_path / f"{name}.tex").write_text(written([view(table, stock)], "latex"))
        log = compiled(tmp_path, name)
        assert "Overfull" not in log and "too large" not in log, table.name
        assert "Missing character" not in log, table.name


def test_a_recipes_own_page(made, capsys):
    out = made.toy / "TABLES.md"
    assert made.main("write", "--recipe", "toy", "--out", out) == 0
    text = out.read_text()
    assert "# Tables of toy" in text and "## p/t, table 2: Toys, 100 % wood" in text
    assert "| First | 70.50; ours 72.00 [67.0, 76.0], folds 71.00 |" in text
    assert made.main("write", "--recipe", "toys") == 2
    assert made.main("write") == made.main("write", "p/t", "--recipe", "toy") == 2
    assert "name a table, or a recipe" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_told(bench, capsys):
    (bench.root / "file").touch()
    for out, why in ((bench.root, "Is a directory"), (bench.root / "file/t.md", "")):
        assert bench.main("write", "p/t", "--out", out) == 2
        err = capsys.readouterr().err
        assert f"{out} cannot be written: {why}" in err and "another file with --out" in err
    assert bench.main("matrix", "--out", bench.root / "file/m.md") == 2
    assert "m.md cannot be written" in capsys.readouterr().err


def test_folders_that_are_not_there_are_told(bench, capsys):
    for option in ("--egs", "--papers"):
        assert bench.tool.main(["list", option, "/nowhere"]) == 2
        assert "there is no such folder\n  - /nowhere" in capsys.readouterr().err


def test_marked_sections_are_made_again(bench, capsys):
    page = bench.toy / "PAGE.md"
    page.write_text("# Mine\n\n<!-- table: p/t -->\nold\n<!-- end of table -->\n\nkept\n")
    assert bench.main("pages", "--check") == 1
    assert f"{page} is out of date" in capsys.readouterr().out
    assert "old" in page.read_text()
    assert bench.main("pages") == 0
    text = page.read_text()
    assert text.startswith("# Mine\n\n<!-- table: p/t -->\n\n| system | command | Toy_UA |")
    assert text.endswith("<!-- end of table -->\n\nkept\n") and "old" not in text
    assert ("| First, wide | `python run.py hparams/first.yaml --width 16` | — | — |") in text
    assert "| Others' system, 50 % | — | 66.25 ± 1.50 | — |" in text
    assert bench.main("pages", "--check") == 0
    bench.main("run", "p/t", "--rows", "first")
    assert bench.main("pages", "--check") == 0, "runs of one machine are not in pages"
    bench.table.write_text(bench.table.read_text().replace("70.5", "70.7"))
    assert bench.main("pages", "--check") == 1
    page.write_text("<!-- table: p/u -->\n<!-- end of table -->\n<!-- table: p/t -->\n")
    capsys.readouterr()
    assert bench.main("pages") == 2
    err = capsys.readouterr().err
    assert "p/u: there is no such table" in err and "has no line <!-- end of table -->" in err


def test_the_matrix_says_what_is_done_and_left(bench, capsys):
    assert bench.main("matrix", "--check") == 1
    assert bench.main("matrix") == 0 and bench.main("matrix", "--check") == 0
    text = (bench.egs / "README.md").read_text()
    assert "| corpus | Toy & sons |" in text and "| [toy](#toy) | 0 / 3 |" in text
    assert ("* left: **First, wide** (p/t)<br>`python run.py hparams/first.yaml --width 16`"
            ) in text
    assert "| p/t | 2 | Toys, 100 % wood | 4 | 0 / 3 | toy |" in text
    bench.main("run", "p/t", "--rows", "first")
    assert bench.main("matrix", "--check") == 0
    assert bench.main("matrix", "--local", "--out", bench.root / "m.md") == 0
    assert "| 1 / 3 |" in (bench.root / "m.md").read_text()


def test_a_row_of_our_own_has_no_unknown_published_values(bench, capsys):
    bench.table.write_text(bench.table.read_text().replace(
        "    title: First, wide\n", "    title: First, wide\n    own: true\n", 1))
    bench.main("show", "p/t")
    assert "—: of 6 published values 3 are unknown." in capsys.readouterr().out


def test_unknown_names_and_options_are_refused_in_words(bench, capsys):
    assert bench.main("show", "p/u") == 2
    assert "p/u: there is no such table" in capsys.readouterr().err
    assert bench.main("show", "p/tt") == 2
    assert "is it p/t?" in capsys.readouterr().err
    assert bench.main("show", "t", "--colour") == 2
    assert "these options are unknown: --colour" in capsys.readouterr().err
    assert bench.main("show", "t") == 0, "a table's own name is enough where it is one's alone"
