"""ESD: places and numbers, tables in many encodings and with odd lines, parts, folds."""

import pytest
import trees
import trees_mead_esd as imitation
import yaml

TEXT = "打远一看，它们的确很是美丽，"


@pytest.fixture
def spoken(tmp_path, collect):
    """Return a function that reads two neutral recordings of a speaker with these tables."""

    def read(speaker: str, content: bytes, **options):
        for number in (1, 2):
            trees.name_only(tmp_path / speaker / "Neutral" / f"{speaker}_{number:06d}.wav")
        (tmp_path / speaker / f"{speaker}.txt").write_bytes(content)
        found, faults = collect("esd", tmp_path, **options)
        return {stem[-1]: record.text for stem, record in found.items()}, faults

    return read


def test_every_field_is_what_the_tree_says(tmp_path, collect):
    stems = imitation.esd(tmp_path, ("0003", "0011"), 3, trees.name_only)
    found, faults = collect("esd", tmp_path)
    assert sorted(found) == sorted(stems) and not faults.faults and not faults.dropped
    angry = found["0003_000352"]
    assert (angry.id, angry.path) == ("esd-0003_000352", "0003/Angry/test/0003_000352.wav")
    assert (angry.label, angry.speaker, angry.language) == ("Angry", "0003", "zh")
    assert (angry.text, angry.split, angry.gender) == ("第2句，很美丽。", "test", None)
    assert angry.tags == {"sentence": "002"}
    surprise = found["0011_001401"]
    assert (surprise.label, surprise.language, surprise.split) == ("Surprise", "en", "dev")
    assert surprise.text == "It’s number 1." and surprise.tags == {"sentence": "001"}
    assert found["0011_001403"].split == "train"


def test_copies_without_parts_or_tables_are_read(tmp_path, collect):
    stems = imitation.esd(tmp_path, ("0001", "0020"), 2, trees.name_only, parts=False,
                          tables=False)
    found, faults = collect("esd", tmp_path)
    assert sorted(found) == sorted(stems) and not faults.faults
    assert {record.split for record in found.values()} == {None}
    assert {record.text for record in found.values()} == {None}


@pytest.mark.parametrize("encoding", [
    "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gbk", "gb18030"])
def test_mandarin_tables_are_read_in_every_encoding(encoding, spoken):
    content = f"0001_000001\t{TEXT}\t中立\r\n0001_000002\t你好。\t中立\r\n".encode(encoding)
    texts, faults = spoken("0001", content)
    assert texts == {"1": TEXT, "2": "你好。"} and not faults.faults


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "cp1252"])
def test_english_tables_are_read_in_every_encoding(encoding, spoken):
    lines = "0011_000001\tHe said “it’s here”.\tNeutral\n0011_000002\tI keep…\tNeutral\n"
    texts, faults = spoken("0011", lines.encode(encoding))
    assert texts == {"1": "He said “it’s here”.", "2": "I keep…"} and not faults.faults


@pytest.mark.parametrize("line, text", [
    ("0011_000001\tLet it be.", "Let it be."),  # lacks the emotion
    ("0011_000001\tNeutral", None),  # lacks the text
    ("0011_000001", None),
    ("0011_000001 Let it be.\tNeutral", "Let it be."),  # a blank for the first tab
    ("0011_000001\tLet it be. Neutral", "Let it be."),  # and for the second
    ("0011_000001 Let it be. Neutral", "Let it be."),
    ("0011_000001\tLet it\tbe.\tneutral \t", "Let it be."),
])
def test_lines_that_lack_a_column_fall_back_to_the_folder(line, text, spoken):
    texts, faults = spoken("0011", f"{line}\n\n0011_000002\tTwo.\tNeutral".encode())
    assert texts == {"1": text, "2": "Two."} and not faults.faults


def test_all_that_is_odd_about_a_table_is_said_at_once_and_can_be_passed_over(spoken):
    lines = ["0001_000001\t一\t快乐", "0001_000002\t二\t高兴", "0002_000001\t三\t中立", "Sheet1"]
    content = "\n".join(lines).encode()
    _, faults = spoken("0001", content)
    assert [(fault.where, fault.kind) for fault in faults.faults] == [
        ("0001/0001.txt line 2", "lines of tables"), ("0001/0001.txt line 3", "lines of tables"),
        ("0001/0001.txt line 4", "lines of tables"),
        ("0001/Neutral/0001_000001.wav", "recordings whose emotion is in doubt")]
    said = [fault.what for fault in faults.faults]
    assert "'高兴'" in said[0] and "speaker 0001" in said[1]
    assert said[3] == "its folder says Neutral, 0001.txt Happy"
    assert all("check_tables: false" in fault.remedy for fault in faults.faults)
    texts, faults = spoken("0001", content, check_tables=False)
    assert texts == {"1": "一", "2": None} and not faults.faults
    assert list(map(len, faults.dropped.values())) == [3]


def test_names_and_places_of_no_release_are_refused_in_one_pass(tmp_path, collect):
    trees.name_only(tmp_path / "0001/Neutral/0001_000001.wav")
    wrong = {
        "0001/Neutral/0001_000351.wav": "number 351 is Angry, the folder Neutral",
        "0001/Neutral/0001_001751.wav": "number 1751 is not 1 to 1750",
        "0001/Neutral/0001_000000.wav": "number 0 is not 1 to 1750",
        "0001/Neutral/0002_000002.wav": "speaker 0002 lies in the folder of another",
        "0001/0001_000003.wav": "it lies in no folder of an emotion",
        "0001/Neutral/0001_4.wav": "the name is not speaker and number",
        "0021/Neutral/0021_000001.wav": "the name is not speaker and number",
    }  # fmt: skip
    for place in wrong:
        trees.name_only(tmp_path / place)
    found, faults = collect("esd", tmp_path)
    assert list(found) == ["0001_000001"]
    said = {fault.where: fault.what for fault in faults.faults}
    assert said.keys() == wrong.keys()
    assert all(said[place].startswith(what) for place, what in wrong.items())


def test_two_tables_of_a_speaker_must_agree(tmp_path, collect):
    imitation.esd(tmp_path, ("0001",), 1, trees.name_only)
    other = tmp_path / "copy" / "0001" / "0001.txt"
    imitation.esd_table(other, ["0001_000001\t别的\t中立"])
    found, faults = collect("esd", tmp_path)
    assert [fault.where for fault in faults.faults] == ["copy/0001/0001.txt"]
    assert found["0001_000001"].text == "第1句，很美丽。"


def test_the_declared_counts_are_those_of_the_official_release(load_corpus):
    """Twenty speakers, five emotions, 350 sentences, as the authors say."""
    counts = load_corpus("esd").counts
    assert counts["total"] == 20 * 5 * 350
    assert set(counts["label"].values()) == {20 * 350} and len(counts["label"]) == 5
    assert counts["speaker"] == dict.fromkeys(imitation.ESD_SPEAKERS, 5 * 350)


@pytest.mark.slow
def test_the_whole_release_has_the_declared_counts(tmp_path, collect, load_corpus, counted):
    imitation.esd(tmp_path, write=trees.name_only)
    found, faults = collect("esd", tmp_path)
    counts = load_corpus("esd").counts
    assert not faults.faults and len(found) == counts["total"]
    assert counted(found, "label") == counts["label"]
    assert counted(found, "speaker") == counts["speaker"]


def test_folds_are_those_of_emobox(repository):
    for name in ("classical", "scratch", "emotion2vec_probe", "emotion2vec_plus"):
        text = (repository / f"egs/esd/hparams/{name}.yaml").read_text(encoding="utf-8")
        listed = yaml.safe_load(text.partition("    listed:\n")[2].partition("    dev_groups")[0])
        assert [{int(speaker) for speaker in fold} for fold in listed] == [
            {5, 11, 16, 18}, {12, 14, 15, 19}, {3, 4, 6, 9}, {7, 8, 13, 20}, {1, 2, 10, 17}]
