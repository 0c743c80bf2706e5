"""IEMOCAP: votes of its annotators, improvised turns only, labels of the last annotator."""

import dataclasses
import os
from collections import Counter
from pathlib import Path

import pytest
import trees
import trees_iemocap
from sertools.data.corpus import Faults
from sertools.data.folds import Folds
from sertools.data.manifest import read_manifest
from sertools.data.prepare import prepare_manifest
from sertools.data.protocol import make_folds
from sertools.data.votes import distributions, read_votes
from sertools.errors import ConfigError
from trees_iemocap import Line

FIRST = "Ses01F_impro01_F000"
SPEAKERS = [528, 557, 481, 542, 522, 629, 528, 503, 590, 651]
"""Turns of 1F, 1M, 2F, ... 5M, as counted in published lists."""


@pytest.fixture
def release(tmp_path):
    """Return the folder of a small imitation, without sound."""
    trees_iemocap.iemocap(tmp_path / "r", trees_iemocap.small(), write=trees.name_only)
    return tmp_path / "r"


@pytest.fixture
def full(real_data, tmp_path):
    """Return the folder of all dialogues, with the published names and labels; skip if absent."""
    meta = real_data("").parent / "meta" / "iemocap" / "emobox"
    if not meta.is_dir():
        pytest.skip("no published lists of IEMOCAP")
    trees_iemocap.iemocap(tmp_path, trees_iemocap.official(meta), write=trees.name_only,
                          whole=False)
    return tmp_path


def say(release: Path, lines: list[str]) -> None:
    """Replace what is said of the first turn."""
    path = trees_iemocap.evaluation_file(release, "Ses01F_impro01")
    head, _, rest = path.read_text(encoding="utf-8").partition(f"{FIRST}\t")
    first, *_ = rest.splitlines()
    others = rest.partition("\n\n")[2]
    path.write_text(head + f"{FIRST}\t{first}\n" + "\n".join([*lines, "", ""]) + others,
                    encoding="utf-8")


@pytest.mark.parametrize("lines, votes", [
    (["C-E2:\tNeutral;\t()", "C-E4:\tNeutral;\t()", "C-E1:\tAnger;\t()"], "ang=1;neu=2"),
    # several labels of one annotator share a vote; the actress herself has none
    (["C-E2:\tAnger; Frustration;\t()", "C-E4:\tExcited;\t(happy)", "C-F1:\tSadness;\t()"],
     "ang=0.5;exc=1;fru=0.5"),
    (["C-E2:\tSadness; Fear; Surprise;\t()", "C-E4:\tSadness; Sadness;\t()"],
     "fea=0.333333;sad=1.333333;sur=0.333333"),
    (["C-E2:\tOther;\t(bored)", "C-E4:\tNeutral state;\t()", "C-E1:\t;\t()"], "neu=1;oth=1"),
    (["C-F1:\tAnger;\t()", "C-M1:\tAnger;\t()"], None),
    ([], None),
])
def test_votes_are_those_of_the_annotators(lines, votes, release, collect):
    say(release, lines)
    found, faults = collect("iemocap", release)
    assert found[FIRST].tags.get("votes") == votes
    assert ("annotators" in found[FIRST].tags) == bool(lines)
    assert not faults.faults and not any("vote" in reason for reason in faults.dropped)
    assert len(found) == len(trees_iemocap.small())


def test_a_word_that_is_no_label_counts_as_other_and_is_said(release, collect):
    say(release, ["C-E2:\tNeutral; Boredom;\t()", "C-E4:\ta=b;\t()"])
    found, faults = collect("iemocap", release)
    assert found[FIRST].tags["votes"] == "neu=0.5;oth=1.5"
    assert faults.dropped["word of a vote that is no label, counted as oth"] == [
        f"iemocap-{FIRST}: Boredom", f"iemocap-{FIRST}: a=b"]


def test_the_manifest_has_votes_for_classes(tmp_path, load_prepare, load_corpus):
    trees_iemocap.iemocap(tmp_path / "r", trees_iemocap.small(), whole=False)
    say(tmp_path / "r", ["C-E2:\tHappiness; Excited; Frustration;\t()", "C-E4:\tNeutral;\t()",
                         "C-E1:\tExcited;\t()"])
    corpus = load_corpus("iemocap", allow_subset=True)
    prepare_manifest(load_prepare("iemocap").records, corpus, tmp_path / "r", tmp_path / "o",
                     lambda _: None)
    manifest = read_manifest(tmp_path / "o" / "utts.json")
    first = f"iemocap-{FIRST}"
    assert read_votes(manifest[first].tags["votes"]) == pytest.approx(
        {"fru": 1 / 3, "happiness": 5 / 3, "neutral": 1}, abs=1e-5)
    shares = distributions(manifest, manifest, corpus.classes)
    assert shares[first] == pytest.approx((0, 5 / 8, 3 / 8, 0), abs=1e-6)
    # everyone else: E2 says the label, E3 shares between the label and anger
    for id, record in manifest.items():
        own = corpus.classes.index(record.label)
        expected = [0.25, 0, 0, 0]
        expected[own] += 0.75
        if id != first:
            assert shares[id] == pytest.approx(expected)


def test_improvised_turns_alone(release, collect, load_corpus):
    corpus = load_corpus("iemocap", "corpus_improvised.yaml")
    found, faults = collect("iemocap", release, **corpus.options)
    lines = [line for line in trees_iemocap.small() if "impro" in line.dialogue]
    wanted = {line.name for line in lines if line.label in trees_iemocap.FOUR}
    assert found.keys() == wanted and not faults.faults
    assert len(faults.dropped["scripted turn"]) == 5 * 14 + 2
    assert len(faults.dropped["label fru"]) == len(faults.dropped["label xxx"]) == 10
    scripted, _ = collect("iemocap", release, subset="scripted")
    assert {record.tags["style"] for record in scripted.values()} == {"scripted"}
    for path in release.rglob("*_script*_F000.wav"):  # not needed, so not missed
        path.unlink()
    assert not collect("iemocap", release, **corpus.options)[1].faults


def test_unknown_values_of_the_options_are_refused(release, load_prepare):
    records = load_prepare("iemocap").records
    with pytest.raises(ConfigError, match="subset is 'impro'"):
        next(records(release, Faults(), subset="impro"))
    with pytest.raises(ConfigError, match="label_source is 'first'"):
        next(records(release, Faults(), label_source="first"))


# --------------------------------------------------------------- labels of the last annotator


def annotate(root: Path, annotator: str, lines: list[str], encoding: str = "utf-8") -> None:
    path = trees_iemocap.categorical_file(root, "Ses01F_impro01", annotator)
    path.write_text("\n".join([*lines, ""]), encoding=encoding)


def test_the_last_file_wins_and_parts_of_words_count(tmp_path, collect):
    names = [f"Ses01F_impro01_F00{n}" for n in range(8)]
    trees_iemocap.iemocap(tmp_path, [Line("Ses01F_impro01", name[-4:], "neu", float(place))
                                     for place, name in enumerate(names)], write=trees.name_only)
    annotate(tmp_path, "e2", [
        f"{names[0]} :Neutral state; ()", f"{names[1]} :Frustration; (annoyed, angry)",
        f"{names[2]} :Sadness; :Anger; ()", f"{names[3]} :Frustration; ()",
        f"{names[4]} :Anger; :Happiness; ()", f"{names[5]} :Other; (strange)",
        f"{names[6]} :Excited; ()", "", "[0.0 - 1.0]: Anger", "no colon here",
    ])  # fmt: skip
    annotate(tmp_path, "e3", [
        f"{names[0]} :Sadness; ()", f"{names[2]} :Surprise; ()",
        f"{names[4]} :Frustration; :Sadness; (´)", f"{names[7]} :Anger; happiness; ()",
    ], "latin-1")  # fmt: skip
    # written first, but first by name as well
    annotate(tmp_path, "e1", [f"{name} :Happiness; ()" for name in (names[0], names[3])])
    os.utime(trees_iemocap.categorical_file(tmp_path, "Ses01F_impro01", "e1"))
    trees.litter(trees_iemocap.categorical_file(tmp_path, "Ses01F_impro01", "e1").parent)
    found, faults = collect("iemocap", tmp_path, label_source="annotator_last")
    assert {name: record.label for name, record in found.items()} == {
        names[0]: "sad",  # e1, e2, e3 differ: the last
        names[1]: "ang",  # stands in the remark
        names[2]: "sad",  # the first choice; e3 says none of the four, so that e2 stays
        names[3]: "hap",  # only e1 says one of the four
        names[4]: "ang",  # the second choices are not read
        names[5]: "ang",  # str-ang-e
        names[6]: "exc",
        names[7]: "hap",  # looked for before ang, whatever comes first in the line
    }
    assert {record.tags["emotion"] for record in found.values()} == {"neu"}
    assert not faults.faults
    annotate(tmp_path, "e2", [])
    found, faults = collect("iemocap", tmp_path, label_source="annotator_last", labels=["sad"])
    assert list(found) == [names[0]]
    assert len(faults.dropped["turn to which no annotator gave one of the four labels"]) == 5
    assert len(faults.dropped["label hap"]) == 2


def test_a_copy_without_the_annotators_own_files_is_a_fault(release, collect):
    for path in release.rglob("*_cat.txt"):
        path.unlink()
    found, faults = collect("iemocap", release, label_source="annotator_last")
    assert not found and len(faults.faults) == 1
    assert "Categorical/*_cat.txt" in faults.faults[0].what
    assert not collect("iemocap", release)[1].faults


def test_the_corpus_block_of_the_last_annotator_says_so(tmp_path, load_prepare, load_corpus):
    trees_iemocap.iemocap(tmp_path / "r", trees_iemocap.small(), whole=False)
    corpus = load_corpus("iemocap", "corpus_annotator_last.yaml")
    summary = prepare_manifest(load_prepare("iemocap").records, corpus, tmp_path / "r",
                               tmp_path / "o", lambda _: None)
    assert any("labels are those of one annotator" in text for text in summary["warnings"])
    manifest = read_manifest(tmp_path / "o" / "utts.json")
    assert {record.tags["style"] for record in manifest.values()} == {"improvised"}
    # the one annotator agrees, and calls turns without agreement neutral
    said = {line.name: line.label.replace("xxx", "neu") for line in trees_iemocap.small()}
    assert {id: record.label for id, record in manifest.items()} == {
        f"iemocap-{name}": corpus.class_of(label) for name, label in said.items()
        if "impro" in name and label in trees_iemocap.FOUR}


# ------------------------------------------------------------------------- published lists


def classed(records, corpus):
    return [dataclasses.replace(record, label=corpus.class_of(record.label))
            for record in records.values()]


@pytest.mark.realdata
def test_published_names_give_the_declared_improvised_counts(full, collect, load_corpus, counted):
    corpus = load_corpus("iemocap", "corpus_improvised.yaml")
    found, faults = collect("iemocap", full, **corpus.options)
    assert not faults.faults and len(found) == corpus.counts["total"] == 2943
    for field in ("label", "session", "speaker", "gender"):
        assert counted(found, field) == corpus.counts[field], field
    records = classed(found, corpus)
    assert Counter(record.label for record in records) == corpus.counts["class"]
    folds = make_folds(records, Folds(group="session", paper_dev="test"), "paper")
    assert [len(fold.test) for fold in folds] == [521, 530, 627, 534, 731]
    assert all(fold.dev == fold.test for fold in folds)
    assert "selected on the test fold" in folds.flags


@pytest.mark.realdata
def test_ten_folds_are_the_true_speakers(full, collect, load_corpus):
    corpus = load_corpus("iemocap")
    records = classed(collect("iemocap", full, **corpus.options)[0], corpus)
    clean = make_folds(records, Folds(group="speaker"))
    assert [len(fold.test) for fold in clean] == SPEAKERS
    mates = [SPEAKERS[number ^ 1] for number in range(10)]
    assert [len(fold.dev) for fold in clean] == mates
    assert [len(fold.train) for fold in clean] == [
        5531 - own - mate for own, mate in zip(SPEAKERS, mates, strict=True)]
    paper = make_folds(records, Folds(group="speaker", paper_dev="test"), "paper")
    assert [len(fold.test) for fold in paper] == SPEAKERS
    assert all(fold.dev == fold.test for fold in paper)
