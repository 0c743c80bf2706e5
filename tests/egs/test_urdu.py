"""URDU: gender, speaker and emotion in the name, emotion once more in the folder."""

import pytest
import trees


def test_fields_follow_the_name(tmp_path, collect):
    trees.name_only(tmp_path / "Happy" / "SF5_F1_H021.wav")
    trees.name_only(tmp_path / "Angry" / "SM4" / "SM4_F48_A0100.wav")  # a folder per speaker
    found, faults = collect("urdu", tmp_path)
    assert not faults.faults
    happy, angry = found["SF5_F1_H021"], found["SM4_F48_A0100"]
    assert (happy.id, happy.path) == ("urdu-SF5_F1_H021", "Happy/SF5_F1_H021.wav")
    assert (happy.label, happy.speaker, happy.gender) == ("H", "SF5", "female")
    assert happy.text is None and happy.language == "ur" and happy.tags == {"clip": "1"}
    assert (angry.label, angry.speaker, angry.gender) == ("A", "SM4", "male")


def test_a_clip_in_the_folder_of_another_emotion_is_a_fault(tmp_path, collect):
    trees.name_only(tmp_path / "Sad" / "SF5_F1_H021.wav")
    found, faults = collect("urdu", tmp_path)
    assert not found and "folder another" in faults.faults[0].what
    assert faults.faults[0].where == "Sad/SF5_F1_H021.wav" and faults.faults[0].remedy


def test_a_flat_copy_needs_no_folders(tmp_path, collect):
    trees.name_only(tmp_path / "SF5_F1_H021.wav")
    found, faults = collect("urdu", tmp_path)
    assert found["SF5_F1_H021"].label == "H" and not faults.faults


@pytest.mark.realdata
def test_real_release_confounds_speaker_and_emotion(real_data, collect, load_corpus, counted):
    found, faults = collect("urdu", real_data("urdu"))
    corpus = load_corpus("urdu")
    assert not faults.faults and len(found) == 400
    assert counted(found, "label") == corpus.counts["label"]
    assert counted(found, "gender") == corpus.counts["gender"]
    genders = {record.speaker: record.gender for record in found.values()}
    assert sorted(genders.values()) == 11 * ["female"] + 18 * ["male"]
    emotions = {speaker: {r.label for r in found.values() if r.speaker == speaker}
                for speaker in genders}
    assert sum(len(labels) == 1 for labels in emotions.values()) == 26


@pytest.mark.realdata
def test_real_originals(real_data, collect):
    found, faults = collect("urdu", real_data("urdu_orig"))
    assert not faults.faults and len(found) == 10
