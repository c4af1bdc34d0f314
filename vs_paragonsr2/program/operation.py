"""What every operation says of itself, and the margins that it is asked about.

A value is (channels, rows, columns) on a grid of its own, and stands for a picture without an end: beyond the edges of the frame
the planes repeat their outermost samples, and whatever is computed of them goes on likewise. So no operation pads anything. How
much of a value is made, and where features are zero-padded, is settled by :mod:`.geometry`.

Every operation says how many channels it gives, how dense its grid is, what it needs of its sources for a part of its result, and
what it costs. Weights are float64; each backend narrows them.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple


class Margin(NamedTuple):
    """Samples of a value that are made beyond the picture, or the part of one, on each side; negative where samples are left out.

    They are counted on the value's own grid, unless luma samples of the source are named.
    """

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

    def around(self, rows: int, columns: int) -> tuple[int, int]:
        """(rows, columns) of what has this margin around so many rows and columns."""
        return rows + self.top + self.bottom, columns + self.left + self.right


NO_MARGIN = Margin(0, 0, 0, 0)

type Density = tuple[Fraction, Fraction]
"""Samples of a value for one of the source's luma, along the rows and along the columns."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Operation:
    """A step of a program, and the value that it gives. It equals itself alone."""

    sources: tuple["Operation", ...]
    """What it computes from."""

    def __post_init__(self) -> None:
        # Settled while the sources are at hand: asked for at the end of a deep network, each would be as deep a recursion.
        _ = self.channels, self.density, self.holds_samples

    def __deepcopy__(self, memo: object) -> "Operation":
        """Itself, since it never changes."""
        return self

    @property
    def source(self) -> "Operation":
        """The first of its sources."""
        return self.sources[0]

    @cached_property
    def channels(self) -> int:
        """Channels of its result."""
        return self.source.channels

    @cached_property
    def density(self) -> Density:
        """Density of its result's grid."""
        return self.source.density

    @cached_property
    def holds_samples(self) -> bool:
        """Whether its result is made of samples, whose lower bits count, and not of features, which few digits can hold."""
        return self.source.holds_samples

    @property
    def window(self) -> int | None:
        """Side of the squares that the picture has to be made of, where a result depends on all of it; else None."""
        return None

    def needs(self, margin: Margin) -> Margin:
        """The margin that every source must have for a result with this margin."""
        return margin

    def gives(self, margin: Margin) -> Margin:
        """The margin of the result for sources with this margin, where the operation pads them with zeros."""
        return margin

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds for one sample of the result's grid, all channels together; element-wise arithmetic is not counted."""
        return 0

    def describe(self) -> str:
        """What it is, beside its name, in a few words."""
        return ""
