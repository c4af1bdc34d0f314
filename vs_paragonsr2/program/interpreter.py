"""A program computed by NumPy, operation by operation: what it means, and what every backend is tested against.

Every value is made just as far as it is needed, so that all that comes from beyond the picture are the planes' repeated edges.
Only the features of a program that sees the whole picture are zero-padded, as in the network that it is made of.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .geometry import Geometry, place
from .operations import (
    Activation,
    Affine,
    ChannelAttention,
    Channels,
    Concatenation,
    Convolution,
    Keep,
    Margin,
    Operation,
    Planes,
    Product,
    Resample,
    RMSNorm,
    Round,
    Shuffle,
    Softmax,
    Sum,
    WindowAttention,
)
from .program import Program

Values = NDArray[np.floating[Any]]
"""(channels, rows, columns)."""

_erf = np.frompyfunc(math.erf, 1, 1)


def run(program: Program, planes: Sequence[NDArray[np.generic]], dtype: type[np.floating[Any]] = np.float64) -> list[Values]:
    """Compute a frame.

    Args:
        program: for whole pictures; not in bands.
        planes: of ``program.spec.inputs``, (rows, columns) each.
        dtype: of the arithmetic.

    Returns:
        The target's planes, (rows, columns) each; integers as numbers.
    """
    return [plane for group in compute(place(program), planes, {}, dtype) for plane in group]


def compute(
    geometry: Geometry,
    planes: Sequence[NDArray[np.generic]],
    kept: dict[Keep, Values],
    dtype: type[np.floating[Any]] = np.float64,
) -> list[Values]:
    """Compute a whole picture, or a band of one.

    Args:
        geometry: of a program of either kind.
        planes: as :func:`run` takes them, each of the shape that ``geometry.input_shapes`` says.
        kept: the rows that the band above has kept, in whose place those for the band below are put; before the first band of a
            picture any numbers of the right shape will do.
        dtype: of the arithmetic.

    Returns:
        The program's outputs.
    """
    values: dict[Operation, Values] = {}
    for operation in geometry.program.operations:
        if isinstance(operation, Planes):
            samples = np.stack([planes[index] for index in operation.indices]).astype(dtype)
            values[operation] = fit(samples, geometry.padding(operation).times(-1, -1), mode="edge")
            continue
        sources = [fit(values[source], geometry.cut(operation, source)) for source in operation.sources]
        if isinstance(operation, Keep):
            values[operation] = np.concatenate((kept[operation], *sources), 1)
            kept[operation] = values[operation][:, -geometry.kept(operation) :]
        else:
            values[operation] = _STEPS[type(operation)](operation, *sources)
    return [values[output] for output in geometry.program.outputs]


def fit(x: Values, cut: Margin, mode: str = "constant") -> Values:
    """Cut so many rows and columns off each side; where that is negative, pad with zeros or repeated edges (``mode``)."""
    top, left, bottom, right = cut
    x = x[:, max(top, 0) : x.shape[1] - max(bottom, 0), max(left, 0) : x.shape[2] - max(right, 0)]
    added = ((0, 0), (max(-top, 0), max(-bottom, 0)), (max(-left, 0), max(-right, 0)))
    return np.pad(x, added, mode=mode) if any(map(any, added)) else x  # type: ignore[call-overload]


def _affine(operation: Affine, x: Values) -> Values:
    zero, unit = (values.astype(x.dtype)[:, None, None] for values in (operation.zero, operation.unit))
    return (x - zero) * unit


def _resample(operation: Resample, x: Values) -> Values:
    weight = operation.filter.dense().astype(x.dtype)
    weight = weight.reshape(-1, 1, *weight.shape[2:])
    planes = [_convolve(plane[None], weight, operation.filter.step, 1, 1) for plane in x]
    return np.concatenate(planes) + x.dtype.type(operation.bias)


def _convolution(operation: Convolution, x: Values) -> Values:
    out = _convolve(x, operation.weight.astype(x.dtype), operation.step, operation.dilation, operation.groups)
    return out if operation.bias is None else out + operation.bias.astype(x.dtype)[:, None, None]


def _convolve(x: Values, weight: Values, step: tuple[int, int], dilation: int, groups: int) -> Values:
    outputs, _, rows, columns = weight.shape
    height, width = (
        (side - (taps - 1) * dilation - 1) // by + 1 for side, taps, by in zip(x.shape[1:], (rows, columns), step, strict=True)
    )
    x = x.reshape(groups, -1, *x.shape[1:])
    weight = weight.reshape(groups, outputs // groups, -1, rows, columns)
    out = np.zeros((groups, outputs // groups, height, width), x.dtype)
    for row in range(rows):
        for column in range(columns):
            top, left = row * dilation, column * dilation
            part = x[:, :, top : top + (height - 1) * step[0] + 1 : step[0], left : left + (width - 1) * step[1] + 1 : step[1]]
            out += (weight[..., row, column] @ part.reshape(groups, -1, height * width)).reshape(out.shape)
    return out.reshape(outputs, height, width)


def _activation(operation: Activation, x: Values) -> Values:
    match operation.kind:
        case "gelu":
            return gelu(x)
        case "hardswish":
            return x * np.clip(x + 3, 0, 6) / 6
        case "leaky_relu":
            return np.where(x < 0, x.dtype.type(operation.slope) * x, x)
        case "sigmoid":
            return sigmoid(x)


def gelu(x: Values) -> Values:
    """x * (1 + erf(x / sqrt(2))) / 2."""
    return x * (1 + np.asarray(_erf(x / math.sqrt(2)), x.dtype)) / 2


def sigmoid(x: Values) -> Values:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def _product(operation: Product, a: Values, b: Values) -> Values:
    product = a * b
    return product if operation.limit is None else product.clip(-operation.limit, operation.limit)


def _shuffle(operation: Shuffle, x: Values) -> Values:
    rows, columns = operation.factor
    channels, height, width = operation.channels, *x.shape[1:]
    x = x.reshape(channels, rows, columns, height, width).transpose(0, 3, 1, 4, 2)
    return x.reshape(channels, height * rows, width * columns)


def _rms_norm(operation: RMSNorm, x: Values) -> Values:
    scale, bias = (values.astype(x.dtype)[:, None, None] for values in (operation.scale, operation.bias))
    return x / np.sqrt(np.square(x).mean(0) + 1e-6) * scale + bias


def _softmax(x: Values, axis: int) -> Values:
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def _window_attention(operation: WindowAttention, x: Values) -> Values:
    side, shift, heads = operation.side, operation.shift, operation.heads
    channels, height, width = x.shape
    x = np.pad(x, ((0, 0), (0, -height % side), (0, -width % side)))
    x = np.roll(x, (-shift, -shift), (1, 2))
    down, across = x.shape[1] // side, x.shape[2] // side
    # (windows, pixels of a window, channels).
    x = x.reshape(channels, down, side, across, side).transpose(1, 3, 2, 4, 0).reshape(down * across, side * side, channels)
    qkv = x @ operation.qkv.T.astype(x.dtype) + operation.qkv_bias.astype(x.dtype)
    q, k, v = qkv.reshape(*qkv.shape[:2], 3, heads, channels // heads).transpose(2, 0, 3, 1, 4)
    x = (_softmax(q @ k.swapaxes(2, 3), 3) @ v).transpose(0, 2, 1, 3).reshape(x.shape)
    x = x @ operation.proj.T.astype(x.dtype) + operation.proj_bias.astype(x.dtype)
    x = x.reshape(down, across, side, side, channels).transpose(4, 0, 2, 1, 3).reshape(channels, down * side, across * side)
    return np.roll(x, (shift, shift), (1, 2))[:, :height, :width]


def _channel_attention(operation: ChannelAttention, x: Values) -> Values:
    reduce, expand, gain = (values.astype(x.dtype) for values in (operation.reduce, operation.expand, operation.gain))
    return x * (1 + gain * sigmoid(expand @ gelu(reduce @ x.mean((1, 2)))))[:, None, None]


_STEPS: dict[type[Operation], Callable[..., Values]] = {
    Affine: _affine,
    Resample: _resample,
    Convolution: _convolution,
    Activation: _activation,
    Product: _product,
    Sum: lambda operation, *parts: sum(parts[1:], parts[0]),
    Concatenation: lambda operation, *parts: np.concatenate(parts),
    Channels: lambda operation, x: x[operation.start : operation.start + operation.count],
    Shuffle: _shuffle,
    Round: lambda operation, x: x.round().clip(0, operation.peak),
    RMSNorm: _rms_norm,
    Softmax: lambda operation, x: _softmax(x, 0),
    WindowAttention: _window_attention,
    ChannelAttention: _channel_attention,
}
