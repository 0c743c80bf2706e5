"""Configurations that only prepare: the manifests that pretraining hears."""

import json

import trees
import trees_sentiment
import yaml
from recipes import copy_recipe, run_recipe
from sertools.data.prepared import Prepared, making_command


def test_mosei_all_keeps_neutral_segments(repository, tmp_path):
    recipe = copy_recipe(repository, "mosei", tmp_path)
    rows = trees_sentiment.mosei_rows()
    trees_sentiment.mosei(tmp_path / "release", rows)
    printed = run_recipe(recipe, "hparams/prepare_all.yaml", "--stop-stage", "prepare",
                         "--data_folder", tmp_path / "release", "--corpus.allow_subset", "true",
                         "--corpus.min_seconds", 0.01)  # fmt: skip
    manifest = json.loads((recipe / "data/all/utts.json").read_text())
    assert len(manifest) == len(rows), printed
    labels = [entry["label"] for entry in manifest.values()]
    neutral = sum(row[6] == "0" for row in rows)
    assert labels.count(None) == neutral > 0


def test_emotiontts_unlabelled_keeps_what_the_labelled_set_leaves_out(repository, tmp_path):
    recipe = copy_recipe(repository, "emotiontts_ko", tmp_path)
    trees.emotiontts(tmp_path / "release", each=1)
    run_recipe(recipe, "hparams/prepare_unlabelled.yaml", "--stop-stage", "prepare",
               "--data_folder", tmp_path / "release")
    manifest = json.loads((recipe / "data/unlabelled/utts.json").read_text())
    assert {entry["path"].split("/")[1] for entry in manifest.values()} == {"Main", "Personality"}
    assert {entry["label"] for entry in manifest.values()} == {None}


def test_commands_that_pretraining_names_write_the_sets_it_hears(repository):
    """Also where a configuration changes the set of the corpus block that it includes."""
    path = repository / "egs/pretrain/hparams/emotion2vec_base.yaml"
    text = path.read_text(encoding="utf-8")
    block = text.partition("    sources:")[2].partition("\n")[2].partition("    shards:")[0]
    sources = yaml.safe_load(block)
    names = {"iemocap": "classical", "meld": "classical", "mosei": "prepare_all",
             "mead": "classical", "msp_podcast": "prepare_all"}
    assert sources.keys() == names.keys()
    for corpus, source in sources.items():
        manifest = (path.parents[1] / source["manifest"]).resolve()
        command = making_command(Prepared(corpus, manifest, repository / "release"))
        assert f"python run.py hparams/{names[corpus]}.yaml --stop-stage prepare" in command
        assert manifest.parts[-4] == corpus and f"{corpus} && " in command
