"""SAVEE, AESDD, CaFE, EMOVO and SUBESCO: everything is in the names."""

from pathlib import Path

import pytest
import trees
import trees_languages as languages
import yaml
from sertools.data.corpus import Faults

EGS = Path(__file__).resolve().parents[2] / "egs"


def only(tmp_path, collect, corpus, *places):
    """Make empty files and return their records by stem; there must be no fault."""
    for place in places:
        trees.name_only(tmp_path / place)
    found, faults = collect(corpus, tmp_path)
    assert not faults.faults and len(found) == len(places)
    return found


def refusals(tmp_path, collect, corpus, *places):
    """Make empty files that are all to be refused; return what is said of each."""
    for place in places:
        trees.name_only(tmp_path / place)
    found, faults = collect(corpus, tmp_path)
    assert not found and all("official name" in fault.remedy for fault in faults.faults)
    assert {fault.where for fault in faults.faults} == set(places)
    return {fault.where: fault.what for fault in faults.faults}


# ------------------------------------------------------------------------------------ SAVEE


def test_savee_reads_the_release_and_the_flat_copy_alike(tmp_path, load_prepare):
    def read(root):
        faults = Faults()
        records = list(load_prepare("savee").records(root, faults))
        assert not faults.faults
        return {record.id: record for record in records}

    names = languages.savee(tmp_path / "release", write=trees.name_only)
    languages.savee(tmp_path / "copy", flat=True, write=trees.name_only)
    release, copy = read(tmp_path / "release"), read(tmp_path / "copy")
    assert sorted(release) == sorted(copy) == sorted(f"savee-{name}" for name in names)
    assert len(release) == 480  # 120 stems for each of four speakers
    for id, record in release.items():
        assert (record.label, record.speaker) == (copy[id].label, copy[id].speaker)
    sad = release["savee-JK_sa15"]
    assert sad.path == "AudioData/JK/sa15.wav" and copy[sad.id].path == "ALL/JK_sa15.wav"
    assert (sad.label, sad.speaker, sad.gender, sad.language) == ("sa", "JK", "male", "en")
    assert sad.tags == {"sentence": "sa15"} and sad.text is None


def test_savee_takes_one_copy_of_two(tmp_path, load_prepare):
    for flat in (False, True):
        languages.savee(tmp_path, ("DC", "KL"), {"a": 2, "su": 1}, flat, trees.name_only)
    faults = Faults()
    records = list(load_prepare("savee").records(tmp_path, faults))
    assert [record.path for record in records] == [
        f"ALL/{speaker}_{stem}.wav" for speaker in ("DC", "KL") for stem in ("a01", "a02", "su01")]
    assert not faults.faults and sum(map(len, faults.dropped.values())) == 6


def test_savee_knows_surprise_from_sadness_and_letters_of_no_emotion(tmp_path, collect,
                                                                     load_corpus):
    found = only(tmp_path, collect, "savee", "AudioData/DC/su01.wav", "AudioData/DC/sa02.wav",
                 "AudioData/DC/n30.wav", "AudioData/DC/x01.wav")
    classes = load_corpus("savee").label_map
    assert [classes.get(found[stem].label) for stem in ("su01", "sa02", "n30", "x01")] == [
        "surprise", "sadness", "neutral", None]  # the label map then stops the stage


def test_savee_refuses_other_names_and_speakers(tmp_path, collect):
    said = refusals(tmp_path, collect, "savee", "a01.wav", "AudioData/DC/a1.wav",
                    "AudioData/DC/a01 (2).wav", "AudioData/XY/a01.wav")
    assert said["AudioData/XY/a01.wav"] == "speaker XY is none of DC, JE, JK, KL"
    assert "DC/a01" in said["AudioData/DC/a1.wav"]


# ------------------------------------------------------------------------------------ AESDD


def test_aesdd_names_with_blanks_and_brackets(tmp_path, collect):
    found = only(tmp_path, collect, "aesdd", "anger/a03 (4).wav", "fear/f10 (01).wav",
                 "sadness/s01 (5)b.wav", "sadness/s01 (5).wav")
    assert found["a03 (4)"].id == "aesdd-a03 (4)" and found["a03 (4)"].path == "anger/a03 (4).wav"
    assert (found["a03 (4)"].label, found["a03 (4)"].speaker) == ("a", "4")
    assert found["a03 (4)"].gender is None and found["a03 (4)"].language == "el"
    assert found["f10 (01)"].speaker == "1"
    assert found["s01 (5)b"].tags == {"utterance": "01", "take": "b"}
    assert found["s01 (5)"].tags == {"utterance": "01"}
    assert found["s01 (5)b"].speaker == found["s01 (5)"].speaker == "5"


def test_aesdd_leaves_its_broken_file_out_and_counts_it(tmp_path, collect):
    for stem in ("s05 (2)", "s05 (3)", "s05 (4)"):
        trees.name_only(tmp_path / "sadness" / f"{stem}.wav")
    found, faults = collect("aesdd", tmp_path)
    assert list(found) == ["s05 (2)", "s05 (4)"] and not faults.faults
    assert faults.dropped == {"broken in the release": ["aesdd-s05 (3)"]}


def test_aesdd_refuses_names_without_a_speaker_and_wrong_folders(tmp_path, collect):
    said = refusals(tmp_path, collect, "aesdd", "anger/a03.wav", "anger/a3 (4).wav",
                    "anger/a03 (4) (1).wav", "happiness/s03 (4).wav")
    assert said["happiness/s03 (4).wav"] == "the name says emotion s, its folder happiness"
    assert "(speaker)" in said["anger/a03.wav"]


# ------------------------------------------------------------------------------------- CaFE


def test_cafe_follows_the_name_whatever_became_of_the_folders(tmp_path, collect, load_corpus):
    stems = languages.cafe(tmp_path, (4, 7), write=trees.name_only)
    found, faults = collect("cafe", tmp_path)
    assert sorted(found) == sorted(stems) and not faults.faults
    angry = found["07-C-2-4"]
    assert angry.path == "Col\udc8are/Fort/07-C-2-4.wav"  # a byte that is no UTF-8
    assert load_corpus("cafe").class_of(angry.label) == "anger"
    assert (angry.speaker, angry.gender, angry.language) == ("07", "male", "fr")
    assert angry.text == "Quatre vieilles truies éléphantesques"
    assert angry.tags == {"sentence": "4", "intensity": "strong"}
    assert found["04-T-1-1"].tags["intensity"] == "weak" and found["04-T-1-1"].gender == "female"
    assert found["04-N-1-2"].tags == {"sentence": "2"}
    assert len({record.text for record in found.values()}) == 6


def test_cafe_refuses_what_was_not_recorded(tmp_path, collect):
    said = refusals(tmp_path, collect, "cafe", "13-C-1-1.wav", "01-N-2-1.wav", "01-C-1-7.wav",
                    "1-C-1-1.wav")
    assert said["13-C-1-1.wav"] == "speaker 13 is not 01 to 12"
    assert "neutral" in said["01-N-2-1.wav"] and "12-P-2-5" in said["01-C-1-7.wav"]


# ------------------------------------------------------------------------------------ EMOVO


def test_emovo_follows_the_name(tmp_path, collect, load_corpus):
    found = only(tmp_path, collect, "emovo", "f2/gio-f2-b2.wav", "m3/sor-m3-l3.wav")
    joy, surprise = found["gio-f2-b2"], found["sor-m3-l3"]
    assert (joy.id, joy.label, joy.speaker, joy.gender) == ("emovo-gio-f2-b2", "gio", "f2",
                                                            "female")
    assert (joy.text, joy.language) == ("I vigili sono muniti di pistola.", "it")
    assert joy.tags == {"sentence": "b2"}
    assert (surprise.gender, surprise.speaker) == ("male", "m3")
    assert surprise.text.startswith("Un attimo dopo s’è")
    classes = load_corpus("emovo").label_map
    assert (classes["gio"], classes["rab"], classes["tri"]) == ("happiness", "anger", "sadness")


def test_emovo_has_a_text_for_every_sentence(tmp_path, collect):
    languages.emovo(tmp_path, ("f1",), write=trees.name_only)
    found, _ = collect("emovo", tmp_path)
    assert len({record.text for record in found.values()}) == 14 and len(found) == 98


def test_emovo_refuses_sentences_and_speakers_of_no_release(tmp_path, collect):
    said = refusals(tmp_path, collect, "emovo", "f2/gio-f2-b4.wav", "f4/gio-f4-b1.wav",
                    "m1/gio-f2-b1.wav")
    assert said["m1/gio-f2-b1.wav"] == "speaker f2 lies in the folder of another"
    assert "gio-f2-b2" in said["f2/gio-f2-b4.wav"]


# ---------------------------------------------------------------------------------- SUBESCO


def test_subesco_speakers_are_gender_and_number(tmp_path, collect):
    found = only(tmp_path, collect, "subesco", "F_10_FAHMEE_S_6_FEAR_5.wav",
                 "M_10_NAME_S_10_SURPRISE_1.wav", "F_02_NAME_S_1_SAD_3].wav")
    first, other = found["F_10_FAHMEE_S_6_FEAR_5"], found["M_10_NAME_S_10_SURPRISE_1"]
    assert first.id == "subesco-F_10_FAHMEE_S_6_FEAR_5"
    assert (first.label, first.speaker, first.gender) == ("FEAR", "F10", "female")
    assert (first.language, first.tags) == ("bn", {"sentence": "6", "take": "5"})
    assert (other.speaker, other.gender) == ("M10", "male") and other.tags["sentence"] == "10"
    stray = found["F_02_NAME_S_1_SAD_3]"]
    assert stray.id == "subesco-F_02_NAME_S_1_SAD_3]" and stray.tags["take"] == "3"


@pytest.mark.parametrize("stem", [
    "F_10_FAHMEE_S_11_FEAR_5", "F_10_FAHMEE_S_6_FEAR_6", "X_10_FAHMEE_S_6_FEAR_5",
    "F_10_FAHMEE_6_FEAR_5", "F_10_FAHMEE_S_6_FEAR_5 - copy"])
def test_subesco_refuses_other_names(stem, tmp_path, collect):
    assert "F_10_FAHMEE" in refusals(tmp_path, collect, "subesco", f"{stem}.wav")[f"{stem}.wav"]


# ------------------------------------------------------------------------------------ folds


def test_folds_of_the_papers_are_those_declared(load_prepare, tmp_path, collect):
    """CaFE's three folds hold 312 utterances each; no speaker is on two sides of any."""
    path = EGS / "cafe/hparams/classical.yaml"
    block = path.read_text().partition("    listed:\n")[2].partition("    dev_groups")[0]
    listed = yaml.safe_load(block)
    languages.cafe(tmp_path, write=trees.name_only)
    found, _ = collect("cafe", tmp_path)
    assert [{int(name) for name in fold} for fold in listed] == [
        {1, 7, 8, 10}, {2, 4, 9, 12}, {3, 5, 6, 11}]
    for fold in listed:
        assert sum(record.speaker in fold for record in found.values()) == 312


def test_subesco_folds_are_those_of_emobox(tmp_path, collect):
    """Each of its test lists holds 1,400 utterances of four speakers, blocks of 350."""
    languages.subesco(tmp_path, write=trees.name_only)
    speakers = [record.speaker for record in collect("subesco", tmp_path)[0].values()]
    for name in ("classical", "scratch", "emotion2vec_probe", "emotion2vec_plus"):
        text = (EGS / f"subesco/hparams/{name}.yaml").read_text(encoding="utf-8")
        listed = yaml.safe_load(text.partition("    listed:\n")[2].partition("    dev_groups")[0])
        assert listed[0] == ["F03", "M03", "M08", "M09"] and listed[4][0] == "F02"
        assert sorted(name for fold in listed for name in fold) == sorted(set(speakers))
        assert [sum(speaker in fold for speaker in speakers) for fold in listed] == 5 * [1400]
