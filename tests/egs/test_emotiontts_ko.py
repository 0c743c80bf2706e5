"""emotiontts_open_db: blocks of sentences, transcripts, and the order of two labels."""

import pytest
import trees


def one(root, stem, group="Emotional/emotional-to-emotional", text="안녕하세요.\r\n"):
    folder = root / group / stem[:3]
    trees.name_only(folder / "wav" / f"{stem}.wav")
    if text is not None:
        trees.transcript(folder / "transcript" / f"{stem}.txt", text)


def test_fields_follow_the_name_and_the_transcript(tmp_path, collect):
    one(tmp_path, "nea00101")
    one(tmp_path, "emf00005", "Emotional/plain-to-emotional")
    found, faults = collect("emotiontts_ko", tmp_path)
    assert not faults.faults
    first, second = found["nea00101"], found["emf00005"]
    assert first.id == "emotiontts_ko-nea00101"
    assert first.path == "Emotional/emotional-to-emotional/nea/wav/nea00101.wav"
    assert (first.label, first.speaker, first.gender) == ("happiness", "nea", "female")
    assert first.text == "안녕하세요."  # neither byte order mark nor line end
    assert first.language == "ko" and first.tags == {"group": "emotional-to-emotional"}
    assert (second.label, second.gender) == ("neutral", "male")
    assert second.tags == {"group": "plain-to-emotional"}


@pytest.mark.parametrize(
    "number, content, readme",
    [(1, "neutral", "neutral"), (100, "neutral", "neutral"), (101, "happiness", "happiness"),
     (200, "happiness", "happiness"), (201, "sadness", "anger"), (300, "sadness", "anger"),
     (301, "anger", "sadness"), (400, "anger", "sadness")],
)
def test_blocks_of_a_hundred_in_both_orders(number, content, readme, tmp_path, collect):
    stem = f"nek{number:05d}"
    one(tmp_path, stem)
    assert collect("emotiontts_ko", tmp_path)[0][stem].label == content
    assert collect("emotiontts_ko", tmp_path, label_order="readme")[0][stem].label == readme


def test_parts(tmp_path, collect):
    trees.emotiontts(tmp_path, trees.SMALL_EMOTIONTTS, each=1, write=trees.name_only)
    labelled, faults = collect("emotiontts_ko", tmp_path)
    assert len(labelled) == 12 and all(record.label for record in labelled.values())
    unlabelled, faults = collect("emotiontts_ko", tmp_path, part="unlabelled")
    assert not faults.faults and {record.label for record in unlabelled.values()} == {None}
    genders = {record.speaker: record.gender for record in unlabelled.values()}
    assert genders == {"lmy": "female", "kih": "male", "ava": "female", "adc": "male",
                       "pfa": "female", "pma": "male"}
    assert {record.tags["group"] for record in unlabelled.values()} == {
        "main", "average_voice_model", "adaptive", "personality"}
    everything, _ = collect("emotiontts_ko", tmp_path, part="all")
    assert everything == labelled | unlabelled


def test_transcripts_missing_or_broken_are_faults_and_absent_ones_unknown(tmp_path, collect):
    one(tmp_path, "nea00001")
    one(tmp_path, "nea00002", text=None)
    one(tmp_path, "nea00003", text="")
    one(tmp_path, "neb00001", text=None)  # a copy without any transcript of this speaker
    broken = "Emotional/emotional-to-emotional/nea/transcript/nea00004.txt"
    one(tmp_path, "nea00004")
    (tmp_path / broken).write_bytes("안녕".encode("cp949"))
    found, faults = collect("emotiontts_ko", tmp_path)
    assert len(found) == 5
    texts = {stem: record.text for stem, record in found.items()}
    assert texts == dict.fromkeys(found) | {"nea00001": "안녕하세요."}
    assert [(fault.where.rsplit("/")[-1], fault.what.split(" is ")[1]) for fault in faults.faults
            ] == [("nea00002.txt", "missing"), ("nea00004.txt", "not UTF-8 (byte 0)")]
    assert all("official repository" in fault.remedy for fault in faults.faults)


def test_strangers_are_faults_and_unknown_speakers_have_no_gender(tmp_path, collect):
    one(tmp_path, "nea00401")
    one(tmp_path, "nea00000")
    trees.name_only(tmp_path / "Emotional/emotional-to-emotional/nea/wav/neb00001.wav")
    one(tmp_path, "zzz00001")
    found, faults = collect("emotiontts_ko", tmp_path)
    assert {stem: record.gender for stem, record in found.items()} == {"zzz00001": None}
    whats = [fault.what for fault in faults.faults]
    assert whats == ["sentence 0 is in no emotion's block", "sentence 401 is in no emotion's block",
                     "speaker neb lies in the folder of another"]


def test_the_repository_root_is_refused_with_the_folder_to_give(tmp_path, collect):
    trees.emotiontts(tmp_path / "Dataset" / "SpeechCorpus", each=1, write=trees.name_only)
    found, faults = collect("emotiontts_ko", tmp_path, part="all")
    assert not found and len(faults.faults) == 3
    assert all("Dataset/SpeechCorpus" in fault.remedy for fault in faults.faults)


def test_the_unlabelled_block_loads(load_corpus):
    corpus = load_corpus("emotiontts_ko", "corpus_unlabelled.yaml")
    assert corpus.unlabelled and not corpus.classes and corpus.options == {"part": "unlabelled"}


@pytest.mark.realdata
def test_real_release(real_data, collect, load_corpus, counted):
    root = real_data("emotiontts_ko")
    found, faults = collect("emotiontts_ko", root)
    corpus = load_corpus("emotiontts_ko")
    assert not faults.faults and len(found) == 300
    for field in ("label", "speaker", "gender"):
        assert counted(found, field) == corpus.counts[field]
    assert all(record.text and not record.text.startswith("\ufeff") for record in found.values())
    read, faults = collect("emotiontts_ko", root, part="unlabelled")
    assert not faults.faults and counted(read, "label") == {None: len(read)}
    assert not set(read) & set(found)


@pytest.mark.realdata
def test_real_texts_leak_the_label_in_one_group_only(real_data, collect):
    found, _ = collect("emotiontts_ko", real_data("emotiontts_ko"))
    for group, emotions in (("emotional-to-emotional", 1), ("plain-to-emotional", 4)):
        labels: dict[str, set] = {}
        for record in found.values():
            if record.tags["group"] == group:
                labels.setdefault(record.text, set()).add(record.label)
        assert {len(seen) for seen in labels.values()} == {emotions}


@pytest.mark.realdata
def test_real_originals(real_data, collect):
    found, faults = collect("emotiontts_ko", real_data("emotiontts_ko_orig"), part="all")
    assert not faults.faults and len(found) == 10
