"""How runs stand: the engine's own folders, results that are whole and of this configuration."""

import json
import shutil

import pytest
from sertools.files import write_json
from sertools.recipe.lock import Lock
from sertools.tables.data import Run
from sertools.tables.recipes import resolve
from sertools.tables.status import Stock, standing


@pytest.fixture
def egs(tmp_path, repository):
    """Return a folder with a copy of egs/mini."""
    shutil.copytree(repository / "hparams", tmp_path / "hparams")
    leave = shutil.ignore_patterns("data", "dump", "exp", "__pycache__")
    shutil.copytree(repository / "egs/mini", tmp_path / "egs/mini", ignore=leave)
    return tmp_path / "egs"


def results_of(repository, run, egs, **coverage):
    """Return real results with the hash of a run."""
    found = json.loads((repository / "egs/mini/results/dimensions_audio.json").read_text())
    seeds = resolve(egs, run).plan.config.values["seeds"]
    found["provenance"]["config_hash"] = resolve(egs, run).hash(seeds)
    found["coverage"] |= {"missing": [], "seeds_counted": seeds} | coverage
    return found


def test_a_run_is_missing_begun_and_done(egs, repository):
    options = sorted(resolve(egs, Run("mini", "classical")).plan.config.values["trainer"])
    key = next(name for name in options if not name.startswith("!"))
    run = Run("mini", "classical", ((f"trainer.{key}", "null"),))
    assert standing(egs, run).state == "missing"
    folder = egs / f"mini/exp/classical_trainer.{key}=null"
    (folder / ".done").mkdir(parents=True)
    assert standing(egs, run).state == "missing", "an empty folder is nothing"
    write_json(folder / ".done/train.fold1.seed1.json", {})
    assert standing(egs, run).state == "begun"

    path = folder / "report/results.json"
    write_json(path, results_of(repository, run, egs, missing=["fold 2"], units_done=1,
                                units_total=2))
    assert standing(egs, run).why == "1 of 2 folds and seeds"
    write_json(path, results_of(repository, run, egs))
    found = standing(egs, run)
    assert found.state == "done" and found.results["summary"] and found.folder == folder
    assert standing(egs, Run("mini", "classical")).state == "missing"

    text = (egs / "mini/hparams/classical.yaml").read_text()
    (egs / "mini/hparams/classical.yaml").write_text(text.replace("seeds: [", "seeds: [7, "))
    resolve.cache_clear()
    assert standing(egs, run).state == "done", "other seeds are results of the same system"
    other = results_of(repository, run, egs)
    other["provenance"]["config_hash"] = "0" * 64
    write_json(path, other)
    found = standing(egs, run)
    assert (found.state, found.why) == ("begun", "its configuration is another one now")
    path.write_text("{")
    assert standing(egs, run).state == "begun"

    lock = Lock(folder / ".lock", "python run.py")
    assert lock.acquire()
    try:
        assert standing(egs, run).state == "running"
    finally:
        lock.release()


def test_the_engine_and_the_tables_name_the_same_folder(bench):
    """The folder that a command really writes to, with options that count and that do not."""
    run = Run("toy", "first", (("width", "16"), ("device", "cpu")))
    assert resolve(bench.egs, run).plan.places.exp == bench.toy / "exp/first_width=16"
    assert bench.main("run", "p/t", "--rows", "first", "--width", "16", "--device", "cuda") == 0
    assert standing(bench.egs, run).state == "done"


def test_paths_count_from_the_recipes_folder_wherever_we_are(egs, monkeypatch, tmp_path):
    run = Run("mini", "vesper", (("pretrained", "../pretrain/exp/x/pretrain/best/encoder"),))
    tags = []
    for folder in (tmp_path, egs / "mini", egs):
        monkeypatch.chdir(folder)
        resolve.cache_clear()
        tags.append(resolve(egs, run).plan.places.tag)
    assert len(set(tags)) == 1 and "..-pretrain-exp-x-pretrain" in tags[0]


def test_results_in_the_repository_stand_in_for_a_run(bench, capsys):
    assert bench.main("run", "p/t", "--rows", "first") == 0
    (bench.toy / "results").mkdir()
    shutil.move(bench.toy / "exp/first/report/results.json", bench.toy / "results/kept.json")
    shutil.rmtree(bench.toy / "exp")
    bench.table.write_text(bench.table.read_text().replace(
        "    hours: 2\n", "    hours: 2\n    small: true\n    results: {toy: kept}\n"))
    capsys.readouterr()
    assert bench.main("show", "p/t") == 0
    out = capsys.readouterr().out
    assert "70.50; ours 72.00 [67.0, 76.0]†" in out
    assert "not comparable, a small model of ours: First." in out
    assert "in repository: First" in out
    assert bench.main("run", "p/t", "--dry-run") == 0
    assert "first.yaml\n" not in capsys.readouterr().out, "what the repository has is not left"
    row, stock = bench.the_table().rows[0], Stock(bench.egs, local=False)
    assert stock.results(row, "toy", None)["summary"]["UA"]["pooled"] == 0.72
