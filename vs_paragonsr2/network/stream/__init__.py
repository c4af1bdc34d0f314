"""Stream (Tiny): two depthwise scales, fused, then a product of two halves as the nonlinearity."""

from typing import TYPE_CHECKING

from ...program.operations import Operation, Sum
from ..folding import Shapes, Tensors, convolve, convolved, layer, layer_scale, product_of_halves, scaled
from ..variant import BlockOptions, Variant
from .legacy import LEGACY

if TYPE_CHECKING:
    from .block import StreamBlock

PRODUCT_LIMIT = 65504.0
"""Absolute value that products are clamped to from version 11 on: the largest number of float16."""


def _shapes(options: BlockOptions) -> Shapes:
    channels, hidden = options.channels, 2 * options.channels
    found = layer("dw1", channels, 1, 3, 3) | layer("dw3", channels, 1, 3, 3) | layer("fuse", channels, 2 * channels, 1, 1)
    found |= layer("proj", 2 * hidden, channels, 1, 1) | layer("gate", 2 * hidden, 1, 3, 3) | layer("out", channels, hidden, 1, 1)
    return found | (layer_scale("scale", channels) if options.version == 11 else {})


def _fold(x: Operation, tensors: Tensors, shifted: bool) -> Operation:
    """The concatenation and the split, both of which copy all features, are avoided by splitting the layers around them."""
    channels = x.channels
    fuse = tensors["fuse.weight"]
    near = convolve(convolved(x, tensors, "dw1"), fuse[:, :channels], tensors["fuse.bias"])
    far = convolve(convolved(x, tensors, "dw3", dilation=3), fuse[:, channels:], None)
    limit = PRODUCT_LIMIT if "scale.gamma" in tensors else None
    product = product_of_halves(Sum(sources=(near, far)), tensors, "proj", "gate", limit)
    return Sum(sources=(x, scaled(product, tensors, "out", "scale")))


def _block(options: BlockOptions) -> "StreamBlock":
    from .block import StreamBlock

    return StreamBlock(options)


VARIANT = Variant(
    name="stream",
    features=32,
    groups=2,
    blocks=3,
    detail_gain=0.1,
    alpha=0.0,
    recognises=lambda names: {"gate.weight", "dw3.weight"} <= names,
    shapes=_shapes,
    fold=_fold,
    block=_block,
    legacy=LEGACY,
)
