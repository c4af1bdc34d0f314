"""How much of each value is made: a walk over a program, from the planes of the target back to the planes that come.

To make a part of a result, an operation needs that part of its sources and a margin around it
(:meth:`~.operation.Operation.needs`). From operation to operation margins add up, so that the planes that come need the largest
ones. Beyond the edges of a picture these are padding: the outermost samples, repeated. Either whoever runs a program pads the
planes before they come to it, or the program itself does.

Features may be zero-padded instead: they then keep the size that the head gives them, and a convolution takes zeros for what a
source does not have. That spoils the outermost features, which no result depends on. Otherwise every residual sum would have to cut
its input, which copies all features, to save a few rows of arithmetic.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil, lcm

from .operations import NO_MARGIN, Keep, Margin, Operation, Planes, Shuffle
from .program import Program
from .tiling import unit


@dataclass(frozen=True, eq=False)
class Geometry:
    """How much of each value a program makes for the picture, or the part of one, that its ``spec`` is of."""

    program: Program
    margins: Mapping[Operation, Margin]
    """For each value the samples, of its own grid, that are made beyond the picture or part on each side."""
    source_margin: Margin
    """Luma samples of the source that the program needs beyond the picture or part on each side: whole samples of every plane."""
    padded: bool
    """Whether the planes come with ``source_margin``. Otherwise they come without, and the program pads them."""

    def __deepcopy__(self, memo: object) -> "Geometry":
        """Itself, since it never changes."""
        return self

    @property
    def halo(self) -> tuple[int, int]:
        """Luma samples of the source beyond its own place that an output depends on: (rows, columns) on the side with most."""
        top, left, bottom, right = self.source_margin
        return max(top, bottom), max(left, right)

    @property
    def input_margin(self) -> Margin:
        """Luma samples that the planes come with beyond the picture or part on each side."""
        return self.source_margin if self.padded else NO_MARGIN

    @cached_property
    def input_shapes(self) -> list[tuple[int, int]]:
        """(rows, columns) of each plane that comes, in the order of ``program.spec.input_planes``, with its margin."""
        planes = self.program.spec.input_planes
        return [self.input_margin.over(*plane.ratios).around(*plane.shape) for plane in planes]

    def size(self, operation: Operation) -> tuple[int, int]:
        """(rows, columns) of a value, with its margin."""
        source, (down, across) = self.program.spec.source, operation.density
        rows, columns = source.height * down, source.width * across
        assert rows.denominator == columns.denominator == 1, "whole samples of every grid"
        return self.margins[operation].around(int(rows), int(columns))

    def cut(self, operation: Operation, source: Operation) -> Margin:
        """Samples to cut off each side of a source before an operation reads it; where negative, zeros to pad it with."""
        return self.margins[source].less(operation.needs(self.margins[operation]))

    def padding(self, planes: Planes) -> Margin:
        """How often the program repeats the outermost samples of planes that come; where negative, samples to cut off instead."""
        return self.margins[planes].less(self.input_margin.over(*planes.group.ratios))

    def kept(self, keep: Keep) -> int:
        """How many rows a band keeps for the band below."""
        margin = self.margins[keep]
        return margin.top + margin.bottom


def place(program: Program, *, padded: bool = False, zero_padded: tuple[bool, bool] = (False, False)) -> Geometry:
    """Settle how much of each value is made.

    Args:
        program: for whole pictures, tiles or bands.
        padded: whether the planes come with the margin that the program needs. Otherwise the program repeats their edges.
        zero_padded: whether features are zero-padded along the (rows, columns). Those of a program that sees the whole picture
            always are along both, as in the network that it is made of.
    """
    halo = _whole_picture_halo(program)
    needed = _needed(program) if halo is None else _needed_with_halo(program, halo)
    if halo is not None:
        zero_padded = (True, True)
    tails = set(program.tails)
    margins: dict[Operation, Margin] = {}
    for operation in program.operations:
        margin = needed[operation]
        if isinstance(operation, Shuffle):  # it gives whole cells
            margin = operation.gives(margins[operation.source])
        elif not operation.holds_samples and not operation.source.holds_samples and operation not in tails:
            wide = operation.gives(margins[operation.source])
            rows = wide if zero_padded[0] and not isinstance(operation, Keep) else margin
            columns = wide if zero_padded[1] else margin
            margin = Margin(rows.top, columns.left, rows.bottom, columns.right)
        margins[operation] = margin
    return Geometry(program, margins, _source_margin(program, margins, halo), padded)


def add_needs(operation: Operation, margins: dict[Operation, Margin]) -> None:
    """Widen the margins of an operation's sources until they cover what it needs for its own margin."""
    need = operation.needs(margins[operation])
    for source in operation.sources:
        margins[source] = margins[source].hull(need) if source in margins else need


def _needed(program: Program) -> dict[Operation, Margin]:
    """The margin of each value that the planes of the target depend on.

    In a program that sees the whole picture only the convolutions count.
    """
    margins = dict.fromkeys(program.outputs, NO_MARGIN)
    for operation in reversed(program.operations):
        add_needs(operation, margins)
    return margins


def _needed_with_halo(program: Program, halo: int) -> dict[Operation, Margin]:
    """As :func:`_needed`, but all features, and what the head reads, have a halo of the source's luma samples as their margin."""
    margins = dict.fromkeys(program.outputs, NO_MARGIN)
    heads, tails = set(program.heads), set(program.tails)
    for operation in reversed(program.operations):
        if not operation.holds_samples and operation not in tails:
            margins[operation] = _on_grid(halo, operation)
        if operation in heads:
            margins[operation.source] = _on_grid(halo, operation.source)
        elif operation.holds_samples or operation in tails:
            add_needs(operation, margins)
    return margins


def _on_grid(halo: int, operation: Operation) -> Margin:
    """A halo as a margin on the grid of an operation's result."""
    rows, columns = (ceil(Fraction(halo) * density) for density in operation.density)
    return Margin(rows, columns, rows, columns)


def _whole_picture_halo(program: Program) -> int | None:
    """Luma samples on each side that a program that sees the whole picture is computed with; None for other programs.

    It is the reach of the convolutions, rounded up to whole windows: convolutions then give what they would give for a picture that
    goes on beyond its edges.
    """
    if not program.windows:
        return None
    needed = _needed(program)
    reach = max(max(needed[head.source]) for head in program.heads)
    multiple = lcm(*program.windows, *unit(program.spec))
    return -(-reach // multiple) * multiple


def _source_margin(program: Program, margins: Mapping[Operation, Margin], halo: int | None) -> Margin:
    """``source_margin`` of a geometry. Of a program that sees the whole picture it is the halo, beyond which chroma is repeated."""
    if halo is not None:
        return Margin(halo, halo, halo, halo)
    rows, columns = unit(program.spec)
    found = NO_MARGIN
    for planes in program.inputs:
        found = found.hull(margins[planes].times(*planes.group.ratios))
    return found.over(rows, columns).times(rows, columns)
