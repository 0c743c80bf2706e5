"""What holds for every preparer: odd downloads, and the counts its corpus block declares."""

import ast
import sys
from pathlib import Path

import pytest
import trees
import trees_cremad
import trees_emobox
import trees_languages
import trees_mead_esd
from sertools.data.corpus import Faults
from sertools.errors import ConfigError

EGS = Path(__file__).resolve().parents[2] / "egs"

SMALL = {
    "emodb": lambda root, **how: trees.emodb(root, trees.SMALL_EMODB, **how),
    "ravdess": lambda root, **how: trees.ravdess(root, ("01", "18"), **how),
    "urdu": lambda root, **how: trees.urdu(root, trees.SMALL_URDU, **how),
    "emotiontts_ko": lambda root, **how: trees.emotiontts(
        root, trees.SMALL_EMOTIONTTS, {}, each=1, **how
    ),
    "cremad": lambda root, **how: trees_cremad.cremad(root, (1001, 1002), ("DFA",), **how),
    **trees_languages.SMALL,
    **trees_mead_esd.SMALL,
    **trees_emobox.SMALL,
}
RELEASES = [  # recipe, corpus block, what builds the whole official release
    ("emodb", "corpus.yaml", trees.emodb),
    ("ravdess", "corpus.yaml", lambda root, **how: trees.ravdess(
        root, [f"{n:02d}" for n in range(1, 25)], ("01", "02"), **how)),
    ("ravdess", "corpus_song.yaml", lambda root, **how: trees.ravdess(
        root, [f"{n:02d}" for n in range(1, 25)], ("01", "02"), **how)),
    ("urdu", "corpus.yaml", trees.urdu),
    ("emotiontts_ko", "corpus.yaml", trees.emotiontts),
    ("cremad", "corpus.yaml", trees_cremad.cremad),
    *trees_languages.RELEASES,
    *trees_emobox.RELEASES,
]


@pytest.fixture(params=SMALL)
def corpus(request):
    return request.param


@pytest.mark.parametrize("extension", [".wav", ".flac", ".WAV", ".Flac"])
def test_any_extension_gives_every_stem_once(corpus, extension, tmp_path, collect):
    stems = SMALL[corpus](tmp_path, write=trees.name_only, extension=extension)
    found, faults = collect(corpus, tmp_path)
    assert sorted(found) == sorted(stems) and not faults.faults and not faults.dropped
    for stem, record in found.items():
        assert (tmp_path / record.path).stem == stem and (tmp_path / record.path).is_file()
        assert record.id == f"{corpus}-{stem}"


def test_litter_second_copies_and_a_second_format_change_nothing(corpus, tmp_path, collect):
    stems = SMALL[corpus](tmp_path)
    before, _ = collect(corpus, tmp_path)
    for folder in {path.parent for path in tmp_path.rglob("*.wav")}:
        trees.litter(folder)
    inside = {"emotiontts_ko": tmp_path / "Emotional"}.get(corpus, tmp_path)
    trees.second_copy(inside, "once more")
    first = tmp_path / before[stems[0]].path
    trees.sound(first.with_suffix(".flac"))
    after, faults = collect(corpus, tmp_path)
    assert after == before and not faults.faults
    assert sum(map(len, faults.dropped.values())) == len(stems) + 1


def test_the_order_is_that_of_the_paths(corpus, tmp_path, collect):
    SMALL[corpus](tmp_path, write=trees.name_only)
    found, _ = collect(corpus, tmp_path)
    paths = [tuple(Path(record.path).parts) for record in found.values()]
    assert paths == sorted(paths) and len(paths) > 4


def test_every_stray_name_is_reported_in_one_pass_with_a_remedy(corpus, tmp_path, collect):
    stems = SMALL[corpus](tmp_path, write=trees.name_only)
    folder = sorted({path.parent for path in tmp_path.rglob("*.wav")})[0]
    strays = ["notes", f"{stems[0]} (1)", f"x{stems[0]}", f"{stems[0]}\nx"]
    for stray in strays:
        trees.name_only(folder / f"{stray}.wav")
    found, faults = collect(corpus, tmp_path)
    assert sorted(found) == sorted(stems)
    assert sorted(Path(fault.where).stem for fault in faults.faults) == sorted(strays)
    assert all(fault.what and fault.remedy for fault in faults.faults)


def test_a_wrong_folder_is_one_fault_that_names_it(corpus, tmp_path, collect):
    found, faults = collect(corpus, tmp_path / "nowhere")
    assert not found and len(faults.faults) == 1
    text = " ".join(map(str, faults.faults[0]))
    assert "data_folder" in text and ("nowhere" in text or "Emotional" in text)


@pytest.mark.parametrize("name, file, build", RELEASES)
def test_declared_counts_are_those_of_the_official_release(
    name, file, build, tmp_path, collect, load_corpus, counted
):
    build(tmp_path, write=trees.name_only)
    corpus = load_corpus(name, file)
    found, faults = collect(name, tmp_path, **corpus.options)
    assert not faults.faults
    assert len(found) == corpus.counts["total"]
    for field in set(corpus.counts) - {"total"}:
        seen, expected = counted(found, field), corpus.counts[field]
        assert (len(seen) if isinstance(expected, int) else seen) == expected, field
    assert set(corpus.label_map or corpus.classes) == set(counted(found, "label"))


@pytest.mark.parametrize("path", sorted(EGS.glob("*/prepare.py")), ids=lambda p: p.parent.name)
def test_preparers_need_no_heavy_library_to_load(path):
    light = {"sertools.errors", "sertools.files", "sertools.data.corpus", "sertools.data.decoding",
             "sertools.data.names", "sertools.data.record", "sertools.data.votes"}
    for name in imported(path):
        assert name in light or name.split(".")[0] in sys.stdlib_module_names, name


def imported(path):
    """Return the modules that a file imports when it loads; for a neighbour, what that imports."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else (
            [node.module] if isinstance(node, ast.ImportFrom) else [])
        for name in names:
            neighbour = path.with_name(f"{name}.py")
            yield from imported(neighbour) if neighbour.is_file() else [name]


@pytest.mark.parametrize(
    "name, options",
    [("ravdess", {"part": "sung"}), ("emotiontts_ko", {"part": "main"}),
     ("emotiontts_ko", {"label_order": "mine"})],
)
def test_an_unknown_option_is_refused_with_the_choices(name, options, tmp_path, load_prepare):
    with pytest.raises(ConfigError, match="choose"):
        next(load_prepare(name).records(tmp_path, Faults(), **options))
