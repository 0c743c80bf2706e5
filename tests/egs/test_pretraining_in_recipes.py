"""A recipe that pretrains its encoder on the way: what runs again after which change."""

import shutil
from pathlib import Path

import pytest
import stub_pretrainer
import trees
from recipes import copy_recipe, results_of, run_here
from sertools.data.manifest import write_manifest
from sertools.data.pretraining import PretrainingData
from sertools.data.record import Record
from sertools.files import read_json, write_json
from sertools.models.weights.heard import pretrained_on

YAML = """# the stub on two corpora
data_folder: !PLACEHOLDER
corpus: !include:corpus.yaml
    allow_subset: true
protocol: clean
folds: !new:sertools.data.folds.Folds
    kind: leave_one_out
    group: speaker
pretraining_data: !new:sertools.data.pretraining.PretrainingData
    sources:
        another: {manifest: ../other/utts.json, folder: other}
    releases: ..
    min_seconds: 0.1
pretrainer: !new:stub_pretrainer.Stub
    teacher: none
    targets: cached
    lr: 1.0
pretrained: null
feature_layers: all
feature_seconds: 0.5
seeds: [1]
trainer: !include:../../../hparams/trainers/vesper.yaml
    epochs: 1
    tensorboard: false
device: cpu
precision: fp32
"""
OWN = "        emodb: {manifest: data/all/utts.json, folder: release}\n"


class Chain:
    """A copy of EMO-DB's recipe with the stub, run in this process."""

    def __init__(self, repository: Path, root: Path):
        self.root = root
        trees.emodb(root / "release", {name: (1,) * 7 for name in ("03", "08", "09")},
                    lambda path: trees.sound(path, seconds=0.6))
        self.recipe = copy_recipe(repository, "emodb", root)
        self.yaml = self.recipe / "hparams" / "chain.yaml"
        self.yaml.write_text(YAML)
        self.other(4)

    def other(self, count: int, label: str | None = None) -> None:
        """Write the corpus that is pretrained on."""
        records = []
        for take in range(count):
            path = trees.sound(self.root / "other" / f"o{take}.wav", seconds=0.5)
            records.append(Record(id=f"other-{take}", path=path.name, speaker="s", duration=0.5,
                                  label=label, audio_hash=f"{take:032x}"))
        (self.recipe.parent / "other").mkdir(exist_ok=True)
        write_manifest(self.recipe.parent / "other" / "utts.json", records)

    def replace(self, old: str, new: str) -> None:
        text = self.yaml.read_text()
        assert old in text
        self.yaml.write_text(text.replace(old, new))

    def run(self, *words: str, code: int = 0) -> str:
        """Run to the end; return what was printed."""
        return run_here(self.recipe, "hparams/chain.yaml", "--data_folder", self.root / "release",
                        *words, code=code)

    @staticmethod
    def asked() -> list[tuple[str, int]]:
        """Return what the stub was asked since this was last called."""
        found = list(stub_pretrainer.CALLS)
        stub_pretrainer.CALLS.clear()
        return found


@pytest.fixture(scope="module")
def finished(repository, tmp_path_factory):
    """Return a chain that ran once."""
    stub_pretrainer.CALLS.clear()
    chain = Chain(repository, tmp_path_factory.mktemp("chain"))
    chain.printed = chain.run()
    chain.first = chain.asked()
    return chain


@pytest.fixture
def chain(finished, repository, tmp_path):
    """Return a copy of the finished chain."""
    shutil.copytree(finished.root, tmp_path / "copy", copy_function=shutil.copy2)
    copy = object.__new__(Chain)
    copy.root = tmp_path / "copy"
    copy.recipe = copy.root / "egs" / "emodb"
    copy.yaml = copy.recipe / "hparams" / "chain.yaml"
    stub_pretrainer.CALLS.clear()
    return copy


def test_targets_then_encoder_then_folds(finished):
    assert finished.first == [("caches", 4), ("fit", 4)]
    said = finished.printed
    order = ["stage 1 prepare", "stage 2 features", "stage 3 pretrain", "stage 4 train, fold"]
    assert sorted(order, key=said.index) == order
    assert said.count("are cached once for all folds and seeds") == 1
    assert pretrained_on(finished.recipe / "exp/chain/pretrain/best/encoder") == {"other": ["s"]}
    results = results_of(finished.recipe)
    assert "pretrained on other (0.0 h)" in results["provenance"]["pretraining"]
    assert results["protocol"]["in_domain_pretraining"] is False
    assert "pretrained on other" in (finished.recipe / "exp/chain/report/RESULTS.md").read_text()


def test_done_is_done_even_without_targets_and_layers(chain):
    chain.run()
    shutil.rmtree(chain.recipe / "dump")
    assert "stage 3 pretrain: done" in chain.run() and chain.asked() == []


def test_a_downstream_setting_shares_the_pretraining(chain):
    said = chain.run("--trainer.lr", "0.5")
    assert chain.asked() == [] and "stage 4 train, fold" in said
    assert "are cached once" not in said
    assert (chain.recipe / "exp/chain_trainer.lr=0.5/report").is_dir()
    said = chain.run("--feature_layers", "last")
    assert chain.asked() == [] and said.count("are cached once") == 1


def test_a_label_map_or_a_label_redoes_no_pretraining(chain):
    corpus = chain.recipe / "hparams" / "corpus.yaml"
    corpus.write_text(corpus.read_text().replace('"L": boredom', '"L": neutral').replace(
        "boredom, ", ""))
    said = chain.run()
    assert "stage 1 prepare: official" in said and "stage 4 train, fold" in said
    assert "stage 3 pretrain: done" in said and chain.asked() == []
    chain.other(4, label="anger")
    assert "stage 3 pretrain: done" in chain.run() and chain.asked() == []


def test_a_rate_of_the_pretraining_leaves_the_targets(chain):
    chain.replace("lr: 1.0", "lr: 2.0")
    said = chain.run()
    assert chain.asked() == [("fit", 4)]
    assert "stage 4 train, fold" in said and "are cached once" in said
    assert (chain.recipe / "exp/chain/pretrain.old1/best/encoder").is_dir()


def test_other_audio_or_another_teacher_is_another_pretraining(chain):
    chain.replace("teacher: none", "teacher: some")
    chain.run("--stop-stage", "pretrain")
    assert chain.asked() == [("caches", 4), ("fit", 4)]
    chain.other(3)
    assert "stage 3 pretrain: audio" in chain.run("--stop-stage", "pretrain")
    assert chain.asked() == [("caches", 3), ("fit", 3)]


def test_a_marker_of_an_earlier_version_stays_valid(chain):
    chain.run()
    marker = chain.recipe / "exp/chain/.done/pretrain.json"
    content = read_json(marker)
    sources = {"another": {"manifest": "../other/utts.json", "folder": "other"}}
    data = PretrainingData(sources, min_seconds=0.1, releases="..")
    place = chain.recipe, chain.root / "release"
    assert content["external"] == data.fingerprint(*place)
    former = data.former_fingerprint(*place)
    assert former != content["external"]
    write_json(marker, {**content, "external": former})
    assert "stage 3 pretrain: done" in chain.run() and chain.asked() == []
    write_json(marker, {**content, "external": "another"})
    chain.run("--stop-stage", "pretrain")
    assert ("fit", 4) in chain.asked()


def test_an_encoder_that_is_given_is_taken(chain):
    encoder = chain.root / "encoder"
    shutil.copytree(chain.recipe / "exp/chain/pretrain/best/encoder", encoder)
    shutil.rmtree(chain.recipe / "exp")
    said = chain.run("--pretrained", str(encoder))
    assert chain.asked() == []
    for stage in ("2 features", "3 pretrain"):
        assert f"stage {stage}: not part of this recipe" in said
    assert "are cached once" not in said  # the same files, wherever they lie
    weights = encoder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    again = chain.run("--pretrained", str(encoder))
    assert "are cached once" in again and "stage 4 train, fold" in again


def test_its_own_manifest_may_be_heard_before_it_is_written(repository, tmp_path):
    chain = Chain(repository, tmp_path)
    chain.replace("    releases: ..\n", OWN + "    releases: ..\n")
    stub_pretrainer.CALLS.clear()
    chain.run("--fold", "1", "--stop-stage", "pretrain")
    assert chain.asked() == [("caches", 25), ("fit", 25)]
    corpus = chain.recipe / "hparams" / "corpus.yaml"
    corpus.write_text(corpus.read_text().replace('"L": boredom', '"L": neutral').replace(
        "boredom, ", ""))
    said = chain.run("--fold", "1")
    assert chain.asked() == [] and "stage 3 pretrain: done" in said
    assert results_of(chain.recipe)["protocol"]["in_domain_pretraining"] is True


def test_nothing_to_cache_is_no_stage(repository, tmp_path):
    chain = Chain(repository, tmp_path)
    chain.replace("targets: cached", "targets: online")
    stub_pretrainer.CALLS.clear()
    said = chain.run("--stop-stage", "pretrain")
    assert chain.asked() == [("fit", 4)] and "stage 2 features: not part of this recipe" in said
    (chain.recipe.parent / "other" / "utts.json").unlink()
    gone = chain.run("--pretrainer.lr", "3.0", code=2)
    assert "other/utts.json does not exist; make it with" in gone


def test_two_encoders_to_hear_are_refused(repository, tmp_path):
    chain = Chain(repository, tmp_path)
    chain.replace("pretrained: null", "pretrained: null\nupstream: !name:sertools.models.upstream."
                  "load_upstream\n    source: somewhere")
    assert "not both" in chain.run(code=2)
