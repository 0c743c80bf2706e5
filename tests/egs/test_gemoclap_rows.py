"""Rows of GEmo-CLAP's tables do what they say."""

import re
from pathlib import Path

import pytest
from safetensors import safe_open
from smoke import Outcome, Smoke
from tabled import tables_of
from torch import Tensor

EGS = Path(__file__).resolve().parents[2] / "egs"
TABLES = tables_of("gemoclap")
PAGE = (EGS / "iemocap/GEMOCLAP.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def smoke(repository, tmp_path_factory) -> Smoke:
    """Return the folder in which all rows are run."""
    return Smoke(repository, tmp_path_factory.mktemp("rows"))


def outcome_of(smoke: Smoke, table: str, row: str, recipe: str = "iemocap", **options) -> Outcome:
    """Make a row's run in a recipe, the one whose columns have these options."""
    (found,) = (each for each in TABLES[table].rows if each.name == row)
    runs = [run for run in TABLES[table].runs_of(found) if run.recipe == recipe
            and all(dict(run.options).get(name) == value for name, value in options.items())]
    return smoke.run(runs[0], found.needs)


def weights_of(outcome: Outcome) -> dict[str, Tensor]:
    with safe_open(outcome.unit / "train/best/model.safetensors", framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def equal(one: Outcome, other: Outcome) -> bool:
    mine, theirs = weights_of(one), weights_of(other)
    assert mine.keys() == theirs.keys()
    return all(mine[name].equal(theirs[name]) for name in mine)


@pytest.mark.slow
def test_content_of_the_second_label_acts_in_small(smoke):
    # Of the speakers in training one is a woman and one a man: there the row speaker equals sl.
    rows = {name: outcome_of(smoke, "small", name, "emodb")
            for name in ("sl", "emo", "shuffled", "row_normalised")}
    names = list(rows)
    assert not [(a, b) for a in names for b in names if a < b and equal(rows[a], rows[b])]


def test_the_softmax_in_small_has_the_head_of_sound(smoke):
    prompted = weights_of(outcome_of(smoke, "small", "sl", "emodb"))
    plain = weights_of(outcome_of(smoke, "small", "softmax", "emodb"))
    width = prompted["audio_head.0.weight"].shape[1]
    assert {tensor.shape[1] for name, tensor in plain.items() if "projection.weight" in name} == {
        width}
    assert len(plain) == 4  # two layers with biases: no text, no encoder


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ml", "sl"])
def test_alpha_1_is_emotion_alone_to_the_bit(smoke, model):
    emotion = outcome_of(smoke, "gender_content", "none")
    assert equal(outcome_of(smoke, "alpha", f"{model}_10"), emotion)
    assert not equal(outcome_of(smoke, "alpha", f"{model}_05"), emotion)


@pytest.mark.slow
def test_rows_of_each_study_learn_something_else(smoke):
    for name, rows in {"gender_content": ("gender", "shuffled", "speaker", "none"),
                       "gender_logits": ("shared",), "divergence": ("symmetric_kl", "infonce"),
                       "soft_source": ("votes", "votes_05")}.items():
        found = [outcome_of(smoke, name, row) for row in rows]
        assert not any(equal(a, b) for n, a in enumerate(found) for b in found[:n]), name


@pytest.mark.slow
def test_frozen_parts_are_not_among_what_was_trained(smoke):
    parts = {row: set(weights_of(outcome_of(smoke, "frozen", row)))
             for row in ("none", "cnn", "audio", "text")}
    for row, pattern in {"cnn": r"feature_extractor|frontend\.layers", "audio": r"encoders\.audio",
                         "text": r"encoders\.text"}.items():
        gone = parts["none"] - parts[row]
        assert gone and all(re.search(pattern, name) for name in gone), row
        assert not [name for name in parts[row] if re.search(pattern, name)], row


@pytest.mark.slow
def test_the_paper_protocol_is_flagged_and_improvised_turns_are_fewer(smoke):
    clean = outcome_of(smoke, "g1", "wavlm_sl").results
    paper = outcome_of(smoke, "g1", "wavlm_sl", protocol="paper").results
    assert clean["protocol"]["protocol"] == "clean" and not clean["protocol"]["flags"]
    assert paper["protocol"]["protocol"] == "paper" and paper["protocol"]["flags"]
    outcome_of(smoke, "g1_improvised", "wavlm_sl")
    data = smoke.recipe("iemocap") / "data"
    said = {name: set(re.findall(r"iemocap-Ses\w+", (data / name / "utts.json").read_text()))
            for name in ("four", "improvised")}
    assert said["improvised"] == {id for id in said["four"] if "impro" in id} < said["four"]


# ------------------------------------------------------------------------- the tables themselves


def test_every_encoder_has_every_method_on_all_and_on_improvised_clips():
    for table in ("g1", "g1_improvised"):
        names = [row.name for row in TABLES[table].rows]
        assert names == [f"{encoder}_{method}"
                         for encoder in ("wav2vec2", "hubert", "wavlm", "data2vec")
                         for method in ("softmax", "emo", "ml", "sl")]
    (found,) = {len(TABLES["g1"].runs_of(row)) for row in TABLES["g1"].rows}
    assert found == 3  # five folds, ten folds, the best test epoch


def test_only_two_values_of_the_paper_are_there():
    found = {(row.name, column): cell.value for row in TABLES["g1"].rows
             for column, cell in dict(row.cells).items()}
    assert found == {("wavlm_sl", "published_war"): 83.16, ("wavlm_sl", "published_uar"): 81.43}
    for name, table in TABLES.items():
        assert name in ("g1", "g2") or not any(row.cells for row in table.rows), name


def test_the_main_row_is_the_configuration_as_it_is():
    for table, row in (("g1", "wavlm_sl"), ("alpha", "sl_09"), ("target", "softmax"),
                       ("divergence", "kl"), ("prompts", "emotion_is"), ("frozen", "none"),
                       ("batch", "batch32"), ("gender_content", "gender")):
        (found,) = (each for each in TABLES[table].rows if each.name == row)
        run = TABLES[table].runs_of(found)[0]
        assert (run.config, run.options) == ("gemoclap_wavlm", ())


def test_the_page_has_every_table():
    assert set(re.findall(r"<!-- table: gemoclap/(\w+) -->", PAGE)) == set(TABLES)
