"""blocked_linear.py: another place for the weights, the same numbers."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from conduit_nb.lmlite.blocked_linear import BlockedLinear, block_weights

SHAPES = [(24,), (1, 1, 24), (1, 0, 24), (3, 24), (1, 129, 24)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@torch.inference_mode()
def test_the_result_is_that_of_the_plain_layer(shape: tuple[int, ...], bias: bool):
    torch.manual_seed(0)
    plain = torch.nn.Linear(24, 50, bias=bias)
    states = torch.randn(shape)

    blocked = BlockedLinear(plain)(states)

    torch.testing.assert_close(blocked, plain(states), rtol=1e-5, atol=1e-6)


def test_every_linear_layer_of_a_model_is_replaced_and_nothing_else():
    table = torch.nn.Embedding(50, 24)
    inside = torch.nn.Sequential(torch.nn.Linear(24, 8), torch.nn.LayerNorm(8))
    model = torch.nn.Sequential(table, inside, torch.nn.Linear(8, 3))

    block_weights(model)

    kinds = [type(part) for part in model.modules() if not list(part.children())]
    assert kinds == [torch.nn.Embedding, BlockedLinear, torch.nn.LayerNorm, BlockedLinear]


@torch.inference_mode()
def test_weights_that_an_embedding_shares_serve_both():
    torch.manual_seed(0)
    table, head = torch.nn.Embedding(50, 24), torch.nn.Linear(24, 50, bias=False)
    head.weight = table.weight
    states = table(torch.tensor([7, 49]))
    plain = head(states)

    model = torch.nn.Sequential(table, head)
    block_weights(model)

    torch.testing.assert_close(model(torch.tensor([7, 49])), plain, rtol=1e-5, atol=1e-6)


def test_what_has_no_blocked_form_stays_as_it_is():
    model = torch.nn.Sequential(torch.nn.Linear(4, 4, dtype=torch.float64))

    block_weights(model)

    assert type(model[0]) is torch.nn.Linear


def test_the_weights_of_a_blocked_layer_can_still_be_read():
    linear = torch.nn.Linear(24, 40)
    weight = linear.weight.detach().clone()
    model = torch.nn.Sequential(linear)

    block_weights(model)

    assert isinstance(model[0], BlockedLinear)
    assert torch.equal(model[0].weight, weight)
