"""A student's crop and its teacher's frames are of the same sound, cached or not, in any order."""

import pickle
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
import torch.nn.functional as F
from sertools.data import feature_writer
from sertools.data.dataset import own_generator
from sertools.data.feature_cache import FeatureCache
from sertools.data.manifest import read_manifest
from sertools.data.pretraining import PretrainingData
from sertools.data.shard_writer import Clip, write_shards
from sertools.data.targets import (
    TargetDataset,
    collate_targets,
    take_frames,
    too_short,
    write_convolutions,
    write_targets,
)
from sertools.errors import ConfigError, DataError, Interrupted
from sertools.models.presets import build_encoder
from sertools.models.upstream import OwnUpstream
from test_pretraining import RATE, corpus, declared

LENGTHS = (2000, 7000, 12345, 20000, 50000)
HEARD = 32000
"""Samples that the teacher hears at most: 2 s."""
CROP = 9600
HOP, FIELD = 320, 400
DEPTHS = [1, 2]
SIZES = {"dim": 16, "num_layers": 2, "num_heads": 2, "ffn_dim": 16, "conv_dim": 16,
         "position_kernel": 3, "position_groups": 2, "normalise_waveform": True}


def encoder(seed=1, **changes):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_encoder(**{"frontend": "conv", **SIZES, **changes}).eval()


def audio_of(root, **options):
    data = PretrainingData(
        {"a": {"manifest": "../a/data/all/utts.json", "folder": "a"}}, min_seconds=0.1,
        max_seconds=2.0, **options)
    return data.dataset(root / "egs/both", root / "releases", 0, normalise=False, crop="start")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("targets")
    corpus(folder, "a", LENGTHS)
    return folder


@pytest.fixture(scope="module")
def audio(root):
    return audio_of(root)


@pytest.fixture(scope="module")
def teacher():
    return OwnUpstream(encoder(2))


def quietly(function, *arguments, **options):
    return FeatureCache(function(*arguments, **{"say": lambda text: None, **options}))


@pytest.fixture(scope="module")
def cache(root, audio, teacher):
    return quietly(write_targets, teacher, audio, root / "caches", DEPTHS)


def targets(audio, crop="start", **options):
    config = encoder().config
    return TargetDataset(audio, config.hop, config.frames, crop, CROP / RATE, seed=5, **options)


def recorded(root, id):
    """Return what the teacher hears, read with soundfile."""
    samples, _ = soundfile.read(root / f"releases/a/wav/{id.split('-')[1]}.wav", dtype="float32")
    return torch.from_numpy(samples[:HEARD])


def by_hand(root, teacher, id, start, samples):
    """Return the teacher's frames (layers, T, dim) of a crop: all are computed, then cut."""
    with torch.no_grad():
        hidden = teacher.model(recorded(root, id)[None], hidden=True).hidden
    count = (samples - FIELD) // HOP + 1
    return torch.stack([hidden[depth][0, start:start + count] for depth in DEPTHS])


def crops(root, data, epochs=(1, 2, 3)):
    for epoch in epochs:
        data.set_epoch(epoch)
        for index in range(len(data)):
            example = data[index]
            yield example, recorded(root, example.id)


@pytest.mark.parametrize("crop", ["start", "random"])
def test_cached_frames_are_those_of_the_crop(root, audio, teacher, cache, crop):
    data, starts = targets(audio, crop, cache=cache), set()
    assert data.ids == [f"a-{number}" for number in range(1, 5)]
    assert data.seconds == [7000 / RATE, 0.6, 0.6, 0.6]
    for example, whole in crops(root, data):
        samples = min(CROP, len(whole))
        first = example.start * HOP
        assert first + samples <= len(whole) and len(example.inputs) == samples
        if crop == "random":
            whole = (whole - whole.mean()) / (whole.var(correction=0) + 1e-5).sqrt()
        torch.testing.assert_close(example.inputs, whole[first:first + samples])
        expected = by_hand(root, teacher, example.id, example.start, samples)
        assert example.teacher.dtype == torch.float16 and example.teacher.shape == expected.shape
        torch.testing.assert_close(example.teacher.float(), expected, atol=3e-3, rtol=1e-3)
        starts.add(first)
    assert starts == {0} if crop == "start" else len(starts) > 4


@pytest.mark.parametrize("crop", ["start", "random"])
def test_online_frames_are_the_cached_ones(root, audio, teacher, cache, crop):
    online, cached = (targets(audio, crop, online=True, teacher_rate=teacher.frame_rate),
                      targets(audio, crop, cache=cache))
    for data in (online, cached):
        data.set_epoch(4)
    run, read = (collate_targets([data[index] for index in range(len(data))])
                 for data in (online, cached))
    assert run.ids == read.ids and torch.equal(run.starts, read.starts)
    assert torch.equal(run.inputs, read.inputs) and run.inputs.shape == (4, CROP)
    assert run.lengths.tolist() == [7000, CROP, CROP, CROP]
    assert run.teacher is None and read.whole is None and run.whole.shape == (4, HEARD)
    assert run.whole_lengths.tolist() == [7000, 12345, 20000, HEARD]
    assert torch.equal(run.whole[0, :7000], recorded(root, "a-1"))
    encoded = teacher(run.whole, run.whole_lengths, hidden=True)
    layers = [encoded.hidden[depth] for depth in DEPTHS]
    computed, frames = take_frames(layers, encoded.lengths, run, 29)
    assert frames.tolist() == read.frames.tolist() == run.frames.tolist() == [21, 29, 29, 29]
    assert computed.shape == read.teacher.shape == (4, 2, 29, 16)
    torch.testing.assert_close(computed, read.teacher.float(), atol=3e-3, rtol=1e-3)
    assert not computed[0, :, 21:].any() and not read.teacher[0, :, 21:].any()


def test_places_depend_on_seed_epoch_and_id_alone_and_reach_the_end(audio, cache):
    data, again = (targets(audio, "random", cache=cache) for _ in range(2))
    seen = {}
    for epoch in range(60):
        data.set_epoch(epoch)
        again.set_epoch(epoch)
        for index in range(4):
            seen.setdefault(index, set()).add(data[index].start)
        torch.manual_seed(epoch)
        assert again[2].start == data[2].start
    assert seen[0] == {0} and seen[1] == set(range((12345 - CROP) // HOP + 1))
    assert max(seen[3]) <= (HEARD - CROP) // HOP and len(seen[3]) > 30
    other = TargetDataset(audio, HOP, data.count, "random", 0.6, seed=6, cache=cache)
    other.set_epoch(59)
    assert [other[index].start for index in range(4)] != [data[index].start for index in range(4)]


def test_slices_are_rows_of_the_whole(cache):
    for id in cache.ids:
        whole, count = cache.get(id), cache.frames(id)
        for start, frames in ((0, 3), (2, count), (count - 1, 5), (0, count), (count, 2), (99, 1)):
            assert torch.equal(cache.slice(id, start, frames), whole[:, start:start + frames])
    with pytest.raises(DataError, match="no utterance 'b-0'"):
        cache.slice("b-0", 0, 1)


def test_worker_processes_give_the_same(root, audio, cache):
    local = quietly(write_convolutions, encoder(), audio, root / "caches", "random")
    data = targets(audio, "random", cache=cache, local=local)
    data.set_epoch(3)
    assert data[1].teacher is not None  # files are open when the workers begin
    options = {"dataset": data, "batch_size": 2, "collate_fn": collate_targets}
    here = list(torch.utils.data.DataLoader(**options))
    there = list(torch.utils.data.DataLoader(**options, num_workers=2))
    for one, other in zip(here, there, strict=True):
        for name, value in vars(one).items():
            same = torch.equal if isinstance(value, torch.Tensor) else lambda a, b: a == b
            assert same(value, getattr(other, name)), name
    moved = pickle.loads(pickle.dumps(data))
    assert moved.cache._open == {} and torch.equal(moved[2].teacher, data[2].teacher)


def test_the_batch_moves_as_a_whole(audio, cache):
    batch = collate_targets([targets(audio, cache=cache)[0]]).to("meta")
    for name in ("inputs", "lengths", "starts", "frames", "teacher"):
        assert getattr(batch, name).device.type == "meta"
    assert type(batch).__name__ == "TargetBatch" and batch.whole is None and batch.ids == ["a-1"]


def test_batches_of_one_length(root, audio, teacher):
    local = quietly(write_convolutions, encoder(), audio, root / "caches", crop_seconds=0.6,
                    padded=True)
    data = targets(audio, online=True, local=local)
    collate = partial(collate_targets, samples=data.crop_samples, frames=data.crop_frames)
    batch = collate([data[0]])
    assert batch.inputs.shape == (1, CROP) and batch.lengths.tolist() == [7000]
    assert batch.frames.tolist() == [21] and batch.local.shape == (1, 29, 16)
    padded = F.pad(recorded(root, "a-1"), (0, CROP - 7000))
    padded = (padded - padded.mean()) / (padded.var(correction=0) + 1e-5).sqrt()
    with torch.no_grad():
        expected = encoder().frontend.convolve(padded[None], None)
    torch.testing.assert_close(batch.local.float(), expected, atol=3e-3, rtol=1e-3)


# Convolutions of the student


@pytest.mark.parametrize("crop, changes", [
    ("start", {}), ("start", {"conv_norm": "group"}), ("random", {}),
    ("random", {"normalise_waveform": False})])
def test_cached_convolutions_are_the_student_s_own(root, audio, cache, crop, changes):
    student = encoder(**changes)
    student.train()
    local = quietly(write_convolutions, student, audio, root / "caches", crop, 0.6)
    assert student.training
    data = targets(audio, crop, cache=cache, local=local,
                   normalise=changes.get("normalise_waveform", True))
    for example, _ in crops(root, data, (1, 2)):
        with torch.no_grad():
            expected = student.convolve(example.inputs[None], normalised=crop == "random")[0]
        torch.testing.assert_close(example.local.float(), expected, atol=3e-3, rtol=1e-3)


def test_convolutions_that_cannot_be_cached(root, audio):
    with pytest.raises(ConfigError, match="group norm's statistics depend on the stretch"):
        write_convolutions(encoder(conv_norm="group"), audio, root, "random")
    with pytest.raises(ConfigError, match="no convolutions on the waveform"):
        write_convolutions(mel(), audio, root)
    with pytest.raises(ConfigError, match="only with crop: start"):
        write_convolutions(encoder(), audio, root, "random", padded=True)


# Teachers of another kind


def mel(**changes):
    return encoder(3, **{"frontend": "mel", "mel_stack": 2, "normalise_waveform": False,
                         **changes})


def test_a_teacher_with_fewer_frames_at_the_end(root, audio):
    """A mel front end of 50 Hz sees 560 samples: crops of 9680 at the very end lack a frame."""
    upstream = OwnUpstream(mel())
    cache = quietly(write_targets, upstream, audio, root / "caches", DEPTHS)
    config = encoder().config
    data, online = (TargetDataset(audio, HOP, config.frames, "random", 9680 / RATE, seed=5, **how)
                    for how in ({"cache": cache}, {"online": True}))
    examples = []
    for epoch in range(40):
        data.set_epoch(epoch)
        examples += [data[index] for index in range(4)]
    lacking = [row for row, one in enumerate(examples) if one.teacher.shape[1] < one.frames]
    assert lacking and len(lacking) < len(examples)
    batch = collate_targets(examples)
    for row, example in enumerate(examples):
        have = min(example.frames, cache.frames(example.id) - example.start)
        assert batch.frames[row] == have and not batch.teacher[row, :, have:].any()
        assert torch.equal(batch.teacher[row, :, :have],
                           cache.get(example.id)[:, example.start:example.start + have])
    strict = TargetDataset(audio, HOP, config.frames, crop_seconds=0.6, cache=cache, small_span=5)
    assert cache.frames("a-0") == 5 and "a-0" in strict.too_short  # the student has 6
    epoch = lacking[-1] // 4
    online.set_epoch(epoch)
    rows = slice(4 * epoch, 4 * epoch + 4)
    run = collate_targets([online[index] for index in range(4)])
    encoded = upstream(run.whole, run.whole_lengths, hidden=True)
    cut, frames = take_frames([encoded.hidden[2]], encoded.lengths, run, 30)
    assert frames.tolist() == batch.frames[rows].tolist()
    torch.testing.assert_close(cut[:, 0], batch.teacher[rows, 1].float(), atol=3e-3, rtol=1e-3)


def test_a_teacher_of_another_rate_is_refused(root, audio):
    upstream = OwnUpstream(mel(mel_stack=4))
    cache = quietly(write_targets, upstream, audio, root / "caches", DEPTHS)
    for wrong in ({"cache": cache}, {"online": True, "teacher_rate": upstream.frame_rate}):
        with pytest.raises(ConfigError, match="25 a second are given, the student makes 50"):
            targets(audio, **wrong)


def test_a_teacher_that_hears_less_or_learns_is_refused(root, audio):
    upstream = OwnUpstream(encoder(), trainable=True)
    upstream.max_seconds = 1.0
    with pytest.raises(ConfigError) as caught:
        write_targets(upstream, audio, root, [1])
    assert len(caught.value.problems) == 2 and "hears 1 s at most" in str(caught.value)


def test_values_beyond_half_precision_are_refused_with_a_way_out(tmp_path, audio):
    loud, louder = OwnUpstream(encoder()), encoder()
    with torch.no_grad():
        loud.model.blocks[1].ffn[3].bias.fill_(1e5)
        louder.frontend.layers[-1].norm.bias.fill_(1e5)
    with pytest.raises(DataError, match="is 100[0-9]{3}(.|\n)*set targets: online;"):
        write_targets(loud, audio, tmp_path, DEPTHS, say=lambda text: None)
    with pytest.raises(DataError, match="is 100[0-9]{3}(.|\n)*set frontend: audio;"):
        write_convolutions(louder, audio, tmp_path, say=lambda text: None)


# What does not fit together


def test_utterances_too_short_for_a_mask_are_named(audio, cache):
    data = targets(audio, cache=cache)
    assert data.too_short == too_short(audio, data.count, 8) == ["a-0"] and len(data) == 4
    assert too_short(audio, data.count, 5) == []  # 2000 samples are 6 frames
    assert len(TargetDataset(audio, HOP, data.count, online=True, small_span=5,
                             crop_seconds=0.6)) == 5
    assert targets(audio, cache=cache, small_span=21).ids == ["a-2", "a-3", "a-4"]
    with pytest.raises(ConfigError, match="29 frames, too few for a mask of 29"):
        targets(audio, cache=cache, small_span=29)


def test_options_that_do_not_fit_are_listed_together(root, audio, cache):
    with pytest.raises(ConfigError) as caught:
        TargetDataset(declared("a", min_seconds=0.1).dataset(root / "egs/both", root / "releases",
                                                             0),
                      HOP, encoder().config.frames, "end", 1.5, cache=cache, online=True)
    problems = "\n".join(caught.value.problems)
    for said in ("crop: 'end' is not", "wants it as recorded", "1.5 is above max_seconds 1",
                 "either a cache", "crop is 'start', wanted is 'random'",
                 "crop_seconds is 2.0, wanted is 1.0"):
        assert said in problems


def test_a_cache_of_other_crops_is_refused(root, audio, cache):
    local = quietly(write_convolutions, encoder(), audio, root / "caches", "start", 0.5)
    with pytest.raises(ConfigError, match="crop_seconds is 0.5, wanted is 0.6"):
        targets(audio, cache=cache, local=local)


def test_a_cache_without_some_utterances_is_refused(tmp_path, audio, cache):
    corpus(tmp_path, "a", (*LENGTHS, 30000))
    with pytest.raises(DataError, match="cache of the teacher lacks utterances(.|\n)*a-5"):
        targets(audio_of(tmp_path), cache=cache)


def test_audio_that_changed_behind_the_cache_is_noticed(tmp_path, cache):
    corpus(tmp_path, "a", LENGTHS)
    soundfile.write(tmp_path / "releases/a/wav/1.wav", np.ones(9000), RATE)
    with pytest.raises(DataError, match="a-1: The cached teacher has 21 frames, the student 27"):
        targets(audio_of(tmp_path), cache=cache)[0]


# Writing


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(feature_writer, "SHARD_SECONDS", 1.5)


def files(cache):
    return {path.name: path.read_bytes() for path in cache.iterdir()}


def test_an_interrupted_cache_ends_like_an_undisturbed_one(tmp_path, audio, teacher, small_shards):
    calls = iter(range(99))
    with pytest.raises(Interrupted, match="1 of 3 shards written"):
        quietly(write_targets, teacher, audio, tmp_path / "a", DEPTHS,
                should_stop=lambda: next(calls) >= 1)
    folder = next((tmp_path / "a").iterdir())
    with pytest.raises(DataError, match="does not exist"):
        FeatureCache(folder)
    resumed = quietly(write_targets, teacher, audio, tmp_path / "a", DEPTHS).folder
    assert resumed == folder
    undisturbed = quietly(write_targets, teacher, audio, tmp_path / "b", DEPTHS, num_workers=1)
    assert files(resumed) == files(undisturbed.folder)
    assert len(list(resumed.glob("*.safetensors"))) == 3


def test_a_damaged_shard_is_noticed_and_mended(tmp_path, audio, teacher, small_shards):
    folder = quietly(write_targets, teacher, audio, tmp_path, DEPTHS).folder
    before, shard = files(folder), folder / "shard-00001.safetensors"
    content = bytearray(shard.read_bytes())
    content[-5] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DataError, match="shard-00001.safetensors was changed or damaged"):
        FeatureCache(folder, verify=True)
    said = []
    write_targets(teacher, audio, tmp_path, DEPTHS, say=said.append)
    assert "shard-00001.safetensors was changed" in said[0] and files(folder) == before


def test_size_disk_and_time_are_said(tmp_path, audio, teacher, small_shards, monkeypatch):
    said = []
    monkeypatch.setattr(feature_writer, "_FIRST_ESTIMATE", 0.0)
    write_targets(teacher, audio, tmp_path, DEPTHS, say=said.append)
    heard = sum(min(length, HEARD) for length in LENGTHS) / RATE
    assert f"features: {heard / 3600:.2f} h of audio, about 0 MB" in said[0]
    assert "GB left" in said[0] and "encoded, about 1 min left" in said[1]
    assert said[2].startswith("features: shard 1 of 3, about 1 min left")
    assert said[-1] == "features: shard 3 of 3"
    # 0.002 h; a second is 50 frames of two layers of 16 numbers of 2 bytes
    need = heard * 50 * 2 * 16 * 2
    free = SimpleNamespace(free=need * 0.9)
    monkeypatch.setattr(feature_writer.shutil, "disk_usage", lambda path: free)
    with pytest.raises(DataError, match="Features need 0.0 GB"):
        write_targets(teacher, audio, tmp_path / "full", DEPTHS, say=said.append)
    free.free = need * 1.1
    write_targets(teacher, audio, tmp_path / "full", DEPTHS, say=said.append)


def test_hours_that_are_left():
    progress = feature_writer._Progress(100 * 3600.0, print)
    progress.began -= 120.0
    progress.add(3600.0)
    assert progress.left() == ", about 3.3 h left"  # 99 times two minutes
    progress.add(99 * 3600.0)
    assert progress.left() == ""


# Sources


def test_shards_as_a_source(tmp_path, root, teacher, cache):
    records = read_manifest(root / "egs/a/data/all/utts.json")
    clips = [Clip("a", record, root / "releases/a") for record in records.values()]
    write_shards(clips, tmp_path / "tars", format="wav", say=lambda text: None)
    data = PretrainingData(shards=["tars"], min_seconds=0.1, max_seconds=2.0)
    audio = data.dataset(tmp_path, tmp_path, 0, normalise=False, crop="start")
    hashes = {record.audio_hash for record in audio.records}
    assert len(hashes) == 5 and None not in hashes
    sharded = quietly(write_targets, teacher, audio, tmp_path, DEPTHS)
    student = encoder()
    local = quietly(write_convolutions, student, audio, tmp_path, "random")
    found, expected = (targets(one, "random", cache=kept) for one, kept in (
        (audio, sharded), (audio_of(root), cache)))
    for one, other in zip(crops(root, found), crops(root, expected), strict=True):
        assert one[0].id == other[0].id and torch.equal(one[0].inputs, other[0].inputs)
        torch.testing.assert_close(one[0].teacher, other[0].teacher, atol=2e-3, rtol=1e-3)
    assert targets(audio, "random", cache=sharded, local=local)[3].local.shape == (29, 16)
    write_shards(clips[1:], tmp_path / "fewer", format="wav", say=lambda text: None)
    other = PretrainingData(shards=["fewer"]).dataset(tmp_path, tmp_path, 0)
    assert not hashes & {record.audio_hash for record in other.records}


def test_releases_may_lie_elsewhere_than_the_data_folder(root):
    source = {"a": {"manifest": "../a/data/all/utts.json", "folder": "a"}}
    plain = PretrainingData(source)
    base, own = root / "egs/both", root / "releases/a"
    mark = plain.fingerprint(base, root / "releases")
    for releases, folder in (("..", own), (str(root / "releases"), None),
                             (str(root / "releases"), own), ("releases", root)):
        data = PretrainingData(source, releases=releases)
        assert torch.equal(data.dataset(base, folder, 0)[1].inputs,
                           plain.dataset(base, root / "releases", 0)[1].inputs)
        assert data.fingerprint(base, folder) == mark
    with pytest.raises(ConfigError, match="data_folder is not set"):
        PretrainingData(source, releases="..").dataset(base, None, 0)
    with pytest.raises(ConfigError, match="releases: 3 is not a folder's name"):
        PretrainingData(source, releases=3)


def test_the_place_is_drawn_apart_from_other_cuts():
    """The dataset's own random cut of the same epoch and id would else prefer the same end."""
    one, other = (int(torch.randint(1 << 30, (1,), generator=own_generator(*name, 5, 1, "a-1")))
                  for name in (("targets",), ()))
    assert one != other
