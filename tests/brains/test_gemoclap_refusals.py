"""GEmo-CLAP: prompts and options that cannot be meant are refused in words, all at once."""

import functools

import pytest
import toy_gemoclap as toy
from sertools.brains.prompts import encode_prompts, sentences_of
from sertools.data.tokens import Tokeniser
from sertools.errors import ConfigError, DataError
from sertools.files import read_json


class Letters(Tokeniser):
    """Letters a to e as 1 to 5; everything else is unknown."""

    vocabulary, padding, unknown, identity = 7, 0, 6, "letters"

    def __init__(self, max_tokens=8):
        self.max_tokens = max_tokens

    def _tokens(self, text, cut=False):
        found = ["abcde".find(letter) + 1 or self.unknown for letter in text]
        return found[: self.max_tokens] if cut else found


def test_all_faults_of_prompts_are_told_at_once():
    said, problems = sentences_of(
        {"high": ["a", "a"], "low": "  ", "odd": "x", "none": []}, ["high", "low", "mid", "none"])
    assert problems == [
        "prompts has none for mid", "prompts names 'odd', which is none of high, low, mid, none",
        "prompts: low has '  ', which is no sentence", "prompts: none has an empty list",
    ]
    assert sentences_of({"a": ["x", "x"]}, ["a"])[1] == ["prompts: a has a prompt twice"]
    assert "no template" in sentences_of("emotion", ["a"])[1][0]
    assert "empty list" in sentences_of([], ["a"])[1][0]
    assert "is 5" in sentences_of(5, ["a"])[1][0]
    assert sentences_of(["{emotion}", "so {emotion}"], ["a", "b"]) == (
        {"a": ["a", "so a"], "b": ["b", "so b"]}, [])


def test_words_fill_templates_and_are_refused_with_the_other_faults(work_of):
    words = {"high": "shrill"}
    assert sentences_of(["so {emotion}", "{emotion}"], ["high", "low"], words=words) == (
        {"high": ["so shrill", "shrill"], "low": ["so low", "low"]}, [])
    sentences = {"high": "up", "low": "down"}
    assert sentences_of(sentences, ["high", "low"], words=words) == (
        {"high": ["up"], "low": ["down"]}, [])
    assert sentences_of("so", ["high", "low"], words={"odd": "x", "low": " "})[1] == [
        "prompts: 'so' is no template: write {emotion} where the class goes",
        "words names 'odd', which is none of high, low", "words: low has ' ', which is no word"]
    with pytest.raises(ConfigError) as caught:  # what fits no classes at all needs none
        toy.trainer(prompts="so", words={"high": 5})
    assert len(caught.value.problems) == 2
    work = work_of()
    toy.trainer(words={"high": "shrill"}, epochs=1).fit(work)
    assert read_json(work.folder / "best/best.json")["prompts"] == {
        name: [f"a {words.get(name, name)} voice"] for name in work.classes}


@pytest.mark.parametrize("changes", [
    {"prompts": '["{emotion}", "so {emotion}"]'}, {"prompts": "{high: up {emotion}, low: down}"},
    {"words": "high: shrill"},
])
def test_mappings_and_lists_as_text_belong_into_the_yaml(changes):
    with pytest.raises(ConfigError) as caught:
        toy.trainer(**changes)
    (problem,) = caught.value.problems
    assert "in the YAML" in problem


def test_prompts_that_become_the_same_tokens_are_refused():
    with pytest.raises(ConfigError, match="same tokens") as caught:
        encode_prompts([{"x": ["fgh"], "y": ["xyz"], "z": ["abc"]}], Letters())
    assert caught.value.problems == ["x ('fgh') and y ('xyz')"]
    with pytest.raises(ConfigError, match="same tokens"):  # after the cut
        encode_prompts([{"x": ["abcd"], "y": ["abce"]}], Letters(3))
    encode_prompts([{"x": ["abc"]}, {"female": ["abc"]}], Letters())  # of different questions


def test_prompts_that_were_cut_are_told(work_of):
    (prompts,), cut = encode_prompts([{"x": ["abcde"], "y": ["e", "edcb"]}], Letters(4))
    assert cut == ["abcde"]
    assert prompts.tokens.tolist() == [[[1, 2, 3, 4]] * 2, [[5, 0, 0, 0], [5, 4, 3, 2]]]
    assert prompts.lengths.tolist() == [[4, 4], [1, 4]]
    said = []
    toy.trainer(max_tokens=8, prompts="{emotion} voice that is long", epochs=1).fit(
        work_of(say=said.append))
    assert any("2 prompts are longer than max_tokens 8" in line for line in said)


@pytest.mark.parametrize("changes, match", [
    ({"audio": None}, "audio is missing"), ({"text": None}, "text is missing"),
    ({"model": "lm"}, "model is 'lm'"), ({"alpha": 1.5}, "alpha is 1.5"),
    ({"alpha": "high"}, "alpha: 'high'"), ({"gender_logits": "separate"}, "only ml"),
    ({"attribute": "age"}, "attribute: 'age'"), ({"sampler": "random"}, "sampler: 'random'"),
    ({"text_encode": "once"}, "text_encode: 'once'"), ({"optimizer": "sgd"}, "optimizer: 'sgd'"),
    ({"batch": 4}, "batch: 4"), ({"batch": 8.5}, "batch: 8.5"), ({"dim": 0}, "dim: 0"),
    ({"prompts": "emotion"}, "no template"), ({"prompts": {"high": ""}}, "no sentence"),
    ({"prompts": None}, "prompts is None"), ({"freeze": "text"}, "freeze is 'text'"),
    ({**toy.SEPARATE, "attribute_prompts": None}, "attribute_prompts is None"),
    ({"epochs": 0}, "there is no start"), ({"start": 5}, "start is 5"),
    ({"epochs": -1}, "epochs: -1"), ({"tokeniser": True}, "tokeniser is True"),
    ({"pool": "max"}, "pool: 'max'"), ({"lr": 0}, "lr: 0"), ({"select": "CCC"}, "select is"),
    ({"inputs": "frames"}, "inputs is 'frames'"),
])
def test_options_that_cannot_be_meant_are_refused(changes, match):
    with pytest.raises(ConfigError) as caught:
        toy.trainer(**changes)
    assert any(match in problem for problem in caught.value.problems)


def test_faults_of_several_options_are_told_together():
    with pytest.raises(ConfigError) as caught:
        toy.trainer(prompts="x", attribute_prompts={"female": ""}, text=None, **toy.SEPARATE)
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("changes, match", [
    ({"prompts": {"high": "so"}}, "none for low"),
    ({"prompts": {"high": "so", "low": "deep", "odd": "x"}}, "names 'odd'"),
    ({"prompts": {"high": "so", "low": "so"}}, "high ('so') and low ('so')"),
    ({**toy.SEPARATE, "attribute_prompts": {"female": "she"}}, "prompts has none for male"),
    ({**toy.SEPARATE, "attribute": "speaker", "attribute_prompts": {"s1": "x"}}, "none for s0"),
    ({"words": {"odd": "x"}}, "trainer.words names 'odd'"),
    ({"text": functools.partial(toy.STILL["text"], vocabulary=9)}, "trainer.text.vocabulary"),
    ({"tokeniser": None}, "tokeniser is missing"), ({"freeze": ["cnn"]}, "no convolutions"),
])
def test_models_that_cannot_be_meant_are_refused(work_of, changes, match):
    with pytest.raises(ConfigError) as caught:
        toy.trainer(**changes).fit(work_of())
    assert any(match in text for text in (str(caught.value), *caught.value.problems))


def test_a_start_that_is_none_is_refused(work_of, tmp_path):
    with pytest.raises(DataError, match="holds no trained model"):
        toy.trainer(start=str(tmp_path / "nowhere")).fit(work_of())
    with pytest.raises(ConfigError, match="no feature cache"):
        toy.trainer(inputs="features", audio=None).fit(work_of())


def test_a_start_of_another_kind_is_refused(work_of):
    from toy import audio_trainer

    other = work_of("other")
    audio_trainer(epochs=1).fit(other)
    with pytest.raises(ConfigError, match="names no prompts"):
        toy.trainer(start=str(other.folder / "best")).fit(work_of())
