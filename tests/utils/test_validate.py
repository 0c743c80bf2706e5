"""utils/validate.py: a sound set passes, each planted fault and leak is found."""

import json

import pytest
from prepared import change, make_set, script
from sertools.data.folds import Folds, write_folds
from sertools.data.manifest import read_manifest
from sertools.data.protocol import make_folds

validate = script("validate").main
FOLDS = "folds/loso-speaker-clean.json"


@pytest.fixture
def toy(tmp_path):
    return make_set(tmp_path)


def run(toy, *options, capsys):
    code = validate([str(toy), *map(str, options)])
    said = capsys.readouterr()
    return code, said.out, said.err


def release(toy):
    return toy.parent / "release" / toy.name


def test_a_sound_set(toy, capsys):
    code, out, err = run(toy, "--folds", toy / FOLDS, "--data-folder", release(toy), capsys=capsys)
    assert (code, err) == (0, "") and out == f"{toy} is sound: 16 utterances, 0 warnings\n"


def test_without_a_data_folder_it_says_that_no_audio_was_read(toy, capsys):
    assert "no audio was read" in run(toy, capsys=capsys)[1]
    assert "no audio was read" not in run(toy, "--no-audio", capsys=capsys)[1]


@pytest.mark.parametrize("values, words", [
    ({"gender": "x"}, "gender is 'x'"),
    ({"gender": "male"}, "speaker s0: is female and male"),
    ({"duration": 0}, "duration is 0"),
    ({"duration": 9.0, "end": 1.0}, "lasts 9.0 s, longer than its segment"),
    ({"text": None}, "toy-s0_angry_1: has no text"),
    ({"label": "calm"}, "the manifest holds"),
    ({"path": "{data_root}/../x.wav"}, "leads out of the data folder"),
    ({"path": "{data_root}/wav/none.wav"}, "audio files that are missing: 1"),
    ({"path": "{data_root}/wav/s0_angry_2.wav"}, "audio that is not what was prepared"),
    ({"sample_rate": 8000}, "sample_rate 16000 instead of 8000"),
    ({"start": 0.0, "end": 7.0}, "segments outside their file: 1"),
])
def test_faults_in_the_manifest(toy, values, words, capsys):
    change(toy / "utts.json", "toy-s0_angry_1", **values)
    code, _, err = run(toy, "--data-folder", release(toy), capsys=capsys)
    assert code == 3 and words in err


def test_an_empty_text_says_that_nothing_was_said(toy, capsys):
    change(toy / "utts.json", "toy-s0_angry_1", text="")
    assert run(toy, "--no-audio", capsys=capsys)[0] == 0


def test_a_further_test_part_is_checked_as_well(toy, capsys):
    content = json.loads((toy / FOLDS).read_text())
    fold = content["folds"][0]
    shared, unknown = fold["train"][0], "toy-nobody"
    fold |= {"part": "A", "further": {"B": [shared, unknown]}}
    (toy / FOLDS).write_text(json.dumps(content))
    code, _, err = run(toy, "--folds", toy / FOLDS, "--no-audio", capsys=capsys)
    assert code == 3
    assert f"fold 1, B: {unknown} is not in the manifest" in err
    assert f"fold 1: {shared} is in both train and B" in err


def test_texts_may_be_missing_when_told(toy, capsys):
    change(toy / "utts.json", "toy-s0_angry_1", text=None)
    assert run(toy, "--no-text", "--no-audio", capsys=capsys)[0] == 0


def test_order_and_evil_ids(toy, capsys):
    content = json.loads((toy / "utts.json").read_text())
    entry = content.pop("toy-s0_angry_1")
    (toy / "utts.json").write_text(json.dumps(content | {"toy-s0_angry_1": entry,
                                                         "../../x": entry, "toy-a\nb": entry}))
    code, _, err = run(toy, "--no-audio", capsys=capsys)
    assert code == 3 and "not sorted by id" in err
    assert "'../../x': id holds a path separator" in err and "'toy-a\\nb': id holds a line" in err


@pytest.mark.parametrize("content, words", [(None, "does not exist"), ("{}", "no utterance")])
def test_nothing_there(toy, content, words, capsys):
    (toy / "utts.json").unlink()
    if content:
        (toy / "utts.json").write_text(content)
    code, _, err = run(toy, capsys=capsys)
    assert code == 3 and words in err


def test_broken_audio(toy, capsys):
    path = release(toy) / "wav/s1_calm_1.wav"
    path.write_bytes(path.read_bytes()[:-2000])
    code, _, err = run(toy, "--data-folder", release(toy), capsys=capsys)
    assert code == 3 and "audio that is cut short: 1" in err and "s1_calm_1.wav" in err


@pytest.mark.parametrize("field, words", [
    ("speaker", "speakers shared by train and test"),
    ("session", "sessions shared by train and test"),
    ("audio_hash", "recordings shared by train and test"),
])
def test_planted_leaks_are_errors(toy, field, words, capsys):
    """Fold 1 tests s0 and trains on s2 and s3; folds were made before the leak was known."""
    value = {"speaker": "s0", "session": "dialogue", "audio_hash": "00"}[field]
    for id in ("toy-s0_angry_1", "toy-s2_angry_1"):
        change(toy / "utts.json", id, **{field: value, "gender": None})
    code, _, err = run(toy, "--folds", toy / FOLDS, "--no-audio", capsys=capsys)
    assert code == 3 and words in err and "fold 1: " in err
    assert "toy-s0_angry_1" in err and "toy-s2_angry_1" in err


def test_a_planted_text_leak_is_a_warning(toy, capsys):
    for id in ("toy-s0_angry_1", "toy-s2_angry_1"):
        change(toy / "utts.json", id, text="the same words")
    code, out, _ = run(toy, "--folds", toy / FOLDS, "--no-audio", capsys=capsys)
    assert code == 0 and "texts shared by train and test, such as that of toy-s2_angry_1" in out
    assert "the same words" not in out


def test_leaks_that_the_folds_file_declares_are_warnings(toy, capsys):
    for id in ("toy-s0_angry_1", "toy-s2_angry_1"):
        change(toy / "utts.json", id, session="dialogue")
    content = json.loads((toy / FOLDS).read_text())
    content["flags"] = [f"sessions shared by {pair}" for pair in
                        ("train and test", "train and dev", "dev and test")]
    (toy / FOLDS).write_text(json.dumps(content))
    code, out, _ = run(toy, "--folds", toy / FOLDS, "--no-audio", capsys=capsys)
    assert code == 0 and "sessions shared by train and test (the folds file says so)" in out


def test_equal_audio_is_a_warning(toy, capsys):
    for id in ("toy-s0_angry_1", "toy-s0_angry_2"):
        change(toy / "utts.json", id, audio_hash="00")
    code, out, _ = run(toy, "--no-audio", capsys=capsys)
    assert code == 0 and "the same audio: toy-s0_angry_1, toy-s0_angry_2" in out


@pytest.mark.parametrize("edit, words", [
    (lambda fold: fold["train"].append("toy-gone"), "toy-gone is not in the manifest"),
    (lambda fold: fold["train"].append(fold["train"][0]), "stands there 2 times"),
    (lambda fold: fold["train"].append(fold["test"][0]), "is in both train and test"),
    (lambda fold: fold["dev"].append(fold["test"][0]), "is in both dev and test"),
    (lambda fold: fold["dev"].clear(), "fold 1, dev: is empty"),
])
def test_folds_that_do_not_fit(toy, edit, words, capsys):
    content = json.loads((toy / FOLDS).read_text())
    edit(content["folds"][0])
    (toy / FOLDS).write_text(json.dumps(content))
    code, _, err = run(toy, "--folds", toy / FOLDS, "--no-audio", capsys=capsys)
    assert code == 3 and words in err


def test_utterances_tested_twice_are_a_warning(toy, capsys):
    content = json.loads((toy / FOLDS).read_text())
    content["folds"].append(content["folds"][0] | {"name": "5"})
    (toy / FOLDS).write_text(json.dumps(content))
    code, out, _ = run(toy, "--folds", toy / FOLDS, "--no-audio", capsys=capsys)
    assert code == 0 and "4 utterances are tested in more than one fold" in out


def test_many_faults_are_capped(tmp_path, capsys):
    toy = make_set(tmp_path, speakers=12)
    content = json.loads((toy / "utts.json").read_text())
    (toy / "utts.json").write_text(json.dumps(
        {id: entry | {"text": None} for id, entry in content.items()}))
    code, _, err = run(toy, "--no-audio", capsys=capsys)
    assert code == 3 and "utterances without a text: 48" in err and "... and 28 more" in err
    assert err.count("toy-s") == 20


def test_a_missing_folds_file(toy, capsys):
    code, _, err = run(toy, "--folds", toy / "folds/x.json", "--no-audio", capsys=capsys)
    assert code == 3 and "there is no folds file" in err


def test_unlabelled_utterances_in_folds(toy, capsys):
    change(toy / "utts.json", "toy-s0_angry_1", label=None)
    (toy / "summary.json").unlink()
    code, _, err = run(toy, "--folds", toy / FOLDS, "--no-audio", capsys=capsys)
    assert code == 3 and "toy-s0_angry_1 has no label" in err


def test_folds_selected_on_test_are_accepted_as_declared(toy, capsys):
    folds = make_folds(read_manifest(toy / "utts.json"), Folds(), "paper")
    path = write_folds(toy / "folds/paper.json", folds)
    assert run(toy, "--folds", path, "--no-audio", capsys=capsys)[0] == 0
    content = json.loads(path.read_text()) | {"flags": []}
    path.write_text(json.dumps(content))
    code, _, err = run(toy, "--folds", path, "--no-audio", capsys=capsys)
    assert code == 3 and "is in both dev and test" in err


def test_equal_audio_is_listed_up_to_twenty_groups(tmp_path, capsys):
    toy = make_set(tmp_path, speakers=12)
    for number, id in enumerate(read_manifest(toy / "utts.json")):
        change(toy / "utts.json", id, audio_hash=f"{number // 2:02d}")
    assert "... and 4 more groups of equal audio" in run(toy, "--no-audio", capsys=capsys)[1]
