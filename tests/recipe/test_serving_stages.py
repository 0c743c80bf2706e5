"""Stages that serve one other, are shared by experiments, or do something before their units."""

import contextlib
import io
import json
import shutil

import pytest
from sertools.recipe import Recipe, Stage

CONFIG = """\
corpus: {set: small}
cache: true
learner: {width: 1, rate: 1}
given: null
user: 1
"""


@pytest.fixture
def toy(tmp_path):
    """Return a recipe: prepare -> cache (for learn) -> learn (shared) -> use, once per fold."""
    ran: list[str] = []

    def leave(job, name, *parts):
        ran.append(name)
        path = job.folder / f"{name}.txt"
        path.write_text(" ".join(map(str, parts)))
        return [path]

    def prepare(job):
        folds = job.home / "folds" / "clean.json"
        folds.parent.mkdir(parents=True, exist_ok=True)
        folds.write_text(json.dumps({"folds": [{"name": "1"}, {"name": "2"}]}))
        return [folds, *leave(job, "prepare", job.config["corpus"])]

    def cache(job):
        (job.dump).mkdir(exist_ok=True)
        (job.dump / "cache").write_text(str(job.config["learner"]["width"]))
        leave(job, "cache")
        return [job.dump / "cache"]

    def learn(job):
        for path in job.outputs_of("features"):
            assert path.read_text() == str(job.config["learner"]["width"])
        return leave(job, "learn", job.config["learner"])

    def use(job):
        return leave(job, "use", *[path.read_text() for path in job.outputs_of("pretrain")])

    def learns(config):
        return config.get("learner") is not None and config.get("given") is None

    recipe = Recipe(tmp_path / "run.py", stages=[
        Stage("prepare", prepare, "", keys=("corpus",), home="data"),
        Stage("features", cache, "", keys=("cache", "learner", "given"), after=("prepare",),
              when={"prepare": lambda config: False}, serves=lambda config: "pretrain",
              requires=lambda config: learns(config) and config["cache"],
              narrow=lambda values: {"width": values["learner"]["width"]}),
        Stage("pretrain", learn, "", keys=("learner",), runtime=("given",), after=("features",),
              when={"features": lambda config: False}, requires=learns, home="shared"),
        Stage("train", use, "", keys=("user", "given"), after=("prepare", "pretrain"), units=True,
              first=lambda job: ran.append(f"first {job.fold}")),
    ])
    config = tmp_path / "x.yaml"
    config.write_text(CONFIG)

    def run(*words, code=0):
        """Run the recipe; return which functions were called."""
        ran.clear()
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            assert recipe.run([str(config), *words]) == code, said.getvalue()
        run.said = said.getvalue()
        return list(ran)

    run.folder = tmp_path
    run()
    return run


UNITS = ["first 1", "use", "first 2", "use"]


def test_all_of_it_runs_once(toy):
    shutil.rmtree(toy.folder / "exp")
    assert toy() == ["cache", "learn", *UNITS]
    assert toy() == []


def test_what_serves_something_done_is_not_missed(toy):
    shutil.rmtree(toy.folder / "dump")
    assert toy() == []
    (toy.folder / "exp/x/pretrain/learn.txt").unlink()
    assert toy() == ["cache", "learn"]


@pytest.mark.parametrize(("words", "expected"), [
    (("--learner.rate", "2"), ["cache", "learn", *UNITS]),  # another experiment, another folder
    (("--user", "2"), UNITS),
    (("--given", "x"), UNITS),
    (("--corpus.set", "large"), ["prepare", *UNITS]),
])
def test_an_override_of_others_shares_what_is_shared(toy, words, expected):
    assert toy(*words) == expected
    assert toy(*words) == [] and toy() == []


def test_only_what_counts_enters_a_marker(toy):
    config = toy.folder / "x.yaml"
    config.write_text(CONFIG.replace("rate: 1", "rate: 2"))
    assert toy() == ["learn", *UNITS]
    config.write_text(CONFIG.replace("width: 1", "width: 2"))
    assert toy() == ["cache", "learn", *UNITS]
    config.write_text(CONFIG.replace("width: 1", "width: 2").replace("small", "small, more: 1"))
    assert "learn" not in toy()


def test_a_new_key_that_is_null_changes_nothing(toy):
    marker = toy.folder / "exp/x/.done/train.fold1.seed1.json"
    content = json.loads(marker.read_text())
    assert content["config"] == {"given": None, "user": 1}
    del content["config"]["given"]
    marker.write_text(json.dumps(content))
    assert toy() == []


def test_a_configuration_that_asks_for_nothing_is_refused(tmp_path):
    config = tmp_path / "x.yaml"
    config.write_text("learner: null\n")
    recipe = Recipe(tmp_path / "run.py", stages=[
        Stage("pretrain", lambda job: [], "", keys=("learner",), requires="learner")])
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        assert recipe.run([str(config)]) == 2
    assert "asks for none of this recipe's stages: pretrain" in said.getvalue()
