"""Every row of the audio-text distilled models' tables runs and does what it says."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sertools.models.account import describe
from sertools.models.distilled import student_config
from sertools.models.encoder import SpeechEncoder
from sertools.models.fusion import AudioText, parameter_account
from sertools.models.presets import preset_config
from sertools.models.weights import load_encoder
from sertools.tables import Run
from sertools.tables.recipes import resolve
from smoke import Outcome, Smoke
from tabled import arguments_of, tables_of

EGS = Path(__file__).resolve().parents[2] / "egs"
PAGE = (EGS / "msp_podcast/DISTILLED.md").read_text(encoding="utf-8")
TABLES = {name: table for name, table in tables_of("distilled").items()
          if name != "students_alone" and "msp_podcast" in {run.recipe for run in table.runs()}}
SYSTEMS = [(arguments_of(table, row, "msp_podcast"), row) for name, table in TABLES.items()
           for row in table.rows
           if name != "d2_truncated" or row.name in ("base_4", "large_8")]
ROWS = [words for words, _ in SYSTEMS]
"""Of encoders that are cut after some blocks, one of each."""
STUDENTS = list(dict.fromkeys(tuple(need.arguments) for _, row in SYSTEMS for need in row.needs))
BY_DEFAULT = "hparams/audio_text.yaml"
ON_IEMOCAP = ("hparams/audio.yaml", "hparams/text.yaml", BY_DEFAULT)
"""Rows that run on the open stand-in too; D2's files are tested by test_every_configuration.py."""
DISTIL, LARGE = "ntu-spml/distilhubert", "facebook/hubert-large-ll60k"
BASE, BERT = "facebook/hubert-base-ls960", "distilbert-base-uncased"
DEPTHS = {DISTIL: 2, BASE: 12, LARGE: 24}
OF_ENCODERS = {"trainer__lr": 0.01, "trainer__encoder_lr": 0.01}
"""What they learn is to be seen in a single step."""
STILL = {"pretrainer__lr": 0.0000001}
"""Leaves to be seen what a student begins with."""


def options_of(row: tuple[str, ...]) -> dict[str, str]:
    return {name[2:]: value for name, value in zip(row[1::2], row[2::2], strict=True)}


def student_of(source: str) -> str | None:
    """Return the experiment of egs/pretrain that a source names, or None."""
    found = re.fullmatch(r"\.\./pretrain/exp/([^/]+)/pretrain/best/encoder", source)
    return found and found[1]


@pytest.fixture(scope="module")
def smoke(repository, tmp_path_factory) -> Smoke:
    """Return the folders in which all rows are run."""
    return Smoke(repository, tmp_path_factory.mktemp("rows"))


def outcome_of(smoke: Smoke, corpus: str, row: tuple[str, ...]) -> Outcome:
    """Run a row, or the distillation that a row needs."""
    more = STILL if corpus == "pretrain" else {} if "relevance" in row[0] else OF_ENCODERS
    return smoke.run(Run(corpus, Path(row[0]).stem, tuple(options_of(row).items())), **more)


def params() -> list:
    cases = [("msp_podcast", row) for row in ROWS]
    cases += [("iemocap", (file,)) for file in ON_IEMOCAP]
    return [pytest.param(corpus, row, id=f"{corpus} {' '.join(row)[8:]}",
                         marks=() if (corpus, row) == ("msp_podcast", (BY_DEFAULT,))
                         else pytest.mark.slow) for corpus, row in cases]


@pytest.mark.parametrize(("corpus", "row"), params())
def test_row_runs_and_its_switch_acts(smoke, corpus, row):
    outcome = outcome_of(smoke, corpus, row)
    results = outcome.results
    assert results["protocol"]["protocol"] == "clean"
    assert set(results["further_tests"] or {}) == ({"Test2"} if corpus == "msp_podcast" else set())
    if "relevance" in row[0]:
        check_relevance(row, results)
        return
    check_model(row, outcome.unit, results)
    if "trainer.transcripts" in options_of(row):
        notes = " ".join(results["protocol"]["warnings"])
        assert options_of(row)["trainer.transcripts_model"] in notes and "word error rate" in notes
        plain = outcome_of(smoke, corpus, (row[0],))
        assert (outcome.unit / "evaluate/test.jsonl").read_bytes() != (
            plain.unit / "evaluate/test.jsonl").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("row", [pytest.param(row, id=" ".join(row)[8:]) for row in STUDENTS])
def test_student_is_distilled_as_its_row_says(smoke, row):
    given, folder = options_of(row), outcome_of(smoke, "pretrain", row).pretrained
    targets = json.loads(given.get("pretrainer.teacher_layers", "[4, 8, 12]"))
    origin = json.loads((folder / "distilled.json").read_text())
    teacher = load_encoder(smoke.model(given.get("pretrainer.teacher.source", BASE)))
    student = load_encoder(folder / "best/encoder")
    assert origin["teacher"]["targets"] == targets
    assert origin["teacher"]["layers"] == teacher.num_layers
    heads = load_file(folder / "best/heads.safetensors")
    assert len({name.split(".")[1] for name in heads if "outer." in name}) == len(targets)
    assert student.num_layers == int(given.get("pretrainer.layers", 2))
    for mine, theirs in zip(student.blocks, teacher.blocks, strict=False):
        for name, value in mine.state_dict().items():
            torch.testing.assert_close(value, theirs.state_dict()[name], atol=1e-4, rtol=0)


def check_model(row: tuple[str, ...], folder: Path, results: dict) -> None:
    """Look for the row's switches in the parameters that a fold left: those that were trained."""
    given = options_of(row)
    fusion = {"hparams/audio.yaml": "audio_only", "hparams/text.yaml": "text_only"}.get(
        row[0], given.get("trainer.fusion", "concat"))
    best = load_file(folder / "train/best/model.safetensors")
    freeze = re.findall(r"\w+", given.get("trainer.freeze", "cnn embeddings"))
    blocks = {int(n) for n in re.findall(r"audio\.model\.blocks\.(\d+)", " ".join(best))}
    hears = fusion != "text_only" and "audio" not in freeze
    assert len(blocks) == (depth_of(given) if hears else 0)
    layers = {int(n) for n in re.findall(r"transformer\.layer\.(\d+)", " ".join(best))}
    assert len(layers) == (0 if fusion == "audio_only" or "text" in freeze else 6)
    assert any("frontend.layers" in name for name in best) == (hears and "cnn" not in freeze)
    assert any(".embeddings." in name for name in best) == (
        fusion != "audio_only" and not {"embeddings", "text"} & set(freeze))
    assert any(name.startswith("gate.") for name in best) == (fusion == "gated")
    assert any(name.startswith("attention.") for name in best) == (fusion == "cross_attention")
    assert best["head.1.weight"].shape == (12, 32 if fusion == "concat" else 16)
    wanted = re.findall(r"\w+", given.get("trainer.dimensions", "arousal valence dominance"))
    assert len(best["head.4.weight"]) == len(wanted)
    assert {f"CCC_{name}" for name in wanted} <= set(results["metrics"])
    sizes = json.loads((folder / "train/cost.json").read_text())["parameters"]
    assert sizes["trainable"] == sum(value.numel() for value in best.values())
    assert (sizes["trainable"] == sizes["total"]) == (not freeze)


def depth_of(given: dict[str, str]) -> int:
    """Return the blocks of the encoder that a row names."""
    source = given.get("trainer.audio.source", DISTIL)
    student = re.search(r"layers=(\d)/", source)
    if student_of(source):
        return int(student[1]) if student and "teacher_layers" not in source else 2
    return int(given.get("trainer.audio.layers", DEPTHS[source]))


def check_relevance(row: tuple[str, ...], results: dict) -> None:
    """Look for kind, depth and normalisation in what the report says."""
    given, said = options_of(row), results["relevance"]
    assert said["relevance"] == re.search(r"relevance_(\w+)", row[0])[1]
    assert said["layers"] == DEPTHS[given.get("upstream.source", BASE)] + 1
    weights = "weights" in row[0]
    assert said["normalise"] == (weights and given.get("trainer.normalise") != "false")


# ------------------------------------------------------------------------- the tables themselves


def test_rows_are_found_and_differ():
    assert len(ROWS) == len(set(ROWS)) >= 30 and len(STUDENTS) == len(set(STUDENTS)) == 8
    files = {row[0] for row in ROWS}
    for corpus in ("msp_podcast", "iemocap"):
        assert all((EGS / corpus / file).is_file() for file in files)


def test_named_students_are_those_that_are_distilled():
    named = {student_of(options_of(row).get("trainer.audio.source", "")) for row in ROWS} - {None}
    made = [Run("pretrain", Path(row[0]).stem, tuple(options_of(row).items())) for row in STUDENTS]
    assert named == {resolve(EGS, run).plan.places.tag for run in made}


def model_of(row: tuple[str, ...]) -> AudioText:
    """Build the model of a row in its published size, without storage."""
    from sertools.models.text.pretrained import TransformersText
    from transformers import DistilBertConfig, DistilBertModel

    given = options_of(row)
    freeze = re.findall(r"\w+", given.get("trainer.freeze", "cnn embeddings"))
    fusion = {"hparams/audio.yaml": "audio_only", "hparams/text.yaml": "text_only"}.get(
        row[0], given.get("trainer.fusion", "concat"))
    how = "all" if "text" in freeze else "embeddings" if "embeddings" in freeze else "none"
    source = given.get("trainer.audio.source", DISTIL)
    large = preset_config("hubert_large", conv_bias=True)
    config = large if source == LARGE else preset_config(
        "hubert_base" if source == BASE else "distilhubert")
    if student_of(source):
        teacher = large if "large" in source else preset_config("hubert_base")
        config = student_config(teacher, depth_of(given))
    with torch.device("meta"):
        audio = SpeechEncoder(config).requires_grad_("audio" not in freeze)
        text = TransformersText(DistilBertModel(DistilBertConfig()), how)
        if "cnn" in freeze:
            audio.frontend.layers.requires_grad_(False)
        outputs = len(re.findall(r"\w+", given.get("trainer.dimensions", "a v d")))
        return AudioText(audio, text, outputs, fusion)


def test_sizes_are_those_of_our_code():
    counted = [(words, row) for words, row in SYSTEMS if row.preset]
    assert len(counted) == len(ROWS) - 8  # those of D2
    for words, row in counted:
        account, told = parameter_account(model_of(words)), describe(row.preset)
        assert told["parameters"] == account["total"], row.name
        assert told["trainable"] == account["trainable"], row.name
        share = account["trainable"] / 311228544
        if words[0] == BY_DEFAULT and "trainer.expect_trainable" not in options_of(words):
            assert share == pytest.approx(0.2, abs=0.005), row.name


def test_shares_of_the_large_model_are_those_of_our_code():
    """The reference has its convolutions' biases; its vector of masked frames is not in ours."""
    from transformers import HubertConfig, HubertModel

    with torch.device("meta"):
        large = HubertModel(HubertConfig(
            hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
            conv_bias=True, feat_extract_norm="layer", do_stable_layer_norm=True))
    rest = parameter_account(large)["total"]
    rest -= parameter_account(large.feature_extractor)["total"]
    model = model_of(("hparams/audio.yaml", "--trainer.audio.source", LARGE))
    mine = parameter_account(model.encoders)["trainable"]
    assert mine + large.masked_spec_embed.numel() == rest == 311228544
    wanted = parameter_account(model)["trainable"]
    shares = [parameter_account(model_of((BY_DEFAULT, "--trainer.freeze", freeze)))["trainable"]
              / wanted for freeze in ("[cnn,embeddings]", "[cnn]")]
    section = PAGE.split("## About 20 %\n")[1].split("\n## ")[0]
    assert re.findall(r"(\d+\.\d) %", section) == [f"{100 * share:.1f}" for share in shares]
