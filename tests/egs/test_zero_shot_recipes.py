"""GEmo-CLAP from one recipe to another: zero-shot and transfer, as a user types it."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
import trees
from recipes import copy_recipe, results_of, run_here
from sertools.models.config import EncoderConfig
from sertools.models.encoder import SpeechEncoder
from sertools.models.weights import save_encoder

UTILS = Path(__file__).resolve().parents[2] / "utils"
SUBSET = ["--corpus.allow_subset", "true", "--corpus.min_seconds", 0.01]
SHARED = ["anger", "disgust", "fear", "happiness", "neutral", "sadness"]
RAVDESS = ["--folds.listed", '[["01"],["02"],["03"],["04"]]', "--folds.dev_groups", 1]


def sound(path, rate=16000, channels=1, seconds=0.3):
    return trees.sound(path, rate, channels, seconds)


@pytest.fixture(scope="module")
def recipes(repository, tmp_path_factory):
    """Return the folders of both recipes with small imitations of the releases, and an encoder."""
    folder = tmp_path_factory.mktemp("both")
    torch.manual_seed(1)
    save_encoder(SpeechEncoder(EncoderConfig(dim=16, num_layers=1, num_heads=2, ffn_dim=32)),
                 folder / "encoder")
    trees.emodb(folder / "data/emodb", {name: (2,) * 7 for name in ("03", "08", "09")}, sound)
    trees.ravdess(folder / "data/ravdess", ("01", "02", "03", "04"), ("01",), sound)
    return {name: copy_recipe(repository, name, folder) for name in ("emodb", "ravdess")}


def run(recipes, name, config, *more) -> str:
    """Run a configuration; return the experiment's name."""
    folder = recipes[name]
    options = ["--upstream.source", "../../encoder", *(RAVDESS if name == "ravdess" else ())]
    data = folder.parents[1] / "data" / name
    said = run_here(folder, f"hparams/{config}.yaml", "--data_folder", data, *SUBSET, *options,
                    *more)
    return said.partition(":")[0]


def learned(recipes, name) -> str:
    """Train the source if need be; return its experiment as the other recipe names it."""
    return f"../{name}/exp/{run(recipes, name, 'gemoclap_small', '--trainer.epochs', 1)}"


@pytest.mark.parametrize("source, target, units", [
    ("emodb", "ravdess", 4), pytest.param("ravdess", "emodb", 3, marks=pytest.mark.slow)])
def test_zero_shot_covers_the_other_corpus_once_and_says_what_it_is(
    recipes, source, target, units
):
    start = learned(recipes, source)
    tag = run(recipes, target, "gemoclap_zero_shot", "--trainer.start", start)
    results = results_of(recipes[target], tag)
    assert results["classes"] == SHARED
    assert results["coverage"]["units_done"] == units
    warnings = results["protocol"]["warnings"]
    assert sum("starts from" in text for text in warnings) == 1  # one model for all folds
    assert any(f"{source}/exp/" in text and f"on {source}, with labels" in text
               for text in warnings)
    assert any(text.startswith("zero-shot: nothing was learned here") for text in warnings)
    assert results["protocol"]["flags"] == []
    exp = recipes[target] / "exp" / tag
    tested = [json.loads(line)["id"] for path in exp.glob("fold*/seed1/evaluate/test.jsonl")
              for line in path.read_text().splitlines()]
    manifest = json.loads(next(recipes[target].glob("data/*shared/utts.json")).read_text())
    assert sorted(tested) == sorted(manifest)
    hashes = {json.loads(path.read_text())["sha256"]
              for path in exp.glob("fold*/seed1/train/best/best.json")}
    assert len(hashes) == 1


    found = retrieve(recipes, target, exp, "--k", 3)
    assert found["utterances"] == len(manifest)
    predictions = [json.loads(line) for path in exp.glob("fold*/seed1/evaluate/test.jsonl")
                   for line in path.read_text().splitlines()]
    right = sum(said["prediction"] == said["reference"] for said in predictions)
    assert found["utterance_recall@1"] == pytest.approx(right / len(manifest), abs=1e-9)


def retrieve(recipes, name, exp, *more) -> dict:
    """Evaluate the model of an experiment's first unit on the whole corpus with the script."""
    spec = importlib.util.spec_from_file_location("retrieve", UTILS / "retrieve.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    manifest = next(recipes[name].glob("data/*shared/utts.json"))
    assert module.main([str(word) for word in (
        exp / "fold1" / "seed1", "--audio", manifest, "--evaluate", "--json", exp / "found.json",
        "--data_folder", recipes[name].parents[1] / "data" / name, *more)]) == 0
    return json.loads((exp / "found.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("source, target", [("emodb", "ravdess"), ("ravdess", "emodb")])
def test_all_classes_and_transfer(recipes, source, target):
    start = learned(recipes, source)
    tag = run(recipes, target, "gemoclap_zero_shot_all", "--trainer.start", start)
    results = results_of(recipes[target], tag)
    assert len(results["classes"]) > 6
    odd = "calm" if target == "ravdess" else "boredom"
    assert any("unknown to the model" in text and odd in text
               for text in results["protocol"]["warnings"])
    tag = run(recipes, target, "gemoclap_small", "--trainer.start", start, "--trainer.epochs", 1)
    results = results_of(recipes[target], tag)
    assert not any("zero-shot" in text for text in results["protocol"]["warnings"])
    assert any("starts from" in text for text in results["protocol"]["warnings"])
