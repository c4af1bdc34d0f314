"""From a checkpoint's tensors to operations: what the folds of the variants are written with. NumPy alone."""

from collections.abc import Mapping

from ..program.colour import Array
from ..program.operations import Activation, Convolution, Operation, Product, RMSNorm, Sum

type Tensors = Mapping[str, Array]
"""A checkpoint's tensors by name, float64."""

type Shapes = dict[str, tuple[int, ...]]
"""Shapes of tensors by name."""


def under(tensors: Tensors, prefix: str) -> Tensors:
    """The tensors whose names begin with ``prefix`` and a dot, by the rest of their names."""
    return {name.removeprefix(f"{prefix}."): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}


def prefixed(prefix: str, shapes: Shapes) -> Shapes:
    """The same shapes under longer names."""
    return {f"{prefix}.{name}": shape for name, shape in shapes.items()}


def layer(name: str, outputs: int, inputs: int, *kernel: int, bias: bool = True) -> Shapes:
    """The shapes of a convolution's tensors, with a kernel (rows, columns), or without one of a linear layer's."""
    return {f"{name}.weight": (outputs, inputs, *kernel)} | ({f"{name}.bias": (outputs,)} if bias else {})


def layer_scale(name: str, channels: int) -> Shapes:
    """The shape of a LayerScale: a learned gain for each channel."""
    return {f"{name}.gamma": (1, channels, 1, 1)}


def rms_norm(name: str, channels: int) -> Shapes:
    """The shapes of a root-mean-square normalisation."""
    return {f"{name}.scale": (channels, 1, 1), f"{name}.bias": (channels, 1, 1)}


def convolve(x: Operation, weight: Array, bias: Array | None, *, dilation: int = 1) -> Convolution:
    """A convolution whose output is as large as its input, in groups where the weight has fewer inputs than ``x`` has channels."""
    rows, columns = weight.shape[2:]
    first = (-(rows // 2) * dilation, -(columns // 2) * dilation)
    groups = x.channels // weight.shape[1]
    return Convolution(sources=(x,), weight=weight, bias=bias, first=first, dilation=dilation, groups=groups)


def convolved(x: Operation, tensors: Tensors, name: str, *, dilation: int = 1) -> Convolution:
    """The convolution that a checkpoint has under a name."""
    return convolve(x, tensors[f"{name}.weight"], tensors.get(f"{name}.bias"), dilation=dilation)


def scaled(x: Operation, tensors: Tensors, name: str, scale: str) -> Convolution:
    """The convolution that a checkpoint has under a name, times the LayerScale that it has under another, if it has it."""
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    gamma = tensors.get(f"{scale}.gamma")
    if gamma is None:
        return convolve(x, weight, bias)
    return convolve(x, weight * gamma.reshape(-1, 1, 1, 1), bias * gamma.flatten())


def bottleneck(x: Operation, inner: Operation, tensors: Tensors, scale: str) -> Sum:
    """x + scale(conv2(gelu(dw(conv1(inner))))), the inverted bottleneck of three variants.

    conv1 and dw stay two layers: for Realtime, one 3x3 convolution in their place would cost 4,608 multiply-adds a pixel, not 800.
    (Measured on one core with AVX-512, OpenVINO, C = 16: 83 against 20 ns a pixel in float32, 43 against 14 in bfloat16.)
    """
    hidden = convolved(convolved(inner, tensors, "conv1"), tensors, "dw")
    return Sum(sources=(x, scaled(Activation(sources=(hidden,), kind="gelu"), tensors, "conv2", scale)))


def product_of_halves(x: Operation, tensors: Tensors, proj: str, gate: str, limit: float | None) -> Product:
    """The product of the two halves of ``gate(proj(x))``, clamped to the limit; each half is computed by layers of its own."""
    halves = []
    for half in (0, 1):
        part = {name: _half(tensors[name], half) for layer in (proj, gate) for name in (f"{layer}.weight", f"{layer}.bias")}
        halves.append(convolved(convolved(x, part, proj), part, gate))
    return Product(sources=tuple(halves), limit=limit)


def _half(values: Array, half: int) -> Array:
    count = len(values) // 2
    return values[half * count : (half + 1) * count]


def normalised(x: Operation, tensors: Tensors, name: str) -> RMSNorm:
    """The normalisation that a checkpoint has under a name."""
    return RMSNorm(sources=(x,), scale=tensors[f"{name}.scale"].flatten(), bias=tensors[f"{name}.bias"].flatten())
