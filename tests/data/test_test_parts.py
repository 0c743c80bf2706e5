"""Several test parts of one release: folds, what they give away, their file, validation."""

import dataclasses

import pytest
from sertools.data.folds import Folds, protocol_name, read_folds, write_folds
from sertools.data.protocol import make_folds
from sertools.data.record import Record
from sertools.errors import ConfigError, DataError

SPLITS = {"Train": "train", "Development": "dev", "Test1": "test", "Test2": "test"}


def record(number, partition, speaker=None, **fields):
    return Record(f"x-{number:03d}", f"{number}.wav", "ab"[number % 2],
                  speaker=speaker or f"{partition}{number % 2}", split=SPLITS[partition],
                  tags={"partition": partition}, audio_hash=str(number), **fields)


@pytest.fixture
def records():
    return [record(number, partition) for number, partition in enumerate(
        partition for partition in SPLITS for _ in range(4))]


FOLDS = Folds("official", tests="partition", paper_flag="nobody knows")


def test_one_fold_holds_every_test_part(records):
    (fold,) = made = make_folds(records, FOLDS)
    by_part = {name: [r.id for r in records if r.tags["partition"] == name] for name in SPLITS}
    assert (fold.train, fold.dev) == (by_part["Train"], by_part["Development"])
    assert (fold.part, fold.test) == ("Test1", by_part["Test1"])
    assert fold.further == {"Test2": by_part["Test2"]}
    assert made.flags == []


def test_without_the_tag_they_are_one_part(records, tmp_path):
    (fold,) = made = make_folds(records, Folds("official"))
    assert len(fold.test) == 8
    assert (fold.part, fold.further) == (None, {})
    text = write_folds(tmp_path / "folds.json", made).read_text()
    assert '"part"' not in text  # files of corpora with one test part stay as they were
    assert '"further"' not in text
    assert protocol_name(FOLDS, "clean") != protocol_name(Folds("official"), "clean")


def test_the_file_keeps_them(records, tmp_path):
    made = make_folds(records, FOLDS)
    assert read_folds(write_folds(tmp_path / "folds.json", made)) == made


def test_what_is_not_known_of_the_paper_is_said_under_paper_alone(records):
    assert make_folds(records, FOLDS).flags == []
    paper = make_folds(records, FOLDS, "paper")
    assert paper.flags == ["nobody knows"]
    assert paper.folds == make_folds(records, FOLDS).folds


def test_speakers_of_a_further_part_that_train_are_said(records):
    heard = [*records, record(50, "Test2", speaker="Train0")]
    assert make_folds(heard, FOLDS).flags == ["speakers shared by train and Test2"]
    both = [*records, record(51, "Test2", speaker="Test10")]
    assert make_folds(both, FOLDS).flags == []  # two test parts give nothing away


@pytest.mark.parametrize("name", [None, "a/b", "test"])
def test_a_part_must_have_a_name_of_its_own(records, name):
    odd = dataclasses.replace(records[-1], tags={} if name is None else {"partition": name})
    with pytest.raises(DataError, match="names no test part") as refused:
        make_folds([*records[:-1], odd], FOLDS)
    assert odd.id in str(refused.value)


def test_tests_are_for_official_parts():
    with pytest.raises(ConfigError, match="tests: is only for kind: official"):
        Folds("grouped", count=3, tests="partition")
