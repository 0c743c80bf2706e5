"""utils/retrieve.py: what is stored is enough, and what it finds is what a slow search finds."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from prepared import script
from sertools.brains import gemoclap_trained
from sertools.brains.distributed import Ranks
from sertools.brains.gemoclap_trained import load_trained
from sertools.brains.stored import build
from sertools.data.audio import AudioReader
from sertools.data.feature_writer import write_features
from sertools.data.manifest import write_manifest
from sertools.errors import ConfigError
from sertools.files import read_json, write_json
from sertools.scoring.retrieval import average_precision, recall_at, retrieval_scores
from sklearn.metrics import average_precision_score

sys.path.append(str(Path(__file__).resolve().parents[1] / "brains"))
import toy_gemoclap as toy  # noqa: E402
from toy import TINY  # noqa: E402

tool = script("retrieve")
ENCODER = {"!name": "sertools.models.presets.build_encoder", **TINY}
UPSTREAM = {"!name": "sertools.models.upstream.untrained_upstream", "seed": 5, **TINY}
TRAINER = {
    "!new": "sertools.brains.gemoclap_trainer.GemoClapTrainer", "audio": ENCODER,
    "text": {"!name": "sertools.models.text.small_text", "dim": 16, "num_layers": 1,
             "num_heads": 2, "dropout": 0.1},
    "text_pool": "mean", "tokeniser": 300, "dim": 12, "batch": 8, "epochs": 10, "lr": 1e-2,
    "encoder_lr": 1e-2, "prompts": "a {emotion} voice", "patience": None, "tensorboard": False,
}  # fmt: skip


def train(root, exp, features=False, **changes):
    """Train one unit of an experiment with its config.json; return trainer, unit and best."""
    config = {"trainer": {**TRAINER, **changes}}
    work = toy.make_work(root, exp / "fold1" / "seed3" / "train", fold="1")
    if features:
        config |= {"upstream": UPSTREAM, "feature_layers": [0, 1]}
        cache = write_features(
            build(UPSTREAM, root)(), work.manifest, work.data_folder, AudioReader(normalise=False),
            root / "cache", layers=[0, 1], storage="fp32", device="cpu", say=lambda text: None)
        work = dataclasses.replace(work, features=cache)
    write_json(exp / "config.json", config)
    made = build(config["trainer"], root)
    made.fit(work)
    return made, work, work.folder / "best"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    write_manifest(folder / "utts.json", toy.make_work(folder, folder / "x").manifest.values())
    return folder


@pytest.fixture(scope="module")
def small(root, tmp_path_factory):
    return train(root, tmp_path_factory.mktemp("recipe") / "exp" / "small", normalise=True)


def run(capsys, *arguments):
    code = tool.main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out, said.err


def vectors_of(made, work):
    """Return the ids of all utterances, their unit vectors one by one, and those of the classes."""
    inputs = made._inputs(work, Ranks())
    model = made._trained(work, made._task(work), inputs)
    ids = sorted(work.manifest)
    dataset = inputs.dataset(ids, None, False)
    sounds = [dataset[index].inputs for index in range(len(ids))]
    with torch.no_grad():
        rows = [model.model.eval().embed_audio(
            sound[None], torch.tensor([1 if sound.dim() > 1 else len(sound)]))
            for sound in sounds]
    return ids, torch.cat(rows), model.classes


def test_it_finds_the_utterances_that_a_slow_search_finds(small, root, capsys, tmp_path):
    made, work, best = small
    ids, vectors, classes = vectors_of(made, work)
    code, out, err = run(capsys, best, "--audio", root / "utts.json", "low", "a high voice",
                         "--data_folder", root / "audio", "--k", 4, "--json", tmp_path / "a.json")
    assert code == 0 and "0 of them done before" in err
    answers = read_json(tmp_path / "a.json")
    for name, label in (("low", "low"), ("a high voice", "high")):
        cosines = vectors @ classes[work.classes.index(label)]
        wanted = sorted(ids, key=lambda id: -cosines[ids.index(id)])[:4]
        assert [found["id"] for found in answers[name]] == wanted
        assert [found["cosine"] for found in answers[name]] == pytest.approx(
            [float(cosines[ids.index(id)]) for id in wanted], abs=1e-5)
        assert f"{name}\n" in out
    code, _, err = run(capsys, best.parent.parent, "--audio", root / "utts.json",
                       "--data_folder", root / "audio")
    assert code == 0 and f"{len(ids)} of them done before" in err


def test_a_file_gets_the_probabilities_of_the_recipe(small, root, capsys, tmp_path, monkeypatch):
    made, work, best = small
    monkeypatch.setattr(gemoclap_trained, "text_encoder", None)  # classes need none
    files = [root / "audio" / f"u{number}.wav" for number in (22, 23)]
    code, out, err = run(capsys, best, "--file", *files, "--json", tmp_path / "a.json")
    assert code == 0 and "not calibrated" not in err and "a low voice" in out
    temperature = read_json(best / "best.json")["temperature"]
    said = made.predict(work, ["toy-u22", "toy-u23"])
    for file, prediction in zip(files, said, strict=True):
        scaled = np.array(prediction.probabilities) ** (1 / temperature)
        wanted = dict(zip(work.classes, scaled / scaled.sum(), strict=True))
        found = {each["name"]: each["probability"]
                 for each in read_json(tmp_path / "a.json")[str(file)]}
        assert found == pytest.approx(wanted, abs=1e-4)


def test_other_sentences_are_read_by_the_text_encoder(small, root, capsys, tmp_path):
    made, work, best = small
    sentences = ["a high voice", "a low low voice", "voice=high voice"]
    code, out, err = run(capsys, best, "--file", root / "audio" / "u22.wav", "--prompts",
                         *sentences, "--json", tmp_path / "a.json")
    assert code == 0
    inputs = made._inputs(work, Ranks())
    model = made._trained(work, made._task(work), inputs).model.eval()
    ids, vectors, _ = vectors_of(made, work)
    (answer,) = read_json(tmp_path / "a.json").values()
    assert {each["name"] for each in answer} == {"a high voice", "a low low voice", "voice"}
    for each in answer:
        (text,) = each["sentences"]
        tokens = torch.tensor([inputs.tokeniser.encode(text)])
        with torch.no_grad():
            wanted = vectors[ids.index("toy-u22")] @ model.embed_text(tokens)[0]
        assert each["cosine"] == pytest.approx(float(wanted), abs=1e-5)
    assert sum(each["probability"] for each in answer) == pytest.approx(1, abs=1e-5)


def test_sentences_of_unknown_words_are_refused_or_warned_of(small, root, capsys):
    best, clip = small[2], root / "audio" / "u22.wav"
    code, _, err = run(capsys, best, "--file", clip, "--prompts", "QXQX", "ZZ", "a high voice")
    assert code == 2 and "'QXQX'" in err and "'ZZ'" in err and "'a low voice'" in err
    code, _, err = run(capsys, best, "--file", clip, "--prompts", "a high QX voice")
    assert code == 0 and "tokens of 'a high QX voice' are unknown" in err


def test_evaluation_is_that_of_scikit_learn(small, root, capsys, tmp_path):
    made, work, best = small
    ids, vectors, classes = vectors_of(made, work)
    code, out, _ = run(capsys, best, "--audio", root / "utts.json", "--data_folder",
                       root / "audio", "--evaluate", "--json", tmp_path / "a.json")
    assert code == 0 and "mAP" in out
    found = read_json(tmp_path / "a.json")
    cosines = (vectors @ classes.T).numpy()
    labels = np.array([work.manifest[id].label for id in ids])
    wanted = {name: average_precision_score(labels == name, cosines[:, column])
              for column, name in enumerate(work.classes)}
    assert found["average_precision"] == pytest.approx(wanted, abs=1e-6)
    assert found["mAP"] == pytest.approx(np.mean(list(wanted.values())), abs=1e-6)
    nearest = np.array(work.classes)[cosines.argmax(1)]
    assert found["utterance_recall@1"] == pytest.approx((nearest == labels).mean())
    code, _, err = run(capsys, best, "--audio", root / "audio", "--evaluate")
    assert code == 3 and "no utterance has a label" in err


def test_average_precision_with_equal_scores_is_that_of_scikit_learn():
    draw = np.random.default_rng(2)
    for _ in range(30):
        scores, right = draw.integers(0, 5, 20) / 4, draw.random(20) < 0.4
        right[0] = True
        assert average_precision(scores, right) == pytest.approx(
            average_precision_score(right, scores))
    assert average_precision(scores, np.zeros(20, dtype=bool)) is None
    table = np.array([[0.9, 0.8, 0.1], [0.2, 0.3, 0.9]])
    right = np.array([[False, True, False], [True, False, False]])
    assert [recall_at(table, right, k) for k in (1, 2, 3)] == [0, 0.5, 1]
    scores = retrieval_scores(table, ["b", "a"], ["a", "b", "c"])
    assert scores["average_precision"] == {"a": 0.5, "b": 1.0, "c": None}
    assert scores["mAP"] == 0.75 and scores["recall@1"] == 0.5


@pytest.mark.parametrize("changes", [
    {"pool": "attentive", "layers": "weighted_sum", "freeze": ["audio"]},
    {"features": True, "audio": None, "inputs": "features", "layers": -1},
    {"features": True, "audio": None, "inputs": "features", "layers": "weighted_sum"},
], ids=str)
def test_every_kind_of_model_is_rebuilt(root, tmp_path, capsys, changes):
    made, work, best = train(root, tmp_path / "exp" / "kind", epochs=2, **changes)
    ids, vectors, _ = vectors_of(made, work)
    code, _, _ = run(capsys, best, "--audio", root / "utts.json", "high", "--k", 99, "--json",
                     tmp_path / "a.json", "--data_folder", root / "audio")
    assert code == 0
    trained = load_trained(best, texts=False)
    wanted = dict(zip(ids, (vectors @ trained.classes["high"]).tolist(), strict=True))
    found = {each["id"]: each["cosine"] for each in read_json(tmp_path / "a.json")["high"]}
    assert found == pytest.approx(wanted, abs=2e-5)
    if "features" in changes:
        config = read_json(best.parents[3] / "config.json")
        write_json(best.parents[3] / "config.json", {**config, "upstream": {**UPSTREAM, "seed": 6}})
        with pytest.raises(ConfigError, match="another upstream"):
            load_trained(best)


def test_the_mean_over_windows_is_that_of_their_frames(root, tmp_path):
    """An attentive pool too: the softmax over all windows together, by hand from their frames."""
    _, _, best = train(root, tmp_path / "exp" / "kind", epochs=1, pool="attentive")
    trained = load_trained(best, texts=False)
    waves = [torch.randn(1, 8000) for _ in range(3)]
    with torch.no_grad():
        frames = torch.cat([trained.hearing(wave, torch.tensor([8000])).last[0] for wave in waves])
        encoder = trained.model.encoders["audio"]
        plain = torch.cat([encoder(wave, torch.tensor([8000])).last[0] for wave in waves])
        shares = trained.model.attention.score(plain).softmax(0)
        wanted = trained.model.audio_head((shares * plain).sum(0))
    found = trained.embed(frames.mean(0)[None])[0]
    assert torch.allclose(found, wanted / wanted.norm(), atol=1e-5)


@pytest.mark.parametrize("freeze", [["text"], ["audio"]], ids=str)
def test_what_was_frozen_comes_from_the_start(small, root, tmp_path, freeze):
    """Neither the unit's file nor the fresh encoders have it: only the model before it."""
    made, work, best = train(root, tmp_path / "exp" / "next", epochs=1, start=str(small[2]),
                             normalise=True, freeze=freeze)
    inputs = made._inputs(work, Ranks())
    model = made._trained(work, made._task(work), inputs).model.eval()
    trained = load_trained(best)
    with torch.no_grad():
        tokens = torch.tensor([inputs.tokeniser.encode("a low high voice")])
        assert torch.allclose(trained.read(["a low high voice"]), model.embed_text(tokens))
    old, new = model.state_dict(), trained.model.state_dict()
    assert all(torch.equal(old[name], new[name]) for name in new)
    description = read_json(best / "best.json")
    write_json(best / "best.json", {**description, "start": None})
    with pytest.raises(ConfigError, match="other frozen weights"):
        load_trained(best)


def test_what_cannot_be_used_is_said_at_once(small, root, capsys, tmp_path):
    best = small[2]
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / f"{name}.wav").write_bytes(b"no sound")
    code, _, err = run(capsys, best, "--audio", folder, "--cache", tmp_path / "c")
    assert code == 3 and "one" in err and "two" in err and "no recording" in err
    (folder / "u1.wav").write_bytes((root / "audio" / "u01.wav").read_bytes())
    code, out, err = run(capsys, best, "--audio", folder, "--cache", tmp_path / "d")
    assert code == 3 and "u1" in out and "one" in err and "two" in err
    (tmp_path / "empty").mkdir()
    for arguments, match in [
        ((best, "--audio", tmp_path / "empty"), "holds no audio"),
        ((best,), "give --audio"), ((best, "--audio", folder, "--file", folder), "one of them"),
        ((best, "--file", folder / "u1.wav", "--k", 0, "--evaluate"), "--k 0"),
        ((best, "--file", folder / "u1.wav", "--prompts", "a=x", "a=y"), "two sentences"),
        ((best, "--file", folder / "u1.wav", "--device", "abacus"), "--device abacus"),
    ]:
        code, _, err = run(capsys, *arguments)
        assert code == 2 and match in err
    code, _, err = run(capsys, tmp_path, "--audio", folder)
    assert code == 3 and "holds no trained model" in err


def test_other_folders_are_no_model(small, root, capsys, tmp_path):
    best, clip = small[2], root / "audio" / "u22.wav"
    away = tmp_path / "a" / "b" / "c" / "d" / "best"
    away.mkdir(parents=True)
    for file in best.iterdir():
        (away / file.name).write_bytes(file.read_bytes())
    code, _, err = run(capsys, away, "--file", clip)
    assert code == 2 and "config.json cannot be read" in err
    for trainer, match in (
        ({"!new": "sertools.brains.downstream.DownstreamTrainer"}, "not by GemoClapTrainer"),
        ({**TRAINER, "audio": {"!name": "os.system"}}, "os.system, which is not built here"),
        ({**TRAINER, "audio": {**ENCODER, "dim": 8}}, "not that of"),
    ):
        write_json(away.parents[3] / "config.json", {"trainer": trainer})
        code, _, err = run(capsys, away, "--file", clip)
        assert code == 2 and match in err
    description = read_json(away / "best.json")
    write_json(away / "best.json", {name: value for name, value in description.items()
                                    if name != "prompts"})
    code, _, err = run(capsys, away, "--file", clip)
    assert code == 2 and "holds no GEmo-CLAP model" in err


def test_values_become_objects_of_this_package_alone(tmp_path):
    made = build({"!name": "sertools.models.presets.build_encoder", "dim": 8}, tmp_path)
    assert made.keywords == {"dim": 8}
    assert build({"a": ["./x", "../y", "z/w", 3]}, tmp_path / "r") == {
        "a": [str(tmp_path / "r/x"), str(tmp_path / "y"), "z/w", 3]}
    for name in ("subprocess.run", "sertools.nothing", "sertools_evil.x"):
        with pytest.raises(ConfigError, match="is not built here"):
            build({"!new": name}, tmp_path)
