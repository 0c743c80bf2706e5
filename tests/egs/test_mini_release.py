"""mini: its release on disk, and the records that its preparer reads from it."""

import csv
import hashlib
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from minis import MINI, contents, synthesise, table
from sertools.errors import ConfigError, DataError, Interrupted


@pytest.fixture
def tiny(tmp_path):
    """Return a release of 4 utterances."""
    synthesise(tmp_path / "tiny", speakers=1, utterances=1)
    return tmp_path / "tiny"


# --- the release on disk -----------------------------------------------------------------------


def test_sums_cover_every_file(tiny):
    found = contents(tiny)
    lines = found.pop("sha256sums.txt").decode().splitlines()
    assert dict(reversed(line.split("  ")) for line in lines) == {
        name: hashlib.sha256(data).hexdigest() for name, data in found.items()}


def test_a_complete_release_is_kept(tiny):
    before, said = {p: p.stat().st_mtime_ns for p in tiny.rglob("*")}, []
    synthesise(tiny, speakers=1, utterances=1, say=said.append)
    assert {p: p.stat().st_mtime_ns for p in tiny.rglob("*")} == before
    assert said == [f"{tiny}: complete, kept"]


def test_damage_and_other_options_make_it_anew(tiny):
    whole, said = contents(tiny), []
    wav = sorted(tiny.rglob("*.wav"))
    wav[0].write_bytes(b"")
    wav[1].unlink()
    synthesise(tiny, speakers=1, utterances=1, say=said.append)
    assert contents(tiny) == whole and "2 of 6 files missing or damaged" in said[0]
    synthesise(tiny, seed=3, speakers=1, utterances=1, say=said.append)
    assert contents(tiny).keys() == whole.keys() and contents(tiny) != whole


def test_a_folder_of_other_things_is_not_touched(tiny, tmp_path):
    (tiny / "wav" / "mine.wav").write_bytes(b"precious")
    other = tmp_path / "home"
    (other / "sub").mkdir(parents=True)
    (other / "sub" / "letter.txt").write_text("precious")
    for folder, name in ((tiny, "wav/mine.wav"), (other, "sub/letter.txt")):
        before = contents(folder)
        with pytest.raises(DataError, match=name):
            synthesise(folder, speakers=2, utterances=1)
        assert contents(folder) == before


def test_an_empty_folder_will_do(tmp_path):
    synthesise(tmp_path, speakers=1, utterances=1)
    assert len(list(tmp_path.rglob("*.wav"))) == 4


@pytest.mark.parametrize("wrong", [{"speakers": 0}, {"utterances": 0}, {"seed": -1}])
def test_impossible_options_are_refused(tmp_path, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        synthesise(tmp_path / "none", **wrong)
    assert not (tmp_path / "none").exists()


def test_killed_half_way_nothing_looks_finished(tmp_path):
    folder = tmp_path / "killed"
    code = ("import os, signal, sys; sys.path.insert(0, sys.argv[1]); "
            "from synthesise import synthesise; synthesise(sys.argv[2], speakers=3, utterances=1, "
            "say=lambda _: os.kill(os.getpid(), signal.SIGKILL))")
    ended = subprocess.run([sys.executable, "-c", code, str(MINI), str(folder)])
    assert ended.returncode == -signal.SIGKILL and not folder.exists()
    assert list(tmp_path.rglob("*.wav"))  # it was under way
    synthesise(folder, speakers=1, utterances=1)
    assert (folder / "sha256sums.txt").is_file()


def test_the_stage_works_in_the_recipes_folder_and_can_be_stopped(tmp_path):
    from synthesise import download

    asked = iter([False, True])
    config = {"data_folder": "downloads/mini", "synthesis": {"speakers": 2, "utterances": 1}}
    job = SimpleNamespace(config=config, recipe=tmp_path, say=lambda _: None,
                          should_stop=lambda: next(asked))
    with pytest.raises(Interrupted, match="1 of 2 speakers"):
        download(job)
    assert list(tmp_path.rglob("*.*")) == []
    job.should_stop = lambda: False
    outputs = download(job)
    assert all(path.is_file() for path in outputs)
    assert len(list((tmp_path / "downloads" / "mini").rglob("*.wav"))) == 8


# --- records -----------------------------------------------------------------------------------


def test_fields_follow_the_metadata(tiny, collect):
    found, faults = collect("mini", tiny)
    record, row = found["f01_happy_n01_1"], table(tiny)[1]
    assert not faults.faults and row["id"] == "f01_happy_n01_1"
    assert (record.id, record.label, record.speaker) == ("mini-f01_happy_n01_1", "happy", "f01")
    assert (record.gender, record.session, record.split) == ("female", "1", "train")
    assert record.text == "The bus leaves at nine, every day." and record.language == "en"
    assert [record.arousal, record.valence, record.dominance] == [
        float(row[name]) for name in ("arousal", "valence", "dominance")]
    assert record.tags == {"sentence": "n01", "take": "1", "intensity": row["intensity"]}


def test_every_bad_line_is_reported_with_its_number(tiny, collect):
    path = tiny / "metadata.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[2] = lines[2].replace(",happy,f01,", ",happy,,")
    cells = next(csv.reader([lines[3]]))
    lines[3] = lines[3].replace(cells[7], "4;2")
    lines[4] = lines[4].replace("f01_angry_n01_1.wav", "elsewhere.wav")
    lines += [lines[1], lines[1] + ",more"]
    path.write_text("\n".join(lines), encoding="utf-8")
    found, faults = collect("mini", tiny)
    assert list(found) == ["f01_neutral_n01_1"]
    said = {fault.where: fault.what for fault in faults.faults}
    assert "speaker" in said["metadata.csv line 3"]
    assert "4;2" in said["metadata.csv line 4"]
    assert "elsewhere.wav" in said["metadata.csv line 5"]
    assert "earlier line" in said["metadata.csv line 6"]
    assert "more cells" in said["metadata.csv line 7"]
    assert "not named" in said["wav/f01/f01_angry_n01_1.wav"]
    assert len(said) == 6 and all(fault.remedy for fault in faults.faults)


def test_a_wrong_folder_is_one_fault(tmp_path, tiny, collect):
    _, faults = collect("mini", tmp_path / "none")
    assert len(faults.faults) == 1
    (tiny / "metadata.csv").unlink()
    _, faults = collect("mini", tiny)
    assert [fault.where for fault in faults.faults] == ["metadata.csv"]


def test_starting_is_light():
    code = ("import sys; sys.path.insert(0, sys.argv[1]); import prepare, synthesise; "
            "print([m for m in ('numpy', 'soundfile', 'torch', 'sklearn') if m in sys.modules])")
    ran = subprocess.run([sys.executable, "-c", code, str(MINI)], capture_output=True, text=True)
    assert ran.stdout.strip() == "[]", ran.stderr
