"""What a recipe declares, and how a release is walked."""

import shutil

import pytest
from sertools.data.corpus import Corpus, Faults, find_audio
from sertools.errors import ConfigError, DataError

GOOD = {"name": "toy", "classes": ["joy", "fear"], "label_map": {"F": "joy", "A": "fear"}}


@pytest.mark.parametrize("change, words", [
    ({"name": "a/b"}, "becomes a folder name"),
    ({"set": ""}, "becomes a folder name"),
    ({"language": "deu"}, "ISO 639-1"),
    ({"classes": []}, "classes: is empty"),
    ({"classes": ["joy", "joy", "fear"]}, "more than once"),
    ({"classes": [1, "joy", "fear"]}, "put it in quotes"),
    ({"label_map": {1: "joy", "A": "fear"}}, "1 is not a text, put it in quotes"),
    ({"label_map": {"F": "happy", "A": "fear"}}, "leads to 'happy'"),
    ({"label_map": {"F": "joy"}}, "no raw label of label_map leads to 'fear'"),
    ({"counts": {"files": 3}}, "'files' is unknown"),
    ({"counts": {"speaker": {3: 4}}}, "3 is not a text"),
    ({"counts": {"label": {"F": "many"}}}, "not a whole number"),
    ({"counts": {"total": 1.5}}, "not a whole number"),
    ({"scale": [7, 1]}, "lowest and a highest"),
    ({"min_seconds": -1}, "below 0"),
    ({"max_seconds": 0.05}, "not above min_seconds"),
    ({"bad_audio": "ignore"}, "neither 'refuse' nor 'skip'"),
    ({"known_bad_audio": "a"}, "not a list of ids"),
])
def test_mistakes_are_named(change, words):
    with pytest.raises(ConfigError, match="corpus block") as error:
        Corpus(**GOOD | change)
    assert words in str(error.value)


def test_all_mistakes_at_once():
    with pytest.raises(ConfigError) as error:
        Corpus(**GOOD | {"name": "", "bad_audio": "x", "scale": [1]})
    assert len(error.value.problems) == 3


def test_class_of():
    corpus = Corpus("toy", classes=["joy"], label_map={"F": "joy", "X": None})
    assert (corpus.class_of("F"), corpus.class_of("X")) == ("joy", None)
    assert Corpus("toy", classes=["joy"]).class_of("joy") == "joy"
    with pytest.raises(KeyError):
        corpus.class_of("W")


def touch(root, *names, content=b"12"):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def test_find_audio_walks_as_told(tmp_path):
    touch(tmp_path, "b/2.WAV", "b/._2.wav", "a/1.wav", "a/.DS_Store", "__MACOSX/a/1.wav",
          ".git/9.wav", "a/notes.txt", "c/3.flac", "a/é (3).Flac")
    faults = Faults()
    found = [path.relative_to(tmp_path).as_posix() for path in find_audio(tmp_path, faults)]
    assert found == ["a/1.wav", "a/é (3).Flac", "b/2.WAV", "c/3.flac"]
    assert not faults and not faults.dropped


def test_find_audio_takes_one_copy(tmp_path):
    touch(tmp_path, "nested/set/Actor_01/x.wav", "Actor_01/x.wav", "Actor_01/y.flac",
          "Actor_01/y.wav")
    faults = Faults()
    found = [path.relative_to(tmp_path).as_posix() for path in find_audio(tmp_path, faults)]
    assert found == ["Actor_01/x.wav", "Actor_01/y.wav"]
    assert len(faults.dropped["same stem as another file"]) == 2 and not faults
    assert len(list(find_audio(tmp_path, faults, duplicates="keep"))) == 4


def test_find_audio_tells_copies_from_clashes(tmp_path):
    touch(tmp_path, "a/x.wav")
    touch(tmp_path, "b/x.wav", content=b"another")
    faults = Faults()
    assert len(list(find_audio(tmp_path, faults))) == 1
    with pytest.raises(DataError, match="but another size"):
        faults.raise_if_any("clash")


def test_find_audio_says_what_is_there_instead(tmp_path):
    faults = Faults()
    assert list(find_audio(tmp_path / "no", faults)) == []
    touch(tmp_path, "README.txt", "audio.zip")
    assert list(find_audio(tmp_path, faults)) == []
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    assert list(find_audio(tmp_path, faults)) == []
    texts = [fault.what for fault in faults.faults]
    assert texts[0] == "this folder does not exist"
    assert "it holds README.txt, audio.zip" in texts[1] and "it is empty" in texts[2]


def test_find_audio_survives_a_link_in_a_circle(tmp_path):
    touch(tmp_path, "a/1.wav")
    (tmp_path / "a" / "back").symlink_to(tmp_path, target_is_directory=True)
    assert len(list(find_audio(tmp_path, Faults(), duplicates="keep"))) == 1


def test_faults_are_grouped_and_capped():
    faults = Faults()
    for number in range(25):
        faults.add(f"{number}.wav", "no such stem", "fetch again")
    faults.add("x", "odd", "first", kind="second kind")
    faults.add("y", "odd", "other", kind="second kind")
    with pytest.raises(DataError) as error:
        faults.raise_if_any("bad release")
    text = str(error.value)
    assert "does not read as expected: 25" in text and "... and 5 more" in text
    assert text.count("fetch again") == 1 and "20.wav" not in text and "19.wav" in text
    assert "second kind: 2" in text and "(first)" in text and "(other)" in text


def test_no_faults_no_error():
    faults = Faults()
    faults.drop("reason", "toy-a")
    faults.raise_if_any("bad")
    assert faults.dropped == {"reason": ["toy-a"]}


def test_find_audio_has_two_ways_with_duplicates(tmp_path):
    with pytest.raises(ValueError, match="use 'first' or 'keep'"):
        list(find_audio(tmp_path, Faults(), duplicates="last"))
