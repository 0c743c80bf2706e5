"""RAVDESS: seven fields, speech and song in the same folders."""

from collections import Counter

import pytest
import trees


def test_fields_follow_the_name(tmp_path, collect):
    for actor, stem in (("12", "03-01-06-01-02-01-12"), ("01", "03-02-05-02-01-02-01")):
        trees.name_only(tmp_path / f"Actor_{actor}" / f"{stem}.wav")
    found, faults = collect("ravdess", tmp_path, part="both")
    assert not faults.faults
    spoken, sung = found["03-01-06-01-02-01-12"], found["03-02-05-02-01-02-01"]
    assert spoken.id == "ravdess-03-01-06-01-02-01-12"
    assert spoken.path == "Actor_12/03-01-06-01-02-01-12.wav"
    assert (spoken.label, spoken.speaker, spoken.gender) == ("06", "12", "female")
    assert (spoken.text, spoken.language) == ("Dogs are sitting by the door", "en")
    assert spoken.tags == {
        "channel": "speech", "intensity": "normal", "statement": "02", "repetition": "01"}
    assert (sung.label, sung.speaker, sung.gender) == ("05", "01", "male")
    assert sung.text == "Kids are talking by the door"
    assert sung.tags["channel"] == "song" and sung.tags["intensity"] == "strong"


def test_parts_are_told_apart_by_the_second_field(tmp_path, collect):
    trees.ravdess(tmp_path, ("17", "18"), ("01", "02"), write=trees.name_only)
    for part, speech, song in (("speech", 120, 0), ("song", 0, 44), ("both", 120, 44)):
        found, faults = collect("ravdess", tmp_path, part=part)
        kinds = Counter(record.tags["channel"] for record in found.values())
        assert (kinds["speech"], kinds["song"]) == (speech, song)
        assert sum(map(len, faults.dropped.values())) == 164 - speech - song
        assert not faults.faults
    speakers = {record.speaker for record in collect("ravdess", tmp_path, part="song")[0].values()}
    assert speakers == {"17"}


@pytest.mark.parametrize(
    "stem, words",
    [
        ("01-01-06-01-02-01-12", "modality 01"),
        ("03-03-06-01-02-01-12", "vocal channel 03"),
        ("03-01-06-03-02-01-12", "intensity 03"),
        ("03-01-06-01-03-01-12", "statement 03"),
        ("03-01-06-01-02-03-12", "repetition 03"),
        ("03-01-06-01-02-01-25", "actor 25"),
        ("03-01-06-01-02-01-11", "folder of another"),
        ("03-01-01-02-02-01-12", "strong"),
        ("03-02-07-01-02-01-12", "emotion 07 was not sung"),
        ("03-01-06-01-02-12", "seven two-digit fields"),
    ],
)
def test_impossible_names_say_which_field(stem, words, tmp_path, collect):
    trees.name_only(tmp_path / "Actor_12" / f"{stem}.wav")
    trees.name_only(tmp_path / "Actor_12" / "03-01-06-01-02-01-12.wav")
    found, faults = collect("ravdess", tmp_path, part="both")
    assert len(found) == 1 and len(faults.faults) == 1
    assert words in faults.faults[0].what and "official name" in faults.faults[0].remedy


def test_an_unknown_emotion_is_left_to_the_label_map(tmp_path, collect, load_corpus):
    trees.name_only(tmp_path / "Actor_12" / "03-01-09-01-02-01-12.wav")
    found, faults = collect("ravdess", tmp_path)
    assert not faults.faults and found["03-01-09-01-02-01-12"].label == "09"
    with pytest.raises(KeyError):
        load_corpus("ravdess").class_of("09")


@pytest.mark.realdata
def test_real_release(real_data, collect, load_corpus, counted):
    found, faults = collect("ravdess", real_data("ravdess"))
    assert not faults.faults and len(found) == 1440
    for field in ("label", "speaker", "gender"):
        assert counted(found, field) == load_corpus("ravdess").counts[field]
    kinds = Counter(record.tags["intensity"] for record in found.values())
    assert kinds == {"normal": 768, "strong": 672}


@pytest.mark.realdata
def test_real_originals(real_data, collect):
    found, faults = collect("ravdess", real_data("ravdess_orig"))
    assert not faults.faults and len(found) == 10
