"""Emotion prediction in conversation: what is context, what is a target, and what is never read."""

import dataclasses
import functools
import inspect
import json
import random
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from safetensors.torch import load_file
from sertools.brains.conversation import ConversationTrainer
from sertools.brains.conversation_contexts import contexts_of
from sertools.brains.work import FoldWork
from sertools.data.feature_shards import shard_path, write_sealed, write_shard
from sertools.data.record import Record
from sertools.errors import ConfigError, DataError, Interrupted
from sertools.scoring.unit import score_unit

CLASSES = ["calm", "cross", "glad"]
YAML = Path(__file__).resolve().parents[2] / "hparams/trainers/conversation.yaml"
DIM = 6


def make_manifest(dialogues=6, turns=11, seed=0) -> dict[str, Record]:
    """Return dialogues in which an emotion follows from the last but one; ids tell no order.

    Every fifth turn has none of the classes.
    """
    draw, manifest = random.Random(seed), {}
    for dialogue in range(dialogues):
        emotions = [draw.randrange(3) for _ in range(2)]
        names = draw.sample(range(turns), turns)
        for turn in range(turns):
            if turn >= 2:
                emotions.append((emotions[turn - 2] + 1) % 3)
            id = f"toy-d{dialogue}n{names[turn]:02d}"
            manifest[id] = Record(
                id=id, path=f"{id}.wav", speaker=f"s{dialogue}{'ab'[turn % 2]}",
                session=f"s{dialogue}", label=None if turn % 5 == 4 else CLASSES[emotions[turn]],
                duration=1.0, audio_hash=f"hash of {id}",
                tags={"dialogue": f"d{dialogue}", "turn": str(turn),
                      "emotion": str(emotions[turn])},
            )  # fmt: skip
    return dict(sorted(manifest.items()))


def make_features(folder: Path, manifest, **changed: torch.Tensor) -> Path:
    """Write a cache by hand: two layers of two or three frames; the last one tells the emotion."""
    draw, tensors = torch.Generator().manual_seed(5), {}
    for number, (id, record) in enumerate(manifest.items()):
        frames = torch.randn(2, 2 + number % 2, DIM, generator=draw) * 0.1
        frames[1, :, int(record.tags["emotion"])] += 1
        tensors[record.audio_hash] = changed.get(id, frames)
    folder.mkdir(parents=True)
    note = write_shard(shard_path(folder, 0), tensors)
    write_sealed(folder / "index.json", {
        "key": {}, "num_layers": 2, "dim": DIM, "frame_rate": 50.0, "shards": [note],
        "utterances": {id: record.audio_hash for id, record in manifest.items()},
    })
    return folder


def make_work(folder: Path, features: Path | None, manifest, **changes) -> FoldWork:
    parts = {name: [id for id, record in manifest.items() if record.session in sessions]
             for name, sessions in (("train", {"s0", "s1", "s2", "s3"}), ("dev", {"s4"}))}
    values = {
        **parts, "manifest": manifest, "classes": CLASSES, "data_folder": Path("/nowhere"),
        "features": features, "folder": folder, "seed": 3, "device": "cpu", "precision": "fp32",
        "num_workers": 0, "should_stop": lambda: False, "say": lambda text: None,
    }
    return FoldWork(**{**values, **changes})


def held_out(manifest) -> list[str]:
    return [id for id, record in manifest.items() if record.session == "s5"]


def small(**changes) -> ConversationTrainer:
    values = {"hidden": 8, "epochs": 3, "max_batch": 9, "lr": 1e-2, "dropout": 0.2,
              "tensorboard": False}
    return ConversationTrainer(**{**values, **changes})


@pytest.fixture(scope="module")
def manifest():
    return make_manifest()


@pytest.fixture(scope="module")
def features(manifest, tmp_path_factory):
    return make_features(tmp_path_factory.mktemp("cache") / "features", manifest)


@pytest.fixture
def work_of(tmp_path, features, manifest):
    def make(name="unit", **changes):
        values = {"features": features, "manifest": manifest} | changes
        return make_work(tmp_path / name, **values)

    return make


def best_of(work):
    return load_file(work.folder / "best" / "model.safetensors")


# ------------------------------------------------------------------------- what is context


@pytest.mark.parametrize("turns", [1, 6, 100])
def test_contexts_are_the_turns_before_in_the_same_dialogue(manifest, turns):
    found = contexts_of(manifest, turns)
    assert found.keys() == manifest.keys()
    for id, record in manifest.items():
        expected = []
        for back in range(turns, 0, -1):  # the slow way: look for every single number
            for other, candidate in manifest.items():
                same = candidate.tags["dialogue"] == record.tags["dialogue"]
                if same and int(candidate.tags["turn"]) == int(record.tags["turn"]) - back:
                    expected.append(other)
        assert found[id] == expected and len(expected) == min(turns, int(record.tags["turn"]))


def test_dialogues_of_the_same_name_in_two_sessions_are_two():
    records = [Record(id=f"toy-{session}{turn}", path="x.wav", session=session,
                      tags={"dialogue": "d", "turn": str(turn)})
               for session in "ab" for turn in (10, 9, 11)]
    found = contexts_of({record.id: record for record in records}, 6)
    assert found["toy-a11"] == ["toy-a9", "toy-a10"] and found["toy-b9"] == []


def change(manifest, id, **tags):
    record = manifest[id]
    return manifest | {id: dataclasses.replace(record, tags={**record.tags, **tags})}


def test_turns_without_a_place_are_listed(manifest):
    first, second, *_ = manifest
    odd = change(change(manifest, first, turn="last"), second, dialogue="")
    with pytest.raises(DataError, match="dialogue") as caught:
        contexts_of(odd, 6)
    assert [text.split(":")[0] for text in caught.value.problems] == [first, second]


def test_a_turn_that_stands_twice_is_refused(manifest):
    first, second, *_ = manifest
    odd = change(manifest, first, turn=manifest[second].tags["turn"])
    with pytest.raises(DataError, match="order of these dialogues") as caught:
        contexts_of(odd, 6, "close")
    (problem,) = caught.value.problems
    assert first in problem and second in problem


def test_gaps_are_refused_or_closed(manifest):
    turn = {record.tags["turn"]: id for id, record in manifest.items()
            if record.tags["dialogue"] == "d2"}
    odd = {id: record for id, record in manifest.items() if id not in (turn["4"], turn["0"])}
    with pytest.raises(DataError, match="gaps: close") as caught:
        contexts_of(odd, 6)
    assert caught.value.problems == ["d2: no turn 0, 4"]
    assert contexts_of(odd, 2, "close")[turn["5"]] == [turn["2"], turn["3"]]


# ----------------------------------------------------------- what is a target, what is read


def test_learns_from_what_was_said_before(work_of, manifest):
    work = work_of()
    trainer = small(hidden=16, epochs=40, lr=2e-2)
    trainer.fit(work)
    assert all(path.is_file() for path in trainer.artefacts(work))
    found = trainer.predict(work, held_out(manifest))
    right = [item.prediction == item.reference for item in found
             if int(manifest[item.id].tags["turn"]) >= 2]
    assert sum(right) / len(right) > 0.9
    for item in found:
        assert item.reference == manifest[item.id].label
        assert item.speaker == manifest[item.id].speaker
        assert sum(item.probabilities) == pytest.approx(1)


def test_targets_have_a_class_and_a_turn_before_them_and_the_rest_is_told(work_of, manifest):
    said = []
    work = work_of(say=said.append)
    trainer = small(epochs=1)
    trainer.fit(work)
    # 11 turns: the first opens the dialogue, turns 4 and 9 have no class
    assert said[0] == ("train: 32 turns to predict; no targets: 8 without a class, "
                       "4 that open their dialogue")
    assert said[1].startswith("dev: 8 turns to predict; no targets: 2 without")
    found = [item.id for item in trainer.predict(work, held_out(manifest))]
    assert found == sorted(id for id in held_out(manifest)
                           if manifest[id].label and manifest[id].tags["turn"] != "0")
    assert said[-1].startswith("predicted: 8 turns")


def test_turns_without_a_class_are_context(work_of, manifest, tmp_path):
    work = work_of()
    trainer = small(epochs=1)
    trainer.fit(work)
    turns = {int(manifest[id].tags["turn"]): id for id in held_out(manifest)}
    assert manifest[turns[4]].label is None
    other = make_features(tmp_path / "other", manifest, **{turns[4]: torch.ones(2, 1, DIM)})
    before, after = ({item.id: item.probabilities for item in trainer.predict(one, turns.values())}
                     for one in (work, dataclasses.replace(work, features=other)))
    differ = {number for number, id in turns.items() if before.get(id) != after.get(id)}
    assert differ == {5, 6, 7, 8, 10}  # turn 9 has no class itself


def test_the_audio_of_the_turn_to_predict_is_never_read(work_of, manifest, tmp_path):
    last = {record.tags["dialogue"]: id for id, record in
            sorted(manifest.items(), key=lambda item: int(item[1].tags["turn"]))}
    noise = {id: torch.full((2, 3, DIM), float("nan")) for id in last.values()}
    spoilt = make_features(tmp_path / "spoilt", manifest, **noise)
    results = []
    for work in (work_of("whole"), work_of("spoilt-unit", features=spoilt)):
        trainer = small()
        trainer.fit(work)
        results.append((best_of(work), trainer.predict(work, held_out(manifest))))
    (one, said), (other, also) = results
    assert all(torch.equal(one[name], other[name]) for name in one) and said == also
    assert last["d5"] in {item.id for item in said}


def test_labels_of_the_context_and_of_the_test_part_never_matter(work_of, manifest):
    work = work_of()
    trainer = small()
    trainer.fit(work)
    known = set(work.train) | set(work.dev)
    wrong = {id: record if id in known or not record.label else
             dataclasses.replace(record, label="glad") for id, record in manifest.items()}
    liar = work_of("liar", manifest=wrong)
    small().fit(liar)
    one, other = best_of(work), best_of(liar)
    assert all(torch.equal(one[name], other[name]) for name in one)
    said, also = (trainer.predict(each, held_out(manifest)) for each in (work, liar))
    assert [item.probabilities for item in said] == [item.probabilities for item in also]


def test_batches_change_nothing_about_a_prediction(work_of, manifest):
    work = work_of()
    small().fit(work)
    ids = list(manifest)
    many = small(max_batch=500).predict(work, ids)
    single = small(max_batch=1).predict(work, ids)
    assert len(many) == 6 * 8
    for one, other in zip(many, single, strict=True):
        assert one.id == other.id
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)


def test_scores_are_the_mean_recall_and_the_mean_f1(work_of, manifest):
    from sklearn.metrics import f1_score, recall_score

    work = work_of()
    trainer = small()
    trainer.fit(work)
    dev, test = (trainer.predict(work, ids) for ids in (work.dev, held_out(manifest)))
    scores = score_unit(dev, test, CLASSES)
    truth, said = ([getattr(item, side) for item in test] for side in ("reference", "prediction"))
    options = {"labels": sorted(set(truth)), "average": "macro", "zero_division": 0}
    assert scores["UA"] == pytest.approx(recall_score(truth, said, **options))
    assert scores["MF1"] == pytest.approx(f1_score(truth, said, **options))
    chosen = json.loads((work.folder / "best" / "best.json").read_text())
    assert scores["dev"]["UA"] == pytest.approx(chosen["dev"]["UA"])


# ------------------------------------------------------------------------------- training


def test_stopped_at_any_step_ends_the_same(toy, work_of):
    small().fit(work_of("whole"))
    stops = toy.train_in_pieces(small, functools.partial(work_of, "pieces"), [1, 2, 5, 3])
    assert stops == 4
    whole, pieces = work_of("whole"), work_of("pieces")
    one, other = best_of(whole), best_of(pieces)
    assert all(torch.equal(one[name], other[name]) for name in one)
    lines = [[json.loads(line) for line in (work.folder / "metrics.jsonl").read_text().splitlines()]
             for work in (whole, pieces)]
    for line in [*lines[0], *lines[1]]:
        line.pop("audio_seconds_per_second")
    assert lines[0] == lines[1] and len(lines[0]) == 3


def test_a_second_call_does_nothing(work_of):
    work = work_of()
    trainer = small(epochs=1)
    trainer.fit(work)
    stamps = [path.stat().st_mtime_ns for path in trainer.artefacts(work)]
    said = []
    trainer.fit(dataclasses.replace(work, say=said.append))
    assert said == [] and stamps == [path.stat().st_mtime_ns for path in trainer.artefacts(work)]


def test_other_settings_do_not_go_on(toy, work_of):
    with pytest.raises(Interrupted):
        small().fit(work_of(should_stop=toy.stop_after(2)))
    with pytest.raises(ConfigError, match="context_turns"):
        small(context_turns=5).fit(work_of())


def test_bfloat16_and_no_dev_part(work_of, manifest):
    work = work_of(precision="bf16", dev=[])
    trainer = small()
    trainer.fit(work)
    assert json.loads((work.folder / "best" / "best.json").read_text())["epoch"] == 3
    assert len(trainer.predict(work, held_out(manifest))) == 8


def test_what_cannot_be_predicted_is_refused(work_of, manifest):
    openers = [id for id, record in manifest.items() if record.tags["turn"] == "0"]
    with pytest.raises(DataError, match="dev: none of 6 turns has a class and a turn before it"):
        small().fit(work_of(dev=openers))
    with pytest.raises(ConfigError, match="no feature cache"):
        small().fit(work_of(features=None))
    newer = make_manifest(dialogues=7)
    with pytest.raises(DataError, match="run stage features again"):
        small().fit(work_of(manifest=newer, train=[id for id in newer if "d6" in id]))


# -------------------------------------------------------------------------------- options


def test_all_mistakes_are_named_at_once():
    with pytest.raises(ConfigError) as caught:
        ConversationTrainer(context_turns=0, hidden=2.5, layers=0, dropout=1.0, gaps="bridge")
    assert len(caught.value.problems) == 5
    with pytest.raises(ConfigError, match="UA, WA, WF1, MF1, loss"):
        ConversationTrainer(select="UAR")


def test_every_argument_is_explained():
    for name in inspect.signature(ConversationTrainer).parameters:
        assert f"        {name}: " in ConversationTrainer.__doc__, name


def test_the_shared_block_builds_it(work_of, manifest):
    trainer = load_hyperpyyaml(f"trainer: !include:{YAML}\n    epochs: 2\n")["trainer"]
    assert trainer.given["context_turns"] == 6
    model = trainer.given["head"](2, DIM, 3)
    assert (model.recurrent.num_layers, model.recurrent.hidden_size) == (2, 256)
    work = work_of()
    trainer.fit(work)
    assert len(trainer.predict(work, held_out(manifest))) == 8
