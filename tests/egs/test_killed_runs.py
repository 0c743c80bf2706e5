"""A recipe killed anywhere and started again gives the very bytes of an undisturbed run."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from recipes import copy_recipe

COMMAND = [
    "run.py", "hparams/scratch.yaml", "--synthesis.speakers", "6", "--synthesis.utterances", "2",
    "--corpus.allow_subset", "true", "--precision", "fp32", "--trainer.epochs", "3",
    "--trainer.batch_seconds", "10", "--trainer.encoder.dim", "32",
    "--trainer.encoder.num_layers", "2", "--trainer.encoder.dropout", "0.2",
    "--trainer.checkpoint_steps", "1", "--trainer.tensorboard", "false",
]  # fmt: skip


def start(recipe: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *COMMAND], cwd=recipe, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def finish(recipe: Path) -> str:
    process = start(recipe)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed
    return printed


def run_until_killed(recipe: Path, lines: int, delay: float) -> bool:
    """Kill a run `delay` seconds after its line number `lines`; False if it ended before."""
    process = start(recipe)
    for _ in range(lines):
        if not process.stdout.readline():
            break
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def what_counts(recipe: Path) -> dict[str, bytes]:
    """Return every result whose bytes must not depend on interruptions."""
    experiment = next(path for path in (recipe / "exp").iterdir() if path.is_dir())
    wanted = ("model.safetensors", "dev.jsonl", "test.jsonl", "scores.json")
    found = [path for path in experiment.rglob("*") if path.name in wanted]
    found += [*(recipe / "data").rglob("utts.json"), *(recipe / "data").rglob("folds/*.json")]
    return {str(path.relative_to(recipe)): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def undisturbed(repository, tmp_path_factory) -> dict[str, bytes]:
    recipe = copy_recipe(repository, "mini", tmp_path_factory.mktemp("undisturbed"))
    printed = finish(recipe)
    assert "stage 6 report" in printed
    results = what_counts(recipe)
    assert sum(name.endswith("model.safetensors") for name in results) == 3
    return results


def killed_and_resumed(recipe: Path, kills: int, seed: int) -> list[tuple[int, float]]:
    """Kill `kills` runs at drawn points, then finish; return where they were killed."""
    draw, where = random.Random(seed), []
    for _ in range(kills):
        point = draw.randrange(1, 14), draw.random() ** 2 * 2
        if run_until_killed(recipe, *point):
            where.append(point)
        else:
            break
    finish(recipe)
    return where


@pytest.mark.slow
def test_three_kills_change_nothing(repository, tmp_path, undisturbed):
    recipe = copy_recipe(repository, "mini", tmp_path)
    assert killed_and_resumed(recipe, kills=3, seed=1)
    assert what_counts(recipe) == undisturbed
    assert "done" in finish(recipe)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(2, 6))
def test_many_kills_change_nothing(repository, tmp_path, undisturbed, seed):
    """Over the four seeds at least 20 kills."""
    recipe = copy_recipe(repository, "mini", tmp_path)
    assert len(killed_and_resumed(recipe, kills=12, seed=seed)) >= 5
    assert what_counts(recipe) == undisturbed


def test_a_signal_saves_and_says_how_to_go_on(repository, tmp_path, undisturbed):
    recipe = copy_recipe(repository, "mini", tmp_path)
    process = start(recipe)
    for line in process.stdout:
        if "epoch 1" in line:
            process.send_signal(signal.SIGTERM)
            break
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 4, rest
    assert "run.py hparams/scratch.yaml --synthesis.speakers 6" in rest.strip().splitlines()[-1]
    finish(recipe)
    assert what_counts(recipe) == undisturbed
