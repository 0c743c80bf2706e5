import json

import pytest
from sertools.data.record import Record
from sertools.data.transcripts import Transcripts, plain
from sertools.errors import ConfigError, DataError

TEXTS = {"c-1": "The cat sat on the mat.", "c-2": "Don't!", "c-3": "", "c-4": None,
         "c-5": "well done"}  # fmt: skip
HEARD = {"c-1": "the cat sit on mat", "c-2": "don't", "c-3": "oh", "c-4": "what is it",
         "c-5": "well"}  # fmt: skip


@pytest.fixture
def manifest():
    return {id: Record(id=id, path=f"{id}.wav", text=text) for id, text in TEXTS.items()}


def write(path, rows):
    if path.suffix == ".csv":
        lines = ["id,text,score", *(f'{id},"{text}",1' for id, text in rows.items())]
    elif path.suffix == ".jsonl":
        lines = [json.dumps({"id": id, "text": text}) for id, text in rows.items()]
    else:
        lines = [f"{id} {text}" for id, text in rows.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_texts_of_the_corpus_as_they_are(manifest):
    found = Transcripts().read(manifest, ["c-5", "c-4", "c-3", "c-1"])
    assert found.texts == {"c-5": "well done", "c-4": "", "c-3": "", "c-1": TEXTS["c-1"]}
    assert list(found.texts) == ["c-5", "c-4", "c-3", "c-1"]
    assert (found.missing, found.empty) == (["c-4"], ["c-3"])
    assert found.flags == ["1 of 4 utterances have no transcript",
                           "the transcripts of 1 of 4 utterances are empty"]
    assert Transcripts().texts(manifest, ["c-1"]) == {"c-1": TEXTS["c-1"]}
    assert Transcripts().read(manifest, ["c-1"]).flags == []
    assert Transcripts().wer(manifest, ["c-1"]) is None


@pytest.mark.parametrize("name", ["text", "asr.csv", "asr.jsonl"])
def test_a_recogniser_speaks_in_three_forms(manifest, tmp_path, name):
    asr = Transcripts(write(tmp_path / name, HEARD), model="some-asr")
    found = asr.read(manifest, list(TEXTS))
    assert found.texts == HEARD
    assert found.flags == ["texts recognised by some-asr"]


@pytest.mark.parametrize("name", ["text", "asr.csv", "asr.jsonl"])
def test_marks_of_order_and_line_ends_of_windows_are_no_text(manifest, tmp_path, name):
    path = write(tmp_path / name, {"c-1": "größe, x" if name != "text" else "größe x"})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    text = Transcripts(path, "m").texts(manifest, ["c-1"])["c-1"]
    assert text == ("größe x" if name == "text" else "größe, x")


def test_error_rate_by_hand(manifest, tmp_path):
    """Words: cat 6, don't 1, none 0, done 2. Errors: sit, the; none; oh; done."""
    asr = Transcripts(write(tmp_path / "text", HEARD), model="m")
    found = asr.wer(manifest, list(TEXTS))
    assert (found.errors, found.words, found.utterances) == (4, 9, 4)
    assert found.rate == pytest.approx(4 / 9)
    assert (found.unit, found.normalise) == ("word", "plain")
    raw = asr.wer(manifest, list(TEXTS), normalise="none")  # The, sat, the, mat.; Don't!; oh; done
    assert (raw.errors, raw.words) == (7, 9)
    letters = asr.wer(manifest, ["c-5"], unit="character")
    assert (letters.errors, letters.words) == (4, 8)
    assert asr.wer(manifest, ["c-4"]).rate is None
    with pytest.raises(ConfigError, match="word, character"):
        asr.wer(manifest, ["c-1"], unit="syllable")


def test_what_the_file_may_lack_counts_as_deleted(manifest, tmp_path):
    path = write(tmp_path / "text", {"c-1": HEARD["c-1"]})
    with pytest.raises(DataError) as caught:
        Transcripts(path, "m").texts(manifest, ["c-1", "c-2", "c-5"])
    assert caught.value.problems == ["'c-2' has no line", "'c-5' has no line"]
    lax = Transcripts(path, "m", allow_missing=True)
    found = lax.read(manifest, ["c-1", "c-2"])
    assert (found.texts["c-2"], found.missing) == ("", ["c-2"])
    assert lax.wer(manifest, ["c-2", "c-5"]).rate == 1.0


def test_all_faults_are_told_at_once_with_their_lines(manifest, tmp_path):
    path = tmp_path / "asr.jsonl"
    path.write_bytes(b"\n".join([
        b'{"id": "c-1", "text": "one"}',
        b'{"id": "c-2", "text": ',
        b'{"id": "c-1", "text": "two"}',
        b"",
        b'{"id": "c-9", "text": "who"}',
        b'{"id": "c-3", "text": "gr\xf6\xdfe"}',
        b'["c-4", "x"]',
        b'{"id": 4, "text": "x"}',
        b'{"id": "c-4"}',
        b'{"id": "c-4", "text": "\\ud800"}',
        b'{"id": "c-5", "text": null}',
    ]))  # fmt: skip
    with pytest.raises(DataError) as caught:
        Transcripts(path, "m").texts(manifest, ["c-1", "c-2", "c-5"])
    problems = caught.value.problems
    starts = ["line 6: not UTF-8", "line 2: not JSON", "line 3: 'c-1' occurs again, first on line",
              "line 7: a list", "line 8: has no id", "line 9: 'c-4' has no text",
              "line 10: 'c-4' has half", "'c-9' is not in the manifest", "'c-2' has no line"]
    assert [p[: len(s)] for p, s in zip(problems, starts, strict=True)] == starts
    assert "transcripts_missing" in str(caught.value)


def test_lines_of_other_corpora_can_be_allowed(manifest, tmp_path):
    path = write(tmp_path / "text", {**HEARD, "x-1": "hello"})
    with pytest.raises(DataError, match="'x-1' is not in the manifest"):
        Transcripts(path, "m").texts(manifest, ["c-1"])
    allowed = Transcripts(path, "m", allow_unknown=True)
    assert allowed.texts(manifest, ["c-1"]) == {"c-1": HEARD["c-1"]}


@pytest.mark.parametrize(("content", "problem"), [
    ("name,text\nc-1,a\n", "line 1: the header lacks id or text"),
    ("", "line 1: the header lacks id or text"),
    ("id,text\nc-1,well, done\n", "line 2: more cells than the header"),
    ("id,text\nc-1\n", "line 2: 'c-1' has no text"),
    ('id,text\nc-2,b\nc-1,"open\n', "line 3: not CSV"),
])  # fmt: skip
def test_faults_of_tables(manifest, tmp_path, content, problem):
    path = tmp_path / "asr.csv"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        Transcripts(path, "m", allow_missing=True).texts(manifest, ["c-1"])
    assert caught.value.problems[0].startswith(problem)


def test_cells_of_several_lines_keep_the_line_numbers(manifest, tmp_path):
    path = tmp_path / "asr.csv"
    path.write_text('id,text\nc-1,"two\nlines"\nc-1,again\n')
    with pytest.raises(DataError, match="line 4: 'c-1' occurs again, first on line 3"):
        Transcripts(path, "m").texts(manifest, ["c-1"])


def test_a_source_without_a_word_is_refused(manifest, tmp_path):
    with pytest.raises(DataError, match="None of 2 utterances has a text in the corpus"):
        Transcripts().texts(manifest, ["c-3", "c-4"])
    path = write(tmp_path / "text", {"c-1": " "})
    with pytest.raises(DataError, match="None of 1 utterances"):
        Transcripts(path, "m").texts(manifest, ["c-1"])


def test_contradictions_and_absent_files(manifest, tmp_path):
    with pytest.raises(ConfigError, match="the source is the corpus"):
        Transcripts(model="m")
    with pytest.raises(ConfigError, match="name it by model"):
        Transcripts("text")
    with pytest.raises(ConfigError, match="choose from none, plain"):
        Transcripts(normalise="upper")
    with pytest.raises(ConfigError, match="no such file"):
        Transcripts(tmp_path / "text", "m").texts(manifest, ["c-1"])
    with pytest.raises(DataError, match="not in the manifest.\n.*c-7"):
        Transcripts().texts(manifest, ["c-1", "c-7"])


def test_identity_follows_the_contents(tmp_path):
    first, second = (write(tmp_path / name, HEARD) for name in ("a", "b"))
    assert Transcripts(first, "m").identity == Transcripts(second, "m").identity
    second.write_text("c-1 other\n")
    assert Transcripts(first, "m").identity != Transcripts(second, "m").identity
    assert Transcripts().identity != Transcripts(normalise="plain").identity


def test_plain_texts(manifest):
    assert plain("  “Don’t -- STOP!”, she said…\n") == "don't stop she said"
    assert plain("Straße ﬁn 5€ 'tis rock'n'roll") == "strasse fin 5 tis rock'n'roll"
    assert plain("می\u200cروم") == "میروم"
    found = Transcripts(normalise="plain").texts(manifest, ["c-1", "c-2"])
    assert found == {"c-1": "the cat sat on the mat", "c-2": "don't"}
