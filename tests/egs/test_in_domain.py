"""From pretraining to a report: an encoder that knows a corpus already is named, always."""

import functools

import pytest
import trees
from recipes import copy_recipe, results_of, run_recipe
from sertools.models.presets import build_encoder
from sertools.models.weights import save_encoder
from sertools.models.weights.folders import pretrained_on

ENCODER = functools.partial(
    build_encoder, "emotion2vec_small", dim=16, num_layers=2, num_heads=2, ffn_dim=32, num_mels=16,
    position_kernel=5, extra_tokens=2)
SMALL = ["hparams/emotion2vec_probe.yaml", "--corpus.allow_subset", "true", "--trainer.epochs", 1]
WORDS = "the encoder was pretrained on this corpus's audio, test speakers included, without labels"


@pytest.fixture
def recipe(repository, tmp_path):
    """Return a copy of EMO-DB's recipe beside an imitation of its release."""
    trees.emodb(tmp_path / "release", {name: (1,) * 7 for name in ("03", "08", "09")},
                lambda path: trees.sound(path, 16000, 1, 0.7))
    return copy_recipe(repository, "emodb", tmp_path)


def probe(recipe, encoder):
    printed = run_recipe(recipe, *SMALL, "--data_folder", recipe.parents[1] / "release",
                         "--upstream.source", encoder)
    (folder,) = recipe.glob("exp/*/report")
    return printed, results_of(recipe)["protocol"], (folder / "RESULTS.md").read_text()


@pytest.mark.slow
def test_pretrained_by_its_own_recipe(recipe, repository, tmp_path):
    run_recipe(recipe, "hparams/emotion2vec_probe.yaml", "--corpus.allow_subset", "true",
               "--data_folder", tmp_path / "release", "--stop-stage", "prepare")
    pretraining = copy_recipe(repository, "pretrain", tmp_path)
    run_recipe(
        pretraining, "hparams/emotion2vec_small.yaml", "--data_folder", tmp_path,
        "--pretraining_data.sources.emodb.folder", "release", "--pretraining_data.exclude",
        "[ravdess, urdu, emotiontts_ko, emotiontts_ko_unlabelled]",
        "--pretrainer.encoder.dim", 48, "--pretrainer.encoder.num_layers", 3,
        "--pretrainer.decoder.dim", 16, "--pretrainer.epochs", 1,
        "--pretrainer.warmup_updates", 0)
    (encoder,) = pretraining.glob("exp/*/**/best/encoder")
    assert pretrained_on(encoder) == {"emodb": ["03", "08", "09"]}
    printed, protocol, page = probe(recipe, encoder)
    assert protocol["in_domain_pretraining"] is True
    assert protocol["warnings"][0] == WORDS and WORDS in page and WORDS in printed
    assert protocol["flags"] == [] and not protocol["own_table"]
    assert "NOT COMPARABLE" not in page + printed


@pytest.mark.slow
def test_an_encoder_that_heard_something_else_is_no_case(recipe, tmp_path):
    encoder = save_encoder(ENCODER(), tmp_path / "encoder", {"ravdess": ["01"]})
    printed, protocol, page = probe(recipe, encoder)
    assert protocol["in_domain_pretraining"] is False
    assert "pretrained on" not in printed + page
    size = results_of(recipe)["cost"]["encoder"]
    assert size["parameters"] == sum(p.numel() for p in ENCODER().parameters())
    assert size["macs_per_second"] > 0 and size["seconds"] == 10
    assert "multiply-accumulates per second of audio" in printed and "- encoder: " in page
