"""Emotion prediction in conversation from text: what is read, what joins it, what is told."""

import dataclasses
import functools
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import test_conversation as turns
import tiny_models
import torch
from hyperpyyaml import load_hyperpyyaml
from sertools.brains import conversation_texts
from sertools.brains.conversation_contexts import contexts_of
from sertools.data.feature_cache import FeatureCache
from sertools.errors import ConfigError, DataError, Interrupted
from sertools.models.text import load_text, small_text
from sertools.scoring.predictions import read_predictions, write_predictions
from test_conversation import best_of, held_out, make_features, make_manifest, make_work
from test_resume import assert_equal, result_of

WORDS = ["so be it", "why me", "oh joy"]
"""What is said with each emotion."""


def spoken(manifest, seed=1, silent=0, telling=True):
    """Return the manifest with texts that tell the emotion, or nothing; some turns have none."""
    draw = random.Random(seed)
    return {id: dataclasses.replace(record, text=None if number < silent else " ".join([
                WORDS[int(record.tags["emotion"]) if telling else draw.randrange(3)],
                *draw.choices(["well", "um"], k=draw.randrange(3))]))
            for number, (id, record) in enumerate(manifest.items())}


def deaf(folder: Path, manifest) -> Path:
    """Write features that tell nothing."""
    draw = torch.Generator().manual_seed(9)
    return make_features(folder, manifest, **{
        id: torch.randn(2, 3, turns.DIM, generator=draw) for id in manifest})


def small(encoder: Path, **changes):
    values = {"modality": "speech_text", "projection": 5, "max_tokens": 48,
              "text": functools.partial(load_text, source=str(encoder))}
    return turns.small(**{**values, **changes})


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_models.save("roberta-base", tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def manifest():
    return spoken(make_manifest(), silent=3)


@pytest.fixture(scope="module")
def features(manifest, tmp_path_factory):
    return make_features(tmp_path_factory.mktemp("cache") / "features", manifest)


@pytest.fixture
def work_of(tmp_path, features, manifest):
    def make(name="unit", **changes):
        return make_work(tmp_path / name, **{"features": features, "manifest": manifest} | changes)

    return make


# ------------------------------------------------------------------------ what is computed


@pytest.mark.parametrize("modality", ["text", "speech_text"])
def test_equals_a_loop_over_turns_and_texts(work_of, manifest, features, encoder, modality):
    from transformers import AutoModel, AutoTokenizer

    work = work_of()
    trainer = small(encoder, modality=modality, epochs=1)
    trainer.fit(work)
    found = trainer.predict(work, held_out(manifest))
    cache, weights = FeatureCache(features), best_of(work)
    reader = AutoModel.from_pretrained(encoder, add_pooling_layer=False).eval()
    words = AutoTokenizer.from_pretrained(encoder)
    contexts = contexts_of(manifest, 6)
    assert len(found) == 8
    for item in found:
        rows = []
        for before in contexts[item.id]:
            tokens = words(manifest[before].text or "", return_tensors="pt")
            with torch.no_grad():
                said = reader(**tokens).last_hidden_state[0].mean(0)
            heard = cache.get(before)[-1].float().mean(0)
            parts = [said] if modality == "text" else [heard, said]
            rows.append(torch.cat([
                weights[f"projections.{n}.weight"] @ part + weights[f"projections.{n}.bias"]
                for n, part in enumerate(parts)]))
        for layer in range(2):
            cell, state = torch.nn.GRUCell(rows[0].numel(), 8), torch.zeros(8)
            cell.load_state_dict({name: weights[f"recurrent.{name}_l{layer}"]
                                  for name, _ in cell.named_parameters()})
            rows = [state := cell(row, state) for row in rows]
        outputs = weights["output.weight"] @ rows[-1] + weights["output.bias"]
        assert item.probabilities == pytest.approx(outputs.softmax(0).tolist(), abs=1e-5)


@pytest.mark.parametrize("telling", ["speech", "text"])
def test_learns_from_whichever_tells(work_of, tmp_path, encoder, telling):
    known = spoken(make_manifest(dialogues=24), telling=telling == "text")
    cache = (make_features if telling == "speech" else deaf)(tmp_path / "features", known)
    parts = [[id for id in known if int(known[id].session[1:]) in numbers]
             for numbers in (range(20), range(20, 21), range(21, 24))]
    right = {}
    for modality in ("speech", "text", "speech_text"):
        work = work_of(modality, manifest=known, features=cache, train=parts[0], dev=parts[1])
        trainer = small(encoder, modality=modality, hidden=16, projection=16, epochs=12,
                        max_batch=16, lr=2e-2, dropout=0.0, context_turns=2)
        trainer.fit(work)
        found = [item.prediction == item.reference for item in trainer.predict(work, parts[2])
                 if int(known[item.id].tags["turn"]) >= 2]
        right[modality] = sum(found) / len(found)
    other = {"speech": "text", "text": "speech"}[telling]
    assert right[telling] > 0.9 and right["speech_text"] > 0.9 and right[other] < 0.6, right


# -------------------------------------------------------------------------- what is read


def test_the_text_of_the_turn_to_predict_is_never_read(work_of, manifest, encoder):
    last = {record.tags["dialogue"]: id for id, record in
            sorted(manifest.items(), key=lambda item: int(item[1].tags["turn"]))}
    other = {id: dataclasses.replace(record, text="something else entirely")
             if id in last.values() else record for id, record in manifest.items()}
    results = []
    for work in (work_of("one"), work_of("other", manifest=other)):
        trainer = small(encoder)
        trainer.fit(work)
        results.append((best_of(work), trainer.predict(work, held_out(manifest))))
    (one, said), (two, also) = results
    assert all(torch.equal(one[name], two[name]) for name in one) and said == also
    assert last["d5"] in {item.id for item in said}


def test_a_text_matters_for_the_turns_after_it_alone(work_of, manifest, encoder):
    work = work_of()
    trainer = small(encoder, modality="text", epochs=1)
    trainer.fit(work)
    numbers = {int(manifest[id].tags["turn"]): id for id in held_out(manifest)}
    other = dict(manifest)
    other[numbers[3]] = dataclasses.replace(manifest[numbers[3]], text="zzz qqq")
    before, after = ({item.id: torch.tensor(item.probabilities) for item in
                      trainer.predict(dataclasses.replace(work, manifest=each), numbers.values())}
                     for each in (manifest, other))
    differ = {number for number, id in numbers.items()
              if id in before and not torch.allclose(before[id], after[id], atol=1e-6)}
    assert differ == {5, 6, 7, 8}  # not 3 itself; 4 and 9 have no class


def test_each_text_is_encoded_once_for_all_folds_and_parts(work_of, manifest, encoder, monkeypatch):
    calls, encode = [], conversation_texts._encode
    monkeypatch.setattr(conversation_texts, "_HELD", {})
    monkeypatch.setattr(conversation_texts, "_encode",
                        lambda *rest: calls.append(rest[2]) or encode(*rest))
    for name in ("one", "two"):
        trainer = small(encoder, epochs=1)
        trainer.fit(work_of(name))
        trainer.predict(work_of(name), held_out(manifest))
    assert len(calls) == 1 and len(set(calls[0])) == len(calls[0])


def test_text_alone_needs_no_features(work_of, manifest, features, encoder):
    results = []
    for name, cache in (("with", features), ("without", None)):
        work = work_of(name, features=cache)
        trainer = small(encoder, modality="text")
        trainer.fit(work)
        results.append((best_of(work), trainer.predict(work, held_out(manifest))))
    assert results[0][1] == results[1][1]
    with pytest.raises(ConfigError, match="no feature cache"):
        small(encoder).fit(work_of("deaf", features=None))


# -------------------------------------------------------------------------- what is told


def test_results_name_the_encoder_and_count_turns_without_text(work_of, manifest, encoder):
    said, work = [], work_of()
    work.say = said.append
    trainer = small(encoder, max_tokens=14)
    trainer.fit(work)
    notes = json.loads((work.folder / "cost.json").read_text())["notes"]
    best = json.loads((work.folder / "best" / "best.json").read_text())["text_encoder"]
    assert best["source"] == str(encoder) and best["weights"][:12] in notes[0]
    assert notes[0].startswith(f"texts as means over the tokens of {encoder}, frozen: 0.0")
    contexts = contexts_of(manifest, 6)
    heard = {before for context in contexts.values() for before in context}
    silent = sum(manifest[id].text is None for id in heard)
    long = sum(len((manifest[id].text or "").encode()) + 2 > 14 for id in heard)
    assert silent and long
    assert notes[1] == f"{silent} of {len(heard)} utterances have no transcript"
    assert notes[2].startswith(f"{long} of {len(heard)} texts are longer")
    assert set(notes) <= set(said)


def test_a_recogniser_may_have_written_the_texts(work_of, manifest, encoder, tmp_path):
    file = tmp_path / "heard.jsonl"
    file.write_text("".join(json.dumps({"id": id, "text": record.text or ""}) + "\n"
                            for id, record in manifest.items()))
    results = []
    for name, more in (("corpus", {}),
                       ("file", {"transcripts": str(file), "transcripts_model": "an ear"})):
        trainer, work = small(encoder, **more), work_of(name)
        trainer.fit(work)
        results.append(trainer.predict(work, held_out(manifest)))
    assert results[0] == results[1]
    notes = json.loads((work.folder / "cost.json").read_text())["notes"]
    assert "texts recognised by an ear" in notes and any("word error rate is 0.0" in note
                                                         for note in notes)


def test_a_corpus_without_texts_is_refused(work_of, encoder):
    silent = make_manifest()
    with pytest.raises(DataError, match="None of 60 utterances has a text"):
        small(encoder, modality="text").fit(work_of(manifest=silent))


# ------------------------------------------------------------------------------ training


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_stopped_at_any_step_ends_the_same(toy, work_of, encoder, precision):
    make = functools.partial(small, encoder)
    make().fit(work_of("whole", precision=precision))
    pieces = functools.partial(work_of, "pieces", precision=precision)
    assert toy.train_in_pieces(make, pieces, [1, 2, 5, 3]) == 4
    assert_equal(*(result_of(work_of(name).folder) for name in ("whole", "pieces")))


def test_another_text_encoder_neither_goes_on_nor_predicts(toy, work_of, manifest, encoder,
                                                           tmp_path):
    other = tiny_models.save("distilbert-base-uncased", tmp_path)
    with pytest.raises(Interrupted):
        small(encoder).fit(work_of(should_stop=toy.stop_after(2)))
    with pytest.raises(ConfigError, match="text_encoder"):
        small(other).fit(work_of())
    small(encoder).fit(work_of())
    with pytest.raises(ConfigError, match="another text encoder"):
        small(other).predict(work_of(), held_out(manifest))


def test_speech_alone_does_not_ask_for_settings_of_text(toy, work_of, encoder):
    with pytest.raises(Interrupted):
        turns.small().fit(work_of("pieces", should_stop=toy.stop_after(2)))
    small("/nowhere", modality="speech").fit(work_of("pieces"))
    turns.small().fit(work_of("whole"))
    assert_equal(*(result_of(work_of(name).folder) for name in ("whole", "pieces")))


@pytest.mark.slow
def test_two_ranks_predict_as_one(tmp_path, work_of, manifest, features, encoder):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    places = os.pathsep.join(str(Path(each.__file__).parent) for each in (turns, tiny_models))
    done = subprocess.run(
        [*command, __file__, str(tmp_path / "unit"), str(features), str(encoder)], timeout=200,
        capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": places})
    assert done.returncode == 0, done.stderr
    together = read_predictions(tmp_path / "unit" / "predictions.jsonl")
    alone = small(encoder).predict(work_of(), held_out(manifest))
    assert [item.id for item in together] == [item.id for item in alone] and len(alone) == 8
    for one, other in zip(alone, together, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)
    assert len((tmp_path / "unit/metrics.jsonl").read_text().splitlines()) == 3


# ------------------------------------------------------------------------------- options


def test_options_of_text_that_cannot_be_meant(encoder):
    with pytest.raises(ConfigError) as caught:
        small(encoder, modality="sight", projection=0, max_tokens=0)
    assert len(caught.value.problems) == 3
    for text in (None, functools.partial(small_text, dim=8)):
        with pytest.raises(ConfigError) as caught:
            small(encoder, text=text)
        assert "must be pretrained" in caught.value.problems[0]


def test_the_shared_block_reads_with_one_option(work_of, manifest, encoder):
    text = (f"trainer: !include:{turns.YAML}\n    epochs: 1\n    modality: speech_text\n"
            f"    text:\n        source: {encoder}\n")
    trainer = load_hyperpyyaml(text)["trainer"]
    work = work_of()
    trainer.fit(work)
    assert len(trainer.predict(work, held_out(manifest))) == 8
    assert best_of(work)["recurrent.weight_ih_l0"].shape == (3 * 256, 2 * 256)


def main(folder: Path, features: Path, encoder: Path) -> None:
    """Train and predict in a process of its own, one of two."""
    manifest = spoken(make_manifest(), silent=3)
    rank = int(os.environ["RANK"])
    work = make_work(folder, features, manifest, rank=rank, world_size=2)
    trainer = small(encoder)
    trainer.fit(work)
    found = trainer.predict(work, held_out(manifest))
    if rank == 0:
        write_predictions(folder / "predictions.jsonl", found)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
