"""Loading: the right samples at the right rate from whatever file there is."""

import math
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
import torch
import torchaudio
from sertools.data.audio import AudioReader, load_audio
from sertools.data.record import Record
from sertools.data.resample import _by_the_sample, resample
from sertools.errors import ConfigError, DataError
from sounds import noise, with_extra_chunk, write

RATES = [8000, 16000, 22050, 24414, 44100, 48000, 96000]


def tone(rate, seconds=0.4, hertz=440.0):
    return np.sin(2 * math.pi * hertz * np.arange(round(seconds * rate)) / rate).astype("float32")


@pytest.mark.parametrize("rate", RATES)
def test_length_and_pitch_survive_resampling(tmp_path, rate):
    waveform = load_audio(write(tmp_path / "a.wav", tone(rate), rate))
    frames = round(0.4 * rate)
    assert waveform.dtype == torch.float32 and waveform.dim() == 1
    assert abs(len(waveform) - round(frames * 16000 / rate)) <= 1
    inner = slice(200, 6000)  # the filter fades in and out at the ends
    expected = torch.from_numpy(tone(16000))[inner]
    assert (waveform[inner] - expected).abs().max() < 5e-3


@pytest.mark.parametrize("rate", RATES)
def test_equals_torchaudio(rate):
    waveform = torch.from_numpy(noise(0.1, rate)[:, 0])
    if rate != 24414:  # torchaudio would take gigabytes for this one
        expected = torchaudio.functional.resample(waveform, rate, 16000)
        torch.testing.assert_close(resample(waveform, rate, 16000), expected)
    divisor = math.gcd(rate, 16000)
    ours = _by_the_sample(waveform, rate // divisor, 16000 // divisor)
    if rate not in (16000, 24414):
        # torchaudio keeps the filter's phase in single precision
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


def test_long_waveforms_are_resampled_in_pieces(monkeypatch):
    waveform = torch.from_numpy(noise(0.3, 24414)[:, 0])
    whole = resample(waveform, 24414, 16000)
    monkeypatch.setattr("sertools.data.resample._ROWS", 1000)
    torch.testing.assert_close(resample(waveform, 24414, 16000), whole)


def test_channels(tmp_path):
    samples = noise(0.2, channels=6)
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    torch.testing.assert_close(load_audio(path), torch.from_numpy(samples.mean(1)))
    torch.testing.assert_close(load_audio(path, channel=2), torch.from_numpy(samples[:, 2].copy()))


def test_segments_are_cut_before_anything_else(tmp_path):
    samples = noise(1.0)[:, 0]
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    part = load_audio(path, start=0.25, end=0.75)
    torch.testing.assert_close(part, torch.from_numpy(samples[4000:12000].copy()))
    assert len(load_audio(path, start=0.9, end=1.02)) == 1600
    assert len(load_audio(path, start=0.9)) == 1600


def test_only_the_wanted_frames_are_read(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", noise(1.0))
    read = []
    real = soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda self, frames=-1, **more: read.append(
        (self.tell(), frames)) or real(self, frames, **more))
    load_audio(path, start=0.5, end=0.6)
    assert read == [(8000, 1600)]


def test_odd_files_decode_alike(tmp_path):
    samples = (noise(0.3) * 32767).astype("int16")
    expected = load_audio(write(tmp_path / "a.wav", samples))
    soundfile.write(tmp_path / "aiff.wav", samples, 16000, format="AIFF")
    with_extra_chunk(write(tmp_path / "chunk.wav", samples))
    write(tmp_path / "a.flac", samples)
    for name in ("aiff.wav", "chunk.wav", "a.flac"):
        assert torch.equal(load_audio(tmp_path / name), expected)


def test_a_truncated_file_gives_what_it_holds(tmp_path):
    path = write(tmp_path / "a.wav", noise(0.5))
    path.write_bytes(path.read_bytes()[:-8000])  # prepare refuses such files
    assert len(load_audio(path)) == 4000


def nan(path):
    samples = noise(0.1)
    samples[5] = np.inf
    write(path, samples, subtype="FLOAT")


@pytest.mark.parametrize("make, options, words", [
    (lambda path: None, {}, "there is no such file"),
    (lambda path: path.write_text("version https://git-lfs"), {}, "a.wav: "),
    (lambda path: write(path, np.zeros((0, 1), "float32")), {}, "it is empty"),
    (nan, {}, "NaN or infinite"),
    (write, {"start": 5.0}, "no sample lies between 5.0 s"),
    (write, {"channel": 1}, "channel 1 is wanted, it has 1"),
])
def test_errors_name_the_file(tmp_path, make, options, words):
    make(tmp_path / "a.wav")
    with pytest.raises(DataError) as error:
        load_audio(tmp_path / "a.wav", **options)
    assert str(tmp_path / "a.wav") in str(error.value) and words in str(error.value)


@pytest.fixture
def record(tmp_path):
    write(tmp_path / "a.wav", 0.3 + noise(1.0), subtype="FLOAT")
    return Record(id="toy-a", path="a.wav")


def test_normalising_is_layer_norm_over_the_utterance(tmp_path, record):
    raw = load_audio(tmp_path / "a.wav")
    waveform = AudioReader()(record, tmp_path)
    torch.testing.assert_close(waveform, torch.nn.functional.layer_norm(raw, raw.shape, eps=1e-5))
    assert torch.equal(AudioReader(normalise=False)(record, tmp_path), raw)


def test_crop_from_the_start(tmp_path, record):
    raw = load_audio(tmp_path / "a.wav")
    whole = torch.nn.functional.layer_norm(raw, raw.shape)
    cut = AudioReader(crop="start", crop_seconds=0.25)(record, tmp_path)
    torch.testing.assert_close(cut, whole[:4000])
    cut = AudioReader(crop="start", crop_seconds=0.25, normalise="crop")(record, tmp_path)
    torch.testing.assert_close(cut, torch.nn.functional.layer_norm(raw[:4000], (4000,)))
    assert len(AudioReader(crop="start", crop_seconds=9.0)(record, tmp_path)) == 16000


def test_random_crops_follow_the_generator(tmp_path, record):
    reader = AudioReader(crop="random", crop_seconds=0.25, normalise=False)
    raw = load_audio(tmp_path / "a.wav")

    def draws(seed):
        generator = torch.Generator().manual_seed(seed)
        return [reader(record, tmp_path, generator) for _ in range(4)]

    first, again, other = draws(1), draws(1), draws(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    for cut in first:
        assert len(cut) == 4000
        place = int((raw == cut[0]).nonzero()[0])
        assert torch.equal(raw[place:place + 4000], cut)


def test_random_crops_reach_both_ends(tmp_path):
    write(tmp_path / "b.wav", np.arange(1, 6, dtype="float32")[:, None] / 10, subtype="FLOAT")
    reader = AudioReader(crop="random", crop_seconds=4 / 16000, normalise=False)
    generator = torch.Generator().manual_seed(0)
    starts = {round(float(reader(Record(id="toy-b", path="b.wav"), tmp_path, generator)[0]), 1)
              for _ in range(30)}
    assert starts == {0.1, 0.2}


def count_loads(monkeypatch):
    loads = []
    monkeypatch.setattr("sertools.data.audio.load_audio", lambda path, *rest: loads.append(
        path.name) or load_audio(path, *rest))
    return loads


def test_the_cache_spares_reading_and_stays_clean(tmp_path, record, monkeypatch):
    loads = count_loads(monkeypatch)
    reader = AudioReader(normalise=False)
    first = reader(record, tmp_path)
    expected = first.clone()
    first.zero_()
    assert torch.equal(reader(record, tmp_path), expected) and loads == ["a.wav"]
    part = Record(id="toy-a2", path="a.wav", start=0.5)
    assert torch.equal(reader(part, tmp_path), expected[8000:]) and len(loads) == 2
    off = AudioReader(cache_megabytes=0)
    for _ in range(2):
        off(record, tmp_path)
    assert len(loads) == 4


def test_the_cache_holds_what_was_used_last(tmp_path, monkeypatch):
    loads = count_loads(monkeypatch)
    reader = AudioReader(cache_megabytes=2.2 * 16000 * 4 / 2**20)  # two seconds fit
    for name in ("a", "b", "a", "c", "a", "b"):
        if not (tmp_path / f"{name}.wav").exists():
            write(tmp_path / f"{name}.wav", noise(1.0))
        reader(Record(id=f"toy-{name}", path=f"{name}.wav"), tmp_path)
    assert loads == ["a.wav", "b.wav", "c.wav", "b.wav"]
    assert reader.cache.held == 2 * 16000 * 4
    write(tmp_path / "long.wav", noise(3.0))
    reader(Record(id="toy-l", path="long.wav"), tmp_path)
    assert reader.cache.held == 2 * 16000 * 4


def test_the_cache_counts_right_under_threads(tmp_path):
    for number in range(8):
        write(tmp_path / f"{number}.wav", noise(0.2))
    reader = AudioReader(cache_megabytes=3.5 * 3200 * 4 / 2**20)
    records = [Record(id=f"toy-{n % 8}", path=f"{n % 8}.wav") for n in range(200)]
    with ThreadPoolExecutor(4) as pool:
        lengths = set(pool.map(lambda record: len(reader(record, tmp_path)), records))
    assert lengths == {3200} and reader.cache.held == 3 * 3200 * 4


def test_readers_travel_to_workers(tmp_path, record):
    reader = AudioReader()
    expected = reader(record, tmp_path)
    copy = pickle.loads(pickle.dumps(reader))
    assert copy.cache.held == 0 and torch.equal(copy(record, tmp_path), expected)


@pytest.mark.parametrize("options, words", [
    ({"crop": "middle", "crop_seconds": 1.0}, "crop: 'middle'"),
    ({"crop": "start"}, "give both or neither"),
    ({"crop_seconds": 1.0}, "give both or neither"),
    ({"crop": "start", "crop_seconds": 0.0}, "leaves nothing"),
    ({"normalise": "batch"}, "normalise: 'batch'"),
    ({"cache_megabytes": -1}, "below 0"),
])
def test_options_are_checked(options, words):
    with pytest.raises(ConfigError, match="audio reader") as error:
        AudioReader(**options)
    assert words in str(error.value)


@pytest.mark.realdata
@pytest.mark.parametrize("corpus", ["emodb", "ravdess", "urdu", "emotiontts_ko"])
def test_original_files_agree_with_their_copies(real_data, corpus):
    """Originals (rates, stereo, odd chunks) load to the length and sound of the 16 kHz copies."""
    originals = sorted(real_data(f"{corpus}_orig").rglob("*.wav"))
    copies = {path.stem: path for path in real_data(corpus).rglob("*.flac")}
    assert len(originals) == 10
    for path in originals:
        info = soundfile.info(path)
        waveform = load_audio(path)
        assert abs(len(waveform) - round(info.frames * 16000 / info.samplerate)) <= 1
        if path.stem not in copies:
            continue
        copy = load_audio(copies[path.stem])
        length = min(len(copy), len(waveform))
        assert abs(len(copy) - len(waveform)) <= 1
        likeness = torch.nn.functional.cosine_similarity(copy[:length], waveform[:length], 0)
        assert likeness > 0.99
        if info.samplerate == 16000:
            assert torch.equal(copy, waveform)


def test_decoders_that_give_nothing_are_noticed(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav")
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *_, **__: np.zeros((0, 1), "float32"))
    with pytest.raises(DataError, match="a.wav: its samples cannot be read"):
        load_audio(path)
