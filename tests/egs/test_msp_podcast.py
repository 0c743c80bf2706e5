"""MSP-Podcast: all forms of its labels, texts, parts and counts of imitations; two test parts."""

import sys
from collections import Counter

import pytest
import trees
import trees_msp as tree
from recipes import copy_recipe, results_of, run_recipe
from sertools.data.corpus import Corpus
from sertools.data.manifest import read_manifest
from sertools.data.prepare import prepare_manifest
from sertools.errors import ConfigError, DataError
from sertools.scoring.dimensions import dimensional_scores
from sertools.scoring.predictions import read_predictions


@pytest.fixture(autouse=True)
def beside_prepare(monkeypatch, repository):
    """Let prepare.py find labels.py, as it does in its own folder."""
    monkeypatch.syspath_prepend(str(repository / "egs" / "msp_podcast"))
    yield
    for neighbour in ("labels", "workers"):
        sys.modules.pop(neighbour, None)


@pytest.fixture
def table():
    return tree.rows()


@pytest.fixture
def root(tmp_path, table):
    tree.release(tmp_path / "r", table, trees.name_only)
    return tmp_path / "r"


@pytest.fixture
def gather(collect):
    """Return a function that runs the preparer: what it found, which must be without fault."""

    def run(root, **options):
        found, faults = collect("msp_podcast", root, **options)
        assert not faults, faults.groups()
        return found, faults.dropped

    return run


def said(record) -> tuple:
    return (record.label, record.arousal, record.valence, record.dominance, record.speaker,
            record.gender, record.split, record.tags["partition"])


def expected(row) -> tuple:
    parts = {"Train": "train", "Development": "dev", "Test1": "test", "Test2": "test"}
    _, code, act, val, dom, speaker, gender, partition = row
    known = (speaker, gender.lower()) if speaker != "Unknown" else (None, None)
    return (code, float(act), float(val), float(dom), *known, parts[partition], partition)


def test_every_turn_is_what_the_table_says(root, table, gather):
    found, dropped = gather(root)
    assert len(found) == len(table) == 70
    for row in table:
        record = found[tree.stem(row)]
        assert said(record) == expected(row)
        assert record.session == row[0].split("_")[1]
        assert record.tags["emotion"] == row[1]
    assert not dropped


@pytest.mark.parametrize("form", [
    "csv", "json", "json numbers", "concensus", "Audio", "Validation", "order", "legacy", "nested",
])  # fmt: skip
def test_all_forms_say_the_same(tmp_path, table, gather, form):
    root = tmp_path / "r"
    tree.audio(root, table, "Audio" if form == "Audio" else "Audios", trees.name_only,
               ".WAV" if form == "json" else ".wav")
    given = table
    if form == "Validation":
        given = [[*row[:-1], row[-1].replace("Development", "Validation")] for row in table]
    if form == "order":  # by name, whatever the order
        names = tree.HEADER.split(",")
        shuffled = [row[::-1] for row in table]
        tree.csv_table(root, shuffled, header=",".join(names[::-1]))
    elif form.startswith("json"):
        tree.json_table(root, given, texts=form == "json")
    elif form == "legacy":
        tree.legacy(root, given)
    else:
        tree.csv_table(root, given, "labels_concensus.csv" if form == "concensus"
                       else "labels_consensus.csv")
    if form == "nested":
        trees.second_copy(root, "MSP-PODCAST-Publish-1.10")
        trees.litter(root / "Audios")
    found, _ = gather(root)
    assert {name: said(record) for name, record in found.items()} == {
        tree.stem(row): expected(row) for row in table}


def test_an_empty_transcript_is_said_to_be_empty(root, table, gather):
    found, _ = gather(root)
    texts = [found[tree.stem(row)].text for row in table]
    assert texts[0] is None  # no transcript
    assert texts[5] == texts[10] == ""
    assert texts[1] == "It’s turn 1 {laughs}, you know."
    assert Counter(texts)[""] == 13


def test_test3_has_no_labels_and_is_left_out_or_kept(root, table, gather):
    names = tree.test3(root, trees.name_only)
    found, dropped = gather(root)
    assert not set(names) & set(found)
    assert dropped == {"turn of Test3, whose labels are withheld":
                       [f"msp_podcast-{name}" for name in sorted(names)]}
    kept, dropped = gather(root, withheld="keep")
    assert not dropped
    assert len(kept) == len(table) + 3
    for name in names:
        record = kept[name]
        assert (record.label, record.arousal, record.split) == (None, None, None)
        assert record.tags == {"partition": "Test3"}


def test_rows_of_test3_may_be_empty(root, table, gather):
    for path in (root / "Labels").glob("*.json"):
        path.unlink()
    name = tree.test3(root, trees.name_only)[0]
    tree.csv_table(root, [*table, [f"{name}.wav", "", "", "", "", "Unknown", "", "Test3"]])
    found, dropped = gather(root)
    assert len(found) == 70
    assert sum(map(len, dropped.values())) == 3
    with pytest.raises(ConfigError, match="withheld is 'perhaps'"):
        gather(root, withheld="perhaps")


def test_all_that_is_wrong_is_said_at_once(root, table, collect):
    (root / "Labels" / "labels_consensus.json").unlink()
    broken = [list(row) for row in table]
    broken[0][2], broken[1][3], broken[2][4] = "7.5", "nan", "often"
    broken[3][1], broken[4][7], broken[5][6] = "", "Test4", "Robot"
    broken[6][0] = broken[7][0]
    broken[8][0] = "MSP-PODCAST_9999_0001.wav"
    broken.append(["MSP-PODCAST_0001_0008.wav", "N"])
    tree.csv_table(root, broken)
    _, faults = collect("msp_podcast", root)
    shown = "\n".join(faults.groups())
    for line, text in [
        (2, "EmoAct is 7.5, off the scale of 1 to 7"),
        (3, "EmoVal is nan, off the scale of 1 to 7"),
        (4, "EmoDom is 'often', not a number"),
        (5, "EmoClass is empty"),
        (6, "Split_Set is 'Test4', none of Train, Development, Test1, Test2, Test3, Validation"),
        (7, "Gender is 'Robot', none of Female, Male, Unknown"),
        (9, "stands already in Labels/labels_consensus.csv line 8"),
        (10, "MSP-PODCAST_9999_0001 has no recording"),
        (72, "has more or fewer cells than columns"),
    ]:  # fmt: skip
        assert any(f"labels_consensus.csv line {line}: " in each and text in each
                   for each in shown.splitlines()), (line, text)


def test_a_table_without_a_column_is_refused(root, table, collect):
    (root / "Labels" / "labels_consensus.json").unlink()
    tree.csv_table(root, table, header=tree.HEADER.replace("EmoVal", "Valence"))
    _, faults = collect("msp_podcast", root)
    assert "has no column EmoVal" in "\n".join(faults.groups())


def test_files_that_contradict_each_other_are_named(root, table, collect):
    other = [list(row) for row in table]
    other[3][2], other[4][1] = "6.6", "N"
    tree.json_table(root, other[:-1])
    lines = [f"{'Test2' if number == 5 else row[7]}; {row[0]}" for number, row in enumerate(table)]
    (root / "Partitions.txt").write_text("\n".join(lines))
    _, faults = collect("msp_podcast", root)
    clash = next(text for text in faults.groups() if text.startswith("files that clash"))
    assert clash.startswith("files that clash: 4")
    assert f"labels_consensus.json {table[3][0]}: Labels/labels_consensus.csv line 5 says" in clash
    assert f"labels_consensus.json {table[4][0]}: " in clash
    assert f"line {len(table) + 1}: the other label file lacks it" in clash
    assert f"{tree.stem(table[5])} is in Train, Partitions.txt line 6 says Test2" in clash


@pytest.mark.parametrize("content", ["{", "[1, 2]", '{"MSP-PODCAST_0001_0008.wav": {"EmoAct": 1}}'])
def test_json_of_another_form_is_refused(root, collect, content):
    (root / "Labels" / "labels_consensus.json").write_text(content)
    _, faults = collect("msp_podcast", root)
    assert "labels_consensus.json" in "\n".join(faults.groups())


def test_broken_lines_of_old_releases_are_listed(tmp_path, table, collect):
    root = tmp_path / "r"
    tree.audio(root, table, write=trees.name_only)
    labels = tree.legacy(root, table)
    lines = labels.read_text().splitlines()
    lines[0] = lines[0].replace("A:", "Arousal ")
    lines[5] = lines[5].replace("V:", "V:9")  # a turn has five lines
    labels.write_text("\n".join([*lines, lines[10]]))
    partitions = root / "Partitions.txt"
    kept = partitions.read_text().splitlines()
    partitions.write_text("\n".join([*kept[:-1], "Training; x.wav"]))
    _, faults = collect("msp_podcast", root)
    shown = "\n".join(faults.groups())
    for text in ("Labels.txt line 1: does not read", "Labels.txt line 6: EmoVal is 9",
                 f"Labels.txt line {len(lines) + 1}: {tree.stem(table[2])} stands already in",
                 f"{tree.stem(table[-1])} is in no part of Partitions.txt",
                 f"Partitions.txt line {len(kept)}: does not read partition; file"):
        assert text in shown


def test_a_release_without_labels_is_told_what_to_do(tmp_path, table, collect):
    tree.audio(tmp_path, table, write=trees.name_only)
    (tmp_path / "Audios" / "podcast.wav").touch()
    _, faults = collect("msp_podcast", tmp_path)
    shown = "\n".join(faults.groups())
    assert "unpack Labels as well" in shown
    assert "Audios/podcast.wav: the name is not that of a turn" in shown


# -------------------------------------------------------------------------------- counts, sets


def test_published_counts_fit_together(load_corpus):
    for file in ("corpus.yaml", "corpus_dimensions.yaml"):
        corpus = load_corpus("msp_podcast", file)
        assert sum(corpus.counts["1.10"]["tag.partition"].values()) == 104267 == (
            corpus.expected["total"])
        old = load_corpus("msp_podcast", file, release="1.8").expected
        assert sum(old["label"].values()) == old["total"] == 7800 + 15326 + 49916


def test_the_release_chooses_what_is_asserted(tmp_path, load_corpus, load_prepare):
    table = tree.rows(each=8, parts={"Train": ("0001",), "Test1": ("1023",)})
    tree.release(tmp_path / "r", table)
    prepare = load_prepare("msp_podcast").records

    def run(release):
        corpus = load_corpus("msp_podcast", release=release)
        return prepare_manifest(prepare, corpus, tmp_path / "r", tmp_path / "data", print)

    with pytest.raises(DataError) as refused:
        run("1.10")
    assert "tag.partition.Test2: expected 13289, found 0" in str(refused.value)
    with pytest.raises(DataError) as refused:
        run("1.8")
    shown = str(refused.value)
    assert "tag.partition.Test1: expected 15326, found 8" in shown
    assert "tag.partition.Train" not in shown  # how many is not known
    assert "label.O: expected 817, found 0" in shown
    summary = run("1.12")
    assert summary["utterances"] == 16
    assert any("no counts of release 1.12 are known" in text for text in summary["warnings"])
    assert summary["sample_rate"] == {"16000": 15, "44100": 1}
    with pytest.raises(ConfigError, match="put it in quotes"):
        load_corpus("msp_podcast", release=1.1)
    with pytest.raises(ConfigError, match="give the counts of each release"):
        Corpus("x", classes=["a"], release="2", counts={"total": 3})


# ------------------------------------------------------------------------------------ results


def test_each_test_part_is_read_once_and_reported_by_itself(repository, tmp_path):
    recipe = copy_recipe(repository, "msp_podcast", tmp_path)
    table = tree.rows(each=10)
    tree.release(tmp_path / "release", table)
    tree.test3(tmp_path / "release")
    printed = run_recipe(
        recipe, "hparams/classical_dimensions.yaml", "--data_folder", tmp_path / "release",
        "--corpus.release", "1.11", "--corpus.allow_subset", "true", "--protocol", "paper",
    )
    results = results_of(recipe)
    partitions = {f"msp_podcast-{tree.stem(row)}": row[7] for row in table}
    (unit,) = recipe.glob("exp/*/fold1/seed*/evaluate")
    names = ["CCC_arousal", "CCC_valence", "CCC_dominance"]
    for part, file, shown in (("Test1", "test.jsonl", results),
                              ("Test2", "test_Test2.jsonl", results["further_tests"]["Test2"])):
        predictions = read_predictions(unit / file)
        assert {item.id for item in predictions} == {
            id for id, partition in partitions.items() if partition == part}
        scores = dimensional_scores([item.reference for item in predictions],
                                    [item.prediction for item in predictions])
        for name in names:
            assert shown["summary"][name]["pooled"] == pytest.approx(scores[name], abs=1e-6)
        assert shown["coverage"]["n"] == len(predictions)
        unknown = sum(item.speaker is None for item in predictions)
        assert shown["interval"]["unit"] == "speaker"
        assert f"{unknown} of {len(predictions)} utterances have no speaker" in (
            shown["interval"]["reason"])
    assert results["test_part"] == "Test1"
    assert results["coverage"]["folds_total"] == 1
    assert results["protocol"]["own_table"]
    assert any("protocol unverified" in flag for flag in results["protocol"]["flags"])
    for page in ("RESULTS.md", "report.html"):
        (text,) = (path.read_text() for path in recipe.glob(f"exp/*/report/{page}"))
        assert "Scores on Test1" in text
        assert "Scores on Test2, 10 utterances" in text
    assert "Scores on Test2, 10 utterances" in printed
    manifest = read_manifest(recipe / "data" / "dimensions" / "utts.json")
    codes = Counter(record.tags["emotion"] for record in manifest.values())
    assert codes["O"] == codes["X"] == 7


def test_categories_leave_out_what_is_no_class(repository, tmp_path, load_corpus, load_prepare):
    tree.release(tmp_path / "r", tree.rows())
    corpus = load_corpus("msp_podcast", release="none")
    summary = prepare_manifest(load_prepare("msp_podcast").records, corpus, tmp_path / "r",
                               tmp_path / "data", print)
    assert summary["utterances"] == 56
    assert summary["dropped"] == {"label O is not among the classes": 7,
                                  "label X is not among the classes": 7}
    assert set(summary["label"].values()) == {7}


def test_pretraining_names_the_set_of_all_turns(repository):
    import re

    from sertools.data.prepared import Prepared, making_command

    text = (repository / "egs/pretrain/hparams/emotion2vec_base.yaml").read_text()
    named = re.search(r"msp_podcast: \{manifest: (\S+), folder: (\S+)\}", text)
    manifest = repository / "egs/pretrain" / named[1]
    command = making_command(Prepared("msp_podcast", manifest, repository / named[2]))
    assert "hparams/prepare_all.yaml" in command
