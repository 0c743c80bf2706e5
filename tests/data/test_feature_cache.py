"""Cached features are the encoder's own, survive kills, and never outlive what they depend on."""

import dataclasses
import os
import pickle
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from sertools.data import feature_writer
from sertools.data.batching import collate
from sertools.data.dataset import FeatureDataset
from sertools.data.feature_cache import ENCODER, FeatureCache
from sertools.data.feature_writer import write_features
from sertools.data.record import Record
from sertools.errors import ConfigError, DataError, Interrupted
from sertools.files import read_json

RATE = 100


class Reader:
    """Stands in for the audio reader: noise that depends on the recording's hash alone."""

    sample_rate, crop, crop_seconds, normalise = RATE, None, None, False

    def __call__(self, record, data_folder, generator=None):
        draw = torch.Generator().manual_seed(int(record.audio_hash, 16))
        return torch.randn(round(record.duration * RATE), generator=draw)


class Encoder(torch.nn.Module):
    """Ten frames a second of three depths; counts what it encodes."""

    num_layers, dim, frame_rate, sample_rate = 2, 4, 10.0, RATE

    def __init__(self, weight=1.0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))
        self.identity = {"class": "Encoder", "sha256": str(weight)}
        self.encoded = 0

    def forward(self, waveforms, lengths, hidden=False):
        self.encoded += len(waveforms)
        frames = waveforms.unfold(1, 10, 10)[..., : self.dim] * self.weight
        depths = [frames + depth for depth in range(3)] if hidden else None
        return SimpleNamespace(last=frames + 9, hidden=depths, lengths=lengths // 10)


def records(count=12, start=0):
    return {
        f"toy-{n}": Record(
            id=f"toy-{n}", path=f"{n}.wav", duration=1.0 + n % 5, audio_hash=f"{n + 1:x}"
        )
        for n in range(start, start + count)
    }


def write(folder, manifest=None, upstream=None, **options):
    options.setdefault("say", lambda text: None)
    options.setdefault("batch_seconds", 10.0)
    return write_features(
        upstream or Encoder(),
        manifest or records(),
        "",
        options.pop("reader", Reader()),
        folder,
        **options,
    )


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(feature_writer, "SHARD_SECONDS", 8.0)


def test_the_size_of_an_encoder_is_noted_if_it_says_it(tmp_path):
    assert not (write(tmp_path) / ENCODER).exists()
    upstream = Encoder()
    upstream.size = lambda: {"parameters": 1, "macs_per_second": None, "seconds": None}
    folder = write(tmp_path, upstream=upstream)
    assert read_json(folder / ENCODER)["parameters"] == 1
    assert "toy-0" in FeatureCache(folder)  # the file is no part of what makes a cache sound


def test_depths_may_be_counted_from_the_last(tmp_path):
    backwards, forwards = (FeatureCache(write(tmp_path, layers=layers))
                           for layers in ([-2, -1], [1, 2]))
    assert backwards.folder == forwards.folder and backwards.num_layers == 2
    with pytest.raises(ConfigError, match="-1 down to -3"):
        write(tmp_path, layers=[-4])


def test_features_are_those_of_each_utterance_alone(tmp_path):
    cache = FeatureCache(write(tmp_path), verify=True)
    assert (cache.num_layers, cache.dim, cache.frame_rate, len(cache)) == (3, 4, 10.0, 12)
    for record in records().values():
        alone = Reader()(record, "").unfold(0, 10, 10)[:, :4]
        features = cache.get(record.id)
        assert features.dtype == torch.float16
        assert features.shape == (3, cache.frames(record.id), 4) == (3, record.duration * 10, 4)
        torch.testing.assert_close(features[2].float(), alone + 2, atol=2e-3, rtol=0)


@pytest.mark.parametrize("layers, expected", [("last", [9]), ([2, 0], [2, 0]), ("all", [0, 1, 2])])
def test_layers(tmp_path, layers, expected):
    cache = FeatureCache(write(tmp_path, layers=layers))
    first = Reader()(records()["toy-0"], "")[:4]
    for depth, more in enumerate(expected):
        torch.testing.assert_close(
            cache.get("toy-0")[depth, 0].float(), first + more, atol=8e-3, rtol=0
        )


def test_bf16_storage_and_computation(tmp_path):
    cache = FeatureCache(write(tmp_path, storage="bf16", precision="bf16"))
    assert cache.get("toy-3").dtype == torch.bfloat16


def test_dataset_and_batches(tmp_path):
    cache = FeatureCache(write(tmp_path))
    data = FeatureDataset(cache, ["toy-4", "toy-0"], {"toy-0": 0, "toy-4": 3})
    assert data.seconds == [5.0, 1.0]
    batch = collate([data[0], data[1]])
    assert batch.inputs.shape == (2, 3, 50, 4) and batch.lengths.tolist() == [50, 10]
    assert batch.targets.tolist() == [3, 0]


def test_cache_travels_to_workers(tmp_path):
    cache = FeatureCache(write(tmp_path))
    before = cache.get("toy-1")
    assert torch.equal(pickle.loads(pickle.dumps(cache)).get("toy-1"), before)
    loader = torch.utils.data.DataLoader(
        FeatureDataset(cache, cache.ids), batch_size=4, collate_fn=collate, num_workers=2
    )
    assert sum(len(batch) for batch in loader) == 12


def test_equal_recordings_are_encoded_once(tmp_path):
    manifest = records(4)
    manifest["toy-9"] = dataclasses.replace(manifest["toy-1"], id="toy-9", path="copy.wav")
    upstream = Encoder()
    cache = FeatureCache(write(tmp_path, manifest, upstream))
    assert upstream.encoded == 4
    assert torch.equal(cache.get("toy-9"), cache.get("toy-1"))


def test_written_once(tmp_path):
    first = write(tmp_path)
    stamps = {file: file.stat().st_mtime_ns for file in first.glob("shard-*")}
    upstream = Encoder()
    assert write(tmp_path, upstream=upstream) == first
    assert upstream.encoded == 0
    assert {file: file.stat().st_mtime_ns for file in first.glob("shard-*")} == stamps
    index = (first / "index.json").read_bytes()
    write(tmp_path, batch_seconds=3.0, num_workers=1)  # speed only: same features, same place
    assert (first / "index.json").read_bytes() == index


def changed_audio():
    manifest = records()
    manifest["toy-3"] = dataclasses.replace(manifest["toy-3"], audio_hash="ffff")
    return manifest


CHANGES = {
    "audio hash": lambda: {"manifest": changed_audio()},
    "another utterance": lambda: {"manifest": records(13)},
    "weights": lambda: {"upstream": Encoder(2.0)},
    "layers": lambda: {"layers": [1]},
    "last instead of all": lambda: {"layers": "last"},
    "precision": lambda: {"precision": "bf16"},
    "storage": lambda: {"storage": "fp32"},
    "normalisation": lambda: {"reader": _reader(normalise=True)},
    "crop": lambda: {"reader": _reader(crop="start", crop_seconds=2.0)},
}


def _reader(**changes):
    reader = Reader()
    vars(reader).update(changes)
    return reader


@pytest.mark.parametrize("change", CHANGES)
def test_changed_input_goes_to_another_folder(tmp_path, change):
    first = write(tmp_path)
    kept = {file.name: file.read_bytes() for file in first.iterdir()}
    other = write(tmp_path, **CHANGES[change]())
    assert other != first
    assert {file.name: file.read_bytes() for file in first.iterdir()} == kept


def test_changed_code_goes_to_another_folder(tmp_path, monkeypatch):
    first = write(tmp_path)
    monkeypatch.setattr(feature_writer, "CODE_VERSION", feature_writer.CODE_VERSION + 1)
    assert write(tmp_path) != first


def test_stopping_keeps_finished_shards(tmp_path, small_shards):
    calls = iter(range(100))
    with pytest.raises(Interrupted, match="Stopped with 3 of 5 shards written"):
        write(tmp_path, should_stop=lambda: next(calls) >= 3)
    folder = next(tmp_path.iterdir())
    assert len(list(folder.glob("*.safetensors"))) == 3
    with pytest.raises(DataError, match="index.json: it does not exist"):
        FeatureCache(folder)
    upstream = Encoder()
    assert write(tmp_path, upstream=upstream) == folder
    assert 0 < upstream.encoded < 12
    reference = FeatureCache(write(tmp_path / "other"))
    resumed = FeatureCache(folder, verify=True)
    assert all(torch.equal(resumed.get(id), reference.get(id)) for id in resumed.ids)


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import test_feature_cache as t
from sertools import files
from sertools.data import feature_writer
feature_writer.SHARD_SECONDS = 8.0
flushes, real = 0, files._flush
def flush(path):
    global flushes
    flushes += 1
    if flushes == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
    real(path)
files._flush = flush
t.write({folder!r})
"""


@pytest.mark.parametrize("at", [1, 3, 8, 32])
def test_sigkill_anywhere_and_the_same_call_finishes(tmp_path, at, small_shards):
    """Each published file is flushed three times; kill in shards, notes and the index."""
    code = KILLED.format(tests=os.path.dirname(__file__), at=at, folder=str(tmp_path))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL, run.stderr
    folder = next(tmp_path.iterdir())
    finished = len(list(folder.glob("shard-*.json")))
    for left in folder.glob(".tmp-*"):
        os.utime(left, (0, 0))
    said, upstream = [], Encoder()
    assert write(tmp_path, upstream=upstream, say=said.append) == folder
    assert not any("again" in line for line in said)
    assert (upstream.encoded < 12) == (finished > 0)
    assert len(FeatureCache(folder, verify=True)) == 12
    assert not list(folder.glob(".tmp-*"))


@pytest.mark.parametrize("fault", ["flip", "cut", "remove"])
@pytest.mark.parametrize("name", ["shard-00002.safetensors", "shard-00002.json", "index.json"])
def test_damage_is_found_said_and_mended(tmp_path, name, fault, small_shards):
    folder = write(tmp_path)
    file = folder / name
    content = bytearray(file.read_bytes())
    reference = {id: FeatureCache(folder).get(id).clone() for id in records()}
    if fault == "remove":
        file.unlink()
    else:
        middle = len(content) // 2
        content[middle : middle + 1] = b"" if fault == "cut" else bytes([content[middle] ^ 1])
        file.write_bytes(content)
    if not name.startswith("shard-00002.json"):  # notes are for the writer
        with pytest.raises(DataError, match=f"{name}(.|\n)*run stage features again"):
            FeatureCache(folder, verify=True)
    said, upstream = [], Encoder()
    write(tmp_path, upstream=upstream, say=said.append)
    if name != "index.json":
        assert 0 < upstream.encoded < 12
    if name != "index.json" and (fault != "remove" or name.endswith("safetensors")):
        assert any(name in line and "computed again" in line for line in said)
    mended = FeatureCache(folder, verify=True)
    assert all(torch.equal(mended.get(id), reference[id]) for id in reference)


def test_size_is_checked_without_reading_everything(tmp_path):
    folder = write(tmp_path)
    with open(folder / "shard-00000.safetensors", "ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match="bytes instead of"):
        FeatureCache(folder)


def test_overflow_is_refused_and_wider_range_works(tmp_path):
    with pytest.raises(DataError, match="do not fit torch.float16(.|\n)*storage: bf16"):
        write(tmp_path, upstream=Encoder(1e6))
    assert FeatureCache(write(tmp_path, upstream=Encoder(1e6), storage="bf16")).get("toy-0").max()
    with pytest.raises(DataError, match="no finite numbers"):
        write(tmp_path, upstream=Encoder(float("nan")))


def test_disk_space_is_stated_and_checked(tmp_path, monkeypatch):
    said = []
    write(tmp_path, say=said.append)
    assert "0.01 h of audio, about 0 MB" in said[0]
    monkeypatch.setattr(
        feature_writer.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000)
    )
    with pytest.raises(DataError, match="Features need 0.0 GB, .* has 0.0 GB left"):
        write(tmp_path / "full")


def test_wrong_options_are_listed_together(tmp_path):
    reader = _reader(crop="random", sample_rate=8000)
    with pytest.raises(ConfigError) as caught:
        write(tmp_path, reader=reader, layers=[7], precision="fp8", storage="int8")
    assert len(caught.value.problems) == 5
    with pytest.raises(ConfigError, match="choose all, last or depths of 0 to 2"):
        write(tmp_path, layers="first")


def test_unprepared_manifest_and_unknown_utterance(tmp_path):
    bare = {"toy-0": Record(id="toy-0", path="0.wav")}
    with pytest.raises(DataError, match="toy-0(.|\n)*run stage prepare"):
        write(tmp_path, bare)
    cache = FeatureCache(write(tmp_path))
    assert "toy-99" not in cache
    with pytest.raises(DataError, match="has no utterance 'toy-99'"):
        cache.get("toy-99")
