"""Relevance of layers: heads trained together are those trained alone, and find what is there."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sertools.brains.randomness import derive
from sertools.brains.relevance import RelevanceTrainer
from sertools.brains.relevance_loop import (
    HeadOptions,
    draw_seeds,
    head_outputs,
    head_scores,
    train_heads,
)
from sertools.brains.work import FoldWork
from sertools.data.record import Record
from sertools.errors import ConfigError, DataError, Interrupted
from sertools.models.probes import LayerMixture, LayerProbes
from sertools.objectives.concordance import concordance_loss
from sertools.scoring.dimensions import dimensional_scores
from torch.nn import functional as F

LAYERS, DIM = 7, 6
OPTIONS = HeadOptions(epochs=6, batch=16, lr=1e-2, mixture_lr=3e-2, weight_decay=0.05)


class StubCache:
    """A feature cache in memory: layer 2 knows arousal, layer 5 valence, no one dominance."""

    def __init__(self, folder, count=120):
        draw = torch.Generator().manual_seed(5)
        self.folder, self.num_layers, self.dim, self.frame_rate = folder, LAYERS, DIM, 50.0
        self.ids = [f"toy-{number:03d}" for number in range(count)]
        self.features = torch.randn(count, LAYERS, 4, DIM, generator=draw)
        means = self.features.mean(2)
        ratings = torch.stack([means[:, 2, 0], means[:, 5, 1],
                               torch.randn(count, generator=draw)], 1)
        self.ratings = (3 + ratings / ratings.std(0) / 2).clamp(1, 5)

    def __contains__(self, id):
        return id in self.ids

    def get(self, id):
        return self.features[self.ids.index(id)]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "index.json").write_text("{}")
    cache = StubCache(folder)
    monkeypatch.setattr("sertools.brains.inputs.FeatureCache", lambda folder: cache)
    return cache


@pytest.fixture
def work(cache, tmp_path):
    manifest = {
        id: Record(id=id, path=f"{id}.wav", label="up" if row[0] > 3 else "down",
                   speaker=f"s{number % 4}", arousal=row[0], valence=row[1], dominance=row[2])
        for number, (id, row) in enumerate(zip(cache.ids, cache.ratings.tolist(), strict=True))}
    return FoldWork(
        folder=tmp_path / "unit", seed=3, device="cpu", precision="fp32", num_workers=0,
        should_stop=lambda: False, say=lambda text: None, manifest=manifest,
        train=cache.ids[:70], dev=cache.ids[70:95], classes=["down", "up"],
        data_folder=tmp_path, features=cache.folder)


def trainer(**changes) -> RelevanceTrainer:
    return RelevanceTrainer(**{"relevance": "probes", "draws": 2, "normalise": False, "epochs": 40,
                               "batch": 32, "lr": 2e-2, "mixture_lr": 0.1, "scale": [1, 5],
                               **changes})


def random_data(groups=3):
    draw = torch.Generator().manual_seed(1)
    part = [torch.randn(50, 4, DIM, generator=draw), torch.rand(50, groups, generator=draw)]
    dev = [torch.randn(20, 4, DIM, generator=draw), torch.rand(20, groups, generator=draw)]
    return part, dev


@pytest.mark.parametrize("numbers", [True, False])
def test_heads_trained_together_are_those_trained_alone(numbers):
    (features, targets), dev = random_data()
    if not numbers:
        targets, dev[1] = (targets[:, 0] * 3).long(), (dev[1][:, 0] * 3).long()
    seeds = draw_seeds(9, 2)
    shape = (3, 1) if numbers else (1, 3)
    together = LayerProbes(seeds, 4, DIM, *shape)
    together.learn_scale(features)
    start = together.weight.detach().clone()
    best, epochs = train_heads(together, features, targets, dev, seeds, OPTIONS)
    spread = features.std(0, correction=0)
    for draw, layer, group in [(0, 0, 0), (1, 3, shape[0] - 1), (0, 2, 0)]:
        head = torch.nn.Linear(DIM, shape[1])
        with torch.no_grad():
            head.weight.copy_(start[draw, layer, group].T)
            head.bias.zero_()
        optimizer = torch.optim.AdamW(head.parameters(), lr=OPTIONS.lr, weight_decay=0.05)
        order = torch.Generator().manual_seed(derive("order", seeds[draw]))
        x = ((features - features.mean(0)) / spread)[:, layer]
        seen = ((dev[0] - features.mean(0)) / spread)[:, layer]
        kept = (-2.0, 0, None)
        for epoch in range(1, OPTIONS.epochs + 1):
            for chosen in torch.randperm(50, generator=order).tensor_split(3):
                optimizer.zero_grad()
                said = head(x[chosen])
                loss = (concordance_loss(said, targets[chosen][:, group, None]) if numbers
                        else F.cross_entropy(said, targets[chosen]))
                loss.backward()
                optimizer.step()
            said = head(seen).detach()
            if numbers:
                score = dimensional_scores([{"x": y} for y in dev[1][:, group].tolist()],
                                           [{"x": y} for y in said[:, 0].tolist()])["CCC"]
            else:
                right = said.argmax(-1) == dev[1]
                score = np.mean([right[dev[1] == k].float().mean() for k in range(3)])
            if score > kept[0] + 1e-9:
                kept = (score, epoch, head.weight.detach().T.clone())
        assert best[draw, layer, group] == pytest.approx(kept[0], abs=1e-4)
        assert epochs[draw, layer, group] == kept[1]
        assert torch.allclose(together.weight[draw, layer, group], kept[2], atol=1e-4)


def test_mixtures_trained_together_are_those_trained_alone():
    (features, targets), dev = random_data()
    seeds = draw_seeds(9, 3)
    together = LayerMixture(seeds, 4, DIM, 3, 1)
    together.learn_scale(features)
    best, _ = train_heads(together, features, targets, dev, seeds, OPTIONS)
    alone = LayerMixture(seeds[1:2], 4, DIM, 1, 1)
    alone.learn_scale(features)
    with torch.no_grad():
        alone.weight.copy_(LayerMixture(seeds, 4, DIM, 3, 1).weight[1:2, :, 2:])
    own = [dev[0], dev[1][:, 2:]]
    score, _ = train_heads(alone, features, targets[:, 2:], own, seeds[1:2], OPTIONS)
    assert torch.allclose(together.layer_weights[1, 2], alone.layer_weights[0, 0], atol=1e-5)
    assert score[0, 0, 0] == pytest.approx(float(best[1, 0, 2]), abs=1e-5)
    said = head_outputs(together, dev[0])[1, 0, 2, :, 0]
    seen = together.standardise(dev[0])
    weights = together.layer_weights[1, 2].detach()
    plain = sum(float(w) * seen[:, layer] for layer, w in enumerate(weights))
    assert torch.allclose(said, plain @ together.weight[1, 0, 2, :, 0] + together.bias[1, 0, 2],
                          atol=1e-5)


def test_the_first_draws_do_not_depend_on_their_number():
    (features, targets), dev = random_data()
    few, many = (LayerProbes(draw_seeds(9, n), 4, DIM, 3, 1) for n in (1, 4))
    for model, number in ((few, 1), (many, 4)):
        model.learn_scale(features)
        train_heads(model, features, targets, dev, draw_seeds(9, number), OPTIONS)
    assert torch.allclose(few.weight[0], many.weight[0], atol=1e-5)
    assert not torch.allclose(many.weight[0], many.weight[1], atol=1e-2)


def test_scores_of_heads_are_those_of_the_tables():
    draw = torch.Generator().manual_seed(2)
    said, truth = torch.rand(2, 3, 2, 40, 1, generator=draw), torch.rand(40, 2, generator=draw)
    scores = head_scores(said, truth)
    wanted = dimensional_scores([{"a": y} for y in truth[:, 1].tolist()],
                                [{"a": y} for y in said[1, 2, 1, :, 0].tolist()])["CCC"]
    assert float(scores[1, 2, 1]) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("normalise", [False, True])
def test_probes_find_the_layer_that_knows(work, normalise):
    made = trainer(normalise=normalise)
    made.fit(work)
    found = made.measure(work, sorted(work.manifest)[95:])
    assert found["chosen"][:2] == [2, 5]
    curve = np.mean(found["test"], 0)
    if not normalise:
        assert curve[2, 0] > 0.9 and curve[5, 1] > 0.9
    others = np.delete(curve[:, 0], 2)
    assert others.max() < 0.6 and np.abs(curve[:, 2]).max() < 0.6
    predictions = made.predict(work, sorted(work.manifest)[95:])
    said = dimensional_scores([p.reference for p in predictions],
                              [p.prediction for p in predictions])
    assert said["CCC_arousal"] == pytest.approx(found["test"][0][2][0], abs=1e-6)
    assert said["CCC_valence"] == pytest.approx(found["test"][0][5][1], abs=1e-6)
    assert found["statistics"].shape == (4, 2, LAYERS, 3, 6)
    assert found["clusters"] == [f"speaker s{n}" for n in range(4)]
    assert json.loads((work.folder / "cost.json").read_text())["parameters"]["total"] == (
        2 * LAYERS * 3 * (DIM + 1))


def test_weights_find_the_layer_that_knows(work):
    made = trainer(relevance="weights")
    made.fit(work)
    found = made.measure(work, sorted(work.manifest)[95:])
    weights = np.array(found["weights"])
    assert weights.shape == (2, 3, LAYERS) and weights.sum(-1) == pytest.approx(1)
    assert (weights[:, 0].argmax(-1) == 2).all() and (weights[:, 1].argmax(-1) == 5).all()
    assert weights[:, 0, 2].min() > 0.5 and np.mean(found["test"], 0)[0, 0] > 0.8


def test_a_class_has_one_curve(work):
    made = trainer(task="classification", scale=None)
    made.fit(work)
    ids = sorted(work.manifest)[95:]
    found = made.measure(work, ids)
    assert found["groups"] == ["class"] and found["chosen"] == [2]
    predictions = made.predict(work, ids)
    recalls = [np.mean([p.prediction == name for p in predictions if p.reference == name])
               for name in work.classes]
    assert found["test"][0][2][0] == pytest.approx(np.mean(recalls))


def test_labels_of_the_test_part_change_nothing(work):
    """Whatever they are, the same heads and the same layers are chosen."""
    test = sorted(work.manifest)[95:]
    others = {id: dataclasses.replace(item, arousal=6 - item.arousal, valence=1.0)
              if id in test else item for id, item in work.manifest.items()}
    found = []
    for name, manifest in (("one", work.manifest), ("two", others)):
        unit = dataclasses.replace(work, manifest=manifest, folder=work.folder / name)
        made = trainer()
        made.fit(unit)
        made.measure(unit, test)
        predictions = [p.prediction for p in made.predict(unit, test)]
        found.append((json.loads((unit.folder / "best/best.json").read_text()), predictions))
    assert found[0] == found[1]


def test_a_stopped_training_ends_as_one_that_was_not(work):
    trainer().fit(work)
    pieces = dataclasses.replace(work, folder=work.folder / "pieces",
                                 should_stop=iter([False] * 7 + [True]).__next__)
    with pytest.raises(Interrupted):
        trainer().fit(pieces)
    assert not any(path.is_file() for path in trainer().artefacts(pieces))
    with pytest.raises(DataError, match="holds no trained model"):
        trainer().predict(pieces, work.dev)
    pieces.should_stop = lambda: False
    trainer().fit(pieces)
    for name in ("best/model.safetensors", "best/best.json"):
        assert (pieces.folder / name).read_bytes() == (work.folder / name).read_bytes()
    before = {path: path.stat().st_mtime_ns for path in trainer().artefacts(pieces)}
    trainer().fit(pieces)
    assert before == {path: path.stat().st_mtime_ns for path in trainer().artefacts(pieces)}
    assert len(load_file(pieces.folder / "best/model.safetensors")) == 4


def test_what_cannot_be_meant_is_refused(work, cache):
    with pytest.raises(ConfigError) as error:
        RelevanceTrainer(relevance="truncate", draws=0, task="ranking")
    said = str(error.value)
    assert "fewer `layers`" in said and "draws is 0" in said and "task is 'ranking'" in said
    with pytest.raises(ConfigError, match="scale is missing"):
        RelevanceTrainer()
    with pytest.raises(DataError, match="no dev part"):
        trainer().fit(dataclasses.replace(work, dev=[]))
    with pytest.raises(DataError, match="not in the cache"):
        record = Record(id="toy-x", path="x.wav", arousal=1.0, valence=1.0, dominance=1.0)
        trainer().fit(dataclasses.replace(
            work, train=["toy-x"], manifest=work.manifest | {"toy-x": record}))
    cache.num_layers = 1
    with pytest.raises(ConfigError, match="feature_layers: all"):
        trainer().fit(work)
