"""Names taken apart: what fits is yielded once, everything else is a fault with its reason."""

import re

from sertools.data.corpus import Faults
from sertools.data.names import REMEDY, named_audio

STEM = re.compile(r"(?P<speaker>[a-z])(?P<take>\d)")


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_names_that_fit_are_taken_apart_in_the_order_of_their_paths(tmp_path):
    for name in ("x/b2.wav", "a1.FLAC", "x/copy/a1.wav", "x/._a1.wav", "notes.txt"):
        touch(tmp_path / name)
    faults = Faults()
    found = list(named_audio(tmp_path, faults, STEM, "a letter and a digit, as in a1"))
    assert [(where, match["speaker"], match["take"]) for where, match in found] == [
        ("a1.FLAC", "a", "1"), ("x/b2.wav", "b", "2")]
    assert not faults.faults and faults.dropped == {
        "same stem as another file": [str(tmp_path / "x/copy/a1.wav")]}


def test_names_that_do_not_fit_and_those_that_cannot_be_are_listed_together(tmp_path):
    for name in ("a1 (1).wav", "a1.wav", "b9.wav"):
        touch(tmp_path / name)
    faults = Faults()
    found = list(named_audio(
        tmp_path, faults, STEM, "a letter and a digit, as in a1",
        lambda match, where: f"take {match['take']} in {where}" if match["take"] == "9" else None))
    assert [where for where, _ in found] == ["a1.wav"]
    assert [(fault.where, fault.what, fault.remedy) for fault in faults.faults] == [
        ("a1 (1).wav", "the name is not a letter and a digit, as in a1", REMEDY),
        ("b9.wav", "take 9 in b9.wav", REMEDY)]


def test_a_name_may_need_its_folder(tmp_path):
    """Stems that recur from folder to folder are no copies, whole folders copied again are."""
    for name in ("a/1.wav", "b/1.wav", "again/b/1.wav"):
        touch(tmp_path / name)
    faults = Faults()
    found = named_audio(tmp_path, faults, STEM, "", name=lambda path: path.parent.name + path.stem)
    assert [(where, match[0]) for where, match in found] == [("a/1.wav", "a1"), ("b/1.wav", "b1")]
    assert not faults.faults and len(faults.dropped["same stem as another file"]) == 1
