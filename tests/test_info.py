"""`python -m sertools info` prints exact counts of presets and of recipes' encoders."""

import json

import pytest
from sertools.cli import main
from sertools.models.account import describe
from sertools.models.presets import build_encoder


def told(capsys, *arguments: str) -> dict:
    assert main(["info", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [("wavlm_large", 315_453_120), ("wavlm_base", 94_381_936), ("hubert_base", 94_371_712)],
)
def test_published_counts(capsys, preset, parameters):
    assert told(capsys, preset)["parameters"] == parameters


def test_table_names_parts_and_length(capsys):
    assert main(["info", "small", "--seconds", "5"]) == 0
    table = capsys.readouterr().out
    assert "blocks attention" in table and "3,249,920" in table and "5 s" in table
    assert told(capsys, "small", "--seconds", "5") == describe("small", 5)


def test_encoder_of_a_recipe(capsys, repository, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    build = "!name:sertools.models.presets.build_encoder {preset: small, dim: 32, num_heads: 2,"
    recipe.write_text(f"trainer:\n  encoder: {build} num_layers: 1, ffn_dim: 16}}\n")
    encoder = build_encoder("small", dim=32, num_heads=2, num_layers=1, ffn_dim=16)
    assert told(capsys, str(recipe))["parameters"] == describe(encoder)["parameters"]
    shared = repository / "egs" / "emodb" / "hparams" / "scratch.yaml"
    assert told(capsys, str(shared))["parameters"] > 0


@pytest.mark.parametrize("text", ["seeds: [1]\n", None])
def test_what_has_no_encoder_is_refused_in_words(capsys, tmp_path, text):
    recipe = tmp_path / "recipe.yaml"
    if text is not None:
        recipe.write_text(text)
    assert main(["info", str(recipe)]) == 2
    assert str(recipe) in capsys.readouterr().err


def test_a_pretraining_is_counted_with_its_decoder(capsys, repository):
    base = repository / "egs" / "pretrain" / "hparams" / "emotion2vec_base.yaml"
    assert told(capsys, str(base), "--seconds", "1")["parameters"] == 93_790_988
    untrained = repository / "egs" / "emodb" / "hparams" / "emotion2vec_small_untrained.yaml"
    alone = describe("emotion2vec_small", 1)["parameters"]
    assert told(capsys, str(untrained), "--seconds", "1")["parameters"] == alone
