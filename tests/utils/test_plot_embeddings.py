"""utils/plot_embeddings.py: maps that repeat, numbers that agree with scikit-learn's."""

import re
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch
from prepared import script
from sertools.data.embeddings import EmbeddingFolder
from sertools.data.manifest import write_manifest
from sertools.data.record import Record
from sertools.report.projection import project
from sertools.scoring.clusters import separation
from sklearn.metrics import silhouette_score
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

tool = script("plot_embeddings")
LABELS = ("angry", "calm", "sad")


def write(folder, corpus="toy", number=60, model="m", kind="npy", unknown=0):
    """Write embeddings in which classes lie apart and arousal is the first number."""
    generator = np.random.default_rng(number)
    settings = {"format": kind, "level": "utterance", "layers": "last", "compute": "fp32",
                "model": {"weights": model}}
    made, records, vectors = EmbeddingFolder(folder, settings), {}, {}
    for index in range(number):
        label = LABELS[index % 3]
        vector = generator.standard_normal(6) + 4 * np.eye(6)[index % 3]
        known = index >= unknown
        id = f"{corpus}-{index:03d}"
        records[id] = Record(id, str(folder / "x.wav"), label=label if known else None,
                             speaker=f"s{index % 4}", arousal=float(index % 3 == 0) + index / 1000,
                             tags={"dataset": corpus})
        vectors[id] = vector.astype(np.float32)
    made.begin(records, dict.fromkeys(records, 1.0))
    for id, vector in vectors.items():
        made.add(id, torch.from_numpy(vector))
    made.finish()
    return np.array(list(vectors.values())), list(records.values())


def run(capsys, *arguments):
    code = tool.main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out, said.err


def dots(path):
    """Return (x, y, colour, tip) of every dot of an SVG."""
    name = "{http://www.w3.org/2000/svg}"
    found = ElementTree.parse(path).getroot().findall(f"{name}circle[@class='dot']")
    return [(float(dot.get("cx")), float(dot.get("cy")), dot.get("fill"),
             dot.find(f"{name}title").text) for dot in found]


# numbers


def test_figures_agree_with_scikit_learn(tmp_path, capsys):
    vectors, records = write(tmp_path / "e")
    labels = np.array([record.label for record in records])
    code, said, _ = run(capsys, tmp_path / "e", "--method", "pca", "--out", tmp_path / "f.svg")
    assert code == 0
    line = next(line for line in said.splitlines() if line.startswith("label:"))
    nearest = KNeighborsClassifier(5)
    right = cross_val_score(nearest, vectors, labels, cv=LeaveOneOut()).mean()
    assert "60 utterances, 3 groups" in line and "largest group 33.3 %" in line
    assert f"silhouette {silhouette_score(vectors, labels):.3f}" in line
    assert f"5 nearest neighbours {100 * right:.1f} %" in line
    assert {line.split(":")[0] for line in said.splitlines() if ": " in line} == {
        "label", "speaker", "arousal"}


def test_neighbours_by_an_obvious_loop():
    generator = np.random.default_rng(5)
    vectors = generator.standard_normal((40, 3))
    groups = [("a", "b", "c")[n] for n in generator.integers(0, 3, 40)]
    speakers = [None if n == 4 else f"s{n}" for n in generator.integers(0, 5, 40)]
    groups[7] = None
    found = separation(vectors, groups, speakers, k=3)

    def accuracy(among, apart):
        right = 0
        for one in among:
            others = [n for n in among if (speakers[n] != speakers[one] if apart else n != one)]
            near = sorted(others, key=lambda n: np.linalg.norm(vectors[n] - vectors[one]))[:3]
            votes = [groups[n] for n in near]
            right += max(votes, key=lambda name: (votes.count(name), -votes.index(name))
                         ) == groups[one]
        return right / len(among)

    known = [n for n in range(40) if groups[n] is not None]
    assert found.number == 39 and found.groups == 3
    assert found.knn == pytest.approx(accuracy(known, False))
    assert found.knn_other_speakers == pytest.approx(
        accuracy([n for n in known if speakers[n] is not None], True))
    assert found.largest == max(map(groups.count, "abc")) / 39


def test_a_voice_is_not_an_emotion():
    """Speakers that lie apart, each with one class: only other speakers' neighbours tell."""
    generator = np.random.default_rng(0)
    speakers = [f"s{n % 6}" for n in range(60)]
    classes = ["ab"[int(name[1]) % 2] for name in speakers]
    # a circle on which the classes alternate, so that a speaker's nearest neighbours mislead
    angles = np.array([2 * np.pi * int(name[1]) / 6 for name in speakers])
    vectors = 9 * np.stack([np.cos(angles), np.sin(angles)], 1)
    vectors += 0.1 * generator.standard_normal(vectors.shape)
    found = separation(vectors, classes, speakers)
    assert found.knn == 1.0 and found.knn_other_speakers == 0.0


def test_undefined_figures():
    one = separation(np.eye(4), ["a"] * 4, None)
    assert (one.groups, one.silhouette, one.knn, one.largest) == (1, None, None, 1.0)
    each = separation(np.eye(4), list("abcd"), ["s"] * 4)
    assert each.silhouette is None and each.knn == 0.0 and each.knn_other_speakers is None
    assert separation(np.eye(2), [None, None]).number == 0


# maps


def test_pca_is_that_of_scikit_learn():
    from sklearn.decomposition import PCA

    vectors = np.random.default_rng(1).standard_normal((30, 8)) * np.arange(1, 9)
    expected = PCA(2, svd_solver="full").fit_transform(vectors)
    np.testing.assert_allclose(np.abs(project(vectors, "pca")), np.abs(expected), atol=1e-8)
    np.testing.assert_allclose(project(vectors, "pca"), project(vectors + 3, "pca"), atol=1e-8)


@pytest.mark.parametrize("method", ["pca", "tsne", pytest.param("umap", marks=pytest.mark.slow)])
def test_maps_repeat_and_keep_the_classes_apart(method, tmp_path, capsys):
    if method == "umap":
        pytest.importorskip("umap")
    write(tmp_path / "e")
    arguments = [tmp_path / "e", "--method", method, "--seed", 3, "--out"]
    assert run(capsys, *arguments, tmp_path / "a.svg")[0] == 0
    assert run(capsys, *arguments, tmp_path / "b.svg")[0] == 0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    found = dots(tmp_path / "a.svg")
    assert len(found) == 60 and len({colour for _, _, colour, _ in found}) == 3
    assert all(24 <= x <= 584 and 40 <= y <= 600 for x, y, _, _ in found)
    # colour stands for the label, and dots of a colour lie together
    assert len({(colour, tip.split(": ")[1]) for _, _, colour, tip in found}) == 3
    places = np.array([dot[:2] for dot in found])
    assert silhouette_score(places, [dot[2] for dot in found]) > 0.3


def test_colours_of_arousal_and_unknown(tmp_path, capsys):
    write(tmp_path / "e", unknown=5)
    arguments = [tmp_path / "e", "--method", "pca", "--out", tmp_path / "f.svg"]
    code, said, _ = run(capsys, *arguments, "--colour", "arousal", "--threshold", 0.5)
    assert code == 0 and "arousal: 60 utterances, 2 groups" in said
    tips = {tip.split(": ")[1] for *_, tip in dots(tmp_path / "f.svg")}
    assert tips == {"low, below 0.5", "high, 0.5 or more"}
    counts = re.findall(r"(?:low|high), [^(<]*\((\d+)\)", (tmp_path / "f.svg").read_text())
    assert counts == ["20", "40"]
    run(capsys, *arguments, "--colour", "arousal")  # at the median
    counts = re.findall(r"(?:low|high), [^(<]*\((\d+)\)", (tmp_path / "f.svg").read_text())
    assert counts == ["30", "30"]
    run(capsys, *arguments)
    found = dots(tmp_path / "f.svg")
    assert [tip.endswith("unknown") for *_, tip in found] == [True] * 5 + [False] * 55
    assert len({dot[2] for dot in found}) == 4 and "unknown (5)" in (tmp_path / "f.svg").read_text()


def test_two_corpora_in_one_map(tmp_path, capsys):
    write(tmp_path / "one", "one", 30)
    write(tmp_path / "two", "two", 24, kind="safetensors")
    code, said, _ = run(capsys, tmp_path / "one", tmp_path / "two", "--colour", "corpus",
                        "--method", "pca", "--out", tmp_path / "f.svg", "--most", 40)
    assert code == 0 and "40 of 54 utterances" in said and "corpus: 40 utterances, 2 groups" in said
    assert len(dots(tmp_path / "f.svg")) == 40
    write(tmp_path / "other", "other", model="n")
    code, _, err = run(capsys, tmp_path / "one", tmp_path / "other", "--method", "pca", "--out",
                       tmp_path / "g.svg")
    assert code == 2 and "another model" in err and not (tmp_path / "g.svg").exists()


def test_a_manifest_may_know_more(tmp_path, capsys):
    _, records = write(tmp_path / "e", unknown=60)
    arguments = [tmp_path / "e", "--method", "pca", "--out", tmp_path / "f.svg"]
    code, _, err = run(capsys, *arguments)
    assert code == 3 and "no utterance has a known label" in err
    write_manifest(tmp_path / "utts.json", [
        Record(record.id, "x.wav", label=LABELS[number % 3])
        for number, record in enumerate(records)])
    code, said, _ = run(capsys, *arguments, "--manifest", tmp_path / "utts.json")
    assert code == 0 and "label: 60 utterances, 3 groups" in said


def test_png(tmp_path, capsys):
    from PIL import Image

    write(tmp_path / "e")
    arguments = [tmp_path / "e", "--method", "pca", "--out"]
    run(capsys, *arguments, tmp_path / "f.svg")
    assert run(capsys, *arguments, tmp_path / "f.png")[0] == 0
    picture = Image.open(tmp_path / "f.png").convert("RGB")
    assert picture.width > 1200
    # the picture has the SVG's colour where the SVG has a dot that no other one touches
    found = dots(tmp_path / "f.svg")
    places = np.array([dot[:2] for dot in found])
    checked = 0
    for index, (x, y, colour, _) in enumerate(found):
        if np.sort(np.hypot(*(places - places[index]).T))[1] > 12:
            ink = tuple(int(colour[n:n + 2], 16) for n in (1, 3, 5))
            seen = picture.getpixel((round(2 * x), round(2 * y)))
            assert max(abs(a - b) for a, b in zip(seen, ink, strict=True)) < 12
            checked += 1
    assert checked >= 10


@pytest.mark.parametrize("changes, words, code", [
    (["--out", "f.pdf"], "end its name in .svg or .png", 2),
    (["--layer", "3"], "drop --layer", 2),
    (["--neighbours", "0"], "--neighbours 0", 2),
    (["--seed", "-1"], "--seed -1", 2),
    (["--colour", "gender"], "no utterance has a known gender", 3),
])
def test_refusals(changes, words, code, tmp_path, capsys):
    write(tmp_path / "e", number=12)
    arguments = [tmp_path / "e", "--method", "pca", "--out", tmp_path / "f.svg", *changes]
    assert run(capsys, *arguments)[0] == code
    assert words in run(capsys, *arguments)[2] and not (tmp_path / "f.svg").exists()


def test_a_folder_without_embeddings(tmp_path, capsys):
    code, _, err = run(capsys, tmp_path, "--out", tmp_path / "f.svg")
    assert code == 2 and "meta.json: there is no such file" in err
    write(tmp_path / "e", number=0)
    code, _, err = run(capsys, tmp_path / "e", "--out", tmp_path / "f.svg")
    assert code == 3 and "holds no embedding yet" in err
    write(tmp_path / "few", number=4)
    code, _, err = run(capsys, tmp_path / "few", "--method", "pca", "--out", tmp_path / "f.svg")
    assert code == 3 and "too few" in err


def test_umap_that_is_not_installed(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    write(tmp_path / "e", number=12)
    code, _, err = run(capsys, tmp_path / "e", "--out", tmp_path / "f.svg")
    assert code == 2 and "pip install umap-learn" in err
