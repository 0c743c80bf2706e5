"""Which stages run: in order, once, again after exactly the changes that reach them."""

import json

import pytest
from sertools.files import read_json

UNITS = ["1/1", "1/2", "2/1", "2/2"]
TRAIN = [f"train/{unit}" for unit in UNITS]
EVALUATE = [f"evaluate/{unit}" for unit in UNITS]
ALL = ["prepare", *TRAIN, *EVALUATE, "report"]


def test_everything_runs_once_in_canonical_order(toy):
    first = toy.call()
    assert first.code == 0, first.err
    assert toy.ran() == ALL
    assert first.lines[0] == f"x: {toy.config}"
    assert "stage 3 pretrain: not part of this recipe" in first.lines
    assert "stage 2 features: not part of this recipe" in first.lines
    second = toy.call()
    assert (second.code, toy.ran()) == (0, [])
    assert "stage 4 train: done" in second.lines


CHANGES = [
    # (what is replaced, by what), what runs again
    (("lr: !ref <rate>", "lr: !ref <rate> * 2"), TRAIN + EVALUATE + ["report"]),
    (("rate: 1e-3", "rate: 5e-4"), TRAIN + EVALUATE + ["report"]),
    (("width: 8", "width: 9"), TRAIN),  # the toy's weights do not change: nothing else runs
    (("OrderedDict", "UserDict"), TRAIN),
    (("beam: 1", "beam: 2"), EVALUATE + ["report"]),
    (("title: Toy", "title: Other"), ["report"]),
    (("classes: [a, b]", "classes: [b, a]"), ALL),
    (("protocol: clean", "protocol: paper"), ALL),
    (("upstream: null", "upstream: wavlm"), ["features", *TRAIN]),
    (("count: 2", "count: 1"), ["prepare", *TRAIN[:2], "report"]),
    (("seeds: [1, 2]", "seeds: [1]"), ["report"]),
    (("seeds: [1, 2]", "seeds: [1, 2, 3]"),
     ["train/1/3", "train/2/3", "evaluate/1/3", "evaluate/2/3", "report"]),
    (("workers: 0", "workers: 4"), []),
    (("# where the files are", "# moved"), []),
    (("kind: grouped, count: 2", "count: 2, kind: grouped"), []),
]


@pytest.mark.parametrize(("change", "expected"), CHANGES, ids=[str(c[0][1]) for c in CHANGES])
def test_a_changed_key_reruns_exactly_what_depends_on_it(toy, change, expected):
    toy.call()
    toy.ran()
    toy.replace(*change)
    dry = toy.call("--dry-run")
    assert toy.ran() == [] and dry.code == 0
    outcome = toy.call()
    assert outcome.code == 0, outcome.err
    ran = toy.ran()
    if change[0] == "protocol: clean":  # the same manifest: only the folds file is another one
        expected = ["prepare", *TRAIN]
    assert ran == expected
    for name in {word.split("/")[0] for word in ran}:
        assert any(line.startswith("stage") and f" {name}: will run" in line for line in dry.lines)
    assert toy.call().code == 0 and toy.ran() == []


def test_a_change_is_said_with_the_stages_that_it_reaches(toy):
    toy.call()
    toy.replace("rate: 1e-3", "rate: 5e-4")
    assert ("optim.lr: 0.001 -> 0.0005, so these stages run again: train, evaluate, report"
            in toy.call().lines)


def test_a_new_file_of_the_release_reruns_prepare(toy):
    toy.call()
    toy.ran()
    (toy.data / "two.wav").write_text("2")
    outcome = toy.call()
    assert toy.ran() == ALL
    assert "the files it reads from outside the recipe changed" in outcome.out


OUTPUTS = [
    ("data/small/utts.json", ["prepare"]),
    ("data/small/folds/clean.json", ["prepare"]),
    ("exp/x/fold1/seed2/train/train.txt", ["train/1/2"]),
    ("exp/x/fold2/seed1/evaluate/evaluate.txt", ["evaluate/2/1"]),
    ("exp/x/report/report.txt", ["report"]),
]


@pytest.mark.parametrize("how", ["deleted", "changed"])
@pytest.mark.parametrize(("path", "expected"), OUTPUTS)
def test_a_damaged_output_is_made_again(toy, path, expected, how):
    toy.call()
    toy.ran()
    file = toy.folder / path
    before = file.read_bytes()
    if how == "deleted":
        file.unlink()
    else:
        file.write_bytes(bytes([before[0] ^ 1]) + before[1:])
    outcome = toy.call()
    assert toy.ran() == expected
    assert f"{path} {'is missing' if how == 'deleted' else 'was changed'}" in outcome.out
    assert file.read_bytes() == before


def test_deleting_a_marker_redoes_the_unit_from_an_empty_folder(toy):
    toy.call()
    toy.ran()
    (toy.folder / "exp/x/fold1/seed1/train/leftover").write_text("")
    (toy.folder / "exp/x/.done/train.fold1.seed1.json").unlink()
    toy.call()
    assert toy.ran() == ["train/1/1"]
    assert not (toy.folder / "exp/x/fold1/seed1/train/leftover").exists()


def test_a_damaged_marker_counts_as_none(toy):
    toy.call()
    toy.ran()
    (toy.folder / "exp/x/.done/report.json").write_text('{"stage": "rep')
    assert toy.call().code == 0
    assert toy.ran() == ["report"]


def test_the_marker_tells_what_was_done(toy):
    toy.call()
    marker = read_json(toy.folder / "exp/x/.done/train.fold1.seed2.json")
    assert marker["stage"] == "train" and marker["unit"] == {"fold": "1", "seed": 2}
    assert marker["config"]["optim"] == {"lr": 0.001, "name": "adam"}
    assert marker["config"]["model"] == {"!new": "collections.OrderedDict", "width": 8}
    assert list(marker["inputs"]) == ["prepare"] and marker["nproc"] == 1
    assert [entry["path"] for entry in marker["outputs"]] == ["exp/x/fold1/seed2/train/train.txt"]
    assert {"git", "dirty"} <= marker["code"].keys() and "python" in marker["versions"]
    assert str(toy.folder) not in json.dumps(marker)
    config = read_json(toy.folder / "exp/x/config.json")
    assert config["optim"] == {"lr": 0.001, "name": "adam"}


def test_experiments_share_prepared_data_without_undoing_each_other(toy):
    toy.call("--stop-stage", "train")
    toy.ran()
    other = toy.call("--protocol", "paper", "--stop-stage", "train")
    assert "protocol: clean -> paper, so this stage runs again: prepare" in other.out
    assert toy.ran() == ["prepare", *TRAIN]
    assert toy.call("--stop-stage", "train").code == 0
    assert toy.call("--protocol", "paper", "--stop-stage", "train").code == 0
    assert toy.ran() == []


def test_one_stage_by_number_or_name(toy):
    toy.call()
    toy.ran()
    toy.call("--stage", "4", "--stop-stage", "train")
    assert toy.ran() == TRAIN
    toy.call("--stage=Report")
    assert toy.ran() == ["report"]
    nothing = toy.call("--stage", "pretrain", "--stop-stage", "3")
    assert (nothing.code, toy.ran()) == (0, [])


def test_a_stage_after_an_invalid_one_is_refused_unless_forced(toy):
    toy.call()
    toy.ran()
    toy.replace("rate: 1e-3", "rate: 5e-4")
    refused = toy.call("--stage", "evaluate")
    assert refused.code == 2 and toy.ran() == []
    assert "stage 4 train: optim.lr: 0.001 -> 0.0005" in refused.err
    assert "stage 4 train: optim.lr: 0.001" in toy.call("--stage", "evaluate", "--dry-run").out
    assert toy.call("--stage", "evaluate", "--force").code == 0
    assert toy.ran() == [*EVALUATE, "report"]
    toy.call()  # and what was forced is not taken for valid later
    assert toy.ran() == [*TRAIN, *EVALUATE, "report"]


def test_folds_and_seeds_select_units(toy):
    toy.call("--fold", "2", "--seed", "1")
    assert toy.ran() == ["prepare", "train/2/1", "evaluate/2/1", "report"]
    toy.call("--fold", "2")
    assert toy.ran() == ["train/2/2", "evaluate/2/2", "report"]
    toy.call("--fold", "all")
    assert toy.ran() == [*TRAIN[:2], *EVALUATE[:2], "report"]


@pytest.mark.parametrize(("words", "said"), [
    (("--fold", "9"), "--fold 9: the folds are 1, 2"),
    (("--seed", "7"), "--seed 7: the key seeds holds [1, 2]; to add this one: --seeds 1,2,7"),
])
def test_a_selection_of_nothing_is_refused(toy, words, said):
    toy.call()
    toy.ran()
    outcome = toy.call(*words)
    assert (outcome.code, toy.ran()) == (2, []) and said in outcome.err


def test_dry_run_shows_all_and_touches_nothing(toy):
    before = sorted(toy.folder.rglob("*"))
    outcome = toy.call_plain("hparams/x.yaml", "--dry-run")
    assert outcome.code == 0 and sorted(toy.folder.rglob("*")) == before
    assert "experiment folder: exp/x" in outcome.lines
    assert "the folds are known once stage prepare has run" in outcome.out
    assert "data_folder is not filled in" in outcome.out
    toy.call()
    toy.replace("beam: 1", "beam: 2")
    lines = toy.call("--dry-run").lines
    assert "stage 4 train: done" in lines
    assert ("stage 5 evaluate: will run, 4 of 4 units (fold 1 seed 1, fold 1 seed 2, "
            "fold 2 seed 1, fold 2 seed 2)") in lines
    assert "    because beam: 1 -> 2" in lines and "    reads: train" in lines


def test_a_finished_experiment_needs_no_data_folder(toy):
    toy.call()
    toy.ran()
    toy.data.rename(toy.data.with_name("elsewhere"))
    assert toy.call("--stage", "report").code == 0
    assert toy.ran() == ["report"]


def test_the_command_in_results_makes_them_again_and_names_no_folder(toy):
    toy.call("--beam", "3", "--stage", "0", "--workers", "2", "--fold", "1")
    text = (toy.folder / "exp/x_beam=3/report/report.txt").read_text()
    command = "python run.py hparams/x.yaml --data_folder DATA_FOLDER --beam 3 --fold 1"
    assert text.startswith(f"{command} 2 [('1', 1), ('1', 2)]")


def test_other_places_for_data_and_experiments(toy, tmp_path):
    places = ("--data-dir", str(tmp_path / "d"), "--exp-dir", str(tmp_path / "e"))
    assert toy.call(*places).code == 0
    assert toy.ran() == ALL
    assert (tmp_path / "d/small/utts.json").exists() and (tmp_path / "e/x/config.json").exists()
    assert not (toy.folder / "exp").exists() and not (toy.folder / "data").exists()
    assert toy.call(*places).code == 0 and toy.ran() == []


def test_shared_files_that_change_under_a_run_stop_it(toy):
    outcome = toy.run(fault="meddle@train/1/1")
    assert outcome.code == 3, outcome.err
    assert "data/small/utts.json was changed" in outcome.err
    assert toy.ran() == ["prepare", "train/1/1"]
    assert toy.call().code == 0
    assert toy.ran() == ["prepare", *TRAIN[1:], *EVALUATE, "report"]


def test_a_folder_that_cannot_be_written_is_said_without_a_traceback(toy):
    (toy.folder / "exp").write_text("a file in the way")
    outcome = toy.call()
    assert (outcome.code, toy.ran()) == (2, [])
    assert "exp/x cannot be written" in outcome.err and "--exp-dir" in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("optim", ["", "optim: null\n"])
def test_a_key_that_a_stage_needs_is_asked_for_before_anything_runs(toy, optim):
    run = toy.folder / "run.py"
    run.write_text(run.read_text().replace('keys=("optim", "model"),',
                                           'keys=("optim", "model"), needs=("optim",),'))
    toy.replace("rate: 1e-3\noptim:\n    lr: !ref <rate>\n    name: adam\n", optim)
    outcome = toy.call()
    assert (outcome.code, toy.ran()) == (2, [])
    assert "x.yaml: optim is missing or null, and stage train needs it" in outcome.err
    assert toy.call("--stop-stage", "prepare").code == 0
