"""utils/make_shards.py and utils/manifest_from_folder.py."""

import json
import re
import shutil

import numpy as np
import pytest
import soundfile
import torch
from prepared import make_set, script
from sertools.data.audio import load_audio
from sertools.data.manifest import read_manifest
from sertools.data.pretraining import PretrainingData
from sertools.data.shards import AudioShards
from sertools.data.validate import validate_set

make_shards, manifest_from_folder = (
    script(name).main for name in ("make_shards", "manifest_from_folder"))


def shards_of(folder, *sets, **options):
    flags = [text for key, value in options.items()
             for text in (f"--{key.replace('_', '-')}", str(value))]
    return make_shards([*map(str, sets), "--data-folder", str(folder / "release"),
                        "--out", str(folder / "shards"), *flags])


# make_shards


def test_sets_with_releases_of_their_own(tmp_path, capsys):
    toy, other = make_set(tmp_path), make_set(tmp_path, "other", speakers=3)
    assert shards_of(tmp_path, f"{toy}=toy", f"{other}/utts.json=other", shard_megabytes=0.1) == 0
    out = capsys.readouterr().out
    assert "shards: 28 utterances, 0.00 h, " in out and "shard-000000.tar: " in out
    shards = AudioShards(tmp_path / "shards", verify=True)
    corpora = [entry["corpus"] for entry in shards.utterances.values()]
    assert (corpora.count("toy"), corpora.count("other")) == (16, 12)
    for name, folder in (("toy", toy), ("other", other)):
        for record in read_manifest(folder / "utts.json").values():
            expected = load_audio(tmp_path / "release" / name / record.path)
            assert torch.equal(shards.load(record.id, 16000), expected)
    assert shards_of(tmp_path, f"{toy}=toy", f"{other}/utts.json=other", shard_megabytes=0.1) == 0
    assert "It is written again" not in capsys.readouterr().out


def test_one_release_kept_rate_and_wav(tmp_path):
    toy = make_set(tmp_path)
    arguments = [str(toy), "--data_folder", str(tmp_path / "release/toy"), "--out",
                 str(tmp_path / "s"), "--format", "wav", "--keep-rate", "--workers", "1"]
    assert make_shards(arguments) == 0
    shards = AudioShards(tmp_path / "s")
    assert shards.format == "wav" and len(shards) == 16
    data = PretrainingData(shards=["s"], min_seconds=0, exclude=["toy/s0"])
    assert len(data.dataset(tmp_path, tmp_path, 0)) == 12


def test_a_combined_set_keeps_the_corpora_apart(tmp_path):
    toy, other = make_set(tmp_path), make_set(tmp_path, "other", speakers=3)
    assert script("combine").main([str(tmp_path / "both"), f"{toy}={tmp_path}/release/toy",
                                   f"{other}={tmp_path}/release/other", "--data-folder",
                                   str(tmp_path / "release")]) == 0
    assert shards_of(tmp_path, tmp_path / "both") == 0
    corpora = {entry["corpus"] for entry in AudioShards(tmp_path / "shards").utterances.values()}
    assert corpora == {"toy", "other"}


def test_errors(tmp_path, capsys):
    toy = make_set(tmp_path)
    assert shards_of(tmp_path, tmp_path / "none/utts.json", tmp_path / "gone/utts.json") == 2
    err = capsys.readouterr().err
    assert "none/utts.json does not exist" in err and "gone/utts.json does not exist" in err
    assert shards_of(tmp_path, toy) == 3  # =toy is forgotten
    err = capsys.readouterr().err
    assert "release/wav/s0_angry_1.wav" in err and "correct data_folder" in err
    assert shards_of(tmp_path, f"{toy}=toy", f"{toy}=toy") == 2
    assert "several manifests are of one corpus: toy" in capsys.readouterr().err
    assert shards_of(tmp_path, f"{toy}=toy", workers=0) == 2
    assert shards_of(tmp_path, f"{toy}=toy", shard_megabytes=-1) == 2
    assert not (tmp_path / "shards").exists()
    assert shards_of(tmp_path, f"{toy}=toy") == 0
    assert shards_of(tmp_path, f"{toy}=toy", format="wav") == 2
    assert "holds shards of other utterances or options" in capsys.readouterr().err


# manifest_from_folder


@pytest.fixture
def sounds(tmp_path):
    folder, draw = tmp_path / "any", np.random.default_rng(0)
    for name in ("ann/1.wav", "ann/deep/2.flac", "bob/1.wav", "top.WAV", "a.b.ogg"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * draw.standard_normal(16000), 16000)
    (folder / "notes.txt").write_text("not audio")
    return folder


def test_any_folder_becomes_a_manifest_to_pretrain_on(sounds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert manifest_from_folder([str(sounds), "--name", "web", "--language", "en"]) == 0
    records = read_manifest(tmp_path / "data/web/utts.json")
    assert {id: record.path for id, record in records.items()} == {
        "web-ann_1": "ann/1.wav", "web-ann_deep_2": "ann/deep/2.flac", "web-bob_1": "bob/1.wav",
        "web-top": "top.WAV", "web-a.b": "a.b.ogg"}
    assert all(record.duration == 1.0 and record.audio_hash and record.language == "en"
               and record.label is None and record.speaker is None for record in records.values())
    assert not validate_set(tmp_path / "data/web", sounds, text=False).faults
    data = PretrainingData({"web": {"manifest": "data/web/utts.json", "folder": str(sounds)}})
    assert len(data.dataset(tmp_path, None, 0)) == 5


def test_first_folders_as_speakers(sounds, tmp_path):
    out = tmp_path / "out"
    assert manifest_from_folder([str(sounds), "--name", "web", "--out", str(out),
                                 "--speakers"]) == 0
    speakers = {id: record.speaker for id, record in read_manifest(out / "utts.json").items()}
    assert speakers == {"web-ann_1": "ann", "web-ann_deep_2": "ann", "web-bob_1": "bob",
                        "web-top": None, "web-a.b": None}


def test_names_that_clash_or_cannot_be_ids(sounds, tmp_path, capsys):
    for name in ("ann_1.wav", "ann/1.flac", "x..y.wav", "line\nbreak.wav", "z" * 220 + ".wav"):
        shutil.copy(sounds / "bob/1.wav", sounds / name)
    arguments = [str(sounds), "--name", "web", "--out", str(tmp_path / "out")]
    assert manifest_from_folder(arguments) == 0
    records = read_manifest(tmp_path / "out/utts.json")
    paths = {record.path: id for id, record in records.items()}
    assert len(records) == len(paths) == 10 and paths["bob/1.wav"] == "web-bob_1"
    clashing = {paths[name] for name in ("ann_1.wav", "ann/1.wav", "ann/1.flac")}
    assert len(clashing) == 3 and all(re.fullmatch("web-ann_1-[0-9a-f]{8}", id) for id in clashing)
    assert re.fullmatch("web-x__y-[0-9a-f]{8}", paths["x..y.wav"])
    assert re.fullmatch("web-line_break-[0-9a-f]{8}", paths["line\nbreak.wav"])
    assert len(paths["z" * 220 + ".wav"]) == 200
    shutil.copy(sounds / "bob/1.wav", sounds / "back\\slash.wav")
    assert manifest_from_folder(arguments) == 3
    assert "forward slashes" in capsys.readouterr().err


def test_bad_audio_stops_or_is_left_out(sounds, tmp_path, capsys):
    (sounds / "broken.wav").write_bytes(b"RIFF" + bytes(50))
    soundfile.write(sounds / "short.wav", np.ones(400), 16000)
    arguments = [str(sounds), "--name", "web", "--out", str(tmp_path / "out")]
    assert manifest_from_folder(arguments) == 3
    err = capsys.readouterr().err
    assert "broken.wav" in err and "short.wav" in err and "--skip-bad-audio" in err
    assert manifest_from_folder([*arguments, "--skip-bad-audio", "--min-seconds", "0.5"]) == 0
    assert len(read_manifest(tmp_path / "out/utts.json")) == 5
    assert len(json.loads((tmp_path / "out/skipped.json").read_text())) == 2


def test_usage_of_manifest_from_folder(tmp_path, capsys):
    assert manifest_from_folder([str(tmp_path), "--name", "a/b"]) == 2
    assert manifest_from_folder([str(tmp_path / "none"), "--name", "web",
                                 "--out", str(tmp_path / "out")]) == 3
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "out/utts.json").exists()
