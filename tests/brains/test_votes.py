"""The epoch that scores vote for: the released script's own steps, and no model too many."""

import json
import random

import pytest
import torch
from safetensors.torch import load_file
from sertools.brains.votes import Candidates, voted_epoch
from sertools.errors import ConfigError, DataError

METRICS = ("WA", "UA")
SCORES = [(0.57, 0.62), (0.60, 0.66), (0.58, 0.63), (0.90, 0.55), (0.59, 0.64), (0.60, 0.65)]
"""WA and UA of six epochs: the fourth has the largest sum, and a vote less than the others."""


def history_of(scores):
    return [{"epoch": number, "dev": dict(zip(METRICS, pair, strict=True))}
            for number, pair in enumerate(scores, 1)]


def released(scores):
    """Return the place of the reported epoch: lists and counts spelled out."""
    names = []
    for metric in range(len(METRICS)):
        values = [round(pair[metric], 5) for pair in scores]
        for largest in sorted(set(values), reverse=True)[:5]:
            names += [place for place, value in enumerate(values) if value == largest]
    counts = {}
    for place in names:
        counts[place] = counts.get(place, 0) + 1
    order = sorted(counts, key=lambda place: -counts[place])[:5]  # stable: first come, first kept
    best, best_sum = 0, 0
    for place in order:
        total = sum(round(value, 5) for value in scores[place])
        if total > best_sum:
            best, best_sum = place, total
    return best


@pytest.mark.parametrize("seed", range(10))
def test_the_vote_is_that_of_the_literal_script_and_models_suffice(tmp_path, seed):
    draw = random.Random(seed)
    steps = 200 if seed % 2 else 12  # many different values, or many equal ones
    scores = [(draw.randrange(1, steps) / steps, draw.randrange(1, steps) / steps)
              for _ in range(draw.randrange(1, 26))]
    candidates = Candidates(tmp_path, METRICS)
    for count in range(1, len(scores) + 1):
        history = history_of(scores[:count])
        candidates.keep(history, lambda folder, name=count: (folder / "n").write_text(str(name)))
        candidates.drop(history)
        assert voted_epoch(history, METRICS) == released(scores[:count]) + 1
        if steps == 200:
            assert len(list((tmp_path / "candidates").iterdir())) <= 16
    candidates.elect(history, tmp_path / "best")
    assert (tmp_path / "best" / "n").read_text() == str(released(scores) + 1)
    candidates.clear()
    assert not (tmp_path / "candidates").exists()
    with pytest.raises(DataError, match="model of the chosen epoch is missing"):
        candidates.elect(history, tmp_path / "best")


@pytest.fixture
def scripted(toy):
    """Let the dev scores of an epoch be those of SCORES; return its weights by epoch."""
    brain, weights = toy.DownstreamBrain, {}
    before = brain.dev_scores

    def dev_scores(self, ids, outputs):
        epoch = self.progress.epoch + 1
        weights[epoch] = {name: tensor.clone() for name, tensor in
                          self.raw_model.state_dict().items()}
        pair = dict(zip(METRICS, SCORES[epoch - 1], strict=True))
        return {**pair, "WA+UA": sum(pair.values())}

    brain.dev_scores = dev_scores
    yield weights
    brain.dev_scores = before


def test_the_voted_epoch_is_published_in_one_go_or_in_pieces(toy, work_of, scripted):
    def trainer(votes=True):
        return toy.feature_trainer(epochs=6, select="WA+UA", votes=votes, checkpoint_steps=2)

    trainer().fit(work_of("whole", "features"))
    expected = released(SCORES) + 1
    sums = [sum(pair) for pair in SCORES]
    assert expected != 1 + sums.index(max(sums))
    stops = toy.train_in_pieces(
        trainer, lambda **more: work_of("pieces", "features", **more), (3, 7))
    assert stops == 2
    for name in ("whole", "pieces"):
        folder = work_of(name).folder
        saved = load_file(folder / "best" / "model.safetensors")
        assert all(torch.equal(saved[key], scripted[expected][key]) for key in saved)
        assert json.loads((folder / "best" / "best.json").read_text())["epoch"] == expected
        done = json.loads((folder / "training.json").read_text())
        assert (done["best_epoch"], done["best_score"]) == (expected, sums[expected - 1])
        assert not (folder / "candidates").exists()
    trainer(votes=False).fit(work_of("plain", "features"))
    plain = json.loads((work_of("plain").folder / "best" / "best.json").read_text())
    assert plain["epoch"] == 1 + sums.index(max(sums))


def test_nothing_can_vote_for_a_loss(toy):
    with pytest.raises(ConfigError, match="votes is given, but select is loss"):
        toy.feature_trainer(votes=True, select="loss")
