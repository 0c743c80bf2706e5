"""MELD: three parts with the same names, tables, videos, channels, and the published tables."""

import dataclasses
import importlib.util
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
import trees
import trees_meld
from recipes import copy_recipe, run_recipe
from sertools.data.audio import AudioReader
from sertools.data.corpus import Faults
from sertools.data.folds import Folds
from sertools.data.manifest import read_manifest
from sertools.data.prepare import prepare_manifest
from sertools.data.protocol import make_folds
from sertools.errors import ConfigError, DataError, Interrupted

FFMPEG = """#!/bin/sh
for word; do [ "$before" = -i ] && source=$word; before=$word; done
[ "$(cat "$source")" = broken ] && { echo "moov atom not found" >&2; exit 1; }
cp "$(dirname "$0")/sample.flac" "$word"
"""


@pytest.fixture
def meta(real_data) -> Path:
    """Return the folder of published tables, which lies beside the recordings; skip if absent."""
    folder = real_data("").parent / "meta" / "meld"
    if not folder.is_dir():
        pytest.skip("no published tables of MELD")
    return folder


@pytest.fixture
def read(load_prepare):
    """Return a function that runs the preparer: records by id, and the faults."""

    def run(root, **options):
        faults = Faults()
        found = list(load_prepare("meld").records(root, faults, **options))
        assert len({record.id for record in found}) == len(found)
        return {record.id: record for record in found}, faults

    return run


@pytest.fixture
def release(tmp_path):
    """Return the folder of a small imitation, without sound."""
    trees_meld.meld(tmp_path / "r", trees_meld.small(), write=trees.name_only)
    return tmp_path / "r"


def test_every_field_of_every_line_is_what_the_tree_says(release, read):
    found, faults = read(release)
    assert not faults.faults
    for episode, (split, rows) in enumerate(trees_meld.small().items(), 3):
        for row in rows:
            stem = trees_meld.stem(row)
            record = found.pop(f"meld-{stem}-{split}")
            assert record.path == f"{trees_meld.FOLDERS[split]}/{stem}.wav"
            assert record.label == row["Emotion"] and record.split == split
            assert record.text == row["Utterance"] and record.speaker == row["Speaker"]
            assert record.session == f"s04e{episode:02d}" and record.gender is None
            assert record.start is record.end is record.channel is None
            assert record.tags == {
                "dialogue": f"{split}-dia{row['Dialogue_ID']}", "turn": row["Utterance_ID"],
                "sentiment": "neutral", "start": row["StartTime"], "end": row["EndTime"]}
    assert not found
    assert faults.dropped == {
        "clip called final_videos_...":
            ["output_repeated_splits_test/final_videos_testdia0_utt0.wav"],
        "clip without a line in its table": ["meld-dia0_utt4-dev"]}


@pytest.mark.parametrize("train, dev, test", [
    ("train", "dev", "test"), ("train_splits", "dev/dev_splits_complete", "test/x_test_wav"),
    ("TRAIN", "Dev_Audio", "output_repeated_splits_test_wav")])
def test_folders_name_their_part(train, dev, test, tmp_path, read, monkeypatch):
    monkeypatch.setattr(trees_meld, "FOLDERS", {"train": train, "dev": dev, "test": test})
    ids = trees_meld.meld(tmp_path, trees_meld.small(1), write=trees.name_only, extension=".WAV")
    found, faults = read(tmp_path)
    assert sorted(found) == sorted(ids) and not faults.faults


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252"])
def test_tables_are_read_whatever_program_saved_them(encoding, release, read):
    before, _ = read(release)
    for split, rows in trees_meld.small().items():
        trees_meld.table(release / trees_meld.TABLES[split], rows, encoding)
    assert read(release)[0] == before


def test_sound_is_taken_before_the_video_and_copies_are_counted(tmp_path, read):
    ids = trees_meld.meld(tmp_path, trees_meld.small(1))
    before, dropped = read(tmp_path)
    assert len(before) == len(ids) == 21
    for path in list(tmp_path.rglob("dia*.wav")):
        path.with_suffix(".mp4").write_bytes(b"video")
    trees.litter(tmp_path / trees_meld.FOLDERS["dev"])
    after, faults = read(tmp_path)
    assert after == before and faults.dropped == dropped.dropped and not faults.faults
    trees.second_copy(tmp_path, "MELD.Raw")
    trees.sound(tmp_path / trees_meld.FOLDERS["test"] / "dia0_utt1.flac")
    after, faults = read(tmp_path)
    assert after == before and not faults.faults
    assert len(faults.dropped["same clip as another file"]) == len(ids) + 1 + 1  # one has no line
    clash = tmp_path / "MELD.Raw" / trees_meld.FOLDERS["test"] / "dia0_utt0.wav"
    clash.write_bytes(clash.read_bytes() + b"\0")
    assert "another size" in read(tmp_path)[1].faults[0].what


def test_all_faults_are_found_in_one_pass_with_file_and_line(release, read):
    parts = trees_meld.small()
    rows = parts["dev"]
    rows[2] |= {"Dialogue_ID": "first"}
    rows[3] |= {"Emotion": " "}
    rows[5] = dict(rows[4])
    trees_meld.table(release / trees_meld.TABLES["dev"], rows)
    table = release / trees_meld.TABLES["train"]
    lines = table.read_bytes().split(b"\r\n")
    lines[4] += b",more"
    table.write_bytes(b"\r\n".join(lines))
    (release / trees_meld.TABLES["test"]).unlink()
    (release / trees_meld.FOLDERS["train"] / "dia1_utt0.wav").unlink()
    trees.name_only(release / trees_meld.FOLDERS["train"] / "dia1_utt0 (1).wav")
    trees.name_only(release / "clips" / "dia0_utt0.wav")
    (release / trees_meld.FOLDERS["train"] / "dia1_utt1.wav").rename(
        release / trees_meld.FOLDERS["train"] / "dia1_utt1.mp4")
    _, faults = read(release)
    assert all(fault.remedy for fault in faults.faults)
    told = {(fault.where, fault.what) for fault in faults.faults}
    assert told == {
        ("train/train_splits/dia1_utt0 (1).wav",
         "the name is not that of a clip, as in dia0_utt0"),
        ("clips/dia0_utt0.wav", "lies in no folder of train, dev or test, and clips of all three "
         "have the same names"),
        ("test_sent_emo.csv", "is missing"),
        ("train/train_sent_emo.csv line 5", "has more or fewer cells than columns"),
        ("dev_sent_emo.csv line 4", "Dialogue_ID is 'first', not a number"),
        ("dev_sent_emo.csv line 5", "has no Emotion"),
        ("dev_sent_emo.csv line 7", "names dia0_utt5 once more, as line 6 does"),
        ("train/train_sent_emo.csv line 9", "there is no clip dia1_utt0 of train"),
        ("train/train_splits/dia1_utt1.mp4", "is a video, its sound is not beside it"),
    } and len(faults.faults) == len(told)
    table.write_text("Utterance,Speaker\r\nHi,Joey\r\n", encoding="utf-8")
    told = [fault.what for fault in read(release)[1].faults]
    assert any(text.startswith("has no column Emotion, Sentiment") for text in told)


def test_wrong_options_and_wrong_folders_are_said(release, tmp_path, read, load_prepare):
    for options in ({"leave_out": ["dia125_utt3"]}, {"parts": {"train/dia1_utt1": [0, 1]}}):
        with pytest.raises(ConfigError, match="such as dia125_utt3-train"):
            next(load_prepare("meld").records(release, Faults(), **options))
    _, faults = read(tmp_path / "nowhere")
    assert len(faults.faults) == 1 and "data_folder" in faults.faults[0].remedy


def test_an_unknown_emotion_is_left_to_the_label_map(release, read, load_corpus):
    rows = trees_meld.small()["dev"]
    rows[0] |= {"Emotion": "contempt"}
    trees_meld.table(release / trees_meld.TABLES["dev"], rows)
    found, faults = read(release)
    assert found["meld-dia0_utt0-dev"].label == "contempt" and not faults.faults
    with pytest.raises(KeyError):
        load_corpus("meld").class_of("contempt")


def test_clips_are_left_out_by_name_whether_they_are_there_or_not(release, read):
    (release / trees_meld.FOLDERS["dev"] / "dia1_utt0.wav").unlink()
    found, faults = read(release, leave_out=["dia1_utt0-dev", "dia1_utt1-train"])
    assert not faults.faults and len(found) == 40
    assert faults.dropped["line that the configuration leaves out"] == [
        "meld-dia1_utt1-train", "meld-dia1_utt0-dev"]


def test_odd_sound_centre_channel_short_clips_and_wrong_cuts(tmp_path, load_prepare, load_corpus):
    root = tmp_path / "r"
    trees_meld.meld(root, trees_meld.small(1), write=lambda path: trees_meld.sound(path, 48000, 2))
    test = root / trees_meld.FOLDERS["test"]
    trees_meld.surround(test / "dia0_utt0.wav")
    trees.sound(test / "dia0_utt1.wav", 48000, seconds=1024 / 48000)  # one frame of AAC
    trees.sound(test / "dia0_utt2.wav", 8000, seconds=61)
    trees.sound(test / "dia0_utt3.wav", 8000, seconds=62)
    parts = {"dia0_utt2-test": [0, 10], "dia0_utt3-test": [52, None], "dia0_utt1-test": [0, 10]}
    corpus = load_corpus("meld", allow_subset=True, options={"parts": parts})
    records = load_prepare("meld").records
    prepare_manifest(records, corpus, root, tmp_path / "o", lambda _: None)
    manifest = read_manifest(tmp_path / "o" / "utts.json")
    first, short, long, last = (manifest[f"meld-dia0_utt{n}-test"] for n in range(4))
    assert (first.channel, first.channels, first.sample_rate) == (2, 6, 48000)
    assert manifest["meld-dia0_utt1-dev"].channel is None and first.label == "neutral"
    spectrum = torch.fft.rfft(AudioReader()(first, root)).abs()
    assert spectrum.argmax().item() * 16000 / 4800 == pytest.approx(300, abs=4)  # 3rd channel
    assert short.duration == pytest.approx(1024 / 48000, abs=1e-6) and short.end is None
    assert (long.start, long.end, long.duration) == (None, 10, 10.0)
    assert (last.start, last.end, last.duration) == (52, None, 10.0)
    untold = dataclasses.replace(corpus, options={})
    with pytest.raises(DataError, match=r"dia0_utt2.wav: 61.000 s, corpus.max_seconds is 60"):
        prepare_manifest(records, untold, root, tmp_path / "p", lambda _: None)


def test_official_parts_are_the_only_fold_and_shared_speakers_are_said(release, read, load_corpus):
    corpus = load_corpus("meld")
    records = [dataclasses.replace(record, label=corpus.class_of(record.label))
               for record in read(release)[0].values()]
    for protocol in ("clean", "paper"):
        (fold,) = split = make_folds(records, Folds(kind="official"), protocol)
        for part in ("train", "dev", "test"):
            assert getattr(fold, part) == sorted(
                record.id for record in records if record.split == part)
        assert split.flags == [f"speakers shared by {a} and {b}" for a, b in (
            ("train", "dev"), ("train", "test"), ("dev", "test"))]


# --------------------------------------------------------------------------- video clips


@pytest.fixture
def videos(tmp_path):
    """Return a release of which every clip is a video."""
    trees_meld.meld(tmp_path / "r", trees_meld.small(1), extension=".mp4",
                    write=lambda path: trees.name_only(path).write_bytes(b"video"))
    (tmp_path / "r" / trees_meld.FOLDERS["dev"] / "dia0_utt3.mp4").write_bytes(b"broken")
    return tmp_path / "r"


@pytest.fixture
def decode(repository, monkeypatch):
    """Return the module decode.py, which imports the prepare.py beside it."""
    monkeypatch.syspath_prepend(repository / "egs" / "meld")
    monkeypatch.delitem(sys.modules, "prepare", raising=False)
    spec = importlib.util.spec_from_file_location("meld_decode", repository / "egs/meld/decode.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("prepare", None)


@pytest.fixture
def ffmpeg(tmp_path, monkeypatch):
    """Put a program called ffmpeg on the path that writes sound for all but broken clips."""
    program = tmp_path / "bin" / "ffmpeg"
    trees.sound(program.parent / "sample.flac")
    program.write_text(FFMPEG, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


def test_without_ffmpeg_the_command_that_converts_is_named(videos, decode, monkeypatch, read):
    monkeypatch.setenv("PATH", str(videos))
    with pytest.raises(DataError) as caught:
        decode.decode(videos)
    assert caught.value.exit_code == 3 and "22 clips are videos" in str(caught.value)
    assert "find . -name 'dia*.mp4' -exec sh -c 'ffmpeg " in str(caught.value)
    _, faults = read(videos)
    assert len(faults.faults) == 21 and "ffmpeg -nostdin" in faults.faults[0].remedy
    (group,) = faults.groups()
    assert group.startswith("clips that must be converted first: 21")
    assert group.count("ffmpeg -nostdin") == 1


def test_ffmpeg_puts_the_sound_beside_each_clip_once(videos, decode, ffmpeg, read):
    said = []
    decode.decode(videos, said.append)
    assert said == ["22 clips have no sound beside them yet; ffmpeg takes it out",
                    "cannot be decoded: dia0_utt3.mp4: moov atom not found"]
    found, faults = read(videos)
    assert len(found) == 20 and {Path(record.path).suffix for record in found.values()} == {".flac"}
    assert [fault.where for fault in faults.faults] == ["dev_splits_complete/dia0_utt3.mp4"]
    found, faults = read(videos, leave_out=["dia0_utt3-dev"])
    assert len(found) == 20 and not faults.faults
    assert not list(videos.rglob(".tmp-*")) and not list(videos.rglob("final*.flac"))
    said.clear()
    decode.decode(videos, said.append)  # only what is left
    assert said[0].startswith("1 clips have no sound")


def test_decoding_can_be_stopped_and_goes_on(videos, decode, ffmpeg):
    with pytest.raises(Interrupted, match="of 22 clips"):
        decode.decode(videos, print, lambda: True)
    assert not list(videos.rglob(".tmp-*"))
    decode.decode(videos, lambda _: None)
    assert len(list(videos.rglob("*.flac"))) == 21


def test_the_named_command_converts(videos, load_prepare, ffmpeg):
    subprocess.run(["sh", "-c", load_prepare("meld").COMMAND], cwd=videos, check=False,
                   capture_output=True, timeout=60)
    assert len(list(videos.rglob("*.flac"))) == 21


def test_the_recipe_stops_with_the_command(repository, tmp_path, videos, monkeypatch):
    recipe = copy_recipe(repository, "meld", tmp_path)
    monkeypatch.setenv("PATH", str(videos))
    printed = run_recipe(recipe, "hparams/classical.yaml", "--data_folder", videos, code=3)
    assert "there is no ffmpeg" in printed and "${1%.mp4}.flac" in printed


def test_the_recipe_goes_from_videos_to_the_centre_channel(repository, tmp_path, videos, ffmpeg):
    trees_meld.surround(tmp_path / "bin" / "sample.flac")
    recipe = copy_recipe(repository, "meld", tmp_path)
    printed = run_recipe(
        recipe, "hparams/classical.yaml", "--data_folder", videos, "--stop-stage", "prepare",
        "--corpus.allow_subset", "true", "--corpus.options.leave_out", "[dia0_utt3-dev]")
    assert "22 clips have no sound beside them yet; ffmpeg takes it out" in printed
    manifest = read_manifest(recipe / "data/all/utts.json")
    assert len(manifest) == 20
    for record in manifest.values():
        assert record.path.endswith(".flac")
        assert (record.channel, record.channels, record.sample_rate) == (2, 6, 48000)
    record = manifest["meld-dia0_utt0-test"]
    spectrum = torch.fft.rfft(AudioReader()(record, videos)).abs()
    assert spectrum.argmax().item() * 16000 / 4800 == pytest.approx(300, abs=4)  # 3rd channel


# ------------------------------------------------------------------------- published tables


@pytest.mark.realdata
def test_published_tables_give_the_declared_counts(meta, tmp_path, read, load_corpus, counted):
    parts = trees_meld.official(meta)
    assert {split: len(rows) for split, rows in parts.items()} == {
        "train": 9989, "dev": 1109, "test": 2610}
    trees_meld.meld(tmp_path, parts, write=trees.name_only)
    for split in parts:  # the very files, byte for byte
        (tmp_path / trees_meld.TABLES[split]).write_bytes(
            (meta / f"{split}_sent_emo.csv").read_bytes())
    (tmp_path / trees_meld.FOLDERS["dev"] / "dia110_utt7.wav").unlink()  # as in the release
    corpus = load_corpus("meld")
    found, faults = read(tmp_path, **corpus.options)
    assert not faults.faults and len(found) == corpus.counts["total"] == 13706
    assert counted(found, "split") == corpus.counts["split"]
    assert counted(found, "label") == corpus.counts["label"]
    assert len(counted(found, "speaker")) == corpus.counts["speaker"]
    test = Counter(record.label for record in found.values() if record.split == "test")
    assert test == {"neutral": 1256, "joy": 402, "surprise": 281, "anger": 345, "sadness": 208,
                    "disgust": 68, "fear": 50}
    assert found["meld-dia0_utt0-train"].text.endswith("my company’s transition from the KL-5 to "
                                                       "GR-6 system.")
    dialogues = {split: len({record.tags["dialogue"] for record in found.values()
                             if record.split == split}) for split in parts}
    assert dialogues == {"train": 1038, "dev": 114, "test": 280}
