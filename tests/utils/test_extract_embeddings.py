"""utils/extract_embeddings.py: equal to one-by-one, in every format, resumable, all faults said."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
import torch
from prepared import UTILS, make_set, script
from safetensors.torch import load_file
from sertools.data import embedding_files
from sertools.data.audio import load_audio
from sertools.data.embeddings import read_embeddings
from sertools.data.kaldi import write_kaldi
from sertools.data.manifest import read_manifest
from sertools.data.windows import cut, refuse_windows
from sertools.errors import ConfigError
from sertools.files import read_json
from sertools.models.config import EncoderConfig
from sertools.models.encoder import SpeechEncoder
from sertools.models.weights import load_encoder, save_encoder

tool = script("extract_embeddings")
SIZES = {"dim": 32, "num_layers": 2, "num_heads": 4, "ffn_dim": 48}
EMOTION2VEC = EncoderConfig(
    frontend="conv", conv_dim=16, position="stack", position_kernel=19, position_groups=4,
    bias="alibi", extra_tokens=10, block_norm="post", input_norm=True, final_norm=False,
    normalise_waveform=True, **SIZES)
SHAPES = [(8000, 2, 1.1), (16000, 1, 2.0), (44100, 2, 0.7), (22050, 1, 3.1), (16000, 1, 0.01)]
"""Rate, channels and seconds of the recordings."""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return folders with an encoder like emotion2vec's and one on mel frames."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(1)
    for name, config in (("conv", EMOTION2VEC), ("mel", EncoderConfig(**SIZES))):
        encoder = SpeechEncoder(config)
        with torch.no_grad():  # tokens and biases that matter
            for parameter in encoder.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        save_encoder(encoder, folder / name)
    return folder


@pytest.fixture
def sounds(tmp_path):
    """Return a folder of recordings of several rates, channels and lengths."""
    generator = np.random.default_rng(3)
    (tmp_path / "sounds" / "deep").mkdir(parents=True)
    for number, (rate, channels, seconds) in enumerate(SHAPES):
        place = "deep/s" if number == 1 else "s"
        samples = 0.1 * generator.standard_normal((int(rate * seconds), channels))
        soundfile.write(tmp_path / "sounds" / f"{place}{number}.wav", samples, rate)
    return tmp_path / "sounds"


NAMES = ["deep-s1", "s0", "s2", "s3", "s4"]


@torch.inference_mode()
def alone(model, path, layers=None):
    """Return (layers, T, D) of one file, encoded by itself."""
    encoded = load_encoder(model).eval()(load_audio(path)[None], hidden=True)
    return torch.cat([encoded.last] if layers is None else [encoded.hidden[n] for n in layers])


def file_of(sounds, name):
    return sounds / f"{name.replace('deep-', 'deep/')}.wav"


def run(capsys, *arguments):
    code = tool.main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out, said.err


# equal to one-by-one


@pytest.mark.parametrize("model", ["conv", "mel"])
@pytest.mark.parametrize("level", ["utterance", "frame"])
def test_batches_equal_one_by_one(model, level, models, sounds, tmp_path, capsys):
    out = tmp_path / "out"
    code, said, _ = run(capsys, "--model", models / model, sounds, "--out", out, "--level", level)
    assert code == 0 and "5 embeddings made, 0 were there, 5 in all" in said
    assert "audio-seconds per second" in said
    assert sorted(path.stem for path in out.glob("*.npy")) == NAMES
    for name in NAMES:
        expected = alone(models / model, file_of(sounds, name))[0].numpy()
        expected = expected.mean(0) if level == "utterance" else expected
        made = np.load(out / f"{name}.npy", allow_pickle=False)
        assert made.dtype == np.float32 and made.shape == expected.shape
        np.testing.assert_allclose(made, expected, atol=1e-4)


@pytest.mark.parametrize("layer, depths, shape", [
    ("all", [0, 1, 2], (3, 32)), ("1", [1], (32,)), ("0,2", [0, 2], (2, 32))])
def test_layers(layer, depths, shape, models, sounds, tmp_path, capsys):
    file = sounds / "s3.wav"
    run(capsys, "--model", models / "mel", file, "--out", tmp_path / "o", "--layer", layer)
    made = np.load(tmp_path / "o/s3.npy")
    assert made.shape == shape
    expected = alone(models / "mel", file, depths).mean(1).numpy()
    np.testing.assert_allclose(made.reshape(-1, 32), expected, atol=1e-4)
    depth = depths[-1] if len(depths) > 1 else None
    np.testing.assert_array_equal(
        read_embeddings(tmp_path / "o", depth).vectors[0], made.reshape(-1, 32)[-1])


# formats


@pytest.mark.parametrize("level", ["utterance", "frame"])
def test_safetensors(level, models, sounds, tmp_path, capsys):
    arguments = ["--model", models / "conv", sounds, "--level", level, "--layer", "all"]
    run(capsys, *arguments, "--out", tmp_path / "npy")
    run(capsys, *arguments, "--out", tmp_path / "o", "--format", "safetensors", "--precision",
        "bf16")
    rows = [json.loads(line) for line in (tmp_path / "o/embeddings.jsonl").read_text().splitlines()]
    assert [row["key"] for row in rows] == NAMES
    for row in rows:
        tensor = load_file(tmp_path / "o" / row["wav"])[row["key"]]
        expected = torch.from_numpy(np.load(tmp_path / f"npy/{row['key']}.npy"))
        assert tensor.dtype == torch.bfloat16 and tensor.equal(expected.bfloat16())


@pytest.mark.parametrize("level, layer", [("utterance", "last"), ("utterance", "all"),
                                          ("frame", "last"), ("frame", "0,1")])
def test_parquet(level, layer, models, sounds, tmp_path, capsys):
    from pyarrow import parquet

    arguments = ["--model", models / "conv", sounds, "--level", level, "--layer", layer]
    run(capsys, *arguments, "--out", tmp_path / "npy", "--precision", "fp16")
    run(capsys, *arguments, "--out", tmp_path / "o", "--precision", "fp16", "--format", "parquet")
    rows = parquet.read_table(tmp_path / "o/parquet").to_pylist()
    assert sorted(row["id"] for row in rows) == NAMES
    for row in rows:
        expected = np.load(tmp_path / f"npy/{row['id']}.npy")
        assert expected.dtype == np.float16 and row["label"] is None
        assert row["path"] == str(file_of(sounds, row["id"]))
        np.testing.assert_array_equal(np.array(row["embedding"], dtype=np.float16), expected)
    layers = {"last": None, "all": 2, "0,1": 1}[layer]
    one, other = (read_embeddings(tmp_path / name, layers) for name in ("npy", "o"))
    assert one.ids == other.ids and np.array_equal(one.vectors, other.vectors)


# inputs


def test_manifest_and_its_facts(models, tmp_path, capsys):
    toy = make_set(tmp_path, speakers=3)
    arguments = ["--model", models / "mel", toy / "utts.json", "--out", tmp_path / "o"]
    code, _, err = run(capsys, *arguments)
    assert code == 2 and "--data_folder" in err and not (tmp_path / "o").exists()
    assert run(capsys, *arguments, "--data_folder", tmp_path / "release/toy")[0] == 0
    found = read_embeddings(tmp_path / "o")
    records = read_manifest(toy / "utts.json")
    assert found.ids == list(records)
    for id, facts in zip(found.ids, found.facts, strict=True):
        assert facts["label"] == records[id].label and facts["speaker"] == records[id].speaker
        assert facts["dataset"] == "toy" and facts["gender"] == records[id].gender


def test_kaldi_folder_equals_the_manifest(models, tmp_path, capsys):
    toy = make_set(tmp_path, speakers=3)
    write_kaldi(tmp_path / "kaldi", read_manifest(toy / "utts.json").values(),
                tmp_path / "release/toy")
    run(capsys, "--model", models / "mel", toy, "--data_folder", tmp_path / "release/toy",
        "--out", tmp_path / "a")
    assert run(capsys, "--model", models / "mel", tmp_path / "kaldi/wav.scp", "--out",
               tmp_path / "b")[0] == 0
    one, other = read_embeddings(tmp_path / "a"), read_embeddings(tmp_path / "b")
    assert [facts["label"] for facts in one.facts] == [facts["label"] for facts in other.facts]
    assert [facts["gender"] for facts in one.facts] == [facts["gender"] for facts in other.facts]
    np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-5)


def test_kaldi_segments_channels_and_commands(models, sounds, tmp_path, capsys):
    folder = tmp_path / "kaldi"
    folder.mkdir()
    (folder / "wav.scp").write_text(
        f"rec {sounds / 's3.wav'}\nleft sox {sounds / 's0.wav'} -t wav - remix 1 |\n"
        f"evil touch {tmp_path / 'touched'} |\n")
    (folder / "segments").write_text("utt rec 0.5 1.25\nleft left 0 1.1\nevil evil 0 1\n")
    code, _, err = run(capsys, "--model", models / "mel", folder, "--out", tmp_path / "o")
    assert code == 3 and "is a command that is not run here" in err
    assert not (tmp_path / "touched").exists()
    part = load_audio(sounds / "s3.wav", 16000, 0.5, 1.25)
    left = load_audio(sounds / "s0.wav", 16000, 0, 1.1, channel=0)
    for name, wave in (("utt", part), ("left", left)):
        with torch.inference_mode():
            expected = load_encoder(models / "mel").eval()(wave[None]).last[0].mean(0)
        np.testing.assert_allclose(np.load(tmp_path / f"o/{name}.npy"), expected, atol=1e-4)


def test_emobox_list_in_and_out(models, sounds, tmp_path, capsys):
    """Keys, 1-based channels and labels of EmoBox go in; what comes out is such a list again."""
    rows = [{"key": "toy-a", "dataset": "toy", "wav": "sounds/s0.wav", "type": "raw",
             "emo": "happy", "channel": 2, "length": 1.1},
            {"key": "toy-b", "dataset": "toy", "wav": "sounds/s3.wav", "type": "raw", "emo": "sad",
             "channel": 1, "start_time": 1.0, "end_time": 2.0}]
    (tmp_path / "toy.json").write_text(json.dumps({row["key"]: row for row in rows}))
    out = tmp_path / "o"
    arguments = ["--model", models / "mel", "--data_folder", tmp_path, "--level", "frame"]
    assert run(capsys, *arguments, tmp_path / "toy.json", "--out", out)[0] == 0
    waves = [load_audio(sounds / "s0.wav", channel=1), load_audio(sounds / "s3.wav", 16000, 1, 2)]
    listed = [json.loads(line) for line in (out / "embeddings.jsonl").read_text().splitlines()]
    for row, given, wave in zip(listed, rows, waves, strict=True):
        with torch.inference_mode():
            expected = load_encoder(models / "mel").eval()(wave[None]).last[0]
        assert row["type"] == "feature"  # EmoBox then reads np.load(os.path.join(data_dir, wav))
        assert {key: row[key] for key in ("key", "dataset", "emo")} == {
            key: given[key] for key in ("key", "dataset", "emo")}
        np.testing.assert_allclose(np.load(os.path.join(out, row["wav"])), expected, atol=1e-4)
    (tmp_path / "toy.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(capsys, *arguments, tmp_path / "toy.jsonl", "--out", tmp_path / "p")
    for name in ("toy-a.npy", "toy-b.npy"):
        assert (out / name).read_bytes() == (tmp_path / "p" / name).read_bytes()


def test_emobox_downloads_may_lie_elsewhere(models, sounds, tmp_path, capsys):
    """`downloads/<dataset>/...` of a list is looked for in the release's own folder too."""
    (tmp_path / "toy.json").write_text(json.dumps(
        {"toy-s1": {"dataset": "toy", "wav": "downloads/toy/deep/s1.wav", "emo": "sad"}}))
    assert run(capsys, "--model", models / "mel", tmp_path / "toy.json", "--data_folder", sounds,
               "--out", tmp_path / "o")[0] == 0
    expected = alone(models / "mel", sounds / "deep/s1.wav")[0].mean(0)
    np.testing.assert_allclose(np.load(tmp_path / "o/toy-s1.npy"), expected, atol=1e-4)


# long files


def test_windows_join_without_a_seam():
    """Every frame of the whole comes from exactly one window, never from that window's edge."""
    for seconds, rate in ((61.3, 44100), (25.01, 24414), (600.0, 11025), (20.001, 16000)):
        pieces = cut(seconds, 20.0, 4.0, 320, 16000, rate)
        place = 0
        for number, piece in enumerate(pieces):
            begins = piece.start * 16000
            assert begins == round(begins) and round(begins) % 320 == 0
            assert abs(piece.start * rate - round(piece.start * rate)) < 1e-6
            assert round(begins) // 320 + piece.first == place  # goes on where the last one ended
            assert piece.first == (100 if number else 0)
            if number + 1 == len(pieces):
                assert piece.end is piece.last is None and 18 < seconds - piece.start <= 20
            else:
                assert piece.end - piece.start <= 20
                place = round(begins) // 320 + piece.last
                assert piece.last <= (piece.end - piece.start) * 50 - 100
    assert len(cut(20.0, 20.0, 4.0, 320, 16000, 16000)) == 1


@pytest.mark.parametrize("window, overlap, longest, words", [
    (1, 0.5, None, "5 s or more"), (20, 6, None, "0.5 s to 5 s"), (60, 4, 30, "30 s at most")])
def test_windows_that_cannot_be_meant(window, overlap, longest, words):
    with pytest.raises(ConfigError, match=words):
        refuse_windows(window, overlap, longest)


@pytest.mark.parametrize("rate", [16000, 22050, 11025])
def test_long_files_in_windows(rate, models, tmp_path, capsys):
    """A model without reach beyond the overlap gives in windows what it gives for the whole."""
    config = EncoderConfig(**SIZES | {"num_layers": 0}, mel_norm="utterance", final_norm=False,
                           position="depthwise", position_kernel=31)
    torch.manual_seed(0)
    save_encoder(SpeechEncoder(config), tmp_path / "local")
    # the same sound every second: the level of each window is that of the whole
    second = 0.1 * np.random.default_rng(0).standard_normal(rate)
    samples = np.concatenate([np.tile(second, 23), second[: rate // 3]])
    soundfile.write(tmp_path / "long.wav", samples, rate, subtype="FLOAT")
    arguments = ["--model", tmp_path / "local", tmp_path / "long.wav", "--window-seconds", 8,
                 "--overlap-seconds", 2]
    run(capsys, *arguments, "--out", tmp_path / "o", "--level", "frame")
    made = np.load(tmp_path / "o/long.npy")
    whole = alone(tmp_path / "local", tmp_path / "long.wav")[0].numpy()
    assert made.shape == whole.shape
    assert np.abs(made - whole).max() < 0.02 * np.abs(whole).max()
    shifted = np.abs(made[1:] - whole[:-1]).max()  # the bound above would notice one frame
    assert shifted > 0.2 * np.abs(whole).max()
    run(capsys, *arguments, "--out", tmp_path / "p")
    np.testing.assert_allclose(np.load(tmp_path / "p/long.npy"), made.mean(0), atol=1e-5)


def test_no_more_than_a_window_is_ever_read(models, tmp_path, capsys, monkeypatch):
    from sertools.brains import pieces

    soundfile.write(tmp_path / "long.wav", 0.1 * np.random.default_rng(0).standard_normal(
        (8000 * 61, 2)), 8000)
    lengths = []

    def load(*arguments):
        wave = load_audio(*arguments)
        lengths.append(len(wave) / 16000)
        return wave

    monkeypatch.setattr(pieces, "load_audio", load)
    arguments = ["--model", models / "conv", tmp_path / "long.wav", "--window-seconds", 10,
                 "--overlap-seconds", 2]
    run(capsys, *arguments, "--out", tmp_path / "o", "--level", "frame", "--batch-seconds", 25)
    assert len(lengths) == 8 and max(lengths) <= 10 and sum(lengths) < 61 + 7 * 2 + 8
    assert np.load(tmp_path / "o/long.npy").shape == (EMOTION2VEC.frames(61 * 16000), 32)
    run(capsys, *arguments, "--out", tmp_path / "p", "--level", "frame", "--batch-seconds", 1)
    np.testing.assert_allclose(
        np.load(tmp_path / "o/long.npy"), np.load(tmp_path / "p/long.npy"), atol=1e-4)


@pytest.mark.slow
def test_a_model_that_hears_thirty_seconds(tmp_path, capsys):
    import transformers

    transformers.WhisperModel(transformers.WhisperConfig(
        d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, num_mel_bins=20,
        vocab_size=100, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )).save_pretrained(tmp_path / "whisper")
    transformers.WhisperFeatureExtractor(feature_size=20).save_pretrained(tmp_path / "whisper")
    soundfile.write(tmp_path / "long.wav", 0.1 * np.random.default_rng(0).standard_normal(
        16000 * 41), 16000)
    arguments = ["--model", tmp_path / "whisper", tmp_path / "long.wav", "--level", "frame"]
    code, _, err = run(capsys, *arguments, "--out", tmp_path / "o", "--window-seconds", 60)
    assert code == 2 and "hears 30 s at most" in err
    assert run(capsys, *arguments, "--out", tmp_path / "o")[0] == 0
    assert np.load(tmp_path / "o/long.npy").shape == (41 * 50, 16)


# resuming


@pytest.mark.parametrize("kind", ["npy", "safetensors", "parquet"])
def test_the_same_command_goes_on(kind, models, sounds, tmp_path, capsys, monkeypatch):
    arguments = ["--model", models / "mel", sounds, "--format", kind, "--batch-seconds", 0.5]
    run(capsys, *arguments, "--out", tmp_path / "whole")
    monkeypatch.setattr(embedding_files, "SHARD_BYTES", 1)
    calls = []
    base = embedding_files.NpyStore if kind == "npy" else embedding_files.Shards
    add = base.add

    def killed(self, id, value):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(id)
        add(self, id, value)

    monkeypatch.setattr(base, "add", killed)
    out = tmp_path / "o"
    with pytest.raises(KeyboardInterrupt):
        run(capsys, *arguments, "--out", out)
    monkeypatch.setattr(base, "add", add)
    (out / ".tmp-s0.npy-99").write_bytes(b"half")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.*") if kind in path.name}
    code, said, _ = run(capsys, *arguments, "--out", out)
    assert code == 0 and "3 embeddings made, 2 were there, 5 in all" in said
    assert len(before) >= 2 and not list(out.glob(".tmp*"))
    assert all(path.stat().st_mtime_ns == old for path, old in before.items() if path.exists()
               and not path.name.endswith(".json"))
    one, other = read_embeddings(tmp_path / "whole"), read_embeddings(out)
    assert one.ids == other.ids and np.array_equal(one.vectors, other.vectors)
    # a damaged file is made again
    target = next(path for path in sorted(out.rglob(f"*.{kind}")) if path.is_file())
    target.write_bytes(target.read_bytes()[:-40])
    assert "1 embeddings made, 4 were there" in run(capsys, *arguments, "--out", out)[1]
    assert np.array_equal(one.vectors, read_embeddings(out).vectors)


@pytest.mark.slow
def test_killed_for_good(models, sounds, tmp_path, capsys):
    """SIGKILL while files are being written: the next run ends where an undisturbed one does."""
    for copy in range(120):
        soundfile.write(sounds / f"more{copy}.wav",
                        0.1 * np.random.default_rng(copy).standard_normal(8000), 16000)
    arguments = ["--model", models / "conv", sounds, "--batch-seconds", "1"]
    out = tmp_path / "o"
    job = subprocess.Popen([sys.executable, UTILS / "extract_embeddings.py",
                            *map(str, arguments), "--out", out], stdout=subprocess.DEVNULL,
                           env=os.environ | {"OMP_NUM_THREADS": "1"})
    for _ in range(600):
        if len(list(out.glob("*.npy"))) > 5 or job.poll() is not None:
            break
        time.sleep(0.05)
    job.send_signal(signal.SIGKILL)
    job.wait()
    there = len(list(out.glob("*.npy")))
    assert 5 < there < 125
    code, said, _ = run(capsys, *arguments, "--out", out)
    assert code == 0 and f"{there} were there, 125 in all" in said
    run(capsys, *arguments, "--out", tmp_path / "whole")
    for path in (tmp_path / "whole").glob("*.npy"):
        np.testing.assert_allclose(np.load(path), np.load(out / path.name), atol=1e-5)


def test_sigterm_keeps_what_is_finished(models, sounds, tmp_path, capsys, monkeypatch):
    from sertools.brains import extract

    encode = extract._encode

    def with_signal(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return encode(*arguments)

    monkeypatch.setattr(extract, "_encode", with_signal)
    arguments = ["--model", models / "mel", sounds, "--out", tmp_path / "o", "--format",
                 "safetensors", "--batch-seconds", 0.5]
    code, _, err = run(capsys, *arguments)
    assert code == 4 and "same command goes on" in err
    monkeypatch.setattr(extract, "_encode", encode)
    code, said, _ = run(capsys, *arguments)
    assert code == 0 and "4 embeddings made, 1 were there" in said


def test_changed_audio_is_made_again(models, sounds, tmp_path, capsys):
    for kind, made in (("npy", 1), ("parquet", 5)):  # a shard's neighbours go with it
        arguments = ["--model", models / "mel", sounds, "--out", tmp_path / kind, "--format", kind]
        run(capsys, *arguments)
        soundfile.write(sounds / "s4.wav", 0.1 * np.ones(3000 + made), 16000)
        assert f"{made} embeddings made" in run(capsys, *arguments)[1]
        assert len(read_embeddings(tmp_path / kind).ids) == 5


def test_another_kind_or_another_sound_is_refused(models, sounds, tmp_path, capsys):
    out = tmp_path / "o"
    run(capsys, "--model", models / "mel", sounds, "--out", out)
    before = {path: path.read_bytes() for path in out.glob("*.*")}
    for options, words in (
            (["--level", "frame"], 'level: there "utterance", now "frame"'),
            (["--layer", "1"], 'layers: there "last", now [1]'),
            (["--format", "parquet"], 'format: there "npy", now "parquet"'),
            (["--model", models / "conv"], "model: there class SpeechEncoder")):
        code, _, err = run(capsys, "--model", models / "mel", sounds, "--out", out, *options)
        assert code == 2 and words in err and "another folder with --out" in err
    (tmp_path / "other").mkdir()
    os.link(sounds / "s0.wav", tmp_path / "other/s0.wav")
    code, _, err = run(capsys, "--model", models / "mel", tmp_path / "other", "--out", out)
    assert code == 2 and "other sounds under the same names" in err
    assert before == {path: path.read_bytes() for path in out.glob("*.*")}
    code, _, err = run(capsys, "--model", models / "mel", sounds, "--out", sounds)
    assert code == 2 and "something else than embeddings" in err


# faults


def test_every_fault_is_listed_and_the_rest_is_done(models, sounds, tmp_path, capsys):
    soundfile.write(sounds / "nan.wav", np.full(4000, np.nan), 16000, subtype="FLOAT")
    soundfile.write(sounds / "none.wav", np.zeros(0), 16000)
    (sounds / "text.wav").write_text("no sound")
    soundfile.write(sounds / "deep" / "twin.wav", np.ones(3000) / 2, 16000)
    soundfile.write(sounds / "deep-twin.wav", np.ones(3000) / 2, 16000)
    long = np.random.default_rng(0).standard_normal(16000 * 12) / 10
    long[-10] = np.nan  # in the last window of three
    soundfile.write(sounds / "tail.wav", long, 16000, subtype="FLOAT")
    arguments = ["--model", models / "mel", sounds, "--out", tmp_path / "o", "--window-seconds", 5,
                 "--overlap-seconds", 1, "--num-workers", 1]
    code, said, err = run(capsys, *arguments)
    assert code == 3 and "6 embeddings made, 0 were there, 6 in all" in said
    for words in ("5 faults", "nan.wav: it holds NaN", "none.wav: it is empty", "text.wav: ",
                  "tail.wav: it holds NaN", "has the id 'deep-twin' of"):
        assert words in err
    assert sorted(path.stem for path in (tmp_path / "o").glob("*.npy")) == sorted(
        [*NAMES, "deep-twin"])
    soundfile.write(sounds / "nan.wav", 0.1 * np.ones(4000), 16000)
    (sounds / "text.wav").unlink()
    code, said, err = run(capsys, *arguments)
    assert code == 3 and "1 embeddings made, 6 were there" in said and "3 faults" in err


def test_missing_files_of_a_list(models, sounds, tmp_path, capsys):
    rows = {"a": {"wav": "s0.wav"}, "b": {"wav": "gone.wav"}, "../c": {"wav": "s0.wav"},
            "d": {"emo": "sad"}, "e": {"wav": "s0.wav", "channel": 3},
            "f": {"wav": "s0.wav", "start_time": 5, "end_time": 6}}
    (tmp_path / "list.json").write_text(json.dumps(rows))
    code, said, err = run(capsys, "--model", models / "mel", tmp_path / "list.json",
                          "--data_folder", sounds, "--out", tmp_path / "o")
    assert code == 3 and "1 embeddings made" in said and (tmp_path / "o/a.npy").is_file()
    for words in ("gone.wav: there is no such file", "'../c'", "d: has no wav", "channel 2 is",
                  "its segment has no sample", "5 faults"):
        assert words in err


def test_numbers_that_the_type_cannot_hold(models, sounds, tmp_path, capsys):
    encoder = load_encoder(models / "conv")
    with torch.no_grad():
        encoder.blocks[-1].ffn_norm.weight.mul_(1e6)
    save_encoder(encoder, tmp_path / "large")
    arguments = ["--model", tmp_path / "large", sounds / "s0.wav"]
    for level in ("utterance", "frame"):
        code, _, err = run(capsys, *arguments, "--out", tmp_path / level, "--precision", "fp16",
                           "--level", level)
        assert code == 3 and "range of fp16" in err and not list((tmp_path / level).glob("*.npy"))
    assert run(capsys, *arguments, "--out", tmp_path / "o")[0] == 0


def test_a_full_disk_is_said_in_words(models, sounds, tmp_path, capsys, monkeypatch):
    def full(path, array):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(embedding_files, "_save", full)
    code, _, err = run(capsys, "--model", models / "mel", sounds, "--out", tmp_path / "o")
    assert code == 3 and "No space left on device" in err and "make room" in err


class Bomb:
    """Would touch a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_wrong_options_touch_nothing(models, sounds, tmp_path, capsys):
    (tmp_path / "bomb.pt").write_bytes(pickle.dumps(Bomb(tmp_path / "boom"), 2))
    (tmp_path / "file").write_text("")
    (tmp_path / "nothing").mkdir()
    good = {"--model": models / "mel", "--out": tmp_path / "o"}
    cases = [
        ({"--model": tmp_path / "bomb.pt"}, sounds, "bomb.pt"),
        ({"--model": tmp_path / "gone.pt"}, sounds, "gone.pt"),
        ({"--layer": "3"}, sounds, "depths 0 to 2"),
        ({"--layer": "x"}, sounds, "--layer x"),
        ({"--layer": "1,1"}, sounds, "each once"),
        ({"--precision": "bf16"}, sounds, "--format safetensors"),
        ({"--batch-seconds": "0"}, sounds, "--batch-seconds 0"),
        ({"--num-workers": "-1"}, sounds, "--num-workers -1"),
        ({"--window-seconds": "2"}, sounds, "5 s or more"),
        ({"--device": "quantum"}, sounds, "--device quantum"),
        ({"--data_folder": tmp_path / "gone"}, sounds, "no such folder"),
        ({"--out": tmp_path / "file" / "o"}, sounds, "cannot be written"),
        ({}, tmp_path / "gone.wav", "gone.wav: there is no such file"),
        ({}, tmp_path / "nothing", "holds no audio"),
    ]
    for changes, source, words in cases:
        options = [part for pair in (good | changes).items() for part in pair]
        code, _, err = run(capsys, *options, source)
        assert code == 2 and words in err, (changes, source, err)
        assert not (tmp_path / "o").exists() and not (tmp_path / "boom").exists()
    with pytest.raises(SystemExit, match="2"):
        tool.main(["--model", "x"])


def test_a_second_writer_is_refused(models, sounds, tmp_path, capsys):
    from sertools.recipe.lock import Lock

    lock = Lock(tmp_path / "o" / ".lock", "first")
    assert lock.acquire()
    try:
        code, _, err = run(capsys, "--model", models / "mel", sounds, "--out", tmp_path / "o")
    finally:
        lock.release()
    assert code == 2 and "in use" in err


def test_meta_says_what_made_them(models, sounds, tmp_path, capsys):
    run(capsys, "--model", models / "conv", sounds / "s0.wav", sounds / "s3.wav", "--out",
        tmp_path / "o")
    meta = read_json(tmp_path / "o/meta.json")
    assert meta["model"]["class"] == "SpeechEncoder" and len(meta["model"]["weights"]) == 64
    assert (meta["layers"], meta["level"], meta["dim"], meta["frame_rate"]) == (
        "last", "utterance", 32, 50.0)
    assert meta["origin"]["source"] == str(models / "conv")
    assert sorted(path.stem for path in (tmp_path / "o").glob("*.npy")) == ["s0", "s3"]


@pytest.mark.parametrize("name", ["extract_embeddings", "plot_embeddings"])
def test_help_is_quick_and_imports_nothing_heavy(name):
    code = (f"import runpy, sys; sys.argv = ['{name}.py', '--help']\n"
            f"try: runpy.run_path({str(UTILS / f'{name}.py')!r}, run_name='__main__')\n"
            "except SystemExit: print({'torch', 'numpy', 'soundfile'} & set(sys.modules))")
    started = time.monotonic()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert time.monotonic() - started < 2.0
    assert result.stdout.startswith("usage:") and result.stdout.endswith("set()\n"), result.stderr
