"""Keeping a network's features within what half precision holds, whatever picture comes.

Photographs never show what a product of features does with white noise or a chequered area, and half precision ends at 65,504. So
now and then a small picture of that kind goes through the network, and what exceeds a limit is made part of the loss.
"""

import math
from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from ..network import ParagonSR2
from ..network.block import Nonlinearity
from ..network.layers import LayerScale
from .drawings import pixel_mask

SIDE = 48
"""Side of such a picture in pixels: it costs much less than a batch, and a pixel of Stream sees little more."""


def harsh_picture(rng: np.random.Generator, side: int = SIDE, beyond: float = 0.75) -> Tensor:
    """A picture (1, 3, side, side) of black and white pixels, or of pixels in the eight pure colours, in a pattern or at random.

    Black is 0 or as low as ``-beyond`` and white 1 or as high as ``1 + beyond``, since YUV holds such colours.
    """
    count = int(rng.choice((1, 3)))
    masks = rng.random((count, side, side)) < 0.5 if rng.random() < 0.5 else [pixel_mask(side, rng) for _ in range(count)]
    pixels = np.asarray(masks, np.float32)[None]
    least, most = -rng.uniform(0, beyond), 1 + rng.uniform(0, beyond)
    return torch.from_numpy(pixels * np.float32(most - least) + np.float32(least)).expand(1, 3, side, side)


def excess(network: ParagonSR2, picture: Tensor, limit: float) -> Tensor:
    """How far values exceed ``limit``: the mean of max(0, log(|value| / limit)).

    It is the mean over all inputs and outputs of the convolutions behind ``conv_in``, each of which counts the same.
    """
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
    """Bring products of features, and what the LayerScales behind them scale, below ``limit`` for harsh pictures, in place.

    The first factor of a product becomes smaller by a power of two, and the convolution behind it as much larger; in the same way,
    that convolution becomes smaller and its LayerScale larger. So in float32 not even the rounding differs, except where a block
    clamps the product. Blocks without a product stay as they are.
    """
    rng = np.random.default_rng(0)
    noise = torch.cat([harsh_picture(rng, side, beyond=0) for _ in range(pictures)]).to(network.conv_in.weight)
    features = network.conv_in(noise)
    for block in network.blocks():
        layers = block.nonlinearity
        if layers.is_product:
            a, b = block.pre_activations(features).chunk(2, 1)
            product = a * b
            before = _halvings(product, limit)
            behind = _halvings(layers.after(product), limit) if isinstance(layers.scale, LayerScale) else 0
            _halve(layers, before, behind)
        features = block(features)


@torch.no_grad()
def average(networks: Sequence[ParagonSR2], shares: Sequence[float]) -> ParagonSR2:
    """The mean of the weights of several networks in these shares. The networks went on from the same weights.

    They may have been balanced differently: what :func:`balance` did to each is replaced by what it did to the first.
    """
    mean = deepcopy(networks[0])
    others = [_like(mean, network) for network in networks[1:]]
    states = [network.state_dict() for network in (networks[0], *others)]
    for name, tensor in mean.state_dict().items():
        tensor.copy_(sum(share * state[name].double() for share, state in zip(shares, states, strict=True)))
    return mean


def _like(first: ParagonSR2, network: ParagonSR2) -> ParagonSR2:
    """A copy of ``network`` whose products are balanced as those of ``first``."""
    network = deepcopy(network)
    for model, layers in zip(*([block.nonlinearity for block in net.blocks()] for net in (first, network)), strict=True):
        if layers.is_product:
            half = layers.before.out_channels // 2
            before = _halvings_to(layers.before.weight[:half], model.before.weight[:half])
            behind = 0
            if isinstance(model.scale, LayerScale) and isinstance(layers.scale, LayerScale):
                behind = _halvings_to(model.scale.gamma, layers.scale.gamma)
            _halve(layers, before, behind)
    return network


def _halve(layers: Nonlinearity, before: int, behind: int) -> None:
    """Halve a product ``before`` times, and what the LayerScale behind it scales ``behind`` times, for the same result."""
    half = layers.before.out_channels // 2
    assert layers.before.bias is not None and layers.after.bias is not None
    layers.before.weight[:half] *= 2.0**-before
    layers.before.bias[:half] *= 2.0**-before
    layers.after.weight *= 2.0 ** (before - behind)
    layers.after.bias *= 2.0**-behind
    if isinstance(layers.scale, LayerScale):
        layers.scale.gamma.mul_(2.0**behind)


def _halvings_to(values: Tensor, model: Tensor) -> int:
    """How often the values have to be halved to be about as large as those of ``model``."""
    return round(math.log2(float(values.norm() / model.norm())))


def _halvings(values: Tensor, limit: float) -> int:
    """How often the values have to be halved to be below the limit."""
    return max(0, math.ceil(math.log2(max(float(values.abs().max()) / limit, 1))))
