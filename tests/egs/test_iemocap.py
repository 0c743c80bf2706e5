"""IEMOCAP: talkers, labels, ratings and texts of an imitation, and the published lists."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest
import trees
import trees_iemocap
from hyperpyyaml import load_hyperpyyaml
from sertools.data.corpus import Faults
from sertools.data.folds import Folds
from sertools.data.manifest import read_manifest
from sertools.data.prepare import prepare_manifest
from sertools.data.protocol import make_folds
from sertools.errors import ConfigError, DataError

EGS = Path(__file__).resolve().parents[2] / "egs"
SESSIONS = {"Session1": 1085, "Session2": 1023, "Session3": 1151, "Session4": 1031,
            "Session5": 1241}


@pytest.fixture
def meta(real_data) -> Path:
    """Return the folder of published lists, which lies beside the recordings; skip if absent."""
    folder = real_data("").parent / "meta" / "iemocap"
    if not folder.is_dir():
        pytest.skip("no published lists of IEMOCAP")
    return folder


@pytest.fixture
def release(tmp_path):
    """Return the folder of a small imitation, without sound."""
    trees_iemocap.iemocap(tmp_path / "r", trees_iemocap.small(), write=trees.name_only)
    return tmp_path / "r"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_every_field_of_every_turn_is_what_the_tree_says(release, collect):
    found, faults = collect("iemocap", release)
    assert not faults.faults
    lines = {line.name: line for line in trees_iemocap.small()}
    assert found.keys() == lines.keys()
    for name, record in found.items():
        line = lines[name]
        session = name[4]
        assert record.id == f"iemocap-{name}"
        assert record.path == f"Session{session}/sentences/wav/{line.dialogue}/{name}.wav"
        assert record.label == record.tags["emotion"] == line.label
        assert record.speaker == f"Ses0{session}{line.last[0]}"
        assert record.gender == ("female" if line.last[0] == "F" else "male")
        assert record.session == f"Session{session}" and record.language == "en"
        assert record.text == line.text and record.start is record.end is record.channel is None
        assert record.tags["dialogue"] == line.dialogue
        assert float(record.tags["start"]) == line.start
        assert float(record.tags["end"]) == line.start + 1.5
        assert record.tags["style"] == ("improvised" if "impro" in name else "scripted")
        said = trees_iemocap.VOTES[line.label]
        assert record.tags["annotators"] == f"E2={said};E3={said}+Anger;{line.last[0]}1={said}"
        if "script01_1b" not in name:
            assert (record.valence, record.arousal, record.dominance) == line.means
            assert "rated" not in record.tags


def test_the_talker_is_not_who_wears_the_markers(release, collect):
    found, _ = collect("iemocap", release)
    assert found["Ses01F_impro01_M002"].speaker == "Ses01M"
    assert found["Ses01F_impro01_M002"].gender == "male"
    assert found["Ses03M_impro05a_F000"].speaker == "Ses03F"  # lettered: no fixed position
    assert found["Ses05M_script01_1b_F001"].speaker == "Ses05F"
    assert found["Ses05M_script01_1b_F001"].tags["scene"] == "script01_1b"


def test_turns_are_counted_by_time_over_both_talkers_and_all_labels(release, collect):
    found, faults = collect("iemocap", release, labels=["neu", "hap", "exc", "sad", "ang"])
    turns = {name: int(record.tags["turn"]) for name, record in found.items()
             if record.tags["dialogue"] == "Ses02F_impro01"}
    in_time = sorted(turns, key=turns.get)
    assert in_time[:4] == [f"Ses02F_impro01_{last}" for last in ("F000", "M000", "F001", "M001")]
    assert sorted(turns.values()) == list(range(10))  # 10 to 13 are frustrated or undecided
    assert faults.dropped.keys() == {
        "label fru", "label xxx", "line of a transcript without an evaluated turn of its own"}
    assert len(faults.dropped["label fru"]) == len(faults.dropped["label xxx"]) == 20
    whole, _ = collect("iemocap", release)
    assert whole["Ses02F_impro01_M006"].tags["turn"] == "13"


def test_means_off_the_scale_move_to_its_end_and_keep_their_words(release, collect):
    found, faults = collect("iemocap", release)
    odd = found["Ses05M_script01_1b_F001"]
    assert (odd.valence, odd.arousal, odd.dominance) == (5.0, 1.0, 3.0)
    assert odd.tags["rated"] == "5.5000 0.5000 3.0000" and not faults.faults


def test_remarks_in_transcripts_are_counted_and_no_turn_has_their_words(release, collect):
    found, faults = collect("iemocap", release)
    remarks = faults.dropped["line of a transcript without an evaluated turn of its own"]
    assert len(remarks) == 2 * len(list(release.glob("Session*/dialog/transcriptions/*.txt")))
    assert "Session1/dialog/transcriptions/Ses01F_impro01.txt line 15" in remarks
    assert not any("LAUGHTER" in record.text for record in found.values())


@pytest.mark.parametrize("how", ["crlf", "bom", "latin-1"])
def test_text_files_are_read_whatever_program_saved_them(how, tmp_path, collect):
    lines = trees_iemocap.small()
    trees_iemocap.iemocap(tmp_path, lines, write=trees.name_only,
                          ends="\r\n" if how == "crlf" else "\n")
    for path in tmp_path.glob("Session*/dialog/*/*.txt"):
        text = path.read_bytes().decode("utf-8")
        if how == "bom":
            path.write_bytes(text.encode("utf-8-sig"))
        elif how == "latin-1":
            path.write_bytes(text.replace("’", "´").encode("latin-1"))
    found, faults = collect("iemocap", tmp_path)
    assert len(found) == len(lines) and not faults.faults
    text = found["Ses01F_impro01_F000"].text
    assert text.replace("´", "’") == "That’s turn F000, isn’t it?"


def test_litter_a_second_copy_and_flac_change_nothing(tmp_path, collect):
    trees_iemocap.iemocap(tmp_path, trees_iemocap.small()[:30])
    before, _ = collect("iemocap", tmp_path)
    copies = len(list(tmp_path.rglob("*.wav")))  # those of whole dialogues included
    for folder in [*tmp_path.glob("Session*/dialog/EmoEvaluation"),
                   *tmp_path.glob("Session*/sentences/wav/*")]:
        trees.litter(folder)
    trees.second_copy(tmp_path, "IEMOCAP_full_release")
    trees.sound((tmp_path / before["Ses01F_impro01_F000"].path).with_suffix(".flac"))
    after, faults = collect("iemocap", tmp_path)
    assert after == before and not faults.faults
    assert len(faults.dropped["same stem as another file"]) == copies + 1


def test_all_faults_are_found_in_one_pass_with_file_and_line(release, collect, load_prepare):
    first = trees_iemocap.evaluation_file(release, "Ses01F_impro01")
    edit(first, "neu\t[2.5000, 3.0000, 3.5000]", "neu\t[2.5000, 3.0000]")
    edit(first, "Ses01F_impro01_F001", "Ses02F_impro01_F001")
    edit(first, "sad\t[3.2500, 2.2500, 4.2500]", "sad\t[3.2500, 7.0000, 4.2500]")
    edit(first, "Ses01F_impro01_M001", "Ses01F_impro01_M000")
    edit(first, "Ses01F_impro01_M002\tang\t[3.0", "Ses01F_impro01_M002\tang\t[3.0.0")
    second = trees_iemocap.evaluation_file(release, "Ses02F_impro01")
    second.write_text("% header only\n\n", encoding="utf-8")
    trees_iemocap.evaluation_file(release, "Ses03F_impro01").unlink()
    trees_iemocap.transcript_file(release, "Ses04F_impro01").unlink()
    wavs = release / "Session5/sentences/wav/Ses05F_impro01"
    (wavs / "Ses05F_impro01_F000.wav").unlink()
    (wavs / "Ses05F_impro01_F005.wav").unlink()  # frustrated: not among the four
    trees.name_only(wavs / "Ses05F_impro01_F0001.wav")
    trees.name_only(wavs / "notes.wav")
    faults = Faults()
    list(load_prepare("iemocap").records(release, faults, ["neu", "hap", "exc", "sad", "ang"]))
    told = [(Path(fault.where).name, fault.what) for fault in faults.faults]
    assert all(fault.remedy for fault in faults.faults)
    file = "Ses01F_impro01.txt line"
    lines = first.read_text(encoding="utf-8").splitlines()
    number = {word: 1 + next(n for n, line in enumerate(lines) if word in line)
              for word in ("3.0000]", "Ses02F", "7.0000", "3.0.0")}
    again = [n for n, line in enumerate(lines, 1) if "Ses01F_impro01_M000" in line]
    assert set(told) == {
        ("Ses05F_impro01_F0001.wav",
         "the name is not that of a turn, as in Ses01F_impro01_F000"),
        ("notes.wav", "the name is not that of a turn, as in Ses01F_impro01_F000"),
        (f"{file} {number['3.0000]']}",
         "does not read [start - end] turn label [valence, arousal, dominance]"),
        (f"{file} {number['Ses02F']}", "Ses02F_impro01_F001 is no turn of Ses01F_impro01"),
        (f"{file} {number['7.0000']}", "arousal is 7, off the scale of 1 to 5"),
        (f"{file} {again[1]}", f"Ses01F_impro01_M000 stands already in line {again[0]}"),
        (f"{file} {number['3.0.0']}", "the mean ratings are not numbers"),
        ("Ses02F_impro01.txt", "names no turn that can be used"),
        ("Ses03F_impro01.txt", "is missing, Ses03F_impro01 has recordings"),
        ("Ses04F_impro01.txt", "is missing"),
        ("Ses05F_impro01.txt line 3",
         "Ses05F_impro01_F000 has no recording, Ses05F_impro01_F000.wav in sentences/wav"),
    } and len(told) == 11


def test_an_unknown_code_is_left_to_the_label_map(release, collect, load_corpus):
    edit(trees_iemocap.evaluation_file(release, "Ses01F_impro01"), "\tneu\t", "\tbor\t")
    found, faults = collect("iemocap", release, **load_corpus("iemocap").options)
    assert not faults.faults and found["Ses01F_impro01_F000"].label == "bor"
    with pytest.raises(KeyError):
        load_corpus("iemocap").class_of("bor")


def test_wrong_options_and_wrong_folders_are_said(release, tmp_path, load_prepare, collect):
    with pytest.raises(ConfigError, match="no label 'angry'"):
        next(load_prepare("iemocap").records(release, Faults(), ["angry"]))
    _, faults = collect("iemocap", tmp_path / "nowhere")
    assert len(faults.faults) == 1 and "data_folder" in faults.faults[0].remedy
    for path in release.rglob("*_[FM]0*.wav"):
        path.unlink()
    _, faults = collect("iemocap", release)
    assert [fault.what for fault in faults.faults] == [
        "holds recordings of whole dialogues, none of turns"]


def test_a_copy_without_texts_has_unknown_texts(release, collect):
    for path in release.glob("Session*/dialog/transcriptions/*.txt"):
        path.unlink()
    found, faults = collect("iemocap", release)
    assert not faults.faults and {record.text for record in found.values()} == {None}


def test_a_copy_without_labels_is_one_fault(release, collect):
    for path in release.glob("Session*/dialog/EmoEvaluation/*.txt"):
        path.unlink()
    found, faults = collect("iemocap", release)
    assert not found and len(faults.faults) == 1 and "EmoEvaluation" in faults.faults[0].what


@pytest.mark.parametrize("file, number, label", [("corpus.yaml", 104, "happiness"),
                                                 ("corpus_dimensions.yaml", 144, None)])
def test_manifest_of_the_imitation(file, number, label, tmp_path, load_prepare, load_corpus):
    trees_iemocap.iemocap(tmp_path / "r", trees_iemocap.small(), whole=False)
    corpus = load_corpus("iemocap", file)
    records = load_prepare("iemocap").records
    with pytest.raises(DataError, match=f"expected {corpus.counts['total']}, found {number}"):
        prepare_manifest(records, corpus, tmp_path / "r", tmp_path / "o", lambda _: None)
    corpus = load_corpus("iemocap", file, allow_subset=True)
    summary = prepare_manifest(records, corpus, tmp_path / "r", tmp_path / "o", lambda _: None)
    assert summary["utterances"] == number
    manifest = read_manifest(tmp_path / "o" / "utts.json")
    excited = manifest["iemocap-Ses01F_impro01_F004"]
    assert (excited.label, excited.tags["emotion"], excited.valence) == (label, "exc", 3.5)
    lines = {f"iemocap-{line.name}": line for line in trees_iemocap.small()}
    for id, record in manifest.items():  # what systems of dimensions, texts and genders need
        line = lines[id]
        valence, arousal, dominance = (min(max(mean, 1.0), 5.0) for mean in line.means)
        assert (record.valence, record.arousal, record.dominance) == (valence, arousal, dominance)
        assert record.text == line.text
        assert record.gender == {"F": "female", "M": "male"}[line.last[0]]
        assert record.speaker == id[8:13] + line.last[0]


# ------------------------------------------------------------------------- published lists


@pytest.fixture
def full(meta, tmp_path):
    """Return the folder of all 151 dialogues, with the published names and labels."""
    trees_iemocap.iemocap(tmp_path, trees_iemocap.official(meta / "emobox"),
                          write=trees.name_only, whole=False)
    return tmp_path


def labelled(records, corpus):
    return [dataclasses.replace(record, label=corpus.class_of(record.label))
            for record in records]


@pytest.mark.realdata
def test_published_names_give_the_declared_counts(full, collect, load_corpus, counted, meta):
    corpus = load_corpus("iemocap")
    found, faults = collect("iemocap", full, **corpus.options)
    assert not faults.faults and len(found) == corpus.counts["total"] == 5531
    for field in ("label", "session", "speaker", "gender"):
        assert counted(found, field) == corpus.counts[field], field
    assert {key: len(names) for key, names in faults.dropped.items() if "label" in key} == {
        f"label {label}": number for label, number in trees_iemocap.OTHERS.items()}
    assert Counter(record.tags["style"] for record in found.values())["improvised"] == 2943
    assert len({record.tags["dialogue"] for record in found.values()}) == 151
    # s3prl's lists: the same files session by session, excited and happy already one
    for session, number in SESSIONS.items():
        listed = json.loads((meta / "s3prl" / session / "test_meta_data.json").read_text())
        ours = {record.path: corpus.class_of(record.label) for record in found.values()
                if record.session == session}
        names = {"neu": "neutral", "hap": "happiness", "ang": "anger", "sad": "sadness"}
        assert ours == {row["path"]: names[row["label"]] for row in listed["meta_data"]}
        assert len(ours) == number
        # their speaker is the prefix; it is wrong for about half of the turns
    wrong = sum(record.tags["dialogue"][:6] != record.speaker for record in found.values())
    assert wrong == 2750


@pytest.mark.realdata
def test_published_folds_are_the_sessions(full, collect, load_corpus, meta):
    corpus = load_corpus("iemocap")
    records = labelled(collect("iemocap", full, **corpus.options)[0].values(), corpus)
    lists = make_folds(records, Folds(kind="emobox", group="session", folder=str(meta / "emobox")))
    ours = make_folds(records, declared(), "clean")
    assert [fold.test for fold in lists] == [fold.test for fold in ours]
    assert [len(fold.test) for fold in ours] == list(SESSIONS.values())
    assert not lists.flags and not ours.flags


@pytest.mark.realdata
def test_all_turns_for_the_dimensions(full, collect, load_corpus, counted):
    corpus = load_corpus("iemocap", "corpus_dimensions.yaml")
    found, faults = collect("iemocap", full, **corpus.options)
    assert not faults.faults and len(found) == corpus.counts["total"] == 10039
    assert counted(found, "label") == corpus.counts["label"]
    assert len(counted(found, "session")) == 5 and len(counted(found, "speaker")) == 10


# ------------------------------------------------------------------------------- protocols


def declared(**changes) -> Folds:
    text = (EGS / "iemocap/hparams/scratch.yaml").read_text(encoding="utf-8")
    block = text[text.index("folds:") : text.index("seeds:")]
    return load_hyperpyyaml(block, overrides={"folds": changes} if changes else None)["folds"]


@pytest.fixture
def four(release, collect, load_corpus):
    """Return the records of the imitation with their classes."""
    corpus = load_corpus("iemocap")
    return labelled(collect("iemocap", release, **corpus.options)[0].values(), corpus)


def test_clean_folds_test_a_session_and_select_on_the_next(four):
    split = make_folds(four, declared(), "clean")
    sessions = {record.id: record.session for record in four}
    assert [fold.groups for fold in split] == [[f"Session{n}"] for n in range(1, 6)]
    for number, fold in enumerate(split, 1):
        assert {sessions[id] for id in fold.test} == {f"Session{number}"}
        assert {sessions[id] for id in fold.dev} == {f"Session{number % 5 + 1}"}
        assert len(fold.train) + len(fold.dev) + len(fold.test) == len(four)
    assert split.flags == []


def test_paper_folds_select_on_a_random_fifth_or_on_the_test_session(four):
    random = make_folds(four, declared(), "paper")
    for fold in random:
        rest = len(four) - len(fold.test)
        assert len(fold.dev) == pytest.approx(0.2 * rest, abs=2)
        assert not set(fold.dev) & set(fold.test)
    assert "speakers shared by train and dev" in random.flags
    test = make_folds(four, declared(paper_dev="test"), "paper")
    assert all(fold.dev == fold.test for fold in test)
    assert "selected on the test fold" in test.flags
    assert len({random.name, test.name, make_folds(four, declared(), "clean").name}) == 3


def test_ten_speakers_select_on_their_session_mate(four):
    split = make_folds(four, declared(group="speaker"), "clean")
    talkers = {record.id: record.speaker for record in four}
    assert len(split) == 10
    for fold in split:
        (tested,) = {talkers[id] for id in fold.test}
        (mate,) = {talkers[id] for id in fold.dev}
        assert tested[:5] == mate[:5] and tested != mate
        assert len({talkers[id] for id in fold.train}) == 8
    assert split.flags == ["sessions shared by dev and test"]
