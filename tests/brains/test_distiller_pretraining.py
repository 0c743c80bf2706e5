"""Distillation: updates by one obvious computation, caches, resumption, odd settings."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import indent

import pytest
import torch
import torch.nn.functional as F
import toy_distiller as toy
import toy_pretraining
import toy_targets
import toy_vesper
from hyperpyyaml import load_hyperpyyaml
from safetensors.torch import load_file
from sertools.brains.distiller_parts import build_models
from sertools.brains.distiller_pretrainer import DistillerPretrainer
from sertools.errors import ConfigError, Interrupted
from sertools.models.distilled import Distiller
from sertools.models.presets import build_encoder
from sertools.models.upstream import load_upstream
from sertools.models.weights import load_encoder, save_encoder
from sertools.stages import origin
from sertools.stages.chain import caches_targets
from test_resume import assert_equal
from toy import stop_after
from toy_targets import FEW, check_updates, lines_of, notes_of

QUICK = {"checkpoint_steps": None, "keep_epochs": None, "dropout": 0.0, "clip": None}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Return the folder of the toy corpus and its teacher."""
    folder = tmp_path_factory.mktemp("distilled")
    toy_vesper.make_corpus(folder)
    return folder


@pytest.fixture
def work_of(corpus, tmp_path):
    """Return a function that makes a work in the folder `name` of this test."""
    return lambda name="unit", **changes: toy_vesper.make_work(corpus, tmp_path / name, **changes)


@pytest.fixture
def trainer_of(corpus):
    """Return a function that makes a pretrainer."""
    return functools.partial(toy.pretrainer, corpus)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Return the folder of a teacher of HuBERT Base's kind: LayerNorm behind, group norm."""
    torch.manual_seed(5)
    encoder = build_encoder(**{**toy_vesper.TINY, "preset": "hubert_base"})
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(1.5)
    return save_encoder(encoder, tmp_path_factory.mktemp("base") / "teacher")


def result_of(folder):
    """Return what is left, without the times."""
    return {**toy_targets.result_of(folder, "distilled"), "heads": load_file(
        folder / "best/heads.safetensors")}


# What is learned


def test_it_learns_and_leaves_the_student(corpus, work_of, trainer_of, tmp_path):
    said = []
    trainer = trainer_of(**QUICK | {"epochs": 4, "lr": 2e-2, "keep_epochs": 1})
    trainer.fit(work_of(say=said.append))
    unit, lines = tmp_path / "unit", lines_of(tmp_path / "unit")
    losses = [line["train"]["loss"] for line in lines]
    assert min(losses) < 0.8 * losses[0]
    for line in lines:
        train = line["train"]
        assert train["loss"] == pytest.approx(train["l1"] + train["cosine"], rel=1e-5)
        for name in ("l1", "cosine"):
            assert train[name] == pytest.approx((train[f"{name}_2"] + train[f"{name}_4"]) / 2)
        assert train["target_std"] > 0.1 and train["skipped_steps"] == 0
    best = 1 + losses.index(min(losses))
    assert json.loads((unit / "training.json").read_text())["best_epoch"] == best
    student = load_file(unit / "best/encoder/model.safetensors")
    assert_equal(student, load_file(unit / f"epoch{best:04d}/model.safetensors"))
    assert said[0] == "14 utterances, 0.00 h of crops; 0 left out as too short"
    assert "student: 2 of 4 blocks" in said[1] and "with the heads" in said[1]
    assert said[2].startswith("4 epochs of 3 updates; 2 passes of 3 utterances on each of 1 ")
    # where it comes from
    assert all(path.is_file() for path in trainer.artefacts(work_of()))
    encoder = load_encoder(unit / "best/encoder")
    assert (encoder.num_layers, encoder.mask_embedding, encoder.frontend.norm) == (2, None, None)
    config = json.loads((unit / "best/encoder/config.json").read_text())
    assert config["pretrained_on"] == {"speeches": ["s0"], "toy": ["s0", "s1", "s2"]}
    about = json.loads((unit / "distilled.json").read_text())
    assert about["teacher"]["source"] == str(corpus / "teacher")
    assert about["teacher"]["targets"] == [2, 4]
    heads = 16 * 32 + 32 + 2 * (16 * 16 + 16)
    size = sum(p.numel() for p in encoder.parameters())
    assert about["student"]["parameters"] == size
    assert about["student"]["with_heads"] == {"total": size + heads, "trainable": size + heads}
    sentence = origin.told(str(unit / "best/encoder"))
    assert "distilled student of" in sentence and "2 of 4 blocks, teacher" in sentence
    assert not (unit / "best/hubert").exists()  # WavLM's bias has no place in that layout


def test_of_hubert_it_leaves_a_model_of_transformers(base, work_of, trainer_of, tmp_path):
    from transformers import HubertModel

    teacher = functools.partial(load_upstream, source=str(base))
    trainer = trainer_of(**QUICK | {"teacher": teacher, "epochs": 1, "teacher_layers": [1, 2, 4]})
    trainer.fit(work_of(data=FEW))
    paths = trainer.artefacts(work_of())
    assert tmp_path / "unit/best/hubert/config.json" in paths and all(p.is_file() for p in paths)
    model = HubertModel.from_pretrained(tmp_path / "unit/best/hubert").eval()
    wave = torch.randn(1, 9000)
    with torch.no_grad():
        ours = load_encoder(tmp_path / "unit/best/encoder")(wave).last
        torch.testing.assert_close(model(wave).last_hidden_state, ours, atol=1e-5, rtol=0)


def slow_update(trainer, weights, passes):
    """Return gradients and loss of an update by loops over all its frames."""
    upstream, encoder = build_models(trainer.given, 3)
    given = trainer.given
    model = Distiller(encoder, upstream.dim, len(given["teacher_layers"]),
                      given["frontend_gradient"], given["frontend_norm"])
    model.load_state_dict(weights)
    terms = []
    for one in passes:
        said, frames = model.eval()(one["waves"], one["lengths"],
                                    normalised=given["crop"] == "random")
        if given["padding"] == "released":
            frames = torch.full_like(frames, said.shape[2])
        for row, valid in enumerate(frames.tolist()):
            for time in range(valid):
                for layer in range(said.shape[1]):
                    p, h = said[row, layer, time], one["targets"][row, layer, time]
                    cosine = p @ h / (p.norm() * h.norm()).clamp(min=1e-8)
                    similar = -given["cosine_weight"] * F.logsigmoid(cosine)
                    terms.append((p - h).abs().mean() + similar)
    loss = torch.stack(terms).mean()
    loss.backward()
    return {k: p.grad for k, p in model.named_parameters() if p.grad is not None}, loss.item()


@pytest.mark.parametrize("changes", [
    {},
    {"padding": "released", "frontend_norm": "plain", "crop": "start", "cosine_weight": 0.3},
    {"teacher_hears": "crop", "padding": "released", "frontend_gradient": 0},
], ids=lambda changes: ", ".join(map(str, changes.values())) or "default")
def test_an_update_is_the_mean_over_the_frames_of_all_its_passes(
    base, work_of, trainer_of, tmp_path, changes
):
    teacher = functools.partial(load_upstream, source=str(base))
    trainer = trainer_of(**QUICK | {"teacher": teacher, "epochs": 1, "crop_seconds": 0.7,
                                    "layers": 1} | changes)
    with toy.watched():
        trainer.fit(work_of(data={"exclude": ["toy/s0"]}))
    notes = notes_of(tmp_path / "unit")
    losses = check_updates(functools.partial(slow_update, trainer), [notes])
    assert [len(note["passes"]) for note in notes] == [2, 1, 0]  # the last update is short
    released = changes.get("padding") == "released"
    frames = [sum(one["mask"].sum().item() for one in note["passes"]) for note in notes[:-1]]
    for one in (one for note in notes for one in note["passes"]):
        assert bool(one["mask"].all()) == (released or len(set(one["lengths"].tolist())) == 1)
    mean = sum(a * b for a, b in zip(losses, frames, strict=True)) / sum(frames)
    assert lines_of(tmp_path / "unit")[0]["train"]["loss"] == pytest.approx(mean, rel=1e-4)


@pytest.mark.parametrize("hears", ["utterance", "crop"])
def test_targets_are_the_teachers_frames(corpus, work_of, trainer_of, tmp_path, hears):
    """Of the utterance from the crop's first frame on, or of the crop alone."""
    with toy.watched():
        trainer_of(**QUICK | {"epochs": 2, "teacher_layers": [3, 4], "crop_seconds": 0.5,
                              "batch": 1, "teacher_hears": hears}).fit(work_of(data=FEW))
    whole = {example.id: example.inputs for example in work_of(data=FEW).dataset}
    teacher = load_upstream(corpus / "teacher")
    passes = [one for note in notes_of(tmp_path / "unit") for one in note["passes"]]
    starts = {int(one["starts"]) for one in passes}
    assert len(passes) == 8 and len(starts) > 3
    for one in passes:
        (id,), start = one["ids"], int(one["starts"])
        count = one["targets"].shape[2]
        heard = one["waves"] if hears == "crop" else whole[id][None]
        hidden = teacher(heard, hidden=True).hidden
        first = 0 if hears == "crop" else start
        for layer, depth in enumerate((3, 4)):
            torch.testing.assert_close(one["targets"][0, layer],
                                       hidden[depth][0, first : first + count],
                                       atol=1e-4, rtol=1e-4)


def test_cached_targets_are_those_of_the_teacher(work_of, trainer_of, tmp_path):
    lines = []
    for targets in ("online", "cached"):
        trainer = trainer_of(**QUICK | {"epochs": 1, "targets": targets, "crop_seconds": 0.7})
        work = work_of(targets)
        work.caches = trainer.write_caches(work, tmp_path / "dump")
        assert bool(work.caches) == (targets == "cached") == caches_targets(
            {"pretrainer": trainer.given})
        trainer.fit(work)
        lines.append(lines_of(tmp_path / targets)[0]["train"])
    assert lines[0] == pytest.approx(lines[1], rel=2e-3)


def test_a_teacher_in_training_mode_is_another_each_time(base, work_of, trainer_of, tmp_path):
    """Its dropouts act, as in the released code: other targets for the same crop."""
    teacher = functools.partial(load_upstream, source=str(base), dropout=0.2)
    found = {}
    for mode in ("eval", "released"):
        with toy.watched():
            trainer_of(**QUICK | {"teacher": teacher, "epochs": 2, "teacher_mode": mode,
                                  "crop": "start", "batch": 1}).fit(work_of(mode, data=FEW))
        passes = [one for note in notes_of(tmp_path / mode) for one in note["passes"]]
        by_id = {id: [one["targets"] for one in passes if one["ids"] == [id]]
                 for one in passes for id in one["ids"]}
        found[mode] = [torch.allclose(*two, atol=1e-3) for two in by_id.values()]
    assert found == {"eval": [True] * 4, "released": [False] * 4}


def test_rates_and_decay_are_the_released_ones(base, work_of, trainer_of, tmp_path):
    teacher = functools.partial(load_upstream, source=str(base))
    for wd, spared in (("released", "bias"), ("no_norm", "norm_bias")):
        kept = {}

        class Noted(toy.Watched):
            def on_fit_start(self, kept=kept):
                super().on_fit_start()
                names = {id(p): name for name, p in self.raw_model.named_parameters()}
                for group in self.optimizer.param_groups:
                    for parameter in group["params"]:
                        kept[names[id(parameter)]] = group["weight_decay"]

        before, toy.Watched = toy.Watched, Noted
        with toy.watched():
            trainer_of(**QUICK | {"teacher": teacher, "wd": wd, "batch": 4, "epochs": 4,
                                  "warmup": 0.25, "lr": 1e-3}).fit(work_of(wd, data=FEW))
        toy.Watched = before
        for name, decay in kept.items():
            free = name.endswith("bias") or (spared == "norm_bias" and "norm" in name)
            assert decay == (0.0 if free else 0.01), name
    rates = [line["lr"] / 1e-3 for line in lines_of(tmp_path / "released")]
    assert rates == pytest.approx([0.5, 5 / 6, 0.5, 1 / 6])  # middles of the steps


def test_updates_are_rounded_up_to_epochs(work_of, trainer_of, tmp_path):
    trainer_of(**QUICK | {"epochs": None, "updates": 5, "batch": 2, "batch_seconds": 100}).fit(
        work_of(data=FEW))
    assert json.loads((tmp_path / "unit/training.json").read_text())["step"] == 6


@pytest.mark.parametrize("layers", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_small_emotion2vec_teaches_too(work_of, trainer_of, tmp_path, layers):
    """Log-mel frames at 25 Hz, tokens in front of them, ALiBi, LayerNorm after the blocks."""
    torch.manual_seed(6)
    save_encoder(build_encoder(**toy_pretraining.TINY), tmp_path / "teacher")
    teacher = functools.partial(load_upstream, source=str(tmp_path / "teacher"))
    trainer_of(**QUICK | {"teacher": teacher, "epochs": 4, "layers": layers, "lr": 1e-2,
                          "teacher_layers": [0.3333, 0.6667, 1.0]}).fit(work_of())
    losses = [line["train"]["loss"] for line in lines_of(tmp_path / "unit")]
    assert losses[-1] < 0.9 * losses[0]
    student = load_encoder(tmp_path / "unit/best/encoder")
    assert (student.num_layers, student.config.extra_tokens, student.frame_rate) == (
        layers, 2, 25.0)


def test_a_student_may_begin_as_a_file_or_stay_as_it_begins(corpus, work_of, trainer_of, tmp_path):
    trainer = trainer_of(epochs=0, blocks=[3, 1], targets="cached")
    assert trainer.write_caches(work_of(), tmp_path / "dump") == []
    trainer.fit(work_of())
    assert all(path.is_file() for path in trainer.artefacts(work_of()))
    teacher = load_encoder(corpus / "teacher")
    student = load_encoder(tmp_path / "unit/best/encoder")
    for number, block in ((0, 3), (1, 1)):
        assert_equal(dict(student.blocks[number].state_dict()),
                     dict(teacher.blocks[block].state_dict()))
    config = json.loads((tmp_path / "unit/best/encoder/config.json").read_text())
    assert config["pretrained_on"] == {"speeches": ["s0"]}
    assert "not pretrained further" in origin.told(str(tmp_path / "unit/best/encoder"))
    source = str(tmp_path / "unit/best/encoder")
    trainer_of(epochs=0, initialisation="file", source=source).fit(work_of("again"))
    assert_equal(load_file(tmp_path / "again/best/encoder/model.safetensors"),
                 load_file(tmp_path / "unit/best/encoder/model.safetensors"))
    with pytest.raises(ConfigError, match="layers: 3, but the student in .* has 2 blocks"):
        trainer_of(epochs=0, initialisation="file", source=source, layers=3).fit(work_of("no"))


# Stopped, on several ranks


@pytest.mark.parametrize("changes", [
    {"targets": "cached"},
    {"targets": "online", "teacher_mode": "released", "teacher_hears": "crop"},
    pytest.param({"precision": "bf16", "teacher_precision": "bf16", "num_workers": 1},
                 marks=pytest.mark.slow),
    pytest.param({"padding": "released", "wd": "no_norm", "initialisation": "random"},
                 marks=pytest.mark.slow),
], ids=lambda changes: ", ".join(map(str, changes.values())))
def test_stopped_anywhere_ends_the_same(work_of, trainer_of, tmp_path, changes):
    of_work = {k: changes[k] for k in changes if k in ("precision", "num_workers")}
    settings = {k: changes[k] for k in changes if k not in of_work}
    caches = trainer_of(**settings).write_caches(work_of(**of_work), tmp_path / "dump")
    trainer_of(**settings).fit(work_of("whole", caches=caches, **of_work))
    for polls in (1, 3, 2):
        with pytest.raises(Interrupted):
            trainer_of(**settings).fit(work_of(
                "pieces", should_stop=stop_after(polls), caches=caches, **of_work))
    trainer_of(**settings).fit(work_of("pieces", caches=caches, **of_work))
    assert_equal(result_of(tmp_path / "whole"), result_of(tmp_path / "pieces"))


@pytest.mark.slow
def test_two_ranks_are_a_mean_over_what_both_see(corpus, trainer_of, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone",
               "--nproc-per-node=2", str(Path(toy.__file__)), str(corpus),
               str(tmp_path / "unit"), "2"]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=120,
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    ranks = [notes_of(tmp_path / "unit", rank) for rank in (0, 1)]
    check_updates(functools.partial(slow_update, trainer_of(clip=None, **toy.OF_RANKS)), ranks)
    assert ranks[0][0]["passes"][0]["ids"] != ranks[1][0]["passes"][0]["ids"]
    assert [len(note["passes"]) for note in ranks[0][:-1]] == [2] * 4
    assert "unused" not in done.stdout


def test_other_settings_do_not_go_on(work_of, trainer_of):
    with pytest.raises(Interrupted):
        trainer_of().fit(work_of(should_stop=stop_after(1)))
    for changes in ({"cosine_weight": 3.0}, {"wd": "no_norm"}, {"batch": 4}):
        with pytest.raises(ConfigError, match=next(iter(changes))):
            trainer_of(**changes).fit(work_of())


# What cannot be meant


def test_wrong_settings_are_refused_all_at_once():
    with pytest.raises(ConfigError) as caught:
        DistillerPretrainer(
            "hubert", teacher_layers=[], teacher_mode="train", targets="kept", crop="end",
            padding="none", wd="some", frontend_norm="both", initialisation="half", lr="2e-4",
        )
    found = {problem.split(":")[0] for problem in caught.value.problems}
    assert found == {"teacher", "teacher_layers", "teacher_mode", "targets", "crop", "padding",
                     "wd", "frontend_norm", "initialisation", "lr"}
    with pytest.raises(ConfigError) as caught:
        DistillerPretrainer(
            load_upstream, layers=0, dim=8, epochs=3, batch=0, batch_seconds=0, lr=0, clip=0,
            patience=0, warmup=1.5, keep_epochs=0, log_every=0, cosine_weight=-1,
            frontend_gradient=-1, dropout=-0.1, weight_decay=-1,
        )
    found = {problem.split(":")[0].split(" is ")[0] for problem in caught.value.problems}
    assert found == {"layers", "dim", "updates and epochs", "batch", "batch_seconds", "lr", "clip",
                     "patience", "warmup", "keep_epochs", "log_every", "cosine_weight",
                     "frontend_gradient", "dropout", "weight_decay"}
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("changes, words", [
    ({"teacher_layers": [4, 4]}, ["teacher_layers: [4, 4]; name each once"]),
    ({"initialisation": "file"},
     ["source: None, but initialisation is file; file needs a source, nothing else has one"]),
    ({"initialisation": "random", "blocks": [0, 1]},
     ["blocks: [0, 1], but initialisation is random; only teacher has blocks"]),
    ({"targets": "cached", "teacher_mode": "released"},
     ["teacher_mode: released, but targets is cached; use targets: online",
      "teacher_hears: crop, but targets is cached; use targets: online"]),
])
def test_odd_values_are_named(changes, words):
    with pytest.raises(ConfigError) as caught:
        DistillerPretrainer(**{"teacher": load_upstream, **changes})
    assert caught.value.problems == words


def test_what_only_shows_in_the_work_is_said_before_training(work_of, trainer_of):
    cached = {"targets": "cached"}
    with pytest.raises(ConfigError, match="targets is cached, but there is no such cache"):
        trainer_of(**cached).fit(work_of())
    with pytest.raises(ConfigError, match="the teacher has 4 blocks"):
        trainer_of(teacher_layers=[4, 8]).fit(work_of())
    with pytest.raises(ConfigError, match="layers: 5, but the teacher has 4 blocks"):
        trainer_of(layers=5).fit(work_of())


SMALL = {"teacher_precision": "fp32", "teacher_hears": "utterance", "targets": "cached",
         "crop_seconds": 5.0, "updates": None, "epochs": 40, "batch_seconds": 160, "lr": 5e-4,
         "keep_epochs": 10, "teacher_layers": [0.3333, 0.6667, 1.0]}


@pytest.mark.parametrize("name, own", [("distilhubert", {}), ("distil_small", SMALL)])
def test_every_setting_has_its_key(name, own):
    """What the files do not say otherwise is the default."""
    path = Path(__file__).parents[2] / "hparams" / "pretrainers" / f"{name}.yaml"
    _, kind, *rest = path.read_text(encoding="utf-8").splitlines()
    text = f"it: {kind.replace('!new:', '!name:')}\n" + indent("\n".join(rest), "    ")
    values = load_hyperpyyaml(text)["it"]
    assert values.func is DistillerPretrainer and values.keywords["teacher"].func is load_upstream
    given = values().given
    defaults = DistillerPretrainer(load_upstream).given
    assert set(values.keywords) == set(defaults)
    for key in set(defaults) - {"teacher"}:
        wanted = own.get(key, defaults[key])
        assert given[key] == (list(wanted) if isinstance(wanted, tuple) else wanted), key


def test_defaults_are_those_of_the_released_code():
    given = DistillerPretrainer(load_upstream).given
    assert (given["batch"], given["updates"], given["lr"], given["eps"], given["clip"]) == (
        24, 200_000, 2e-4, 1e-6, 5.0)
    assert (given["teacher_layers"], given["betas"], given["warmup"], given["dropout"]) == (
        (4, 8, 12), (0.9, 0.98), 0.07, 0.1)
    assert given["crop_seconds"] * 16_000 == 250_000
