"""Sound and words: the concordance of the true batch, resumption, honest selection, refusals."""

import dataclasses
import functools
import json
from pathlib import Path

import pytest
import torch
import toy_spoken as toy
import toy_update
from safetensors.torch import load_file
from sertools.brains.audio_text import Ratings
from sertools.brains.true_batch import passes
from sertools.data.spoken import SpokenBatch, TrueBatches, collate_spoken
from sertools.errors import ConfigError, DataError, Interrupted
from sertools.models.text import small_text
from sertools.scoring.dimensions import dimensional_scores
from speechbrain.core import Stage
from test_resume import assert_equal, result_of
from toy import stop_after, train_in_pieces
from toy_update import all_graphs_at_once, assert_close_gradients, assert_equal_gradients

update_of = functools.partial(toy_update.update_of, toy.trainer)


def best_of(work):
    return load_file(work.folder / "best" / "model.safetensors")


def scores_of(made, work, ids):
    said = made.predict(work, ids)
    return dimensional_scores([p.reference for p in said], [p.prediction for p in said])


# --- the true batch ----------------------------------------------------------------------------


@pytest.mark.parametrize("precision, fusion, loss", [
    ("fp32", "concat", "ccc"), ("bf16", "concat", "ccc+mse"), ("fp32", "cross_attention", "ccc"),
])
def test_several_passes_are_one_batch_with_dropout_too(work_of, precision, fusion, loss):
    settings = {"precision": precision, "fusion": fusion, "loss": loss, "seconds": 0.8}
    found, said = update_of(work_of(), **settings)
    wanted, told = update_of(work_of(), ready=all_graphs_at_once, **settings)
    assert said == pytest.approx(told.item(), abs=1e-6)
    assert_equal_gradients(found, wanted)


def test_the_number_of_passes_changes_nothing_without_dropout(work_of):
    cut, said = update_of(work_of(), seconds=0.4, **toy.STILL)
    whole, told = update_of(work_of(), **toy.STILL)
    assert said == pytest.approx(told, abs=1e-5)
    assert_close_gradients(cut, whole)


def test_passes_of_their_own_would_be_another_loss(work_of):
    """What the gradient caching is for: the mean of the passes' concordances is not the batch's."""

    def pass_by_pass(brain, batch):
        total = 0
        for part in passes(batch, brain.samples):
            (outputs,), _ = brain.compute_forward(part, Stage.TRAIN)
            total += float(brain.task.loss(outputs, part.targets)) * len(part) / len(batch)
        return total

    _, loss = update_of(work_of(), seconds=0.4, **toy.STILL)
    naive = update_of(work_of(), seconds=0.4, ready=pass_by_pass, **toy.STILL)
    assert abs(naive - loss) > 1e-3


def test_a_step_changes_the_generator_as_one_round_does(work_of):
    states = []
    for ready in (None, all_graphs_at_once):
        update_of(work_of(), seconds=0.8, ready=ready)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_the_loss_by_hand():
    outputs, truth = torch.randn(12, 2).double(), torch.rand(12, 2).double()
    by_hand = {"ccc": 0.0, "mse": 0.0}
    for x, y in zip(outputs.T.tolist(), truth.T.tolist(), strict=True):
        a, b = sum(x) / 12, sum(y) / 12
        cov = sum((u - a) * (v - b) for u, v in zip(x, y, strict=True)) / 12
        va, vb = sum((u - a) ** 2 for u in x) / 12, sum((v - b) ** 2 for v in y) / 12
        by_hand["ccc"] += 1 - 2 * cov / (va + vb + (a - b) ** 2)
        by_hand["mse"] += sum((u - v) ** 2 for u, v in zip(x, y, strict=True)) / 12
    by_hand["ccc+mse"] = by_hand["ccc"] + by_hand["mse"]
    for kind, value in by_hand.items():
        task = Ratings(["arousal", "valence"], [1, 5], kind)
        assert float(task.loss(outputs, truth)) == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("count, batch, world", [(33, 16, 1), (9, 8, 1), (100, 32, 3), (17, 8, 2)])
def test_updates_hold_everything_once_whatever_the_ranks(count, batch, world):
    seconds = [1.0 + (7 * n % 5) for n in range(count)]
    alone = TrueBatches(seconds, batch, seed=1)
    shares = [TrueBatches(seconds, batch, 1, rank, world) for rank in range(world)]
    for sampler in (alone, *shares):
        sampler.set_epoch(2)
    updates = list(alone)
    assert sorted(sum(updates, [])) == list(range(count))
    assert all(len(update) >= 8 for update in updates)
    assert max(map(len, updates)) - min(map(len, updates)) <= 1
    for update, *parts in zip(updates, *shares, strict=True):
        assert sorted(sum(parts, [])) == sorted(update) and all(parts)
        for part in parts:
            assert [seconds[i] for i in part] == sorted((seconds[i] for i in part), reverse=True)


def test_a_part_has_no_needless_padding():
    batch = SpokenBatch(["a", "b", "c"], torch.randn(3, 10), torch.tensor([10, 6, 4]),
                        torch.rand(3, 2), torch.randint(9, (3, 5)), torch.tensor([2, 3, 5]))
    one, two = passes(batch, 12)
    assert one.ids == ["a"] and one.inputs.shape == (1, 10) and one.words.shape == (1, 2)
    assert two.ids == ["b", "c"] and two.inputs.shape == (2, 6) and two.words.shape == (2, 5)
    assert torch.equal(two.targets, batch.targets[1:])


@pytest.mark.slow
def test_two_processes_learn_what_one_does(root, tmp_path):
    toy_update.run_on_two(toy.__file__, root, tmp_path / "two")
    toy.main(root, tmp_path / "one", 1)
    one, two = (load_file(tmp_path / name / "best" / "model.safetensors")
                for name in ("one", "two"))
    lines = [json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[0])
             for name in ("one", "two")]
    assert lines[0]["train"]["loss"] == pytest.approx(lines[1]["train"]["loss"], abs=1e-4)
    assert all(torch.allclose(one[name], two[name], atol=2e-3) for name in one)


# --- learning ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fusion", [
    "concat", pytest.param("gated", marks=pytest.mark.slow),
    pytest.param("cross_attention", marks=pytest.mark.slow),
])
def test_sound_and_words_give_what_neither_gives_alone(work_of, fusion):
    work = work_of()
    made = toy.trainer(fusion=fusion, epochs=25, lr=1e-2, encoder_lr=1e-2)
    made.fit(work)
    assert all(path.is_file() for path in made.artefacts(work))
    scores = scores_of(made, work, sorted(work.manifest)[16:25])
    assert scores["CCC_arousal"] > 0.6 and scores["CCC_valence"] > 0.6


def test_words_alone_read_no_audio(work_of):
    work = work_of(data_folder=Path("nowhere"))
    made = toy.trainer(fusion="text_only", audio=None, epochs=25, lr=1e-2, encoder_lr=1e-2)
    made.fit(work)
    scores = scores_of(made, work, sorted(work.manifest)[16:25])
    assert scores["CCC_valence"] > 0.8 and abs(scores["CCC_arousal"]) < 0.6


def test_sound_alone_needs_no_words(work_of):
    work = work_of()
    for id, record in work.manifest.items():
        work.manifest[id] = dataclasses.replace(record, text=None)
    made = toy.trainer(fusion="audio_only", text=None, dimensions=["arousal"], epochs=1)
    made.fit(work)
    assert len(made.predict(work, work.dev)) == 5
    assert not any("text" in name for name in best_of(work))


def test_classes_come_for_free(work_of):
    work = work_of()
    made = toy.trainer(task="classification", class_weights="balanced", epochs=6, lr=1e-2,
                       encoder_lr=1e-2)
    made.fit(work)
    said = made.predict(work, sorted(work.manifest)[21:])
    assert sum(p.prediction == p.reference for p in said) >= 4


def test_the_dev_loss_is_that_of_the_whole_part(work_of):
    work = work_of()
    made = toy.trainer(epochs=1, dimensions=["valence"])
    made.fit(work)
    dev = json.loads((work.folder / "metrics.jsonl").read_text())["dev"]
    assert dev["loss"] == pytest.approx(1 - dev["CCC_valence"], abs=1e-5)


def test_a_frozen_text_encoder_reads_every_text_once(work_of, monkeypatch):
    calls = []
    inner = toy.small_text(300).__class__.encode

    def encode(self, tokens, valid):
        calls.append(len(tokens))
        return inner(self, tokens, valid)

    monkeypatch.setattr(toy.small_text(300).__class__, "encode", encode)
    work = work_of()
    made = toy.trainer(freeze=["text"], epochs=3)
    made.fit(work)
    assert sum(calls) == 16 + 5
    assert not any(".text." in name for name in best_of(work))
    said = made.predict(work, work.dev)
    monkeypatch.setattr("sertools.brains.audio_text_inputs.AudioTextInputs._pool",
                        lambda self, dataset: None)
    for one, other in zip(said, made.predict(work, work.dev), strict=True):
        assert one.prediction == pytest.approx(other.prediction, abs=1e-5)


def test_embeddings_alone_stay_as_they_are(work_of):
    work = work_of()
    toy.trainer(freeze=["embeddings"], epochs=1).fit(work)
    names = [name for name in best_of(work) if ".text." in name]
    assert names and not any(".embedding." in name for name in names)


# --- honesty and resumption --------------------------------------------------------------------


def test_stopped_anywhere_it_ends_the_same(work_of):
    toy.trainer().fit(work_of("whole"))
    stops = train_in_pieces(toy.trainer, functools.partial(work_of, "pieces"), [1, 3, 2])
    assert stops == 3
    folder = work_of("whole").folder
    assert_equal(result_of(folder), result_of(folder.with_name("pieces")))


def test_the_test_part_never_matters(work_of):
    honest, corrupted = work_of("honest"), work_of("corrupted")
    for id in sorted(corrupted.manifest)[21:]:
        record = corrupted.manifest[id]
        corrupted.manifest[id] = dataclasses.replace(
            record, arousal=6 - record.arousal, valence=float("nan"), path="missing.wav",
            text="words that nobody else says")
    for work in (honest, corrupted):
        toy.trainer().fit(work)
    one, other = best_of(honest), best_of(corrupted)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_texts_that_changed_are_noticed(work_of):
    with pytest.raises(Interrupted):
        toy.trainer().fit(work_of(should_stop=stop_after(1)))
    work = work_of()
    for id, record in work.manifest.items():
        work.manifest[id] = dataclasses.replace(record, text="something else")
    with pytest.raises(ConfigError, match="tokens"):
        toy.trainer().fit(work)


# --- what is told ------------------------------------------------------------------------------


def test_results_tell_of_transcripts_and_parameters(work_of, tmp_path):
    heard = {id: (record.text or "").replace("good", "hood")
             for id, record in work_of().manifest.items()}
    file = tmp_path / "asr.jsonl"
    file.write_text("".join(json.dumps({"id": id, "text": text}) + "\n"
                            for id, text in [*heard.items(), ("left-out", "of the whole release")]))
    said = []
    work = work_of(say=said.append)
    made = toy.trainer(transcripts=str(file), transcripts_model="toy-asr", epochs=1)
    made.fit(work)
    cost = json.loads((work.folder / "cost.json").read_text())
    assert cost["flags"] == [] and any("toy-asr" in note for note in cost["notes"])
    assert any("transcripts of 1 of 26 utterances are empty" in note for note in cost["notes"])
    words = sum(len(record.text.split()) for record in work.manifest.values() if record.text)
    wrong = sum("good" in (record.text or "") for record in work.manifest.values())
    assert f"{100 * wrong / words:.1f} % on 25 utterances" in cost["notes"][-1]
    counted = cost["parameters"]
    assert f"parameters: {counted['total']:,} in all, {counted['trainable']:,} trained" in said
    assert counted["total"] == sum(value.numel() for value in best_of(work).values())


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value, told", [(None, "None"), (float("nan"), "nan"), (7.0, "7.0")])
def test_ratings_that_are_none_are_refused(work_of, value, told):
    work = work_of()
    id = work.train[2]
    work.manifest[id] = dataclasses.replace(work.manifest[id], valence=value)
    with pytest.raises(DataError, match="scale 1 to 5") as caught:
        toy.trainer().fit(work)
    assert caught.value.problems == [f"{id}: valence is {told}"]


@pytest.mark.parametrize("changes, match", [
    ({"batch": 7}, "batch is 7"), ({"loss": "mae"}, "loss is"), ({"fusion": "sum"}, "fusion is"),
    ({"audio": None}, "audio is missing"), ({"text": None}, "text is missing"),
    ({"freeze": ["head"]}, "freeze is"), ({"scale": None}, "scale is missing"),
    ({"select": "UA"}, "select is"), ({"expect_trainable": [0.2]}, "expect_trainable is"),
    ({"expect_trainable": "20 %"}, "expect_trainable is '20 %'"),
    ({"expect_trainable": 0.2}, "expect_trainable is 0.2"),
    ({"expect_trainable": [0.2, 0]}, "expect_trainable is"), ({"batch": None}, "batch: None"),
    ({"inner": 16.5}, "inner: 16.5"), ({"head_dropout": 1}, "head_dropout is 1"),
    ({"max_tokens": "8"}, "max_tokens: '8'"), ({"tokeniser": True}, "tokeniser is True"),
    ({"lr": None}, "lr: None"), ({"encoder_lr": -1}, "encoder_lr: -1"),
    ({"freeze": [["cnn"]]}, "freeze is"), ({"text": "distilbert"}, "text is 'distilbert'"),
])
def test_options_that_cannot_be_meant_are_refused(changes, match):
    with pytest.raises(ConfigError) as caught:
        toy.trainer(**changes)
    assert any(match in problem for problem in caught.value.problems)


@pytest.mark.parametrize("changes, match", [
    ({"expect_trainable": 12}, "expect_trainable is 12"),
    ({"expect_trainable": [12]}, "expect_trainable is 12"),
    ({"expect_trainable": [0.2, "hubert_large"]}, "0.2 of 315,"),
    ({"freeze": ["cnn"]}, "no convolutions"),
    ({"text": functools.partial(small_text, vocabulary=9)}, "trainer decides"),
    ({"tokeniser": None}, "tokeniser is missing"),
    ({"transcripts": "no.jsonl"}, "name it by model"),
    ({"scale": 5}, "scale is 5"), ({"scale": [1, "x"]}, "scale is"),
    ({"dimensions": ["valence", "valence"]}, "name each once"),
])
def test_models_that_cannot_be_meant_are_refused(work_of, changes, match):
    with pytest.raises(ConfigError) as caught:
        toy.trainer(**changes).fit(work_of())
    assert any(match in text for text in (str(caught.value), *caught.value.problems))


def test_too_few_utterances_are_refused(work_of):
    work = work_of()
    work.train = work.train[:7]
    with pytest.raises(DataError, match="7 utterances"):
        toy.trainer().fit(work)


def test_vectors_and_tokens_become_batches():
    from sertools.data.spoken import SpokenExample

    sound = torch.ones(3)
    batch = collate_spoken([SpokenExample("a", sound, 1, [5, 6]),
                            SpokenExample("b", sound, 0, [7])], padding=9)
    assert batch.words.tolist() == [[5, 6], [7, 9]] and batch.word_lengths.tolist() == [2, 1]
    batch = collate_spoken([SpokenExample("a", sound, 1, torch.ones(4))])
    assert batch.words.shape == (1, 4)
