"""GEmo-CLAP on another corpus: which model it starts from, and what results say of it."""

import dataclasses
import shutil

import pytest
import torch
import toy_gemoclap as toy
from safetensors.torch import load_file
from sertools.brains.best import read_description
from sertools.brains.gemoclap_best import load_classifier, read_classes
from sertools.brains.gemoclap_start import find_start, trained_on
from sertools.brains.prompts import unknown_tokens
from sertools.data.audio import load_audio
from sertools.data.tokens import SentencePieceTokeniser
from sertools.errors import ConfigError, DataError
from sertools.files import read_json
from sertools.models.presets import build_encoder
from sertools.stages.sources import start_of
from toy import TINY

SENTENCES = {"low": "a low voice", "high": "a high voice", "other": "somebody else"}


@pytest.fixture(scope="module")
def source(root, tmp_path_factory):
    """Return an experiment of another recipe: folds 1, 2 and 10, seeds 3 and 4 of one training."""
    exp = tmp_path_factory.mktemp("egs") / "first" / "exp" / "small"
    work = toy.make_work(root, exp / "fold1" / "seed3" / "train", fold="1")
    toy.trainer(epochs=8).fit(work)
    for place in ("fold1/seed4", "fold2/seed3", "fold10/seed3"):
        shutil.copytree(exp / "fold1" / "seed3", exp / place)
    (exp / "fold1" / "seed2" / "train" / "best").mkdir(parents=True)  # begun, not done
    return exp


@pytest.fixture
def work_of(root, tmp_path):
    """Return a function that makes a unit on a corpus called `corpus`, with its own speakers."""

    def make(corpus="next", name="unit", **changes):
        work = toy.make_work(root, tmp_path / name, **changes)
        if corpus == "toy":
            return work
        def named(id):
            return id.replace("toy", corpus)
        manifest = {named(id): dataclasses.replace(record, id=named(id), speaker=f"x{number % 4}")
                    for number, (id, record) in enumerate(work.manifest.items())}
        return dataclasses.replace(work, manifest=manifest, train=[*map(named, work.train)],
                                   dev=[*map(named, work.dev)])

    return make


@pytest.mark.parametrize("place, corpus, fold, seed, wanted", [
    ("", "next", "2", 3, "fold1/seed3"),  # another corpus: the first fold
    ("", "next", "2", 4, "fold1/seed4"),
    ("", "next", "2", 9, "fold1/seed3"),  # no such seed: the first
    ("", "toy", "2", 3, "fold2/seed3"),  # the same corpus: the same fold
    ("", "toy", "10", 4, "fold10/seed3"),
    ("fold10", "next", "2", 3, "fold10/seed3"),
    ("fold10", "toy", "1", 3, "fold10/seed3"),
    ("fold2/seed3", "next", "1", 9, "fold2/seed3"),
    ("fold2/seed3/train", "toy", "1", 9, "fold2/seed3"),
    ("fold2/seed3/train/best", "toy", "1", 9, "fold2/seed3"),
])
def test_a_start_is_a_model_or_what_lies_above_it(
    source, work_of, place, corpus, fold, seed, wanted
):
    found = find_start(source / place, work_of(corpus, fold=fold, seed=seed))
    assert found.best == source / wanted / "train" / "best"


def test_starts_that_are_none_are_refused(source, work_of, tmp_path):
    for place in (tmp_path, tmp_path / "nowhere", source / "fold1" / "seed2"):
        with pytest.raises(DataError, match="holds no trained model"):
            find_start(place, work_of())
    with pytest.raises(DataError, match="no trained model of fold 7"):
        find_start(source, work_of("toy", fold="7"))


def test_zero_shot_needs_no_part_to_learn_from_and_says_so(source, work_of):
    work = work_of(classes=["low", "high", "other"], train=[], dev=[], fold="1")
    zero = toy.trainer(start=str(source), epochs=0, prompts=SENTENCES)
    zero.fit(work)
    assert all(path.is_file() for path in zero.artefacts(work))
    best, before = work.folder / "best", source / "fold1" / "seed3" / "train" / "best"
    about, old = read_description(best), read_description(before)
    assert about["temperature"] == old["temperature"] is not None
    assert about["trained_on"] == old["trained_on"]
    assert (best / about["start"]).resolve() == before.resolve()
    cost = read_json(work.folder / "cost.json")
    assert cost["flags"] == [] and cost["notes"][:2] == [
        "the model starts from first/exp/small/fold1/seed3, which was trained on toy, with labels",
        "zero-shot: nothing was learned here"]
    unknown, = cost["notes"][2:]
    assert "other" in unknown and "low" not in unknown

    audio = build_encoder(**TINY)
    known, names = load_classifier(before, audio), read_classes(before)[0]
    for said in zero.predict(work, list(work.manifest)):
        record = work.manifest[said.id]
        wave = load_audio(work.data_folder / record.path)[None]
        logits = known(wave, torch.tensor([wave.shape[1]]))[0].detach().double()
        wanted = (logits[names.index("low")] - logits[names.index("high")]).exp()
        assert said.probabilities[0] / said.probabilities[1] == pytest.approx(float(wanted), 1e-3)


def test_a_dev_part_calibrates_the_report_but_not_the_model(source, work_of):
    work = work_of(fold="1")
    toy.trainer(start=str(source / "fold1"), epochs=0, prompts="a {emotion} voice").fit(work)
    old = read_description(source / "fold1" / "seed3" / "train" / "best")
    assert read_description(work.folder / "best")["temperature"] == old["temperature"]
    notes = read_json(work.folder / "cost.json")["notes"]
    assert len(notes) == 2 and "dev part serve the calibration" in notes[1]


def test_a_start_on_the_same_corpus_is_flagged_by_its_speakers(source, work_of):
    work = work_of("toy", fold="1")
    toy.trainer(start=str(source), epochs=1).fit(work)
    cost = read_json(work.folder / "cost.json")
    tested = {record.speaker for id, record in work.manifest.items()
              if id not in (*work.train, *work.dev)}
    heard = {work.manifest[id].speaker for id in (*work.train, *work.dev)}
    assert tested <= heard
    assert cost["flags"] == ["the model it starts from was trained on toy, test speakers included"]
    assert cost["notes"] == ["the model starts from the same fold and seed of first/exp/small, "
                             "which was trained on toy, with labels"]
    for id in sorted(work.manifest)[21:]:
        work.manifest[id] = dataclasses.replace(work.manifest[id], speaker="new")
    apart = dataclasses.replace(work, folder=work.folder.with_name("apart"))
    toy.trainer(start=str(source), epochs=1).fit(apart)
    cost = read_json(apart.folder / "cost.json")
    assert cost["flags"] == [] and "but not on the test speakers" in cost["notes"][1]


def test_transfer_learns_other_classes_and_remembers_all_it_learned_from(source, work_of):
    labels = {0: "low", 1: "high", 2: "middle"}
    work = work_of(classes=["low", "high", "middle"], fold="1")
    manifest = {id: dataclasses.replace(record, label=labels[number % 3])
                for number, (id, record) in enumerate(work.manifest.items())}
    work = dataclasses.replace(work, manifest=manifest)
    toy.trainer(start=str(source), epochs=2, prompts="a {emotion} voice").fit(work)
    best = work.folder / "best"
    about, before = read_description(best), source / "fold1" / "seed3" / "train" / "best"
    assert list(about["trained_on"]["corpora"]) == ["next", "toy"]
    assert about["trained_on"]["corpora"]["next"] == ["x0", "x1", "x2", "x3"]
    assert set(about["trained_on"]["prompts"]) >= {"a high voice", "a middle voice"}
    assert (best / "tokeniser.model").read_bytes() == (before / "tokeniser.model").read_bytes()
    old, new = (load_file(folder / "model.safetensors") for folder in (before, best))
    assert any(not torch.equal(old[name], new[name]) for name in old)
    assert about["temperature"] is not None


def test_unknown_tokens_are_counted_as_by_hand(source):
    tokeniser = SentencePieceTokeniser(
        source / "fold1" / "seed3" / "train" / "best" / "tokeniser.model", 32)
    learned = ["a high voice", "a low voice"]
    known = {piece for text in learned for piece in tokeniser.model.encode(text)}
    said = {"low": ["a low voice"], "odd": ["a Qx", "high"]}
    counts = unknown_tokens(said, tokeniser, learned)
    assert counts["low"][0] == 0
    pieces = [piece for text in said["odd"] for piece in tokeniser.model.encode(text)
              if tokeniser.model.id_to_piece(piece) != "\u2581"]
    assert counts["odd"] == (sum(piece not in known for piece in pieces), len(pieces))
    assert counts["odd"][0] > 0


def test_classes_that_become_equal_are_refused(source, work_of):
    long = "a high voice and so on and on and on "
    with pytest.raises(ConfigError, match="nothing can tell them apart"):
        toy.trainer(start=str(source), epochs=0, max_tokens=8,
                    prompts={"high": f"{long} one", "low": f"{long} two"}).fit(work_of())


def test_speakers_are_unknown_where_one_is(work_of):
    work = work_of("toy")
    id = work.train[3]
    work.manifest[id] = dataclasses.replace(work.manifest[id], speaker=None)
    assert trained_on(None, work, ["x"], True) == {"corpora": {"toy": None}, "prompts": ["x"]}


def test_another_model_at_the_same_place_is_noticed(source, tmp_path):
    copy = shutil.copytree(source, tmp_path / "small")
    first = start_of({"trainer": {"start": str(copy)}})
    assert first == start_of({"trainer": {"start": str(source)}}) is not None
    assert start_of({"trainer": {"start": None}}) is start_of({}) is None
    weights = copy / "fold2" / "seed3" / "train" / "best" / "class_embeddings.safetensors"
    weights.write_bytes(weights.read_bytes() + b"x")
    assert start_of({"trainer": {"start": str(copy)}}) != first
