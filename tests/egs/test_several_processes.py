"""Two processes train and evaluate one unit, and every utterance counts once."""

import json

import pytest
from recipes import copy_recipe, results_of, run_recipe

TINY = [
    "--synthesis.speakers", 6, "--synthesis.utterances", 3, "--corpus.allow_subset", "true",
    "--precision", "fp32", "--trainer.epochs", 2, "--trainer.encoder.dim", 32,
    "--trainer.batch_seconds", 10,
]  # fmt: skip


@pytest.mark.slow
def test_torchrun_with_two_processes(repository, tmp_path):
    recipe = copy_recipe(repository, "mini", tmp_path)
    command = ["hparams/scratch.yaml", *TINY, "--fold", 1, "--nproc", 2]
    run_recipe(recipe, *command)
    (folds,) = recipe.glob("data/all/folds/*.json")
    fold = json.loads(folds.read_text())["folds"][0]
    (evaluated,) = recipe.glob("exp/*/fold1/seed1/evaluate")
    for part in ("dev", "test"):
        lines = (evaluated / f"{part}.jsonl").read_text().splitlines()
        assert sorted(json.loads(line)["id"] for line in lines) == sorted(fold[part])
    results = results_of(recipe)
    assert results["coverage"]["n"] == len(fold["test"])
    assert results["coverage"]["folds_done"] == ["1"]
    assert "done" in run_recipe(recipe, *command)
