"""How much of each value is made: a walk over a program, from what is wanted of the planes back to what comes.

An operation's result needs a margin of its sources (:meth:`~.operations.Operation.needs`). Backends that cut nothing off may let
features keep the size that the head gives them: zeros then stand for what is missing about a value, and spoil a rim of it that
nobody looks at. Without that every residual sum would crop its input, a copy of all features, to save a few rows of arithmetic.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, lcm

from .colour import ClipSpec
from .graph import Program
from .operations import NO_MARGIN, Keep, Margin, Operation, Planes, Shuffle
from .tiling import unit

type Sides = tuple[int, int]
"""Two numbers, of the rows and of the columns."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where the values of a program lie about the picture; the picture's own size is not in it."""

    margins: Mapping[Operation, Margin]
    """Of each value that is made."""
    given: Margin
    """In luma samples, that the planes bring with them; where they need more, their edges are repeated."""

    def cut(self, operation: Operation, source: Operation) -> Margin:
        """What an operation leaves out of a source on each side; negative where it takes zeros for what is missing."""
        return self.margins[source].less(operation.needs(self.margins[operation]))

    def repeated(self, planes: Planes) -> Margin:
        """How often the edges of planes that come are repeated on each side; negative where samples are left out."""
        rows, columns = planes.ratios
        assert self.given == self.given.over(rows, columns).times(rows, columns), "whole chroma samples"
        return self.margins[planes].less(self.given.over(rows, columns))

    def kept(self, keep: Keep) -> int:
        """Rows that a band leaves to the next one."""
        margin = self.margins[keep]
        return margin.top + margin.bottom

    def size(self, operation: Operation, spec: ClipSpec) -> Sides:
        """Rows and columns of a value for pictures, or parts of them, of a size."""
        margin, (down, across) = self.margins[operation], operation.density
        rows, columns = spec.source.height * down, spec.source.width * across
        assert rows.denominator == columns.denominator == 1, "whole samples of every grid"
        return int(rows) + margin.top + margin.bottom, int(columns) + margin.left + margin.right


def needed(program: Program) -> dict[Operation, Margin]:
    """The margin of each value that the planes of the target depend on; of a program that sees the whole picture, its convolutions
    alone.
    """
    margins = dict.fromkeys(program.outputs, NO_MARGIN)
    for operation in reversed(program.operations):
        spread(operation, margins)
    return margins


def spread(operation: Operation, margins: dict[Operation, Margin]) -> None:
    """Widen the margins of an operation's sources to what its own margin needs."""
    need = operation.needs(margins[operation])
    for source in operation.sources:
        margins[source] = margins[source].hull(need) if source in margins else need


def halo(program: Program) -> Sides:
    """Luma samples of the source that a part of a picture needs above and below, and to the left and the right, whole samples of
    every plane: the receptive field, or, where the program sees the whole picture, the border that it is computed with.
    """
    margin = surroundings(program, place(program).margins)
    return max(margin.top, margin.bottom), max(margin.left, margin.right)


def surroundings(program: Program, margins: Mapping[Operation, Margin]) -> Margin:
    """What the planes that come need about them, in luma samples, whole samples of every plane."""
    border = frame(program)
    if border is not None:  # chroma is repeated beyond it
        return Margin(border, border, border, border)
    rows, columns = unit(program.spec)
    found = NO_MARGIN
    for planes in program.inputs:
        found = found.hull(margins[planes].times(*planes.ratios))
    return found.over(rows, columns).times(rows, columns)


def frame(program: Program) -> int | None:
    """Luma samples about the picture of a program that sees the whole of it, all zeros beyond; None for other programs.

    It is the receptive field of the convolutions, rounded up to whole windows, so that the picture is what it would be for any
    larger one as far as convolutions go.
    """
    windows = program.windows
    if not windows:
        return None
    reach = 0
    need = needed(program)
    for head in program.heads:
        reach = max(reach, *need[head.source])
    multiple = lcm(*windows, *unit(program.spec))
    return -(-reach // multiple) * multiple


def place(program: Program, *, given: Margin | None = None, pads: tuple[bool, bool] = (False, False)) -> Geometry:
    """Settle how much of each value is made.

    Args:
        program: of any kind.
        given: luma samples about the picture that the planes bring along; None for none.
        pads: whether, along the (rows, columns), features keep the size that the head gives them. Programs that see the whole
            picture always do, as the network that they are of does.
    """
    border = frame(program)
    need = needed(program) if border is None else _framed(program, border)
    if border is not None:
        pads = (True, True)
    tails = set(program.tails)
    margins: dict[Operation, Margin] = {}
    for operation in program.operations:
        margin = need[operation]
        if isinstance(operation, Shuffle):  # it gives whole cells
            margin = operation.gives(margins[operation.source])
        elif not operation.holds_samples and not operation.source.holds_samples and operation not in tails:
            wide = operation.gives(margins[operation.source])
            top, bottom = (wide.top, wide.bottom) if pads[0] and not isinstance(operation, Keep) else (margin.top, margin.bottom)
            left, right = (wide.left, wide.right) if pads[1] else (margin.left, margin.right)
            margin = Margin(top, left, bottom, right)
        margins[operation] = margin
    return Geometry(margins, given or NO_MARGIN)


def _framed(program: Program, border: int) -> dict[Operation, Margin]:
    """As :func:`needed`, with a border about the picture that the head is given and all features have."""
    margins = dict.fromkeys(program.outputs, NO_MARGIN)
    heads, tails = set(program.heads), set(program.tails)
    for operation in reversed(program.operations):
        if not operation.holds_samples and operation not in tails:
            margins[operation] = _about(operation, border)
        if operation in heads:
            margins[operation.source] = _about(operation.source, border)
        elif operation.holds_samples or operation in tails:
            spread(operation, margins)
    return margins


def _about(operation: Operation, border: int) -> Margin:
    rows, columns = (ceil(Fraction(border) * density) for density in operation.density)
    return Margin(rows, columns, rows, columns)
