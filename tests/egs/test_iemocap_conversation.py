"""IEMOCAP as conversations: whole dialogues in their order, and what can be predicted in them."""

import dataclasses

import trees_iemocap
from sertools.brains.conversation_contexts import contexts_of
from sertools.data.folds import Folds
from sertools.data.manifest import read_manifest
from sertools.data.prepare import prepare_manifest
from sertools.data.protocol import make_folds

CLASSES = {"ang": "anger", "hap": "happiness", "exc": "happiness", "neu": "neutral",
           "sad": "sadness"}


def test_all_turns_stay_in_their_dialogues(tmp_path, load_prepare, load_corpus):
    root, out = tmp_path / "r", tmp_path / "out"
    lines = trees_iemocap.small()
    trees_iemocap.iemocap(root, lines, whole=False)
    corpus = dataclasses.replace(
        load_corpus("iemocap", "corpus_conversation.yaml"), allow_subset=True)
    summary = prepare_manifest(load_prepare("iemocap").records, corpus, root, out,
                               say=lambda _: None)
    manifest = read_manifest(out / "utts.json")
    assert {id: record.label for id, record in manifest.items()} == {
        f"iemocap-{line.name}": CLASSES.get(line.label) for line in lines}
    assert not any(reason.startswith("label") for reason in summary["dropped"])
    contexts = contexts_of(manifest, 6)
    for line in lines:
        before = sorted((other.start, other.name) for other in lines
                        if other.dialogue == line.dialogue and other.start < line.start)
        assert contexts[f"iemocap-{line.name}"] == [f"iemocap-{name}" for _, name in before[-6:]]
    folds = make_folds(manifest, Folds(kind="leave_one_out", group="session"))
    assert folds.flags == [] and len(folds) == 5
    for fold in folds:
        for part in (fold.train, fold.dev, fold.test):
            assert {before for id in part for before in contexts[id]} <= set(part)


def test_the_whole_release_is_declared(load_corpus):
    four, all_ = load_corpus("iemocap"), load_corpus("iemocap", "corpus_conversation.yaml")
    assert all_.classes == four.classes and all_.unlabelled
    assert {raw: name for raw, name in all_.label_map.items() if name} == four.label_map
    assert all_.counts["class"] == four.counts["class"]
    assert sum(all_.counts["label"].values()) == all_.counts["total"] == 10039
    assert set(all_.counts["label"]) == set(all_.label_map)
