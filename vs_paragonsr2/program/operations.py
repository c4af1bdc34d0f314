"""The operations that a program is made of; what is common to them is in :mod:`.operation`."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import prod
from typing import Any, Literal

from numpy.typing import NDArray

from .attention import ChannelAttention, RMSNorm, Softmax, WindowAttention
from .colour import Array, PlaneGroup
from .operation import NO_MARGIN, Density, Margin, Operation
from .polyphase import PlaneFilter

__all__ = [
    "NO_MARGIN",
    "Activation",
    "Affine",
    "ChannelAttention",
    "Channels",
    "Concatenation",
    "Convolution",
    "Density",
    "Keep",
    "Margin",
    "Operation",
    "Planes",
    "Product",
    "RMSNorm",
    "Resample",
    "Round",
    "Shuffle",
    "Softmax",
    "Sum",
    "WindowAttention",
]


@dataclass(frozen=True, eq=False, kw_only=True)
class Planes(Operation):
    """Planes of one size as they come, in codes where they are integers: (planes, rows, columns)."""

    sources: tuple[Operation, ...] = ()
    group: PlaneGroup
    """What the planes are in the picture that they belong to."""
    indices: tuple[int, ...]
    """Their numbers among all planes that a session is given."""

    @cached_property
    def channels(self) -> int:
        return len(self.indices)

    @cached_property
    def density(self) -> Density:
        rows, columns = self.group.ratios
        return Fraction(1, rows), Fraction(1, columns)

    @cached_property
    def holds_samples(self) -> bool:
        return True

    def describe(self) -> str:
        fmt = self.group.format
        kind = ("half" if fmt.bits == 16 else "float") if fmt.is_float else f"{fmt.bits} bits"
        return f"{', '.join(map(str, self.indices))}: {kind}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Affine(Operation):
    """(x - zero) * unit of samples, channel by channel."""

    zero: Array
    """(channels,)."""
    unit: Array
    """(channels,)."""

    @cached_property
    def holds_samples(self) -> bool:
        return True

    def describe(self) -> str:
        return f"(x - {_numbers(self.zero)}) * {_numbers(self.unit)}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Resample(Operation):
    """A polyphase filter of each plane alone: (planes, rows, columns) to (planes * phases, cells, cells).

    The phases of a cell, row by row, are channels; :class:`Shuffle` makes samples of them.
    """

    filter: PlaneFilter
    bias: float = 0.0

    @cached_property
    def channels(self) -> int:
        return self.source.channels * prod(self.filter.phases)

    @cached_property
    def density(self) -> Density:
        return _stepped(self.source.density, self.filter.step)

    @cached_property
    def holds_samples(self) -> bool:
        return True

    def needs(self, margin: Margin) -> Margin:
        return _through(margin, self.filter.first, self.filter.taps, self.filter.step)

    @property
    def multiply_adds(self) -> int:
        rows, columns = self.filter.phases
        down, across = self.filter.taps
        if not self.filter.is_separated:
            return self.channels * down * across
        terms = len(self.filter.vertical)
        return self.source.channels * rows * terms * (self.filter.step[1] * down + columns * across)

    def describe(self) -> str:
        (rows, columns), (down, across) = self.filter.phases, self.filter.taps
        form = "separable" if self.filter.is_separated else "dense"
        return f"{down}x{across} to {rows}x{columns}, {form}{_by(self.filter.step)}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution(Operation):
    """The result's sample k is the sum of weight[..., t] * x[step * k + first + dilation * t], and the bias."""

    weight: Array
    """(channels, channels of the source / groups, rows, columns)."""
    bias: Array | None = None
    """(channels,)."""
    first: tuple[int, int]
    """(row, column) of the first tap, relative to the sample that the result's sample stands at."""
    step: tuple[int, int] = (1, 1)
    dilation: int = 1
    groups: int = 1

    @cached_property
    def channels(self) -> int:
        return len(self.weight)

    @cached_property
    def density(self) -> Density:
        return _stepped(self.source.density, self.step)

    @cached_property
    def holds_samples(self) -> bool:
        return False

    @property
    def taps(self) -> tuple[int, int]:
        """Rows and columns from the first tap to behind the last one."""
        rows, columns = self.weight.shape[2:]
        return (rows - 1) * self.dilation + 1, (columns - 1) * self.dilation + 1

    def needs(self, margin: Margin) -> Margin:
        return _through(margin, self.first, self.taps, self.step)

    @property
    def multiply_adds(self) -> int:
        return self.weight.size

    def describe(self) -> str:
        rows, columns = self.weight.shape[2:]
        dilated = f", dilation {self.dilation}" if self.dilation > 1 else ""
        kind = ", depthwise" if self.groups == self.source.channels > 1 else ""
        return f"{rows}x{columns}{dilated}{kind}{_by(self.step)}"


ActivationKind = Literal["gelu", "hardswish", "leaky_relu", "sigmoid"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Activation(Operation):
    """A function of each number: the exact GELU, hardswish, sigmoid, or leaky ReLU."""

    kind: ActivationKind
    slope: float = 0.0
    """Slope of leaky ReLU below 0."""

    def describe(self) -> str:
        return self.kind + (f" {self.slope:g}" if self.kind == "leaky_relu" else "")


@dataclass(frozen=True, eq=False, kw_only=True)
class Product(Operation):
    """The product of two sources; the second one may have a single channel for all of the first."""

    limit: float | None = None
    """The largest magnitude of the product, which is clamped before anything can overflow; None for no limit."""

    def describe(self) -> str:
        return f"within {self.limit:g}" if self.limit is not None else ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Sum(Operation):
    """The sum of the sources, which have the same channels."""

    @cached_property
    def holds_samples(self) -> bool:
        return any(source.holds_samples for source in self.sources)


@dataclass(frozen=True, eq=False, kw_only=True)
class Concatenation(Operation):
    """The sources' channels, one source after the other."""

    @cached_property
    def channels(self) -> int:
        return sum(source.channels for source in self.sources)


@dataclass(frozen=True, eq=False, kw_only=True)
class Channels(Operation):
    """Some neighbouring channels of the source."""

    start: int
    count: int

    @cached_property
    def channels(self) -> int:
        return self.count

    def describe(self) -> str:
        return f"{self.start} to {self.start + self.count - 1}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Shuffle(Operation):
    """Depth to space: (C * rows * columns, H, W) to (C, H * rows, W * columns)."""

    factor: tuple[int, int]
    """(rows, columns) of a cell."""

    @cached_property
    def channels(self) -> int:
        return self.source.channels // prod(self.factor)

    @cached_property
    def density(self) -> Density:
        (rows, columns), (down, across) = self.source.density, self.factor
        return rows * down, columns * across

    def needs(self, margin: Margin) -> Margin:
        return margin.over(*self.factor)

    def gives(self, margin: Margin) -> Margin:
        return margin.times(*self.factor)

    def describe(self) -> str:
        return f"{self.factor[0]}x{self.factor[1]}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Round(Operation):
    """Samples to the nearest of the integers 0 to ``peak``."""

    peak: int

    def describe(self) -> str:
        return f"0 to {self.peak}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Keep(Operation):
    """The source, of which a band computes the new rows only: those above them have been kept by the band above.

    The result has a margin above and below the band. Of the source the band computes as many rows as it is high itself, down to the
    last row of the margin below. The rows above those are the lowest ones that the band above has computed, and has kept
    (:meth:`.geometry.Geometry.kept` says how many), just as this band keeps its own lowest rows for the band below.
    """

    def needs(self, margin: Margin) -> Margin:
        return margin._replace(top=-margin.bottom)


def _through(margin: Margin, first: tuple[int, int], taps: tuple[int, int], step: tuple[int, int]) -> Margin:
    """The margin that a filter's input needs for a margin of its output."""
    (y, x), (rows, columns), (down, across) = first, taps, step
    return Margin(
        margin.top * down - y,
        margin.left * across - x,
        margin.bottom * down + y + rows - down,
        margin.right * across + x + columns - across,
    )


def _stepped(density: Density, step: tuple[int, int]) -> Density:
    return density[0] / step[0], density[1] / step[1]


def _by(step: tuple[int, int]) -> str:
    return f", every {step[0]}x{step[1]}" if step != (1, 1) else ""


def _numbers(values: NDArray[Any]) -> str:
    """One number where all are the same."""
    return ", ".join(f"{value:g}" for value in (values[:1] if (values == values[0]).all() else values))
