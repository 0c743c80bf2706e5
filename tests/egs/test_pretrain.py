"""The recipe of pretraining: stopped and killed, told apart by its audio, errors in words."""

import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest
import soundfile
import torch
import trees
from recipes import copy_recipe, run_recipe
from sertools.data.manifest import write_manifest
from sertools.data.record import Record
from sertools.models.weights import load_encoder

YAML = """# emotion2vec in miniature
data_folder: releases
pretraining_data: !new:sertools.data.pretraining.PretrainingData
    sources:
        one: {manifest: data/one/utts.json, folder: one}
        two: {manifest: data/two/utts.json, folder: two}
    exclude: []
    min_seconds: 0.5
pretrainer: !include:../../../hparams/pretrainers/emotion2vec_small.yaml
    encoder: !name:sertools.models.presets.build_encoder
        preset: emotion2vec_small
        dim: 16
        num_layers: 3
        num_heads: 2
        ffn_dim: 32
        extra_tokens: 2
        layerdrop: 0.2
        dropout: 0.1
    decoder: !new:sertools.models.emotion2vec.DecoderConfig {dim: 16, groups: 2}
    context_layers: 1
    epochs: 3
    batch_seconds: 3
    update_seconds: 6
    warmup_updates: 1
    ema_steps: 5
    checkpoint_minutes: 0.0001
device: cpu
precision: fp32
num_workers: 0
"""
COMMAND = ["hparams/tiny.yaml"]


def write_corpus(recipe, name, count=6):
    records = []
    for take in range(count):
        seconds = 0.7 + take / 10
        path = trees.sound(recipe / "releases" / name / f"{name}{take}.wav", seconds=seconds)
        records.append(Record(id=f"{name}-{take}", path=path.name, speaker=f"s{take % 2}",
                              duration=seconds))
    write_manifest(recipe / "data" / name / "utts.json", records)


def make_recipe(repository, root):
    recipe = copy_recipe(repository, "pretrain", root)
    (recipe / "hparams/tiny.yaml").write_text(YAML)
    for name in ("one", "two"):
        write_corpus(recipe, name)
    return recipe


@pytest.fixture(scope="module")
def whole(repository, tmp_path_factory):
    """Return a recipe that pretrained without interruption, and what it printed."""
    recipe = make_recipe(repository, tmp_path_factory.mktemp("whole"))
    return recipe, run_recipe(recipe, *COMMAND)


def folder_of(recipe):
    (folder,) = recipe.glob("exp/*/pretrain")
    return folder


def what_counts(recipe):
    """Return the bytes of weights, and the curves without times."""
    folder = folder_of(recipe)
    found = {part: (folder / "best" / part / "model.safetensors").read_bytes()
             for part in ("encoder", "teacher")}
    lines = (folder / "metrics.jsonl").read_text()
    return {**found, "lines": re.sub(r'"audio_seconds_per_second": [^,}]*', "", lines)}


def start(recipe):
    return subprocess.Popen(
        [sys.executable, "run.py", *COMMAND], cwd=recipe, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def wait_for_training(recipe, process):
    """Wait until a process prints that it trains, and a checkpoint is there."""
    while process.poll() is None and "updates, " not in process.stdout.readline():
        pass
    while process.poll() is None and not list(recipe.glob("exp/*/pretrain/checkpoints/CKPT+*")):
        time.sleep(0.01)


def test_pretraining_ends_with_two_encoders_and_is_done(whole):
    recipe, printed = whole
    assert "12 utterances" in printed and "epoch 3: train loss" in printed
    encoders = [load_encoder(folder_of(recipe) / "best" / part) for part in ("encoder", "teacher")]
    assert not torch.equal(encoders[0].tokens, encoders[1].tokens)
    assert "stage 3 pretrain: done" in run_recipe(recipe, *COMMAND)


def test_stopped_by_a_signal_the_same_command_goes_on(repository, tmp_path, whole):
    recipe = make_recipe(repository, tmp_path)
    process = start(recipe)
    wait_for_training(recipe, process)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode not in (0, 1) and "run the same command to go on" in printed
    assert "Traceback" not in printed
    assert "going on after epoch" in run_recipe(recipe, *COMMAND)
    assert what_counts(recipe) == what_counts(whole[0])


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_the_same(repository, tmp_path, whole):
    recipe, draw, killed = make_recipe(repository, tmp_path), random.Random(4), 0
    for _ in range(6):
        process = start(recipe)
        wait_for_training(recipe, process)
        time.sleep(draw.uniform(0, 1.5))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.communicate()
    run_recipe(recipe, *COMMAND)
    assert killed >= 2
    assert what_counts(recipe) == what_counts(whole[0])


@pytest.mark.slow
def test_other_audio_is_another_pretraining(repository, tmp_path):
    recipe = make_recipe(repository, tmp_path)
    short = [*COMMAND, "--pretrainer.epochs", 1, "--pretrainer.warmup_updates", 0]
    assert "12 utterances" in run_recipe(recipe, *short)
    write_corpus(recipe, "two", count=4)
    assert "10 utterances" in run_recipe(recipe, *short)
    assert "done" in run_recipe(recipe, *short)


def test_errors_are_said_in_words(repository, tmp_path):
    recipe = make_recipe(repository, tmp_path)
    wrong = ["--pretrainer.mask_span", 4, "--pretrainer.clones", 0, "--pretrainer.lr", 0,
             "--pretrainer.utterance_loss", "mean"]
    printed = run_recipe(recipe, *COMMAND, *wrong, code=2)
    for words in ("clones: 0; give 1", "mask_span: 4; give an odd", "lr: 0.0; give more than 0",
                  "utterance_loss: 'mean'; choose from chunk"):
        assert words in printed
    (recipe / "data/two/utts.json").unlink()
    gone = run_recipe(recipe, *COMMAND, code=2)
    assert "data/two/utts.json does not exist" in gone
    write_corpus(recipe, "two")
    wave = torch.randn(16000)
    wave[7] = float("nan")
    soundfile.write(recipe / "releases/two/two3.wav", wave.numpy(), 16000, subtype="FLOAT")
    odd = run_recipe(recipe, *COMMAND, code=3)
    assert "two3.wav" in odd and "NaN" in odd
    (recipe / "releases/two/two3.wav").unlink()
    missing = run_recipe(recipe, *COMMAND, code=3)
    assert "two3.wav" in missing
    for text in (printed, gone, odd, missing):
        assert "Traceback" not in text
