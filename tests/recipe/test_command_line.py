"""The command line: quick, light, and clear about what it does not understand."""

import re
import subprocess
import sys
import time

import pytest
from sertools.errors import ConfigError
from sertools.recipe import options, places
from sertools.recipe.config import Config
from sertools.recipe.stage import NAMES, Stage, number_of

HEAVY = ("torch", "numpy", "soundfile", "sklearn", "speechbrain", "transformers")
LIGHT = """\
import runpy, sys
sys.argv = ["run.py", *sys.argv[1:]]
try:
    runpy.run_path("run.py", run_name="__main__")
finally:
    print("heavy:", [name for name in {heavy} if name in sys.modules])
"""


@pytest.mark.parametrize("words", [
    ["--help"], ["--list-stages"], ["hparams/x.yaml", "--list-stages"],
    ["hparams/x.yaml", "--dry-run"], [],
])
def test_looking_is_quick_and_imports_nothing_heavy(toy, words):
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", LIGHT.format(heavy=HEAVY), *words],
                          cwd=toy.folder, env=toy.environment, capture_output=True, text=True)
    assert time.monotonic() - begun < 2
    assert done.returncode == (0 if words else 2), done.stderr
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_list_stages_names_all_of_them(toy):
    lines = toy.call_plain("--list-stages").lines
    assert [line.split()[:2] for line in lines] == [[str(n), name] for n, name in enumerate(NAMES)]
    assert lines[2] == "2 features  features"
    with_config = toy.call("--list-stages").lines
    assert with_config[2] == "2 features  not part of this recipe"  # without an upstream


def test_help_names_every_option(toy):
    text = toy.call_plain("--help").out
    known = {name.replace("_", "-") for name in options.SWITCHES + options.VALUES}
    assert known <= set(re.findall(r"--([a-z-]+)", text))


BAD = [
    ((), "which config?"),
    (("hparams/y.yaml",), "hparams/y.yaml: this config was not found"),
    (("hparams/x.yaml", "more"), "more: the config is the only plain argument"),
    (("hparams/x.yaml", "-f", "--beam=2"), "-f: options begin with two dashes (--f)"),
    (("hparams/x.yaml", "--beam"), "--beam needs a value"),
    (("hparams/x.yaml", "--beam", "--seed", "1"), "--beam needs a value"),
    (("hparams/x.yaml", "--stage", "9"), "--stage 9: no such stage"),
    (("hparams/x.yaml", "--stage", "trian"), "no such stage; did you mean train?"),
    (("hparams/x.yaml", "--stage", "5", "--stop-stage", "4"), "nothing between them"),
    (("hparams/x.yaml", "--nproc", "0"), "--nproc 0: a whole number is expected"),
    (("hparams/x.yaml", "--seed", "x"), "--seed x: a whole number is expected"),
    (("hparams/x.yaml", "--fold", "../1"), "--fold ../1: this is not the name of a fold"),
    (("hparams/x.yaml", "--force=1"), "--force takes no value"),
    (("hparams/x.yaml", "--bean", "1"), "--bean: x.yaml has no such key; did you mean beam?"),
    (("hparams/x.yaml", "--optim.lrr", "1"), "did you mean optim.lr?"),
    (("hparams/x.yaml", "--model.depth", "1"), "--model.depth: x.yaml has no such key"),
]


@pytest.mark.parametrize(("words", "said"), BAD)
def test_what_is_not_understood_is_refused_with_code_2(toy, words, said):
    before = sorted(toy.folder.rglob("*"))
    outcome = toy.call_plain(*words)
    assert outcome.code == 2 and said in outcome.err
    assert sorted(toy.folder.rglob("*")) == before


def test_the_configs_of_the_recipe_are_named(toy):
    assert "hparams/x.yaml" in toy.call_plain().err


def test_several_mistakes_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        options.parse(["a", "b", "--stage", "x", "--nproc", "y"])
    assert len(caught.value.problems) == 3


def test_dashes_equal_underscores_and_the_last_value_counts(toy):
    outcome = toy.call_plain("hparams/x.yaml", "--data-folder", str(toy.data), "--beam=7",
                             "--stop_stage", "prepare", "--beam", "5")
    assert outcome.code == 0 and outcome.lines[0].startswith("x_beam=5: ")


def test_the_recipe_runs_from_anywhere_and_stays_in_its_folder(toy, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, str(toy.folder / "run.py"), "hparams/x.yaml", "--data_folder",
         "../release"], cwd=elsewhere, env=toy.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(elsewhere.iterdir()) == [] and (toy.folder / "exp/x/report").is_dir()


def test_a_config_of_the_repository_is_found(toy):
    shared = toy.folder.parent.parent / "hparams"
    shared.mkdir()
    toy.config.rename(shared / "shared.yaml")
    outcome = toy.call_plain("shared.yaml", "--dry-run")
    assert outcome.lines[0] == f"shared: {shared / 'shared.yaml'}"


@pytest.mark.parametrize(("settings", "tag"), [
    ({}, "c"), ({"a": "1"}, "c"), ({"a": "2"}, "c_a=2"), ({"b.y": "z", "a": "2"}, "c_a=2_b.y=z"),
    ({"seeds": "4"}, "c"), ({"free": "3"}, "c"), ({"through": "3"}, "c_through=3"),
    ({"list": "1,2"}, "c_list=1,2"), ({"a": "null"}, "c_a=null"),
    ({"b.y": "z", "b": "null"}, "c_b=null_b.y=null"),
])
def test_the_tag_names_what_changes_results(tmp_path, settings, tag):
    assert _tag(tmp_path, settings) == tag


def test_a_tag_is_short_safe_and_unambiguous(tmp_path):
    slash, colon = _tag(tmp_path, {"b.y": "p/q"}), _tag(tmp_path, {"b.y": "p:q"})
    assert slash != colon and slash.startswith("c_b.y=p-q_") and "/" not in slash
    long = [_tag(tmp_path, {"b.y": "v" * 200 + end}) for end in "12"]
    assert long[0] != long[1] and max(map(len, long)) < 100


def _tag(folder, settings):
    (folder / "c.yaml").write_text("a: 1\nb: {x: !ref <through>, y: w}\nfree: 1\nthrough: 2\n"
                                   "list: [1]\nseeds: [1]\n")
    config = Config(folder / "c.yaml", settings, folder)
    assert not config.problems
    stages = [Stage("train", print, "", keys=("a", "b", "list", "seeds"), runtime=("free",))]
    return places.tag_of(config, stages)


def test_stages_have_numbers_and_names():
    assert [number_of(name, "--stage") for name in NAMES] == list(range(8))
    assert number_of("5", "--stage") == number_of(" Evaluate", "--stage") == 5


def test_a_stage_sees_only_what_it_declares(toy):
    text = (toy.folder / "run.py").read_text()
    for old, new, said in [
        ('job.config["upstream"]', 'job.config["optim"]', "reads the key optim but does not"),
        ('job.config["upstream"]', 'job.config.get("optim")', "reads the key optim but does not"),
        ('job.config["upstream"]', 'job.build("model")', "reads the key model but does not"),
        ('job.config["upstream"]', 'job.outputs_of("train")', "does not declare it; add it to its "
                                                              "`after`"),
        ('job.config["upstream"]', 'job.folder_of("report")', "reads stage report but does not"),
    ]:
        (toy.folder / "run.py").write_text(text.replace(old, new))
        outcome = toy.call("--upstream", "x", "--stop-stage", "features")
        assert outcome.code == 1 and said in outcome.err
