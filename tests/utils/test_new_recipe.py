"""new_recipe.py: a copy of the template under a new name, or a refusal that changes nothing."""

import importlib.util
import subprocess
import sys
import time

import pytest
from sertools.errors import ConfigError


@pytest.fixture
def script(repository):
    return repository / "utils" / "new_recipe.py"


@pytest.fixture
def tool(script):
    spec = importlib.util.spec_from_file_location("new_recipe", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def egs(tmp_path, repository):
    """Return a folder of recipes with a template that has been run once."""
    import shutil

    shutil.copytree(repository / "egs" / "TEMPLATE", tmp_path / "egs" / "TEMPLATE")
    template = tmp_path / "egs" / "TEMPLATE"
    for leftover in ("data/all/utts.json", "exp/scratch/log.txt", "dump/x", ".cache/y",
                     "__pycache__/prepare.pyc", "results.json"):
        (template / leftover).parent.mkdir(parents=True, exist_ok=True)
        (template / leftover).write_text("left over", encoding="utf-8")
    other = tmp_path / "egs" / "emodb"
    other.mkdir()
    (other / "run.py").touch()
    return tmp_path / "egs"


def test_everything_but_results_is_copied_under_the_new_name(tool, egs, repository):
    folder = tool.new_recipe("my_corpus2", egs)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    original = repository / "egs" / "TEMPLATE"
    expected = {
        str(path.relative_to(original)) for path in original.rglob("*")
        if path.is_file() and not {"data", "exp", "dump", "__pycache__"} & set(path.parts)
        and path.name not in ("RESULTS.md", "results.json", "report.html")
    }
    assert files == expected >= {"prepare.py", "run.py", "README.md", "hparams/corpus.yaml"}
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in files}
    assert not [name for name, text in texts.items() if "TEMPLATE" in text]
    assert 'NAME = "my_corpus2"' in texts["prepare.py"]
    assert "name: my_corpus2" in texts["hparams/corpus.yaml"]
    assert not list(egs.glob(".tmp*"))


def test_the_copy_prepares_a_made_up_corpus(tool, egs, tmp_path):
    folder = tool.new_recipe("mine", egs)
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "a.wav").touch()
    (tmp_path / "release" / "metadata.csv").write_text("file,label\na.wav,sad\n", encoding="utf-8")
    spec = importlib.util.spec_from_file_location("mine_prepare", folder / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    from hyperpyyaml import load_hyperpyyaml
    from sertools.data.corpus import Faults

    corpus = load_hyperpyyaml(f"corpus: !include:{folder}/hparams/corpus.yaml\n")["corpus"]
    faults = Faults()
    (record,) = module.records(tmp_path / "release", faults, **corpus.options)
    assert record.id == "mine-a" and record.id.startswith(f"{corpus.name}-") and not faults.faults
    assert corpus.class_of(record.label) == "sadness"


@pytest.mark.parametrize(
    "name", ["", "My", "my-corpus", "../x", "a/b", "1st", "_x", "a b", "TEMPLATE", "con", "ä",
             "a.b", "x" * 41, "a\n"])
def test_bad_names_are_refused_with_an_example(name, tool, egs):
    before = sorted(egs.rglob("*"))
    with pytest.raises(ConfigError, match="my_corpus") as caught:
        tool.new_recipe(name, egs)
    assert "emodb" in str(caught.value) and sorted(egs.rglob("*")) == before


def test_an_existing_recipe_is_never_touched(tool, egs):
    with pytest.raises(ConfigError, match="exists already"):
        tool.new_recipe("emodb", egs)
    assert [path.name for path in (egs / "emodb").iterdir()] == ["run.py"]


def test_a_checkout_without_template_is_named(tool, tmp_path):
    with pytest.raises(ConfigError, match="TEMPLATE"):
        tool.new_recipe("mine", tmp_path)


def test_command_line(script, egs):
    def run(*arguments):
        return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)

    made = run("mine", "--egs", str(egs))
    assert made.returncode == 0 and (egs / "mine" / "run.py").is_file()
    for words in ("mine/prepare.py", "corpus.yaml", "--stop-stage prepare", "--data_folder"):
        assert words in made.stdout
    again = run("mine", "--egs", str(egs))
    assert again.returncode == 2 and "exists already" in again.stderr and not again.stdout
    assert "Traceback" not in again.stderr
    assert run().returncode == 2


def test_help_is_quick_and_lists_the_recipes(script):
    began = time.monotonic()
    shown = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True)
    assert time.monotonic() - began < 2
    assert shown.returncode == 0 and "emodb" in shown.stdout and "TEMPLATE" in shown.stdout
