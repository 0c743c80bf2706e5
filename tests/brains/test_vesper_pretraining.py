"""Pretraining of Vesper: updates by one obvious computation, caches, resumption, odd settings."""

import functools
import json
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
import toy_pretraining
import toy_targets
import toy_vesper as toy
from hyperpyyaml import load_hyperpyyaml
from safetensors.torch import load_file
from sertools.brains import vesper as brain_module
from sertools.brains.groups import whole_optimizer
from sertools.brains.pretraining import share_out
from sertools.brains.teacher import spread_within
from sertools.brains.vesper_parts import build_models
from sertools.brains.vesper_pretrainer import VesperPretrainer
from sertools.brains.vesper_settings import mask_rule, schedule
from sertools.errors import ConfigError, Interrupted
from sertools.models.presets import build_encoder
from sertools.models.upstream import load_upstream
from sertools.models.vesper import Vesper
from sertools.models.weights import load_encoder, save_encoder
from sertools.models.weights.heard import pretrained_on
from sertools.stages.chain import caches_targets
from test_resume import assert_equal
from toy import stop_after
from toy_targets import FEW, check_updates, lines_of, notes_of

TOY = Path(toy.__file__)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
QUICK = {"checkpoint_steps": None, "keep_epochs": None, "dropout": 0.0}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Return the folder of the toy corpus and its teacher."""
    folder = tmp_path_factory.mktemp("vesper")
    toy.make_corpus(folder)
    return folder


@pytest.fixture
def work_of(corpus, tmp_path):
    """Return a function that makes a work in the folder `name` of this test."""
    return lambda name="unit", **changes: toy.make_work(corpus, tmp_path / name, **changes)


@pytest.fixture
def trainer_of(corpus):
    """Return a function that makes a pretrainer."""
    return functools.partial(toy.pretrainer, corpus)


def result_of(folder):
    """Return what is left, without the times."""
    return {**toy_targets.result_of(folder, "vesper"), "official": torch.load(
        folder / "best/vesper.pt", weights_only=True)["model"]}


# What is learned


def test_it_learns_and_leaves_the_student_of_the_lowest_loss(work_of, trainer_of, tmp_path):
    said = []
    trainer_of(**QUICK | {"epochs": 8, "lr": 2e-2, "keep_epochs": 1}).fit(
        work_of(say=said.append))
    unit, lines = tmp_path / "unit", lines_of(tmp_path / "unit")
    losses = [line["train"]["loss"] for line in lines]
    assert min(losses) < 0.6 * losses[0]
    for line in lines:
        train = line["train"]
        terms = train["acoustic"] + 0.1 * train["semantic"] + train["cross"]
        assert train["loss"] == pytest.approx(terms, rel=1e-5)
        assert 0.3 < train["small_share"] < 0.64 and 0.3 < train["large_share"] < 0.7
        assert train["target_std"] > 0.1 and train["skipped_steps"] == 0
    best = 1 + losses.index(min(losses))
    end = json.loads((unit / "training.json").read_text())
    assert (end["best_epoch"], end["best_score"]) == (best, pytest.approx(min(losses)))
    student, kept = (load_file(unit / part / "model.safetensors")
                     for part in ("best/encoder", f"epoch{best:04d}"))
    assert_equal(student, kept)
    assert said[0] == "14 utterances, 0.00 h of crops; 0 left out as too short"
    assert "student: 2 of 4 blocks" in said[1]
    assert said[2].startswith("8 epochs of 3 updates; 2 passes of 3 utterances on each of 1 ")


def test_what_is_left_says_where_it_comes_from(corpus, work_of, trainer_of, tmp_path):
    trainer = trainer_of(**QUICK | {"epochs": 1})
    trainer.fit(work_of())
    assert all(path.is_file() for path in trainer.artefacts(work_of()))
    encoder = load_encoder(tmp_path / "unit/best/encoder")
    assert (encoder.num_layers, encoder.mask_embedding) == (2, None)
    official = load_encoder(tmp_path / "unit/best/vesper.pt")
    wave = torch.randn(1, 9000)
    torch.testing.assert_close(official.eval()(wave).last, encoder.eval()(wave).last)
    config = json.loads((tmp_path / "unit/best/encoder/config.json").read_text())
    assert config["pretrained_on"] == {"speeches": ["s0"], "toy": ["s0", "s1", "s2"]}
    origin = json.loads((tmp_path / "unit/vesper.json").read_text())
    teacher, student = origin["teacher"], origin["student"]
    assert teacher["source"] == str(corpus / "teacher") and teacher["targets"] == [2, 4]
    upstream = load_upstream(corpus / "teacher", dropout=0.0)
    assert teacher["identity"] == upstream.identity
    assert teacher["parameters"] == sum(p.numel() for p in upstream.parameters())
    assert student["parameters"] == 16 + sum(p.numel() for p in encoder.parameters())  # mask
    predictors = 3 * (16 * 8 + 8 + 8 * 16 + 16)
    frozen = sum(p.numel() for p in encoder.frontend.layers.parameters())
    whole = student["parameters"] + predictors
    assert student["with_predictors"] == {"total": whole, "trainable": whole - frozen}
    train = lines_of(tmp_path / "unit")[0]["train"]
    assert origin["masks"]["small_share"] == train["small_share"]
    names = {"config.json", "model.safetensors", "vesper.pt"}
    assert names == {p.name for p in (tmp_path / "unit/best").rglob("*") if p.is_file()}


def slow_update(trainer, weights, passes):
    """Return gradients and the three losses of an update by loops over all its frames."""
    upstream, encoder = build_models(trainer.given, 3)
    given = trainer.given
    model = Vesper(encoder, upstream.dim, {
        name: given[f"{name}_weight"] for name in ("acoustic", "semantic", "cross")})
    model.load_state_dict(weights)
    sums, counts = dict.fromkeys(model.predictors, 0.0), dict.fromkeys(model.predictors, 0)
    wanted = {"acoustic": (0, "small"), "semantic": (1, "large"), "cross": (0, "everything")}
    for one in passes:
        out = model.eval()(one["waves"], one["lengths"], one["small"], one["large"],
                           padding=given["padding"], normalised=True)
        for name in model.predictors:
            layer, mask = wanted[name]
            for row, place in one[mask].nonzero().tolist():
                error = getattr(out, name)[row, place] - one["targets"][row, layer, place]
                sums[name] = sums[name] + (error**2).mean()
                counts[name] += 1
    losses = {name: sums[name] / counts[name] for name in sums}
    sum(given[f"{name}_weight"] * loss for name, loss in losses.items()).backward()
    gradients = {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
    return gradients, {name: float(loss.detach()) for name, loss in losses.items()}


@pytest.mark.parametrize("changes", [
    {}, {"padding": "released", "acoustic_weight": 0.3}, {"crop": "random", "semantic_weight": 2},
    {"cross_weight": 0, "mask": "random", "teacher_layers": [4, 1]},
    {"acoustic_weight": 0, "semantic_weight": 0, "teacher_layers": [4, 4]},
], ids=lambda changes: ", ".join(map(str, changes.values())) or "default")
def test_an_update_divides_by_the_frames_of_all_its_passes(
    work_of, trainer_of, tmp_path, changes
):
    trainer = trainer_of(**QUICK | {"epochs": 1, "crop_seconds": 0.7} | changes)
    with toy.watched():
        trainer.fit(work_of())
    notes = notes_of(tmp_path / "unit")
    losses = check_updates(functools.partial(slow_update, trainer), [notes])
    assert [len(note["passes"]) for note in notes] == [2, 2, 1, 0]  # the last update is short
    train = lines_of(tmp_path / "unit")[0]["train"]
    named = {name for name in ("acoustic", "semantic", "cross") if name in train}
    assert named == set(losses[0])  # what weighs nothing has neither predictor nor column
    for name in named:
        assert train[name] == pytest.approx(sum(one[name] for one in losses) / 3, rel=1e-4)
    shares = []
    for note in notes[:-1]:
        real = sum(int(one["real"].sum()) for one in note["passes"])
        shares.append(sum(int(one["small"].sum()) for one in note["passes"]) / real)
    assert train["small_share"] == pytest.approx(sum(shares) / 3, rel=1e-5)
    predictors = {name.split(".")[1] for name in notes[0]["weights"]
                  if name.startswith("predictors.")}
    assert predictors == named


def test_targets_are_the_teachers_frames_of_the_crop(corpus, work_of, trainer_of, tmp_path):
    """Two depths, of the whole utterance as recorded, from the crop's first frame on."""
    with toy.watched():
        trainer_of(**QUICK | {"epochs": 2, "teacher_layers": [3, 4], "crop": "random",
                              "crop_seconds": 0.5, "batch": 1}).fit(work_of(data=FEW))
    dataset = work_of(data=FEW).dataset
    teacher = load_upstream(corpus / "teacher")
    frames = [teacher(example.inputs[None], hidden=True).hidden for example in dataset]
    passes = [one for note in notes_of(tmp_path / "unit") for one in note["passes"]]
    assert len(passes) == 8
    starts = []
    for one in passes:
        small, upper = one["targets"][0]
        fits = [(number, start) for number, hidden in enumerate(frames)
                for start in range(hidden[3].shape[1] - len(small) + 1)
                if torch.allclose(hidden[3][0, start : start + len(small)], small, atol=1e-4)]
        number, start = fits[0]
        assert {number for number, _ in fits} == {number}
        torch.testing.assert_close(frames[number][4][0, start : start + len(upper)], upper,
                                   atol=1e-4, rtol=1e-4)
        starts.append(start)
    assert len(set(starts)) > 3


def test_how_an_update_is_shared_out_changes_nothing(work_of, trainer_of, monkeypatch, tmp_path):
    """One pass of all utterances learns what four passes of one utterance learn."""
    monkeypatch.setattr(brain_module, "draw_masks", _masks_of_loudness)
    found = {}
    for name, seconds in (("one", 100.0), ("four", 0.1)):
        said = []
        trainer_of(**QUICK | {"batch": 4, "batch_seconds": seconds, "epochs": 2}).fit(
            work_of(name, say=said.append, data=FEW))
        found[name] = load_file(tmp_path / name / "best/encoder/model.safetensors")
        assert f"epochs of 1 updates; {1 if name == 'one' else 4} passes" in said[2]
    for name, value in found["one"].items():
        torch.testing.assert_close(found["four"][name], value, rtol=1e-3, atol=2e-4)
    first, second = (lines_of(tmp_path / name)[0]["train"] for name in found)
    del first["target_std"], second["target_std"]  # the mean over passes
    assert first == pytest.approx(second, rel=1e-3)


def _masks_of_loudness(energy, frames, rule):
    valid = torch.arange(energy.shape[1])[None] < frames[:, None]
    loud = energy > energy.masked_fill(~valid, 0).sum(1, keepdim=True) / frames[:, None]
    return loud & valid, ~loud & valid


def test_cached_targets_and_convolutions_are_those_of_the_teacher(work_of, trainer_of, tmp_path):
    lines = {}
    for crop in ("start", "random"):
        for name, options in (("online", {}),
                              ("cached", {"targets": "cached", "frontend": "cached"})):
            trainer = trainer_of(**QUICK | {"epochs": 1, "crop": crop, "crop_seconds": 0.7,
                                            **options})
            work = work_of(f"{crop} {name}")
            work.caches = trainer.write_caches(work, tmp_path / "dump")
            assert {path.suffix for path in work.caches} == (
                {".json", ".safetensors"} if options else set())
            trainer.fit(work)
            lines[crop, name] = lines_of(tmp_path / f"{crop} {name}")
    for crop in ("start", "random"):
        for one, other in zip(lines[crop, "online"], lines[crop, "cached"], strict=True):
            assert one["train"] == pytest.approx(other["train"], rel=2e-3)
    assert lines["start", "online"] != lines["random", "online"]


def test_the_rate_is_that_of_the_epoch(work_of, trainer_of, tmp_path):
    trainer_of(**QUICK | {"epochs": 5, "warmup": 0.4, "floor": 0.01, "lr": 1e-3, "batch": 4,
                          "batch_seconds": 100}).fit(work_of(data=FEW))
    rates = [line["lr"] / 1e-3 for line in lines_of(tmp_path / "unit")]
    cosine = [0.01 + 0.99 * (1 + math.cos(math.pi * step / 3)) / 2 for step in range(3)]
    assert rates == pytest.approx([0.5, 1.0, *cosine])


def test_training_ends_when_the_loss_stays_up(work_of, trainer_of, tmp_path):
    said = []
    trainer_of(**QUICK | {"epochs": 40, "patience": 2, "lr": 3.0, "warmup": 0.0,
                          "keep_epochs": 1}).fit(work_of(say=said.append))
    losses = [line["train"]["loss"] for line in lines_of(tmp_path / "unit")]
    best = 1 + losses.index(min(losses))
    assert len(losses) == best + 2 < 40
    assert json.loads((tmp_path / "unit/training.json").read_text())["best_epoch"] == best
    assert said[2 + best].endswith("(best so far)") and not said[-1].endswith("(best so far)")
    assert_equal(load_file(tmp_path / "unit/best/encoder/model.safetensors"),
                 load_file(tmp_path / f"unit/epoch{best:04d}/model.safetensors"))


def test_no_epochs_leave_the_student_as_it_is_thinned(corpus, work_of, trainer_of, tmp_path):
    trainer = trainer_of(epochs=0, acoustic_weight=0, semantic_weight=0, cross_weight=0,
                         targets="cached")
    assert trainer.write_caches(work_of(), tmp_path / "dump") == []
    assert not caches_targets({"pretrainer": trainer.given})
    assert caches_targets({"pretrainer": {**trainer.given, "epochs": 1}})
    trainer.fit(work_of())
    teacher = load_encoder(corpus / "teacher")
    student = load_encoder(tmp_path / "unit/best/encoder")
    for number, block in ((0, 0), (1, 2)):
        assert_equal(dict(student.blocks[number].state_dict()),
                     dict(teacher.blocks[block].state_dict()))
    config = json.loads((tmp_path / "unit/best/encoder/config.json").read_text())
    assert config["pretrained_on"] == {"speeches": ["s0"]}  # only its teacher heard anything
    assert all(path.is_file() for path in trainer.artefacts(work_of()))
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "unit").rglob("*")}
    trainer.fit(work_of())
    assert times == {p: p.stat().st_mtime_ns for p in (tmp_path / "unit").rglob("*")}


def test_random_weights_have_heard_nothing(work_of, trainer_of, tmp_path):
    trainer_of(epochs=0, initialisation="random").fit(work_of())
    assert pretrained_on(tmp_path / "unit/best/encoder") == {}


def test_a_small_emotion2vec_teaches_too(work_of, trainer_of, tmp_path):
    """Log-mel frames at 25 Hz, tokens in front of them, ALiBi, LayerNorm after the blocks."""
    torch.manual_seed(6)
    save_encoder(build_encoder(**toy_pretraining.TINY), tmp_path / "teacher")
    teacher = functools.partial(load_upstream, source=str(tmp_path / "teacher"))
    trainer = trainer_of(**QUICK | {"teacher": teacher, "epochs": 4, "small_span": 2,
                                    "large_span": 5, "layers": 1, "lr": 1e-2})
    trainer.fit(work_of())
    losses = [line["train"]["loss"] for line in lines_of(tmp_path / "unit")]
    assert losses[-1] < 0.9 * losses[0]
    assert not (tmp_path / "unit/best/vesper.pt").exists()  # the layout cannot hold it
    assert all(path.is_file() for path in trainer.artefacts(work_of()))
    student = load_encoder(tmp_path / "unit/best/encoder")
    assert (student.num_layers, student.config.extra_tokens, student.frame_rate) == (1, 2, 25.0)


# Stopped, on several ranks


@pytest.mark.parametrize("changes", [
    {"targets": "cached", "crop": "random"},
    pytest.param({"precision": "fp32", "crop": "start"}, marks=pytest.mark.slow),
    pytest.param({"precision": "bf16", "targets": "cached"}, marks=pytest.mark.slow),
    pytest.param({"precision": "bf16", "num_workers": 1}, marks=pytest.mark.slow),
    pytest.param({"targets": "cached", "frontend": "cached", "crop": "random"},
                 marks=pytest.mark.slow),
    pytest.param({"padding": "released", "mask": "released"}, marks=pytest.mark.slow),
], ids=lambda changes: ", ".join(map(str, changes.values())))
def test_stopped_anywhere_ends_the_same(work_of, trainer_of, tmp_path, changes):
    of_work = {k: changes[k] for k in changes if k in ("precision", "num_workers")}
    settings = {k: changes[k] for k in changes if k not in of_work}
    trainer, caches = trainer_of(**settings), []
    caches = trainer.write_caches(work_of(**of_work), tmp_path / "dump")
    trainer.fit(work_of("whole", caches=caches, **of_work))
    for polls in (1, 3, 2):
        with pytest.raises(Interrupted):
            trainer_of(**settings).fit(work_of(
                "pieces", should_stop=stop_after(polls), caches=caches, **of_work))
    trainer_of(**settings).fit(work_of("pieces", caches=caches, **of_work))
    assert_equal(result_of(tmp_path / "whole"), result_of(tmp_path / "pieces"))


@pytest.mark.slow
def test_two_ranks_divide_by_what_both_see(corpus, trainer_of, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone",
               "--nproc-per-node=2", str(TOY), str(corpus), str(tmp_path / "unit"), "watched", "2"]
    done = subprocess.run(command, env=ENVIRONMENT, timeout=120, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    trainer = trainer_of(**toy.OF_RANKS)
    ranks = [notes_of(tmp_path / "unit", rank) for rank in (0, 1)]
    losses = check_updates(functools.partial(slow_update, trainer), ranks)
    first, second = (notes[0]["passes"][0]["small"] for notes in ranks)
    assert first.shape != second.shape or not torch.equal(first, second)
    per_epoch = len(losses) // 2
    for number, line in enumerate(lines_of(tmp_path / "unit")):
        part = losses[number * per_epoch : (number + 1) * per_epoch]
        for name in ("acoustic", "semantic", "cross"):
            mean = sum(one[name] for one in part) / per_epoch
            assert line["train"][name] == pytest.approx(mean, rel=1e-4)
    counts = [[len(note["passes"]) for note in notes[:per_epoch]] for notes in ranks]
    assert counts[0] == counts[1] == [2, 2]
    assert "unused" not in done.stdout


def test_other_settings_do_not_go_on(work_of, trainer_of, corpus, tmp_path):
    with pytest.raises(Interrupted):
        trainer_of().fit(work_of(should_stop=stop_after(1)))
    for changes, word in (({"cross_weight": 3.0}, "cross_weight"), ({"high": [0.6, 1.0]}, "high"),
                          ({"batch": 4}, "batch")):
        with pytest.raises(ConfigError, match=word):
            trainer_of(**changes).fit(work_of())
    other = build_encoder(**toy.TINY)
    save_encoder(other, tmp_path / "other")
    with pytest.raises(ConfigError, match="teacher"):
        trainer_of(teacher=functools.partial(load_upstream, source=str(tmp_path / "other"))).fit(
            work_of())


# What cannot be meant


def test_wrong_settings_are_refused_all_at_once():
    with pytest.raises(ConfigError) as caught:
        VesperPretrainer(
            load_upstream, layers=0, initialisation="half", dim=8, teacher_layers=[0.5],
            targets="kept", crop="end", padding="none",
        )
    found = {problem.split(":")[0] for problem in caught.value.problems}
    assert found == {"teacher_layers", "initialisation", "targets", "crop", "padding"}
    with pytest.raises(ConfigError) as caught:
        VesperPretrainer(
            load_upstream, layers=0, dim=8, blocks=[1], mask="loud", mask_share=2, high=[1, 0],
            acoustic_weight=-1, epochs=-1, batch=0, batch_seconds=0, lr=0, clip=0, patience=0,
            warmup=1.5, floor=-1, keep_epochs=0, log_every=0,
        )
    found = {problem.split(":")[0].split(" is ")[0] for problem in caught.value.problems}
    assert found == {"layers", "dim", "blocks", "mask", "mask_share", "high", "acoustic_weight",
                     "epochs", "batch", "batch_seconds", "lr", "clip", "patience", "warmup",
                     "floor", "keep_epochs", "log_every"}
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("changes, words", [
    ({"lr": "5e-4", "batch": 2.5}, ["batch: 2.5 is not a whole number", "lr: '5e-4' is not a "
                                    "number"]),
    ({"teacher": "wavlm"}, ["teacher: 'wavlm'; give `!name:sertools.models.upstream.load_upstream` "
                            "with a source"]),
    ({"betas": [0.9]}, ["betas: [0.9]; give two numbers of 0 or more, less than 1"]),
    ({"acoustic_weight": 0, "semantic_weight": 0, "cross_weight": 0},
     ["acoustic_weight, semantic_weight, cross_weight: nothing is left to learn from; epochs: 0 "
      "leaves the student as it is initialised"]),
    ({"initialisation": "custom_extract"},
     ["blocks: None, but initialisation is custom_extract; custom_extract and custom_average need "
      "blocks, nothing else has them"]),
    ({"frontend": "cached", "padding": "released", "crop": "random"},
     ["frontend: cached, but crop is random and padding released, which depends on the crop; use "
      "frontend: audio, padding: fixed or crop: start"]),
    ({"mask_budget": "matched"}, ["mask_budget: matched thins random masks, but mask is "
                                  "emotion_guided; give budget: released or mask: random"]),
])
def test_odd_values_are_named(changes, words):
    with pytest.raises(ConfigError) as caught:
        VesperPretrainer(**{"teacher": load_upstream, **changes})
    assert caught.value.problems == words


def test_defaults_are_those_of_the_readme_of_the_released_code():
    given = VesperPretrainer(load_upstream).given
    assert (given["epochs"], given["batch"], given["lr"], given["seed"]) == (100, 32, 5e-4, 123)
    assert tuple(given[f"{name}_weight"] for name in ("acoustic", "semantic", "cross")) == (
        1.0, 0.1, 1.0)
    assert (given["patience"], given["warmup"], given["floor"], given["clip"]) == (
        15, 0.05, 0.01, None)
    assert (*given["betas"], given["eps"], given["weight_decay"]) == (0.9, 0.999, 1e-8, 0.01)
    assert (given["crop"], given["crop_seconds"], tuple(given["teacher_layers"])) == (
        "start", 5.0, (0.5, 1.0))
    assert (given["padding"], given["mask"], given["mask_budget"]) == (
        "fixed", "emotion_guided", "released")
    rule = mask_rule(given)
    assert (rule.small_span, rule.small_spans, rule.large_span, rule.large_spans) == (8, 20, 40, 4)
    assert (rule.share, rule.gap, rule.high, rule.low) == (0.64, 1, (0.5, 1.0), (0.2, 0.49))
    rates = [schedule(given).factor(0.0, epoch, 100) for epoch in (0, 3, 4, 5, 99)]
    assert rates[:4] == [0.2, 0.8, 1.0, 1.0] and 0.01 < rates[4] < 0.0103
    model = torch.nn.Linear(2, 2)
    optimizer = whole_optimizer(given["lr"], given["weight_decay"], given["betas"], given["eps"])(
        model)
    assert type(optimizer) is torch.optim.AdamW and len(optimizer.param_groups) == 1
    assert {p.ndim for p in optimizer.param_groups[0]["params"]} == {1, 2}


def test_what_only_shows_in_the_work_is_said_before_training(work_of, trainer_of, tmp_path):
    with pytest.raises(ConfigError, match="targets is cached, but there is no such cache"):
        trainer_of(targets="cached").fit(work_of())
    trainer = trainer_of(targets="cached")
    caches = trainer.write_caches(work_of(), tmp_path / "dump")
    with pytest.raises(ConfigError, match="that of another teacher"):
        trainer_of(targets="cached", teacher_layers=[0.25, 1.0]).fit(work_of(caches=caches))
    cached = {"frontend": "cached", "padding": "released"}
    caches = trainer_of(**cached).write_caches(work_of(), tmp_path / "dump")
    with pytest.raises(ConfigError, match="frontend is cached, but there is no such cache"):
        trainer_of(frontend="cached").fit(work_of(caches=caches))
    with pytest.raises(ConfigError, match="sample_rate is 8000, but the encoder hears 16000"):
        trainer_of().fit(work_of(data={"sample_rate": 8000}))
    with pytest.raises(ConfigError, match="layers: 9, but the teacher has 4 blocks"):
        trainer_of(layers=9).fit(work_of())
    for seconds, words in ((1.5, "1.5 is above max_seconds 1.1"), (0.05, "too few for a mask")):
        with pytest.raises(ConfigError, match=words):  # before hours of a teacher
            trainer_of(targets="cached", crop_seconds=seconds).write_caches(
                work_of(), tmp_path / "long")
    assert not (tmp_path / "long").exists()
    said = []
    trainer_of(**QUICK | {"epochs": 1, "small_span": 35, "large_span": 35}).fit(
        work_of(say=said.append, data={"min_seconds": 0.64}))
    assert said[0].endswith("; 4 left out as too short")


def test_updates_are_shared_out_evenly():
    assert share_out(32, 1, 160.0, 5.0) == (1, 32)
    assert share_out(32, 2, 25.0, 5.0) == (4, 4)
    assert share_out(32, 1, 3.0, 5.0) == (32, 1)
    assert share_out(30, 1, 35.0, 5.0) == (5, 6)
    for batch, world, seconds in ((32, 4, 21.0), (48, 2, 33.0), (7, 1, 10.0)):
        passes, items = share_out(batch, world, seconds, 5.0)
        assert passes * items * world == batch and items * 5.0 <= max(seconds, 5.0)
    with pytest.raises(ConfigError, match="32 utterances cannot be shared out over 3 processes"):
        share_out(32, 3, 160.0, 5.0)


def test_the_spread_of_targets_by_hand():
    values, mask = torch.randn(3, 2, 7, 5), torch.rand(3, 7) < 0.6
    rows = [torch.stack([values[b, layer, t] for b, t in mask.nonzero().tolist()])
            for layer in (0, 1)]
    slow = torch.stack([row.std(0, correction=0) for row in rows]).mean()
    torch.testing.assert_close(spread_within(values, mask), slow)


@pytest.mark.parametrize("name", ["vesper12", "vesper4", "vesper_small"])
def test_every_setting_has_its_key(name):
    """What the files do not say otherwise is the default; 25 Hz halves the spans."""
    path = Path(__file__).parents[2] / "hparams" / "pretrainers" / f"{name}.yaml"
    _, kind, *rest = path.read_text(encoding="utf-8").splitlines()
    text = f"it: {kind.replace('!new:', '!name:')}\n" + textwrap.indent("\n".join(rest), "    ")
    values = load_hyperpyyaml(text)["it"]
    own = {"vesper12": {}, "vesper4": {"layers": 4}, "vesper_small": {
        "layers": 2, "small_span": 4, "large_span": 20, "epochs": 60, "keep_epochs": 10}}[name]
    assert values.keywords["teacher"].keywords["dropout"] == 0.1
    assert values.func is VesperPretrainer and values.keywords["teacher"].func is load_upstream
    given = VesperPretrainer(load_upstream).given
    expected = {**given, **own, "teacher": values.keywords["teacher"]}
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in expected.items()}
    assert values.keywords == plain
    values()
