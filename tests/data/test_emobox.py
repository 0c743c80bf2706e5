"""EmoBox lists in the shape they are published in, slips included."""

import json

import pytest
from sertools.data.emobox import match_emobox, read_emobox
from sertools.data.folds import Folds
from sertools.data.protocol import make_folds
from sertools.errors import DataError
from sounds import corpus_records

RECORDS = corpus_records(4, sessions=False)
IDS = list(RECORDS)


def row(id, label=None):
    stem = id.partition("-")[2]
    return {"key": id, "dataset": "toy", "wav": f"downloads/toy/x/{stem}.wav", "type": "raw",
            "sample_rate": 16000, "num_frame": 16000.0, "task": "category", "length": 1.0,
            "emo": label or {"angry": "A", "calm": "C"}[RECORDS[id].label], "channel": 1}


def put(folder, number, part, rows, name="toy_{part}_fold_{number}.jsonl"):
    """Write one list; a name that ends in .json takes the other published shape."""
    path = folder / f"fold_{number}" / name.format(part=part, number=number)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        path.write_text(json.dumps({item["key"]: {
            key: item[key] for key in ("wav", "length", "emo", "dataset", "channel")}
            for item in rows}))
    else:
        path.write_text("".join(json.dumps(item) + "\n" for item in rows))


def put_folds(folder, count=2, **options):
    """Write test lists that deal the utterances out one by one (speakers mixed)."""
    for number in range(1, count + 1):
        put(folder, number, "test", [row(id) for id in IDS[number - 1::count]], **options)


@pytest.mark.parametrize("name", ["toy_{part}_fold_{number}.jsonl", "toy_{part}_fold{number}.jsonl",
                                  "toy_{part}_fold_{number}.json", "toy_{part}_fold{number}.json"])
def test_spellings(tmp_path, name):
    put_folds(tmp_path, name=name)
    folds = make_folds(RECORDS, Folds("emobox", folder="."), "paper", base=tmp_path)
    assert [fold.test for fold in folds] == [sorted(IDS[0::2]), sorted(IDS[1::2])]
    assert [fold.train for fold in folds] == [sorted(IDS[1::2]), sorted(IDS[0::2])]
    assert folds.flags == ["selected on the test fold", "speakers shared by train and test"]


def test_both_spellings_side_by_side_must_agree(tmp_path):
    put_folds(tmp_path)
    put_folds(tmp_path, name="toy_{part}_fold{number}.jsonl")
    put_folds(tmp_path, name="toy_{part}_fold_{number}.json")
    assert len(read_emobox(tmp_path).folds) == 2
    put(tmp_path, 2, "test", [row(IDS[0])], name="toy_{part}_fold2.jsonl")
    with pytest.raises(DataError, match="name different utterances"):
        read_emobox(tmp_path)


def test_clean_takes_a_dev_speaker_out_of_training(tmp_path):
    put_folds(tmp_path)
    folds = make_folds(RECORDS, Folds("emobox", folder=str(tmp_path)))
    for fold in folds:
        dev = {RECORDS[id].speaker for id in fold.dev}
        assert len(dev) == 1 and not dev & {RECORDS[id].speaker for id in fold.train}
        assert len(fold.train) + len(fold.dev) + len(fold.test) == len(RECORDS)
    assert folds.flags == ["speakers shared by train and test", "speakers shared by dev and test"]


def test_speaker_folds_carry_no_flag(tmp_path):
    for number in range(1, 5):
        own = [row(id) for id in IDS if RECORDS[id].speaker == f"s{number - 1:02d}"]
        put(tmp_path, number, "test", own)
    folds = make_folds(RECORDS, Folds("emobox", folder=str(tmp_path)))
    assert folds.flags == [] and len(folds) == 4
    for fold in folds:
        assert len({RECORDS[id].speaker for id in fold.dev}) == 1


def test_a_single_test_list_trains_on_all_others(tmp_path):
    put(tmp_path, 1, "test", [row(id) for id in IDS[:6]])
    folds = make_folds(RECORDS, Folds("emobox", folder=str(tmp_path)), "paper")
    assert folds.folds[0].train == sorted(IDS[6:]) and folds.notes == []


def test_train_and_valid_lists_are_followed(tmp_path):
    put(tmp_path, 1, "train", [row(id) for id in IDS[:10]])
    put(tmp_path, 1, "valid", [row(id) for id in IDS[10:14]])
    put(tmp_path, 1, "test", [row(id) for id in IDS[14:20]])
    for protocol in ("clean", "paper"):
        folds = make_folds(RECORDS, Folds("emobox", folder=str(tmp_path)), protocol)
        fold = folds.folds[0]
        assert (fold.train, fold.dev, fold.test) == (
            sorted(IDS[:10]), sorted(IDS[10:14]), sorted(IDS[14:20]))
        assert any("4 utterances are in no EmoBox list" in note for note in folds.notes)


def test_missing_and_extra_utterances_are_reported(tmp_path):
    put_folds(tmp_path)
    fewer = {id: RECORDS[id] for id in IDS[2:]}
    folds = make_folds(fewer, Folds("emobox", folder=str(tmp_path)))
    assert f"2 utterances of the EmoBox lists are missing, such as {IDS[0]}" in folds.flags
    more = RECORDS | {"toy-new": RECORDS[IDS[0]].__class__(id="toy-new", path="n.wav", label="calm",
                                                         speaker="s00")}
    folds = make_folds(more, Folds("emobox", folder=str(tmp_path)))
    assert "1 utterances are in no EmoBox list and stay unused, such as toy-new" in folds.notes
    assert not any("toy-new" in fold.train + fold.dev + fold.test for fold in folds)


def test_keys_match_by_stem(tmp_path):
    put(tmp_path, 1, "test", [
        row(IDS[0]) | {"key": "TOY_v2-" + IDS[0].partition("-")[2]},
        row(IDS[1]) | {"key": IDS[1].partition("-")[2]},
        row(IDS[2]) | {"key": "toy-17", "wav": f"a/{IDS[2]}.wav"}])
    matched = match_emobox(read_emobox(tmp_path), RECORDS)
    assert matched.folds["1"]["test"] == IDS[:3] and matched.missing == []


def test_ambiguous_stems_match_nothing(tmp_path):
    first, second = RECORDS[IDS[0]], RECORDS[IDS[1]]
    twins = {name: first.__class__(id=name, path=f"{name}/dia0.wav", label=record.label)
             for name, record in {"toy-dia0-train": first, "toy-dia0-test": second}.items()}
    put(tmp_path, 1, "test", [row(IDS[0]) | {"key": "toy-dia0", "wav": "train/dia0.wav"}])
    assert match_emobox(read_emobox(tmp_path), twins).missing == ["toy-dia0"]


def test_labels_that_disagree_are_flagged(tmp_path):
    put_folds(tmp_path)
    put(tmp_path, 1, "test", [row(id, "C" if id == IDS[0] else None) for id in IDS[0::2]])
    folds = make_folds(RECORDS, Folds("emobox", folder=str(tmp_path)))
    assert f"1 labels differ from those of EmoBox, such as that of {IDS[0]}" in folds.flags


@pytest.mark.parametrize("name", ["label_map.json", "label_dict.json"])
def test_label_map(tmp_path, name):
    put_folds(tmp_path)
    (tmp_path / name).write_text('{"anger": "Angry", "Neutral": "Neutral"}')
    lists = read_emobox(tmp_path)
    assert lists.common_name("anger") == "Angry"
    assert lists.common_name("neutral") == "Neutral"  # spelt so in the published lists
    assert lists.common_name("joy") is None


def test_folders_that_hold_no_lists(tmp_path):
    with pytest.raises(DataError, match="holds no fold_k"):
        read_emobox(tmp_path)
    put(tmp_path, 1, "train", [row(IDS[0])])
    with pytest.raises(DataError, match="fold 1 has no test list"):
        read_emobox(tmp_path)


@pytest.mark.parametrize("text", ["{", '{"wav": "x"}\n', "3\n", '{"key": "x"}\n[1]\n'])
def test_lists_that_cannot_be_read(tmp_path, text):
    put_folds(tmp_path)
    (tmp_path / "fold_1" / "toy_test_fold_1.jsonl").write_text(text)
    with pytest.raises(DataError, match="is not an EmoBox list"):
        read_emobox(tmp_path)


def test_lists_of_another_corpus(tmp_path):
    put(tmp_path, 1, "test", [row(IDS[0]) | {"key": "other-x", "wav": "x.wav"}])
    with pytest.raises(DataError, match="no test utterance of fold 1"):
        make_folds(RECORDS, Folds("emobox", folder=str(tmp_path)))


def test_nothing_left_to_train_on(tmp_path):
    put(tmp_path, 1, "train", [row(id) for id in IDS[:3]])
    put(tmp_path, 1, "test", [row(id) for id in IDS[:3]])
    with pytest.raises(DataError, match="fold 1 has nothing left to train on"):
        make_folds(RECORDS, Folds("emobox", folder=str(tmp_path)), "paper")


def test_other_files_beside_the_lists_are_passed_over(tmp_path):
    put_folds(tmp_path)
    (tmp_path / "fold_1" / "notes.json").write_text("[]")
    assert list(read_emobox(tmp_path).folds) == ["1", "2"]


@pytest.mark.parametrize("content", ["[1]", '{"toy-x": 3}'])
def test_json_lists_that_cannot_be_read(tmp_path, content):
    put_folds(tmp_path, name="toy_{part}_fold_{number}.json")
    (tmp_path / "fold_1" / "toy_test_fold_1.json").write_text(content)
    with pytest.raises(DataError, match="is not an EmoBox list"):
        read_emobox(tmp_path)
