"""CMU-MOSEI and CMU-MOSI: segments, labels, parts and texts of imitations; the published table."""

import csv
import dataclasses
import json
import shutil

import pytest
import trees
import trees_sentiment as tree
from sertools.data.corpus import Faults
from sertools.data.folds import Folds
from sertools.data.manifest import read_manifest
from sertools.data.prepare import prepare_manifest
from sertools.data.protocol import make_folds
from sertools.errors import ConfigError, DataError

SIGNS = {"-1": "negative", "0": "neutral", "1": "positive"}


def name_only(path, **_):
    return trees.name_only(path)


@pytest.fixture
def gather(load_prepare):
    """Return a function that runs a preparer: records by id, and the faults."""

    def run(name, root, **options):
        faults = Faults()
        found = list(load_prepare(name).records(root, faults, **options))
        by_id = {record.id.removeprefix(f"{name}-"): record for record in found}
        assert len(by_id) == len(found)
        return by_id, faults

    return run


@pytest.fixture
def mosei(tmp_path):
    tree.mosei(tmp_path / "r", tree.mosei_rows(), name_only)
    return tmp_path / "r"


@pytest.fixture
def mosi(tmp_path):
    tree.mosi(tmp_path / "r", tree.mosi_rows(), name_only)
    return tmp_path / "r"


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


# ------------------------------------------------------------------------------------- MOSEI


def test_every_segment_of_mosei_is_what_the_table_says(mosei, gather):
    found, faults = gather("mosei", mosei)
    assert not faults.faults
    assert faults.dropped == {"video without a label": ["Raw/Audio/Full/WAV_16000/ZZZZZZZZZZZ.wav"]}
    rows = tree.mosei_rows()
    assert len(found) == len(rows)
    for row in rows:
        record = found[f"{row[1]}_{row[2]}"]
        assert record.path == f"Raw/Audio/Full/WAV_16000/{row[1]}.wav"
        assert record.label == SIGNS[row[6]] and record.tags["sentiment"] == row[8]
        assert record.split == {"0": "train", "1": "dev", "2": "test", "3": None}[row[9]]
        assert record.speaker == record.tags["video"] == row[1] and record.language == "en"
        assert record.end == float(row[4]) and record.start == max(0.0, float(row[3]))
        assert ("labelled_start" in record.tags) == (float(row[3]) < 0)
        assert record.text == tree.mosei_text(row)


def test_texts_of_mosei_are_found_by_their_times_or_not_at_all(mosei, gather):
    path = mosei / "Raw/Transcript/Segmented/Combined/210238.txt"
    edit(path, "210238___1___0.500", "210238___1___0.600")
    edit(path, "210238___2___1.000", "210238___2___1s")
    found, faults = gather("mosei", mosei)
    assert [found[f"210238_{index}"].text is None for index in range(4)] == [
        False, True, True, False]
    assert list(faults.dropped["line of a transcript that cannot be read"]) == [
        "Raw/Transcript/Segmented/Combined/210238.txt line 3"]
    shutil.rmtree(mosei / "Raw/Transcript")
    found, faults = gather("mosei", mosei)
    assert not faults.faults and {record.text for record in found.values()} == {None}


def test_a_release_of_mosei_with_hdf5_labels_alone_is_told_what_to_do(mosei, gather):
    (mosei / "CMU_MOSEI_Labels.csv").unlink()
    found, faults = gather("mosei", mosei)
    (fault,) = faults.faults
    assert not found and "HDF5" in fault.what and "s3prl" in fault.remedy
    (mosei / "CMU_MOSEI_Labels.csd").unlink()
    assert "there are no labels" in gather("mosei", mosei)[1].faults[0].what


@pytest.mark.parametrize("old, new, said", [
    (",1,-1,0,-1,0", ",1,-1,0,-1", "split is None"),
    ("\n0,--qXJuDtHPw", "\n0,--qXJuDtHP", "not the name of a video"),
    ("\n0,--qXJuDtHPw,0", "\n0,--qXJuDtHPw,first", "index is 'first'"),
    ("\n0,--qXJuDtHPw,0", "\n0,--qXJuDtHPw,1", "stands already in CMU_MOSEI_Labels.csv line 2"),
    ("\n0,--qXJuDtHPw,0,1.5", "\n0,--qXJuDtHPw,0,1;5", "not numbers"),
    ("\n0,--qXJuDtHPw,0,1.5", "\n0,--qXJuDtHPw,0,-1.5", "goes from -1.5 s"),
    ("\n0,--qXJuDtHPw,0,1.5", "\n0,--qXJuDtHPw,0,2.5", "goes from 2.5 s"),
    (",0,2,0\n", ",0,2,4\n", "split is '4'"),
    (",1,1,0,2,0\n", ",1,2,0,2,0\n", "label2b is '2'"),
])
def test_lines_of_mosei_that_cannot_be_used_are_named(mosei, gather, old, new, said):
    table = mosei / "CMU_MOSEI_Labels.csv"
    if "split is None" in said:
        old, new = ",1,1,0,2,0\n", ",1,1,0,2\n"
    edit(table, old, new)
    _, faults = gather("mosei", mosei)
    assert any(said in fault.what and "line" in fault.where for fault in faults.faults)


def test_mosei_without_a_column_or_with_two_tables(mosei, gather):
    table = mosei / "CMU_MOSEI_Labels.csv"
    shutil.copy(table, mosei / "Raw" / table.name)
    assert not gather("mosei", mosei)[1].faults
    edit(table, "label2b", "label2c")
    found, faults = gather("mosei", mosei)
    assert not found and "label2b" in faults.faults[-1].what
    assert any("differs" in fault.what for fault in faults.faults)


def test_videos_of_mosei_without_a_recording_are_refused_or_left_out(mosei, gather):
    (mosei / "Raw/Audio/Full/WAV_16000/72385.wav").unlink()
    _, faults = gather("mosei", mosei)
    (fault,) = faults.faults
    assert fault.where == "72385.wav" and "leave_out" in fault.remedy
    found, faults = gather("mosei", mosei, missing_videos="leave_out")
    assert not faults.faults and len(found) == 32
    assert len(faults.dropped["segment of a video without a recording"]) == 4
    with pytest.raises(ConfigError, match="choose refuse or leave_out"):
        gather("mosei", mosei, missing_videos="skip")


def test_recordings_of_mosei_segments_are_no_videos(mosei, gather):
    trees.name_only(mosei / "Segmented_Audio/train/--qXJuDtHPw_0.wav")
    _, faults = gather("mosei", mosei)
    assert "whole videos" in faults.faults[0].remedy
    assert "data_folder" in gather("mosei", mosei / "nowhere")[1].faults[0].remedy


@pytest.mark.realdata
def test_declared_counts_of_mosei_are_those_of_the_published_table(
    real_data, tmp_path, gather, load_corpus
):
    table = real_data("").parent / "meta" / "mosei" / "CMU_MOSEI_Labels.csv"
    if not table.is_file():
        pytest.skip("no published table of CMU-MOSEI")
    with open(table, encoding="utf-8", newline="") as file:
        rows = [list(row.values()) for row in csv.DictReader(file)]
    tree.mosei(tmp_path, rows, name_only, more=())
    shutil.copyfile(table, tmp_path / table.name)
    found, faults = gather("mosei", tmp_path)
    assert not faults.faults and not faults.dropped
    counts = load_corpus("mosei").counts
    assert counts == {
        "total": len(found), "speaker": len({record.speaker for record in found.values()}),
        **{field: {name: sum(getattr(record, field) == name for record in found.values())
                   for name in counts[field]} for field in ("label", "split")},
    }
    assert counts["total"] == 23259 and counts["speaker"] == 3293
    hours = sum(float(row[4]) - float(row[3]) for row in rows) / 3600
    assert hours == pytest.approx(49.1, abs=0.05)


# -------------------------------------------------------------------------------------- MOSI


@pytest.mark.parametrize("extension", [".wav", ".FLAC"])
def test_every_segment_of_mosi_is_what_the_table_says(tmp_path, gather, extension):
    rows = tree.mosi_rows()
    tree.mosi(tmp_path, rows, name_only, extension)
    found, faults = gather("mosi", tmp_path)
    assert not faults.faults and not faults.dropped
    assert len(found) == len(rows)
    for start, end, video, number, sentiment in rows:
        record = found[f"{video}_{number}"]
        assert record.path == f"Audio/WAV_16000/Segmented/{video}_{number}{extension}"
        assert record.start is None and record.end is None and float(end) > float(start)
        value = float(sentiment)
        assert record.label == SIGNS[str((value > 0) - (value < 0))]
        assert record.tags == {"video": video, "segment": number, "sentiment": sentiment}
        assert record.speaker == video and record.text == f"IT WAS {number}_TIMES BETTER"
    parts = [record.split for record in found.values()]
    assert {part: parts.count(part) for part in parts} == {"train": 12, "dev": 8, "test": 8}


def test_mosi_falls_back_on_recordings_of_whole_videos(tmp_path, gather):
    rows = tree.mosi_rows()
    tree.mosi(tmp_path, rows, name_only, whole=["6_0THN4chvY"])
    found, faults = gather("mosi", tmp_path)
    assert not faults.faults and len(found) == len(rows)
    for start, end, video, number, _ in rows:
        record = found[f"{video}_{number}"]
        cut = (float(start), float(end)) if video == "6_0THN4chvY" else (None, None)
        assert (record.start, record.end) == cut
        assert ("Full" in record.path) == (video == "6_0THN4chvY")


def test_the_standard_fold_of_mosi_has_93_videos(load_prepare):
    module = load_prepare("mosi")
    sizes = {part: len(videos.split()) for part, videos in module.PARTS.items()}
    assert sizes == {"train": 52, "dev": 10, "test": 31} and len(module.SPLITS) == 93
    assert all(module.STEM.fullmatch(video) for video in module.SPLITS)


@pytest.mark.parametrize("old, new, said", [
    ("2iD-tVS8NPw,1,-1.4", "2iD-tVS8NPw,1,-3.4", "not between -3 and 3"),
    ("2iD-tVS8NPw,1,-1.4", "2iD-tVS8NPw,1,nan", "not between -3 and 3"),
    ("2iD-tVS8NPw,1,-1.4", "2iD-tVS8NPw,1", "4 cells"),
    ("2iD-tVS8NPw,1,", "2iD-tVS8NPw,one,", "'one', not a number"),
    ("2iD-tVS8NPw,1,", "2iD-tVS8NPw,2,", "stands already in Labels/OpinionLevelSentiment.csv"),
    ("2iD-tVS8NPw,1,", "2iD-tVS8NPx,1,", "none of the 93"),
    ("0.100,0.600", "0.700,0.600", "goes from 0.7 s"), ("0.100,", "0:100,", "is not a number"),
])
def test_lines_of_mosi_that_cannot_be_used_are_named(mosi, gather, old, new, said):
    edit(mosi / "Labels/OpinionLevelSentiment.csv", old, new)
    _, faults = gather("mosi", mosi)
    assert any(said in fault.what and "line" in fault.where for fault in faults.faults)


def test_what_lacks_or_does_not_belong_into_mosi(mosi, gather):
    segmented = mosi / "Audio/WAV_16000/Segmented"
    (segmented / "_dI--eQ6qVU_2.wav").unlink()
    (mosi / "Audio/WAV_16000/Full/_dI--eQ6qVU.wav").unlink()
    trees.name_only(segmented / "_dI--eQ6qVU_99.wav")
    trees.name_only(segmented / "notes.wav")
    edit(mosi / "Transcript/Segmented/tmZoasNr4rU.annotprocessed", "1_DELIM_", "1: ")
    found, faults = gather("mosi", mosi)
    whats = [fault.what for fault in faults.faults]
    assert len(whats) == 2 and len(found) == 27
    assert "_dI--eQ6qVU_2.wav" in whats[1] and "as in 03bSnISJMiM_1" in whats[0]
    assert faults.dropped["recording without a label"] == [
        "Audio/WAV_16000/Segmented/_dI--eQ6qVU_99.wav"]
    assert len(faults.dropped["line of a transcript that cannot be read"]) == 1
    assert found["tmZoasNr4rU_1"].text is None
    found, faults = gather("mosi", mosi, missing_segments="leave_out")
    assert len(faults.faults) == 1 and len(faults.dropped["segment without a recording"]) == 1
    (mosi / "Labels/OpinionLevelSentiment.csv").unlink()
    assert gather("mosi", mosi)[1].faults[-1].kind == "labels that are missing"
    with pytest.raises(ConfigError, match="choose refuse or leave_out"):
        gather("mosi", mosi, missing_segments="")


def test_declared_counts_of_mosi_are_those_that_papers_give(load_corpus):
    counts = load_corpus("mosi").counts
    assert counts["total"] == sum(counts["split"].values()) == 2199
    assert counts["split"] == {"train": 1284, "dev": 229, "test": 686}


# -------------------------------------------------------------------------------------- both


@pytest.mark.parametrize("name", ["mosei", "mosi"])
def test_neutral_is_left_out_and_counted_and_the_parts_share_no_video(
    name, tmp_path, load_prepare, load_corpus
):
    root, out = tmp_path / "r", tmp_path / "out"
    tree.FOR_RUNS[name](root)
    with pytest.raises(DataError, match="counts.total"):
        prepare_manifest(load_prepare(name).records, load_corpus(name), root, out,
                         say=lambda _: None)
    corpus = dataclasses.replace(load_corpus(name), allow_subset=True)
    prepare_manifest(load_prepare(name).records, corpus, root, out, say=lambda _: None)
    manifest = read_manifest(out / "utts.json")
    summary = json.loads((out / "summary.json").read_text())
    if name == "mosei":
        signs = [SIGNS[row[6]] for row in tree.mosei_rows(each=6, seconds=0.6)]
    else:
        signs = [SIGNS[str((float(row[4]) > 0) - (float(row[4]) < 0))]
                 for row in tree.mosi_rows(each=6)]
    assert summary["label"] == {label: signs.count(label) for label in ("negative", "positive")}
    dropped = summary["dropped"]["label neutral is not among the classes"]
    assert dropped == signs.count("neutral") > 0
    assert len(manifest) == len(signs) - dropped
    hashes = {record.audio_hash for record in manifest.values()}
    assert len(hashes) == len(manifest)  # each segment is its own stretch of sound
    folds = make_folds(manifest, Folds(kind="official"))
    (fold,) = folds
    assert folds.flags == [] and fold.train and fold.dev and fold.test
    unused = {id for id, record in manifest.items() if record.split is None}
    assert unused.isdisjoint([*fold.train, *fold.dev, *fold.test])
    assert bool(unused) == (name == "mosei")
    if unused:
        assert any(f"{len(unused)} utterances are in no official part" in note
                   for note in folds.notes)
