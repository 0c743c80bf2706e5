"""Votes of annotators: the tag in both directions, from raw labels to classes, and shares."""

import re
from fractions import Fraction

import pytest
from sertools.data.corpus import Corpus
from sertools.data.manifest import read_manifest
from sertools.data.prepare import prepare_manifest
from sertools.data.record import Record
from sertools.data.votes import distributions, map_votes, read_votes, shared, write_votes
from sertools.errors import DataError
from sounds import noise, write


def record(name, votes=None, **fields):
    tags = {} if votes is None else {"votes": votes}
    return Record(f"toy-{name}", f"{name}.wav", speaker=name, tags=tags, **fields)


def manifest(**votes):
    return {f"toy-{name}": record(name, text) for name, text in votes.items()}


def test_whoever_gave_several_labels_gave_each_an_equal_share():
    third = Fraction(1, 3)
    assert shared([["A"], ["A", "B"], ["C", "A", "B"], ["B", "B"], []]) == {
        "A": 1 + Fraction(1, 2) + third, "B": Fraction(1, 2) + third + 1, "C": third}
    assert shared([]) == {}


def test_the_tag_is_sorted_and_leaves_out_what_nobody_said():
    text = write_votes({"neu": 2, "ang": Fraction(1, 3), "sad": 0, "hap": 10, "fru": 1.5})
    assert text == "ang=0.333333;fru=1.5;hap=10;neu=2"
    assert read_votes(text) == {"ang": 0.333333, "fru": 1.5, "hap": 10.0, "neu": 2.0}
    assert write_votes({"neu": 0}) == ""
    assert read_votes("neutral state=1") == {"neutral state": 1.0}


@pytest.mark.parametrize("text", [
    "", "neu", "neu=", "=1", "neu=-1", "neu=nan", "neu=inf", "neu=1e9", "neu=1/2", "neu=1;", ";",
    "neu=1,sad=2", "E2=Neutral;E4=Anger", "neu=1;neu=2", "neu=1\n", "neu=" + "9" * 10, "neu=١x",
])  # fmt: skip
def test_anything_else_is_no_tag(text):
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        read_votes(text)


@pytest.mark.parametrize("weights", [{"a;b": 1}, {"a=b": 1}, {"": 1}, {"a": -1}, {"a": 1e12}])
def test_what_the_tag_cannot_hold_is_not_written(weights):
    with pytest.raises(ValueError):
        write_votes(weights)


def test_raw_labels_become_classes_and_the_others_stay():
    names = {"hap": "happiness", "exc": "happiness", "neu": "neutral", "fru": None}
    assert map_votes("exc=1;fru=2;hap=0.5;neu=1;oth=3", names.get) == (
        "fru=2;happiness=1.5;neutral=1;oth=3")


def test_shares_stand_in_the_order_of_the_classes_and_sum_to_one():
    given = manifest(a="anger=3;neutral=2", b="anger=1;fru=4;happiness=0.5", c="neutral=0.333333")
    found = distributions(given, ["toy-c", "toy-b", "toy-a"], ["neutral", "anger", "happiness"])
    assert list(found) == ["toy-c", "toy-b", "toy-a"]
    assert found["toy-a"] == pytest.approx((2 / 5, 3 / 5, 0))
    assert found["toy-b"] == pytest.approx((0, 1 / 1.5, 0.5 / 1.5))  # fru is no class
    assert found["toy-c"] == (1.0, 0.0, 0.0)


def test_all_utterances_without_a_vote_that_counts_are_named_at_once():
    given = manifest(a="anger=1", b=None, c="fru=2;xxx=1", d="E2=Neutral", e="", f="anger=0")
    ids = [*given, "toy-g"]
    with pytest.raises(DataError) as caught:
        distributions(given, ids, ["anger", "neutral"])
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        f"toy-{name}" for name in "bcdefg"]
    told = dict(problem.split(": ", 1) for problem in caught.value.problems)
    assert told["toy-b"] == told["toy-e"] == "has no tag `votes`"
    assert told["toy-c"] == "no vote is for any of the classes (fru=2;xxx=1)"
    assert "not label=weight" in told["toy-d"] and told["toy-g"] == "is not in the manifest"
    assert "run the stage prepare again" in caught.value.remedy
    assert distributions(given, ["toy-a"], ["anger", "neutral"]) == {"toy-a": (1.0, 0.0)}


def prepared(tmp_path, records, corpus):
    for item in records:
        write(tmp_path / "r" / item.path, noise(0.3))
    return prepare_manifest(records, corpus, tmp_path / "r", tmp_path / "o", lambda _: None)


def test_a_manifest_has_votes_for_classes_and_what_is_to_be_said(tmp_path):
    corpus = Corpus("toy", classes=["angry", "calm"], remark="labels of one annotator",
                    label_map={"A": "angry", "R": "angry", "C": "calm", "X": None})
    records = [record("a", "A=2;C=1;R=0.5", label="A"), record("b", "X=2;fury=1", label="C"),
               record("c", None, label="C")]
    summary = prepared(tmp_path, records, corpus)
    assert "labels of one annotator" in summary["warnings"]
    found = read_manifest(tmp_path / "o" / "utts.json")
    assert [item.tags for item in found.values()] == [
        {"votes": "angry=2.5;calm=1"}, {"votes": "X=2;fury=1"}, {}]
    with pytest.raises(DataError, match="votes that cannot be read: 2"):
        prepared(tmp_path, [record("d", "A:2", label="A"), record("e", "", label="A")], corpus)


def test_without_classes_votes_stay_raw(tmp_path):
    prepared(tmp_path, [record("a", "A=2;C=1")], Corpus("toy", unlabelled=True))
    found = read_manifest(tmp_path / "o" / "utts.json")
    assert found["toy-a"].tags == {"votes": "A=2;C=1"}
