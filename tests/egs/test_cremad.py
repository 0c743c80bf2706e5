"""CREMA-D: names, tables beside them, odd copies, and the two divisions."""

import csv
import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest
import trees
import trees_cremad
from hyperpyyaml import load_hyperpyyaml
from sertools.data.flags import TESTED
from sertools.data.manifest import read_manifest
from sertools.data.prepare import prepare_manifest
from sertools.data.protocol import make_folds
from sertools.data.record import Record
from sertools.data.votes import distributions, map_votes
from sertools.errors import DataError

EGS = Path(__file__).resolve().parents[2] / "egs"
LETTERS = dict(zip("ADFHNS", trees_cremad.EMOTIONS, strict=True))
PARTS = {"train": 4573, "dev": 1476, "test": 1393}


def declared(**changes):
    text = f"folds: !include:{EGS / 'cremad/hparams/folds.yaml'}\n"
    return load_hyperpyyaml(text, overrides={"folds": changes} if changes else None)["folds"]


def prepare(root, load_prepare, corpus):
    folder = root.parent / "data"
    summary = prepare_manifest(load_prepare("cremad").records, corpus, root, folder, lambda _: None)
    return summary, read_manifest(folder / "utts.json")


# ------------------------------------------------------------------------------------- names


def test_fields_follow_the_name_and_the_tables(tmp_path, collect):
    stems = trees_cremad.cremad(tmp_path, (1001, 1020), write=trees.name_only)
    found, faults = collect("cremad", tmp_path)
    assert sorted(found) == sorted(stems) and not faults.faults and not faults.dropped
    assert len(found) == 164
    high = found["1020_IEO_FEA_HI"]
    assert (high.id, high.path) == ("cremad-1020_IEO_FEA_HI", "AudioWAV/1020_IEO_FEA_HI.wav")
    assert (high.label, high.speaker, high.gender) == ("FEA", "1020", "female")
    assert (high.text, high.language) == ("It's eleven o'clock", "en")
    assert (high.tags["level"], high.tags["sentence"], high.tags["age"]) == ("high", "IEO", "40")
    assert found["1001_WSI_NEU_XX"].text == "We'll stop in a couple of minutes"
    assert found["1001_WSI_NEU_XX"].tags["level"] == "unspecified"
    assert found["1001_WSI_NEU_XX"].gender == "male"
    levels = Counter(record.tags["level"] for record in found.values())
    assert levels == {"low": 10, "medium": 10, "high": 10, "unspecified": 134}
    assert len({record.text for record in found.values()}) == 12


def test_votes_are_those_of_the_voice_alone_and_ties_stay(tmp_path, collect):
    stems = trees_cremad.cremad(tmp_path, (1003,), write=trees.name_only)
    found, _ = collect("cremad", tmp_path)
    ties = 0
    for stem in stems:
        votes = trees_cremad.votes_of(stem)
        assert found[stem].tags["votes"] == ";".join(
            f"{LETTERS[k]}={v}" for k, v in votes.items() if v)
        best = [letter for letter in "ADFHNS" if votes[letter] == max(votes.values())]
        assert found[stem].tags["voice"] == ":".join(best)
        ties += len(best) > 1
    assert 0 < ties < len(stems)


def test_a_folder_of_recordings_alone_leaves_the_rest_unknown(tmp_path, collect, load_corpus,
                                                              load_prepare):
    trees_cremad.cremad(tmp_path / "r", (1001, 1076), ("TIE",), folder=".", tables=False)
    found, faults = collect("cremad", tmp_path / "r")
    assert not faults.faults and found["1001_TIE_ANG_XX"].path == "1001_TIE_ANG_XX.wav"
    assert {record.gender for record in found.values()} == {None}
    assert found["1001_TIE_ANG_XX"].tags == {"sentence": "TIE", "level": "unspecified"}
    counts = load_corpus("cremad").counts | {  # the clip without sound is among them
        "total": 13, "speaker": 2, "label": dict.fromkeys(trees_cremad.EMOTIONS, 2) | {"SAD": 3}}
    summary, manifest = prepare(tmp_path / "r", load_prepare, load_corpus("cremad", counts=counts))
    assert len(manifest) == 12 and summary["skipped"] == {"audio files that are missing": 1}
    assert "no speaker's gender is known" in summary["warnings"]


def test_the_clip_without_sound_is_left_out_whatever_is_there(tmp_path, load_prepare, load_corpus):
    corpus = load_corpus("cremad", counts={"total": 6})
    trees_cremad.cremad(tmp_path / "r", (1076,), ("MTI",), tables=False)
    silent = tmp_path / "r/AudioWAV" / f"{trees_cremad.SILENT}.wav"
    assert prepare(tmp_path / "r", load_prepare, corpus)[0]["skipped"] == {}  # a mended copy
    for spoil, kind in (
        (lambda: silent.write_bytes(b""), None),
        (lambda: trees.sound(silent, seconds=0.0), "audio without a sample"),
        (silent.unlink, "audio files that are missing"),
    ):
        spoil()
        summary, manifest = prepare(tmp_path / "r", load_prepare, corpus)
        assert len(manifest) == 5 and list(summary["skipped"].values()) == [1]
        assert kind is None or kind in summary["skipped"]
        assert f"cremad-{trees_cremad.SILENT}" not in manifest


def test_the_older_name_of_one_clip_is_its_official_one(tmp_path, load_prepare, load_corpus):
    trees_cremad.cremad(tmp_path / "r", (1040,), ("ITH",), tables=False)
    folder = tmp_path / "r/AudioWAV"
    (folder / "1040_ITH_SAD_XX.wav").rename(folder / "1040_ITH_SAD_X.wav")
    corpus = load_corpus("cremad", counts={"total": 6})
    summary, manifest = prepare(tmp_path / "r", load_prepare, corpus)
    record = manifest["cremad-1040_ITH_SAD_XX"]
    assert record.path == "AudioWAV/1040_ITH_SAD_X.wav" and record.label == "sadness"
    assert record.tags["level"] == "unspecified"
    (folder / "1040_ITH_SAD_XX.wav").write_bytes((folder / "1040_ITH_SAD_X.wav").read_bytes())
    summary, manifest = prepare(tmp_path / "r", load_prepare, corpus)
    assert len(manifest) == 6 and summary["dropped"] == {"same stem as another file": 1}


@pytest.mark.parametrize("stem, words", [
    ("1092_DFA_ANG_XX", "actor 1092"), ("1000_DFA_ANG_XX", "actor 1000"),
    ("1001_XYZ_ANG_XX", "sentence XYZ"), ("1001_DFA_ANG_YY", "level YY"),
    ("1001_DFA_ANG_LO", "belong to sentence IEO"), ("1001_IEO_ANG_XX", "belong to sentence IEO"),
    ("1001_IEO_NEU_HI", "all emotions but neutral"), ("1001_DFA_ANG", "actor, sentence, emotion"),
    ("1041_ITH_SAD_X", "as in 1001_IEO_ANG_HI"),
])  # fmt: skip
def test_impossible_names_say_why(stem, words, tmp_path, collect):
    trees.name_only(tmp_path / "AudioWAV/1001_DFA_ANG_XX.wav")
    trees.name_only(tmp_path / f"AudioWAV/{stem}.wav")
    found, faults = collect("cremad", tmp_path)
    assert list(found) == ["1001_DFA_ANG_XX"]
    (fault,) = faults.faults
    assert words in fault.what and "official name" in fault.remedy


def test_an_unknown_emotion_is_left_to_the_label_map(tmp_path, collect, load_corpus):
    trees.name_only(tmp_path / "1001_DFA_SUR_XX.wav")
    found, faults = collect("cremad", tmp_path)
    assert not faults.faults and found["1001_DFA_SUR_XX"].label == "SUR"
    with pytest.raises(KeyError):
        load_corpus("cremad").class_of("SUR")


def test_pointers_of_git_lfs_are_said(tmp_path, load_prepare, load_corpus):
    stems = trees_cremad.cremad(tmp_path / "r", (1001,),
                                write=lambda path, rate: trees.pointer(trees.name_only(path)))
    with pytest.raises(DataError) as caught:
        prepare(tmp_path / "r", load_prepare, load_corpus("cremad", allow_subset=True))
    text = str(caught.value)
    assert f"Git-LFS pointers instead of audio: {len(stems)}" in text and "git lfs pull" in text
    assert f"and {len(stems) - 20} more" in text


def test_tables_that_cannot_be_read_are_named_line_by_line(tmp_path, collect):
    trees_cremad.cremad(tmp_path, (1001, 1002), ("TIE",), write=trees.name_only)
    people, votes = tmp_path / "VideoDemographics.csv", tmp_path / "processedResults"
    votes /= "tabulatedVotes.csv"
    people.write_text(people.read_text().replace('1002,22,"Female"', '1002,,"Femme"'))
    lines = votes.read_text().splitlines()
    lines[1] = lines[1].replace('"100001",', '"100001",many')
    lines[2] = lines[2].rpartition(",")[0]
    votes.write_text("\n".join(lines))
    found, faults = collect("cremad", tmp_path)
    assert len(found) == 11
    assert [(fault.where, fault.what) for fault in faults.faults][0] == (
        "VideoDemographics.csv line 3", "Sex is 'Femme' and Age ''")
    assert [fault.where for fault in faults.faults][1:] == [
        f"processedResults/tabulatedVotes.csv line {n}" for n in (2, 3)]
    people.write_text("ActorID,Sex\n1001,Male\n")
    _, faults = collect("cremad", tmp_path)
    assert faults.faults[0].what == "has no column 'Age'"
    (tmp_path / "again").mkdir()
    trees_cremad.demographics(tmp_path / "again")
    _, faults = collect("cremad", tmp_path)
    assert any(fault.kind == "files that clash" for fault in faults.faults)


# ------------------------------------------------------------------------------------- folds


def all_records(load_corpus):
    corpus = load_corpus("cremad")
    return {f"cremad-{stem}": Record(f"cremad-{stem}", f"{stem}.wav", speaker=stem[:4],
                                     label=corpus.class_of(stem.split("_")[2]))
            for stem in trees_cremad.names()}


def test_clean_parts_share_no_actor(load_corpus):
    records = all_records(load_corpus)
    assert len(records) == 7442
    made = make_folds(records, declared())
    (fold,) = made
    assert {part: len(getattr(fold, part)) for part in PARTS} == PARTS
    actors = [{records[id].speaker for id in getattr(fold, part)} for part in PARTS]
    assert list(map(len, actors)) == [56, 18, 17] and len(set.union(*actors)) == 91
    assert made.name == "audeering-clean" and not made.flags and not made.notes


def test_paper_is_a_stratified_draw_of_utterances_and_says_what_it_shares(load_corpus):
    from sklearn.model_selection import StratifiedShuffleSplit

    records = all_records(load_corpus)
    made = make_folds(records, declared(), "paper")
    (fold,) = made
    ids = sorted(records)
    labels = [trees_cremad.EMOTIONS.index(id.split("_")[2]) for id in ids]  # the authors' numbers
    split = StratifiedShuffleSplit(n_splits=1, test_size=0.2, random_state=2013)
    ((train, test),) = split.split(ids, labels)
    assert fold.test == [ids[n] for n in sorted(test)] and len(fold.test) == 1489
    assert fold.train == [ids[n] for n in sorted(train)] and len(fold.train) == 5953
    assert made.flags == [TESTED, "speakers shared by train and test"]
    assert "seed2013" in made.name and made.name.endswith("-paper")


# --------------------------------------------------------------------------- published lists


@pytest.fixture
def meta(real_data) -> Path:
    folder = real_data("").parent / "meta" / "cremad"
    if not folder.is_dir():
        pytest.skip("no published lists of CREMA-D")
    return folder


@pytest.mark.realdata
def test_published_lists_give_the_declared_counts(meta, tmp_path, collect, load_corpus, counted):
    with open(meta / "SentenceFilenames.csv", newline="") as file:
        stems = [row["Filename"] for row in csv.DictReader(file)]
    assert sorted(stems) == sorted(trees_cremad.names())
    for stem in stems:
        trees.name_only(tmp_path / "AudioWAV" / f"{stem}.wav")
    for table in ("VideoDemographics.csv", "tabulatedVotes.csv"):
        (tmp_path / table).write_bytes((meta / table).read_bytes())
    found, faults = collect("cremad", tmp_path)
    counts = load_corpus("cremad").counts
    assert not faults.faults and len(found) == counts["total"]
    for field in ("label", "gender"):
        assert counted(found, field) == counts[field]
    assert len(counted(found, "speaker")) == 91
    assert Counter(record.tags["level"] for record in found.values()) == {
        "low": 455, "medium": 455, "high": 455, "unspecified": 6077}
    heard = [record.tags["voice"] for record in found.values()]
    assert sum(":" in voice for voice in heard) == 644
    assert sum(voice == record.label[0] for voice, record in zip(heard, found.values(),
                                                                 strict=True)) == 3099
    with open(meta / "tabulatedVotes.csv", newline="") as file:
        for row in csv.DictReader(file):
            if row[""].startswith("1"):
                assert found[row["fileName"]].tags["voice"] == row["emoVote"]
    # by hand: of ten who only listened 2 heard anger, 6 happiness, 2 nothing; sight says otherwise
    corpus, clip = load_corpus("cremad"), found["1001_IEO_HAP_HI"]
    assert clip.tags["votes"] == "ANG=2;HAP=6;NEU=2"
    votes = map_votes(clip.tags["votes"], corpus.label_map.get)
    clip = dataclasses.replace(clip, tags={"votes": votes})
    assert distributions({clip.id: clip}, [clip.id], corpus.classes)[clip.id] == pytest.approx(
        (0.2, 0, 0, 0.6, 0.2, 0))
    assert all("votes" in record.tags for record in found.values())


@pytest.mark.realdata
def test_published_split_is_the_declared_one(meta):
    split = json.loads((meta / "audeering_speaker_splits.json").read_text())
    assert {part: sorted(map(str, actors)) for part, actors in split.items()} == declared().parts
