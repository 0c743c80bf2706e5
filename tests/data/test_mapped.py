"""Dimensions from a table of categories: in the manifest, counted, and said in every result."""

import json

import pytest
from sertools.data.corpus import Corpus
from sertools.data.manifest import read_manifest
from sertools.data.mapped import MappedDimensions
from sertools.data.prepare import prepare_manifest
from sertools.data.record import Record
from sertools.errors import ConfigError, DataError
from sounds import write

VALUES = {"angry": {"arousal": 0.59, "valence": -0.51, "dominance": 0.25}, "calm": None}
TABLE = MappedDimensions("Somebody 1977, as quoted", VALUES)


def corpus(**changes) -> Corpus:
    return Corpus(**{"name": "toy", "classes": ["angry", "calm"], "scale": [-1, 1],
                     "label_map": {"A": "angry", "C": "calm"}, "dimensions": TABLE} | changes)


def prepare(tmp_path, records, **changes):
    for record in records:
        write(tmp_path / "release" / record.path)
    return prepare_manifest(records, corpus(**changes), tmp_path / "release", tmp_path / "data",
                            say=lambda _: None)


def record(name, label, **fields):
    return Record(id=f"toy-{name}", path=f"{name}.wav", label=label, speaker="s", **fields)


def test_classes_get_their_values_and_those_without_are_left_out(tmp_path):
    summary = prepare(tmp_path, [record("a", "A"), record("b", "A"), record("c", "C")])
    manifest = read_manifest(tmp_path / "data/utts.json")
    assert list(manifest) == ["toy-a", "toy-b"]
    for item in manifest.values():
        assert (item.label, item.arousal, item.valence, item.dominance) == (
            "angry", 0.59, -0.51, 0.25)
    assert summary["dropped"] == {"class calm has no values on the dimensions": 1}
    said = json.loads((tmp_path / "data/summary.json").read_text())["warnings"]
    assert any("mapping of categories, not ratings" in text and "Somebody 1977, as quoted" in text
               for text in said)


def test_ratings_of_a_release_are_not_replaced(tmp_path):
    with pytest.raises(DataError, match="has ratings of valence already"):
        prepare(tmp_path, [record("a", "A", valence=0.1)])


def test_without_a_table_nothing_is_said(tmp_path):
    summary = prepare(tmp_path, [record("a", "A"), record("c", "C")], dimensions=None)
    assert summary["warnings"] == [] or not any("mapping" in text for text in summary["warnings"])
    assert read_manifest(tmp_path / "data/utts.json")["toy-a"].arousal is None


def test_all_faults_of_a_table_are_named():
    with pytest.raises(ConfigError) as error:
        MappedDimensions("", {"a": {"arousal": "x"}, "b": {"loudness": 1}, "c": {"arousal": 0.5},
                              "d": {"valence": 0.5}})
    said = str(error.value)
    for part in ("a: {'arousal': 'x'}", "b: {'loudness': 1}", "d: other dimensions", "table: name"):
        assert part in said
    with pytest.raises(ConfigError) as error:
        corpus(classes=["angry", "calm", "sad"], scale=[0, 1],
               label_map={"A": "angry", "C": "calm", "S": "sad"})
    said = str(error.value)
    assert "no values for class 'sad'" in said and "valence is -0.51, outside" in said
    with pytest.raises(ConfigError, match="scale: give the lowest"):
        corpus(scale=None)
