"""MSP-Podcast: votes of its workers in every form that releases have had."""

import csv
import json
import sys

import pytest
import trees
import trees_msp as tree
from sertools.data.manifest import read_manifest
from sertools.data.prepare import prepare_manifest
from sertools.data.votes import distributions


@pytest.fixture(autouse=True)
def own_neighbours():
    """Forget the modules beside prepare.py: other recipes may have their own of that name."""
    yield
    for neighbour in ("labels", "workers"):
        sys.modules.pop(neighbour, None)


@pytest.fixture
def table():
    return tree.rows()


@pytest.fixture
def root(tmp_path, table):
    """Return a release without anything of single workers."""
    tree.audio(tmp_path / "r", table, write=trees.name_only)
    tree.csv_table(tmp_path / "r", table)
    return tmp_path / "r"


def expected(row) -> str:
    """Two workers agree with the label, one hears nothing; their own words are O."""
    code = row[1].replace("X", "O")
    return "N=3" if code == "N" else ";".join(sorted([f"{code}=2", "N=1"]))


def detailed_json(root, table, form: str) -> None:
    content = {}
    for row in table:
        said = [(who, {"EmoClass_Major": major, "EmoClass_Second": second, "EmoAct": "6.0"})
                for who, major, second in tree.workers(row)]
        content[row[0]] = {
            "by worker": dict(said),
            "list": [{"Name": who, **entry} for who, entry in said],
            "list below": {"Workers": [{"Name": who, **entry} for who, entry in said]},
            "packed": [tree.worker_line(*worker) for worker in tree.workers(row)],
        }[form]
    (root / "Labels" / "labels_detailed.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize("form", [
    "columns", "packed column", "both", "by worker", "list", "list below", "packed", "lines"])
def test_all_forms_give_the_same_votes(form, root, table, collect, tmp_path):
    if form == "lines":
        root = tmp_path / "old"
        tree.audio(root, table, write=trees.name_only)
        tree.legacy(root, table)
    elif form in ("columns", "packed column", "both"):
        tree.detailed_csv(root, table, packed=form == "packed column")
        if form == "both":  # the table is read, once
            detailed_json(root, table, "list")
    else:
        detailed_json(root, table, form)
    found, faults = collect("msp_podcast", root)
    assert not faults.faults and not faults.dropped
    assert {name: record.tags["votes"] for name, record in found.items()} == {
        tree.stem(row): expected(row) for row in table}


def test_a_copy_without_them_has_no_votes(root, table, collect):
    found, faults = collect("msp_podcast", root)
    assert len(found) == len(table) and not faults.faults and not faults.dropped
    assert not any("votes" in record.tags for record in found.values())


def test_what_cannot_be_read_is_counted_and_stops_nothing(root, table, collect):
    name = table[0][0]
    path = root / "Labels" / "labels_detailed.csv"
    with open(path, "w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["FileName", "EmoDetail"])
        lines.writerows([[name, "WORKER00000001; Happy"], [name, "Angry"], [name],
                         [name, "WORKER1; ; Angry;"], ["elsewhere.wav", "WORKER2; Sad; Sad;"],
                         [name, "worker2; in two minds, really; Sad;"]])
    found, faults = collect("msp_podcast", root)
    assert found[tree.stem(table[0])].tags["votes"] == "H=1;O=1"
    assert sum("votes" in record.tags for record in found.values()) == 1
    assert faults.dropped == {"entry of a worker whose form is not known: no vote": [
        f"Labels/labels_detailed.csv line {number}" for number in (3, 4)]}
    path.write_text(f"FileName,EmoDetail\n{name},WORKER1; Sad;\n{name},{'x' * 200_000}\n")
    found, faults = collect("msp_podcast", root)
    assert found[tree.stem(table[0])].tags["votes"] == "S=1"  # what stood before the broken row
    assert len(faults.dropped) == 1 and not faults.faults
    path.unlink()
    (root / "Labels" / "labels_detailed.json").write_text("[1")
    found, faults = collect("msp_podcast", root)
    assert len(found) == len(table) and not faults.faults
    assert list(faults.dropped.values()) == [["Labels/labels_detailed.json"]]


def test_the_manifest_has_shares_of_the_classes(tmp_path, load_prepare, load_corpus):
    table = tree.rows(each=9, parts={"Train": ("0001",)})
    tree.release(tmp_path / "r", table)
    corpus = load_corpus("msp_podcast", allow_subset=True)
    prepare_manifest(load_prepare("msp_podcast").records, corpus, tmp_path / "r", tmp_path / "o",
                     lambda _: None)
    manifest = read_manifest(tmp_path / "o" / "utts.json")
    shares = distributions(manifest, manifest, corpus.classes)
    assert len(shares) == 8  # all but O
    for id, record in manifest.items():
        wanted = dict.fromkeys(corpus.classes, 0.0) | {"neutral": 1 / 3}
        wanted[record.label] += 2 / 3
        assert shares[id] == pytest.approx(tuple(wanted.values()))
