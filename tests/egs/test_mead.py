"""MEAD: names that recur, levels, cameras, archives, AAC that must be decoded, folds."""

from collections import Counter
from pathlib import Path

import pytest
import trees
import trees_mead_esd as imitation
from recipes import copy_recipe, run_recipe
from sertools.data.corpus import Faults
from sertools.data.folds import Folds
from sertools.data.manifest import read_manifest
from sertools.data.prepare import prepare_manifest
from sertools.data.protocol import make_folds
from sertools.errors import DataError

FFMPEG = """#!/bin/sh
for word; do [ "$before" = -i ] && source=$word; before=$word; done
[ "$(cat "$source")" = broken ] && { echo "moov atom not found" >&2; exit 1; }
cp "$(dirname "$0")/sample.flac" "$word"
"""
NAMES = 2 * (1 + 7 * 3)
"""Recordings of two speakers: neutral once, the others at three levels."""


@pytest.fixture
def read(load_prepare):
    """Return a function that runs the preparer: records by id, and the faults."""

    def run(root):
        faults = Faults()
        found = list(load_prepare("mead").records(root, faults))
        assert len({record.id for record in found}) == len(found)
        return {record.id: record for record in found}, faults

    return run


@pytest.fixture
def coded(tmp_path):
    """Return a release as it is downloaded and unpacked: AAC, one file of it broken."""
    root = tmp_path / "r"
    imitation.mead(root, write=lambda path, **_: trees.name_only(path), extension=".m4a")
    (root / "M003/audio/fear/level_2/001.m4a").write_bytes(b"broken")
    return root


@pytest.fixture
def ffmpeg(tmp_path, monkeypatch):
    """Put a program called ffmpeg on the path that writes sound for all but broken files."""
    program = tmp_path / "bin" / "ffmpeg"
    trees.sound(program.parent / "sample.flac", rate=48000, channels=2)
    program.write_text(FFMPEG, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


@pytest.mark.parametrize("extension", [".wav", ".flac", ".WAV"])
def test_every_field_is_what_the_tree_says(extension, tmp_path, read, load_corpus):
    names = imitation.mead(tmp_path, each=2, write=trees.name_only, extension=extension)
    found, faults = read(tmp_path)
    assert sorted(found) == sorted(f"mead-{name}" for name in names) and not faults.faults
    assert not faults.dropped and len(found) == 2 * NAMES
    record = found["mead-W009-disgusted-level-3-002"]
    assert record.path == f"W009/audio/disgusted/level_3/002{extension}"
    assert (record.label, record.speaker, record.gender) == ("disgusted", "W009", "female")
    assert (record.language, record.text) == ("en", None)
    assert record.tags == {"level": "3", "number": "002"}
    assert found["mead-M003-neutral-level-1-001"].gender == "male"
    labels = {record.label for record in found.values()}
    assert labels == set(load_corpus("mead").label_map)


def test_a_folder_above_or_a_speaker_alone_will_do(tmp_path, read):
    imitation.mead(tmp_path / "MEAD" / "part1", ("M003",), write=trees.name_only)
    imitation.mead(tmp_path / "MEAD" / "part2", ("W009",), write=trees.name_only)
    assert len(read(tmp_path)[0]) == NAMES
    alone, faults = read(tmp_path / "MEAD" / "part2" / "W009")
    assert len(alone) == NAMES // 2 and not faults.faults
    assert {record.speaker for record in alone.values()} == {"W009"}


def test_archives_that_were_not_unpacked_are_named_with_the_command(tmp_path, read):
    imitation.mead(tmp_path, ("M003",), write=trees.name_only)
    for speaker in ("W009", "W011"):
        (tmp_path / speaker).mkdir()
        (tmp_path / speaker / "audio.tar").write_bytes(b"tar")
    found, faults = read(tmp_path)
    assert len(found) == NAMES // 2
    assert [fault.where for fault in faults.faults] == ["W009/audio.tar", "W011/audio.tar"]
    assert "find . -name audio.tar -execdir tar xf {} \\;" in faults.faults[0].remedy


def test_sound_of_cameras_is_left_out_and_counted(tmp_path, read):
    imitation.mead(tmp_path, ("M003",), write=trees.name_only)
    for camera in ("front", "left_30"):
        trees.name_only(tmp_path / f"M003/video/{camera}/angry/level_1/001.wav")
    found, faults = read(tmp_path)
    assert len(found) == NAMES // 2 and not faults.faults
    assert faults.dropped == {"sound of a camera, not of the microphone": [
        f"M003/video/{camera}/angry/level_1/001.wav" for camera in ("front", "left_30")]}


def test_copies_and_litter_change_nothing(tmp_path, read):
    imitation.mead(tmp_path, ("M003",))
    before, _ = read(tmp_path)
    trees.litter(tmp_path / "M003/audio/angry/level_1")
    trees.second_copy(tmp_path, "once more")
    trees.name_only(tmp_path / "M003/audio/angry/level_1/001.m4a")  # what it was decoded from
    after, faults = read(tmp_path)
    assert after == before and not faults.faults
    assert list(map(len, faults.dropped.values())) == [NAMES // 2]
    other = tmp_path / "once more/M003/audio/angry/level_1/001.flac"
    other.write_bytes(b"another size")
    after, faults = read(tmp_path)
    assert after == before and [fault.kind for fault in faults.faults] == ["files that clash"]


def test_other_names_and_places_are_refused_in_one_pass(tmp_path, read):
    trees.name_only(tmp_path / "M003/audio/angry/level_1/001.wav")
    wrong = ["M003/audio/angry/001.wav", "M003/audio/angry/level_1/1.wav",
             "M003/audio/angry/level_1/002 (1).wav", "M003/audio/angry/level_4/003.wav",
             "X003/audio/angry/level_1/004.wav", "005.wav"]
    for place in [*wrong, "M003/audio/neutral/level_2/001.wav"]:
        trees.name_only(tmp_path / place)
    found, faults = read(tmp_path)
    assert list(found) == ["mead-M003-angry-level-1-001"]
    said = {fault.where: fault.what for fault in faults.faults}
    assert said.pop("M003/audio/neutral/level_2/001.wav").startswith("neutral speech has one level")
    assert sorted(said) == sorted(wrong)
    assert all("M003/audio/angry/level_1/001.m4a" in what for what in said.values())


def test_a_wrong_folder_is_one_fault_that_names_it(tmp_path, read):
    found, faults = read(tmp_path / "nowhere")
    assert not found and len(faults.faults) == 1
    assert "nowhere" in faults.faults[0].where and "data_folder" in faults.faults[0].remedy


def test_an_unknown_emotion_and_missing_recordings_stop_the_stage(
    tmp_path, load_prepare, load_corpus
):
    root = tmp_path / "r"
    imitation.mead(root, ("M003",), levels=(1,))
    trees.sound(root / "M003/audio/anrgy/level_1/007.wav")
    arguments = (load_prepare("mead").records, load_corpus("mead"), root, tmp_path / "out")
    with pytest.raises(DataError) as caught:
        prepare_manifest(*arguments, say=lambda _: None)
    message = str(caught.value)
    for words in ("mead-M003-anrgy-level-1-007: label 'anrgy', the nearest known one is 'angry'",
                  "counts.total: expected 31729, found 9",
                  "counts.label.sad: expected 4306, found 1",
                  "counts.speaker: expected 48 different ones, found 1"):
        assert words in message


def test_counts_are_those_that_emobox_lists(load_corpus):
    """data.seg.wrd.freq of EmoBox's MEAD at 08280f2, whose sum is the number of its lines."""
    counts = load_corpus("mead").counts
    assert counts["label"] == {
        "neutral": 1916, "angry": 4193, "happy": 4294, "fear": 4251, "contempt": 4215,
        "disgusted": 4284, "surprised": 4270, "sad": 4306}
    assert sum(counts["label"].values()) == counts["total"] == 31729
    assert counts["speaker"] == 27 + 21


def test_declared_folds_hold_all_48_speakers_once(tmp_path, read, repository):
    text = (repository / "egs/mead/hparams/classical.yaml").read_text(encoding="utf-8")
    assert "kind: grouped" in text and "count: 5" in text and "dev_groups: 5" in text
    speakers = [f"M{n:03d}" for n in range(27)] + [f"W{n:03d}" for n in range(21)]
    imitation.mead(tmp_path, speakers, levels=(1,), write=trees.name_only)
    found, _ = read(tmp_path)
    folds = make_folds(found, Folds("grouped", count=5, dev_groups=5), "clean")
    tested = Counter(name for fold in folds for name in fold.groups)
    assert tested == dict.fromkeys(speakers, 1)
    assert {len(fold.groups) for fold in folds} == {9, 10}


# ------------------------------------------------------------------------------------ decoding


def test_without_ffmpeg_the_command_is_named(repository, tmp_path, coded, read, monkeypatch):
    _, faults = read(coded)
    assert len(faults.faults) == NAMES
    (group,) = faults.groups()
    assert group.startswith(f"recordings that must be decoded first: {NAMES}")
    assert group.count("ffmpeg -nostdin") == 1
    recipe = copy_recipe(repository, "mead", tmp_path)
    monkeypatch.setenv("PATH", str(coded))
    printed = run_recipe(recipe, "hparams/classical.yaml", "--data_folder", coded, code=3)
    assert f"{NAMES} clips are AAC (.m4a) and there is no ffmpeg" in printed
    assert "find . -path '*/audio/*' -name '*.m4a' -exec" in printed
    assert "${1%.m4a}.flac" in printed and "Traceback" not in printed


def test_the_recipe_decodes_what_has_no_sound_yet(repository, tmp_path, coded, ffmpeg):
    recipe = copy_recipe(repository, "mead", tmp_path)
    options = ("hparams/classical_random_split.yaml", "--data_folder", coded,
               "--stop-stage", "prepare", "--corpus.allow_subset", "true")
    printed = run_recipe(recipe, *options, code=3)
    assert f"{NAMES} clips have no sound beside them yet; ffmpeg takes it out" in printed
    assert "M003/audio/fear/level_2/001.m4a: moov atom not found" in printed
    assert "recordings that must be decoded first: 1\n" in printed
    assert not list(coded.rglob(".tmp-*"))
    (coded / "M003/audio/fear/level_2/001.m4a").unlink()
    run_recipe(recipe, *options)
    manifest = read_manifest(recipe / "data/all/utts.json")
    assert len(manifest) == NAMES - 1
    for record in manifest.values():
        assert Path(record.path).suffix == ".flac"
        assert (record.sample_rate, record.channels, record.channel) == (48000, 2, None)
