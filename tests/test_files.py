"""Published files are whole or absent."""

import hashlib
import os

import pytest
from sertools.errors import DataError
from sertools.files import publish, read_json, remove_leftovers, sha256, write_json, write_text


def test_failure_keeps_the_old_content_and_leaves_nothing_behind(tmp_path):
    target = write_text(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), publish(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_is_published_as_one(tmp_path):
    for content in ("one", "two"):
        with publish(tmp_path / "folder") as temporary:
            (temporary / "deep").mkdir(parents=True)
            (temporary / "deep" / "file").write_text(content)
    assert (tmp_path / "folder" / "deep" / "file").read_text() == "two"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_is_replaced_whole_or_gone_but_never_half(tmp_path, monkeypatch):
    """Whatever step a crash comes after, the folder holds both files of one version, or is away."""
    target, seen = tmp_path / "folder", set()

    def fill(content):
        with publish(target) as temporary:
            temporary.mkdir()
            for name in ("a", "b"):
                (temporary / name).write_text(content)

    def watched(function):
        def call(*arguments, **options):
            result = function(*arguments, **options)
            seen.add(tuple(sorted(path.name + path.read_text() for path in target.glob("*"))))
            return result

        return call

    fill("1")
    for module, name in ((os, "replace"), (os, "unlink"), (os, "rmdir"), (os, "fsync")):
        monkeypatch.setattr(module, name, watched(getattr(module, name)))
    fill("2")
    assert seen == {("a1", "b1"), (), ("a2", "b2")}


def test_json_round_trip_and_hash(tmp_path):
    value = {"b": 1, "a": ["ä", None, 0.1]}
    path = write_json(tmp_path / "x.json", value)
    assert read_json(path) == value
    assert sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_long_problem_lists_are_cut_and_counted():
    text = str(DataError("bad", [f"file {number}" for number in range(30)], remedy="fix"))
    assert "file 19" in text and "file 20" not in text
    assert "and 10 more" in text and text.endswith("To mend it: fix")


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    (tmp_path / ".tmp-best-1").mkdir()
    (tmp_path / ".tmp-best-1" / "half").write_text("")
    (tmp_path / ".tmp-x.json-2").write_text("")
    (tmp_path / "kept").write_text("")
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
