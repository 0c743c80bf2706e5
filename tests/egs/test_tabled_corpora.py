"""ShEMO, RESD and M3ED: names and the tables beside them."""

import json

import pytest
import trees
import trees_languages as languages

# ------------------------------------------------------------------------------------ ShEMO


def test_shemo_follows_the_name_and_reads_the_transcripts(tmp_path, collect):
    stems = languages.SMALL["shemo"](tmp_path, write=trees.name_only)
    found, faults = collect("shemo", tmp_path)
    assert sorted(found) == sorted(stems) and not faults.faults
    fear = found["F01F01"]  # the first F is the gender
    assert (fear.id, fear.path) == ("shemo-F01F01", "female/F01F01.wav")
    assert (fear.label, fear.speaker, fear.gender, fear.language) == ("F", "F01", "female", "fa")
    assert found["M01W01"].gender == "male" and found["M01W01"].label == "W"
    assert found["M01W01"].text == "متن M01W01"
    assert found[stems[-1]].text is None  # the table lacks it


def test_shemo_needs_no_transcripts_but_readable_ones(tmp_path, collect):
    languages.SMALL["shemo"](tmp_path, write=trees.name_only)
    table = tmp_path / "shemo.json"
    text = table.read_text(encoding="utf-8")
    table.unlink()
    found, faults = collect("shemo", tmp_path)
    assert not faults.faults and {record.text for record in found.values()} == {None}
    for broken in (text[:40], '["F01A01"]', '{"F01A01": {"speaker_id": "F01"}}'):
        table.write_text(broken, encoding="utf-8")
        found, faults = collect("shemo", tmp_path)
        assert [fault.where for fault in faults.faults] == ["shemo.json"] and len(found) == 12
        assert "transcripts" in faults.faults[0].remedy


def test_shemo_refuses_the_wrong_gender_and_other_names(tmp_path, collect):
    for place in ("female/M36S02.wav", "male/M36S2.wav", "male/M36S03.wav", "male/X36S02.wav"):
        trees.name_only(tmp_path / place)
    found, faults = collect("shemo", tmp_path)
    assert list(found) == ["M36S03"]
    assert [fault.where for fault in faults.faults] == [
        "female/M36S02.wav", "male/M36S2.wav", "male/X36S02.wav"]
    assert faults.faults[0].what == "the name says male, its folder female"


# ------------------------------------------------------------------------------------- RESD


def test_resd_names_parts_and_texts(tmp_path, collect):
    stems = languages.resd(tmp_path, dict.fromkeys(languages.RESD, 12), 12, 14,
                           write=trees.name_only)
    found, faults = collect("resd", tmp_path)
    assert sorted(found) == sorted(stems) and not faults.faults and not faults.dropped
    splits = [record.split for record in found.values()]
    assert (splits.count("train"), splits.count("test")) == (70, 14)
    blank = found["01_neutral_fear n_000"]  # and its folder has the words the other way round
    assert blank.path.split("/")[1] == "01_fear_neutral"
    assert (blank.label, blank.session, blank.speaker) == ("n", "01", None)
    joined = found["12_neutral_fear_n_000"]
    assert joined.path.split("/")[1] == "neutral_fear_12" and joined.session == "12"
    assert (joined.label, joined.language, joined.text) == ("n", "ru", "фраза 0")
    assert joined.tags == {"emotions": "neutral_fear", "turn": "000"}
    for record in found.values():
        assert record.path.startswith(f"{record.split}/")


def test_resd_needs_no_tables_but_those_that_agree(tmp_path, collect):
    languages.resd(tmp_path, languages.ONE_EACH, 7, 2, write=trees.name_only)
    table = tmp_path / "train.csv"
    text = table.read_text(encoding="utf-8")
    table.write_text("\ufeff" + text.replace("enthusiasm,", "sadness,"), encoding="utf-8")
    found, faults = collect("resd", tmp_path)
    (fault,) = faults.faults
    assert fault.what == "the name says e, train.csv sadness" and len(found) == 6
    table.write_text("name,emotion\nx,y\n", encoding="utf-8")
    found, faults = collect("resd", tmp_path)
    assert [fault.where for fault in faults.faults] == ["train.csv"] and len(found) == 7
    for part in ("train", "test"):
        (tmp_path / f"{part}.csv").unlink()
    found, faults = collect("resd", tmp_path)
    assert not faults.faults and {record.text for record in found.values()} == {None}


def test_resd_refuses_files_outside_the_parts_and_other_names(tmp_path, collect):
    for place in ("01_anger_fear a_010.wav", "test/01/01_anger_fear_010.wav",
                  "train/01/01_anger_fear a_020.wav"):
        trees.name_only(tmp_path / place)
    found, faults = collect("resd", tmp_path)
    assert list(found) == ["01_anger_fear a_020"]
    assert [fault.what.split(",")[0] for fault in faults.faults] == [
        "it lies neither in train nor in test", "the name is not dialogue"]


# ------------------------------------------------------------------------------------- M3ED


def test_m3ed_speakers_are_series_and_name_whatever_their_letter(tmp_path, collect):
    stems = languages.m3ed(tmp_path, write=trees.name_only)
    found, faults = collect("m3ed", tmp_path)
    assert sorted(found) == sorted(stems) and not faults.faults and not faults.dropped
    first, swapped = found["A_anjia_1_1"], found["B_anjia_2_2"]
    assert (first.id, first.path) == ("m3ed-anjia_1_1", "modality_speech/A_anjia_1_1.wav")
    assert (first.label, first.session, first.split) == ("Neutral", "anjia_1", "train")
    assert first.speaker == swapped.speaker == "anjia/骆玉珠"
    assert (first.gender, first.text, first.language) == ("female", "第1句", "zh")
    assert first.tags == {"age": "mid", "emotions": "Neutral,Neutral"}
    assert found["A_anjia_2_1"].speaker == "anjia/P1" and found["A_anjia_2_1"].gender == "male"
    assert found["A_humamaoba_1_1"].split == "dev"
    assert found["A_huanlesong_1_1"].split == "test"
    speakers = {part: {record.speaker for record in found.values() if record.split == part}
                for part in ("train", "dev", "test")}
    assert not speakers["train"] & speakers["test"] and not speakers["dev"] & speakers["test"]
    assert len(set().union(*speakers.values())) == 8


def test_m3ed_names_missing_audio_and_leaves_unnamed_audio_out(tmp_path, collect):
    languages.m3ed(tmp_path, write=trees.name_only)
    (tmp_path / "modality_speech/B_fendou_1_2.wav").unlink()
    trees.name_only(tmp_path / "modality_speech/A_fendou_9_9.wav")
    found, faults = collect("m3ed", tmp_path)
    assert [(fault.where, fault.what) for fault in faults.faults] == [
        ("fendou_1_2", "there is no audio file B_fendou_1_2")]
    assert faults.dropped == {
        "audio that annotation.json does not name": ["modality_speech/A_fendou_9_9.wav"]}
    assert "B_fendou_1_2" not in found and len(found) == 55


def test_m3ed_unknown_things_stay_unknown(tmp_path, collect):
    languages.m3ed(tmp_path, write=trees.name_only)
    file = tmp_path / "annotation.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["anjia"]["anjia_1"]["SpeakerInfo"] = {"A": {"Name": "", "Gender": "unknown"}}
    content["anjia"]["anjia_1"]["Dialog"]["anjia_1_1"].update(Text="", EmoAnnotation={})
    file.write_text(json.dumps(content), encoding="utf-8")
    found, faults = collect("m3ed", tmp_path)
    record = found["A_anjia_1_1"]
    assert not faults.faults and record.tags == {}
    assert (record.speaker, record.gender, record.text, record.label) == (None,) * 4
    assert found["B_anjia_1_2"].speaker is None and found["B_anjia_1_2"].label == "Happy"


def test_m3ed_lists_must_be_there_once_and_cover_every_series(tmp_path, collect):
    languages.m3ed(tmp_path, write=trees.name_only)
    lists = tmp_path / "splitInfo"
    (lists / "movie_list_train.txt").write_text("anjia\nhuanlesong", encoding="utf-8")
    (lists / "movie_list_val.txt").unlink()
    found, faults = collect("m3ed", tmp_path)
    assert [fault.where for fault in faults.faults] == [
        "splitInfo/movie_list_val.txt", "splitInfo/movie_list_test.txt",
        "annotation.json: fendou", "annotation.json: humamaoba"]
    assert "huanlesong is in train as well" in faults.faults[1].what
    assert {record.session.split("_")[0] for record in found.values()} == {"anjia", "huanlesong"}


@pytest.mark.parametrize("text", [
    None, "{", "[1]", '{"anjia": {"anjia_1": {}}}',
    '{"anjia": {"anjia_1": {"Dialog": {"x": {}}}}}',
])
def test_m3ed_says_what_is_wrong_with_the_annotation(text, tmp_path, collect):
    languages.m3ed(tmp_path, write=trees.name_only)
    file = tmp_path / "annotation.json"
    file.unlink() if text is None else file.write_text(text, encoding="utf-8")
    found, faults = collect("m3ed", tmp_path)
    assert not found and [fault.where for fault in faults.faults] == ["annotation.json"]
    assert "modality_speech" in faults.faults[0].remedy


def test_m3ed_without_audio_is_one_fault_that_names_the_folder(tmp_path, collect):
    found, faults = collect("m3ed", tmp_path / "nowhere")
    assert not found and len(faults.faults) == 1 and "data_folder" in faults.faults[0].remedy
