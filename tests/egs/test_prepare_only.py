"""Configurations that only prepare: the manifests that pretraining hears."""

import json

import trees
import trees_sentiment
from recipes import copy_recipe, run_recipe


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
