"""GEmo-CLAP: one loss over passes and processes, resumption, zero-shot, cached features."""

import dataclasses
import functools
import json
import math
from collections import Counter
from pathlib import Path

import pytest
import torch
import toy_gemoclap as toy
import toy_update
from safetensors.torch import load_file
from sertools.brains.attributes import attribute_labels
from sertools.brains.best import read_description
from sertools.brains.distributed import Ranks
from sertools.brains.gemoclap_best import CLASSES, load_classifier, read_classes
from sertools.brains.true_batch import gathered
from sertools.data.spoken import BalancedBatches
from sertools.errors import ConfigError, DataError
from sertools.models.presets import build_encoder
from test_resume import assert_equal, result_of
from toy import TINY, train_in_pieces
from toy_update import all_graphs_at_once, assert_close_gradients, assert_equal_gradients

OBJECTIVES = [{"model": "emo"}, {"model": "ml", "alpha": 0.7}, {"model": "sl", "alpha": 0.7},
              toy.SEPARATE, {"soft_source": "annotators", "target": "row_normalised"}]
update_of = functools.partial(toy_update.update_of, toy.trainer)


@pytest.mark.parametrize("settings", [
    *OBJECTIVES, {"precision": "bf16"}, {"text_encode": "per_item"},
    {"text_encode": "per_item", **toy.SEPARATE},
    {"prompts": {"high": ["a high voice", "shrill"], "low": "deep"}},
], ids=str)
def test_several_passes_are_one_batch_with_dropout_too(work_of, settings):
    found, said = update_of(work_of(), seconds=0.8, **settings)
    wanted, told = update_of(work_of(), all_graphs_at_once, seconds=0.8, **settings)
    assert said == pytest.approx(told.item(), abs=1e-6)
    assert {"log_scales"} < set(found) and any("encoders.text" in name for name in found)
    assert_equal_gradients(found, wanted)


@pytest.mark.parametrize("settings", [{"model": "emo"}, {"model": "ml"}, {"model": "sl"}], ids=str)
def test_the_number_of_passes_changes_nothing_without_dropout(work_of, settings):
    cut, said = update_of(work_of(), seconds=0.4, **settings, **toy.STILL)
    whole, told = update_of(work_of(), **settings, **toy.STILL)
    assert said == pytest.approx(told, abs=1e-5)
    assert_close_gradients(cut, whole)


@pytest.mark.parametrize("settings", [{}, toy.SEPARATE, {"prompts": ["{emotion}", "a {emotion}"]}],
                         ids=str)
def test_each_prompt_once_or_per_utterance_is_the_same_without_dropout(work_of, settings):
    once, said = update_of(work_of(), **settings, **toy.STILL)
    each, told = update_of(work_of(), text_encode="per_item", **settings, **toy.STILL)
    assert said == pytest.approx(told, abs=1e-6)
    assert_close_gradients(each, once)


def test_prompts_have_one_dropout_per_step_and_leave_the_generator_alone(work_of):
    def embeddings(brain, batch):
        states, found = [], []
        for step, generator in ((0, 1), (0, 2), (1, 1)):
            torch.manual_seed(generator)
            brain.progress.step = step
            found.append(brain.found(batch, brain.raw_model, True).shared[0])
            states.append(torch.get_rng_state())
        torch.manual_seed(1)
        brain.raw_model.embed_audio(batch.inputs, batch.lengths)
        assert torch.equal(states[0], torch.get_rng_state())
        return found

    first, same, later = update_of(work_of(), embeddings)
    assert torch.equal(first, same) and not torch.allclose(first, later, atol=1e-3)


def test_the_average_of_prompts_by_hand(work_of):
    def both(brain, batch):
        brain.raw_model.eval()
        (prompts,) = brain.prompts
        vectors = brain.raw_model.embed_text(*prompts.flat())
        return prompts, vectors, brain.class_embeddings()

    said = {"high": ["a high voice", "shrill"], "low": "deep"}
    prompts, vectors, classes = update_of(work_of(), both, prompts=said)
    by_hand = vectors[0] + vectors[1]
    assert torch.allclose(classes[0], by_hand / by_hand.norm(), atol=1e-6)
    assert torch.allclose(classes[1], vectors[2], atol=1e-6)
    assert prompts.weights.tolist() == [[0.5, 0.5], [1.0, 0.0]]


def test_one_process_gathers_its_own():
    rows, targets = [torch.randn(3, 2), torch.randn(3, 4)], torch.arange(3)
    found, truth, mine = gathered(rows, targets, Ranks())
    assert all(map(torch.equal, found, rows)) and truth.tolist() == [0, 1, 2]
    assert mine == slice(0, 3)


def test_shares_of_processes_meet_in_their_order():
    class Two(Ranks):
        """The second of two processes; what both have is added up by hand."""

        def __init__(self, others):
            super().__init__()
            self.rank, self.world_size, self.others = 1, 2, iter(others)

        def gather(self, value):
            return [2, value]

        def sum(self, tensor):
            return tensor + torch.cat([next(self.others), torch.zeros_like(tensor[2:])])

    others = [torch.ones(2, 2), torch.full((2,), 7)]
    (found,), truth, mine = gathered([torch.full((3, 2), 5.0)], torch.arange(3), Two(others))
    assert found[:, 0].tolist() == [1, 1, 5, 5, 5] and truth.tolist() == [7, 7, 0, 1, 2]
    assert mine == slice(2, 5)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(root, tmp_path):
    toy_update.run_on_two(toy.__file__, root, tmp_path / "two")
    toy.main(root, tmp_path / "one", 1)
    for name in ("unique", "per_item", "balanced"):
        one, two = (load_file(tmp_path / many / name / "best" / "model.safetensors")
                    for many in ("one", "two"))
        lines = [json.loads((tmp_path / many / name / "metrics.jsonl").read_text().splitlines()[0])
                 for many in ("one", "two")]
        assert lines[0]["train"]["loss"] == pytest.approx(lines[1]["train"]["loss"], abs=1e-5)
        assert all(torch.allclose(one[key], two[key], atol=2e-3) for key in one)


# --- learning, resumption, the best model ------------------------------------------------------


def test_it_learns_and_needs_neither_text_nor_gender_in_the_test(work_of):
    work = work_of()
    made = toy.trainer(epochs=12)
    made.fit(work)
    assert all(path.is_file() for path in made.artefacts(work))
    test = sorted(work.manifest)[16:]
    assert all(work.manifest[id].gender is None and work.manifest[id].text is None for id in test)
    said = made.predict(work, test)
    assert sum(p.prediction == p.reference for p in said) >= 9
    assert all(sum(p.probabilities) == pytest.approx(1) for p in said)


@pytest.mark.parametrize("settings", [
    toy.SEPARATE, pytest.param({"text_encode": "per_item", "sampler": "balanced"},
                               marks=pytest.mark.slow),
], ids=str)
def test_stopped_anywhere_it_ends_the_same(work_of, settings):
    made = functools.partial(toy.trainer, **settings)
    made().fit(work_of("whole"))
    stops = train_in_pieces(made, functools.partial(work_of, "pieces"), [1, 3, 2])
    assert stops == 3
    folder = work_of("whole").folder
    assert_equal(result_of(folder), result_of(folder.with_name("pieces")))
    assert torch.equal(*(load_file(path / "best" / CLASSES)["embeddings"]
                         for path in (folder, folder.with_name("pieces"))))


def test_the_best_model_needs_no_text_encoder(work_of):
    work = work_of()
    made = toy.trainer()
    made.fit(work)
    best = work.folder / "best"
    classifier = load_classifier(best, build_encoder(**TINY))
    assert not any("encoders.text" in name for name, _ in classifier.named_parameters())
    assert read_classes(best)[0] == work.classes
    inputs = made._inputs(work, Ranks())
    dataset = inputs.dataset(work.dev, None, False)
    for index, said in enumerate(made.predict(work, work.dev)):
        wave = dataset[index].inputs[None]
        found = classifier(wave, torch.tensor([wave.shape[1]])).softmax(-1)
        assert found[0].tolist() == pytest.approx(said.probabilities, abs=1e-5)
    about = read_description(best)
    assert about["prompts"] == {"high": ["a high voice"], "low": ["a low voice"]}
    assert about["attribute"] == "gender" and 1 <= about["scales"]["audio"] <= 100
    assert 0.05 <= about["temperature"] <= 20
    with pytest.raises(ConfigError, match="not that of"):
        load_classifier(best, build_encoder(**{**TINY, "dim": 8}))


def test_scales_stay_where_they_learn(work_of):
    def drift(brain, batch):
        with torch.no_grad():
            brain.raw_model.log_scales.copy_(torch.tensor([9.0, -2.0]))
        brain.after_step()
        return brain.raw_model.log_scales.tolist()

    assert update_of(work_of(), drift) == pytest.approx([math.log(100), 0.0])


def test_a_frozen_text_encoder_reads_the_prompts_once(work_of, monkeypatch):
    calls = []
    kind = type(toy.STILL["text"](300))
    inner = kind.encode
    monkeypatch.setattr(kind, "encode", lambda self, tokens, valid: (
        calls.append(len(tokens)), inner(self, tokens, valid))[1])
    work = work_of()
    toy.trainer(freeze=["text"], epochs=2).fit(work)
    assert calls == [2]
    names = load_file(work.folder / "best" / "model.safetensors")
    assert any("text_head" in name for name in names)
    assert not any("encoders.text" in name for name in names)


# --- start -------------------------------------------------------------------------------------


def test_zero_shot_scores_other_classes_without_training(work_of):
    first = work_of("first")
    made = toy.trainer(epochs=12)
    made.fit(first)
    best = first.folder / "best"
    work = work_of("second", classes=["low", "high", "other"])
    zero = toy.trainer(start=str(best), epochs=0, prompts={
        "low": "a low voice", "high": "a high voice", "other": "somebody else"})
    zero.fit(work)
    before, after = (load_file(unit.folder / "best" / "model.safetensors")
                     for unit in (first, work))
    assert all(torch.equal(before[name], after[name]) for name in before)
    ids = sorted(work.manifest)[16:]
    for one, other in zip(made.predict(first, ids), zero.predict(work, ids), strict=True):
        high, low = one.probabilities
        odds = other.probabilities[1] / other.probabilities[0]
        assert odds == pytest.approx(high / low, rel=0.01)
    line = json.loads((work.folder / "metrics.jsonl").read_text())
    assert line["epoch"] == 0 and line["dev"]["UA"] is not None


def test_training_goes_on_from_a_start(work_of):
    first, work = work_of("first"), work_of("second")
    toy.trainer(epochs=12, model="emo").fit(first)
    toy.trainer(start=str(first.folder / "best"), epochs=1, lr=1e-5, encoder_lr=1e-5,
                **toy.SEPARATE).fit(work)
    before, after = (load_file(unit.folder / "best" / "model.safetensors")
                     for unit in (first, work))
    assert all(torch.allclose(before[name], after[name], atol=1e-3) for name in before)
    assert "attribute_log_scales" in after and "attribute_log_scales" not in before


@pytest.mark.parametrize("changes, problem", [
    ({"dim": 8}, "audio_head.2.weight: [12, 12] in the file, [8, 8] in the model"),
    ({"audio": functools.partial(build_encoder, **{**TINY, "num_layers": 2})},
     "weights such as encoders.audio.blocks.1."),
    ({"freeze": ["text"]}, None),  # its weights are in the file, whatever is frozen now
], ids=("dim", "blocks", "frozen"))
def test_a_start_of_other_sizes_is_refused(work_of, changes, problem):
    work = work_of("first")
    toy.trainer(epochs=1).fit(work)
    again = toy.trainer(start=str(work.folder / "best"), epochs=0, **changes)
    if problem is None:
        again.fit(work_of("second"))
        return
    with pytest.raises(ConfigError, match="does not fit") as caught:
        again.fit(work_of("second"))
    assert any(problem in found for found in caught.value.problems)


def test_a_start_on_top_of_other_frozen_weights_is_refused(work_of):
    work = work_of("first")
    toy.trainer(epochs=1, freeze=["text"]).fit(work)
    settings = {"start": str(work.folder / "best"), "epochs": 0}
    toy.trainer(**settings).fit(work_of("second"))  # the same seed draws the same encoder
    with pytest.raises(ConfigError, match="does not fit") as caught:
        toy.trainer(**settings).fit(work_of("third", seed=4))
    assert "trained on top of" in caught.value.problems[0]


# --- cached features, samplers, attributes -----------------------------------------------------


def test_layers_between_the_blocks_are_not_the_final_output(root, work_of):
    work = work_of(features=next((root / "features").iterdir()))
    with pytest.raises(ConfigError, match="feature cache") as caught:
        toy.trainer(inputs="features", audio=None, layers="last").fit(work)
    assert caught.value.problems == ["cached: 0, 1"]
    assert "feature_layers: last" in caught.value.remedy


@pytest.mark.parametrize("layers", [-1, "weighted_sum"])
def test_cached_features_train_heads_and_text(root, work_of, layers):
    work = work_of(features=next((root / "features").iterdir()), data_folder=Path("nowhere"))
    made = toy.trainer(inputs="features", audio=None, layers=layers, epochs=20, batch=16)
    made.fit(work)
    names = load_file(work.folder / "best" / "model.safetensors")
    assert not any("encoders.audio" in name for name in names)
    said = made.predict(work, sorted(work.manifest)[16:])
    assert sum(p.prediction == p.reference for p in said) >= 8
    classifier = load_classifier(work.folder / "best")
    dataset = made._inputs(work, Ranks()).dataset([said[0].id], None, False)
    found = classifier(dataset[0].inputs[None], torch.tensor([1])).softmax(-1)[0]
    assert found.tolist() == pytest.approx(said[0].probabilities, abs=1e-5)


@pytest.mark.parametrize("world", [1, 3])
def test_balanced_batches_have_equal_shares_for_any_number_of_processes(world):
    labels = [0] * 40 + [1] * 10 + [2] * 5
    samplers = [BalancedBatches(labels, [1.0 + n % 7 for n in range(55)], 16, 3, rank, world)
                for rank in range(world)]
    alone = BalancedBatches(labels, [1.0 + n % 7 for n in range(55)], 16, 3)
    drawn = Counter()
    for epoch in (1, 2):
        for sampler in (alone, *samplers):
            sampler.set_epoch(epoch)
        for update, *parts in zip(alone, *samplers, strict=True):
            assert sorted(sum(parts, [])) == sorted(update)
            counts = Counter(labels[index] for index in update)
            assert max(counts.values()) - min(counts.values()) <= 1 and len(counts) == 3
            drawn.update(update)
    assert max(drawn[index] for index in range(40)) <= 2
    assert len(list(alone)) == len(alone) == 4


def test_attributes_are_gender_speaker_or_dealt_out(work_of):
    work = work_of()
    genders, names = attribute_labels("gender", work.manifest, work.train, 1)
    assert names == ["female", "male"]
    assert all(names[genders[id]] == work.manifest[id].gender for id in work.train)
    dealt = [attribute_labels("gender_shuffled", work.manifest, ids, seed)[0]
             for ids, seed in ((work.train, 1), (work.train[::-1], 1), (work.train, 2))]
    assert dealt[0] == dealt[1] != dealt[2] and dealt[0] != genders
    assert Counter(dealt[0].values()) == Counter(genders.values())
    speakers, names = attribute_labels("speaker", work.manifest, work.train, 1)
    assert all(names[speakers[id]] == work.manifest[id].speaker for id in work.train)


def test_votes_are_the_shares_of_the_classes(work_of):
    work = work_of()
    made = toy.trainer(soft_source="annotators")
    targets = {id: work.classes.index(work.manifest[id].label) for id in work.train}
    dataset = made._inputs(work, Ranks()).dataset(work.train, targets, True)
    assert work.manifest["toy-u01"].tags["votes"] == "high=2;low=1;odd=2"
    assert dataset.targets["toy-u01"].tolist() == pytest.approx([1, -1, 2 / 3, 1 / 3])


def test_missing_attributes_are_refused(work_of):
    work = work_of()
    for number in (3, 5):
        id = work.train[number]
        work.manifest[id] = dataclasses.replace(work.manifest[id], gender=None)
    with pytest.raises(DataError, match="no gender") as caught:
        toy.trainer().fit(work)
    assert caught.value.problems == [f"toy-u{n:02d}: no gender" for n in (3, 5)]
    toy.trainer(model="emo", epochs=1).fit(work)
