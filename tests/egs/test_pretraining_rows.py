"""Every pretraining that egs/pretrain's README names runs, in a tiny form."""

import json
import re
import shlex
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
from sertools.models.weights import load_encoder
from sertools.models.weights.emotion2vec import save_official

EGS = Path(__file__).resolve().parents[2] / "egs"
ROWS = [
    shlex.split(command)[2:]
    for command in re.findall(r"`(python run\.py hparams/[^`]*)`",
                              (EGS / "pretrain/README.md").read_text(encoding="utf-8"))
]  # fmt: skip
TINY = {
    "encoder.dim": 16, "encoder.num_layers": 5, "encoder.num_heads": 2, "encoder.ffn_dim": 32,
    "encoder.conv_dim": 16, "decoder.dim": 16, "decoder.groups": 2, "updates": "null", "epochs": 1,
    "warmup_updates": 0, "batch_seconds": 4, "update_seconds": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def recipe(repository, tmp_path_factory):
    """Return the recipe beside imitations of all corpora that it names."""
    root = tmp_path_factory.mktemp("rows")
    folder = copy_recipe(repository, "pretrain", root)
    for file in folder.glob("hparams/*.yaml"):
        text = re.sub(r"![\w:./]+", "", file.read_text(encoding="utf-8"))
        for name, source in yaml.safe_load(text)["pretraining_data"]["sources"].items():
            records = []
            for take in range(3):
                path = trees.sound(root / "releases" / source["folder"] / f"{name}{take}.wav",
                                   seconds=1.0 + take / 10)
                records.append(Record(id=f"{name}-{take}", path=path.name, speaker="s",
                                      duration=1.0 + take / 10))
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


@pytest.mark.parametrize("number", [
    pytest.param(n, marks=() if n in (0, 4) else pytest.mark.slow) for n in range(len(ROWS))
])  # fmt: skip
def test_row_of_the_readme_runs(recipe, data2vec2, number):
    file, *options = ROWS[number]
    given = set(options[::2])
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
    changed = recipe / "hparams/emotion2vec_small.yaml"
    changed.write_text(changed.read_text().replace("    sources:", "    sources:  # again", 1))
    assert "stage 3 pretrain: done" in run_recipe(recipe, *command)  # a comment is no setting
    changed.write_text(changed.read_text().replace("min_seconds: 0.5", "min_seconds: 0.6"))
    kept = run_recipe(recipe, *command)
    assert "kept as exp/" in kept and "pretrain.old1" in kept
    assert load_encoder(folder.with_name("pretrain.old1") / "best/encoder").dim == 12
    assert load_encoder(folder / "best/encoder").dim == 12
