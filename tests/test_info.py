"""`python -m sertools info` prints exact counts of presets and of recipes' encoders."""

import json

import pytest
from sertools.cli import main
from sertools.models.account import describe
from sertools.models.presets import build_encoder
from sertools.models.weights import save_encoder


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


def test_sound_and_words_are_counted_as_they_are_trained(capsys):
    """Numbers of transformers' models and of the head, convolutions and embeddings frozen."""
    account = told(capsys, "distilhubert_distilbert", "--seconds", "1")
    head = 1536 * 768 + 768 + 768 * 3 + 3
    assert account["parameters"] == 23_491_200 + 66_362_880 + head
    assert account["trainable"] == 19_290_752 + 42_527_232 + head
    parts = {part["name"]: part["macs_per_second"] for part in account["parts"]}
    assert set(parts) == {"encoders audio", "encoders text", "head"}
    block = 4 * 768 * 768 + 2 * 768 * 3072
    assert parts["encoders text"] == 6 * 128 * (block + 2 * 128 * 768)  # 128 tokens


def test_encoder_of_a_recipe(capsys, repository, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    build = "!name:sertools.models.presets.build_encoder {preset: small, dim: 32, num_heads: 2,"
    recipe.write_text(f"trainer:\n  encoder: {build} num_layers: 1, ffn_dim: 16}}\n")
    encoder = build_encoder("small", dim=32, num_heads=2, num_layers=1, ffn_dim=16)
    assert told(capsys, str(recipe))["parameters"] == describe(encoder)["parameters"]
    shared = repository / "egs" / "emodb" / "hparams" / "scratch.yaml"
    assert told(capsys, str(shared))["parameters"] > 0


@pytest.mark.parametrize("trainer, parameters", [
    ("gemoclap.yaml", 440_952_002), ("gemoclap_small.yaml", 289_570),
])
def test_gemoclap_is_counted_with_both_encoders(capsys, repository, tmp_path, trainer, parameters):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"trainer: !include:{repository}/hparams/trainers/{trainer}\n")
    if trainer == "gemoclap_small.yaml":  # its encoder is that of a run
        recipe = repository / "egs/mini/hparams/gemoclap.yaml"
    assert main(["info", str(recipe), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == parameters


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


VESPER = """pretrainer: !new:sertools.brains.vesper_pretrainer.VesperPretrainer
  teacher: !name:sertools.models.upstream.load_upstream
    source: {source}
  layers: {layers}
  initialisation: {way}
  blocks: null
  dim: null
  acoustic_weight: 1.0
  semantic_weight: 0.1
  cross_weight: {cross}
trainer:
  encoder: !name:sertools.models.upstream.load_upstream
    trainable: false
"""


def vesper_recipe(folder, source="microsoft/wavlm-large", layers=4, way="uniform_extract", cross=1):
    path = folder / "hparams" / "vesper.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(VESPER.format(source=source, layers=layers, way=way, cross=cross))
    return path


@pytest.mark.parametrize(("layers", "cross", "parameters", "trainable"), [
    (4, 1.0, 66_666_208, 62_459_616),
    (12, 1.0, 167_440_288, 163_233_696),
    (4, 0, 66_666_208 - 1_050_112, 62_459_616 - 1_050_112),
])  # fmt: skip
def test_a_vesper_of_published_weights_is_counted_without_them(
    capsys, tmp_path, layers, cross, parameters, trainable
):
    account = told(capsys, str(vesper_recipe(tmp_path, layers=layers, cross=cross)))
    assert (account["parameters"], account["trainable"]) == (parameters, trainable)
    assert "predictors" in [row["name"] for row in account["parts"]]
    assert told(capsys, f"vesper{layers}")["parameters"] == parameters - (2 + bool(cross)) * 1050112


def test_a_vesper_of_an_encoder_of_ones_own(capsys, tmp_path):
    teacher = build_encoder("small", dim=32, num_heads=2, num_layers=4, ffn_dim=16)
    save_encoder(teacher, tmp_path / "teacher")
    account = told(capsys, str(vesper_recipe(tmp_path, "./teacher", 2)))
    student = build_encoder("small", dim=32, num_heads=2, num_layers=2, ffn_dim=16,
                            final_norm=False, mask_embedding=True)  # fmt: skip
    predictors = 3 * (32 * 16 + 16 + 16 * 32 + 32)
    assert account["parameters"] == describe(student)["parameters"] + predictors
    assert account["trainable"] == account["parameters"]  # a mel front end has no convolutions


@pytest.mark.parametrize("wrong", [
    {"source": "!PLACEHOLDER"}, {"source": "null"}, {"source": "./absent"}, {"layers": 25},
    {"way": "sometimes"},
])  # fmt: skip
def test_a_vesper_that_cannot_be_is_refused_in_words(capsys, tmp_path, wrong):
    assert main(["info", str(vesper_recipe(tmp_path, **wrong))]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_distilled_students_are_counted_with_and_without_heads(capsys, repository):
    assert told(capsys, "distilhubert", "--seconds", "1")["parameters"] == 23_491_200
    assert told(capsys, "distilhubert_distillation", "--seconds", "1")["parameters"] == 27_034_752
    recipe = repository / "egs" / "pretrain" / "hparams" / "distilhubert.yaml"
    account = told(capsys, str(recipe), "--seconds", "1")
    assert account["parameters"] == account["trainable"] == 27_034_752
