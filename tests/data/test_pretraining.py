"""Pretraining hears every utterance it should, cut where seed, epoch and name say, never padded."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
from hyperpyyaml import load_hyperpyyaml
from sertools.brains.loaders import begin_epoch, make_loader
from sertools.data.batching import BucketBatchSampler, Example
from sertools.data.cropping import CropToShortest
from sertools.data.dataset import own_generator
from sertools.data.manifest import read_manifest, write_manifest
from sertools.data.pretraining import PretrainingData
from sertools.data.record import Record
from sertools.errors import ConfigError, DataError

RATE = 16000
LENGTHS = (4000, 9000, 12000, 20000, 24000, 16001)


def corpus(root, name, lengths=LENGTHS, seed=0, speakers=2):
    """Write a release `root/releases/<name>` and its manifest `root/egs/<name>/data/all`."""
    draw, records = np.random.default_rng(seed), []
    folder = root / "releases" / name / "wav"
    folder.mkdir(parents=True)
    for number, length in enumerate(lengths):
        samples = (0.1 * draw.standard_normal(length) + 0.01).astype("float32")
        soundfile.write(folder / f"{number}.wav", samples, RATE)
        records.append(Record(
            id=f"{name}-{number}", path=f"wav/{number}.wav", speaker=f"s{number % speakers}",
            duration=length / RATE, sample_rate=RATE, channels=1, audio_hash=f"{name}{number}"))
    write_manifest(root / "egs" / name / "data" / "all" / "utts.json", records)


@pytest.fixture
def two(tmp_path):
    """Return the folder of two prepared corpora; the recipe that pretrains is egs/both."""
    corpus(tmp_path, "a")
    corpus(tmp_path, "b", seed=1)
    return tmp_path


def declared(names="ab", **options):
    sources = {name: {"manifest": f"../{name}/data/all/utts.json", "folder": name}
               for name in names}
    return PretrainingData(sources, **{"max_seconds": 1.0, **options})


def dataset(root, names="ab", seed=0, **options):
    return declared(names, **options).dataset(root / "egs" / "both", root / "releases", seed)


def whole(root, id):
    """Return an utterance as recorded, normalised with numpy."""
    name, number = id.split("-")
    samples, _ = soundfile.read(root / "releases" / name / "wav" / f"{number}.wav")
    return (samples - samples.mean()) / np.sqrt(samples.var() + 1e-5)


def places(cut, of):
    """Return where in a waveform a cut of it may begin."""
    last = len(of) - len(cut)
    near = np.flatnonzero(np.abs(of[:last + 1] - cut[0]) < 1e-4)
    return [at for at in near if np.allclose(of[at:at + len(cut)], cut, atol=1e-4, rtol=0)]


def test_utterances_of_all_sources_normalised_before_the_cut(two):
    data = dataset(two)
    assert data.ids == [f"{name}-{number}" for name in "ab" for number in range(1, 6)]
    assert data.seconds == [9000 / RATE, 12000 / RATE, 1.0, 1.0, 1.0] * 2
    for index, id in enumerate(data.ids):
        example, expected = data[index], whole(two, id)
        assert example.id == id and example.target is None
        assert len(example.inputs) == min(len(expected), RATE)
        assert places(example.inputs.numpy(), expected)


def test_cuts_depend_on_seed_epoch_and_name_alone(two):
    first = dataset(two)
    for example in (first[3], dataset(two, cache_megabytes=0)[3], dataset(two, "a")[3]):
        assert torch.equal(example.inputs, first[3].inputs)
    again = first[3].inputs
    first.set_epoch(1)
    assert not torch.equal(first[3].inputs, again)
    assert not torch.equal(dataset(two, seed=1)[3].inputs, again)


def test_summary_counts_what_is_used_and_what_is_not(two):
    data = dataset(two, exclude=["b/s1"])
    assert data.summary() == {
        "corpora": {
            "a": {"utterances": 5, "hours": round(sum(LENGTHS[1:]) / RATE / 3600, 4),
                  "speakers": 2},
            "b": {"utterances": 2, "hours": round((12000 + 24000) / RATE / 3600, 4),
                  "speakers": 1}},
        "left_out": {"shorter than 0.5 s": {"a": 1, "b": 1}, "excluded": {"b": 3}}}
    assert json.loads(json.dumps(data.summary())) == data.summary()
    assert data.describe()[0].startswith("a: 5 utterances, 0.00 h, 2 speakers")
    assert "left out: shorter than 0.5 s: a 1, b 1" in data.describe()
    assert "b-1" not in data.ids and "b-2" in data.ids


def test_what_is_heard_goes_by_the_corpus_own_name(two):
    """A source may be named freely; ids begin with the corpus' name."""
    assert dataset(two, exclude=["b/s1"]).heard() == {"a": ["s0", "s1"], "b": ["s0"]}
    assert dataset(two, exclude=["b"]).heard() == {"a": ["s0", "s1"]}
    path = two / "egs/b/data/all/utts.json"
    records = [dataclasses.replace(record, id=f"a-more-{record.id}", speaker="s9")
               for record in read_manifest(path).values()]
    write_manifest(path, records)
    assert dataset(two).heard() == {"a": ["s0", "s1", "s9"]}
    records[1:] = [dataclasses.replace(record, id=f"{number}-x", speaker=None)
                   for number, record in enumerate(records[1:])]
    write_manifest(path, records)
    assert dataset(two).heard() == {"a": ["s0", "s1"], "b": None}


def test_an_excluded_corpus_is_neither_heard_nor_needed(two):
    shutil.rmtree(two / "releases" / "b")
    assert {id[0] for id in dataset(two, exclude=["b"]).ids} == {"a"}
    assert dataset(two, exclude=["b"]).summary()["left_out"]["excluded"] == {"b": 6}
    shutil.rmtree(two / "egs" / "b")
    assert {id[0] for id in dataset(two, exclude=["b"]).ids} == {"a"}


def test_silence_gives_zeros_not_nan(tmp_path):
    corpus(tmp_path, "a", [RATE])
    soundfile.write(tmp_path / "releases/a/wav/0.wav", np.zeros(RATE), RATE)
    data = dataset(tmp_path, "a")
    assert torch.equal(data[0].inputs, torch.zeros(RATE))
    batch = CropToShortest(0)([data[0], Example("x", torch.ones(100))])
    assert torch.isfinite(batch.inputs).all() and batch.inputs.shape == (2, 100)


def test_segments_and_channels(tmp_path):
    (tmp_path / "releases/a").mkdir(parents=True)
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (3 * RATE, 2))
    soundfile.write(tmp_path / "releases/a/long.wav", samples, RATE, subtype="FLOAT")
    write_manifest(tmp_path / "egs/a/data/all/utts.json", [Record(
        id="a-1", path="long.wav", start=1.0, end=2.0, channel=1, duration=1.0)])
    part = samples[RATE:2 * RATE, 1]
    expected = (part - part.mean()) / np.sqrt(part.var() + 1e-5)
    np.testing.assert_allclose(dataset(tmp_path, "a")[0].inputs, expected, atol=1e-4)


def test_fingerprint_follows_contents_and_options_not_places(two):
    def mark(names="ab", root=two, **options):
        return declared(names, **options).fingerprint(root / "egs/both", root / "releases")

    first = mark()
    assert first == mark() == mark("ba") == mark(cache_megabytes=1)
    shutil.copytree(two / "egs", two / "moved/egs")
    assert mark(root=two / "moved") == first
    others = [mark("a"), mark(max_seconds=2.0), mark(min_seconds=0.1), mark(exclude=["a/s0"]),
              mark(sample_rate=8000)]
    manifest = two / "egs/a/data/all/utts.json"
    records = read_manifest(manifest)
    del records["a-3"]
    write_manifest(manifest, records)
    assert len({first, mark(), *others}) == 7


# Batches


class Work:
    seed = 3

    def __init__(self, num_workers=0):
        self.num_workers = num_workers


def batches(root, epoch=1, skip=0, workers=0, collate=None, **options):
    data = dataset(root, **options)
    sampler = BucketBatchSampler(data.seconds, 2.5, shuffle=True, seed=3)
    loader = make_loader(data, sampler, Work(workers), "cpu", collate or CropToShortest(3))
    begin_epoch(loader, epoch, seed=3, rank=0, skip=skip)
    return list(loader)


def same(some, others):
    return len(some) == len(others) and all(
        a.ids == b.ids and torch.equal(a.inputs, b.inputs) and torch.equal(a.lengths, b.lengths)
        for a, b in zip(some, others, strict=True))


def test_batches_have_the_length_of_their_shortest_and_no_padding(two):
    data = dataset(two)
    length = dict(zip(data.ids, data.seconds, strict=True))
    found = batches(two)
    assert sorted(id for batch in found for id in batch.ids) == data.ids
    for batch in found:
        shortest = round(min(length[id] for id in batch.ids) * RATE)
        assert batch.inputs.shape == (len(batch.ids), shortest)
        assert batch.lengths.tolist() == [shortest] * len(batch.ids)
        for id, row in zip(batch.ids, batch.inputs, strict=True):
            assert places(row.numpy(), whole(two, id))
    assert any(len(set(length[id] for id in batch.ids)) > 1 for batch in found)


def test_workers_and_resumption_change_nothing(two):
    first = batches(two)
    torch.manual_seed(99)  # the global generator has no say
    assert same(batches(two), first)
    assert same(batches(two, workers=2), first)
    assert same(batches(two, skip=2, workers=1), first[2:])
    assert not same(batches(two, epoch=2), first)


def crop(seed=0, epoch=1, length=50, **options):
    collate = CropToShortest(seed, **options)
    collate.set_epoch(epoch)
    ramp = torch.arange(10_000.0)
    return collate([Example("long", ramp), Example("other", ramp), Example("x", ramp[:length])])


def test_places_differ_between_utterances_epochs_and_seeds():
    batch = crop()
    assert batch.inputs.shape == (3, 50) and torch.equal(batch.inputs[2], torch.arange(50.0))
    assert torch.equal(batch.inputs[:, 1:] - batch.inputs[:, :-1], torch.ones(3, 49))
    starts = {float(row[0]) for one in (batch, crop(epoch=2), crop(seed=1))
              for row in one.inputs[:2]}
    assert len(starts) == 6
    assert torch.equal(crop().inputs, batch.inputs)


def test_places_are_uniform_and_reach_both_ends():
    collate, counts = CropToShortest(0), [0] * 4
    for epoch in range(2000):
        collate.set_epoch(epoch)
        examples = [Example("long", torch.arange(5)), Example("short", torch.arange(2))]
        counts[int(collate(examples).inputs[0, 0])] += 1
    assert all(abs(count - 500) < 5 * (2000 * 0.25 * 0.75) ** 0.5 for count in counts)


def test_hop_rounds_down_unless_nothing_would_be_left():
    assert crop(length=50, hop=16).inputs.shape == (3, 48)
    assert crop(length=48, hop=16).inputs.shape == (3, 48)
    assert crop(length=15, hop=16).inputs.shape == (3, 15)
    with pytest.raises(ConfigError, match="hop: 0"):
        CropToShortest(0, hop=0)


def test_padding_on_request():
    batch = crop(padded=True)
    assert batch.inputs.shape == (3, 10_000) and batch.lengths.tolist() == [10_000, 10_000, 50]
    assert not batch.inputs[2, 50:].any()


def test_the_place_in_the_batch_is_drawn_apart_from_the_first_cut():
    """Two cuts that drew the same number would prefer the same end of every utterance."""
    pairs = []
    for epoch in range(100):
        collate = CropToShortest(0)
        collate.set_epoch(epoch)
        second = collate([Example("a", torch.arange(1000)), Example("b", torch.arange(1))])
        first = torch.randint(1000, (1,), generator=own_generator(0, epoch, "a"))
        pairs.append([int(first), int(second.inputs[0, 0])])
    assert abs(np.corrcoef(np.array(pairs).T)[0, 1]) < 0.4


# Configuration and errors


def test_built_from_yaml(two):
    text = """
data: !new:sertools.data.pretraining.PretrainingData
    sources:
        a:
            manifest: ../a/data/all/utts.json
            folder: a
    shards: []
    exclude: [a/s0]
    min_seconds: 0.5
    max_seconds: 20.0
    sample_rate: 16000
    cache_megabytes: 0
"""
    data = load_hyperpyyaml(text)["data"].dataset(two / "egs/both", two / "releases", 1)
    assert data.ids == ["a-1", "a-3", "a-5"] and len(data[2].inputs) == 16001


def test_all_missing_manifests_are_named_with_their_commands(two, monkeypatch):
    monkeypatch.chdir(two / "egs")
    for name in "ab":
        shutil.rmtree(two / "egs" / name / "data")
    (two / "egs/a/hparams").mkdir()
    (two / "egs/a/run.py").write_text("")
    (two / "egs/a/hparams/corpus.yaml").write_text("name: a\nset: all\n")
    (two / "egs/a/hparams/other.yaml").write_text("name: a\nset: small\n")
    for name, block in (("scratch", "corpus"), ("classical", "corpus"), ("tiny", "other")):
        (two / f"egs/a/hparams/{name}.yaml").write_text(f"corpus: !include:{block}.yaml\n")
    with pytest.raises(ConfigError) as caught:
        dataset(two, shards=["sharded"])
    text = str(caught.value)
    assert ("cd a && python run.py hparams/classical.yaml --stop-stage prepare "
            f"--data_folder {two}/releases/a\n") in text
    assert (f"python utils/manifest_from_folder.py {two}/releases/b --name b "
            f"--out {two}/egs/b/data/all\n") in text
    assert f"{two}/releases/sharded holds no finished shards" in text
    with pytest.raises(ConfigError, match="--stop-stage prepare"):
        declared().fingerprint(two / "egs/both", two / "releases")


def test_missing_audio_is_listed(two):
    for name in "ab":
        (two / "releases" / name / "wav/2.wav").unlink()
    (two / "releases/a/wav/2.wav").mkdir()  # a folder is no file
    (two / "releases/a/wav/0.wav").unlink()  # too short to be used: not needed
    with pytest.raises(DataError) as caught:
        dataset(two)
    assert caught.value.problems == [
        f"a: {two}/releases/a/wav/2.wav", f"b: {two}/releases/b/wav/2.wav"]
    shutil.rmtree(two / "releases/b")
    with pytest.raises(DataError, match="b: the folder .*releases/b does not exist"):
        dataset(two)


def test_utterances_that_clash(two):
    shutil.copytree(two / "egs/a", two / "egs/c")
    shutil.copytree(two / "releases/a", two / "releases/c")
    with pytest.raises(DataError, match="a-1 is in a (.*) and in c") as caught:
        dataset(two, "abc")
    assert len(caught.value.problems) == 5


def test_nothing_left(two):
    with pytest.raises(DataError, match="no utterance is left(.|\n)*shorter than 9 s: {'a': 6"):
        dataset(two, min_seconds=9.0, max_seconds=10.0)


def test_unknown_names_in_exclude(two):
    with pytest.raises(ConfigError, match="'a/s2' is neither .*nearest is 'a/s") as caught:
        dataset(two, exclude=["a/s2", "c", "b", "b/unknown"])
    assert len(caught.value.problems) == 2


def test_utterances_without_a_length(two):
    manifest = two / "egs/a/data/all/utts.json"
    records = read_manifest(manifest) | {"a-9": Record(id="a-9", path="wav/1.wav")}
    write_manifest(manifest, records)
    with pytest.raises(DataError, match="a-9: its duration is None"):
        dataset(two)


WRONG = {
    "sources.a: give two texts": {"sources": {"a": {"manifest": "x"}}},
    "sources: name at least one": {"sources": {}},
    "shards: 'x' is not a list": {"shards": "x"},
    "exclude: .3. is not a list": {"exclude": [3]},
    "min_seconds: '1' is not a number": {"min_seconds": "1"},
    "max_seconds: 0.5 is not above": {"max_seconds": 0.5},
    "sample_rate: 0.5 is not a whole": {"sample_rate": 0.5},
    "cache_megabytes: -1 is not": {"cache_megabytes": -1},
}


@pytest.mark.parametrize("message", WRONG)
def test_options_that_cannot_be_meant(message):
    sound = {"sources": {"a": {"manifest": "m", "folder": "f"}}}
    PretrainingData(**sound)
    with pytest.raises(ConfigError, match=message):
        PretrainingData(**sound | WRONG[message])


def test_relative_folders_need_a_data_folder(two):
    with pytest.raises(ConfigError, match="data_folder is not set(.|\n)*a is relative"):
        declared().dataset(two / "egs/both", None, 0)
    source = {"a": {"manifest": str(two / "egs/a/data/all/utts.json"),
                    "folder": str(two / "releases/a")}}
    assert len(PretrainingData(source).dataset("/", None, 0)) == 5
