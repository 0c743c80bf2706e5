"""Crops in prediction and in caches, upstreams in train mode, padding that matters: as released."""

import functools
import types

import pytest
import torch
from sertools.brains.inputs import AudioInputs
from sertools.brains.weights import TrainedWeights
from sertools.data.feature_cache import FeatureCache
from sertools.errors import ConfigError
from sertools.models.heads import EncoderWithHead, UtteranceHead
from sertools.models.presets import build_encoder
from sertools.models.transformer_head import TransformerHead
from sertools.models.upstream import OwnUpstream, load_upstream
from sertools.models.weights import save_encoder
from sertools.stages.features import feature_reader
from torch.nn import functional as F

CROP = 0.15
RATE = 16000
WAVES = {"frontend": "conv", "conv_dim": 8, "conv_norm": "layer", "normalise_waveform": True,
         "position": "conv", "position_kernel": 4, "position_groups": 2, "bias": "gated",
         "final_norm": False, "dim": 16, "num_layers": 2, "num_heads": 2, "ffn_dim": 24,
         "dropout": 0.3}
"""WavLM's architecture in small."""


def upstream(**options):
    torch.manual_seed(0)
    return OwnUpstream(build_encoder("small", **WAVES), **options)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("encoder") / "encoder"
    save_encoder(build_encoder("small", **{**WAVES, "layerdrop": 0.9}), folder)
    return folder


# Crops


@pytest.mark.parametrize("crop", ["start", "random"])
@pytest.mark.parametrize("cut", [True, False])
def test_prediction_hears_the_start_or_all(toy, work_of, crop, cut):
    work = work_of()
    reader = {"crop": crop, "crop_seconds": CROP, "normalise": False}
    inputs = AudioInputs(work, UtteranceHead, upstream, reader, cut)
    longest = max(work.dev, key=lambda id: work.manifest[id].duration)
    whole = AudioInputs(work, UtteranceHead, upstream, {"crop": None, "normalise": False})
    (all_of_it,) = whole.dataset([longest], None, False)
    heard = inputs.dataset([longest], None, False)
    expected = all_of_it.inputs[: round(CROP * RATE)] if cut else all_of_it.inputs
    assert torch.equal(heard[0].inputs, expected) and len(all_of_it.inputs) > CROP * RATE
    assert heard.seconds == [len(expected) / RATE]
    assert inputs.dataset([longest], None, True).seconds == [CROP]


def test_features_of_the_start_are_those_of_cropped_audio(toy, work_of, tmp_path):
    from sertools.data.feature_writer import write_features

    def written(**config):
        said = []
        folder = write_features(
            upstream(), work.manifest, work.data_folder,
            feature_reader(types.SimpleNamespace(config=config)), tmp_path, storage="fp32",
            device="cpu", say=said.append)
        return FeatureCache(folder), said

    work = work_of()
    (cut, said), (whole, _) = written(feature_seconds=CROP), written(feature_seconds=None)
    assert cut.folder != whole.folder and written()[0].folder == whole.folder
    inputs = AudioInputs(work, UtteranceHead, upstream,
                         {"crop": "start", "crop_seconds": CROP, "normalise": False}, True)
    model = upstream()
    lengths = set()
    for example in inputs.dataset(work.train, None, False):
        alone = torch.stack(model(example.inputs[None], hidden=True).hidden)[:, 0]
        torch.testing.assert_close(cut.get(example.id), alone, atol=1e-5, rtol=0)
        lengths.add(cut.frames(example.id) < whole.frames(example.id))
    assert lengths == {True, False}
    hours = sum(min(record.duration, CROP) for record in work.manifest.values()) / 3600
    assert said[0].startswith(f"features: {hours:.2f} h")


@pytest.mark.parametrize("seconds", [0, -1.0, "all", True, float("nan")])
def test_odd_lengths_of_cached_audio_are_refused(seconds):
    with pytest.raises(ConfigError, match="feature_seconds is .*\n.*null: all"):
        feature_reader(types.SimpleNamespace(config={"feature_seconds": seconds}))


def test_crops_that_cannot_be_meant_are_refused(toy):
    with pytest.raises(ConfigError, match="crop is not: name start or random"):
        toy.audio_trainer(crop_prediction=True)
    with pytest.raises(ConfigError, match="acts on audio only"):
        toy.feature_trainer(crop_prediction=True)


# Frozen upstreams in train mode


def test_a_released_upstream_drops_while_a_head_learns_and_never_else(saved):
    wave = torch.randn(2, 4000, generator=torch.Generator().manual_seed(1))
    for mode in ("eval", "released"):
        model = EncoderWithHead(load_upstream(saved, frozen_mode=mode),
                                UtteranceHead(3, 16, 2)).train()
        weights = TrainedWeights(model)
        weights.eval_frozen()
        differ = not torch.equal(model(wave), model(wave))
        assert differ == (mode == "released")
        assert not any(p.requires_grad for p in model.encoder.parameters())
        assert model.encoder.model.config.layerdrop == (0 if mode == "released" else 0.9)
        model.eval()
        assert torch.equal(model(wave), model(wave))
        assert weights.roots == ["encoder"]
    model.train()(wave).sum().backward()
    assert all(p.grad is None for p in model.encoder.parameters())


def test_released_upstreams_are_refused_where_nothing_learns_from_them(saved, work_of, tmp_path):
    from sertools.data.audio import AudioReader
    from sertools.data.feature_writer import write_features

    for options in ({"frozen_mode": "released", "trainable": True}, {"frozen_mode": "train"}):
        with pytest.raises(ConfigError, match="choose eval or released"):
            load_upstream(saved, **options)
    with pytest.raises(ConfigError) as caught:
        write_features(load_upstream(saved, frozen_mode="released"), work_of().manifest, "",
                       AudioReader(normalise=False), tmp_path)
    assert "inputs: audio" in str(caught.value.problems)


def test_training_on_a_released_upstream_goes_on_after_a_stop(toy, saved, work_of):
    def trainer():
        return toy.audio_trainer(
            encoder=functools.partial(load_upstream, saved, frozen_mode="released"), epochs=2)

    trainer().fit(work_of("whole"))
    stops = toy.train_in_pieces(trainer, lambda **more: work_of("pieces", **more), (3,))
    results = [(work_of(name).folder / "best" / "model.safetensors").read_bytes()
               for name in ("whole", "pieces")]
    assert stops == 1 and results[0] == results[1]
    said = [trainer().predict(work_of("whole"), work_of().dev) for _ in range(2)]
    assert said[0] == said[1]


# Padding that matters


def literal(encoder, head, waves, length):
    """Return the outputs of the released code's steps, one utterance at a time."""
    rows = []
    for wave in waves:
        padded, padding = torch.zeros(length), torch.ones(length, dtype=torch.bool)
        padded[: len(wave)], padding[: len(wave)] = wave, False
        local = encoder.frontend(F.layer_norm(padded, [length])[None], None)
        frames = local.shape[1]
        extra = length % frames
        mask = (padding[:-extra] if extra else padding).view(frames, -1).all(-1)
        real = int((~mask).sum())
        # Padded frames are zero for the convolution and no keys: as if they were not there.
        hidden = encoder.contextualise(local[:, :real], hidden=True).hidden
        feature = torch.zeros(frames, encoder.dim)
        weights = torch.softmax(head.layer_weights, 0)
        feature[:real] = sum(w * h[0] for w, h in zip(weights, hidden, strict=True))
        rows.append(head.output(head.projection(feature).sum(0) / real))
    return torch.stack(rows)


def test_released_padding_is_that_of_the_literal_steps(toy, work_of):
    length = round(0.3 * RATE)
    reader = {"crop": "start", "crop_seconds": 0.3, "normalise": False}
    inputs = AudioInputs(work_of(), UtteranceHead, upstream, reader, True, "released")
    model = inputs.model(2).eval()
    torch.nn.init.normal_(model.head.layer_weights)
    torch.nn.init.normal_(model.head.projection.bias)
    draw = torch.Generator().manual_seed(2)
    waves = [torch.randn(size, generator=draw) + 0.1 for size in (2000, 4000, length)]
    sizes = torch.tensor([len(wave) for wave in waves])
    batch = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    expected = literal(model.encoder.model, model.head, waves, length)
    with torch.no_grad():
        assert torch.allclose(model(batch, sizes), expected, atol=1e-5)
        assert torch.allclose(model(batch[:2, :4000], sizes[:2]), expected[:2], atol=1e-5)
        assert torch.allclose(model(waves[2][None]), expected[2:], atol=1e-5)
        model.encoder.released_length = None
        assert not torch.allclose(model(batch, sizes)[0], expected[0], atol=1e-2)


def test_a_trainer_takes_released_padding(toy, saved, work_of):
    options = {"crop": "start", "crop_seconds": CROP, "crop_prediction": True, "epochs": 1,
               "padding": "released", "encoder": functools.partial(load_upstream, saved)}
    work = work_of()
    trainer = toy.audio_trainer(**options)
    trainer.fit(work)
    assert len(trainer.predict(work, work.dev)) == len(work.dev)
    for change in ({"crop_prediction": False}, {"crop": "random"}, {"speeds": [90, 110]},
                   {"head": functools.partial(TransformerHead, depth=1)}):
        with pytest.raises(ConfigError, match="padding is released: that needs"):
            toy.audio_trainer(**{**options, **change})
    with pytest.raises(ConfigError, match="padding is released: that needs"):
        toy.feature_trainer(padding="released")
    with pytest.raises(ConfigError, match="implementation sertools"):
        toy.audio_trainer(
            **{**options, "encoder": functools.partial(build_encoder, **toy.TINY)}
        ).fit(work_of("other"))
    for odd in ({"padding": "none"}, {"padding": "released", "activation": "relu"}):
        with pytest.raises(ConfigError, match="use padding fixed"):
            UtteranceHead(2, 4, 2, **odd)
