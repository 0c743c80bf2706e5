"""The classical trainer learns what can be heard, equals scikit-learn, and never reads test."""

import dataclasses
import json
import math

import numpy as np
import pytest
import soundfile
import torch
from sertools.brains import statistics
from sertools.brains.classical import ClassicalTrainer
from sertools.brains.kernel_machine import Logistic, SupportVectors, standardiser
from sertools.brains.work import FoldWork
from sertools.data.record import Record
from sertools.errors import ConfigError, DataError, Interrupted
from sertools.scoring.classification import classification_scores

CLASSES = ["calm", "glad", "cross"]
PITCH = {"calm": 110, "glad": 220, "cross": 160}


def sound(label, speaker, take):
    time = torch.arange(4000) / 16000
    draw = torch.Generator().manual_seed(speaker * 10 + take)
    frequency = PITCH[label] * (1 + 0.05 * speaker) + 3 * take
    voice = sum(torch.sin(2 * math.pi * frequency * n * time) / n for n in range(1, 6))
    return 0.1 * voice + 0.01 * torch.randn(4000, generator=draw)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder, manifest = tmp_path_factory.mktemp("corpus"), {}
    for number, label in enumerate(CLASSES):
        for speaker in range(4):
            for take in range(3):
                id = f"toy-{speaker}{label}{take}"
                soundfile.write(folder / f"{id}.wav", sound(label, speaker, take).numpy(), 16000)
                manifest[id] = Record(
                    id=id, path=f"{id}.wav", label=label, speaker=f"s{speaker}", duration=0.25,
                    audio_hash=f"toy {id}", arousal=1.0 + 2 * number, valence=5.0 - number,
                )  # fmt: skip
    return folder, manifest


@pytest.fixture
def work(corpus, tmp_path):
    folder, manifest = corpus
    parts = [
        [id for id, record in manifest.items() if record.speaker in speakers]
        for speakers in (("s0", "s1"), ("s2",))
    ]
    return FoldWork(
        manifest=manifest, train=parts[0], dev=parts[1], classes=CLASSES, data_folder=folder,
        features=None, folder=tmp_path / "train", seed=1, device="cpu", precision="fp32",
        num_workers=0, should_stop=lambda: False, say=lambda text: None,
    )  # fmt: skip


def held_out(work):
    return [id for id, record in work.manifest.items() if record.speaker == "s3"]


def accuracy(predictions):
    return sum(item.prediction == item.reference for item in predictions) / len(predictions)


@pytest.mark.parametrize("classifier", ["svm", "logistic"])
@pytest.mark.parametrize("per_speaker", [False, True])
def test_learns_what_can_be_heard(work, classifier, per_speaker):
    trainer = ClassicalTrainer(classifier, per_speaker=per_speaker)
    trainer.fit(work)
    assert all(path.is_file() for path in trainer.artefacts(work))
    found = trainer.predict(work, held_out(work))
    assert accuracy(found) > 0.8
    assert [item.id for item in found] == sorted(held_out(work))
    for item in found:
        assert sum(item.probabilities) == pytest.approx(1)
        assert CLASSES[int(np.argmax(item.probabilities))] == item.prediction


def test_cost_is_the_best_on_dev(work):
    trainer = ClassicalTrainer(costs=[30.0, 1e-6, 1.0])
    trainer.fit(work)
    about = json.loads((work.folder / "best" / "best.json").read_text())
    scores = {line["cost"]: line["dev"]["UA"] for line in about["grid"]}
    assert list(scores) == [1e-6, 1.0, 30.0]
    best = max(scores.values())
    assert about["cost"] == min(cost for cost, score in scores.items() if score == best)
    said = trainer.predict(work, work.dev)
    references = [item.reference for item in said]
    again = classification_scores(references, [item.prediction for item in said], CLASSES)
    assert again["UA"] == pytest.approx(best)


def test_without_dev_the_middle_cost(work):
    ClassicalTrainer(costs=[1.0, 3.0, 9.0]).fit(dataclasses.replace(work, dev=[]))
    assert json.loads((work.folder / "best" / "best.json").read_text())["cost"] == 3.0


def test_test_labels_do_not_matter(work, tmp_path):
    manifest = {
        id: record if id in {*work.train, *work.dev} else dataclasses.replace(record, label="calm")
        for id, record in work.manifest.items()
    }
    other = dataclasses.replace(work, manifest=manifest, folder=tmp_path / "other")
    for one in (work, other):
        ClassicalTrainer().fit(one)
    for name in ("model.safetensors", "best.json"):
        one, two = ((item.folder / "best" / name).read_bytes() for item in (work, other))
        assert one == two


def vectors(classes=3):
    draw = np.random.default_rng(0)
    targets = np.arange(60) % classes
    table = draw.normal(size=(60, 8)) * 3 + 5
    table[np.arange(60), targets] += 4
    return table, targets, draw.normal(size=(20, 8)) * 3 + 5


def test_svm_equals_scikit_learn():
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    table, targets, fresh = vectors()
    fresh = np.clip(fresh, table.mean(0) - 4 * table.std(0), table.mean(0) + 4 * table.std(0))
    reference = make_pipeline(
        StandardScaler(), OneVsRestClassifier(SVC(C=2.0, gamma=1 / 8, class_weight="balanced"))
    ).fit(table, targets)
    own = SupportVectors(standardiser(table, 3), table).classify(targets, 2.0, True)
    np.testing.assert_allclose(own.outputs(fresh), reference.decision_function(fresh), atol=1e-6)
    assert len(own.vectors) < len(table)


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_equals_scikit_learn(classes):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    table, targets, fresh = vectors(classes)
    fresh = np.clip(fresh, table.mean(0) - 4 * table.std(0), table.mean(0) + 4 * table.std(0))
    reference = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000)
    ).fit(table, targets)
    own = Logistic(standardiser(table, classes), table).classify(targets, 0.1, True)
    probabilities = torch.from_numpy(own.outputs(fresh)).softmax(-1).numpy()
    np.testing.assert_allclose(probabilities, reference.predict_proba(fresh), atol=1e-5)


@pytest.mark.parametrize("learner", [SupportVectors, Logistic])
@pytest.mark.parametrize("present", [1, 2])
def test_classes_without_examples_are_never_said(learner, present):
    table, targets, fresh = vectors(present)
    machine = learner(standardiser(table, 4), table).classify(targets, 1.0, True)
    said = machine.outputs(table).argmax(1)
    assert set(said) <= set(range(present))
    assert np.isfinite(machine.outputs(fresh)).all()


def test_extreme_values_are_cut():
    table, targets, fresh = vectors()
    machine = SupportVectors(standardiser(table, 3), table).classify(targets, 1.0, True)
    far, farther = fresh.copy(), fresh.copy()
    far[:, 0], farther[:, 0] = 1e3, 1e30
    assert np.array_equal(machine.outputs(far), machine.outputs(farther))


def test_dimensions(work):
    trainer = ClassicalTrainer(task="dimensions", dimensions=["arousal", "valence"], scale=[1, 5])
    trainer.fit(work)
    found = trainer.predict(work, held_out(work))
    reference, said = (
        np.array([getattr(item, side)["arousal"] for item in found])
        for side in ("reference", "prediction")
    )
    assert np.corrcoef(reference, said)[0, 1] > 0.7
    assert found[0].probabilities is None


def test_probabilities_are_fitted_on_dev(work):
    trainer = ClassicalTrainer()
    trainer.fit(work)
    about = json.loads((work.folder / "best" / "best.json").read_text())
    assert about["sharpness"] > 1  # distances of about 1 are not the log-odds of a sure answer


def test_second_call_does_nothing(work):
    trainer = ClassicalTrainer()
    trainer.fit(work)
    stamps = [path.stat().st_mtime_ns for path in trainer.artefacts(work)]
    trainer.fit(dataclasses.replace(work, data_folder="/nowhere"))
    assert [path.stat().st_mtime_ns for path in trainer.artefacts(work)] == stamps


def test_other_ranks_keep_quiet(work):
    ClassicalTrainer().fit(dataclasses.replace(work, rank=1, world_size=2))
    assert not work.folder.exists()
    assert ClassicalTrainer().predict(dataclasses.replace(work, rank=1), work.dev) == []


def test_statistics_are_computed_once_per_process(work, monkeypatch):
    monkeypatch.setattr(statistics, "_known", {})
    calls = []
    real = statistics.acoustic_statistics
    monkeypatch.setattr(
        statistics, "acoustic_statistics", lambda waveform: calls.append(1) or real(waveform)
    )
    trainer = ClassicalTrainer()
    trainer.fit(work)
    trainer.predict(work, work.dev)
    assert len(calls) == len(work.train) + len(work.dev)


def test_loading_processes_give_the_same(work, monkeypatch):
    monkeypatch.setattr(statistics, "_known", {})
    one = statistics.statistics_table(work, work.dev)
    monkeypatch.setattr(statistics, "_known", {})
    two = statistics.statistics_table(dataclasses.replace(work, num_workers=2), work.dev)
    assert np.array_equal(one, two)


def test_per_speaker_takes_the_speaker_away(work):
    table = statistics.statistics_table(work, work.dev, per_speaker=True)
    assert np.abs(table.mean(0)).max() < 1e-6
    assert np.isin(np.round(table.std(0), 2), (0.0, 1.0)).all()


@pytest.mark.parametrize("after", [0, 20, 28])
def test_stopping(work, after, monkeypatch):
    monkeypatch.setattr(statistics, "_known", {})
    calls = iter(range(1000))
    stopping = dataclasses.replace(work, should_stop=lambda: next(calls) >= after)
    with pytest.raises(Interrupted):
        ClassicalTrainer().fit(stopping)
    trainer = ClassicalTrainer()
    trainer.fit(work)
    assert accuracy(trainer.predict(work, work.dev)) > 0.8


def test_errors(work, monkeypatch):
    trainer = ClassicalTrainer()
    with pytest.raises(DataError, match="holds no trained model(.|\n)*run stage train"):
        trainer.predict(work, work.dev)
    trainer.fit(work)
    model = work.folder / "best" / "model.safetensors"
    content = bytearray(model.read_bytes())
    content[-3] ^= 1
    model.write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        trainer.predict(work, work.dev)
    bare = {id: dataclasses.replace(item, speaker=None) for id, item in work.manifest.items()}
    with pytest.raises(DataError, match="needs the speaker"):
        statistics.statistics_table(dataclasses.replace(work, manifest=bare), work.dev, True)
    bare = {id: dataclasses.replace(item, audio_hash=None) for id, item in work.manifest.items()}
    with pytest.raises(DataError, match="run stage prepare"):
        statistics.statistics_table(dataclasses.replace(work, manifest=bare), work.dev)
    with pytest.raises(ConfigError) as caught:
        ClassicalTrainer("forest", costs=[0.0], task="dimensions")
    assert len(caught.value.problems) == 3
    with pytest.raises(ConfigError, match="needs svm"):
        ClassicalTrainer("logistic", task="dimensions", scale=[1, 5])


def test_other_statistics_are_refused(work, monkeypatch):
    from sertools.models import acoustics

    trainer = ClassicalTrainer()
    trainer.fit(work)
    monkeypatch.setattr(acoustics, "CODE_VERSION", acoustics.CODE_VERSION + 1)
    with pytest.raises(DataError, match="computes differently"):
        trainer.predict(work, work.dev)


def test_dimensions_that_never_vary_are_scored_as_far_as_they_can(work):
    """One speaker with one rating: CCC is not defined when the machine says just that."""
    for id in [*work.train, *work.dev]:
        work.manifest = work.manifest | {id: dataclasses.replace(work.manifest[id], arousal=3.0)}
    said = []
    work.say = said.append
    trainer = ClassicalTrainer(task="dimensions", dimensions=["arousal"], scale=[1, 5])
    trainer.fit(work)
    assert not any("CCC" in line for line in said)
    assert {p.prediction["arousal"] for p in trainer.predict(work, work.dev)} == {3.0}


@pytest.mark.parametrize(("options", "said"), [
    ({"dimensions": ["joy"], "scale": [1, 5]}, "joy is none of arousal, valence, dominance"),
    ({"dimensions": [], "scale": [1, 5]}, "name one at least"),
    ({"scale": [1, 3, 5]}, "give the lowest, then the highest"),
])
def test_dimensions_and_scales_that_cannot_be_meant(work, options, said):
    with pytest.raises(ConfigError, match=said):
        ClassicalTrainer(task="dimensions", **options).fit(work)
