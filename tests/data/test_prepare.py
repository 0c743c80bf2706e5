"""From records to a checked manifest: all faults at once, everything left out is counted."""

import dataclasses
import json

import numpy as np
import pytest
import soundfile
from sertools.data.corpus import Corpus
from sertools.data.manifest import read_manifest
from sertools.data.prepare import prepare_manifest
from sertools.data.record import Record
from sertools.errors import ConfigError, DataError, Interrupted
from sounds import noise, write

TOY = Corpus("toy", "en", classes=["angry", "calm"],
             label_map={"A": "angry", "C": "calm", "X": None})


def record(name, label="A", **fields):
    return Record(id=f"toy-{name}", path=f"wav/{name}.wav", label=label,
                  **{"speaker": name[0]} | fields)


@pytest.fixture
def release(tmp_path):
    """Return six utterances of two speakers, on disk: a1 a2 a3 b1 b2 b3."""
    records = [record(f"{speaker}{take}", label) for speaker in "ab"
               for take, label in enumerate("ACA", 1)]
    for item in records:
        write(tmp_path / "release" / item.path)
    return tmp_path / "release", records


def prepare(release, tmp_path, corpus=TOY, records=None, **changes):
    root, own = release
    return prepare_manifest(own if records is None else records,
                            dataclasses.replace(corpus, **changes), root, tmp_path / "data",
                            say=lambda _: None)


def failure(*arguments, **changes) -> str:
    with pytest.raises(DataError) as error:
        prepare(*arguments, **changes)
    return str(error.value)


def test_the_manifest_holds_classes_and_facts(release, tmp_path):
    summary = prepare(release, tmp_path)
    manifest = read_manifest(tmp_path / "data" / "utts.json")
    assert list(manifest) == ["toy-a1", "toy-a2", "toy-a3", "toy-b1", "toy-b2", "toy-b3"]
    a2 = manifest["toy-a2"]
    assert (a2.label, a2.language, a2.duration, a2.sample_rate, a2.channels) == (
        "calm", "en", 0.3, 16000, 1)
    assert summary["label"] == {"angry": 4, "calm": 2} and summary["speaker"] == {"a": 3, "b": 3}
    assert summary["hours"] == pytest.approx(6 * 0.3 / 3600, abs=1e-4)
    assert json.loads((tmp_path / "data" / "summary.json").read_text()) == summary
    assert json.loads((tmp_path / "data" / "skipped.json").read_text()) == []


def test_equal_releases_give_equal_bytes(release, tmp_path):
    prepare(release, tmp_path)
    first = {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()}
    prepare((release[0], release[1][::-1]), tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()} == first


def test_a_preparer_is_called_with_its_options(release, tmp_path):
    def records(root, faults, take="1"):
        faults.drop("another take", "toy-a2")
        return [item for item in release[1] if item.id.endswith(take)]

    summary = prepare(release, tmp_path, records=records, options={"take": "3"})
    assert summary["utterances"] == 2 and summary["dropped"] == {"another take": 1}
    with pytest.raises(ConfigError, match="tke"):
        prepare(release, tmp_path, records=records, options={"tke": "3"})


def test_dropped_labels_are_counted(release, tmp_path):
    records = [dataclasses.replace(release[1][0], label="X"), *release[1][1:]]
    summary = prepare(release, tmp_path, records=records)
    assert summary["utterances"] == 5
    assert summary["dropped"] == {"label X is not among the classes": 1}


def test_every_fault_is_listed_in_one_pass(release, tmp_path):
    root, records = release
    (root / "wav/a1.wav").unlink()
    write(root / "wav/a2.wav", np.zeros((4000, 1), "float32"))
    (root / "wav/a3.wav").write_text("version https://git-lfs.github.com/spec/v1\n")
    write(root / "wav/b1.wav", noise(0.05))
    records = [*records, record("b3"), record("c1", "B"), record("c2", None),
               Record(id="toy-../x", path="wav/b2.wav", label="A"),
               Record(id="other-d", path="/abs.wav", label="A", gender="w"),
               record("c3", start=2.0, end=1.0), record("b2", arousal=9.0),
               Record(id="toy-b2-part", path="wav/b2.wav", label="A", start=0.1, end=9.0)]
    text = failure(release, tmp_path, records=records, scale=[1, 7],
                   counts={"total": 99, "speaker": {"a": 3, "z": 1}, "label": 4})
    for words in (
        "audio files that are missing: 1", "wav/a1.wav", "audio without any sound: 1",
        "Git-LFS pointers instead of audio: 1", "git lfs pull", "audio that is too short: 1",
        "0.050 s, corpus.min_seconds is 0.1", "ids that occur more than once: 2",
        "toy-b3: stands for wav/b3.wav, wav/b3.wav", "label 'B'", "utterances without a label: 1",
        "toy-../x: the id holds a path separator", "the id does not begin with 'toy-'",
        "the path is not relative", "gender is 'w'", "ends at 1.0 s, not after its start",
        "arousal is 9.0, outside the scale of 1 to 7", "segments outside their file: 1",
        "counts.total: expected 99, found 14", "counts.speaker.z: expected 1, found 0",
        "counts.speaker.b: expected 0, found 5", "label: expected 4 different ones, found 3",
    ):
        assert words in text
    assert not (tmp_path / "data" / "utts.json").exists()


def test_an_unknown_label_gets_the_nearest_known_one(release, tmp_path):
    corpus = Corpus("toy", classes=["angry", "happy"])
    text = failure(release, tmp_path, corpus=corpus, records=[record("a1", "hapy")])
    assert "label 'hapy', the nearest known one is 'happy'" in text and "null leaves" in text


def test_too_long(release, tmp_path):
    assert "audio that is too long: 6" in failure(release, tmp_path, max_seconds=0.2)


def test_known_bad_audio_is_left_out_where_it_is_bad(release, tmp_path):
    root, _ = release
    known = {"known_bad_audio": ["toy-a1"], "counts": {"total": 6}}
    assert prepare(release, tmp_path, **known)["utterances"] == 6
    write(root / "wav/a1.wav", np.zeros(4800))
    summary = prepare(release, tmp_path, **known)
    assert summary["utterances"] == 5
    assert summary["skipped"] == {"audio without any sound": 1}
    (root / "wav/a1.wav").unlink()
    assert prepare(release, tmp_path, **known)["skipped"] == {"audio files that are missing": 1}
    (root / "wav/b1.wav").unlink()
    assert "wav/b1.wav" in failure(release, tmp_path, **known)


def test_genders_that_a_release_lacks_altogether_are_said_but_no_fault(release, tmp_path):
    counts = {"gender": {"female": 3, "male": 3}}
    summary = prepare(release, tmp_path, counts=counts)
    assert "no speaker's gender is known" in summary["warnings"]
    some = [dataclasses.replace(record, gender="male" if record.speaker == "a" else None)
            for record in release[1]]
    assert "counts.gender.female: expected 3, found 0" in failure(
        release, tmp_path, records=some, counts=counts)


def test_bad_audio_may_be_skipped_and_is_named(release, tmp_path):
    (release[0] / "wav/a1.wav").unlink()
    write(release[0] / "wav/b1.wav", noise(0.05))
    summary = prepare(release, tmp_path, bad_audio="skip", counts={"total": 6})
    assert summary["utterances"] == 4
    assert summary["skipped"] == {"audio files that are missing": 1, "audio that is too short": 1}
    skipped = json.loads((tmp_path / "data" / "skipped.json").read_text())
    assert [entry["id"] for entry in skipped] == ["toy-a1", "toy-b1"]


def test_expected_counts(release, tmp_path):
    counts = {"total": 6, "speaker": 2, "label": {"A": 4, "C": 2}, "class": {"angry": 4, "calm": 2}}
    prepare(release, tmp_path, counts=counts)
    counts["class"] = {"angry": 6}
    text = failure(release, tmp_path, counts=counts)
    assert "counts.class.angry: expected 6, found 4" in text
    assert "counts.class.calm: expected 0, found 2" in text


def test_a_subset_is_allowed_and_said(release, tmp_path):
    summary = prepare(release, tmp_path, counts={"total": 9}, allow_subset=True)
    assert summary["warnings"] == ["subset: counts.total: expected 9, found 6"]


def test_warnings(release, tmp_path):
    root, records = release
    write(root / "wav/b2.wav", soundfile.read(root / "wav/a2.wav")[0])
    soundfile.write(root / "wav/b3.wav", noise(0.3), 16000, format="AIFF")
    records = [dataclasses.replace(item, label="A" if item.speaker == "a" else "C",
                                   text=f"a text of {item.speaker}") for item in records]
    summary = prepare(release, tmp_path, records=records)
    text = "\n".join(summary["warnings"])
    assert summary["duplicates"] == [["toy-a2", "toy-b2"]]
    assert "1 groups of utterances have the same audio, such as toy-a2 and toy-b2" in text
    assert "1 files are not what their extension says, such as wav/b3.wav" in text
    assert "2 of 2 speakers have one class only" in text
    assert "2 of the 2 sentences that occur more than once occur with one class only" in text


def test_unlabelled_corpora(release, tmp_path):
    records = [dataclasses.replace(item, label=None) for item in release[1]]
    summary = prepare(release, tmp_path, Corpus("toy", unlabelled=True), records)
    assert summary["utterances"] == 6 and summary["label"] == {}
    half = [*records[:3], *release[1][3:]]
    assert prepare(release, tmp_path, records=half, unlabelled=True)["label"] == {
        "angry": 2, "calm": 1}


def test_labels_that_lead_nowhere_stay_without_a_class_where_that_is_allowed(release, tmp_path):
    labels = {"A": None, "C": "calm"}
    left_out = prepare(release, tmp_path, classes=["calm"], label_map=labels)
    kept = prepare(release, tmp_path, classes=["calm"], label_map=labels, unlabelled=True)
    assert left_out["utterances"] == left_out["label"]["calm"] < 6
    assert kept["utterances"] == 6 and kept["label"] == left_out["label"]
    assert left_out["dropped"] and not kept["dropped"]


def test_nothing_left_is_an_error(release, tmp_path):
    records = [dataclasses.replace(item, label="X") for item in release[1]]
    assert "no utterance is left" in failure(release, tmp_path, records=records)


def test_mending_a_release_reads_only_what_changed(release, tmp_path, monkeypatch):
    (release[0] / "wav/a1.wav").unlink()
    failure(release, tmp_path)
    write(release[0] / "wav/a1.wav")
    reads = []
    from sertools.data import facts
    real = facts.facts_of
    monkeypatch.setattr(facts, "facts_of", lambda path, parts: reads.append(path.name)
                        or real(path, parts))
    prepare(release, tmp_path)
    assert reads == ["a1.wav"]


def test_stopping(release, tmp_path):
    with pytest.raises(Interrupted):
        prepare_manifest(release[1], TOY, release[0], tmp_path / "data", say=lambda _: None,
                         should_stop=lambda: True)
    assert not (tmp_path / "data" / "utts.json").exists()
