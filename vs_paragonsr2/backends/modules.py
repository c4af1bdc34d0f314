"""Programs as modules of PyTorch: without data-dependent control flow, so that every exporter and compiler can follow."""

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..colour import Array, ClipSpec, PlaneFormat
from ..errors import ParagonSR2Error
from ..program.fold import fold
from ..program.geometry import Geometry, halo, place
from ..program.graph import Program
from ..program.operations import (
    Activation,
    Affine,
    ChannelAttention,
    Channels,
    Concatenation,
    Convolution,
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
from ..program.parts import NetworkParts

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


class ProgramModule(nn.Module):
    """The planes of a frame of the source to those of the target.

    ``forward`` takes one tensor (1, 1, height, width) a plane of ``spec.inputs`` and returns a tuple of the like for the target.
    Their dtypes are :func:`seam_dtype` of the formats: uint8 for 8 bits; int16 for 9 to 16 bits, the very bits of the frame's
    unsigned samples (``view(np.int16)``), so that nothing is copied and no runtime has to know uint16; half and float as they are.

    Args:
        program: for whole pictures or tiles; not in bands.
        dtype: of features: float32, float16 or bfloat16. Samples, which decide the lower bits, are float32 always; with float64
            everything is float64.
        padded: whether the planes that come have ``halo`` samples of their surroundings about them already (chroma in proportion).
            Otherwise their edges are repeated in here.

    Attributes:
        halo: luma samples of the source that an output needs above and below, and to the left and the right.

    Raises:
        ParagonSR2Error: ``dtype`` is none of the above, or the program has an operation that only runtimes of bands have.
    """

    def __init__(self, program: Program, *, dtype: torch.dtype = torch.float32, padded: bool = False) -> None:
        super().__init__()
        if dtype not in DTYPES:
            raise ParagonSR2Error(f"dtype is {dtype}: expected torch.float32, float16, bfloat16 or float64")
        self.program = program
        self.spec = program.spec
        self.wide = torch.float64 if dtype is torch.float64 else torch.float32
        self.halo = halo(program)
        rows, columns = self.halo
        geometry = place(program, given=Margin(rows, columns, rows, columns) if padded else None, pads=(True, True))
        number = {operation: index for index, operation in enumerate(program.operations)}
        self.sources = [[number[source] for source in operation.sources] for operation in program.operations]
        self.outputs = [number[output] for output in program.outputs]
        self.forgotten = _forgotten(self.sources, self.outputs)
        steps = (_step(operation, geometry, self.wide if operation.holds_samples else dtype) for operation in program.operations)
        self.steps = nn.ModuleList(steps)
        self.requires_grad_(False).eval()

    def forward(self, *planes: Tensor) -> tuple[Tensor, ...]:
        # Planes that come out of one convolution are taken apart last, when they are narrow.
        return tuple(plane for group in self.groups(self.samples(planes)) for plane in narrow(group, self.spec.target).split(1, 1))

    def samples(self, planes: Sequence[Tensor]) -> list[Tensor]:
        """The planes that ``forward`` takes as numbers."""
        return [widen(plane, fmt, self.wide) for plane, fmt in zip(planes, input_formats(self.spec), strict=True)]

    def groups(self, planes: Sequence[Tensor], *, rounds: bool = True) -> list[Tensor]:
        """From samples as numbers to the same of the target, those planes that have one size in one tensor: (1, planes, H, W) each.

        Without ``rounds`` integers are neither rounded nor clamped.
        """
        values: list[Tensor | None] = []
        for step, sources, forgotten in zip(self.steps, self.sources, self.forgotten, strict=True):
            if isinstance(step, _Planes):
                values.append(step(*(planes[index] for index in step.indices)))
            elif isinstance(step, _Round) and not rounds:
                values.append(values[sources[0]])
            else:
                values.append(step(*(values[source] for source in sources)))
            for index in forgotten:
                values[index] = None
        found = [values[output] for output in self.outputs]
        return [group for group in found if group is not None]


def program_for(network: NetworkParts, spec: ClipSpec, dtype: torch.dtype) -> Program:
    """The program whose numbers suit features of a dtype.

    Raw samples save a pass over the planes. But bfloat16 keeps one more digit of samples about zero; and float16 has too few small
    numbers for weights that are divided by the range of samples, and none for 65,535: so the tails count in steps of 8-bit samples.
    """
    coarse = dtype in (torch.float16, torch.bfloat16)
    unit = float(1 << (spec.target.bits - 8)) if coarse and not spec.target.is_float else 1.0
    return fold(network, spec, centred=coarse, detail_unit=unit)


def input_formats(spec: ClipSpec) -> list[PlaneFormat]:
    """The format of each plane that a session is given."""
    return [fmt for fmt in spec.inputs for _ in fmt.shapes]


def seam_dtype(fmt: PlaneFormat) -> torch.dtype:
    """What a module takes or gives for samples of a format."""
    if fmt.is_float:
        return torch.float16 if fmt.bits == 16 else torch.float32
    return torch.uint8 if fmt.bits == 8 else torch.int16


def widen(plane: Tensor, fmt: PlaneFormat, wide: torch.dtype) -> Tensor:
    """Samples as they lie in memory, in :func:`seam_dtype`, as numbers."""
    samples = plane.to(wide)
    if not fmt.is_float and fmt.bits == 16:
        samples = torch.where(samples < 0, samples + 65536, samples)
    return samples


def narrow(samples: Tensor, fmt: PlaneFormat) -> Tensor:
    """Rounded and clamped numbers as samples in :func:`seam_dtype`."""
    if not fmt.is_float and fmt.bits == 16:
        # Not left to the cast: what one does with numbers out of its range differs from runtime to runtime.
        samples = torch.where(samples > 32767, samples - 65536, samples)
    return samples.to(seam_dtype(fmt))


def _forgotten(sources: Sequence[Sequence[int]], outputs: Sequence[int]) -> list[list[int]]:
    """For each step the values that nothing needs after it, whose memory others can have."""
    last: dict[int, int] = {}
    for step, used in enumerate(sources):
        last |= dict.fromkeys(used, step)
    return [[value for value in set(used) if last[value] == step and value not in outputs] for step, used in enumerate(sources)]


def _cut(x: Tensor, cut: Margin) -> Tensor:
    """Leave out so many rows and columns of (1, C, H, W) on each side, where they are positive; nothing is done for nothing."""
    top, left, bottom, right = (max(side, 0) for side in cut)
    if top or bottom:
        x = x[:, :, top : x.shape[2] - bottom]
    return x[..., left : x.shape[3] - right] if left or right else x


def _repeat(x: Tensor, sides: Margin) -> Tensor:
    """Repeat the edges of (1, C, H, W); written with what every runtime knows."""
    top, left, bottom, right = (max(side, 0) for side in sides)
    if top or bottom:
        x = torch.cat((x[:, :, :1].expand(-1, -1, top, -1), x, x[:, :, -1:].expand(-1, -1, bottom, -1)), 2)
    if left or right:
        x = torch.cat((x[..., :1].expand(-1, -1, -1, left), x, x[..., -1:].expand(-1, -1, -1, right)), 3)
    return x


class _Step(nn.Module):
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


class _Planes(_Step):
    def __init__(self, operation: Planes, geometry: Geometry, dtype: torch.dtype) -> None:
        super().__init__(operation, geometry, dtype)
        self.indices = operation.indices
        self.sides = geometry.repeated(operation)

    def forward(self, *planes: Tensor) -> Tensor:
        return _cut(_repeat(torch.cat(planes, 1), self.sides), self.sides.times(-1, -1))


class _Affine(_Step):
    zero: Tensor
    unit: Tensor

    def make(self, operation: Affine) -> None:  # type: ignore[override]
        self.keep("zero", operation.zero[:, None, None])
        self.keep("unit", operation.unit[:, None, None])

    def compute(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return (x - self.zero) * self.unit


class _Resample(_Step):
    rows: Tensor | None
    last: Tensor
    bias: Tensor | None

    def make(self, operation: Resample) -> None:  # type: ignore[override]
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


class _Convolution(_Step):
    weight: Tensor
    bias: Tensor | None

    def make(self, operation: Convolution) -> None:  # type: ignore[override]
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


class _Activation(_Step):
    def make(self, operation: Activation) -> None:  # type: ignore[override]
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


class _Product(_Step):
    def make(self, operation: Product) -> None:  # type: ignore[override]
        self.limit = operation.limit
        self.wide = torch.promote_types(self.dtype, torch.float32)

    def compute(self, a: Tensor, b: Tensor) -> Tensor:  # type: ignore[override]
        if self.limit is None:
            return a * b
        return (a.to(self.wide) * b.to(self.wide)).clamp(-self.limit, self.limit).to(self.dtype)


class _Sum(_Step):
    def compute(self, *parts: Tensor) -> Tensor:
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total


class _Concatenation(_Step):
    def compute(self, *parts: Tensor) -> Tensor:
        return torch.cat(parts, 1)


class _Channels(_Step):
    def make(self, operation: Channels) -> None:  # type: ignore[override]
        self.first, self.end = operation.start, operation.start + operation.count

    def compute(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return x[:, self.first : self.end]


class _Shuffle(_Step):
    def make(self, operation: Shuffle) -> None:  # type: ignore[override]
        self.factor = operation.factor

    def compute(self, x: Tensor) -> Tensor:  # type: ignore[override]
        rows, columns = self.factor
        if rows == columns:
            return F.pixel_shuffle(x, rows)
        _, channels, height, width = x.shape
        x = x.reshape(channels // prod(self.factor), rows, columns, height, width)
        return x.permute(0, 3, 1, 4, 2).reshape(1, -1, height * rows, width * columns)


class _Round(_Step):
    def make(self, operation: Round) -> None:  # type: ignore[override]
        self.peak = operation.peak

    def compute(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return x.round().clamp(0, self.peak)


class _RMSNorm(_Step):
    scale: Tensor
    bias: Tensor

    def make(self, operation: RMSNorm) -> None:  # type: ignore[override]
        self.keep("scale", operation.scale[:, None, None])
        self.keep("bias", operation.bias[:, None, None])
        self.wide = torch.promote_types(self.dtype, torch.float32)

    def compute(self, x: Tensor) -> Tensor:  # type: ignore[override]
        wide = x.to(self.wide)
        root = torch.sqrt(wide.square().mean(1, keepdim=True) + 1e-6)
        return (wide / root).to(self.dtype) * self.scale + self.bias


class _Softmax(_Step):
    def compute(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return x.softmax(1)


class _WindowAttention(_Step):
    qkv: Tensor
    qkv_bias: Tensor
    proj: Tensor
    proj_bias: Tensor

    def make(self, operation: WindowAttention) -> None:  # type: ignore[override]
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


class _ChannelAttention(_Step):
    reduce: Tensor
    expand: Tensor
    gain: Tensor

    def make(self, operation: ChannelAttention) -> None:  # type: ignore[override]
        for name in ("reduce", "expand", "gain"):
            self.keep(name, getattr(operation, name))

    def compute(self, x: Tensor) -> Tensor:  # type: ignore[override]
        hidden = F.gelu(F.linear(x.mean((2, 3)), self.reduce))
        return x * (1 + self.gain * torch.sigmoid(F.linear(hidden, self.expand)))[:, :, None, None]


_STEPS: dict[type[Operation], type[_Step]] = {
    Planes: _Planes,
    Affine: _Affine,
    Resample: _Resample,
    Convolution: _Convolution,
    Activation: _Activation,
    Product: _Product,
    Sum: _Sum,
    Concatenation: _Concatenation,
    Channels: _Channels,
    Shuffle: _Shuffle,
    Round: _Round,
    RMSNorm: _RMSNorm,
    Softmax: _Softmax,
    WindowAttention: _WindowAttention,
    ChannelAttention: _ChannelAttention,
}


def _step(operation: Operation, geometry: Geometry, dtype: torch.dtype) -> _Step:
    if type(operation) not in _STEPS:
        raise ParagonSR2Error(f"PyTorch runs no {type(operation).__name__}: expected a program that is not in bands")
    return _STEPS[type(operation)](operation, geometry, dtype)
