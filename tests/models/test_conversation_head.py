"""The head that reads turns: what a plain loop over its cells says, whatever it is padded with."""

import pytest
import torch
from sertools.models.conversation import NextTurnHead
from torch import nn


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def by_hand(head: NextTurnHead, turns: torch.Tensor) -> torch.Tensor:
    """Go through the turns (T, D) of one conversation, cell by cell."""
    gru = head.recurrent
    for layer in range(gru.num_layers):
        cell = nn.GRUCell(turns.shape[-1], gru.hidden_size)
        cell.load_state_dict({name: getattr(gru, f"{name}_l{layer}") for name in
                              ("weight_ih", "weight_hh", "bias_ih", "bias_hh")})
        state, states = torch.zeros(1, gru.hidden_size), []
        for turn in turns:
            state = cell(turn[None], state)
            states.append(state[0])
        turns = torch.stack(states)
    return turns[-1] @ head.output.weight.T + head.output.bias


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_equals_a_loop_over_turns(layers):
    head = NextTurnHead(1, 5, 4, hidden=7, layers=layers, dropout=0.5).eval()
    lengths = torch.tensor([6, 1, 3, 2])
    turns = torch.randn(4, 1, 6, 5)
    said = head(turns, lengths)
    for row, own, length in zip(said, turns, lengths.tolist(), strict=True):
        assert torch.allclose(row, by_hand(head, own[0, :length]), atol=1e-6)


def test_equals_the_network_alone_on_each_conversation():
    head = NextTurnHead(1, 5, 4, hidden=7)
    turns = torch.randn(1, 1, 4, 5)
    plain = nn.GRU(5, 7, 2, batch_first=True)
    plain.load_state_dict(head.recurrent.state_dict())
    _, last = plain(turns[:, 0])
    padded = torch.cat([turns, torch.randn(1, 1, 3, 5)], 2)
    assert torch.allclose(head(padded, torch.tensor([4])), head.output(last[-1]), atol=1e-6)


@pytest.mark.parametrize("filling", [0.0, 1e4, float("nan"), float("inf")])
def test_padding_never_matters_for_outputs_and_gradients(filling):
    head = NextTurnHead(2, 3, 2, hidden=4)
    turns, lengths = torch.randn(2, 2, 3, 3), torch.tensor([3, 1])
    alone = [head(turns[index : index + 1, :, :length], torch.tensor([length]))
             for index, length in enumerate([3, 1])]
    torch.cat(alone).square().sum().backward()
    expected = [parameter.grad.clone() for parameter in head.parameters()]
    head.zero_grad()
    padded = torch.full((2, 2, 5, 3), filling)
    padded[0, :, :3], padded[1, :, :1] = turns[0], turns[1, :, :1]
    said = head(padded, lengths)
    said.square().sum().backward()
    assert torch.allclose(said, torch.cat(alone), atol=1e-6)
    for parameter, wanted in zip(head.parameters(), expected, strict=True):
        assert torch.allclose(parameter.grad, wanted, atol=1e-6)


def test_the_order_of_the_turns_and_the_last_layer_count():
    head = NextTurnHead(2, 3, 2, hidden=4)
    turns, lengths = torch.randn(1, 2, 4, 3), torch.tensor([4])
    said = head(turns, lengths)
    assert not torch.allclose(said, head(turns.flip(2), lengths))
    other = torch.stack([torch.randn(1, 4, 3), turns[:, 1]], 1)
    assert torch.equal(said, head(other, lengths))


def test_half_precision_features_are_read_in_the_precision_of_the_weights():
    head = NextTurnHead(1, 3, 2, hidden=4)
    turns, lengths = torch.randn(2, 1, 4, 3).half(), torch.tensor([4, 2])
    assert torch.equal(head(turns, lengths), head(turns.float(), lengths))


def test_nothing_is_dropped_but_in_training():
    head = NextTurnHead(1, 3, 2, hidden=64, dropout=0.5)
    turns, lengths = torch.randn(2, 1, 4, 3), torch.tensor([4, 2])
    assert not torch.equal(head(turns, lengths), head(turns, lengths))
    head.eval()
    assert torch.equal(head(turns, lengths), head(turns, lengths))
