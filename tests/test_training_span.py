"""What keeps features within half precision: the loss of what exceeds it, and the balance of products."""

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor

from vs_paragonsr2.network import ParagonSR2
from vs_paragonsr2.training.span import SIDE, average, balance, excess, harsh_picture


def test_excess_counts_what_is_beyond_the_limit() -> None:
    torch.manual_seed(0)
    network = ParagonSR2("stream", 2)
    picture = harsh_picture(np.random.default_rng(0))
    assert picture.shape == (1, 3, SIDE, SIDE)
    black, white = picture.unique().tolist()
    assert -0.75 <= black < 0 and 1 < white <= 1.75
    assert harsh_picture(np.random.default_rng(0), beyond=0).unique().tolist() == [0, 1]
    with torch.no_grad():
        assert float(excess(network, picture, 1e6)) == 0
        for parameter in network.up[0].parameters():
            parameter.zero_()
        assert network.up[0].bias is not None
        network.up[0].bias.fill_(math.e * 1e6)
        layers = sum(
            isinstance(m, torch.nn.Conv2d) for part in (network.body, network.conv_mid, network.up) for m in part.modules()
        )
        # One of all tensors that go in and come out is beyond the limit, by a factor of e everywhere.
        assert float(excess(network, picture, 1e6)) == pytest.approx(1 / (2 * layers))


def network_of_large_products(factor: float, gain: float) -> ParagonSR2:
    """A fresh Stream whose products have larger factors, and whose LayerScales have this gain."""
    torch.manual_seed(0)
    network = ParagonSR2("stream", 2)
    for block in network.blocks():
        block.gate.weight.data *= factor
        block.scale.gamma.data.fill_(gain)
    return network


def test_excess_can_be_trained_away() -> None:
    network = network_of_large_products(8, 1)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.003)
    picture = harsh_picture(np.random.default_rng(0))
    seen = []
    for _ in range(8):
        loss = excess(network, picture, 1.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        seen.append(float(loss.detach()))
    assert 0 < seen[-1] < 0.5 * seen[0]


def test_balanced_products_are_smaller_and_the_picture_is_the_same() -> None:
    network = network_of_large_products(20, 0.01)
    picture = harsh_picture(np.random.default_rng(0))
    before = network(picture)
    products, scaled = (max(largest_inputs(network, picture, name)) for name in ("out", "scale"))
    balance(network, limit=1.0, pictures=2)
    assert products > 16 and max(largest_inputs(network, picture, "out")) < 2
    assert scaled > 4 and max(largest_inputs(network, picture, "scale")) < 2
    # Powers of two: not a bit of the result is another one.
    assert torch.equal(network(picture), before)
    balance(network, limit=1.0, pictures=2)
    assert torch.equal(network(picture), before)


def test_a_network_that_computes_nothing_can_be_balanced() -> None:
    network = network_of_large_products(0, 0)
    before = deepcopy(network.state_dict())
    balance(network, limit=1.0, pictures=2)
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)


def test_the_average_of_a_network_and_itself_balanced_is_the_network() -> None:
    network = network_of_large_products(20, 0.01)
    picture = harsh_picture(np.random.default_rng(0))
    balanced = deepcopy(network)
    balance(balanced, limit=1.0, pictures=2)
    assert not torch.equal(balanced.blocks()[0].gate.weight, network.blocks()[0].gate.weight)
    for networks in ((network, balanced), (balanced, network)):
        mean = average(networks, (0.75, 0.25))
        torch.testing.assert_close(mean(picture), network(picture), rtol=0, atol=1e-6)
        torch.testing.assert_close(mean.state_dict(), networks[0].state_dict(), rtol=1e-6, atol=0)


def test_the_average_of_two_networks_is_that_of_their_weights() -> None:
    networks = [ParagonSR2("realtime", 2) for _ in range(2)]
    with torch.no_grad():
        for value, network in enumerate(networks):
            for parameter in network.parameters():
                parameter.fill_(value)
    mean = average(networks, (0.75, 0.25))
    assert all((parameter == 0.25).all() for parameter in mean.parameters())
    assert all((parameter == 0).all() for parameter in networks[0].parameters())


def largest_inputs(network: ParagonSR2, picture: Tensor, name: str) -> list[float]:
    """The largest input of each block's layer ``name``: products for ``out``, and what LayerScale scales for ``scale``."""
    seen: list[float] = []
    handles = [
        getattr(block, name).register_forward_hook(
            lambda module, inputs, output: seen.append(float(inputs[0].detach().abs().max()))
        )
        for block in network.blocks()
    ]
    network(picture)
    for handle in handles:
        handle.remove()
    return seen
