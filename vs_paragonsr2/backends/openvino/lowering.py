"""Programs in OpenVINO's own operations: no converter, and nothing but NumPy besides."""

from collections.abc import Callable
from functools import reduce
from math import prod
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset15 as opset

from ...program.colour import PlaneFormat
from ...program.geometry import Geometry
from ...program.operations import (
    NO_MARGIN,
    Activation,
    Affine,
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
from ...support.errors import ParagonSR2Error
from .attention import constant, per_channel, rms_norm, window_attention
from .gelu import coarse_gelu, number


def lower(geometry: Geometry, precision: str) -> ov.Model:
    """The program of a geometry as a model of OpenVINO's.

    The model takes the planes that a session is given, (1, 1, rows, columns) each, of the shapes that the geometry says: uint8;
    int16 with the bits of unsigned samples of 9 to 16 bits; floats. It gives each output of the program as cells with their samples
    last, (1, cells of the rows, cells of the columns, planes * rows * columns of a cell), as a convolution with its channels last
    leaves them: to copy cells into a frame costs a host less than to shuffle pixels costs a runtime. What a band keeps for the band
    below stays with the inference request.

    With ``"f16"`` there is one output more: 0, or no number where a sample was not finite before it was rounded; afterwards nobody
    can tell. (bf16 has the range of f32.)

    Raises:
        ParagonSR2Error: the program has an operation that is not lowered here.
    """
    return _Lowering(geometry, precision).model()


class _Lowering:
    def __init__(self, geometry: Geometry, precision: str) -> None:
        self.program, self.geometry, self.precision = geometry.program, geometry, precision
        self.parameters: list[ov.Node] = []
        self.planes: list[ov.Node] = []
        self.sinks: list[ov.Node] = []
        self.flags: list[ov.Node] = []
        self.values: dict[Operation, ov.Node] = {}

    def model(self) -> ov.Model:
        self._take_planes()
        ends = [output.source if isinstance(output, Shuffle) else output for output in self.program.outputs]
        for operation in self.program.operations:
            # The last shuffle is the host's.
            if operation not in self.program.outputs or operation in ends:
                self.values[operation] = self._value(operation)
        results = [self._result(self.values[end], end) for end in ends]
        if self.flags:
            results.append(opset.result(reduce(opset.add, self.flags)))
        return ov.Model(results, self.sinks, self.parameters, "program")

    def _take_planes(self) -> None:
        """Parameters in the order in which a session is given planes, and their samples as float32."""
        for plane, shape in zip(self.program.spec.input_planes, self.geometry.input_shapes, strict=True):
            parameter = opset.parameter([1, 1, *shape], _storage_type(plane.format))
            self.parameters.append(parameter)
            self.planes.append(_widened(parameter, plane.format))

    def _value(self, operation: Operation) -> ov.Node:
        if isinstance(operation, Planes):
            planes = [self.planes[index] for index in operation.indices]
            return _padded(planes[0] if len(planes) == 1 else opset.concat(planes, 1), self.geometry.padding(operation))
        if isinstance(operation, Keep):
            return self._kept(operation)
        sources = [_cut(self.values[source], self.geometry.cut(operation, source)) for source in operation.sources]
        if isinstance(operation, Round) and self.precision == "f16":
            self._watch(sources[0])
        if isinstance(operation, Resample):
            return _resampled(operation, sources[0], dense=self.precision != "f32")
        if isinstance(operation, Convolution):
            return _convolved(operation, sources[0], self.geometry.cut(operation, operation.source))
        if isinstance(operation, Activation) and operation.kind == "gelu" and self.precision == "bf16":
            return coarse_gelu(sources[0])
        if type(operation) not in _STEPS:
            raise ParagonSR2Error(f"backend is 'openvino', which has no {type(operation).__name__}: expected 'reference'")
        return _STEPS[type(operation)](operation, *sources)

    def _kept(self, keep: Keep) -> ov.Node:
        """The rows that the band above has kept and then those of this one, of which the lowest ones are kept in turn."""
        rows, (height, columns) = self.geometry.kept(keep), self.geometry.size(keep)
        name = f"kept{len(self.sinks)}"
        shape = [1, keep.channels, rows, columns]
        before = opset.read_value(opset.constant(np.zeros(shape, np.float32)), name, ov.Type.f32, ov.PartialShape(shape))
        whole = opset.concat([before, _cut(self.values[keep.source], self.geometry.cut(keep, keep.source))], 2)
        self.sinks.append(opset.assign(_slice(whole, 2, height - rows, height), name))
        return whole

    def _result(self, samples: ov.Node, end: Operation) -> ov.Node:
        target = self.program.spec.target
        if target.is_float and self.precision == "f16":
            self._watch(samples)
        return opset.result(opset.transpose(_narrowed(samples, target), [0, 2, 3, 1]))

    def _watch(self, samples: ov.Node) -> None:
        nothing = opset.multiply(samples, number(0.0))
        self.flags.append(opset.reduce_sum(nothing, np.array([0, 1, 2, 3])))


def _storage_type(fmt: PlaneFormat) -> ov.Type:
    """What a model takes or gives for samples of a format."""
    if fmt.is_float:
        return ov.Type.f16 if fmt.bits == 16 else ov.Type.f32
    return ov.Type.u8 if fmt.bits == 8 else ov.Type.i16


def _widened(plane: ov.Node, fmt: PlaneFormat) -> ov.Node:
    """Samples as they lie in memory as numbers."""
    samples = plane if plane.get_element_type() == ov.Type.f32 else opset.convert(plane, ov.Type.f32)
    if not fmt.is_float and fmt.bits == 16:
        samples = opset.select(opset.less(samples, number(0)), opset.add(samples, number(65536)), samples)
    return samples


def _narrowed(samples: ov.Node, fmt: PlaneFormat) -> ov.Node:
    """Rounded and clamped numbers as samples that lie in memory."""
    if not fmt.is_float and fmt.bits == 16:
        samples = opset.select(opset.greater(samples, number(32767)), opset.subtract(samples, number(65536)), samples)
    return samples if _storage_type(fmt) == ov.Type.f32 else opset.convert(samples, _storage_type(fmt))


def _slice(x: ov.Node, axis: int, start: int, stop: int) -> ov.Node:
    return opset.slice(x, [start], [stop], [1], [axis])


def _cut(x: ov.Node, cut: Margin) -> ov.Node:
    """Cut so many rows and columns off each side of (1, C, H, W) where they are positive."""
    for axis, before, after in ((2, cut.top, cut.bottom), (3, cut.left, cut.right)):
        if before > 0 or after > 0:
            x = _slice(x, axis, max(before, 0), x.shape[axis] - max(after, 0))
    return x


def _padded(x: ov.Node, padding: Margin) -> ov.Node:
    """Repeat the edges of (1, C, H, W) so often on each side; where it is negative, cut samples off."""
    x = _cut(x, padding.times(-1, -1))
    top, left, bottom, right = (max(side, 0) for side in padding)
    return opset.pad(x, [0, 0, top, left], [0, 0, bottom, right], "edge") if top or left or bottom or right else x


def _convolution(
    x: ov.Node, weight: NDArray[Any], groups: int, step: tuple[int, int], dilation: int, zeros: Margin = NO_MARGIN
) -> ov.Node:
    places = ([zeros.top, zeros.left], [zeros.bottom, zeros.right], [dilation, dilation])
    if groups == 1:
        return opset.convolution(x, constant(weight), list(step), *places)
    return opset.group_convolution(x, constant(weight.reshape(groups, -1, *weight.shape[1:])), list(step), *places)


def _convolved(operation: Convolution, x: ov.Node, cut: Margin) -> ov.Node:
    zeros = Margin(*(max(-side, 0) for side in cut))
    out = _convolution(x, operation.weight, operation.groups, operation.step, operation.dilation, zeros)
    return out if operation.bias is None else opset.add(out, per_channel(operation.bias))


def _resampled(operation: Resample, x: ov.Node, *, dense: bool) -> ov.Node:
    """Planes as a batch, since all of them have the same filter.

    ``dense`` is for few digits: no filter of planes is in two layers then, between which they would round.
    """
    filter_ = operation.filter
    (rows, columns), (step_y, step_x) = filter_.phases, filter_.step
    x = opset.reshape(x, [x.shape[1], 1, x.shape[2], x.shape[3]], False)
    if filter_.is_separated and not dense:
        terms, height = len(filter_.vertical), filter_.taps[0]
        # Each phase of the rows has its terms side by side, and the columns are filtered phase by phase.
        vertical = filter_.vertical.swapaxes(0, 1).reshape(rows * terms, 1, height, 1)
        x = _convolution(x, vertical, 1, (step_y, 1), 1)
        horizontal = np.tile(filter_.horizontal.swapaxes(0, 1), (rows, 1, 1))[:, :, None]
        x = _convolution(x, horizontal, rows, (1, step_x), 1)
    else:
        x = _convolution(x, filter_.dense().reshape(rows * columns, 1, *filter_.taps), 1, filter_.step, 1)
    if operation.bias:
        x = opset.add(x, per_channel(np.full(rows * columns, operation.bias)))
    return opset.reshape(x, [1, operation.channels, x.shape[2], x.shape[3]], False)


def _activation(operation: Activation, x: ov.Node) -> ov.Node:
    match operation.kind:
        case "gelu":
            return opset.gelu(x, "erf")
        case "hardswish":
            return opset.hswish(x)
        case "leaky_relu":
            return opset.prelu(x, constant(np.array([operation.slope]))) if operation.slope else opset.relu(x)
        case "sigmoid":
            return opset.sigmoid(x)


def _product(operation: Product, a: ov.Node, b: ov.Node) -> ov.Node:
    product = opset.multiply(a, b)
    return product if operation.limit is None else opset.clamp(product, -operation.limit, operation.limit)


def _affine(operation: Affine, x: ov.Node) -> ov.Node:
    x = opset.subtract(x, per_channel(operation.zero)) if operation.zero.any() else x
    return opset.multiply(x, per_channel(operation.unit)) if (operation.unit != 1).any() else x


def _shuffled(operation: Shuffle, x: ov.Node) -> ov.Node:
    rows, columns = operation.factor
    if rows == columns:
        return opset.depth_to_space(x, "depth_first", rows)
    _, channels, height, width = x.shape
    x = opset.reshape(x, [channels // prod(operation.factor), rows, columns, height, width], False)
    x = opset.transpose(x, [0, 3, 1, 4, 2])
    return opset.reshape(x, [1, operation.channels, height * rows, width * columns], False)


def _sum(operation: Sum, *parts: ov.Node) -> ov.Node:
    return reduce(opset.add, parts)


def _concatenation(operation: Concatenation, *parts: ov.Node) -> ov.Node:
    return opset.concat(list(parts), 1)


_STEPS: dict[type[Operation], Callable[..., ov.Node]] = {
    Affine: _affine,
    Activation: _activation,
    Product: _product,
    Sum: _sum,
    Concatenation: _concatenation,
    Channels: lambda operation, x: _slice(x, 1, operation.start, operation.start + operation.count),
    Shuffle: _shuffled,
    Round: lambda operation, x: opset.clamp(opset.round(x, "half_to_even"), 0, operation.peak),
    RMSNorm: rms_norm,
    Softmax: lambda operation, x: opset.softmax(x, 1),
    WindowAttention: window_attention,
}
