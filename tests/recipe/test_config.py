"""Configurations: every fault is told, all at once; values keep their types; nothing runs."""

import collections

import pytest
from sertools.recipe import Stage, check
from sertools.recipe.config import Config

FAULTS = {
    "unknown key": ("beam: 1", "beam: 1\nbeem: 2",
                    "hparams/x.yaml:14: beem: no stage reads this key; did you mean beam?"),
    "dangling reference": ("!ref <rate>", "!ref <rates>",
                           "hparams/x.yaml:8: optim.lr: !ref <rates>: there is no such key; "
                           "did you mean rate?"),
    "reference with a dot": ("title: Toy", "title: !ref <optim.lr>",
                             "!ref <optim.lr>: there is no such key; write <optim[lr]>"),
    "circle": ("title: Toy", "title: !ref <title>", "title: !ref <title>: refers to itself"),
    "missing include": ("title: Toy", "title: !include:no/such.yaml",
                        "hparams/x.yaml:14: !include:no/such.yaml: there is no such file; the "
                        "path counts from hparams"),
    "include of itself": ("title: Toy", "title: !include:x.yaml",
                          "hparams/x.yaml:14: !include:x.yaml includes itself"),
    "duplicate key": ("title: Toy", "title: Toy\nbeam: 3",
                      "hparams/x.yaml:15: the key beam is given twice (first in line 13)"),
    "inner duplicate": ("name: adam", "name: adam\n    lr: 3",
                        "hparams/x.yaml:10: the key lr is given twice (first in line 8)"),
    "syntax": ("title: Toy", "title: [Toy", "hparams/x.yaml:15: this is not YAML"),
    "apply": ("title: Toy", "title: !apply:os.getcwd []",
              "hparams/x.yaml:14: the tag !apply:os.getcwd is refused (it runs code"),
    "applyref": ("title: Toy", "title: !applyref:os.getcwd []", "!applyref:os.getcwd is refused"),
    "module": ("title: Toy", "title: !module:os", "the tag !module:os is refused"),
    "python tag": ("title: Toy", "title: !!python/object/apply:os.getcwd []",
                   "the tag !!python/object/apply:os.getcwd is refused (it runs code"),
    "unknown tag": ("title: Toy", "title: !nwe:os.path", "!nwe:os.path is refused (unknown)"),
    "placeholder": ("beam: 1", "beam: !PLACEHOLDER",
                    "hparams/x.yaml:13: beam is not filled in, and stage evaluate reads it; give "
                    "--beam VALUE or write it there"),
    "inner placeholder": ("name: adam", "name: !PLACEHOLDER", "optim.name is not filled in"),
    "no such class": ("OrderedDict", "OrderdDict",
                      "hparams/x.yaml:10: model: !new:collections.OrderdDict: there is no such "
                      "class or function; did you mean OrderedDict?"),
    "no such module": ("collections.OrderedDict", "no_such.module.Thing",
                       "!new:no_such.module.Thing: there is no such class or function (there is "
                       "no no_such.module either)"),
    "unknown argument": ("collections.OrderedDict\n    width", "fractions.Fraction\n    numerater",
                         "it has no argument numerater; did you mean numerator?"),
    "missing argument": ("collections.OrderedDict\n    width: 8",
                         "types.SimpleNamespace\n    a: !new:textwrap.dedent",
                         "model.a: !new:textwrap.dedent: this is not a class; write !name:"),
    "too many": ("collections.OrderedDict\n    width: 8", "fractions.Fraction [1, 2, 3, 4]",
                 "it takes at most 2 arguments, 4 are given"),
    "arithmetic": ("title: Toy", "title: !ref <beam> / 0", "division by zero"),
    "seeds": ("seeds: [1, 2]", "seeds: [1, 1]", "a list of different whole numbers is expected"),
    "flag as key": ("title: Toy", "title: Toy\nseed: 3",
                    "the key seed is taken by the option --seed; use the list seeds"),
    "set": ("set: small", "set: ../small", "corpus.set: ../small: it names a folder"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_refused_in_words_and_nothing_is_touched(toy, fault):
    old, new, said = FAULTS[fault]
    toy.replace(old, new)
    outcome = toy.call()
    assert outcome.code == 2, outcome.out
    assert said in outcome.err and "Traceback" not in outcome.err
    assert toy.ran() == [] and not (toy.folder / "exp").exists()


def test_missing_arguments_are_told(toy):
    toy.replace("collections.OrderedDict\n    width: 8", "calendar.different_locale")
    assert "the argument locale is missing" in toy.call().err


def test_all_faults_are_told_at_once(toy):
    for name in ("unknown key", "dangling reference", "missing include", "apply",
                 "unknown argument", "duplicate key"):
        old, new, _ = FAULTS[name]
        if old in toy.config.read_text() and name not in ("apply", "duplicate key"):
            toy.replace(old, new)
    toy.config.write_text(toy.config.read_text() + "seeds: [3]\nworkers2: !apply:os.getcwd []\n")
    toy.data.rename(toy.data.with_name("gone"))
    outcome = toy.call("--beems", "3", "--optim.name", "sgd", "--folds.count", "many")
    assert outcome.code == 2
    for said in ("the key seeds is given twice", "!apply:os.getcwd is refused",
                 "!ref <rates>", "no/such.yaml", "beem: no stage reads this key",
                 "--beems: x.yaml has no such key; did you mean beem?",
                 "--folds.count many: a number is expected (the file says 2)",
                 "numerater", "there is no such folder, and stage prepare reads it",
                 "workers2: no stage reads this key"):
        assert said in outcome.err
    assert "(11 problems); nothing was touched" in outcome.err


def test_only_stages_that_will_run_are_asked_for(toy):
    toy.call()
    toy.replace("OrderedDict", "OrderdDict")
    assert toy.call("--dry-run").code == 0  # a dry run imports nothing
    assert toy.call("--stop-stage", "prepare").code == 0
    assert toy.call().code == 2


@pytest.fixture
def config(tmp_path):
    """Return a function from text and overrides to a configuration."""

    def load(text, **settings):
        (tmp_path / "c.yaml").write_text(text)
        named = {key.replace("__", "."): value for key, value in settings.items()}
        return Config(tmp_path / "c.yaml", named, tmp_path)

    return load


TYPES = [
    # (in the file, on the command line, result)
    ("5", "7", 7), ("5", "2.5", 2.5), ("1e-4", "5e-5", 5e-5), ("0.1", "1", 1.0),
    ("true", "false", False), ("false", "True", True), ("adam", "5", "5"),
    ("adam", "true", "true"), ("adam", "a=b: c", "a=b: c"), ("adam", "1e-4", "1e-4"),
    ("adam", "it's #1 {x}", "it's #1 {x}"), ("'5'", "6", "6"), ("yes", "no", "no"),
    ("null", "3", 3), ("null", "text", "text"), ("null", "1e-3", 1e-3), ("null", "[1]", [1]),
    ("[1, 2]", "[3]", [3]), ("[1, 2]", "3,4", [3, 4]), ("[a]", "b, 1e-2", ["b", 1e-2]),
    ("[1]", "[]", []), ("!PLACEHOLDER", "/a b/c", "/a b/c"), ("!PLACEHOLDER", "12", "12"),
    ("5", "null", None), ("adam", "null", None), ("-3", "-4", -4), ("adam", "", ""),
    ("adam", "<x>", "<x>"), ("!new:collections.Counter", "null", None),
]


@pytest.mark.parametrize(("default", "text", "value"), TYPES, ids=map(str, range(len(TYPES))))
def test_a_value_gets_the_type_of_the_one_it_replaces(config, default, text, value):
    loaded = config(f"x: {default}\n", x=text)
    assert loaded.problems == []
    assert loaded.values["x"] == value and type(loaded.values["x"]) is type(value)
    assert loaded.build("x") == value


@pytest.mark.parametrize(("default", "text", "said"), [
    ("5", "five", "a number is expected"), ("true", "1", "true or false is expected"),
    ("{a: 1}", "3", "this is a section"), ("[1]", "[1", "this is not a list"),
    ("[1]", "[!apply:os.getcwd []]", "tags are not allowed"),
    ("!new:collections.Counter", "x", "this is a section"),
])
def test_a_value_that_does_not_fit_is_refused(config, default, text, said):
    loaded = config(f"x: {default}\n", x=text)
    assert len(loaded.problems) == 1 and said in loaded.problems[0]


INCLUDED = """\
!new:collections.OrderedDict
lr: 1e-3
rate: !ref <lr>
inner: !include:inner.yaml
deep: {a: 1, b: 2}
"""


@pytest.fixture
def nested(tmp_path, config):
    (tmp_path / "blocks").mkdir()
    (tmp_path / "blocks" / "t.yaml").write_text(INCLUDED)
    (tmp_path / "blocks" / "inner.yaml").write_text("!new:collections.OrderedDict\nsize: 4\n")
    return config


def test_overrides_reach_into_included_files_and_objects(nested):
    text = "base: 3\nt: !include:blocks/t.yaml\nu: !include:blocks/t.yaml\n"
    loaded = nested(text, t__lr="5e-3", t__inner__size="9", t__deep__b="7")
    assert loaded.problems == []
    built = loaded.build("t")
    assert built == {"lr": 5e-3, "rate": 5e-3, "inner": {"size": 9}, "deep": {"a": 1, "b": 7}}
    assert isinstance(built["inner"], collections.OrderedDict)
    assert loaded.values["u"]["lr"] == 1e-3 and loaded.values["u"]["inner"]["size"] == 4


def test_a_file_overrides_what_it_includes_and_the_command_line_beats_it(nested):
    text = ("base: 3\nt: !include:blocks/t.yaml\n    lr: !ref <base> * 2\n    deep: {b: 5}\n"
            "    inner: {size: !ref <base>}\n")
    loaded = nested(text)
    assert loaded.problems == []
    assert loaded.values["t"]["lr"] == loaded.values["t"]["rate"] == 6
    assert loaded.values["t"]["deep"] == {"a": 1, "b": 5}
    assert loaded.values["t"]["inner"] == {"!new": "collections.OrderedDict", "size": 3}
    beaten = nested(text, t__lr="1", t__deep__b="8", t__deep__a="0")
    assert beaten.problems == []
    assert beaten.values["t"]["rate"] == 1 and beaten.values["t"]["deep"] == {"a": 0, "b": 8}


def test_references_share_objects_and_reach_into_includes(nested):
    text = ("a: !new:collections.Counter\nb: {x: !ref <a>, y: !ref <a>, z: !copy <a>}\n"
            "t: !include:blocks/t.yaml\nc: !ref <t[deep][b]>\nd: !ref <c>-x\n")
    loaded = nested(text)
    assert loaded.problems == []
    built = loaded.build("b")
    assert built["x"] is built["y"] and built["z"] is not built["x"]
    assert loaded.values["c"] == 2 and loaded.values["d"] == "2-x"


def test_anchors_of_two_files_do_not_mix(tmp_path, config):
    (tmp_path / "one.yaml").write_text("p: &x {v: 1}\nq: *x\n")
    loaded = config("p: &x {v: 2}\ni: !include:one.yaml\nq: *x\nr: {<<: *x, w: 3}\n")
    assert loaded.problems == []
    assert loaded.values["q"] == {"v": 2} and loaded.values["i"]["q"] == {"v": 1}
    assert loaded.values["r"] == {"v": 2, "w": 3}


def test_faults_of_included_files_name_that_file(tmp_path, config):
    (tmp_path / "one.yaml").write_text("p: 1\nq: !ref <z>\np: 2\n")
    problems = config("i: !include:one.yaml\n").problems
    assert any("one.yaml:3: the key p is given twice" in text for text in problems)
    assert any("one.yaml:2: q: !ref <z>" in text for text in problems)


def test_further_arguments_complete_an_object(config):
    loaded = config("m: !new:fractions.Fraction\n  numerator: 3\nn: !name:fractions.Fraction\n")
    assert loaded.build("m", denominator=4) == loaded.build("n", numerator=3, denominator=4)
    assert loaded.build("missing") is None


def test_keys_read_through_other_keys_are_known_and_hashed(config):
    loaded = config("a: 1\nb: !ref <a>\nc: 2\n")
    stage = Stage("train", print, "", keys=("b",))
    assert [text.split(": ")[1] for text in check.keys(loaded, [stage])] == ["c"]
    assert loaded.reached(["b"]) == {"a", "b"}


def test_a_relative_data_folder_counts_from_the_recipe_or_from_here(config, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert config("data_folder: d\n").values["data_folder"] == str(tmp_path / "d")
    given = config("data_folder: d\n", data_folder="e")
    assert given.values["data_folder"] == str(tmp_path / "here" / "e")


def test_relative_paths_count_from_the_recipe_or_from_here(config, tmp_path, monkeypatch):
    """What begins with ./ or ../ is a path; a hub's id is not."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    text = "u: {source: ../other/exp, hub: a/b, list: [./x]}\nv: 1\n"
    built = config(text).build("u")
    assert built == {"source": str(tmp_path.parent / "other/exp"), "hub": "a/b",
                     "list": [str(tmp_path / "x")]}
    given = config(text, u__source="./mine")
    assert given.values["u"]["source"] == "./here/mine"
    assert given.build("u")["source"] == str(tmp_path / "here/mine")


def test_keys_that_look_like_numbers_stay_texts_where_an_include_is_changed(tmp_path, config):
    (tmp_path / "one.yaml").write_text('labels: {"08": a, "01": b}\n')
    loaded = config('i: !include:one.yaml\n  labels: {"08": c}\n')
    assert loaded.build("i") == {"labels": {"01": "b", "08": "c"}}
