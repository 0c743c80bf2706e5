"""LSSED: a flat folder and a table of names; what is missing on either side is counted."""

import json

import pytest
import trees
import trees_cremad
from recipes import copy_recipe, run_recipe
from sertools.data.corpus import Faults
from sertools.data.pretraining import PretrainingData
from sertools.errors import ConfigError

NAMES = [f"speaker{n}_{m:03d}" for n in range(2) for m in range(3)]


@pytest.mark.parametrize("faces, extension", [(True, ".wav"), (False, ".WAV"), (True, ".flac")])
def test_records_need_the_name_alone(faces, extension, tmp_path, collect):
    trees_cremad.lssed(tmp_path, NAMES, faces=faces, write=trees.name_only, extension=extension)
    found, faults = collect("lssed", tmp_path)
    assert list(found) == sorted(NAMES) and not faults.faults and not faults.dropped
    record = found["speaker1_002"]
    assert record.id == "lssed-speaker1_002"
    assert record.path == f"wav_all/speaker1_002{extension}"
    assert (record.label, record.speaker, record.text, record.language) == (None, None, None, "en")


def test_what_one_side_lacks_is_counted(tmp_path, collect):
    there = [*NAMES[:-2], "stranger"]
    trees_cremad.lssed(tmp_path, [*NAMES, NAMES[0]], there, write=trees.name_only)
    trees.name_only(tmp_path / "wav_all" / "._speaker0_000.wav")
    trees.name_only(tmp_path / "again/wav_all" / "speaker0_000.wav")
    found, faults = collect("lssed", tmp_path)
    assert list(found) == NAMES[:-2] and not faults.faults
    assert {reason: len(ids) for reason, ids in faults.dropped.items()} == {
        "name without a recording": 2, "recording that the table does not name": 1,
        "name that stands twice": 1, "same stem as another file": 1}
    assert faults.dropped["name without a recording"] == [
        f"metadata_english_all.csv line {line}" for line in (6, 7)]
    found, faults = collect("lssed", tmp_path, missing="refuse")
    assert len(found) == 4 and [fault.where for fault in faults.faults] == [
        f"metadata_english_all.csv line {line}" for line in (6, 7)]
    assert "wav_all/speaker1_001.wav" in faults.faults[0].what


def test_names_with_an_extension_and_a_byte_order_mark_are_read(tmp_path, collect):
    trees_cremad.lssed(tmp_path, NAMES, write=trees.name_only)
    lines = "".join(f"x,{name}.wav\n" for name in NAMES)
    (tmp_path / "metadata_english_all.csv").write_text("\ufefffaces,name\n" + lines)
    found, faults = collect("lssed", tmp_path)
    assert list(found) == NAMES and not faults.faults


def test_the_folder_above_the_release_is_not_taken_for_it(tmp_path, collect):
    trees_cremad.lssed(tmp_path / "LSSED", NAMES, write=trees.name_only)
    trees.name_only(tmp_path / "CREMA-D/AudioWAV/1001_IEO_ANG_HI.wav")
    found, faults = collect("lssed", tmp_path)
    (fault,) = faults.faults
    assert not found and not faults.dropped
    assert fault.remedy == f"give --data_folder {tmp_path / 'LSSED'}"


def test_tables_that_cannot_be_used_are_said(tmp_path, collect, load_prepare):
    trees_cremad.lssed(tmp_path, NAMES, write=trees.name_only)
    table = tmp_path / "metadata_english_all.csv"
    table.write_text("name\na/b\n\n,\nspeaker0_000\n")
    found, faults = collect("lssed", tmp_path)
    assert list(found) == ["speaker0_000"]
    assert [fault.where.split()[-1] for fault in faults.faults] == ["2", "4"]
    table.write_text("file,faces\nx,y\n")
    _, faults = collect("lssed", tmp_path)
    assert faults.faults[0].what == "has no column 'name', only file, faces"
    table.unlink()
    _, faults = collect("lssed", tmp_path)
    (fault,) = faults.faults
    assert fault.what == "is missing" and "manifest_from_folder.py" in fault.remedy
    _, faults = collect("lssed", tmp_path / "nowhere")
    assert len(faults.faults) == 1 and "nowhere" in faults.faults[0].where
    with pytest.raises(ConfigError, match="choose leave_out or refuse"):
        next(load_prepare("lssed").records(tmp_path, Faults(), missing="perhaps"))


def test_the_recipe_writes_what_pretraining_reads(repository, tmp_path):
    recipe = copy_recipe(repository, "lssed", tmp_path)
    trees_cremad.lssed(tmp_path / "LSSED", [*NAMES, "absent"], NAMES,
                       write=lambda path: trees.sound(path, seconds=0.6))
    trees.truncated(tmp_path / "LSSED/wav_all" / f"{NAMES[0]}.wav")
    printed = run_recipe(recipe, "hparams/prepare.yaml", "--data_folder", tmp_path / "LSSED")
    assert "left out: name without a recording: 1" in printed
    assert "skipped: audio that is cut short: 1" in printed
    manifest = json.loads((recipe / "data/all/utts.json").read_text())
    assert list(manifest) == [f"lssed-{name}" for name in NAMES[1:]]
    assert {entry["label"] for entry in manifest.values()} == {None}
    data = PretrainingData({"lssed": {"manifest": "../lssed/data/all/utts.json",
                                      "folder": "LSSED"}})
    dataset = data.dataset(tmp_path / "egs" / "pretrain", tmp_path, seed=1)
    assert sorted(dataset.ids) == list(manifest)
