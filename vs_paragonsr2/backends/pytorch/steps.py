"""The operations of a program in PyTorch, a small module each."""

from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...program import operations as op
from ...program.colour import Array
from ...program.geometry import Geometry
from ...program.operations import Margin, Operation
from ...support.errors import ParagonSR2Error


def _cut(x: Tensor, cut: Margin) -> Tensor:
    """Cut so many rows and columns off each side of (1, C, H, W) where they are positive; without any, nothing is done."""
    top, left, bottom, right = (max(side, 0) for side in cut)
    if top or bottom:
        x = x[:, :, top : x.shape[2] - bottom]
    return x[..., left : x.shape[3] - right] if left or right else x


def _padded(x: Tensor, padding: Margin) -> Tensor:
    """Repeat the edges of (1, C, H, W) so often where it is positive; written with what every runtime knows."""
    top, left, bottom, right = (max(side, 0) for side in padding)
    if top or bottom:
        x = torch.cat((x[:, :, :1].expand(-1, -1, top, -1), x, x[:, :, -1:].expand(-1, -1, bottom, -1)), 2)
    if left or right:
        x = torch.cat((x[..., :1].expand(-1, -1, -1, left), x, x[..., -1:].expand(-1, -1, -1, right)), 3)
    return x


class Step(nn.Module):
    """An operation: tensors (1, C, H, W) to one. Numbers are brought to its dtype, and what it does not read is cut off."""

    def __init__(self, operation: Operation, geometry: Geometry, dtype: torch.dtype) -> None:
        super().__init__()
        self.operation = operation
        self.dtype = dtype
        self.cuts = [geometry.cut(operation, source) for source in operation.sources]
        self.make(operation)

    def make(self, operation: Operation) -> None:
        """Settle what is needed besides; weights by :meth:`keep`."""

    def keep(self, name: str, values: Array | None) -> None:
        """Register weights in the step's dtype."""
        weight = None if values is None else nn.Parameter(torch.from_numpy(np.ascontiguousarray(values)).to(self.dtype), False)
        self.register_parameter(name, weight)

    def forward(self, *values: Tensor) -> Tensor:
        return self.compute(*(_cut(value, cut).to(self.dtype) for value, cut in zip(values, self.cuts, strict=True)))

    def compute(self, *values: Tensor) -> Tensor:
        """What the operation gives."""
        raise NotImplementedError


class PlanesStep(Step):
    """The planes of an operation in one tensor, padded where the program pads; it takes those planes alone."""

    def __init__(self, operation: op.Planes, geometry: Geometry, dtype: torch.dtype) -> None:
        super().__init__(operation, geometry, dtype)
        self.indices = operation.indices
        self.padding = geometry.padding(operation)

    def forward(self, *planes: Tensor) -> Tensor:
        return _cut(_padded(torch.cat(planes, 1), self.padding), self.padding.times(-1, -1))


class _Affine(Step):
    zero: Tensor
    unit: Tensor

    def make(self, operation: op.Affine) -> None:  # type: ignore[override]
        self.keep("zero", operation.zero[:, None, None])
        self.keep("unit", operation.unit[:, None, None])

    def compute(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return (x - self.zero) * self.unit


class _Resample(Step):
    rows: Tensor | None
    last: Tensor
    bias: Tensor | None

    def make(self, operation: op.Resample) -> None:  # type: ignore[override]
        filter_ = operation.filter
        (rows, columns), height, (step_y, step_x) = filter_.phases, filter_.taps[0], filter_.step
        if filter_.is_separated:
            terms = len(filter_.vertical)
            # Each phase of the rows has its terms side by side, and the columns are filtered phase by phase.
            self.keep("rows", filter_.vertical.swapaxes(0, 1).reshape(rows * terms, 1, height, 1))
            self.keep("last", np.tile(filter_.horizontal.swapaxes(0, 1), (rows, 1, 1))[:, :, None])
            self.steps, self.groups = ((step_y, 1), (1, step_x)), rows
        else:
            self.keep("rows", None)
            self.keep("last", filter_.dense().reshape(rows * columns, 1, *filter_.taps))
            self.steps, self.groups = ((1, 1), (step_y, step_x)), 1
        self.keep("bias", np.full(rows * columns, operation.bias) if operation.bias else None)

    def compute(self, x: Tensor) -> Tensor:  # type: ignore[override]
        # Planes as a batch: all of them have the same filter.
        x = x.reshape(x.shape[1], 1, *x.shape[2:])
        if self.rows is not None:
            x = F.conv2d(x, self.rows, None, self.steps[0])
        x = F.conv2d(x, self.last, self.bias, self.steps[1], groups=self.groups)
        return x.reshape(1, -1, *x.shape[2:])


class _Convolution(Step):
    weight: Tensor
    bias: Tensor | None

    def make(self, operation: op.Convolution) -> None:  # type: ignore[override]
        self.keep("weight", operation.weight)
        self.keep("bias", operation.bias)
        top, left, bottom, right = (max(-side, 0) for side in self.cuts[0])
        self.padding = (top, left) if (top, left) == (bottom, right) else (0, 0)
        self.zeros = (left, right, top, bottom) if self.padding == (0, 0) else (0, 0, 0, 0)
        self.step, self.dilation, self.groups = operation.step, operation.dilation, operation.groups

    def compute(self, x: Tensor) -> Tensor:  # type: ignore[override]
        if any(self.zeros):
            x = F.pad(x, self.zeros)
        return F.conv2d(x, self.weight, self.bias, self.step, self.padding, self.dilation, self.groups)


class _Activation(Step):
    def make(self, operation: op.Activation) -> None:  # type: ignore[override]
        self.kind, self.slope = operation.kind, operation.slope

    def compute(self, x: Tensor) -> Tensor:  # type: ignore[override]
        match self.kind:
            case "gelu":
                return F.gelu(x)
            case "hardswish":
                return F.hardswish(x)
            case "leaky_relu":
                return F.leaky_relu(x, self.slope) if self.slope else F.relu(x)
            case _:
                return torch.sigmoid(x)


class _Product(Step):
    def make(self, operation: op.Product) -> None:  # type: ignore[override]
        self.limit = operation.limit
        self.wide = torch.promote_types(self.dtype, torch.float32)

    def compute(self, a: Tensor, b: Tensor) -> Tensor:  # type: ignore[override]
        if self.limit is None:
            return a * b
        return (a.to(self.wide) * b.to(self.wide)).clamp(-self.limit, self.limit).to(self.dtype)


class _Sum(Step):
    def compute(self, *parts: Tensor) -> Tensor:
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total


class _Concatenation(Step):
    def compute(self, *parts: Tensor) -> Tensor:
        return torch.cat(parts, 1)


class _Channels(Step):
    def make(self, operation: op.Channels) -> None:  # type: ignore[override]
        self.first, self.end = operation.start, operation.start + operation.count

    def compute(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return x[:, self.first : self.end]


class _Shuffle(Step):
    def make(self, operation: op.Shuffle) -> None:  # type: ignore[override]
        self.factor = operation.factor

    def compute(self, x: Tensor) -> Tensor:  # type: ignore[override]
        rows, columns = self.factor
        if rows == columns:
            return F.pixel_shuffle(x, rows)
        _, channels, height, width = x.shape
        x = x.reshape(channels // prod(self.factor), rows, columns, height, width)
        return x.permute(0, 3, 1, 4, 2).reshape(1, -1, height * rows, width * columns)


class RoundStep(Step):
    """The end of a program, where its integers are rounded."""

    def make(self, operation: op.Round) -> None:  # type: ignore[override]
        self.peak = operation.peak

    def compute(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return x.round().clamp(0, self.peak)


class _RMSNorm(Step):
    scale: Tensor
    bias: Tensor

    def make(self, operation: op.RMSNorm) -> None:  # type: ignore[override]
        self.keep("scale", operation.scale[:, None, None])
        self.keep("bias", operation.bias[:, None, None])
        self.wide = torch.promote_types(self.dtype, torch.float32)

    def compute(self, x: Tensor) -> Tensor:  # type: ignore[override]
        wide = x.to(self.wide)
        root = torch.sqrt(wide.square().mean(1, keepdim=True) + 1e-6)
        return (wide / root).to(self.dtype) * self.scale + self.bias


class _Softmax(Step):
    def compute(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return x.softmax(1)


class _WindowAttention(Step):
    qkv: Tensor
    qkv_bias: Tensor
    proj: Tensor
    proj_bias: Tensor

    def make(self, operation: op.WindowAttention) -> None:  # type: ignore[override]
        for name in ("qkv", "qkv_bias", "proj", "proj_bias"):
            self.keep(name, getattr(operation, name))
        self.side, self.shift, self.heads = operation.side, operation.shift, operation.heads

    def compute(self, x: Tensor) -> Tensor:  # type: ignore[override]
        _, c, height, width = x.shape
        w, heads = self.side, self.heads
        x = F.pad(x, (0, -width % w, 0, -height % w)).permute(0, 2, 3, 1)
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
        rows, columns = x.shape[1] // w, x.shape[2] // w
        x = x.reshape(1, rows, w, columns, w, c).transpose(2, 3).reshape(rows * columns, w * w, c)
        q, k, v = F.linear(x, self.qkv, self.qkv_bias).reshape(-1, w * w, 3, heads, c // heads).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v, scale=1.0).transpose(1, 2).reshape(-1, w * w, c)
        x = F.linear(x, self.proj, self.proj_bias)
        x = x.reshape(1, rows, columns, w, w, c).transpose(2, 3).reshape(1, rows * w, columns * w, c)
        if self.shift:
            x = x.roll((self.shift, self.shift), (1, 2))
        return x[:, :height, :width].permute(0, 3, 1, 2)


class _ChannelAttention(Step):
    reduce: Tensor
    expand: Tensor
    gain: Tensor

    def make(self, operation: op.ChannelAttention) -> None:  # type: ignore[override]
        for name in ("reduce", "expand", "gain"):
            self.keep(name, getattr(operation, name))

    def compute(self, x: Tensor) -> Tensor:  # type: ignore[override]
        hidden = F.gelu(F.linear(x.mean((2, 3)), self.reduce))
        return x * (1 + self.gain * torch.sigmoid(F.linear(hidden, self.expand)))[:, :, None, None]


_STEPS: dict[type[Operation], type[Step]] = {
    op.Planes: PlanesStep,
    op.Affine: _Affine,
    op.Resample: _Resample,
    op.Convolution: _Convolution,
    op.Activation: _Activation,
    op.Product: _Product,
    op.Sum: _Sum,
    op.Concatenation: _Concatenation,
    op.Channels: _Channels,
    op.Shuffle: _Shuffle,
    op.Round: RoundStep,
    op.RMSNorm: _RMSNorm,
    op.Softmax: _Softmax,
    op.WindowAttention: _WindowAttention,
    op.ChannelAttention: _ChannelAttention,
}


def step_of(operation: Operation, geometry: Geometry, dtype: torch.dtype) -> Step:
    """The step that does an operation. Raises ParagonSR2Error for one that PyTorch does not run."""
    if type(operation) not in _STEPS:
        raise ParagonSR2Error(f"PyTorch runs no {type(operation).__name__}: expected a program that is not in bands")
    return _STEPS[type(operation)](operation, geometry, dtype)
