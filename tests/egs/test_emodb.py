"""EMO-DB: what its names say."""

import pytest
import trees

TEXTS = {  # first and last word of each sentence, umlauts included
    "a01": ("Der", "Eisschrank."), "a02": ("Das", "abgeben."), "a04": ("Heute", "sagen."),
    "a05": ("Das", "Holzstück."), "a07": ("In", "sein."), "b01": ("Was", "stehen?"),
    "b02": ("Sie", "runter."), "b03": ("An", "besucht."), "b09": ("Ich", "gehen."),
    "b10": ("Die", "hinlegen."),
}


def test_fields_follow_the_name(tmp_path, collect):
    for stem in ("03a05Wa", "16b10Nf"):
        trees.name_only(tmp_path / "wav" / f"{stem}.wav")
    found, faults = collect("emodb", tmp_path)
    assert not faults.faults
    first, last = found["03a05Wa"], found["16b10Nf"]
    assert (first.id, first.path) == ("emodb-03a05Wa", "wav/03a05Wa.wav")
    assert (first.label, first.speaker, first.gender, first.language) == ("W", "03", "male", "de")
    assert first.text == (
        "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.")
    assert first.tags == {"sentence": "a05", "take": "a"} and first.session is None
    assert (last.label, last.speaker, last.gender) == ("N", "16", "female")


def test_every_sentence_has_its_text(tmp_path, collect):
    for sentence in TEXTS:
        trees.name_only(tmp_path / f"08{sentence}Fa.wav")
    found, _ = collect("emodb", tmp_path)
    for record in found.values():
        words = record.text.split()
        assert (words[0], words[-1]) == TEXTS[record.tags["sentence"]]
    letters = "".join(record.text for record in found.values())
    assert {c for c in letters if not c.isascii()} == set("öüßä") & set(letters) == set("öü")


def test_german_letters_are_not_english_ones(load_corpus):
    classes = load_corpus("emodb").label_map
    assert classes["A"] == "fear" and classes["F"] == "happiness" and classes["W"] == "anger"


def test_speakers_and_sentences_of_no_release_are_refused_by_name(tmp_path, collect):
    for stem in ("01a01Wa", "03a03Wa", "03a01Wa"):
        trees.name_only(tmp_path / f"{stem}.wav")
    found, faults = collect("emodb", tmp_path)
    assert list(found) == ["03a01Wa"]
    assert [fault.what.split(" is ")[0] for fault in faults.faults] == [
        "speaker 01", "sentence a03"]
    assert "16" in faults.faults[0].remedy and "b10" in faults.faults[1].remedy


def test_speaker_08_has_no_disgust_in_the_imitation_either(tmp_path, collect):
    trees.emodb(tmp_path, write=trees.name_only)
    found, _ = collect("emodb", tmp_path)
    labels = {record.label for record in found.values() if record.speaker == "08"}
    assert labels == set("WLAFTN")


@pytest.mark.realdata
def test_real_release(real_data, collect, load_corpus, counted):
    found, faults = collect("emodb", real_data("emodb"))
    corpus = load_corpus("emodb")
    assert not faults.faults and not faults.dropped and len(found) == 535
    for field in ("label", "speaker", "gender"):
        assert counted(found, field) == corpus.counts[field]
    assert len({record.text for record in found.values()}) == 10


@pytest.mark.realdata
def test_real_originals(real_data, collect):
    found, faults = collect("emodb", real_data("emodb_orig"))
    assert not faults.faults and len(found) == 10
