"""The encoder of a result: in the model, behind its features, or nowhere."""

import functools

import pytest
import torch
import toy
from sertools.brains.cost import encoder_size
from sertools.files import read_json
from sertools.models.account import describe
from sertools.models.heads import EncoderWithHead, UtteranceHead
from sertools.models.presets import build_encoder
from sertools.models.upstream import OwnUpstream, load_upstream
from sertools.models.weights import save_encoder


def counted():
    """Return the size of the toy's encoder, counted in the way of `sertools info`."""
    wanted = describe(build_encoder(**toy.TINY))
    return {name: wanted[name] for name in ("parameters", "macs_per_second", "seconds")}


def test_trained_encoders_and_those_behind_features_are_noted(tmp_path):
    features = toy.make_features(tmp_path)
    for name, trainer, more in (
        ("audio", toy.audio_trainer, {}),
        ("features", toy.feature_trainer, {"features": features}),
    ):
        folder = tmp_path / name
        trainer(epochs=1).fit(toy.make_work(tmp_path, folder=folder, **more))
        cost = read_json(folder / "cost.json")
        assert cost["encoder"] == counted()
        assert (cost["parameters"]["total"] > cost["encoder"]["parameters"]) == (name == "audio")


def test_caches_of_old_say_nothing(tmp_path):
    head = UtteranceHead(2, 4, 3)
    assert encoder_size(head) is None and encoder_size(head, tmp_path) is None


@pytest.mark.parametrize("load", [OwnUpstream, None])
def test_fine_tuned_upstreams_count_as_encoders(load, tmp_path):
    encoder = build_encoder(**toy.TINY)
    if load is None:
        load = functools.partial(load_upstream, trainable=True)
        encoder = save_encoder(encoder, tmp_path / "encoder")
    upstream = load(encoder)
    model = EncoderWithHead(upstream, UtteranceHead(1, upstream.dim, 3, "last"))
    assert encoder_size(model) == counted()


def test_cast_matrices_are_counted_like_others():
    upstream = OwnUpstream(build_encoder(**toy.TINY))
    upstream.settle("bf16")
    assert upstream.size() == counted()
    assert not any(parameter.is_meta for parameter in upstream.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(upstream(torch.randn(1, 4000)).last.float()).all()
