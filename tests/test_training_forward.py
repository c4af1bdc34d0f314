"""The forward pass for training on a CPU against the network itself."""

import numpy as np
import pytest
import torch
from conftest import golden
from plain import random_network
from test_training_span import largest_inputs, network_of_large_products
from torch import Tensor

from vs_paragonsr2 import load_network
from vs_paragonsr2.network import VARIANTS, ParagonSR2
from vs_paragonsr2.network.stream import PRODUCT_LIMIT
from vs_paragonsr2.network.variant import BlockOptions
from vs_paragonsr2.training.forward import training_forward
from vs_paragonsr2.training.span import harsh_picture

CPU = torch.device("cpu")


def gradients(network: ParagonSR2, out: Tensor) -> dict[str, Tensor]:
    """The gradients of a sum of all samples except the outermost pixels, each with another weight."""
    s = network.scale
    inner = out[..., s:-s, s:-s]
    network.zero_grad()
    (inner * torch.linspace(-1, 2, inner.numel(), dtype=inner.dtype).view_as(inner)).sum().backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def channels_last(*shape: int) -> Tensor:
    x = torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return x.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("side", [18, 20])  # the dilated convolution is done another way where 3 divides the sides
@pytest.mark.parametrize(
    "name",
    ["realtime_x2", "realtime_x4", "stream_x2", "stream_x4", "v10_realtime_x2", "v10_stream_x2", "photo", "pro without attention"],
)
def test_the_forward_pass_is_the_networks(name: str, side: int) -> None:
    network = load_network(golden(name)) if "_x" in name else random_network(name, 2, blocks=2)
    assert isinstance(network, ParagonSR2)
    network = network.double().to(memory_format=torch.channels_last)
    for parameter in [*network.conv_in.parameters(), *network.body.parameters(), *network.up.parameters()]:
        parameter.requires_grad_(True)
    for parameter in [*network.conv_mid.parameters(), *network.conv_out.parameters(), network.detail_gain]:
        parameter.requires_grad_(True)
    x, s = channels_last(2, 3, side, side), network.scale
    fast = training_forward(network, CPU)
    assert fast is not network
    plain, quick = network(x), fast(x)
    torch.testing.assert_close(quick[..., s:-s, s:-s], plain[..., s:-s, s:-s], rtol=0, atol=1e-10)
    expected, found = gradients(network, network(x)), gradients(network, fast(x))
    assert expected.keys() == found.keys() and len(found) > 10
    rounding = 1e-14 * max(float(gradient.abs().max()) for gradient in expected.values())  # some gradients are no more than that
    for key, gradient in expected.items():
        atol = max(rounding, 1e-9 * float(gradient.abs().max()))
        torch.testing.assert_close(found[key], gradient, rtol=1e-8, atol=atol, msg=key)


@pytest.mark.parametrize("side", [9, 10])
@pytest.mark.parametrize("version", [10, 11])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_block_computes_the_same_in_training_on_a_cpu(variant: str, version: int, side: int) -> None:
    """Up to the border, gradients included."""
    torch.manual_seed(0)
    spec = VARIANTS[variant]
    block = spec.block(BlockOptions(channels=spec.features, version=version, attention="sdpa", shifted=True)).double()
    for parameter in block.parameters():
        parameter.data.normal_(0, 0.3)
    found = []
    for forward in (block.forward, block.forward_on_cpu):
        x = channels_last(2, spec.features, side, side).requires_grad_()
        out = forward(x)
        block.zero_grad()
        (out * torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
        found.append([out.detach(), x.grad, *(p.grad.clone() for p in block.parameters() if p.grad is not None)])
    assert len(found[0]) > 7
    for plain, quick in zip(*found, strict=True):
        torch.testing.assert_close(quick, plain, rtol=1e-10, atol=1e-10 * float(plain.abs().max()))


def test_products_beyond_half_precision_are_clamped_as_in_the_network() -> None:
    """Else a mean of weights, or a stretched patch, can overflow, and no step leads on from there."""
    network = network_of_large_products(3e3, 1e-3).double().to(memory_format=torch.channels_last)
    picture = harsh_picture(np.random.default_rng(0)).double()
    with torch.inference_mode():
        assert max(largest_inputs(network, picture, "out")) == PRODUCT_LIMIT
        plain, quick = (run(picture)[..., 2:-2, 2:-2] for run in (network, training_forward(network, CPU)))
    torch.testing.assert_close(quick, plain, rtol=0, atol=1e-6 * float(plain.abs().max()))


def test_what_is_computed_again_and_other_devices_keep_the_networks_own() -> None:
    saving = ParagonSR2("stream", 2, use_checkpointing=True)
    assert training_forward(saving, CPU) is saving
    stream = ParagonSR2("stream", 2)
    assert training_forward(stream, torch.device("cuda")) is stream
