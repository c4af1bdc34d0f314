"""Keeping a network's features within what half precision holds, whatever picture comes.

Photographs never show what a product of features does with white noise or a chequered area, and half precision ends at 65,504. So a
small picture of such goes through the network now and then, and what exceeds a limit there is made part of the loss.
"""

import math
from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from ..network import ParagonSR2
from ..network.layers import LayerScale
from ..network.stream.block import StreamBlock
from .drawings import pixel_mask

SIDE = 48
"""Of such a picture in pixels: much less than a batch, and little less than what a pixel of Stream sees."""


def harsh_picture(rng: np.random.Generator, side: int = SIDE, beyond: float = 0.75) -> Tensor:
    """(1, 3, side, side): black and white pixels, or such of the eight pure colours, in a pattern or at random.

    Black can be as low as ``-beyond`` and white as high as ``1 + beyond``: YUV holds such.
    """
    count = int(rng.choice((1, 3)))
    masks = rng.random((count, side, side)) < 0.5 if rng.random() < 0.5 else [pixel_mask(side, rng) for _ in range(count)]
    pixels = np.asarray(masks, np.float32)[None]
    least, most = -rng.uniform(0, beyond), 1 + rng.uniform(0, beyond)
    return torch.from_numpy(pixels * np.float32(most - least) + np.float32(least)).expand(1, 3, side, side)


def excess(network: ParagonSR2, picture: Tensor, limit: float) -> Tensor:
    """How far values exceed ``limit``: the mean of log(|value| / limit) where that is positive, over all that the layers behind
    ``conv_in`` read and write."""
    seen: list[Tensor] = []
    layers = [module for part in (network.body, network.conv_mid, network.up) for module in part.modules()]
    handles = [
        layer.register_forward_hook(lambda module, inputs, output: seen.extend((inputs[0], output)))
        for layer in layers
        if isinstance(layer, nn.Conv2d)
    ]
    try:
        network(picture)
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack([(values.abs() / limit).clamp_min(1).log().mean() for values in seen]).mean()


@torch.no_grad()
def balance(network: ParagonSR2, limit: float, pictures: int = 48, side: int = 96) -> None:
    """Give Stream's products, and what its LayerScales scale, the range below ``limit`` for harsh pictures, in place.

    One factor of a product gets smaller by a power of two and the convolution behind it larger, and likewise that convolution and
    its LayerScale: so not even a rounding differs in float32, save where the block clamps the product.
    """
    rng = np.random.default_rng(0)
    noise = torch.cat([harsh_picture(rng, side, beyond=0) for _ in range(pictures)]).to(network.conv_in.weight)
    features = network.conv_in(noise)
    for block in network.blocks():
        if isinstance(block, StreamBlock):
            a, b = block.factors(features)
            product = a * b
            before = _shift(product, limit)
            behind = _shift(block.out(product), limit) if isinstance(block.scale, LayerScale) else 0
            _move(block, before, behind)
        features = block(features)


@torch.no_grad()
def average(networks: Sequence[ParagonSR2], shares: Sequence[float]) -> ParagonSR2:
    """The mean of networks' weights in these shares, for networks that were trained on from the same weights.

    What :func:`balance` did to each of them is taken back as far as it differs from what it did to the first.
    """
    mean = deepcopy(networks[0])
    others = [_like(mean, network) for network in networks[1:]]
    states = [network.state_dict() for network in (networks[0], *others)]
    for name, tensor in mean.state_dict().items():
        tensor.copy_(sum(share * state[name].double() for share, state in zip(shares, states, strict=True)))
    return mean


def _like(first: ParagonSR2, network: ParagonSR2) -> ParagonSR2:
    """A copy of ``network`` with Stream's blocks balanced as those of ``first``."""
    network = deepcopy(network)
    for model, block in zip(first.blocks(), network.blocks(), strict=True):
        if isinstance(model, StreamBlock) and isinstance(block, StreamBlock):
            half = block.gate.out_channels // 2
            before = _times(block.gate.weight[:half], model.gate.weight[:half])
            behind = 0
            if isinstance(model.scale, LayerScale) and isinstance(block.scale, LayerScale):
                behind = _times(model.scale.gamma, block.scale.gamma)
            _move(block, before, behind)
    return network


def _move(block: StreamBlock, before: int, behind: int) -> None:
    """Halve a block's product ``before`` times, and what its LayerScale scales ``behind`` times, for the same result."""
    half = block.gate.out_channels // 2
    assert block.gate.bias is not None and block.out.bias is not None
    block.gate.weight[:half] *= 2.0**-before
    block.gate.bias[:half] *= 2.0**-before
    block.out.weight *= 2.0 ** (before - behind)
    block.out.bias *= 2.0**-behind
    if isinstance(block.scale, LayerScale):
        block.scale.gamma.mul_(2.0**behind)


def _times(values: Tensor, model: Tensor) -> int:
    """How often values have to be halved to be about as large as those of ``model``."""
    return round(math.log2(float(values.norm() / model.norm())))


def _shift(values: Tensor, limit: float) -> int:
    """How often the values have to be halved to be below the limit."""
    return max(0, math.ceil(math.log2(max(float(values.abs().max()) / limit, 1))))
