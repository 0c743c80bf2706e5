"""Every YAML of every recipe runs from raw files to a report, in a small form."""

import itertools
from pathlib import Path

import pytest
import soundfile
from recipes import copy_recipe, results_of, run_recipe
from releases import sound
from sertools.tables import Run
from smoke import Smoke

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGURATIONS = sorted(
    path.relative_to(REPOSITORY / "egs").as_posix()
    for path in REPOSITORY.glob("egs/*/hparams/*.yaml")
    if not path.name.startswith(("corpus", "folds", "prepare")) and path.parts[-3] != "pretrain"
    and "zero_shot" not in path.name  # they begin with another recipe: test_zero_shot_recipes.py
)
BY_DEFAULT = ["emotiontts_ko/hparams/classical.yaml", "mini/hparams/vesper.yaml"]
"""The others are `slow`: test_every_row.py runs those that tables name, in a shorter way."""
LEAKY_OFFICIAL_PARTS = ("resd", "meld")  # the release's own parts share speakers or dialogues


@pytest.mark.parametrize("configuration", [
    pytest.param(name, marks=() if name in BY_DEFAULT else pytest.mark.slow)
    for name in CONFIGURATIONS
])  # fmt: skip
def test_configuration_runs_from_raw_files_to_a_report(repository, tmp_path, configuration):
    name, _, file = configuration.partition("/")
    smoke, run = Smoke(repository, tmp_path), Run(name, Path(file).stem)
    recipe = smoke.recipe(name)
    text = (recipe / file).read_text()
    few = "dev_from: utterances" in text  # speakers, and therefore folds
    single = smoke.values(run)["folds"]["kind"] in ("official", "parts") or few
    options = smoke.command(run, extra={"seeds": "1,2,3"} if single else {})
    printed = run_recipe(recipe, *options)
    results = results_of(recipe)
    assert results["coverage"]["units_done"] == results["coverage"]["units_total"] >= 3
    flagged = "random_split" in file
    assert results["protocol"]["protocol"] == ("paper" if flagged else "clean")
    leaks = "kind: official" in text and name in LEAKY_OFFICIAL_PARTS
    assert bool(results["protocol"]["flags"]) == (flagged or leaks or few)
    dimensional = "dimensions" in file or "relevance" in file or "corpus_dimensions" in text
    score = "CCC" if dimensional else "UA"
    mapped = any("not ratings" in note for note in results["protocol"]["warnings"])
    assert mapped == ("corpus_mapped.yaml" in text)
    assert (results["relevance"] is not None) == ("trainers/relevance" in text)
    assert -1 <= results["summary"][score]["pooled"] <= 1
    assert score in printed


def test_default_configurations_exist():
    assert set(BY_DEFAULT) <= set(CONFIGURATIONS)


def test_a_new_recipe_needs_two_files(repository, tmp_path):
    """A corpus that nothing here knows: copy the template, edit the corpus block, run."""
    copy_recipe(repository, "TEMPLATE", tmp_path)
    import importlib.util

    spec = importlib.util.spec_from_file_location("maker", repository / "utils/new_recipe.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    recipe = maker.new_recipe("parrots", egs=tmp_path / "egs")
    lines = ["file,label,speaker,gender"]
    for speaker, label, take in itertools.product("pqrs", ("happy", "grumpy", "calm"), range(2)):
        file = sound(tmp_path / f"release/{speaker}-{label}-{take}.wav")
        lines.append(f"{file.name},{label},{speaker},{'female' if speaker in 'pq' else 'male'}")
    (tmp_path / "release/metadata.csv").write_text("\n".join(lines))
    assert soundfile.info(file).samplerate == 16000
    corpus = recipe / "hparams/corpus.yaml"
    declared = corpus.read_text()
    labels = declared[declared.index("label_map:") : declared.index("counts:")]
    declared = declared.replace(labels, "label_map: {}\n")
    corpus.write_text(declared.replace("[anger, happiness, neutral, sadness]",
                                       "[happy, grumpy, calm]"))
    run_recipe(recipe, "hparams/classical.yaml", "--data_folder", tmp_path / "release",
               "--folds.count", 3)
    results = results_of(recipe)
    assert results["experiment"]["corpus"] == "parrots"
    assert results["classes"] == ["happy", "grumpy", "calm"]
