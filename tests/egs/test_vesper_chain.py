"""Vesper from raw files to the results table: IEMOCAP's recipe, a small teacher, other speech."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trees
import trees_iemocap
from recipes import copy_recipe, results_of, run_recipe
from sertools.models.weights import load_encoder

SMALL = [
    "hparams/vesper4.yaml", "--data_folder", "../../IEMOCAP", "--corpus.allow_subset", "true",
    "--corpus.min_seconds", "0.01", "--pretraining_data.min_seconds", "0.3",
    "--pretrainer.teacher.source", "../../wavlm", "--pretrainer.layers", "2",
    "--pretrainer.epochs", "2", "--pretrainer.batch", "4", "--pretrainer.small_span", "4",
    "--pretrainer.large_span", "8", "--pretrainer.checkpoint_steps", "1",
    "--pretrainer.tensorboard", "false", "--trainer.epochs", "2", "--trainer.tensorboard", "false",
    "--trainer.checkpoint_steps", "2", "--feature_seconds", "0.3", "--device", "cpu",
]  # fmt: skip
COUNTED = ("model.safetensors", "vesper.pt", "dev.jsonl", "test.jsonl", "scores.json",
           "utts.json", "clean.json")


def save_teacher(folder: Path) -> None:
    """Save a WavLM of Large's kind, 4 blocks of random weights, as Hugging Face does."""
    import torch
    from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMModel

    torch.manual_seed(1)
    WavLMModel(WavLMConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64,
        conv_dim=(16,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
        feat_extract_norm="layer", do_stable_layer_norm=True)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)


def make(root: Path, repository: Path) -> Path:
    """Build releases, a teacher and two recipes; return IEMOCAP's, LSSED being prepared."""
    save_teacher(root / "wavlm")
    lines = [line for line in trees_iemocap.small() if "script" not in line.dialogue]
    trees_iemocap.iemocap(root / "IEMOCAP", lines, lambda path: trees.sound(path, seconds=0.4),
                          whole=False)
    names = [f"{number:05d}_0" for number in range(8)]
    for place, name in enumerate(names):
        trees.sound(root / "LSSED" / "wav_all" / f"{name}.wav", seconds=0.5 + place / 20)
    (root / "LSSED" / "metadata_english_all.csv").write_text(
        "\n".join(["name,emotion", *(f"{name},Neutral" for name in names)]))
    lssed = copy_recipe(repository, "lssed", root)
    run_recipe(lssed, "hparams/prepare.yaml", "--data_folder", root / "LSSED")
    return copy_recipe(repository, "iemocap", root)


def what_counts(recipe: Path) -> dict[str, bytes]:
    """Return every result whose bytes must not depend on interruptions."""
    places = ("exp", "dump", "data")
    found = [path for place in places for path in (recipe / place).rglob("*")
             if path.name in COUNTED or path.suffix == ".safetensors"]
    return {str(path.relative_to(recipe)): path.read_bytes() for path in found
            if "checkpoints" not in path.parts}


@pytest.fixture(scope="module")
def fresh(repository, tmp_path_factory) -> Path:
    """Return everything before the first run."""
    return make(tmp_path_factory.mktemp("fresh"), repository)


@pytest.fixture(scope="module")
def finished(fresh, tmp_path_factory) -> tuple[Path, str]:
    """Return a recipe that ran without interruption, and what it printed."""
    recipe = another(fresh, tmp_path_factory.mktemp("finished"))
    return recipe, run_recipe(recipe, *SMALL)


def another(recipe: Path, folder: Path) -> Path:
    """Return a copy of all."""
    root = shutil.copytree(recipe.parents[1], folder / "copy", copy_function=shutil.copy2)
    return root / "egs" / "iemocap"


def kill_after(recipe: Path, words: str, delay: float = 0.0) -> bool:
    """Kill a run `delay` seconds after it printed something; False if it ended before."""
    process = subprocess.Popen(
        [sys.executable, "run.py", *SMALL], cwd=recipe, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED":
                                       "1", "HF_HUB_OFFLINE": "1"})  # fmt: skip
    for line in process.stdout:
        if words in line:
            break
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def test_from_raw_files_to_the_table(finished):
    recipe, printed = finished
    places = [printed.index(words) for words in (
        "stage 1 prepare", "stage 2 features", "stage 3 pretrain", "stage 4 train, fold 1",
        "stage 5 evaluate", "stage 6 report")]
    assert places == sorted(places)
    results = results_of(recipe)
    assert results["coverage"]["units_done"] == 5
    said = results["provenance"]["pretraining"]
    assert "Vesper student of" in said and "2 of 4 blocks, uniform_extract" in said
    assert "pretrained on lssed" in said
    (pages,) = recipe.glob("exp/*/report/RESULTS.md")
    assert "pretrained on lssed" in pages.read_text()
    (student,) = recipe.glob("exp/*/pretrain/best/encoder")
    assert load_encoder(student).config.num_layers == 2
    assert printed.count("are cached once for all folds and seeds") == 1


@pytest.mark.slow
def test_killed_in_targets_pretraining_layers_and_training_it_ends_the_same(
    fresh, finished, tmp_path
):
    recipe = another(fresh, tmp_path)
    assert kill_after(recipe, "epoch 1: train loss")
    assert kill_after(recipe, "are cached once")
    assert "stage 6 report" in run_recipe(recipe, *SMALL)
    assert what_counts(recipe) == what_counts(finished[0])


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(4))
def test_killed_anywhere_it_ends_the_same(fresh, finished, tmp_path, seed):
    recipe, draw, killed = another(fresh, tmp_path), random.Random(seed), 0
    points = ["stage 1", "stage 2", "features:", "stage 3", "blocks", "epoch 1: train loss",
              "epoch 2", "stage 4 train", "are cached once", "(2 of 5)", "(4 of 5)", "stage 5"]
    for _ in range(8):
        killed += kill_after(recipe, draw.choice(points), draw.random() ** 2)
    run_recipe(recipe, *SMALL)
    assert killed >= 2, "else nothing was proven"
    assert what_counts(recipe) == what_counts(finished[0])


@pytest.mark.slow
def test_its_student_may_be_given(finished, tmp_path):
    recipe = another(finished[0], tmp_path)
    (student,) = recipe.glob("exp/*/pretrain/best/encoder")
    kept = shutil.copytree(student, tmp_path / "student")
    before = results_of(recipe)["summary"]
    shutil.rmtree(recipe / "exp")
    printed = run_recipe(recipe, *SMALL, "--pretrained", kept)
    for stage in ("2 features", "3 pretrain"):
        assert f"stage {stage}: not part of this recipe" in printed
    assert results_of(recipe)["summary"] == before


@pytest.mark.slow
def test_the_student_itself_may_be_trained_on(finished, tmp_path):
    recipe = another(finished[0], tmp_path)
    yaml = recipe / "hparams" / "vesper4.yaml"
    yaml.write_text(yaml.read_text().replace(
        "hparams/trainers/vesper.yaml",
        "hparams/trainers/vesper_finetune.yaml\n"
        "    encoder: !name:sertools.models.upstream.load_upstream {trainable: true}"))
    words = [*SMALL, "--trainer.crop_seconds", "0.3", "--fold", "1"]
    printed = run_recipe(recipe, *words)
    assert "stage 4 train, fold 1" in printed and "stage 3 pretrain: audio" not in printed


def test_without_lssed_it_says_what_to_do(fresh, tmp_path):
    recipe = another(fresh, tmp_path)
    shutil.rmtree(recipe.parent / "lssed" / "data")
    printed = run_recipe(recipe, *SMALL, code=2)
    assert "hparams/prepare.yaml --stop-stage prepare --data_folder" in printed
    assert "utils/manifest_from_folder.py" in printed
    assert not (recipe / "data").exists() and "Traceback" not in printed
