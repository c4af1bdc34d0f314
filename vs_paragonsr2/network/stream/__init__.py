"""Stream (Tiny): two depthwise scales, fused, then a product of two halves as the nonlinearity."""

from ...program.colour import Array
from ...program.operations import Operation, Product, Sum
from ..folding import Shapes, Tensors, convolve, convolved, layer, layer_scale, scaled
from ..variant import Variant

PRODUCT_LIMIT = 65504.0
"""What products are clamped to: float16's largest number."""


def _shapes(channels: int, attention: bool, with_layer_scale: bool) -> Shapes:
    hidden = 2 * channels
    found = layer("dw1", channels, 1, 3, 3) | layer("dw3", channels, 1, 3, 3) | layer("fuse", channels, 2 * channels, 1, 1)
    found |= layer("proj", 2 * hidden, channels, 1, 1) | layer("gate", 2 * hidden, 1, 3, 3) | layer("out", channels, hidden, 1, 1)
    return found | (layer_scale("scale", channels) if with_layer_scale else {})


def _fold(x: Operation, tensors: Tensors, shifted: bool) -> Operation:
    """Without the concatenation and the split, both of which copy all features: the layers about them are split."""
    channels = x.channels
    fuse = tensors["fuse.weight"]
    near = convolve(convolved(x, tensors, "dw1"), fuse[:, :channels], tensors["fuse.bias"])
    far = convolve(convolved(x, tensors, "dw3", dilation=3), fuse[:, channels:], None)
    limit = PRODUCT_LIMIT if "scale.gamma" in tensors else None
    return Sum(sources=(x, scaled(gated(Sum(sources=(near, far)), tensors, "proj", "gate", limit), tensors, "out", "scale")))


def gated(x: Operation, tensors: Tensors, proj: str, gate: str, limit: float | None) -> Product:
    """The product of the two halves of ``gate(proj(x))``, each half by layers of its own."""
    halves = []
    for half in (0, 1):
        part = {name: _half(tensors[name], half) for layer in (proj, gate) for name in (f"{layer}.weight", f"{layer}.bias")}
        halves.append(convolved(convolved(x, part, proj), part, gate))
    return Product(sources=tuple(halves), limit=limit)


def _half(values: Array, half: int) -> Array:
    count = len(values) // 2
    return values[half * count : (half + 1) * count]


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
)
