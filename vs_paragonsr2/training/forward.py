"""The network's forward pass for training on a CPU: the same function and the same parameters, in half the time.

What takes the time on a CPU are not the multiply-adds but the ways that PyTorch goes for some layers:

* 1x1 convolutions of many channels-last pixels are matrix products, and faster when they are called so;
* the gradient of a dilated depthwise convolution takes ten times that of one without dilation, which it is on every third pixel;
* the last upsampling convolution, pixel shuffle and ``conv_out`` are linear: their product, made anew from the parameters at each
  step, is one 5x5 convolution, and the F channels at the high resolution are never made.

Gradients flow through the product to the parameters themselves. Only the outermost pixel of the low resolution differs, where the
network pads its features at the high resolution with zeros and the product does not.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..network import ParagonSR2
from ..network.realtime.block import NanoBlock
from ..network.stream.block import StreamBlock
from ..program.polyphase import IDENTITY
from ..program.tails import behind_shuffle, tail_product

DILATION = 3
"""Of StreamBlock's second depthwise convolution."""


def training_forward(network: ParagonSR2, device: torch.device) -> Callable[[Tensor], Tensor]:
    """The fastest way from (N, 3, H, W) to (N, 3, H * scale, W * scale) that there is for this network on this device."""
    if device.type != "cpu" or not all(type(block) in STEPS for block in network.blocks()):
        return network

    axis = behind_shuffle(IDENTITY, network.scale)

    def forward(x: Tensor) -> Tensor:
        features = network.conv_in(x)
        for block in network.blocks():
            features = STEPS[type(block)](block, features)
        with torch.autocast(device.type, enabled=False):
            weight, bias = _tail(network, torch.from_numpy(axis.taps).to(x))
        # 5x5 taps about each pixel.
        detail = F.conv2d(network.conv_mid(features), weight, bias, padding=2)
        return network.base(x) + F.pixel_shuffle(detail, network.scale)

    return forward


def _tail(network: ParagonSR2, taps: Tensor) -> tuple[Tensor, Tensor]:
    """The last upsampling convolution, the shuffle and ``conv_out`` as weight and bias of one convolution before the shuffle."""
    up, out = network.up[0], network.conv_out
    assert isinstance(up, nn.Conv2d) and out.bias is not None
    weight, bias = tail_product(torch, up.weight, up.bias, network.detail_gain * out.weight, taps, taps)
    return weight.flatten(0, 2), (bias + (network.detail_gain * out.bias)[:, None, None]).flatten()


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A 1x1 convolution of a channels-last tensor."""
    return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)


def _nano(block: NanoBlock, x: Tensor) -> Tensor:
    hidden = F.gelu(block.dw(_pointwise(x, block.conv1.weight, block.conv1.bias)))
    return x + block.scale(_pointwise(hidden, block.conv2.weight, block.conv2.bias))


def _stream(block: StreamBlock, x: Tensor) -> Tensor:
    near, far = block.fuse.weight.chunk(2, 1)
    context = _pointwise(block.dw1(x), near, block.fuse.bias) + _pointwise(_dilated(block.dw3, x), far, None)
    halves = []
    for layers in zip(*(layer.weight.chunk(2) for layer in (block.proj, block.gate)), *_biases(block), strict=True):
        proj, gate, proj_bias, gate_bias = layers
        hidden = _pointwise(context, proj, proj_bias)
        halves.append(F.conv2d(hidden, gate, gate_bias, padding=1, groups=len(gate)))
    return x + block.scale(_pointwise(block.product(*halves), block.out.weight, block.out.bias))


def _biases(block: StreamBlock) -> list[tuple[Tensor, ...]]:
    assert block.proj.bias is not None and block.gate.bias is not None
    return [block.proj.bias.chunk(2), block.gate.bias.chunk(2)]


def _dilated(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A depthwise convolution of dilation 3 as one without on each of the nine pictures of every third row and column."""
    n, channels, height, width = x.shape
    d = DILATION
    if height % d or width % d:
        return layer(x)
    rows, columns = height // d, width // d
    apart = x.permute(0, 2, 3, 1).reshape(n, rows, d, columns, d, channels).permute(0, 2, 4, 1, 3, 5)
    apart = apart.reshape(n * d * d, rows, columns, channels).permute(0, 3, 1, 2)
    apart = F.conv2d(apart, layer.weight, layer.bias, padding=1, groups=channels)
    together = apart.permute(0, 2, 3, 1).reshape(n, d, d, rows, columns, channels).permute(0, 3, 1, 4, 2, 5)
    return together.reshape(n, height, width, channels).permute(0, 3, 1, 2)


STEPS: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {NanoBlock: _nano, StreamBlock: _stream}
"""What does the work of each kind of block."""
