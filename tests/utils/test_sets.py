"""utils/fix.py, subset.py, combine.py, to_kaldi.py, import_emobox.py."""

import json
import os
import subprocess
import sys
import time

import pytest
from prepared import UTILS, change, make_set, script
from sertools.data.folds import read_folds
from sertools.data.manifest import read_manifest

fix, subset, combine, to_kaldi, import_emobox = (
    script(name).main for name in ("fix", "subset", "combine", "to_kaldi", "import_emobox"))


@pytest.fixture
def toy(tmp_path):
    return make_set(tmp_path)


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["validate", "fix", "subset", "combine", "to_kaldi",
                                  "import_emobox"])
def test_help_is_quick_and_imports_nothing_heavy(name):
    code = (f"import runpy, sys; sys.argv = ['{name}.py', '--help']\n"
            f"try: runpy.run_path({str(UTILS / f'{name}.py')!r}, run_name='__main__')\n"
            "except SystemExit: print({'torch', 'numpy', 'soundfile'} & set(sys.modules))")
    started = time.monotonic()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert time.monotonic() - started < 2.0
    assert result.stdout.startswith("usage:") and result.stdout.endswith("set()\n"), result.stderr


# fix


def test_fix_leaves_a_sound_set_alone(toy, capsys):
    before = files_of(toy)
    assert fix([str(toy), "--data-folder", str(toy.parent / "release/toy"), "--apply"]) == 0
    assert files_of(toy) == before and "16 of 16 utterances stay" in capsys.readouterr().out


def broken(toy):
    """Plant an evil id, a bad value, an unreadable file, and disorder."""
    (toy.parent / "release/toy/wav/s1_calm_1.wav").write_text("no sound")
    change(toy / "utts.json", "toy-s0_calm_1", gender="woman")
    content = json.loads((toy / "utts.json").read_text())
    content["../x"] = content["toy-s0_calm_2"]
    content["toy-s0_angry_1"] = content.pop("toy-s0_angry_1")
    (toy / "utts.json").write_text(json.dumps(content))
    return [str(toy), "--data-folder", str(toy.parent / "release/toy")]


def test_fix_is_a_dry_run_by_default(toy, capsys):
    arguments = broken(toy)
    before = files_of(toy)
    assert fix(arguments) == 3
    said = capsys.readouterr()
    assert files_of(toy) == before
    for words in ("gender is 'woman'", "'../x': id", "not sorted", "cannot be decoded: 1",
                  "14 of 17 utterances stay", "loso-speaker-clean.json: 8 ids", "--apply"):
        assert words in said.out + said.err


def test_fix_applies_and_keeps_a_backup(toy):
    arguments = broken(toy)
    before = files_of(toy)
    assert fix([*arguments, "--apply"]) == 0
    records = read_manifest(toy / "utts.json")
    assert len(records) == 14 and not {"../x", "toy-s0_calm_1", "toy-s1_calm_1"} & records.keys()
    folds = read_folds(toy / "folds/loso-speaker-clean.json")
    assert {id for fold in folds for id in fold.test} == set(records)
    assert json.loads((toy / "summary.json").read_text())["label"] == {"angry": 8, "calm": 6}
    assert {name: before[name] for name in files_of(toy / ".backup")} == files_of(toy / ".backup")
    assert script("validate").main([*arguments, "--no-audio"]) == 0
    assert fix(arguments) == 0


def test_a_second_fix_keeps_the_first_backup(toy):
    assert fix([*broken(toy), "--apply"]) == 0
    change(toy / "utts.json", "toy-s3_calm_1", gender="man")
    assert fix([str(toy), "--apply"]) == 0
    assert (toy / ".backup/utts.json").read_bytes() != (toy / ".backup.1/utts.json").read_bytes()


def test_fix_of_nothing(toy, capsys):
    (toy / "utts.json").write_text("{")
    assert fix([str(toy)]) == 3 and "can be kept" in capsys.readouterr().err


# subset


def taken(toy, *options):
    target = toy.parent / "part"
    assert subset([str(toy), str(target), *options]) == 0
    return list(read_manifest(target / "utts.json"))


@pytest.mark.parametrize("options, expected", [
    (["--first", "2"], ["toy-s0_angry_1", "toy-s0_angry_2"]),
    (["--last", "2"], ["toy-s3_calm_1", "toy-s3_calm_2"]),
    (["--shortest", "1"], ["toy-s0_angry_1"]),
    (["--speakers", "1"], [f"toy-s0_{x}" for x in ("angry_1", "angry_2", "calm_1", "calm_2")]),
    (["--per-class", "3"], [f"toy-s{n}_{x}_1" for n in range(3) for x in ("angry", "calm")]),
    (["--per-speaker", "1"], [f"toy-s{n}_angry_1" for n in range(4)]),
    (["--per-speaker", "2", "--speakers", "1"], ["toy-s0_angry_1", "toy-s0_calm_1"]),
    (["--per-class", "1", "--last", "1"], ["toy-s0_calm_1"]),
])
def test_subset(toy, options, expected):
    assert taken(toy, *options) == expected
    summary = json.loads((toy.parent / "part/summary.json").read_text())
    assert summary["utterances"] == len(expected) and list(summary["label"]) == ["angry", "calm"]
    assert summary["warnings"][-1] == f"subset: {len(expected)} of 16 utterances"


def test_subset_by_lists(toy):
    (toy.parent / "utts").write_text("toy-s3_calm_1\n\ntoy-s1_calm_1\n")
    (toy.parent / "speakers").write_text("\ufeffs3\r\n", encoding="utf-8")
    assert taken(toy, "--utt-list", str(toy.parent / "utts"),
                 "--spk-list", str(toy.parent / "speakers")) == ["toy-s3_calm_1"]


@pytest.mark.parametrize("options, words", [
    (["--first", "0"], "--first 0: take 1 or more"), (["--utt-list", "no"], "there is no file no"),
    (["--utt-list", "LIST"], "'toy-gone' of --utt-list"),
    (["--spk-list", "LIST"], "'toy-gone' of --spk-list")])
def test_subset_refuses(toy, options, words, capsys):
    (toy.parent / "list").write_text("toy-gone\n")
    options = [str(toy.parent / "list") if name == "LIST" else name for name in options]
    assert subset([str(toy), str(toy.parent / "part"), *options]) == 2
    assert words in capsys.readouterr().err and not (toy.parent / "part").exists()


def test_subset_never_overwrites(toy, capsys):
    assert subset([str(toy), str(toy), "--first", "1"]) == 2
    assert "exists already" in capsys.readouterr().err


# combine


def test_combine(toy, tmp_path):
    other = make_set(tmp_path, "other", speakers=3)
    target = tmp_path / "both"
    assert combine([str(target), f"{toy}=toy", f"{other}=other",
                    "--data-folder", str(tmp_path / "release")]) == 0
    records = read_manifest(target / "utts.json")
    assert len(records) == 28 and records["toy-s0_calm_1"].path == "toy/wav/s0_calm_1.wav"
    assert script("validate").main([str(target), "--data-folder", str(tmp_path / "release")]) == 0


def test_combine_with_one_data_folder(toy, tmp_path):
    for name, option in (("a", "--first"), ("b", "--last")):
        assert subset([str(toy), str(tmp_path / name), option, "3"]) == 0
    assert combine([str(tmp_path / "both"), str(tmp_path / "a"), str(tmp_path / "b"),
                    "--data-folder", str(tmp_path / "release/toy")]) == 0
    records = read_manifest(tmp_path / "both/utts.json")
    assert len(records) == 6 and records["toy-s0_angry_1"].path == "wav/s0_angry_1.wav"
    warnings = json.loads((tmp_path / "both/summary.json").read_text())["warnings"]
    assert warnings == ["toy: subset: 3 of 16 utterances"] * 2


def test_combine_refuses_clashes(toy, tmp_path, capsys):
    assert combine([str(tmp_path / "both"), str(toy), str(toy), "--data-folder", "."]) == 3
    err = capsys.readouterr().err
    assert "toy-s0_angry_1 is in" in err and not (tmp_path / "both").exists()


def test_combine_refuses_other_classes_unless_told(toy, tmp_path, capsys):
    other = make_set(tmp_path, "other", classes=("calm", "bored"))
    arguments = [str(tmp_path / "both"), f"{toy}=toy", f"{other}=other",
                 "--data-folder", str(tmp_path / "release")]
    assert combine(arguments) == 3
    assert "different classes" in capsys.readouterr().err
    assert combine([*arguments, "--union-labels"]) == 0
    summary = json.loads((tmp_path / "both/summary.json").read_text())
    assert summary["label"] == {"angry": 8, "calm": 16, "bored": 8}


def test_combine_refuses_folders_outside_and_single_sets(toy, tmp_path, capsys):
    assert combine([str(tmp_path / "both"), f"{toy}=..", str(toy),
                    "--data-folder", str(tmp_path / "release")]) == 2
    assert "is not inside" in capsys.readouterr().err
    assert combine([str(tmp_path / "both"), str(toy), "--data-folder", "."]) == 2


# to_kaldi


def table(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines == sorted(lines, key=lambda line: line.split(" ")[0].encode())
    return dict(line.split(" ", 1) for line in lines)


def check_kaldi(folder, number):
    """Assert what Kaldi's validate_data_dir.sh asks for."""
    utt2spk, spk2utt = table(folder / "utt2spk"), table(folder / "spk2utt")
    assert len(utt2spk) == number
    assert sorted(utt2spk) == [utt for spk in sorted(spk2utt) for utt in spk2utt[spk].split()]
    for speaker, utterances in spk2utt.items():
        assert all(utt2spk[utt] == speaker and utt.startswith(speaker)
                   for utt in utterances.split())
    for name in {"text", "utt2emo", "utt2dur", "utt2id", "utt2lang"} & set(os.listdir(folder)):
        assert table(folder / name).keys() <= utt2spk.keys()
    sounds = table(folder / "wav.scp")
    if (folder / "segments").exists():
        segments = table(folder / "segments")
        assert segments.keys() == utt2spk.keys()
        for line in segments.values():
            sound, start, end = line.split()
            assert sound in sounds and 0 <= float(start) < float(end)
    else:
        assert sounds.keys() == utt2spk.keys()
    return utt2spk, sounds


def test_to_kaldi(toy, tmp_path):
    release = tmp_path / "release/toy"
    assert to_kaldi([str(toy), str(tmp_path / "k"), "--data-folder", str(release)]) == 0
    utt2spk, sounds = check_kaldi(tmp_path / "k", 16)
    assert utt2spk["toy-s0-s0_calm_1"] == "toy-s0"
    assert sounds["toy-s0-s0_calm_1"] == str(release.resolve() / "wav/s0_calm_1.wav")
    assert table(tmp_path / "k/spk2gender")["toy-s1"] == "m"
    assert table(tmp_path / "k/utt2id")["toy-s0-s0_calm_1"] == "toy-s0_calm_1"
    assert table(tmp_path / "k/text")["toy-s0-s0_calm_1"] == "words of s0_calm_1"


def test_to_kaldi_of_folds(toy, tmp_path):
    assert to_kaldi([str(toy), str(tmp_path / "k"), "--data-folder", str(tmp_path / "release/toy"),
                     "--folds", str(toy / "folds/loso-speaker-clean.json")]) == 0
    for fold in "1234":
        for part, number in (("train", 8), ("dev", 4), ("test", 4)):
            check_kaldi(tmp_path / f"k/fold{fold}/{part}", number)


def test_to_kaldi_of_awkward_records(tmp_path):
    from sertools.data.kaldi import write_kaldi
    from sertools.data.record import Record

    common = {"duration": 1.0, "channels": 1, "label": "x"}
    write_kaldi(tmp_path / "k", [
        Record(id="a-x (3)", path="my wavs/x (3).wav", speaker="1", text=" two\nlines ", **common),
        Record(id="a-y", path="y.flac", speaker="10", **common),
        Record(id="a-z", path="z.flac", **common | {"channels": 6}),
        Record(id="a-s1", path="long.wav", speaker="1", start=0.5, end=1.5, channel=1, **common),
        Record(id="a-s2", path="long.wav", speaker="1", start=2.0, channel=0, **common)],
        tmp_path)
    utt2spk, sounds = check_kaldi(tmp_path / "k", 5)
    assert utt2spk["a-z"] == "a-z" and "a-1-x__3_" in utt2spk
    assert table(tmp_path / "k/text") == {"a-1-x__3_": "two lines"}
    root = tmp_path.resolve()
    assert sounds["a-1-x__3_"] == f"sox '{root}/my wavs/x (3).wav' -t wav - remix - |"
    assert sounds["a-10-y"] == f"flac -c -d -s {root}/y.flac |"
    assert sounds["a-z"] == f"sox {root}/z.flac -t wav - remix - |"
    assert sounds["long.wav-channel1"] == f"sox {root}/long.wav -t wav - remix 2 |"
    segments = table(tmp_path / "k/segments")
    assert segments["a-1-s2"] == "long.wav-channel0 2.000000 3.000000"
    assert segments["a-z"] == "a-z 0.000000 1.000000"


def test_to_kaldi_refuses_names_that_clash(tmp_path):
    from sertools.data.kaldi import write_kaldi
    from sertools.data.record import Record
    from sertools.errors import DataError

    with pytest.raises(DataError, match="not unique"):
        write_kaldi(tmp_path / "k", [Record(id=f"a-x{mark}", path="x.wav") for mark in " _"],
                    tmp_path)


# import_emobox


def test_import_emobox(toy, tmp_path, capsys):
    ids = list(read_manifest(toy / "utts.json"))
    for number in (1, 2):
        folder = tmp_path / f"lists/fold_{number}"
        folder.mkdir(parents=True)
        rows = [{"key": id, "wav": "x.wav", "emo": id.split("_")[1]} for id in ids[number - 1::2]]
        (folder / f"toy_test_fold_{number}.jsonl").write_text(
            "".join(json.dumps(item) + "\n" for item in rows))
    (tmp_path / "lists/label_map.json").write_text('{"Angry": "Anger"}')
    assert import_emobox([str(tmp_path / "lists"), str(toy), "--protocol", "paper"]) == 0
    out = capsys.readouterr().out
    assert "label angry (Anger): angry 8" in out and "label calm: calm 8" in out
    assert "note: speakers shared by train and test" in out
    folds = read_folds(toy / "folds/emobox-paper.json")
    assert folds.folds[0].test == sorted(ids[0::2])
    assert import_emobox([str(tmp_path), str(toy)]) == 3


def test_sets_without_a_summary(toy, tmp_path):
    (toy / "summary.json").unlink()
    assert subset([str(toy), str(tmp_path / "part"), "--first", "3"]) == 0
    summary = json.loads((tmp_path / "part/summary.json").read_text())
    assert summary["label"] == {"angry": 2, "calm": 1} and summary["corpus"] == "toy"


def test_conditions_that_leave_nothing(toy, tmp_path, capsys):
    (tmp_path / "utts").write_text("toy-s3_calm_1")
    (tmp_path / "speakers").write_text("s0")
    assert subset([str(toy), str(tmp_path / "part"), "--utt-list", str(tmp_path / "utts"),
                   "--spk-list", str(tmp_path / "speakers")]) == 2
    assert "nothing is left of the set" in capsys.readouterr().err


def test_sources_must_lie_inside(toy, tmp_path):
    from sertools.data.combine import Source
    from sertools.data.combine import combine as combine_sets
    from sertools.errors import ConfigError

    with pytest.raises(ConfigError, match="not inside the common data folder"):
        combine_sets(tmp_path / "both", [Source(toy, "../x")])


def test_fix_caps_what_it_says(tmp_path, capsys):
    toy = make_set(tmp_path, speakers=12)
    for id in list(read_manifest(toy / "utts.json"))[:30]:
        change(toy / "utts.json", id, gender="x")
    assert fix([str(toy)]) == 3
    assert "... and 10 more" in capsys.readouterr().out
