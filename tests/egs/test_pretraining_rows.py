"""Every pretraining that the tables of emotion2vec need runs, in a tiny form."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
import trees
import yaml
from recipes import copy_recipe, run_recipe
from sertools.data.manifest import write_manifest
from sertools.data.record import Record
from sertools.models.emotion2vec import DecoderConfig, Distillation, Emotion2vec
from sertools.models.presets import build_encoder
from sertools.models.weights import load_encoder, save_encoder
from sertools.models.weights.emotion2vec import save_official
from tabled import tables_of

EGS = Path(__file__).resolve().parents[2] / "egs"
ROWS = list(dict.fromkeys(
    tuple(need.arguments) for table in tables_of("emotion2vec").values() for row in table.rows
    for need in row.needs if need.config == "emotion2vec_base"
))  # fmt: skip
TINY = {
    "encoder.dim": 16, "encoder.num_layers": 5, "encoder.num_heads": 2, "encoder.ffn_dim": 32,
    "encoder.conv_dim": 16, "decoder.dim": 16, "decoder.groups": 2, "updates": "null", "epochs": 1,
    "warmup_updates": 0, "batch_seconds": 4, "update_seconds": 4,
}  # fmt: skip


def hash_of(name: str) -> str:
    """Return 16 hexadecimal digits that stand for a name."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def sources_of(file: Path) -> dict:
    """Return the sources that a configuration, or the shared block that it includes, names."""
    text = file.read_text(encoding="utf-8")
    included = re.search(r"pretraining_data: !include:(\S+)", text)
    if included:
        shared = (file.parent / included[1]).read_text(encoding="utf-8")
        return yaml.safe_load(re.sub(r"![\w:./]+", "", shared))["sources"]
    return yaml.safe_load(re.sub(r"![\w:./]+", "", text))["pretraining_data"]["sources"]


@pytest.fixture(scope="module")
def recipe(repository, tmp_path_factory):
    """Return the recipe beside imitations of all corpora that it names."""
    root = tmp_path_factory.mktemp("rows")
    folder = copy_recipe(repository, "pretrain", root)
    for file in folder.glob("hparams/*.yaml"):
        for name, source in sources_of(file).items():
            records = []
            for take in range(3):
                path = trees.sound(root / "releases" / source["folder"] / f"{name}{take}.wav",
                                   seconds=1.0 + take / 10)
                records.append(Record(id=f"{name}-{take}", path=path.name, speaker="s",
                                      duration=1.0 + take / 10,
                                      audio_hash=f"{hash_of(name)}{take:016x}"))
            write_manifest(folder / source["manifest"], records)
    return folder


@pytest.fixture(scope="module")
def data2vec2(tmp_path_factory) -> Path:
    """Save a tiny data2vec 2.0 of random weights: no extra tokens, a teacher under `_ema`."""
    encoder = build_encoder("data2vec2_base", dim=16, num_layers=5, num_heads=2, ffn_dim=32,
                            conv_dim=16)
    student = Emotion2vec(encoder, DecoderConfig(dim=16, groups=2))
    return save_official(Distillation(student), tmp_path_factory.mktemp("start") / "base_libri.pt",
                         teacher=True)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(ROWS)))
def test_row_runs(recipe, data2vec2, number):
    file, *options = ROWS[number]
    given = dict(zip(options[::2], options[1::2], strict=True))
    if given["--pretrainer.start"] != "null":  # else the published file
        given.pop("--pretrainer.start")
    options = [word for pair in given.items() for word in pair]
    tiny = {**TINY, "start": data2vec2}
    small = [word for key, value in tiny.items() for word in (f"--pretrainer.{key}", value)
             if f"--pretrainer.{key}" not in given]
    printed = run_recipe(recipe, file, *options, *small, "--data_folder", recipe.parents[1] /
                         "releases", "--precision", "fp32", "--num_workers", 0)  # fmt: skip
    folder = recipe / "exp" / printed.partition(": ")[0] / "pretrain"
    line = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    alone = "none" in options
    assert (line["train"]["utterance"] == 0) == alone
    assert line["train"]["frame"] > 0 and line["train"]["grad_norm"] > 0
    assert load_encoder(folder / "best/encoder").num_layers == 5
    assert load_encoder(folder / "best/teacher").num_layers == 5
    official, own = load_encoder(folder / "emotion2vec.pt"), load_encoder(folder / "best/encoder")
    assert all(torch.equal(a, b) for a, b in
               zip(official.state_dict().values(), own.state_dict().values(), strict=True))


def test_rows_are_found_and_differ():
    assert len(ROWS) == len({tuple(row) for row in ROWS}) >= 10


@pytest.mark.slow
def test_small_configuration_runs(recipe):
    small = {"encoder.dim": 12, "encoder.num_layers": 3, "epochs": 2, "batch_seconds": 4,
             "update_seconds": 4, "warmup_updates": 1, "ema_steps": 2}  # fmt: skip
    options = [word for key, value in small.items() for word in (f"--pretrainer.{key}", value)]
    command = ["hparams/emotion2vec_small.yaml", "--data_folder", recipe.parents[1] / "releases",
               *options]  # fmt: skip
    run_recipe(recipe, *command)
    (folder,) = recipe.glob("exp/emotion2vec_small*/pretrain")
    assert load_encoder(folder / "best/encoder").dim == 12
    audio = json.loads((folder / "audio.json").read_text())
    assert audio["corpora"]["emodb"]["utterances"] == 3
    again = run_recipe(recipe, *command)
    assert "stage 3 pretrain: done" in again
    changed = recipe.parents[1] / "hparams/pretraining/free.yaml"
    changed.write_text(changed.read_text().replace("sources:", "sources:  # again,", 1))
    assert "stage 3 pretrain: done" in run_recipe(recipe, *command)  # a comment is no setting
    changed.write_text(changed.read_text().replace("min_seconds: 0.5", "min_seconds: 0.6"))
    kept = run_recipe(recipe, *command)
    assert "kept as exp/" in kept and "pretrain.old1" in kept
    assert load_encoder(folder.with_name("pretrain.old1") / "best/encoder").dim == 12
    assert load_encoder(folder / "best/encoder").dim == 12


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    """Save a tiny emotion2vec of 6 blocks of random weights."""
    torch.manual_seed(0)
    encoder = build_encoder("emotion2vec_small", dim=12, num_heads=2, ffn_dim=24)
    return save_encoder(encoder, tmp_path_factory.mktemp("teacher") / "encoder")


@pytest.mark.slow
def test_small_distillation_runs(recipe, teacher):
    """From the teacher's cached frames to a student whose origin is known."""
    command = ["hparams/distil_small.yaml", "--data_folder", recipe.parents[1] / "releases",
               "--pretrainer.teacher.source", teacher, "--pretrainer.epochs", 2,
               "--pretrainer.batch", 6]  # fmt: skip
    printed = run_recipe(recipe, *command)
    assert "student: 2 of 6 blocks" in printed and printed.count("stage 2 features") == 1
    (folder,) = recipe.glob("exp/distil_small*/pretrain")
    student = load_encoder(folder / "best/encoder")
    assert (student.num_layers, student.dim) == (2, 12)
    about = json.loads((folder / "distilled.json").read_text())
    assert about["teacher"]["targets"] == [2, 4, 6] and about["epochs"] == 2
    assert "l1_4" in json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["train"]
    assert "stage 3 pretrain: done" in run_recipe(recipe, *command)


@pytest.mark.slow
def test_distilhubert_runs(recipe, tmp_path):
    """On random crops of 0.5 s, with a teacher of HuBERT's kind that is run in every pass."""
    teacher = build_encoder("hubert_base", dim=16, num_layers=12, num_heads=2, ffn_dim=32,
                            conv_dim=16, position_kernel=8, position_groups=2)
    save_encoder(teacher, tmp_path / "teacher")
    run_recipe(recipe, "hparams/distilhubert.yaml", "--data_folder", recipe.parents[1] /
               "releases", "--pretrainer.teacher.source", tmp_path / "teacher",
               "--pretrainer.updates", 2, "--pretrainer.crop_seconds", 0.5, "--precision", "fp32",
               "--pretrainer.batch", 2, "--num_workers", 0)  # fmt: skip
    (folder,) = recipe.glob("exp/distilhubert*/pretrain")
    assert load_encoder(folder / "best/hubert").num_layers == 2
    about = json.loads((folder / "distilled.json").read_text())
    assert about["teacher"]["targets"] == [4, 8, 12]
