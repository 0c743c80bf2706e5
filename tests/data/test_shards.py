"""Shards hold the same sound as the files, for us and for WebDataset; kills and damage are met."""

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import soundfile
import torch
import webdataset
from sertools.data import shard_writer
from sertools.data.audio import load_audio
from sertools.data.manifest import write_manifest
from sertools.data.pretraining import PretrainingData
from sertools.data.record import Record
from sertools.data.shard_writer import Clip, write_shards
from sertools.data.shards import AudioShards
from sertools.errors import ConfigError, DataError, Interrupted

NAMES = ("plain", "a.b", "100%", "zweiß ö", "x" * 150)


def clips(root, count=12, rate=16000, channels=1, subtype="PCM_16"):
    """Write a release of noise of 0.5 to 1 s at all levels, some beyond half of full scale."""
    folder, found = root / "release", []
    (folder / "wav").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        draw = np.random.default_rng(number)
        samples = draw.uniform(-1, 1, (rate // 2 + 400 * number, channels)) / (1 + number)
        path = f"wav/{number}.wav"
        soundfile.write(folder / path, samples, rate, subtype=subtype)
        name = NAMES[number] if number < len(NAMES) else str(number)
        found.append(Clip("toy", Record(
            id=f"toy-{name}", path=path, label="calm", speaker=f"s{number % 3}", tags={"take": "1"},
            duration=len(samples) / rate, sample_rate=rate, channels=channels,
            audio_hash=f"{number}"), folder))
    return found


def write(root, some=None, **options):
    options = {"shard_megabytes": 0.05, "say": lambda text: None, "workers": 2, **options}
    return write_shards(some or clips(root), root / "shards", **options)


def plain(clip, rate=16000):
    record = clip.record
    return load_audio(clip.folder / record.path, rate, record.start, record.end, record.channel)


def test_sound_is_that_of_the_files_sample_by_sample(tmp_path):
    some = clips(tmp_path)
    shards = AudioShards(write(tmp_path, some), verify=True)
    assert sorted(shards.ids) == sorted(clip.record.id for clip in some) and len(shards) == 12
    assert len(shards.shards) > 3
    for clip in some:
        samples, rate = soundfile.read(clip.folder / clip.record.path, dtype="int16")
        found, own = soundfile.read(io.BytesIO(shards.read(clip.record.id)), dtype="int16")
        assert rate == own and np.array_equal(samples, found)
        assert torch.equal(shards.load(clip.record.id, 16000), plain(clip))
    assert "toy-plain" in shards and "toy-none" not in shards


def test_every_16_bit_value_survives(tmp_path):
    values = np.arange(-32768, 32768, dtype="int16")
    (tmp_path / "release").mkdir()
    soundfile.write(tmp_path / "release/all.wav", values, 16000)
    clip = Clip("t", Record(id="t-all", path="all.wav", duration=4.096), tmp_path / "release")
    shards = AudioShards(write(tmp_path, [clip]))
    found, _ = soundfile.read(io.BytesIO(shards.read("t-all")), dtype="int16")
    assert np.array_equal(found, values)


@pytest.mark.parametrize("format, error", [("flac", 0.5 / 32768), ("wav", 0)])
def test_resampled_to_one_channel(tmp_path, format, error):
    some = clips(tmp_path, 3, rate=22050, channels=2, subtype="FLOAT")
    shards = AudioShards(write(tmp_path, some, format=format))
    for clip in some:
        found = shards.load(clip.record.id, 16000)
        expected = plain(clip)
        if format == "flac":
            expected = expected.clamp(-1, 32767 / 32768)
        assert soundfile.info(io.BytesIO(shards.read(clip.record.id))).channels == 1
        assert len(found) == len(expected)
        assert float((found - expected).abs().max()) <= 1.01 * error


def test_rate_kept_on_request(tmp_path):
    some = clips(tmp_path, 2, rate=8000)
    shards = AudioShards(write(tmp_path, some, sample_rate=None))
    assert soundfile.info(io.BytesIO(shards.read("toy-plain"))).samplerate == 8000
    assert torch.equal(shards.load("toy-plain", 16000), plain(some[0]))


def test_segments_become_files_of_their_own(tmp_path):
    (clip,) = clips(tmp_path, 1, channels=2)
    record = Record(id="toy-part", path=clip.record.path, start=0.1, end=0.3, channel=1,
                    duration=0.2)
    part = Clip("toy", record, clip.folder)
    shards = AudioShards(write(tmp_path, [part]))
    assert torch.equal(shards.load("toy-part", 16000), plain(part))
    assert shards.record("toy-part").start is None


@pytest.mark.parametrize("format, said", [("flac", True), ("wav", False)])
def test_clipping_is_said(tmp_path, format, said):
    (clip,) = clips(tmp_path, 1)
    loud = np.array([0.5, 1.5, -2.0, 0.25] * 4000)
    soundfile.write(clip.folder / clip.record.path, loud, 16000, subtype="FLOAT")
    lines = []
    shards = AudioShards(write(tmp_path, [clip], format=format, say=lines.append))
    assert any("1 utterances reach beyond full scale" in line for line in lines) == said
    expected = np.clip(loud, -1, 32767 / 32768) if said else loud
    np.testing.assert_array_equal(shards.load("toy-plain", 16000), expected.astype("float32"))


def test_any_webdataset_reader_can_read_them(tmp_path):
    some = {clip.record.id: clip for clip in clips(tmp_path)}
    folder = write(tmp_path, list(some.values()))
    urls = [str(path) for path in sorted(folder.glob("*.tar"))]
    order = []
    for sample in webdataset.WebDataset(urls, shardshuffle=False):
        record = json.loads(sample["json"])
        samples, rate = soundfile.read(io.BytesIO(sample["flac"]), dtype="float32")
        assert rate == record["sample_rate"] == 16000
        assert np.array_equal(samples, plain(some[record["id"]]).numpy())
        assert (record["corpus"], record["label"], record["tags"]) == ("toy", "calm", {"take": "1"})
        order.append(record["id"])
    assert sorted(order) == sorted(some) != order


def test_the_index_agrees_with_a_walk_through_the_tars(tmp_path):
    folder = write(tmp_path)
    index = json.loads((folder / "index.json").read_text())["content"]
    seen = set()
    for number, note in enumerate(index["shards"]):
        with tarfile.open(folder / note["file"]) as tar:
            for member in tar.getmembers():
                if member.name.endswith(".json"):
                    record = json.loads(tar.extractfile(member).read())
                    entry = index["utterances"][record["id"]]
                    sound = (folder / note["file"]).read_bytes()[entry["offset"]:][:entry["size"]]
                    assert sound == tar.extractfile(member.name[:-4] + "flac").read()
                    assert (entry["shard"], entry["corpus"]) == (number, "toy")
                    assert (entry["speaker"], entry["duration"]) == (
                        record["speaker"], record["duration"])
                    seen.add(record["id"])
    assert seen == index["utterances"].keys()


def test_travels_to_workers_and_keeps_few_files_open(tmp_path, monkeypatch):
    monkeypatch.setattr("sertools.data.shards._OPEN_FILES", 2)
    shards = AudioShards(write(tmp_path))
    first = [shards.load(id, 16000) for id in shards.ids]
    assert len(shards._open) == 2
    copied = pickle.loads(pickle.dumps(shards))
    loader = torch.utils.data.DataLoader(
        shards.ids, batch_size=None, num_workers=2,
        collate_fn=lambda id: shards.load(id, 16000))  # forked: files are open on both sides
    for one, other, id in zip(first, loader, shards.ids, strict=True):
        assert torch.equal(one, other) and torch.equal(one, copied.load(id, 16000))


# Pretraining from shards


def test_pretraining_hears_the_same_from_shards_as_from_files(tmp_path):
    some = clips(tmp_path)
    write_manifest(tmp_path / "egs/toy/data/all/utts.json", [clip.record for clip in some])
    write(tmp_path, some)
    common = {"exclude": ["toy/s1"], "min_seconds": 0.55, "max_seconds": 0.6}
    files = PretrainingData({"toy": {"manifest": "../toy/data/all/utts.json", "folder": "release"}},
                            **common).dataset(tmp_path / "egs/x", tmp_path, 1)
    sharded = PretrainingData(shards=["shards"], **common)
    shards = sharded.dataset(tmp_path / "egs/x", tmp_path, 1)
    for data in (files, shards):
        data.set_epoch(3)
    assert shards.ids == files.ids and shards.seconds == files.seconds
    assert shards.summary() == files.summary() and 0 < len(shards) < 10
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(shards, files, strict=True))
    mark = sharded.fingerprint(tmp_path, tmp_path)
    assert mark == sharded.fingerprint("/", tmp_path)
    (tmp_path / "shards").rename(tmp_path / "elsewhere")
    write(tmp_path, some[:5])
    assert sharded.fingerprint(tmp_path, tmp_path) != mark
    with pytest.raises(DataError, match="toy-plain is in toy .*release.* and in toy .*shards"):
        PretrainingData({"toy": {"manifest": "../toy/data/all/utts.json", "folder": "release"}},
                        ["shards"]).dataset(tmp_path / "egs/x", tmp_path, 1)


# Interruptions and damage


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_written_once_and_always_alike(tmp_path):
    folder = write(tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("shard-*")}
    reference = contents(folder)
    assert write(tmp_path, clips(tmp_path)[::-1]) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.glob("shard-*")} == stamps
    (tmp_path / "other").mkdir()
    assert contents(write(tmp_path / "other", workers=1)) == reference


def test_stopping_keeps_finished_shards(tmp_path):
    calls = iter(range(100))
    with pytest.raises(Interrupted, match="Stopped with 2 shards written"):
        write(tmp_path, should_stop=lambda: next(calls) >= 2)
    with pytest.raises(DataError, match="index.json: it does not exist(.|\n)*make_shards.py"):
        AudioShards(tmp_path / "shards")
    first = (tmp_path / "shards/shard-000001.tar").stat().st_mtime_ns
    AudioShards(write(tmp_path), verify=True)
    assert (tmp_path / "shards/shard-000001.tar").stat().st_mtime_ns == first


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_shards as t
from sertools import files
flushes, real = 0, files._flush
def flush(path):
    global flushes
    flushes += 1
    if flushes == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
    real(path)
files._flush = flush
t.write(Path({folder!r}))
"""


@pytest.mark.parametrize("at, finished", [(2, 0), (5, 0), (8, 1)])
def test_sigkill_and_the_same_call_finishes_with_the_same_bytes(tmp_path, at, finished):
    """Each published file is flushed three times: the first shard, its note, the second shard."""
    code = KILLED.format(tests=os.path.dirname(__file__), at=at, folder=str(tmp_path))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert len(list((tmp_path / "shards").glob("shard-*.json"))) == finished
    lines = []
    found = contents(write(tmp_path, say=lines.append))
    assert any("shard-000000" in line for line in lines) == (finished == 0)
    (tmp_path / "other").mkdir()
    assert found == contents(write(tmp_path / "other"))


@pytest.mark.parametrize("fault, verify, message", [
    ("cut", False, "bytes instead of"), ("remove", False, "shard-000001.tar does not exist"),
    ("flip", True, "its SHA-256 does not fit")])
def test_damaged_shards_are_found_said_and_mended(tmp_path, fault, verify, message):
    folder = write(tmp_path)
    reference, path = contents(folder), folder / "shard-000001.tar"
    content = bytearray(path.read_bytes())
    if fault == "remove":
        path.unlink()
    else:
        content[5000] ^= 1
        path.write_bytes(content if fault == "flip" else content[:-10_000])
    with pytest.raises(DataError, match=f"{message}(.|\n)*same utils/make_shards.py command"):
        AudioShards(folder, verify=verify)
    lines = []
    write(tmp_path, say=lines.append)
    assert contents(folder) == reference
    assert sum("It is written again" in line for line in lines) == 1


def test_shards_cut_elsewhere_leave_no_surplus(tmp_path):
    folder = write(tmp_path)
    reference = contents(folder)
    extra = folder / "shard-000099.tar"
    extra.write_bytes(b"x")
    write(tmp_path)
    assert contents(folder) == reference


def test_a_shard_that_shrinks_or_breaks_under_the_reader(tmp_path):
    shards = AudioShards(write(tmp_path))
    entry = shards.utterances["toy-plain"]
    path = shards.folder / shards.shards[entry["shard"]]["file"]
    content = path.read_bytes()
    path.write_bytes(content[:entry["offset"]] + bytes(entry["size"]))
    with pytest.raises(DataError, match=r"shard-\d+.tar/toy-plain.flac(.|\n)*make_shards.py"):
        shards.load("toy-plain", 16000)
    path.write_bytes(content[:entry["offset"] + 10])
    with pytest.raises(DataError, match="toy-plain is cut short(.|\n)*make_shards.py"):
        shards.load("toy-plain", 16000)


def test_nan_is_refused_on_the_way_in_and_out(tmp_path, monkeypatch):
    some = clips(tmp_path, 3)
    for clip in some[:2]:
        bad = np.full(8000, np.nan)
        soundfile.write(clip.folder / clip.record.path, bad, 16000, subtype="FLOAT")
    with pytest.raises(DataError, match="NaN") as caught:
        write(tmp_path, some)
    assert len(caught.value.problems) == 2
    monkeypatch.setattr(shard_writer, "load_audio", lambda *place: torch.full((8000,), torch.nan))
    shards = AudioShards(write(tmp_path, some, format="wav"))
    with pytest.raises(DataError, match="toy-plain.wav: it holds NaN"):
        shards.load("toy-plain", 16000)


def test_other_shards_are_not_overwritten(tmp_path):
    some = clips(tmp_path)
    reference = contents(write(tmp_path, some))
    for other in ({"some": some[1:]}, {"format": "wav"}, {"sample_rate": 8000},
                  {"shard_megabytes": 1}):
        with pytest.raises(ConfigError, match="holds shards of other utterances or options"):
            write(tmp_path, **{"some": some, **other})
    assert contents(tmp_path / "shards") == reference


def test_usage(tmp_path):
    some = clips(tmp_path, 2)
    with pytest.raises(ConfigError) as caught:
        write(tmp_path, some, format="mp3", shard_megabytes=0)
    assert len(caught.value.problems) == 2
    with pytest.raises(DataError, match="toy-plain is in toy and in toy"):
        write(tmp_path, some + some[:1])
    assert not (tmp_path / "shards").exists()
