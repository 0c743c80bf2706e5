"""Records and manifests: what is written is what is read, here and by SpeechBrain."""

import dataclasses
import json
import math
import subprocess
import sys

import pytest
from sertools.data.manifest import inspect_manifest, read_manifest, write_manifest
from sertools.data.record import FIELDS, Record, id_problem, path_problem, type_problems
from sertools.errors import DataError

FULL = Record(
    id="toy-a (3)", path="Lärm/{take}/a.wav", label="joy", speaker="01", session="d1",
    gender="female", text='“Was?” {er} sagte: "nein"\n{{', language="de", arousal=1.5, valence=2,
    dominance=None, split="train", start=0.5, end=1.25, channel=1, tags={"take": "{1}"},
    duration=0.75, sample_rate=48000, channels=2, audio_hash="00ff")


def test_every_field_survives(tmp_path):
    bytes_ = Record(id="toy-b", path="Col\udc8ere/b.wav")
    write_manifest(tmp_path / "utts.json", [bytes_, FULL])
    assert read_manifest(tmp_path / "utts.json") == {"toy-a (3)": FULL, "toy-b": bytes_}


def test_one_utterance_a_line_sorted_all_keys_present(tmp_path):
    records = [Record(id=f"toy-{name}", path="x.wav") for name in ("b", "a", "B", "á")]
    lines = write_manifest(tmp_path / "m.json", records).read_text("utf-8").splitlines()
    assert (lines[0], lines[-1]) == ("{", "}")
    ids = [next(iter(json.loads("{" + line.rstrip(",") + "}"))) for line in lines[1:-1]]
    assert ids == sorted(record.id for record in records)
    entry = json.loads("{" + lines[1].rstrip(",") + "}")["toy-B"]
    assert tuple(entry) == FIELDS and entry["path"] == "{data_root}/x.wav"


def test_empty_manifest(tmp_path):
    assert read_manifest(write_manifest(tmp_path / "m.json", [])) == {}


def test_speechbrain_reads_it_directly(tmp_path):
    from speechbrain.dataio.dataset import DynamicItemDataset

    write_manifest(tmp_path / "m.json", [FULL])
    dataset = DynamicItemDataset.from_json(
        tmp_path / "m.json", replacements={"data_root": "/corpora"})
    dataset.set_output_keys(["id", "path", "text", "label", "tags"])
    assert dataset[0] == {"id": FULL.id, "path": "/corpora/" + FULL.path, "text": FULL.text,
                          "label": "joy", "tags": {"take": "{1}"}}


def test_writing_refuses_equal_ids(tmp_path):
    with pytest.raises(DataError, match="more than once"):
        write_manifest(tmp_path / "m.json", [Record(id="toy-a", path=p) for p in ("a", "b")])
    assert not (tmp_path / "m.json").exists()


def test_reading_lists_every_problem(tmp_path):
    entry = dataclasses.replace(FULL, id="x").as_dict() | {"path": "{data_root}/a.wav"}
    bad = {
        "toy-b": entry | {"gender": "woman", "duration": "long"},
        "toy-a": entry | {"path": "/etc/passwd"},
        "../../x": entry,
        "toy-c": {key: value for key, value in entry.items() if key != "text"} | {"talker": 1},
        "toy-d": entry | {"path": "{data_root}/../x.wav"},
        "toy-e": 3,
    }
    path = tmp_path / "m.json"
    text = json.dumps(bad)
    path.write_text(text[:-1] + ', "toy-b": ' + json.dumps(entry) + "}", encoding="utf-8")
    problems = "\n".join(inspect_manifest(path)[1])
    for words in ("'toy-b' occurs more than once", "must begin with {data_root}/",
                  "'../../x': id holds a path separator", "lacks text",
                  "unknown fields talker", "leads out of the data folder",
                  "'toy-e': is a int", "not sorted by id"):
        assert words in problems
    with pytest.raises(DataError, match="not a sound manifest") as error:
        read_manifest(path)
    assert error.value.exit_code == 3


@pytest.mark.parametrize("content, words", [
    (None, "does not exist"), ("[1]", "holds a list"), ("{", "cannot be read as JSON"),
    (b"\xff\xfe", "cannot be read as JSON")])
def test_reading_what_is_no_manifest(tmp_path, content, words):
    path = tmp_path / "m.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=words):
        read_manifest(path)


@pytest.mark.parametrize("id", ["", "a/b", "a\\b", "../../x", "toy-a\nb", "toy-a\tb", "-a", ".a",
                                "toy-\udc8e", "x" * 201, None])
def test_ids_that_cannot_be_files_or_lines(id):
    assert id_problem(id)


@pytest.mark.parametrize("id", ["toy-a03 (3)", "meld-dia0_utt0-train", "mosei-_-x___0", "esd-中立"])
def test_ids_of_real_corpora_pass(id):
    assert id_problem(id) is None


@pytest.mark.parametrize("path", ["", "/abs.wav", "C:/x.wav", "a\\b.wav", "a/../../b.wav", None])
def test_paths_must_stay_inside(path):
    assert path_problem(path)


@pytest.mark.parametrize("change", [
    {"gender": "F"}, {"split": "valid"}, {"arousal": math.nan}, {"valence": "3,5"},
    {"start": -0.1}, {"start": 2.0, "end": 2.0}, {"end": 0.0}, {"channel": -1}, {"channel": True},
    {"tags": {"take": 1}}, {"tags": None}, {"speaker": 3}, {"duration": math.inf}])
def test_values_that_cannot_be(change):
    record = dataclasses.replace(Record(id="toy-a", path="a.wav"), **change)
    assert len(type_problems(record)) == 1


def test_light_modules_import_nothing_heavy():
    light = ("record", "manifest", "corpus", "counts", "facts", "prepare", "protocol", "emobox",
             "folding", "splitters", "flags", "leaks", "validate", "repair", "select", "combine",
             "kaldi", "script", "sniff")
    code = (f"import sys, importlib\nfor name in {light}:\n"
            "    importlib.import_module(f'sertools.data.{name}')\n"
            "print(sorted({'torch', 'numpy', 'soundfile', 'speechbrain', 'sklearn'} "
            "& set(sys.modules)))")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
