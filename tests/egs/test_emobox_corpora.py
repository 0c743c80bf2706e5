"""TESS, CASIA, JL-Corpus, EmoV-DB, MESD, Polish, TurEV-DB, eNTERFACE'05: fields, traps, faults."""

from collections import Counter

import pytest
import trees
import trees_emobox as imitation
from recipes import copy_recipe, run_here
from sertools.data.corpus import Faults
from sertools.data.folds import Folds
from sertools.data.prepare import prepare_manifest
from sertools.data.protocol import make_folds
from sertools.errors import DataError


@pytest.fixture
def read(load_prepare):
    """Return a function that runs a preparer: records by id, and the faults."""

    def run(name, root, **options):
        faults = Faults()
        found = list(load_prepare(name).records(root, faults, **options))
        assert len({record.id for record in found}) == len(found)
        return {record.id: record for record in found}, faults

    return run


@pytest.fixture
def refused(tmp_path, read):
    """Return a function that makes empty files, none of which will do: what is said of each."""

    def run(name, *places):
        for place in places:
            trees.name_only(tmp_path / place)
        found, faults = read(name, tmp_path)
        assert not found and all(fault.remedy for fault in faults.faults)
        assert {fault.where for fault in faults.faults} == set(places)
        return {fault.where: fault.what for fault in faults.faults}

    return run


def counts_agree(records, corpus, counted) -> None:
    """Compare the recipe's counts with those of a whole imitation."""
    for field, expected in corpus.counts.items():
        if field == "total":
            assert len(records) == expected
            continue
        if field.startswith("tag."):
            seen = Counter(record.tags[field[4:]] for record in records.values())
        else:
            seen = counted(records, field)
        assert (len(seen) if isinstance(expected, int) else seen) == expected, field


# -------------------------------------------------------------------------------------- TESS


def test_tess_reads_folders_and_flat_copies_alike(tmp_path, read):
    imitation.tess(tmp_path / "a", 3, trees.name_only)
    imitation.tess(tmp_path / "b", 3, trees.name_only, flat=True)
    release, copy = read("tess", tmp_path / "a")[0], read("tess", tmp_path / "b")[0]
    assert release.keys() == copy.keys() and len(release) == 2 * 7 * 3
    surprise = release["tess-YAF_back_ps"]
    assert surprise.path == "YAF_pleasant_surprised/YAF_back_ps.wav"
    assert (surprise.label, surprise.speaker, surprise.gender) == ("ps", "YAF", "female")
    assert (surprise.text, surprise.language) == ("Say the word back", "en")
    assert release["tess-OAF_back_fear"].path == "OAF_Fear/OAF_back_fear.wav"
    assert [(copy[id].label, copy[id].speaker) for id in release] == [
        (record.label, record.speaker) for record in release.values()]


def test_tess_knows_the_file_that_lacks_a_letter_mended_or_not(tmp_path, read):
    imitation.tess(tmp_path, 2, trees.name_only)
    found, faults = read("tess", tmp_path)
    bite = found["tess-OA_bite_neutral"]
    assert (bite.speaker, bite.label, bite.tags) == ("OAF", "neutral", {"word": "bite"})
    trees.name_only(tmp_path / "once more/OAF_bite_neutral.wav")
    again, faults = read("tess", tmp_path)
    assert again == found and not faults.faults
    assert faults.dropped == {"same stem as another file": [
        str(tmp_path / "once more/OAF_bite_neutral.wav")]}


def test_tess_refuses_in_one_pass(refused):
    said = refused("tess", "OA_back_neutral.wav", "MAF_back_sad.wav", "OAF_back.wav",
                   "YAF_sad/OAF_dab_sad.wav", "OAF_Fear/OAF_bad_happy.wav")
    assert said["OA_back_neutral.wav"] == "the speaker is neither OAF nor YAF"
    assert said["YAF_sad/OAF_dab_sad.wav"] == "the name says OAF sad, its folder sad of YAF"
    assert said["OAF_Fear/OAF_bad_happy.wav"] == "the name says OAF happy, its folder fear of OAF"
    assert "OAF_back_fear" in said["OAF_back.wav"]


def test_tess_takes_aiff_inside_of_wav_and_other_rates(tmp_path, load_prepare, load_corpus):
    imitation.FOR_RUNS["tess"](tmp_path / "r")
    corpus = load_corpus("tess", allow_subset=True)
    summary = prepare_manifest(load_prepare("tess").records, corpus, tmp_path / "r",
                               tmp_path / "out", say=lambda _: None)
    assert summary["utterances"] == 42
    assert summary["sample_rate"] == {"16000": 2, "24414": 39, "96000": 1}
    assert summary["dropped"] == {"same stem as another file": 42}
    assert any("2 files are not what their extension says" in each
               for each in summary["warnings"])


def test_tess_has_two_folds_whose_dev_part_is_drawn_from_train(tmp_path, read):
    imitation.tess(tmp_path, 10, trees.name_only)
    folds = make_folds(read("tess", tmp_path)[0], Folds(dev_from="utterances"))
    assert [fold.groups for fold in folds] == [["OAF"], ["YAF"]]
    assert {(len(fold.train), len(fold.dev), len(fold.test)) for fold in folds} == {(56, 14, 70)}
    assert folds.flags == ["speakers shared by train and dev"]


# ------------------------------------------------------------------------------------- CASIA


def test_casia_is_known_by_its_folders_however_spelled(tmp_path, read, load_corpus, counted):
    names = imitation.casia(tmp_path / "a", write=trees.name_only)
    found, faults = read("casia", tmp_path / "a")
    assert sorted(found) == sorted(f"casia-{name}" for name in names) and not faults.faults
    counts_agree(found, load_corpus("casia"), counted)
    record = found["casia-239-wangzhe-neutral"]
    assert (record.path, record.label, record.speaker) == (
        "wangzhe/neutral/239.wav", "neutral", "wangzhe")
    assert (record.language, record.gender, record.text) == ("zh", None, None)
    assert record.tags == {"sentence": "239"}
    imitation.casia(tmp_path / "b", write=trees.name_only, spelled={
        "liuchanhg": "liuchanhang", "zhaozuoxiang": "ZhaoZuoxiang"})
    assert read("casia", tmp_path / "b")[0].keys() == found.keys()


def test_casia_refuses_in_one_pass(refused):
    said = refused("casia", "wangzhe/sad/200.wav", "wangzhe/sad/251.wav", "lisi/sad/201.wav",
                   "sad/201-sad-wangzhe.wav", "201.wav", "wangzhe/sad/202 (1).wav")
    assert said["wangzhe/sad/200.wav"] == "sentence 200 is not 201 to 250"
    assert said["lisi/sad/201.wav"].startswith("speaker lisi is none of liuchanhg, wangzhe")
    assert "wangzhe/neutral/239" in said["201.wav"]


# --------------------------------------------------------------------------------- JL-Corpus


def test_jl_corpus_reads_names_and_texts(tmp_path, read):
    stems = imitation.jl_corpus(tmp_path, ("male2",), 6, trees.name_only)
    found, faults = read("jl_corpus", tmp_path)
    assert sorted(found) == sorted(f"jl_corpus-{stem}" for stem in stems) and not faults.faults
    record = found["jl_corpus-male2_concerned_6b_1"]
    assert record.path == f"{imitation.JL_FOLDER}/male2_concerned_6b_1.wav"
    assert (record.label, record.speaker, record.gender) == ("concerned", "male2", "male")
    assert record.text == "Sentence 6b." and record.tags == {"sentence": "6b", "take": "1"}
    folder = tmp_path / imitation.JL_FOLDER
    (folder / "male2_sad_1a_1.txt").unlink()
    (folder / "male2_sad_1a_2.txt").write_bytes(b"\xff\xfe\xff")
    found, faults = read("jl_corpus", folder)  # its own folder will do
    assert found["jl_corpus-male2_sad_1a_1"].text is None and len(found) == len(stems)
    assert [fault.kind for fault in faults.faults] == ["texts"]


def test_jl_corpus_leaves_out_what_lies_beside_the_raw_recordings(tmp_path, read):
    imitation.jl_corpus(tmp_path, ("male1",), 1)
    before, _ = read("jl_corpus", tmp_path)
    partial = imitation.JL_FOLDER.replace("Raw", "raw")
    trees.sound(tmp_path / partial / "male1_sad_1a_1.wav", seconds=0.3)  # of another size
    trees.sound(tmp_path / "perception test/stimulus 3.wav")
    after, faults = read("jl_corpus", tmp_path)
    assert after == before and not faults.faults
    assert faults.dropped == {"sound outside of the release's JL(wav+txt)": [
        "perception test/stimulus 3.wav", f"{partial}/male1_sad_1a_1.wav"]}


def test_jl_corpus_refuses_in_one_pass(refused):
    said = refused("jl_corpus", "male3_sad_1a_1.wav", "male1_sad_16a_1.wav", "male1_sad_1a_3.wav",
                   "male1_sad_1_1.wav")
    assert all("male2_concerned_6b_1" in what for what in said.values())


# ----------------------------------------------------------------------------------- EmoV-DB


@pytest.mark.parametrize("place", [
    "{speaker}_{style}", "EmoV-DB_sorted/{speaker}/{style}", "{speaker}_{style}/{speaker}_{style}",
    "{speaker}/{speaker}_{style}", "audio/{speaker}_{style}/wavs"])
def test_emov_db_is_known_by_its_folders(place, tmp_path, read, load_corpus, counted):
    names = imitation.emov_db(tmp_path, write=trees.name_only, place=place)
    found, faults = read("emov_db", tmp_path)
    assert sorted(found) == sorted(f"emov_db-{name}" for name in names) and not faults.faults
    counts_agree(found, load_corpus("emov_db"), counted)
    record = found["emov_db-sam-Angry-anger_1-28_0002"]
    assert (record.label, record.speaker, record.gender) == ("Angry", "sam", "male")
    assert record.tags == {"sentence": "0002", "archive": "sam_Angry"} and record.text is None
    assert {record.label for record in found.values() if record.speaker == "josh"} == {
        "Amused", "Neutral", "Sleepy"}


def test_emov_db_takes_the_other_spelling_of_disgust_and_copies_once(tmp_path, read):
    trees.name_only(tmp_path / "sam_Disgust/disgust_1-28_0001.wav")
    trees.name_only(tmp_path / "once more/sam_Disgusted/disgust_1-28_0001.wav")
    found, faults = read("emov_db", tmp_path)
    assert list(found) == ["emov_db-sam-Disgusted-disgust_1-28_0001"] and not faults.faults
    assert list(map(len, faults.dropped.values())) == [1]


def test_emov_db_refuses_in_one_pass_and_can_believe_the_folder(refused, tmp_path, read):
    said = refused("emov_db", "amused_1-28_0001.wav", "josh_Angry/anger_1-28_0001.wav",
                   "sam_Sleepy/neutral_1-28_0001.wav", "sam_Sleepy/sleepiness_0001.wav",
                   "ann_Sleepy/sleepiness_1-28_0001.wav")
    assert said["josh_Angry/anger_1-28_0001.wav"] == "josh recorded nothing angry"
    assert said["sam_Sleepy/neutral_1-28_0001.wav"].startswith(
        "the name says neutral, its folder Sleepy")
    assert "sam_Angry/anger_1-28_0011" in said["amused_1-28_0001.wav"]
    found, faults = read("emov_db", tmp_path, check_names=False)
    assert [record.label for record in found.values()] == ["Sleepy"] and len(faults.faults) == 4


def test_emov_db_misses_an_archive(tmp_path, load_prepare, load_corpus):
    imitation.emov_db(tmp_path / "r", 1, trees.name_only)
    (tmp_path / "r/sam_Angry/anger_1-28_0001.wav").unlink()
    with pytest.raises(DataError, match="counts.tag.archive: expected 18 different ones, found 17"):
        prepare_manifest(load_prepare("emov_db").records, load_corpus("emov_db"), tmp_path / "r",
                         tmp_path / "out", say=lambda _: None)


# -------------------------------------------------------------------- MESD, Polish, TurEV-DB


def test_mesd_has_voices_for_speakers(tmp_path, read, load_corpus):
    imitation.mesd(tmp_path, write=trees.name_only)
    found, faults = read("mesd", tmp_path)
    thanks, child = found["mesd-Happiness_F_A_de_nada"], found["mesd-Anger_C_B_tarde"]
    assert (thanks.label, thanks.speaker, thanks.gender) == ("Happiness", "F", "female")
    assert (thanks.text, thanks.language, thanks.tags) == ("de nada", "es", {"list": "A"})
    assert (child.speaker, child.gender, child.text) == ("C", None, "tarde")
    assert "kinds of voice" in load_corpus("mesd").remark
    folds = make_folds(found, Folds())
    assert [fold.groups for fold in folds] == [["C"], ["F"], ["M"]] and not folds.flags


def test_mesd_and_polish_refuse_in_one_pass(refused):
    said = refused("mesd", "Anger_X_A_tarde.wav", "Anger_F_C_tarde.wav", "Anger_F_A_.wav",
                   "anger_F_A_tarde.wav", "Anger_F_A_tarde (1).wav")
    assert all("Anger_F_A_tarde" in what for what in said.values())


def test_polish_letters(tmp_path, read, load_corpus, refused):
    trees.name_only(tmp_path / "good/m3.s_trzymaj_5.wav")
    (record,) = read("polish", tmp_path / "good")[0].values()
    assert load_corpus("polish").class_of(record.label) == "fear"  # strach
    assert (record.speaker, record.gender, record.text) == ("m3", "male", "trzymaj")
    assert (record.language, record.tags) == ("pl", {"take": "5"})
    (tmp_path / "good/m3.s_trzymaj_5.wav").unlink()
    refused("polish", "m6.s_tak_1.wav", "m1.s_tak_6.wav", "m1.s_dom_1.wav", "m1_s_tak_1.wav")


def test_turev_db_letters_and_folders(tmp_path, read, load_corpus, refused):
    place = tmp_path / "good/Sound Source/Sad/1358_hl_algi.wav"
    (record,) = read("turev_db", trees.name_only(place).parents[2])[0].values()
    assert load_corpus("turev_db").class_of(record.label) == "sadness"
    assert record.id == "turev_db-1358_hl_algi"
    assert record.path == "Sound Source/Sad/1358_hl_algi.wav"
    assert (record.speaker, record.gender, record.text) == ("1358", None, "algi")
    place.unlink()
    said = refused("turev_db", "Calm/1358_hl_algi.wav", "1000_hl_algi.wav", "1358_algi.wav")
    assert said["Calm/1358_hl_algi.wav"] == "the name says emotion hl, its folder Calm"
    assert said["1000_hl_algi.wav"].startswith("speaker 1000 is none of 1157, 1234")


# ------------------------------------------------------------------------------- eNTERFACE'05


def test_enterface_bears_every_slip_of_the_release(tmp_path, read, load_corpus, counted):
    names = imitation.enterface(tmp_path, write=trees.name_only)
    found, faults = read("enterface", tmp_path)
    assert sorted(found) == sorted(f"enterface-{name}" for name in names) and not faults.faults
    counts_agree(found, load_corpus("enterface"), counted)
    assert list(map(len, faults.dropped.values())) == [6]  # uncut
    eleven, twelve = found["enterface-s11_an_1"], found["enterface-s12_an_1"]
    assert eleven.path == "subject 11/anger/sentence 1/s12_an_1.flac"
    assert (eleven.speaker, twelve.speaker) == ("s11", "s12")
    assert found["enterface-s16_su_3"].path.endswith("s16_su_3avi.flac")
    assert found["enterface-s3_ha_5"].path.endswith("s_3_ha_5.flac")
    assert found["enterface-s2_an_1"].path == "subject 2/anger/sentence 2/s2_an_1.flac"
    assert (twelve.label, twelve.language, twelve.tags) == ("anger", "en", {"sentence": "1"})
    assert twelve.gender is None


def test_enterface_refuses_in_one_pass(refused):
    said = refused("enterface", "subject 13/anger/sentence 1/s12_an_1.wav", "s1_an_1.wav",
                   "subject 1/joy/sentence 1/s1_jo_1.wav", "subject 1/anger/sentence 6/s1_an_6.wav",
                   "subject 1/anger/sentence 1/s1_di_1.wav")
    assert said["subject 13/anger/sentence 1/s12_an_1.wav"] == (
        "the name says subject 12, its folder 13")
    assert said["subject 1/anger/sentence 1/s1_di_1.wav"] == "the name says di, its folder anger"
    assert "subject 19/anger/sentence 4/s19_an_4.avi" in said["s1_an_1.wav"]


def test_enterface_copies_clash_only_if_they_differ(tmp_path, read):
    imitation.enterface(tmp_path, (1,), 1)
    before, _ = read("enterface", tmp_path)
    trees.second_copy(tmp_path, "once more")
    trees.name_only(tmp_path / "subject 1/anger/sentence 1/s1_an_1.avi")  # where it came from
    after, faults = read("enterface", tmp_path)
    assert after == before and not faults.faults
    assert list(map(len, faults.dropped.values())) == [6]
    (tmp_path / "once more/subject 1/anger/sentence 1/s1_an_1.flac").write_bytes(b"another size")
    _, faults = read("enterface", tmp_path)
    assert [fault.kind for fault in faults.faults] == ["files that clash"]


def test_enterface_without_ffmpeg_names_the_command(repository, tmp_path, read, monkeypatch):
    root = tmp_path / "r"
    imitation.enterface(root, (1, 6), 1, trees.name_only, ".avi")
    found, faults = read("enterface", root)
    assert not found and len(faults.faults) == 6
    (group,) = faults.groups()
    assert group.startswith("videos whose sound must be taken out first: 6")
    recipe = copy_recipe(repository, "enterface", tmp_path)
    monkeypatch.setenv("PATH", str(root))
    printed = run_here(recipe, "hparams/classical.yaml", "--data_folder", root, code=3)
    assert "6 clips are videos (.avi) and there is no ffmpeg" in printed
    assert "find . -name 's*.avi' -exec" in printed and "${1%.avi}.flac" in printed
