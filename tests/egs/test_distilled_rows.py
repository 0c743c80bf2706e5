"""Every row of the audio-text distilled models' tables runs and does what it says."""

import json
import re
from pathlib import Path

import pytest
import torch
import trees
import trees_iemocap
import trees_msp
import vesper_models
from recipes import copy_recipe, results_of, run_here
from safetensors.torch import load_file
from sertools.data.manifest import read_manifest, write_manifest
from sertools.data.record import Record
from sertools.models.account import describe
from sertools.models.distilled import student_config
from sertools.models.encoder import SpeechEncoder
from sertools.models.fusion import AudioText, parameter_account
from sertools.models.presets import preset_config
from sertools.models.weights import load_encoder
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
TINY = {
    "corpus.allow_subset": "true", "corpus.min_seconds": 0.01, "device": "cpu", "seeds": 1,
    "precision": "fp32", "num_workers": 0, "trainer.epochs": 1,
}  # fmt: skip
OF_ENCODERS = {"trainer.inner": 12, "trainer.lr": 0.01, "trainer.encoder_lr": 0.01,
               "trainer.tensorboard": "false", "trainer.expect_trainable": "null"}  # fmt: skip
OF_DISTILLATION = {
    "device": "cpu", "precision": "fp32", "num_workers": 0, "pretrainer.updates": "null",
    "pretrainer.epochs": 1, "pretrainer.lr": 0.0000001, "pretrainer.tensorboard": "false",
    "pretrainer.teacher_precision": "fp32",
}  # fmt: skip
"""The learning rate leaves to be seen what a student begins with."""
RELEASES = {"msp_podcast": trees_msp.for_runs, "iemocap": trees_iemocap.for_runs}


def options_of(row: tuple[str, ...]) -> dict[str, str]:
    return {name[2:]: value for name, value in zip(row[1::2], row[2::2], strict=True)}


def words_of(options: dict) -> list:
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def student_of(source: str) -> str | None:
    """Return the experiment of egs/pretrain that a source names, or None."""
    found = re.fullmatch(r"\.\./pretrain/exp/([^/]+)/pretrain/best/encoder", source)
    return found and found[1]


class Rows:
    """Recipe folders beside each other, whose runs share what is prepared and cached."""

    def __init__(self, repository: Path, root: Path):
        self.repository, self.root, self.models = repository, root, root / "models"
        self.done, self.made, self.tags = {}, {}, {}
        self.audio = root / "LibriSpeech"

    def recipe(self, name: str) -> Path:
        """Return a recipe's folder beside an imitation of its release."""
        folder = self.root / "egs" / name
        if not folder.is_dir():
            copy_recipe(self.repository, name, self.root)
            if name in RELEASES:
                RELEASES[name](self.root / name)
            else:
                self.librispeech(folder)
        return folder

    def librispeech(self, folder: Path) -> None:
        records = []
        for n in range(6):
            path = trees.sound(self.audio / f"{n}.wav", seconds=1.0)
            records.append(Record(id=f"librispeech-{n}", path=path.name, speaker="s", duration=1.0,
                                  audio_hash=f"{n:032x}"))
        write_manifest(folder / "data/librispeech/utts.json", records)

    def model(self, name: str) -> Path:
        """Return the encoder that this source means, made when first asked for."""
        if student_of(name):
            if not self.tags:
                self.tags = {self.tag(row): row for row in STUDENTS}
            return self.distilled(self.tags[student_of(name)]) / "best/encoder"
        if not (self.models / name).exists():
            vesper_models.save(name, self.models)
        return self.models / name

    def tag(self, row: tuple[str, ...]) -> str:
        """Return the experiment that a command of egs/pretrain, as it is on the page, makes."""
        return run_here(self.recipe("pretrain"), *row, "--data_folder", self.root,
                        "--dry-run").partition(": ")[0]

    def distilled(self, row: tuple[str, ...]) -> Path:
        """Distil a student; return the folder of its pretraining."""
        if row not in self.made:
            given = options_of(row)
            teacher = self.model(given.get("pretrainer.teacher.source", BASE))
            chosen = OF_DISTILLATION | given | {"pretrainer.teacher.source": teacher}
            recipe = self.recipe("pretrain")
            said = run_here(recipe, row[0], "--data_folder", self.root, *words_of(chosen))
            self.made[row] = recipe / "exp" / said.partition(": ")[0] / "pretrain"
        return self.made[row]

    def run(self, corpus: str, row: tuple[str, ...]) -> tuple[Path, dict]:
        """Run a row; return the folder of fold 1 and the results."""
        if (corpus, row) not in self.done:
            self.done[corpus, row] = self._run(corpus, row)
        return self.done[corpus, row]

    def _run(self, corpus: str, row: tuple[str, ...]) -> tuple[Path, dict]:
        recipe, given = self.recipe(corpus), options_of(row)
        end_to_end = "relevance" not in row[0]
        chosen = TINY | given | (OF_ENCODERS if end_to_end else {})
        source = "trainer.audio.source" if end_to_end else "upstream.source"
        if row[0] != "hparams/text.yaml":
            published = DISTIL if end_to_end else BASE
            chosen[source] = self.model(given.get(source, published))
        if row[0] in ("hparams/text.yaml", BY_DEFAULT):
            chosen["trainer.text.source"] = self.model(BERT)
        if "trainer.transcripts" in given:
            self.recognise(recipe, given["trainer.transcripts"])
        fold = ["--fold", 1] if corpus == "iemocap" else []
        said = run_here(recipe, row[0], "--data_folder", self.root / corpus, *fold,
                        *words_of(chosen))
        tag = said.partition(": ")[0]
        return recipe / "exp" / tag / "fold1/seed1", results_of(recipe, tag)

    def recognise(self, recipe: Path, name: str) -> None:
        """Write what a recogniser that hears one word wrong in every turn might have written."""
        manifest = read_manifest(recipe / "data/dimensions/utts.json")
        lines = [json.dumps({"id": id, "text": f"word {record.text or ''}"})
                 for id, record in manifest.items()]
        (recipe / name).write_text("\n".join([*lines, ""]))


@pytest.fixture(scope="module")
def rows(repository, tmp_path_factory) -> Rows:
    """Return the folders in which all rows are run."""
    return Rows(repository, tmp_path_factory.mktemp("rows"))


def params() -> list:
    cases = [("msp_podcast", row) for row in ROWS]
    cases += [("iemocap", (file,)) for file in ON_IEMOCAP]
    return [pytest.param(corpus, row, id=f"{corpus} {' '.join(row)[8:]}",
                         marks=() if (corpus, row) == ("msp_podcast", (BY_DEFAULT,))
                         else pytest.mark.slow) for corpus, row in cases]


@pytest.mark.parametrize(("corpus", "row"), params())
def test_row_runs_and_its_switch_acts(rows, corpus, row):
    if "trainer.transcripts" in options_of(row):
        rows.run(corpus, (row[0],))  # prepares what is recognised
    folder, results = rows.run(corpus, row)
    assert results["protocol"]["protocol"] == "clean"
    assert set(results["further_tests"] or {}) == ({"Test2"} if corpus == "msp_podcast" else set())
    if "relevance" in row[0]:
        check_relevance(row, results)
    else:
        check_model(rows, corpus, row, folder, results)


def check_model(rows: Rows, corpus: str, row: tuple[str, ...], folder: Path, results: dict) -> None:
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
    if "trainer.transcripts" in given:
        notes = " ".join(results["protocol"]["warnings"])
        assert given["trainer.transcripts_model"] in notes and "word error rate" in notes
        plain, _ = rows.run(corpus, (row[0],))
        assert (folder / "evaluate/test.jsonl").read_bytes() != (
            plain / "evaluate/test.jsonl").read_bytes()
    if student_of(given.get("trainer.audio.source", "")):
        check_student(rows, rows.tags[student_of(given["trainer.audio.source"])])


def depth_of(given: dict[str, str]) -> int:
    """Return the blocks of the encoder that a row names."""
    source = given.get("trainer.audio.source", DISTIL)
    student = re.search(r"layers=(\d)/", source)
    if student_of(source):
        return int(student[1]) if student and "teacher_layers" not in source else 2
    return int(given.get("trainer.audio.layers", DEPTHS[source]))


def check_student(rows: Rows, row: tuple[str, ...]) -> None:
    """Look for a distillation's switches in what it left."""
    given, folder = options_of(row), rows.distilled(row)
    targets = json.loads(given.get("pretrainer.teacher_layers", "[4, 8, 12]"))
    origin = json.loads((folder / "distilled.json").read_text())
    teacher = load_encoder(rows.model(given.get("pretrainer.teacher.source", BASE)))
    student = load_encoder(folder / "best/encoder")
    assert origin["teacher"]["targets"] == targets
    assert origin["teacher"]["layers"] == teacher.num_layers
    heads = load_file(folder / "best/heads.safetensors")
    assert len({name.split(".")[1] for name in heads if "outer." in name}) == len(targets)
    assert student.num_layers == int(given.get("pretrainer.layers", 2))
    for mine, theirs in zip(student.blocks, teacher.blocks, strict=False):
        for name, value in mine.state_dict().items():
            torch.testing.assert_close(value, theirs.state_dict()[name], atol=1e-4, rtol=0)


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


def test_named_students_are_those_that_are_distilled(rows):
    named = {student_of(options_of(row).get("trainer.audio.source", "")) for row in ROWS} - {None}
    assert named == {rows.tag(row) for row in STUDENTS}


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
    """The reference has its convolutions' biases and the vector of masked frames."""
    from transformers import HubertConfig, HubertModel

    with torch.device("meta"):
        large = HubertModel(HubertConfig(
            hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
            conv_bias=True, feat_extract_norm="layer", do_stable_layer_norm=True))
    whole = parameter_account(large)["total"]
    rest = whole - parameter_account(large.feature_extractor)["total"]
    assert f"{whole:,}" in PAGE and f"{rest:,}" in PAGE
    trained = {}
    for freeze in ("[]", "[cnn]", "[embeddings]", "[cnn,embeddings]"):
        model = model_of((BY_DEFAULT, "--trainer.freeze", freeze))
        trained[freeze] = parameter_account(model.encoders)["trainable"]
    trained["head"] = parameter_account(model)["trainable"]
    table = re.findall(r"^\| [^|]+ \| ([\d,]+) \| ([\d.]+) % \| ([\d.]+) % \|$", PAGE, re.M)
    assert table == [(f"{n:,}", f"{100 * n / whole:.1f}", f"{100 * n / rest:.1f}")
                     for n in trained.values()]
    assert trained["[cnn,embeddings]"] == 61817984 and trained["head"] == 63000707
