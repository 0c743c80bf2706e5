"""The four kinds of leak are found, and only those that are there."""

import dataclasses

import pytest
from sertools.data.leaks import find_leaks
from sertools.data.record import Record


def part(*names, **fields):
    return [Record(id=f"toy-{name}", path=f"{name}.wav", speaker=f"speaker {name}",
                   session=f"session {name}", text=f"text {name}", audio_hash=f"hash {name}",
                   **fields) for name in names]


def test_clean_parts_share_nothing():
    assert find_leaks({"train": part("a", "b"), "dev": part("c"), "test": part("d")}) == []


@pytest.mark.parametrize("kind, field", [
    ("speaker", "speaker"), ("session", "session"), ("text", "text"), ("audio", "audio_hash")])
def test_each_planted_leak_is_found(kind, field):
    train, test = part("a", "b"), part("c", "d")
    test[1] = dataclasses.replace(test[1], **{field: getattr(train[0], field)})
    (leak,) = find_leaks({"train": train, "dev": part("e"), "test": test})
    assert (leak.kind, leak.a, leak.b, leak.count) == (kind, "train", "test", 1)
    assert "toy-a" in leak.examples[0] and "toy-d" in leak.examples[0]
    assert ("speaker a" in leak.examples[0]) == (kind == "speaker")
    assert "text a" not in leak.examples[0]  # logs hold ids, never words
    assert "in both train and test" in str(leak)


def test_unknown_values_are_not_shared():
    nothing = [Record(id="toy-x", path="x.wav")], [Record(id="toy-y", path="y.wav", text=" ")]
    assert find_leaks(dict(zip(("train", "test"), nothing, strict=True))) == []


def test_texts_are_compared_as_words():
    train = [Record(id="toy-x", path="x.wav", text="Kids are talking")]
    test = [Record(id="toy-y", path="y.wav", text=" kids  ARE talking\n")]
    assert [leak.kind for leak in find_leaks({"train": train, "test": test})] == ["text"]
    assert find_leaks({"train": train, "test": test}, ("speaker", "audio")) == []


def test_the_same_utterance_is_the_same_audio():
    same = [Record(id="toy-x", path="x.wav")]
    assert [leak.kind for leak in find_leaks({"train": same, "test": same})] == ["audio"]


def test_examples_are_capped_not_the_count():
    train = [Record(id=f"toy-{n}", path="x", speaker=str(n)) for n in range(30)]
    test = [Record(id=f"toy-{n}t", path="x", speaker=str(n)) for n in range(30)]
    (leak,) = find_leaks({"train": train, "test": test})
    assert leak.count == 30 and len(leak.examples) == 20
