"""Pretraining of emotion2vec: steps by one obvious computation, resumption, guards, odd audio."""

import functools
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile
import torch
import toy_pretraining as toy
from safetensors.torch import load_file
from sertools.brains.emotion2vec import Collapsed
from sertools.brains.emotion2vec_pretrainer import Emotion2vecPretrainer
from sertools.brains.groups import whole_optimizer
from sertools.errors import ConfigError, DataError, Interrupted
from sertools.models.emotion2vec import DecoderConfig
from sertools.models.presets import build_encoder
from sertools.models.weights import load_encoder
from sertools.objectives.distillation import decay
from test_resume import assert_equal, kill_once_there_is
from toy import stop_after

TOY = Path(toy.__file__)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Return the folder of the toy corpus."""
    folder = tmp_path_factory.mktemp("pretraining")
    toy.make_corpus(folder)
    return folder


@pytest.fixture
def work_of(corpus, tmp_path):
    """Return a function that makes a work in the folder `name` of this test."""
    return lambda name="unit", **changes: toy.make_work(corpus, tmp_path / name, **changes)


def lines_of(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        assert line.pop("audio_seconds_per_second") > 0
    return lines


def last_of(folder, name):
    newest = max((folder / "checkpoints").glob("CKPT*"))
    return torch.load(newest / f"{name}.ckpt", weights_only=True)


def result_of(folder):
    """Return what a pretraining leaves, without the times."""
    return {
        **{part: load_file(folder / part / "model.safetensors")
           for part in ("best/encoder", "best/teacher", "epoch0002")},
        "last": last_of(folder, "model"), "optimizer": last_of(folder, "optimizer")["state"],
        "lines": lines_of(folder),
    }


# What is learned


def test_it_learns_and_leaves_two_encoders(work_of, tmp_path):
    said = []
    still = {"ema_start": 0.999, "ema_end": 0.9999}  # a teacher that moves makes it harder
    toy.pretrainer(epochs=12, lr=3e-3, checkpoint_steps=None, **still).fit(
        work_of(say=said.append))
    lines = lines_of(tmp_path / "unit")
    assert lines[-1]["train"]["frame"] < 0.6 * lines[0]["train"]["frame"]
    for line in lines:
        train = line["train"]
        expected = train["frame"] + 0.1 * train["utterance"]
        assert train["loss"] == pytest.approx(expected, rel=1e-5)
        assert train["target_std"] > 0.1 and train["prediction_std"] > 0.01
        assert train["skipped_steps"] == 0
    assert "14 utterances" in said[0] and "12 epochs of 4 updates, 2 passes each" in said[0]
    student, teacher = (load_encoder(tmp_path / "unit/best" / part)
                        for part in ("encoder", "teacher"))
    own = dict(student.named_parameters())
    same = {name for name, value in teacher.named_parameters() if torch.equal(value, own[name])}
    assert same == {name for name in own if name.startswith("frontend.")}
    assert student.config.normalise_waveform and teacher.config.normalise_waveform
    audio = json.loads((tmp_path / "unit/audio.json").read_text())
    assert audio["corpora"]["toy"]["utterances"] == 14


def test_what_is_published_hears_as_it_was_trained(work_of, tmp_path):
    """Loud or quiet, a recording gives the frames of its normalised form."""
    toy.pretrainer(epochs=1, warmup_updates=0).fit(work_of())
    encoder = load_encoder(tmp_path / "unit/best/encoder").eval()
    wave = work_of().dataset[2].inputs[None]
    with torch.no_grad():
        expected = encoder.contextualise(encoder.local(wave, normalised=True)[0]).last
        quiet = encoder(wave * 1e-2 + 0.01).last
    torch.testing.assert_close(quiet, expected, atol=0.02, rtol=0.02)


def slow_gradients(trainer, work, weights, batches):
    """Return the gradients of sum(F + alpha U) / sum(n), and the three sums."""
    given, model = trainer.given, trainer._model(work)
    model.load_state_dict(weights)
    model.train()
    frame = utterance = count = 0.0
    for waveforms, mask in batches:
        equal = given["mask_timing"] == "after_crop"
        out = model(waveforms, mask, int(mask[0].sum()) if equal else None)
        masked = 0
        for row in range(len(mask)):
            for place in range(out.prediction.shape[1]):
                if out.weight is None or out.weight[row, place]:
                    error = (out.prediction[row, place] - out.target[row, place]) ** 2
                    frame = frame + error.sum() / math.sqrt(16)
                    masked += 1
        assert masked == int(mask.sum())
        rows = sum(((out.summary[row] - out.utterance[row]) ** 2).sum() / math.sqrt(16)
                   for row in range(len(mask)))
        share = len(mask) if given["utterance_reduction"] == "mean" else 1
        utterance, count = utterance + masked * rows / share, count + masked
    ((given["frame_weight"] * frame + given["alpha"] * utterance) / count).backward()
    gradients = {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
    return gradients, float(frame.detach()), float(utterance.detach()), count


def check_updates(trainer, work, ranks):
    """Compare every update that was noted with one obvious computation; return the sums."""
    assert len({len(notes) for notes in ranks}) == 1
    sums = []
    for step in range(len(ranks[0]) - 1):
        assert all(torch.equal(value, notes[step]["weights"][name]) for notes in ranks
                   for name, value in ranks[0][step]["weights"].items())
        batches = [batch for notes in ranks for batch in notes[step]["batches"]]
        expected, *numbers = slow_gradients(trainer, work, ranks[0][step]["weights"], batches)
        noted = ranks[0][step]["gradients"]
        assert expected.keys() == noted.keys()
        largest = max(float(value.abs().max()) for value in expected.values())
        for name, value in expected.items():
            torch.testing.assert_close(noted[name], value, rtol=2e-3, atol=1e-6 * largest)
        sums.append(numbers)
    return sums


@pytest.mark.parametrize("changes", [
    {}, {"mask_timing": "before_crop"}, {"utterance_reduction": "mean", "alpha": 2.0},
    {"utterance_loss": "global", "frame_weight": 0.5},
    {"utterance_loss": "token", "utterance_target": "released"},
], ids=lambda changes: ", ".join(map(str, changes.values())) or "as released")
def test_an_update_is_the_sum_over_its_passes_by_masked_frames(work_of, tmp_path, changes):
    trainer = toy.still_pretrainer(epochs=1, **changes)
    with toy.watched():
        trainer.fit(work_of())
    notes = torch.load(tmp_path / "unit/notes.rank0.ckpt", weights_only=True)
    sums = check_updates(trainer, work_of(), [notes])
    assert {len(note["batches"]) for note in notes[:-1]} == {1, 2}  # the last one is short
    frame, utterance, count = map(sum, zip(*sums, strict=True))
    train = lines_of(tmp_path / "unit")[0]["train"]
    assert train["frame"] == pytest.approx(frame / count, rel=1e-4)
    assert train["utterance"] == pytest.approx(utterance / count, rel=1e-4)
    equal = [len(set(mask.sum(1).tolist())) == 1
             for note in notes for _, mask in note["batches"]]
    assert all(equal) == (trainer.given["mask_timing"] == "after_crop")


def test_the_teacher_is_the_average_of_all_students(work_of, tmp_path):
    trainer = toy.still_pretrainer()
    with toy.watched():
        trainer.fit(work_of())
    notes = torch.load(tmp_path / "unit/notes.rank0.ckpt", weights_only=True)
    slow = {name: value.double() for name, value in notes[0]["weights"].items()
            if name.startswith("teacher.")}
    for name, value in slow.items():  # the teacher begins as the student
        start = notes[0]["weights"][name.replace("teacher.", "student.")]
        assert torch.equal(value, start.double())
    for step, note in enumerate(notes[1:], start=1):
        tau = decay(step, 0.9, 0.99, 10)
        for name, value in slow.items():
            student = note["weights"][name.replace("teacher.", "student.")].double()
            slow[name] = tau * value + (1 - tau) * student
            torch.testing.assert_close(note["weights"][name].double(), slow[name],
                                       atol=1e-6, rtol=1e-5)
    assert len(slow) > 20 and not any("frontend" in name for name in slow)
    saved = last_of(tmp_path / "unit", "model")
    assert saved.keys() == notes[-1]["weights"].keys()
    assert all(torch.equal(saved[name], value) for name, value in notes[-1]["weights"].items())


# Stopped, killed, on several ranks


@pytest.mark.parametrize("changes", [
    {"precision": "fp32"}, {"precision": "bf16"}, {"mask_timing": "before_crop"},
    pytest.param({"num_workers": 1}, marks=pytest.mark.slow),
], ids=lambda changes: str(next(iter(changes.values()))))
def test_stopped_anywhere_ends_the_same(work_of, tmp_path, changes):
    settings = {k: changes[k] for k in changes if k == "mask_timing"}
    work_changes = {k: changes[k] for k in changes if k != "mask_timing"}
    toy.pretrainer(**settings).fit(work_of("whole", **work_changes))
    stops = 0
    for polls in (1, 3, 2):
        with pytest.raises(Interrupted):
            toy.pretrainer(**settings).fit(
                work_of("pieces", should_stop=stop_after(polls), **work_changes))
        stops += 1
    toy.pretrainer(**settings).fit(work_of("pieces", **work_changes))
    assert stops == 3
    assert_equal(result_of(tmp_path / "whole"), result_of(tmp_path / "pieces"))


def start(corpus, folder, kind):
    command = [sys.executable, str(TOY), str(corpus), str(folder), kind, "1"]
    return subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_in_the_middle_ends_the_same(corpus, work_of, tmp_path):
    assert kill_once_there_is(start(corpus, tmp_path / "killed", "fp32"), tmp_path / "killed", 6)
    final = start(corpus, tmp_path / "killed", "fp32")
    toy.pretrainer().fit(work_of("whole"))
    _, errors = final.communicate(timeout=120)
    assert final.returncode == 0, errors
    assert_equal(result_of(tmp_path / "whole"), result_of(tmp_path / "killed"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fp32", "bf16"])
def test_killed_at_random_moments_ends_the_same(corpus, work_of, tmp_path, kind):
    draw, folder, killed = random.Random(kind), tmp_path / "killed", 0
    for _ in range(8):
        process = start(corpus, folder, kind)
        while not (folder / "checkpoints").exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(draw.uniform(0.0, 1.2))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.communicate()
    final = start(corpus, folder, kind)
    _, errors = final.communicate(timeout=120)
    assert final.returncode == 0, errors
    toy.pretrainer().fit(work_of("whole", precision=kind))
    assert killed >= 3
    assert_equal(result_of(tmp_path / "whole"), result_of(folder))


@pytest.mark.slow
def test_two_ranks_add_up_what_they_see(corpus, work_of, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone",
               "--nproc-per-node=2", str(TOY), str(corpus), str(tmp_path / "unit"), "watched", "2"]
    done = subprocess.run(command, env=ENVIRONMENT, timeout=120, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    ranks = [torch.load(tmp_path / f"unit/notes.rank{rank}.ckpt", weights_only=True)
             for rank in (0, 1)]
    trainer = toy.still_pretrainer(update_seconds=10.0)
    sums = check_updates(trainer, work_of(), ranks)
    assert {len(note["batches"]) for note in ranks[0][:-1]} == {2}  # and as many on rank 1
    first, second = (notes[0]["batches"][0][1] for notes in ranks)
    assert first.shape != second.shape or not torch.equal(first, second)
    epochs = [sums[: len(sums) // 2], sums[len(sums) // 2 :]]
    for line, part in zip(lines_of(tmp_path / "unit"), epochs, strict=True):
        frame, utterance, count = map(sum, zip(*part, strict=True))
        assert line["train"]["frame"] == pytest.approx(frame / count, rel=1e-4)
        assert line["train"]["utterance"] == pytest.approx(utterance / count, rel=1e-4)
    student, teacher = (load_file(tmp_path / "unit/best" / part / "model.safetensors")
                        for part in ("encoder", "teacher"))
    last = ranks[1][-1]["weights"]
    assert all(torch.equal(last[f"student.encoder.{k}"], v) for k, v in student.items())
    assert all(torch.equal(last[f"teacher.encoder.{k}"], v) for k, v in teacher.items()
               if not k.startswith("frontend."))


def test_a_finished_pretraining_is_left_alone_and_others_are_refused(work_of, tmp_path):
    trainer_of = functools.partial(toy.pretrainer, epochs=1, warmup_updates=0)
    with pytest.raises(Interrupted):
        trainer_of().fit(work_of(should_stop=stop_after(1)))
    for changes, word in (({"alpha": 3.0}, "alpha: 0.1 in the checkpoint, 3.0 now"),
                          ({"decoder": DecoderConfig(dim=8, groups=2)}, "decoder"),
                          ({"clones": 3}, "clones")):
        with pytest.raises(ConfigError, match=word):
            trainer_of(**changes).fit(work_of())
    with pytest.raises(ConfigError, match="utterances"):
        trainer_of().fit(work_of(data={"exclude": ["toy/s1"]}))
    trainer = trainer_of()
    trainer.fit(work_of())
    assert all(path.is_file() for path in trainer.artefacts(work_of()))
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "unit").rglob("*")}
    trainer.fit(work_of())
    assert times == {p: p.stat().st_mtime_ns for p in (tmp_path / "unit").rglob("*")}


# Guards


@pytest.mark.parametrize("name, part", [
    ("min_target_std", "target_std"), ("min_prediction_std", "prediction_std")])
def test_a_collapse_stops_with_words(work_of, tmp_path, name, part):
    trainer = toy.pretrainer(guard_after=3, log_every=2, **{name: 50.0})
    with pytest.raises(Collapsed, match="collapsed after 4 updates") as caught:
        trainer.fit(work_of())
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f"{part} is 0.")
    assert "least 50.0" in caught.value.problems[0] and "lower lr" in str(caught.value)
    assert not (tmp_path / "unit/training.json").exists()


def test_wrong_settings_are_refused_all_at_once():
    with pytest.raises(ConfigError) as caught:
        Emotion2vecPretrainer(
            build_encoder, mask_span=4, mask_share=1.5, clones=0, utterance_loss="mean", alpha=2,
            ema_start=0.99, ema_end=0.9, updates=10, epochs=10, batch_seconds=0, lr=0,
            wd_exclude="bias", mask_timing="never", clip=0,
        )
    found = {problem.split(":")[0].split(" is ")[0] for problem in caught.value.problems}
    assert found == {"clones", "mask_span", "mask_share", "ema_start, ema_end", "clip",
                     "updates and epochs", "batch_seconds", "lr", "utterance_loss", "wd_exclude",
                     "mask_timing"}
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("changes, words", [
    ({"lr": "1e-4", "clones": 2.5}, ["clones: 2.5 is not a whole number",
                                     "lr: '1e-4' is not a number"]),
    ({"alpha": -1, "log_every": 0}, ["alpha: -1; give 0 or more",
                                     "log_every is 0: give 1 or more"]),
    ({"betas": [0.9, 1.0]}, ["betas: [0.9, 1.0]; give two numbers of 0 or more, less than 1"]),
    ({"alpha": float("nan")}, ["alpha: nan is not a number"]),
    ({"start": ""}, ["start: ''; name a file, or null for a cold start"]),
    ({"updates": None}, ["updates and epochs: give one of them, and null for the other"]),
    ({"frame_weight": 0, "utterance_loss": "none"},
     ["frame_weight, alpha, utterance_loss: nothing is left to learn from"]),
])
def test_odd_values_are_named(changes, words):
    with pytest.raises(ConfigError) as caught:
        Emotion2vecPretrainer(build_encoder, **changes)
    assert caught.value.problems == words


def test_defaults_are_those_of_the_released_script():
    given = Emotion2vecPretrainer(build_encoder).given
    assert (given["lr"], given["updates"], given["warmup_updates"]) == (7.5e-5, 100_000, 5_000)
    assert (given["clones"], given["alpha"], given["utterance_loss"]) == (8, 1.0, "chunk")
    assert (given["batch_seconds"], given["update_seconds"]) == (37.5, 900.0)


def test_what_only_shows_in_the_work_is_said_before_training(work_of):
    bare = functools.partial(build_encoder, **{**toy.TINY, "extra_tokens": 0})
    with pytest.raises(ConfigError, match="chunk needs extra_tokens"):
        toy.pretrainer(encoder=bare).fit(work_of())
    with pytest.raises(ConfigError, match="warmup_updates: 99, but the whole training has 12"):
        toy.pretrainer(warmup_updates=99).fit(work_of())
    with pytest.raises(ConfigError, match="sample_rate is 8000, but the encoder hears 16000"):
        toy.pretrainer().fit(work_of(data={"sample_rate": 8000}))
    said = []
    toy.still_pretrainer(utterance_loss="token", epochs=1).fit(work_of(say=said.append))
    assert said[0].startswith("note: utterance_loss token reads the last of 2 tokens")


def test_what_decays():
    model = toy.pretrainer()._model(toy.PretrainingWork(**dict.fromkeys(
        ("dataset", "summary", "folder", "device", "precision", "num_workers", "should_stop"),
    ), seed=1, say=print))
    rest = {"lr": 0.1, "weight_decay": 0.01, "betas": (0.9, 0.98), "eps": 1e-6}
    (group,) = whole_optimizer(wd_exclude="none", **rest)(model).param_groups
    assert group["weight_decay"] == 0.01 and group["initial_lr"] == 0.1
    assert len(group["params"]) == len(list(model.student.parameters()))
    matrices, vectors = whole_optimizer(wd_exclude="norm_bias", **rest)(model).param_groups
    if matrices["weight_decay"] == 0:
        matrices, vectors = vectors, matrices
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.01, 0.0)
    assert all(p.ndim <= 1 for p in vectors["params"])
    assert all(p.ndim > 1 for p in matrices["params"])
    assert len(vectors["params"]) + len(matrices["params"]) == len(group["params"])


# Odd audio


def test_too_short_clips_are_named(tmp_path):
    toy.make_corpus(tmp_path, count=6)
    records = json.loads((tmp_path / "utts.json").read_text())
    assert "toy-u02" in json.dumps(records)
    soundfile.write(tmp_path / "audio/u02.wav", torch.randn(1200).numpy(), 16000)
    text = (tmp_path / "utts.json").read_text()
    old = json.dumps(0.6 + 0.05 * (2 * 5 % 13))
    (tmp_path / "utts.json").write_text(text.replace(old, "0.075", 1))
    work = toy.make_work(tmp_path, tmp_path / "unit", data={"min_seconds": 0.0})
    with pytest.raises(DataError, match="min_seconds to 0.095") as caught:
        toy.pretrainer().fit(work)
    assert caught.value.problems == ["toy-u02: 0.075 s"]


@pytest.mark.parametrize("preset", ["emotion2vec_small", "emotion2vec_base"])
def test_silence_alone_stays_finite(tmp_path, preset):
    toy.make_corpus(tmp_path, count=6)
    for file in (tmp_path / "audio").glob("*.wav"):
        info = soundfile.info(file)
        soundfile.write(file, torch.zeros(info.frames).numpy(), info.samplerate)
    encoder = functools.partial(build_encoder, **{**toy.TINY, "preset": preset, "conv_dim": 16,
                                                  "position_groups": 4})
    trainer = toy.pretrainer(encoder=encoder, epochs=3, batch_seconds=5)
    trainer.fit(toy.make_work(tmp_path, tmp_path / "unit"))
    for line in lines_of(tmp_path / "unit"):
        assert math.isfinite(line["train"]["loss"]) and line["train"]["skipped_steps"] == 0


def test_nan_in_a_file_is_refused_by_name(tmp_path):
    toy.make_corpus(tmp_path, count=6)
    wave = torch.randn(16000)
    wave[500] = math.nan
    soundfile.write(tmp_path / "audio/u04.wav", wave.numpy(), 16000, subtype="FLOAT")
    with pytest.raises(DataError, match="u04.wav: it holds NaN or infinite samples"):
        toy.pretrainer().fit(toy.make_work(tmp_path, tmp_path / "unit"))


def test_stereo_at_8_khz_is_heard_at_16(corpus, work_of):
    info = soundfile.info(corpus / "audio/u03.wav")
    assert (info.samplerate, info.channels) == (8000, 2)
    dataset = work_of(data={"max_seconds": None}).dataset
    wave = dataset[dataset.ids.index("toy-u03")].inputs
    assert wave.shape == (2 * info.frames,)
    assert float(wave.std()) == pytest.approx(1, abs=0.01)
