"""A published classifier on a corpus: its labels become classes, nothing is trained."""

import json
import shutil

import pytest
import soundfile
import torch
from sertools.brains.released import ReleasedTrainer, class_matrix, class_scores
from sertools.brains.work import FoldWork
from sertools.data.record import Record
from sertools.errors import ConfigError, DataError
from sertools.models.weights.emotion2vec import LABELS, load_classifier

CLASSES = ["neutral", "anger", "sadness"]
MAP = {"angry": "anger", "happy": "happiness", "neutral": "neutral", "sad": "sadness"}


@pytest.fixture
def work(tmp_path):
    manifest = {}
    for number in range(7):
        id, seconds = f"toy-{number}", 0.2 + 0.05 * number
        generator = torch.Generator().manual_seed(number)
        wave = 0.1 * torch.randn(round(16000 * seconds), generator=generator)
        soundfile.write(tmp_path / f"{id}.wav", wave.numpy(), 16000, subtype="FLOAT")
        manifest[id] = Record(
            id=id, path=f"{id}.wav", label=CLASSES[number % 3], speaker="s",
            duration=len(wave) / 16000, audio_hash=id,
        )  # fmt: skip
    return FoldWork(
        manifest=manifest, train=list(manifest)[:2], dev=list(manifest)[2:4], classes=CLASSES,
        data_folder=tmp_path, features=None, folder=tmp_path / "unit", seed=1, device="cpu",
        precision="fp32", num_workers=0, should_stop=lambda: False, say=lambda text: None,
    )  # fmt: skip


def test_predictions_are_the_released_scores_of_the_corpus_classes(work, tiny_plus):
    trainer, ids = ReleasedTrainer(str(tiny_plus), MAP, batch_seconds=0.8), list(work.manifest)
    trainer.fit(work)
    found = trainer.predict(work, ids[::-1])
    assert [one.id for one in found] == ids
    classifier, labels = load_classifier(tiny_plus)
    for one in found:
        wave, _ = soundfile.read(work.data_folder / f"{one.id}.wav", dtype="float32")
        with torch.no_grad():
            scores = classifier(torch.from_numpy(wave)[None])[0].softmax(-1)
        kept = scores[[labels.index("neutral"), labels.index("angry"), labels.index("sad")]]
        assert one.probabilities == pytest.approx((kept / kept.sum()).tolist(), abs=1e-5)
        assert one.prediction == CLASSES[int(kept.argmax())]
        assert one.reference == work.manifest[one.id].label
    assert trainer.predict(work, []) == []


def test_fit_leaves_a_note_and_needs_no_audio(work, tiny_plus, tmp_path):
    for file in tmp_path.glob("*.wav"):
        file.unlink()
    trainer = ReleasedTrainer(str(tiny_plus), MAP)
    trainer.fit(work)
    assert all(path.is_file() for path in trainer.artefacts(work))
    note = json.loads((work.folder / "best/best.json").read_text())
    assert note["outputs"] == list(LABELS) and note["classes"] == CLASSES
    cost = json.loads((work.folder / "cost.json").read_text())
    assert cost["parameters"]["trainable"] == 0 < cost["parameters"]["total"]
    with pytest.raises(DataError):
        trainer.predict(work, ["toy-0"])


def test_another_file_than_at_first_is_refused(work, tiny_plus, tmp_path):
    source = shutil.copytree(tiny_plus, tmp_path / "plus")
    trainer = ReleasedTrainer(str(source), MAP)
    with pytest.raises(DataError, match=r"best\.json is missing"):
        trainer.predict(work, ["toy-0"])
    trainer.fit(work)
    tensors = torch.load(source / "model.pt", weights_only=True)
    tensors["proj.bias"] += 1
    torch.save(tensors, source / "model.pt")
    with pytest.raises(ConfigError, match="another file than stage train found"):
        trainer.predict(work, ["toy-0"])


def test_labels_of_one_class_add_up_and_unused_ones_never_win():
    outputs = torch.log(torch.tensor([[0.2, 0.1, 0.05, 0.6, 0.05]]))
    labels = ["angry", "disgusted", "sad", "unuse_0", "<unk>"]
    table = {"angry": "negative", "disgusted": "negative", "sad": "low", "unuse_0": "low"}
    scores = class_scores(outputs, class_matrix(labels, table, ["low", "negative"])).exp()
    torch.testing.assert_close(scores, torch.tensor([[0.05, 0.3]]))


def test_tables_that_do_not_fit_are_told(work, tiny_plus):
    with pytest.raises(ConfigError) as caught:
        ReleasedTrainer(str(tiny_plus), {"cheerful": "anger", "sad": "sadness"}).fit(work)
    said = caught.value.problems
    assert len(said) == 3 and said[0].startswith("labels: 'cheerful' is no output")
    assert "class 'neutral' has no label" in said[1] and "class 'anger'" in said[2]
    with pytest.raises(ConfigError, match="class 'low' has no label"):
        class_matrix(["unuse_0"], {"unuse_0": "low"}, ["low"])
