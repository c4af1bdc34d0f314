"""Photo's operations, and the constants that all are made with."""

from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset15 as opset

from ...program.operations import RMSNorm, WindowAttention
from .gelu import number


def constant(values: NDArray[Any]) -> ov.Node:
    """Weights, float32."""
    return opset.constant(np.ascontiguousarray(values, np.float32))


def per_channel(values: NDArray[Any]) -> ov.Node:
    """A number for each channel of (1, C, H, W)."""
    return constant(values.reshape(1, -1, 1, 1))


def rms_norm(operation: RMSNorm, x: ov.Node) -> ov.Node:
    """The normalisation of (1, C, H, W)."""
    square = opset.reduce_mean(opset.multiply(x, x), np.array([1]), True)
    x = opset.divide(x, opset.sqrt(opset.add(square, number(1e-6))))
    return opset.add(opset.multiply(x, per_channel(operation.scale)), per_channel(operation.bias))


def window_attention(operation: WindowAttention, x: ov.Node) -> ov.Node:
    """The attention of (1, C, H, W), as matrix products and a softmax."""
    side, shift, heads = operation.side, operation.shift, operation.heads
    _, channels, height, width = x.shape
    if height % side or width % side:
        x = opset.pad(x, [0, 0, 0, 0], [0, 0, -height % side, -width % side], "constant", number(0))
    x = opset.transpose(x, [0, 2, 3, 1])
    if shift:
        x = opset.roll(x, [-shift, -shift], [1, 2])
    rows, columns = x.shape[1] // side, x.shape[2] // side
    windows, pixels = rows * columns, side * side
    x = opset.transpose(opset.reshape(x, [rows, side, columns, side, channels], False), [0, 2, 1, 3, 4])
    x = _linear(opset.reshape(x, [windows, pixels, channels], False), operation.qkv, operation.qkv_bias)
    x = opset.transpose(opset.reshape(x, [windows, pixels, 3, heads, channels // heads], False), [2, 0, 3, 1, 4])
    q, k, v = (opset.squeeze(part, [0]) for part in opset.split(x, 0, 3).outputs())
    x = opset.matmul(opset.softmax(opset.matmul(q, k, False, True), 3), v, False, False)
    x = opset.reshape(opset.transpose(x, [0, 2, 1, 3]), [windows, pixels, channels], False)
    x = _linear(x, operation.proj, operation.proj_bias)
    x = opset.transpose(opset.reshape(x, [rows, columns, side, side, channels], False), [0, 2, 1, 3, 4])
    x = opset.reshape(x, [1, rows * side, columns * side, channels], False)
    if shift:
        x = opset.roll(x, [shift, shift], [1, 2])
    return opset.transpose(opset.slice(x, [0, 0], [height, width], [1, 1], [1, 2]), [0, 3, 1, 2])


def _linear(x: ov.Node, weight: NDArray[Any], bias: NDArray[Any]) -> ov.Node:
    return opset.add(opset.matmul(x, constant(weight), False, True), constant(bias))
