"""Heads: padding never matters, the order of linear steps never matters."""

import pytest
import torch
from sertools.errors import ConfigError
from sertools.models.heads import EncoderWithHead, UtteranceHead, masked_mean
from torch.nn import functional as F

LENGTHS = torch.tensor([7, 3, 1])


@pytest.fixture
def hidden():
    torch.manual_seed(0)
    return torch.randn(3, 4, 7, 5)


def superb(head, hidden, lengths):
    """Return the outputs as s3prl computes them, one utterance at a time, frame by frame."""
    rows = []
    for layers, length in zip(hidden, lengths.tolist(), strict=True):
        layers = layers[:, :length].float()
        if head.normalise:
            layers = torch.stack([F.layer_norm(layer, layer.shape[-1:]) for layer in layers])
        if isinstance(head.layers, list):
            frames = sum(layers[depth] for depth in head.layers) / len(head.layers)
        elif head.layers == "weighted_sum":
            weights = torch.softmax(head.layer_weights, 0)
            frames = sum(weight * layer for weight, layer in zip(weights, layers, strict=True))
        else:
            frames = layers[-1 if head.layers == "last" else head.layers]
        frames = head.projection(frames)
        frames = frames.relu() if head.activation == "relu" else frames
        mean = frames.sum(0) / length
        rows.append(head.output(mean.relu() if head.activation == "pooled_relu" else mean))
    return torch.stack(rows)


@pytest.mark.parametrize("layers", ["weighted_sum", "last", 2, [-2, -1], [0, 1, 3], [3]])
@pytest.mark.parametrize("activation", [None, "relu", "pooled_relu"])
@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("projection", [6, None])
def test_equals_the_definition(hidden, layers, activation, normalise, projection):
    head = UtteranceHead(4, 5, 3, layers, projection, activation, normalise=normalise)
    if layers == "weighted_sum":
        torch.nn.init.normal_(head.layer_weights)
    expected = superb(head, hidden, LENGTHS)
    assert torch.allclose(head(hidden, LENGTHS), expected, atol=1e-6)
    assert torch.allclose(head(list(hidden.unbind(1)), LENGTHS), expected, atol=1e-6)
    assert torch.allclose(head(hidden.half(), LENGTHS), expected, atol=2e-3)


@pytest.mark.parametrize("activation", [None, "relu"])
def test_padding_changes_nothing_even_if_it_is_nan(hidden, activation):
    head = UtteranceHead(4, 5, 3, activation=activation).eval()
    alone = head(hidden[1:2, :, :3], LENGTHS[1:2])
    spoiled = hidden.clone()
    spoiled[1, :, 3:] = float("nan")
    assert torch.allclose(head(spoiled, LENGTHS)[1:2], alone, atol=1e-6)


@pytest.mark.parametrize("activation", [None, "relu"])
def test_padding_gets_no_gradient(hidden, activation):
    hidden.requires_grad_()
    head = UtteranceHead(4, 5, 3, activation=activation)
    head(hidden, LENGTHS).square().sum().backward()
    assert hidden.grad[1, :, 3:].abs().sum() == 0 and hidden.grad[1, :, :3].abs().sum() > 0


def test_pooled_frames_may_be_given_when_all_is_linear(hidden):
    head = UtteranceHead(4, 5, 3)
    assert head.linear_before_pooling
    pooled = masked_mean(hidden, LENGTHS)[:, :, None]
    one = torch.ones_like(LENGTHS)
    assert torch.allclose(head(pooled, one), head(hidden, LENGTHS), atol=1e-6)
    assert not UtteranceHead(4, 5, 3, activation="relu").linear_before_pooling
    assert UtteranceHead(4, 5, 3, activation="pooled_relu").linear_before_pooling


def test_a_device_that_keeps_the_padding_gives_the_same(hidden):
    """Only a CPU leaves the padding out; the other way must give the same numbers and gradients."""
    head = UtteranceHead(4, 5, 3, activation="relu")
    packed = head(hidden, LENGTHS)
    padded = head.output(masked_mean(head._projected(list(hidden.unbind(1))), LENGTHS))
    assert torch.allclose(packed, padded, atol=1e-6)
    weight = head.projection.weight
    first, second = (torch.autograd.grad(x.square().sum(), weight)[0] for x in (packed, padded))
    assert torch.allclose(first, second, atol=1e-5)


def test_learns_which_layer_matters(hidden):
    head = UtteranceHead(4, 5, 3)
    head(hidden, LENGTHS).square().sum().backward()
    assert head.layer_weights.grad.abs().sum() > 0


def test_unknown_options_are_refused():
    for layers in (4, -5, [1, 4], [], "first", [True], [1.0]):
        with pytest.raises(ConfigError, match="weighted_sum, last or 0 to 3"):
            UtteranceHead(4, 5, 3, layers=layers)
    for options, words in (({"projection": 0}, "null for none"), ({"projection": -4}, "is -4"),
                           ({"dropout": 1.5}, "less than 1")):
        with pytest.raises(ConfigError, match=words):
            UtteranceHead(4, 8, 3, **options)
    with pytest.raises(ConfigError, match="relu or null"):
        UtteranceHead(4, 5, 3, activation="tanh")


class Encoded:
    def __init__(self, hidden, lengths):
        self.hidden, self.last, self.lengths = list(hidden.unbind(1)), hidden[:, -1], lengths


def test_encoder_with_head_passes_the_encoders_own_lengths(hidden):
    class Encoder(torch.nn.Module):
        def forward(self, waveforms, lengths, hidden):
            self.asked = hidden
            return Encoded(waveforms, lengths)

    model = EncoderWithHead(Encoder(), UtteranceHead(4, 5, 3))
    assert torch.equal(model(hidden, LENGTHS), model.head(hidden, LENGTHS))
    assert model.encoder.asked
    last = EncoderWithHead(Encoder(), UtteranceHead(1, 5, 3, layers="last"))
    assert torch.equal(last(hidden, LENGTHS), last.head([hidden[:, -1]], LENGTHS))
    assert not last.encoder.asked
