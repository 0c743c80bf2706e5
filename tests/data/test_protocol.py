"""Folds of every kind against obvious loops, and what they say about themselves."""

import dataclasses
import random
from collections import Counter

import pytest
from sertools.data.flags import TESTED
from sertools.data.folding import balanced_groups, by_group, random_share
from sertools.data.folds import Fold, Folds, FoldSet, protocol_name, read_folds, write_folds
from sertools.data.protocol import make_folds
from sertools.data.record import Record
from sertools.errors import ConfigError, DataError
from sounds import corpus_records


def random_corpus(seed: int) -> dict[str, Record]:
    """Return a lopsided corpus: speakers of very different size, classes missing here and there."""
    draw = random.Random(seed)
    records = {}
    for speaker in range(draw.randint(6, 12)):
        for number in range(draw.randint(2, 25)):
            id = f"toy-{speaker:02d}-{number:03d}"
            records[id] = Record(
                id=id, path=f"{id}.wav", label=draw.choice("aaabbc"), speaker=f"s{speaker}",
                session=f"d{speaker // 2}", duration=1.0, audio_hash=id)
    return records


def speakers(records, ids):
    return {records[id].speaker for id in ids}


def check_shape(records, folds, whole=True):
    """Assert what holds for every kind: no overlap, sorted ids, each tested at most once."""
    for fold in folds:
        parts = [set(fold.train), set(fold.dev), set(fold.test)]
        assert all(parts) and not parts[0] & (parts[1] | parts[2])
        assert fold.test == sorted(fold.test) and fold.train == sorted(fold.train)
        if TESTED not in folds.flags:
            assert not parts[1] & parts[2]
        if whole:
            assert set.union(*parts) == set(records)
    tested = Counter(id for fold in folds for id in fold.test)
    assert set(tested.values()) == {1}
    assert [fold.name for fold in folds] == [str(n) for n in range(1, len(folds) + 1)]


def test_leave_one_speaker_out_by_hand():
    records = corpus_records(4, sessions=False)
    folds = make_folds(records, Folds())
    check_shape(records, folds)
    for number, fold in enumerate(folds):
        assert fold.groups == [f"s{number:02d}"]
        assert fold.test == [id for id in records if records[id].speaker == f"s{number:02d}"]
        follower = f"s{(number + 1) % 4:02d}"
        assert fold.dev == [id for id in records if records[id].speaker == follower]
    assert folds.flags == [] and folds.notes == [] and folds.name == "loso-speaker-clean"


def test_the_session_mate_is_the_dev_speaker():
    records = corpus_records(6)
    folds = make_folds(records, Folds())
    assert [speakers(records, fold.dev) for fold in folds] == [
        {"s01"}, {"s00"}, {"s03"}, {"s02"}, {"s05"}, {"s04"}]
    assert folds.flags == ["sessions shared by dev and test"]


def test_leave_one_session_out():
    records = corpus_records(6)
    folds = make_folds(records, Folds(group="session", dev_groups=1))
    check_shape(records, folds)
    assert [fold.groups for fold in folds] == [["d0"], ["d1"], ["d2"]]
    assert [{records[id].session for id in fold.dev} for fold in folds] == [{"d1"}, {"d2"}, {"d0"}]
    assert folds.flags == []


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("folds", [
    Folds(), Folds(dev_groups=2), Folds("grouped", count=3), Folds("grouped", count=3, seed=7),
    Folds(group="session"), Folds("listed", listed=[["s0", "s3"], ["s1", "s5"], ["s2", "s4"]])],
    ids=lambda folds: protocol_name(folds, "clean"))
def test_clean_folds_never_share_speakers(folds, seed):
    records = random_corpus(seed)
    if folds.kind == "listed":
        records = {id: r for id, r in records.items() if r.speaker in ("s0", "s1", "s2", "s3",
                                                                       "s4", "s5")}
    made = make_folds(records, folds)
    check_shape(records, made)
    assert {id for fold in made for id in fold.test} == set(records)
    for fold in made:
        parts = [speakers(records, ids) for ids in (fold.train, fold.dev, fold.test)]
        assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert not any("speakers shared" in flag for flag in made.flags)
    shuffled = list(records.values())
    random.Random(seed).shuffle(shuffled)
    assert make_folds(shuffled, folds) == made


@pytest.mark.parametrize("seed", range(8))
def test_grouped_folds_are_balanced(seed):
    """The greedy deal is at most a little worse than the best of many random deals."""
    groups = by_group(random_corpus(seed).values(), "speaker")

    def cost(deal):
        total = Counter(r.label for members in groups.values() for r in members)
        return sum((sum(r.label == label for name in part for r in groups[name]) / number) ** 2
                   for part in deal for label, number in total.items())

    draw, deals = random.Random(seed), []
    for _ in range(300):
        names = list(groups)
        draw.shuffle(names)
        deals.append([names[i::3] for i in range(3)])
    made = balanced_groups(groups, 3, seed)
    assert sorted(name for part in made for name in part) == sorted(groups) and all(made)
    assert cost(made) <= 1.1 * min(map(cost, deals))


def test_as_many_folds_as_groups_leaves_none_empty():
    groups = {f"s{n}": [Record(id=f"toy-{n}", path="x", label=str(n))] for n in range(5)}
    assert sorted(balanced_groups(groups, 5, 1)) == [[f"s{n}"] for n in range(5)]


def test_random_folds_are_stratified_and_flagged():
    records = random_corpus(3)
    folds = make_folds(records, Folds("random", count=5))
    check_shape(records, folds)
    for label in "abc":
        numbers = [sum(records[id].label == label for id in fold.test) for fold in folds]
        assert max(numbers) - min(numbers) <= 1
    sizes = [len(fold.test) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    assert "speakers shared by train and test" in folds.flags
    for fold in folds:  # the dev speaker is at least no training speaker
        assert not speakers(records, fold.train) & speakers(records, fold.dev)
    again = make_folds(records, Folds("random", count=5, seed=2))
    assert [f.test for f in again] != [f.test for f in folds] and again.name != folds.name


def test_random_dev_parts_of_folds_are_drawn_apart():
    records = random_corpus(20)
    folds = make_folds(records, Folds("random", count=5, paper_dev="random"), "paper")
    devs = [set(fold.dev) for fold in folds]
    shared = [len(a & b) / len(a) for i, a in enumerate(devs) for b in devs[i + 1 :]]
    assert max(shared) < 0.5  # by chance about a fifth; drawn with one seed, nearly all


def test_random_share_is_one_fold():
    records = random_corpus(4)
    folds = make_folds(records, Folds("random", test_share=0.2, seed=2013), "paper")
    check_shape(records, folds)
    assert len(folds) == 1
    labels = Counter(record.label for record in records.values())
    tested = Counter(records[id].label for id in folds.folds[0].test)
    assert tested == {label: round(0.2 * number) for label, number in labels.items()}


def test_stratified_shuffle_is_scikit_learns():
    from sklearn.model_selection import train_test_split

    records = random_corpus(3)
    shuffled = dict(random.Random(0).sample(sorted(records.items()), len(records)))
    folds = Folds("random", test_share=0.2, seed=2013, draw="stratified_shuffle", paper_dev="test")
    (fold,) = make_folds(shuffled, folds, "paper")
    ids = sorted(records)
    train, test = train_test_split(ids, test_size=0.2, random_state=2013,
                                   stratify=[records[id].label for id in ids])
    assert fold.test == fold.dev == sorted(test) and fold.train == sorted(train)
    once = {"toy-x": Record("toy-x", "x.wav", label="rare")}
    with pytest.raises(DataError, match="every class"):
        make_folds(records | once, folds, "paper")


PARTS = {"train": ["s00", "s03"], "dev": ["s01"], "test": ["s02"]}


def test_parts_of_groups_by_hand():
    records = corpus_records(4)
    for protocol, paper_dev in (("clean", "test"), ("paper", None)):
        made = make_folds(records, Folds("parts", parts=PARTS, paper_dev=paper_dev), protocol)
        (fold,) = made
        for part, names in PARTS.items():
            assert getattr(fold, part) == [id for id, r in records.items() if r.speaker in names]
        assert fold.groups == ["s02"] and not made.notes
    made = make_folds(records, Folds("parts", parts=PARTS, paper_dev="test"), "paper")
    assert made.folds[0].dev == made.folds[0].test and TESTED in made.flags
    assert made.folds[0].train == [id for id, r in records.items() if r.speaker in ("s00", "s03")]


def test_parts_without_dev_take_speakers_of_train():
    records = corpus_records(4)
    (fold,) = make_folds(records, Folds("parts", parts={"train": ["s00", "s01", "s03"],
                                                        "test": ["s02"]}))
    assert len(speakers(records, fold.dev)) == 1 and len(speakers(records, fold.train)) == 2
    assert speakers(records, fold.test) == {"s02"}


def test_parts_must_name_every_group_and_say_those_that_are_absent():
    records = corpus_records(4)
    with pytest.raises(ConfigError, match="'s03' stands in no part"):
        make_folds(records, Folds("parts", parts=PARTS | {"train": ["s00"]}))
    made = make_folds(records, Folds("parts", parts=PARTS | {"train": ["s00", "s03", "s77"]}))
    assert made.notes == ["1 speakers of the lists are not in the corpus, such as s77"]
    with pytest.raises(DataError, match="no speaker of test"):
        make_folds({id: r for id, r in records.items() if r.speaker != "s02"},
                   Folds("parts", parts=PARTS))


def test_the_paper_may_divide_otherwise():
    records = corpus_records(4)
    other = Folds("random", count=3, seed=5, paper_dev="test")
    folds = Folds("parts", parts=PARTS, name="mine", paper=other)
    assert make_folds(records, folds, "paper") == make_folds(records, other, "paper")
    plain = dataclasses.replace(folds, paper=None)
    assert make_folds(records, folds, "clean") == make_folds(records, plain, "clean")
    assert protocol_name(folds, "clean") == "mine-clean"
    unnamed = dataclasses.replace(folds, name=None)
    assert protocol_name(unnamed, "clean") == protocol_name(
        dataclasses.replace(plain, name=None), "clean")


@pytest.mark.parametrize("dev, flag", [
    (None, TESTED), ("test", TESTED), ("random", "speakers shared by train and dev"),
    ("next", None)])
def test_paper_dev(dev, flag):
    records = corpus_records(4, sessions=False)
    folds = make_folds(records, Folds(paper_dev=dev), "paper")
    check_shape(records, folds)
    assert folds.flags == ([flag] if flag else [])
    first = folds.folds[0]
    if flag == TESTED:
        assert first.dev == first.test and len(first.train) == 18
    if dev == "random":
        assert Counter(records[id].label for id in first.dev) == {"angry": 2, "calm": 2}
    if dev == "next":
        clean = make_folds(records, Folds()).folds
        assert folds.folds == clean


def official(dev=True):
    records = corpus_records(6, sessions=False)
    split = {"s00": "train", "s01": "train", "s02": "train", "s03": "train",
             "s04": "dev" if dev else "train", "s05": "test"}
    return {id: dataclasses.replace(r, split=split[r.speaker]) for id, r in records.items()}


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_official_parts_are_taken_as_they_are(protocol):
    records = official()
    folds = make_folds(records, Folds("official"), protocol)
    check_shape(records, folds)
    fold = folds.folds[0]
    for part in ("train", "dev", "test"):
        assert getattr(fold, part) == [id for id in records if records[id].split == part]
    assert folds.flags == []


def test_official_without_dev_takes_speakers_of_train():
    records = official(dev=False)
    folds = make_folds(records, Folds("official", dev_share=0.4))
    check_shape(records, folds)
    fold = folds.folds[0]
    assert len(fold.dev) == 12 and not speakers(records, fold.dev) & speakers(records, fold.train)
    assert make_folds(records, Folds("official"), "paper").flags == [TESTED]


def test_official_dev_unused_where_the_paper_selected_on_test():
    fold = make_folds(official(), Folds("official", paper_dev="test"), "paper").folds[0]
    assert fold.dev == fold.test and len(fold.train) == 24


def test_official_with_shared_speakers_says_so():
    records = {id: dataclasses.replace(r, speaker="s00") for id, r in official().items()}
    flags = make_folds(records, Folds("official")).flags
    assert flags == [f"speakers shared by {pair}" for pair in
                     ("train and dev", "train and test", "dev and test")]


def test_official_with_unknown_speakers():
    records = {id: dataclasses.replace(r, speaker=None) for id, r in official(dev=False).items()}
    records["toy-x"] = dataclasses.replace(next(iter(records.values())), id="toy-x", split=None)
    folds = make_folds(records, Folds("official"))
    assert folds.flags == ["dev was drawn utterance by utterance: too few known speakers"]
    assert folds.notes == ["1 utterances are in no official part and stay unused"]


def test_official_without_test_is_refused():
    with pytest.raises(DataError, match="names no utterance of train and test"):
        make_folds(corpus_records(), Folds("official"))


def test_unlabelled_utterances_are_in_no_fold():
    records = corpus_records(4)
    records["toy-x"] = Record(id="toy-x", path="x.wav")
    folds = make_folds(records, Folds())
    assert not any("toy-x" in fold.train + fold.dev + fold.test for fold in folds)
    assert "1 utterances without a label are in no fold" in folds.notes
    with pytest.raises(DataError, match="no utterance has a label"):
        make_folds([records["toy-x"]], Folds())


def test_dimensions_count_as_labels():
    records = {id: dataclasses.replace(r, label=None, arousal=3.0)
               for id, r in corpus_records(4, sessions=False).items()}
    check_shape(records, make_folds(records, Folds()))


def test_missing_classes_are_said():
    records = corpus_records(4, sessions=False)
    only = {id: r for id, r in records.items() if r.label == "calm" or r.speaker == "s02"}
    folds = make_folds(only, Folds())
    assert folds.flags == ["train lacks angry in fold 2", "train lacks angry in fold 3"]
    assert folds.notes == ["dev lacks a class: fold 1 (angry), fold 3 (angry), fold 4 (angry)",
                           "test lacks a class: fold 1 (angry), fold 2 (angry), fold 4 (angry)"]


def test_the_same_recording_on_both_sides_is_flagged():
    records = corpus_records(4, sessions=False)
    for id in ("toy-s00_calm_0", "toy-s03_calm_0"):
        records[id] = dataclasses.replace(records[id], audio_hash="same")
    assert "recordings shared by train and test" in make_folds(records, Folds()).flags


def test_unknown_speakers_are_explained():
    records = corpus_records(4)
    records["toy-s00_calm_0"] = dataclasses.replace(records["toy-s00_calm_0"], speaker=None)
    with pytest.raises(DataError, match="the speaker of 1 utterances is unknown") as error:
        make_folds(records, Folds())
    assert "toy-s00_calm_0" in str(error.value) and "official or random" in str(error.value)


@pytest.mark.parametrize("folds, words", [
    (Folds(dev_groups=3), "4 speakers are too few: a test part takes 1, the dev part 3"),
    (Folds("grouped", count=9), "9 folds need 9 speakers, the corpus has 4"),
    (Folds("listed", listed=[["s00", "s01"], ["s02", "s09"]]), "'s09' stands in the list"),
    (Folds("listed", listed=[["s00", "s01"], ["s02"]]), "'s03' stands in no fold"),
])
def test_folds_that_do_not_fit_the_corpus(folds, words):
    with pytest.raises(ConfigError) as error:
        make_folds(corpus_records(4), folds)
    assert words in str(error.value)


def test_two_speakers_suffice_where_no_dev_part_is_taken():
    assert len(make_folds(corpus_records(2), Folds(), "paper")) == 2


def test_two_speakers_suffice_where_dev_is_drawn_from_train_which_is_said():
    records = corpus_records(2, sessions=False)
    drawn = Folds(dev_from="utterances", dev_share=0.25)
    with pytest.raises(ConfigError, match="too few"):
        make_folds(records, Folds())
    folds = make_folds(records, drawn)
    assert folds.flags == ["speakers shared by train and dev"]
    for fold, speaker in zip(folds, ("s00", "s01"), strict=True):
        assert {records[id].speaker for id in fold.test} == {speaker} == set(fold.groups)
        assert not {speaker} & {records[id].speaker for id in fold.train + fold.dev}
        assert sorted(fold.train + fold.dev + fold.test) == sorted(records)
        for label in {record.label for record in records.values()}:
            rest = [id for id in fold.train + fold.dev if records[id].label == label]
            assert len(set(rest) & set(fold.dev)) == max(1, round(0.25 * len(rest)))
    assert protocol_name(drawn, "clean") != protocol_name(Folds(dev_share=0.25), "clean")
    other = protocol_name(Folds(dev_from="utterances", dev_share=0.25, seed=2), "clean")
    assert other != protocol_name(drawn, "clean")


def test_too_few_utterances():
    with pytest.raises(DataError, match="too few"):
        make_folds(corpus_records(1, 1), Folds("random", count=5))


def test_unknown_protocol():
    with pytest.raises(ConfigError, match="use clean or paper"):
        make_folds(corpus_records(), Folds(), "dirty")


@pytest.mark.parametrize("arguments, words", [
    ({"kind": "loso"}, "kind: 'loso' is unknown"),
    ({"group": "talker"}, "group: 'talker'"),
    ({"kind": "grouped"}, "count: grouped folds need it"),
    ({"kind": "grouped", "count": 1}, "whole number of 2 or more"),
    ({"kind": "random"}, "count: random folds need it"),
    ({"kind": "random", "count": 5, "test_share": 0.2}, "leave out count"),
    ({"kind": "random", "test_share": 1.5}, "test_share: 1.5 is not between"),
    ({"count": 5}, "count: is only for grouped and random"),
    ({"listed": [["a"], ["b"]]}, "listed: is only for kind: listed"),
    ({"kind": "listed"}, "listed: give the groups"),
    ({"kind": "listed", "listed": [["a"], "b"]}, "listed: give the groups"),
    ({"kind": "listed", "listed": [["a"]]}, "two folds at least"),
    ({"kind": "listed", "listed": [["a", "b"], ["a"]]}, "'a' stands in more than one fold"),
    ({"kind": "listed", "listed": [[3], ["a"]]}, "3 is not a text, put it in quotes"),
    ({"kind": "parts"}, "parts: give the groups"),
    ({"kind": "parts", "parts": {"train": ["a"]}}, "parts: give the groups"),
    ({"kind": "parts", "parts": {"train": ["a"], "test": []}}, "parts: give the groups"),
    ({"kind": "parts", "parts": {"train": ["a"], "test": ["b"], "rest": ["c"]}}, "parts: give"),
    ({"kind": "parts", "parts": {"train": ["a"], "test": ["a"]}}, "'a' stands in more than one"),
    ({"kind": "parts", "parts": {"train": [1001], "test": ["a"]}}, "1001 is not a text"),
    ({"parts": PARTS}, "parts: is only for kind: parts"),
    ({"kind": "random", "count": 2, "draw": "stratified_shuffle"}, "draw: is only for test_share"),
    ({"draw": "lots"}, "draw: 'lots' is not one of"),
    ({"paper": "random"}, "paper: give folds of their own"),
    ({"kind": "emobox"}, "folder: emobox folds need"),
    ({"folder": "x"}, "folder: is only for kind: emobox"),
    ({"dev_groups": 0}, "dev_groups: 0"),
    ({"dev_from": "speakers"}, "dev_from: 'speakers' is not one of groups, utterances"),
    ({"kind": "official", "dev_from": "utterances"}, "dev_from: is for leave_one_out"),
    ({"seed": "one"}, "seed: 'one'"),
    ({"paper_dev": "valid"}, "paper_dev: 'valid'"),
    ({"paper_dev_share": 0}, "paper_dev_share: 0 is not between"),
    ({"name": "a/b"}, "name: 'a/b' becomes a file name"),
])
def test_arguments_are_checked(arguments, words):
    with pytest.raises(ConfigError, match="folds block") as error:
        Folds(**arguments)
    assert words in str(error.value)


def test_names_are_readable_and_tell_protocols_apart():
    names = {
        "loso-speaker-clean": Folds(), "loso-session-clean": Folds(group="session"),
        "loso-speaker-dev4-clean": Folds(dev_groups=4), "official-clean": Folds("official"),
        "grouped5-speaker-clean": Folds("grouped", count=5),
        "grouped5-speaker-seed7-clean": Folds("grouped", count=5, seed=7),
        "random5-clean": Folds("random", count=5),
        "emobox-clean": Folds("emobox", folder="a"), "mine-clean": Folds(name="mine"),
        "emobox6-clean": Folds("listed", listed=[["a"], ["b"]], name="emobox6"),
    }
    assert {protocol_name(folds, "clean"): folds for folds in names.values()} == names
    assert protocol_name(Folds(seed=3, paper_dev="random"), "clean") == "loso-speaker-clean"
    paper = Folds(paper_dev="random", dev_groups=4)
    assert protocol_name(paper, "paper") == "loso-speaker-dev-random-paper"
    a, b = (protocol_name(Folds("listed", listed=[["a"], [x]]), "clean") for x in "bc")
    assert a != b and a.startswith("listed2-speaker-")


def test_folds_files(tmp_path):
    made = make_folds(corpus_records(4), Folds("random", count=2), "paper")
    path = write_folds(tmp_path / "folds" / f"{made.name}.json", made)
    assert read_folds(path) == made
    empty = FoldSet("x", "clean", [Fold("1", [], [], [])])
    assert read_folds(write_folds(tmp_path / "x.json", empty)) == empty


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"name": "x", "protocol": "clean", '
                                     '"flags": [], "folds": [{"talker": 1}]}'])
def test_what_is_no_folds_file(tmp_path, content):
    if content:
        (tmp_path / "x.json").write_text(content)
    with pytest.raises(DataError, match="folds file") as error:
        read_folds(tmp_path / "x.json")
    assert "stage prepare" in str(error.value)


def test_random_share_keeps_one_of_each_class_back():
    records = [Record(id=f"toy-{n}", path="x", label=label) for n, label in enumerate("aab")]
    assert len(random_share(records, 0.9, 1)) == 1


@pytest.mark.parametrize("records", [
    corpus_records(1, 6),
    {id: dataclasses.replace(r, speaker=None) for id, r in corpus_records(3).items()}])
def test_random_folds_without_enough_speakers_draw_a_dev_share(records):
    folds = make_folds(records, Folds("random", count=3))
    check_shape(records, folds)
    assert "dev was drawn utterance by utterance: too few known speakers" in folds.flags
