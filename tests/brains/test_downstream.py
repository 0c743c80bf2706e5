"""The downstream trainer: from YAML to predictions, on audio and on features."""

import dataclasses
import functools
import json

import pytest
import torch
from safetensors.torch import load_file
from sertools.brains.downstream import DownstreamTrainer
from sertools.brains.pooled import NAME, pooled_table
from sertools.brains.settings import describe
from sertools.brains.tasks import Classification, Dimensions
from sertools.errors import ConfigError, DataError, Interrupted
from sertools.models.heads import UtteranceHead
from sertools.scoring.classification import classification_scores
from sertools.scoring.dimensions import dimensional_scores


def best_of(work):
    return load_file(work.folder / "best" / "model.safetensors")


def description_of(work):
    return json.loads((work.folder / "best" / "best.json").read_text())


def test_learns_the_pitch_of_unseen_utterances(toy, work_of):
    work = work_of()
    trainer = toy.audio_trainer(epochs=8, lr=1e-2)
    trainer.fit(work)
    assert all(path.is_file() for path in trainer.artefacts(work))
    test = sorted(work.manifest)[21:]
    predictions = trainer.predict(work, test)
    assert [p.id for p in predictions] == test
    for p in predictions:
        assert p.reference == work.manifest[p.id].label and p.speaker == work.manifest[p.id].speaker
        assert sum(p.probabilities) == pytest.approx(1)
        assert p.prediction == work.classes[p.probabilities.index(max(p.probabilities))]
    assert sum(p.prediction == p.reference for p in predictions) >= 4


def test_the_published_model_is_that_of_the_best_epoch(toy, work_of):
    work = work_of()
    trainer = toy.audio_trainer(epochs=4, select="loss", lr=2e-2)
    trainer.fit(work)
    lines = [json.loads(text) for text in (work.folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    best = min(lines, key=lambda line: line["dev"]["loss"])
    saved = description_of(work)
    assert saved["epoch"] == best["epoch"] and saved["dev"] == best["dev"]
    dev = trainer.predict(work, work.dev)
    scores = classification_scores(
        [p.reference for p in dev], [p.prediction for p in dev], work.classes
    )
    assert scores["confusion"] == best["dev"]["confusion"]


def test_labels_of_the_test_part_never_matter(toy, work_of):
    honest, corrupted = work_of("honest"), work_of("corrupted")
    for id in sorted(corrupted.manifest)[21:]:
        record = corrupted.manifest[id]
        wrong = {"high": "low", "low": "high"}[record.label]
        corrupted.manifest[id] = dataclasses.replace(record, label=wrong, path="missing.wav")
    results = []
    for work in (honest, corrupted):
        toy.audio_trainer(select="loss").fit(work)
        line = (work.folder / "metrics.jsonl").read_text().splitlines()[-1]
        results.append((best_of(work), json.loads(line)["dev"], description_of(work)["epoch"]))
    assert all(torch.equal(results[0][0][name], results[1][0][name]) for name in results[0][0])
    assert results[0][1:] == results[1][1:]


def test_the_seed_decides_everything(toy, work_of):
    for name, seed in (("one", 3), ("same", 3), ("other", 4)):
        toy.audio_trainer(epochs=1).fit(work_of(name, seed=seed))
    one, same, other = (best_of(work_of(name)) for name in ("one", "same", "other"))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


class Unpooled(UtteranceHead):
    """The same head, said not to be linear, so that all frames are read."""

    linear_before_pooling = False


def test_pooled_features_give_what_all_frames_give(toy, work_of):
    results = []
    for name, head in (("pooled", UtteranceHead), ("frames", Unpooled)):
        work = work_of(name, "features")
        trainer = toy.feature_trainer(head=functools.partial(head, projection=8))
        trainer.fit(work)
        results.append((best_of(work), trainer.predict(work, sorted(work.manifest))))
    (pooled, said), (frames, also) = results
    assert all(torch.allclose(pooled[name], frames[name], atol=1e-5) for name in pooled)
    for one, other in zip(said, also, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_the_table_of_means_is_renewed_when_stale_or_damaged(toy, tmp_path):
    from sertools.brains.distributed import Ranks
    from sertools.data.feature_cache import FeatureCache

    cache = FeatureCache(toy.make_features(tmp_path))
    table = {id: mean.clone() for id, mean in pooled_table(cache, Ranks()).items()}
    for id in cache.ids:
        assert torch.allclose(table[id], cache.get(id).float().mean(1), atol=1e-6)
    path = cache.folder / NAME
    written = path.stat().st_mtime_ns
    pooled_table(cache, Ranks())
    assert path.stat().st_mtime_ns == written
    path.write_bytes(path.read_bytes()[:20])
    assert torch.equal(pooled_table(cache, Ranks())[id], table[id])
    index = cache.folder / "index.json"
    index.write_bytes(index.read_bytes() + b"\n")
    written = path.stat().st_mtime_ns
    pooled_table(cache, Ranks())
    assert path.stat().st_mtime_ns != written


def test_dimensions_are_learned_and_told_on_the_scale_of_the_corpus(toy, work_of):
    work = work_of(inputs="features")
    trainer = toy.feature_trainer(
        task="dimensions", dimensions=["arousal", "valence"], scale=[1, 5], epochs=2
    )
    trainer.fit(work)
    assert description_of(work)["dimensions"] == ["arousal", "valence"]
    predictions = trainer.predict(work, work.dev)
    record = work.manifest[predictions[0].id]
    assert predictions[0].reference == {"arousal": record.arousal, "valence": record.valence}
    assert predictions[0].probabilities is None
    line = description_of(work)["dev"]
    scores = dimensional_scores([p.reference for p in predictions],
                                [p.prediction for p in predictions])
    assert scores["CCC"] == pytest.approx(line["CCC"], abs=1e-5)


def test_prediction_can_be_stopped(toy, work_of):
    work = work_of(inputs="features")
    trainer = toy.feature_trainer(epochs=1)
    trainer.fit(work)
    work.should_stop = lambda: True
    with pytest.raises(Interrupted, match="while predicting"):
        trainer.predict(work, work.dev)


def test_ratings_off_the_scale_are_listed(toy, work_of):
    task = Dimensions(["arousal", "dominance"], [1, 3])
    with pytest.raises(DataError) as caught:
        task.targets(work_of().manifest, ["toy-u00", "toy-u04"])
    assert caught.value.problems == ["toy-u00: dominance is None", "toy-u04: arousal is 5.0",
                                     "toy-u04: dominance is None"]
    with pytest.raises(ConfigError, match="lowest"):
        Dimensions(["arousal"], [5, 1])


def test_balanced_weights_and_smoothing_by_hand():
    task = Classification(["a", "b", "c"], "balanced", 0.1)
    targets = {"1": 0, "2": 0, "3": 0, "4": 1, "5": 2, "6": 2}
    task.learn_from(targets)
    outputs, truth = torch.randn(6, 3), torch.tensor(list(targets.values()))
    weights = torch.tensor([6 / (3 * 3), 6 / (3 * 1), 6 / (3 * 2)])
    logs = outputs.log_softmax(-1)
    spread = torch.full((6, 3), 0.1 / 3)
    spread[range(6), truth] += 0.9
    expected = -(spread * logs * weights).sum() / weights[truth].sum()
    assert float(task.loss(outputs, truth)) == pytest.approx(float(expected), abs=1e-5)
    assert float(task.loss_weight(truth)) == pytest.approx(float(weights[truth].sum()))


def test_labels_outside_the_classes_are_listed(toy, work_of):
    work = work_of()
    work.classes = ["high", "other"]
    with pytest.raises(DataError) as caught:
        toy.audio_trainer().fit(work)
    assert len(caught.value.problems) == 8 and "label 'low'" in caught.value.problems[0]


def test_without_a_dev_part_the_last_epoch_is_taken(toy, work_of):
    work = work_of(inputs="features", dev=[])
    toy.feature_trainer().fit(work)
    assert description_of(work)["epoch"] == 3 and description_of(work)["dev"] == {}


def test_bfloat16_trains(toy, work_of):
    work = work_of(precision="bf16")
    trainer = toy.audio_trainer(epochs=1)
    trainer.fit(work)
    assert len(trainer.predict(work, work.dev)) == 5


def test_a_damaged_or_missing_model_is_refused(toy, work_of):
    work = work_of(inputs="features")
    trainer = toy.feature_trainer(epochs=1)
    with pytest.raises(DataError, match="no trained model"):
        trainer.predict(work, work.dev)
    trainer.fit(work)
    file = work.folder / "best" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(DataError, match="SHA-256"):
        trainer.predict(work, work.dev)


def test_a_frozen_upstream_is_recorded_and_checked(toy, work_of):
    from sertools.models.upstream import OwnUpstream

    def upstream(seed=0):
        torch.manual_seed(seed)
        return OwnUpstream(toy.build_encoder(**toy.TINY))

    work = work_of()
    toy.audio_trainer(encoder=upstream, epochs=1).fit(work)
    assert all(name.startswith("head.") for name in best_of(work))
    toy.audio_trainer(encoder=upstream).predict(work, work.dev)
    with pytest.raises(ConfigError, match="other frozen weights"):
        toy.audio_trainer(encoder=functools.partial(upstream, 1)).predict(work, work.dev)


def test_an_upstream_is_fine_tuned_without_its_convolutions(toy, work_of):
    from sertools.models.upstream import OwnUpstream

    def upstream():
        conv = {"frontend": "conv", "conv_dim": 8, "convs": [[10, 5], [8, 4], [8, 8]]}
        torch.manual_seed(0)
        return OwnUpstream(toy.build_encoder(**{**toy.TINY, **conv}), trainable=True)

    work = work_of()
    trainer = toy.audio_trainer(encoder=upstream, encoder_lr=1e-3, layer_decay=0.5, epochs=1)
    trainer.fit(work)
    saved = best_of(work)
    start = {f"encoder.{name}": value for name, value in upstream().state_dict().items()}
    left_out = {name for name in start if name not in saved}
    assert left_out and all(".frontend.layers." in name for name in left_out)
    moved = [name for name in saved if name in start and not torch.equal(saved[name], start[name])]
    assert any(".blocks.0." in name for name in moved)
    again = toy.audio_trainer(encoder=upstream).predict(work, work.dev)
    assert again == trainer.predict(work, work.dev)


@pytest.mark.parametrize("choice", ["always", 1])
def test_the_front_end_can_stay_as_it_is(toy, work_of, choice):
    work = work_of()
    toy.audio_trainer(freeze_frontend=choice, epochs=2).fit(work)
    trained = [name for name in best_of(work) if ".frontend." in name]
    assert bool(trained) == (choice == 1)


def test_a_frozen_front_end_cannot_be_thawed_by_mistake(toy, work_of):
    def encoder():
        made = toy.build_encoder(**toy.TINY)
        made.frontend.requires_grad_(False)
        return made

    with pytest.raises(ConfigError, match="frozen already"):
        toy.audio_trainer(encoder=encoder, freeze_frontend=1).fit(work_of())


def test_the_last_layer_alone_goes_through_the_final_norm(toy, work_of):
    head = functools.partial(UtteranceHead, layers="last", projection=None)
    work = work_of()
    toy.audio_trainer(head=head, epochs=1).fit(work)
    assert any("final_norm" in name for name in best_of(work))


def test_parameters_without_part_in_a_step_are_found(toy, work_of):
    from sertools.brains.inputs import AudioInputs

    def inputs(head, **encoder):
        make = functools.partial(toy.build_encoder, **{**toy.TINY, **encoder})
        return AudioInputs(work_of(), head, make, {"crop": None})

    last = functools.partial(UtteranceHead, layers="last")
    for found, expected in ((inputs(last), False), (inputs(UtteranceHead), True),
                            (inputs(UtteranceHead, final_norm=False), False),
                            (inputs(last, mask_embedding=True), True),
                            (inputs(last, layerdrop=0.1), True)):
        model = found.model(2)
        state = torch.get_rng_state()
        assert found.leaves_unused(model) is expected
        assert torch.equal(state, torch.get_rng_state()) and model.training
        assert all(p.grad is None for p in model.parameters())


def test_a_recipe_builds_it(work_of):
    from hyperpyyaml import load_hyperpyyaml

    trainer = load_hyperpyyaml("""
trainer: !new:sertools.brains.downstream.DownstreamTrainer
    inputs: audio
    encoder: !name:sertools.models.presets.build_encoder
        preset: small
        dim: 16
        num_layers: 1
        num_heads: 2
        ffn_dim: 32
    head: !name:sertools.models.heads.UtteranceHead
        projection: 8
    epochs: 1
    batch_seconds: 0.5
    betas: [0.9, 0.98]
    tensorboard: false
""")["trainer"]
    work = work_of()
    trainer.fit(work)
    assert all(path.is_file() for path in trainer.artefacts(work))


def test_partials_are_described_by_name_and_arguments():
    partial = functools.partial(UtteranceHead, projection=8)
    assert describe(partial) == {
        "name": "sertools.models.heads.UtteranceHead", "args": [], "projection": 8
    }


def test_every_argument_is_explained():
    import inspect

    for name in inspect.signature(DownstreamTrainer).parameters:
        assert f"        {name}: " in DownstreamTrainer.__doc__, name


def test_all_mistakes_are_named_at_once():
    with pytest.raises(ConfigError) as caught:
        DownstreamTrainer(inputs="features", encoder=UtteranceHead, crop="random", task="ranks",
                          optimizer="lion", noise=[1, 2])
    assert len(caught.value.problems) == 5
    for options, match in (
        ({}, "needs one"), ({"task": "dimensions", "encoder": UtteranceHead}, "scale is missing"),
        ({"encoder": UtteranceHead, "freeze_frontend": "never"}, "always"),
        ({"encoder": UtteranceHead, "epochs": 0}, "epochs is 0"),
        ({"encoder": UtteranceHead, "schedule": "noam"}, "cosine, linear or constant"),
        ({"encoder": UtteranceHead, "warmup": 1.0}, "warmup is 1.0"),
        ({"encoder": UtteranceHead, "lr": -0.1}, r"lr is -0\.1: give a number of 0 or more$"),
        ({"encoder": UtteranceHead, "weight_decay": float("nan")}, "weight_decay is nan"),
        ({"encoder": UtteranceHead, "optimizer": "sgd", "momentum": -1}, "0 or more, at most 1"),
        ({"encoder": UtteranceHead, "label_smoothing": 2}, "label_smoothing is 2"),
        ({"encoder": UtteranceHead, "select": "UAR"}, "UA, WA, WF1, MF1, loss"),
        ({"encoder": UtteranceHead, "select": "UA", "task": "dimensions", "scale": [1, 5],
          "dimensions": ["valence"]}, "CCC, CCC_valence, loss"),
    ):
        with pytest.raises(ConfigError, match=match):
            DownstreamTrainer(**options)


def test_other_rates_and_precisions_than_there_are_are_refused(toy, work_of):
    with pytest.raises(ConfigError, match="sample_rate: 16000"):
        toy.audio_trainer(sample_rate=8000).fit(work_of())
    with pytest.raises(ConfigError, match="fp32 or bf16"):
        toy.audio_trainer().fit(work_of(precision="fp16"))


def test_features_that_do_not_exist_are_asked_for_in_vain(toy, work_of):
    with pytest.raises(ConfigError, match="no feature cache"):
        toy.feature_trainer().fit(work_of())
    work = work_of(inputs="features")
    work.manifest["toy-new"] = dataclasses.replace(work.manifest["toy-u00"], id="toy-new")
    work.train = [*work.train, "toy-new"]
    with pytest.raises(DataError, match="toy-new: not in the cache"):
        toy.feature_trainer().fit(work)
