"""The operations that a program is made of.

A value is (channels, rows, columns) on a grid of its own, and stands for a picture without an end: beyond the edges of the frame
the planes repeat their outermost samples, and whatever is computed of them goes on likewise. So no operation pads anything. How
much of a value is made, and where zeros may stand for what nobody looks at, is settled by :mod:`.geometry`.

Every operation says how many channels it gives, how dense its grid is, what it needs of its sources for a part of its result, and
what it costs. Weights are float64; each backend narrows them.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..colour import Array, PlaneFormat
from ..polyphase import PlaneFilter


class Margin(NamedTuple):
    """How far a value reaches beyond the picture on each side, in samples of its own grid; negative where it falls short."""

    top: int
    left: int
    bottom: int
    right: int

    def hull(self, other: "Margin") -> "Margin":
        """The least margin that covers both."""
        return Margin(*map(max, self, other))

    def less(self, other: "Margin") -> "Margin":
        """What is left on each side when another margin is taken away."""
        return Margin(*(a - b for a, b in zip(self, other, strict=True)))

    def times(self, rows: int, columns: int) -> "Margin":
        """The same margin on a grid that is so many times as dense."""
        return Margin(self.top * rows, self.left * columns, self.bottom * rows, self.right * columns)

    def over(self, rows: int, columns: int) -> "Margin":
        """The least margin that covers this one on a grid with a sample for so many of this one's."""
        return Margin(-(-self.top // rows), -(-self.left // columns), -(-self.bottom // rows), -(-self.right // columns))


NO_MARGIN = Margin(0, 0, 0, 0)

type Density = tuple[Fraction, Fraction]
"""Samples of a value for one of the source's luma, along the rows and along the columns."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Operation:
    """A step of a program, and the value that it gives. It equals itself alone."""

    sources: tuple["Operation", ...]
    """What it computes from."""

    @property
    def source(self) -> "Operation":
        """The first of its sources."""
        return self.sources[0]

    @property
    def channels(self) -> int:
        """Of its result."""
        return self.source.channels

    @property
    def density(self) -> Density:
        """Of its result's grid."""
        return self.source.density

    @property
    def holds_samples(self) -> bool:
        """Whether its result is made of samples, whose lower bits count, and not of features, which few digits can hold."""
        return self.source.holds_samples

    @property
    def window(self) -> int | None:
        """Where a result depends on the whole picture, the side of the squares that the picture has to be made of; else None."""
        return None

    def needs(self, margin: Margin) -> Margin:
        """The margin that every source must have, for a result with this one."""
        return margin

    def gives(self, margin: Margin) -> Margin:
        """The margin of the result where sources have this one, and zeros stand for what is missing about them."""
        return margin

    @property
    def multiply_adds(self) -> int:
        """For one sample of the result's grid, all channels together; element-wise arithmetic is not counted."""
        return 0

    @property
    def weights(self) -> int:
        """How many numbers it holds."""
        return sum(value.size for value in vars(self).values() if isinstance(value, np.ndarray))

    def describe(self) -> str:
        """What it is, beside its name, in a few words."""
        return ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Planes(Operation):
    """Planes of one size as they come, in codes where they are integers: (planes, rows, columns)."""

    sources: tuple[Operation, ...] = ()
    format: PlaneFormat
    """Of the picture that they belong to."""
    indices: tuple[int, ...]
    """Which of the planes that a session is given."""
    ratios: tuple[int, int]
    """Luma samples (rows, columns) for one of theirs."""

    @property
    def channels(self) -> int:
        return len(self.indices)

    @property
    def density(self) -> Density:
        return Fraction(1, self.ratios[0]), Fraction(1, self.ratios[1])

    @property
    def holds_samples(self) -> bool:
        return True

    def describe(self) -> str:
        kind = ("half" if self.format.bits == 16 else "float") if self.format.is_float else f"{self.format.bits} bits"
        return f"{', '.join(map(str, self.indices))}: {kind}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Affine(Operation):
    """(x - zero) * unit of samples, channel by channel."""

    zero: Array
    """(channels,)."""
    unit: Array
    """(channels,)."""

    @property
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

    @property
    def channels(self) -> int:
        return self.source.channels * prod(self.filter.phases)

    @property
    def density(self) -> Density:
        return _stepped(self.source.density, self.filter.step)

    @property
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

    @property
    def weights(self) -> int:
        return self.filter.vertical.size + self.filter.horizontal.size

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
    """Of the taps (row, column), relative to the sample that the result's sample stands at."""
    step: tuple[int, int] = (1, 1)
    dilation: int = 1
    groups: int = 1

    @property
    def channels(self) -> int:
        return len(self.weight)

    @property
    def density(self) -> Density:
        return _stepped(self.source.density, self.step)

    @property
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
    """Of leaky ReLU below 0."""

    def describe(self) -> str:
        return self.kind + (f" {self.slope:g}" if self.kind == "leaky_relu" else "")


@dataclass(frozen=True, eq=False, kw_only=True)
class Product(Operation):
    """The product of two sources; the second one may have a single channel for all of the first."""

    limit: float | None = None
    """What it is clamped to, on both sides, before anything can overflow; None for no limit."""

    def describe(self) -> str:
        return f"within {self.limit:g}" if self.limit is not None else ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Sum(Operation):
    """The sum of the sources, which have the same channels."""

    @property
    def holds_samples(self) -> bool:
        return any(source.holds_samples for source in self.sources)


@dataclass(frozen=True, eq=False, kw_only=True)
class Concatenation(Operation):
    """The sources' channels, one source after the other."""

    @property
    def channels(self) -> int:
        return sum(source.channels for source in self.sources)


@dataclass(frozen=True, eq=False, kw_only=True)
class Channels(Operation):
    """Some neighbouring channels of the source."""

    start: int
    count: int

    @property
    def channels(self) -> int:
        return self.count

    def describe(self) -> str:
        return f"{self.start} to {self.start + self.count - 1}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Shuffle(Operation):
    """Depth to space: (C * rows * columns, H, W) to (C, H * rows, W * columns)."""

    factor: tuple[int, int]
    """(rows, columns) of a cell."""

    @property
    def channels(self) -> int:
        return self.source.channels // prod(self.factor)

    @property
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
    """The rows that the band above has left, and then the source's: the same value, of which a band makes its own rows alone.

    ``geometry.place`` says how many rows that is.
    """

    def needs(self, margin: Margin) -> Margin:
        # As many rows as a band has, the lowest ones: those above them were the lowest ones of the bands before.
        return margin._replace(top=-margin.bottom)

    def gives(self, margin: Margin) -> Margin:
        return margin


@dataclass(frozen=True, eq=False, kw_only=True)
class RMSNorm(Operation):
    """x * scale / sqrt(mean over the channels of x^2 + 1e-6) + bias, pixel by pixel."""

    scale: Array
    """(channels,)."""
    bias: Array
    """(channels,)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Softmax(Operation):
    """Over the channels of each pixel."""


@dataclass(frozen=True, eq=False, kw_only=True)
class WindowAttention(Operation):
    """Self-attention with several heads within square windows, shifted by half a window or not.

    The picture is filled up with zeros at the bottom and to the right, to whole windows. There is no mask: zeros take part, and
    shifted windows join opposite borders.
    """

    qkv: Array
    """(3 * channels, channels): rows q, k, v, each head by head; the root of 1 / channels of a head is in q."""
    qkv_bias: Array
    """(3 * channels,)."""
    proj: Array
    """(channels, channels)."""
    proj_bias: Array
    """(channels,)."""
    heads: int
    side: int
    """Of a window, in pixels."""
    shift: int

    @property
    def window(self) -> int:
        return self.side

    @property
    def multiply_adds(self) -> int:
        return self.qkv.size + self.proj.size + 2 * self.side**2 * self.channels

    def describe(self) -> str:
        return f"{self.heads} heads, {self.side}x{self.side}" + (", shifted" if self.shift else "")


@dataclass(frozen=True, eq=False, kw_only=True)
class ChannelAttention(Operation):
    """x * (1 + gain * sigmoid(expand @ gelu(reduce @ the mean of x over the whole picture))), channel by channel."""

    reduce: Array
    """(fewer channels, channels)."""
    expand: Array
    """(channels, fewer channels)."""
    gain: Array
    """(channels,)."""
    side: int
    """Of the squares that the picture has to be made of, in pixels: how wide its border is, over which the mean goes too."""

    @property
    def window(self) -> int:
        return self.side


def _through(margin: Margin, first: tuple[int, int], taps: tuple[int, int], step: tuple[int, int]) -> Margin:
    """What a filter's input needs for a margin of its output."""
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
