"""TEMPLATE: a table beside the audio, and every way in which people write one."""

import pytest
import trees
from sertools.data.manifest import read_manifest
from sertools.data.prepare import prepare_manifest
from sertools.errors import DataError

HEADER = "file,label,speaker,gender,text"


@pytest.fixture
def table(tmp_path):
    """Return a function that writes the table and as many audio files as are asked for."""

    def write(*lines, audio=("audio/a.wav",), encoding="utf-8", end="\n"):
        for name in audio:
            trees.name_only(tmp_path / name)
        content = end.join(lines) + end
        (tmp_path / "metadata.csv").write_bytes(content.encode(encoding))
        return tmp_path

    return write


def read(root, load_prepare):
    from sertools.data.corpus import Faults

    faults = Faults()
    return list(load_prepare("TEMPLATE").records(root, faults)), faults


def only_fault(root, load_prepare):
    found, faults = read(root, load_prepare)
    assert len(faults.faults) == 1, faults.faults
    assert faults.faults[0].remedy
    return found, faults.faults[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_gives_records(encoding, end, table, load_prepare):
    root = table(
        HEADER + ",arousal,valence,dominance,session,start,end,room,id",
        'audio/a.wav,angry,anna,F,"Well, ""no"" – nie",1.5,2,-0.5,s1,0.25,1,hall,u1',
        "audio/b/c.FLAC,,,,,,,,,,,,",
        audio=("audio/a.wav", "audio/b/c.FLAC"), encoding=encoding, end=end,
    )
    (first, second), faults = read(root, load_prepare)
    assert not faults.faults and not faults.dropped
    assert first.id == "TEMPLATE-u1" and first.path == "audio/a.wav"
    assert (first.label, first.speaker, first.gender) == ("angry", "anna", "female")
    assert first.text == 'Well, "no" – nie' and first.session == "s1"
    assert (first.arousal, first.valence, first.dominance) == (1.5, 2.0, -0.5)
    assert (first.start, first.end, first.tags) == (0.25, 1.0, {"room": "hall"})
    assert second.id == "TEMPLATE-b-c" and second.path == "audio/b/c.FLAC"
    assert {second.label, second.speaker, second.gender, second.text, second.start} == {None}
    assert second.tags == {}


@pytest.mark.parametrize(
    "cell, path",
    [("audio/a.wav", "audio/a.wav"), ("a.wav", "audio/a.wav"), ("a", "audio/a.wav"),
     ("a.flac", "audio/a.wav"), (".\\audio\\a.WAV", "audio/a.wav"), ("x/b.wav", "audio/x/b.wav"),
     ("b.wav", "audio/x/b.wav")],
)
def test_audio_is_found_by_path_name_or_stem(cell, path, table, load_prepare):
    root = table("file,label", f"{cell},angry", audio=("audio/a.wav", "audio/x/b.wav"))
    (record,), faults = read(root, load_prepare)
    assert record.path == path and not faults.faults
    assert list(faults.dropped) == ["no line in metadata.csv"]  # the other file


def test_ids_alone_name_their_audio(table, load_prepare):
    root = table("id;label", "a;angry")  # semicolons, as spreadsheets write them
    (record,), faults = read(root, load_prepare)
    assert (record.id, record.path) == ("TEMPLATE-a", "audio/a.wav") and not faults.faults


def test_line_numbers_count_lines_inside_quotes(table, load_prepare):
    root = table(HEADER, 'a.wav,angry,anna,f,"two', 'lines"', "", ",,,,", "b.wav,angry,ben,m,x")
    (record,), fault = only_fault(root, load_prepare)
    assert record.text == "two\nlines"
    assert fault.where == "metadata.csv line 6" and "'b.wav' is no audio file" in fault.what


@pytest.mark.parametrize(
    "lines, where, what",
    [
        (["label,speaker", "x,y"], "line 1", "neither a column file nor a column id"),
        (["file,label,label", "a.wav,x,y"], "line 1", "'label' twice"),
        (["file,labell", "a.wav,x"], "line 1", "is 'label' meant?"),
        (["file,label", "a.wav,x,y"], "line 2", "has 3 cells, not 2"),
        (["file,label", "a.wav"], "line 2", "has 1 cells, not 2"),
        (["file,gender", "a.wav,girl"], "line 2", "gender is 'girl'"),
        (["file;arousal", "a.wav;2,5"], "line 2", "arousal is '2,5', not a number"),
        (["file,label", "../a.wav,x"], "line 2", "'../a.wav' is no audio file"),
        (["file,label", "/etc/a.wav,x"], "line 2", "'/etc/a.wav' is no audio file"),
        (["file,label", ",x"], "line 2", "'' is no audio file"),
        (["file,label", "a.wav,x", "a.wav,y"], "line 3", "a stands in metadata.csv line 2 already"),
        (["file,text", 'a.wav,"never closed', "b.wav,x"], "line 2", "unexpected end of data"),
        (["file,text", 'a.wav,"closed" early'], "line 2", "expected after"),
    ],
)
def test_every_slip_has_its_line_and_a_remedy(lines, where, what, table, load_prepare):
    _, fault = only_fault(table(*lines), load_prepare)
    assert fault.where == f"metadata.csv {where}" and what in fault.what


def test_all_slips_are_found_in_one_pass(table, load_prepare):
    root = table(HEADER, "z.wav,x,,,", "a.wav,x,,girl,", "a,b", "a.wav,x,,,", 'a.wav,x,,,"b"c')
    found, faults = read(root, load_prepare)
    assert [fault.where for fault in faults.faults] == [
        f"metadata.csv line {n}" for n in (2, 3, 4, 5, 6)]
    assert not found


def test_two_files_of_one_name_are_no_guess(table, load_prepare):
    root = table("file,label", "a.wav,x", audio=("audio/x/a.wav", "audio/y/a.wav"))
    _, fault = only_fault(root, load_prepare)
    assert "audio/x/a.wav and audio/y/a.wav" in fault.what


@pytest.mark.parametrize("content", [None, b"", "file,text\na.wav,Ärger\n".encode("cp1252")])
def test_a_table_that_cannot_be_read(content, tmp_path, load_prepare):
    trees.name_only(tmp_path / "audio" / "a.wav")
    if content is not None:
        (tmp_path / "metadata.csv").write_bytes(content)
    found, fault = only_fault(tmp_path, load_prepare)
    assert not found and fault.where == "metadata.csv"


def test_an_empty_folder_is_one_fault(tmp_path, load_prepare):
    _, fault = only_fault(tmp_path, load_prepare)
    assert fault.kind == "no audio was found"


def test_a_made_up_corpus_becomes_a_manifest(tmp_path, load_prepare, load_corpus):
    names = [f"{speaker}/{label}" for speaker in ("anna", "ben") for label in ("angry", "sad")]
    for name in names:
        trees.sound(tmp_path / "audio" / speaker_file(name))
    lines = [HEADER, *(f"{speaker_file(name)},{name.split('/')[1]},{name.split('/')[0]},," for name
                       in names)]
    (tmp_path / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    corpus = load_corpus("TEMPLATE", counts={"total": 4, "speaker": 2})
    prepare = load_prepare("TEMPLATE").records
    prepare_manifest(prepare, corpus, tmp_path, tmp_path / "out", say=lambda _: None)
    manifest = read_manifest(tmp_path / "out" / "utts.json")
    assert {id: record.label for id, record in manifest.items()} == {
        "TEMPLATE-anna-angry": "anger", "TEMPLATE-anna-sad": "sadness",
        "TEMPLATE-ben-angry": "anger", "TEMPLATE-ben-sad": "sadness"}
    (tmp_path / "metadata.csv").write_text("\n".join([*lines, "c.wav,bored,,,"]), encoding="utf-8")
    with pytest.raises(DataError, match="metadata.csv line 6: 'c.wav' is no audio file"):
        prepare_manifest(prepare, corpus, tmp_path, tmp_path / "out", say=lambda _: None)


def speaker_file(name: str) -> str:
    return f"{name}.wav"
