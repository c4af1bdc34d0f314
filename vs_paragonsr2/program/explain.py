"""A program as a table to read: what is computed, in which shapes, at what cost, and how far it sees."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from .operations import NO_MARGIN, Operation, Planes
from .program import Program

BYTES = 4
"""Bytes of a number between two operations, which is float32."""


@dataclass(frozen=True, slots=True)
class Row:
    """One operation; costs are for each luma sample of the source."""

    number: int
    name: str
    what: str
    sources: tuple[int, ...]
    """Numbers of the rows that it computes from."""
    channels: int
    density: tuple[Fraction, Fraction]
    """Samples for one of the source's luma, along the rows and along the columns."""
    multiply_adds: float
    bytes_moved: float
    """Every operation reads its sources and writes its result once: nothing fused, nothing kept in a cache, no weights counted."""
    reach: int | None
    """Luma samples beyond its own place that a result depends on, on the side where they are most; None for the whole picture."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a whole program costs for each luma sample of the source."""

    multiply_adds: float
    bytes_moved: float
    operations: int


def explain(program: Program) -> list[Row]:
    """A row for each operation, in the order in which they are computed."""
    number = {operation: index for index, operation in enumerate(program.operations)}
    reaches: dict[Operation, Fraction | None] = {}
    rows = []
    for operation in program.operations:
        reaches[operation] = _reach(operation, [reaches[source] for source in operation.sources])
        reach = reaches[operation]
        rows.append(
            Row(
                number[operation],
                type(operation).__name__,
                operation.describe(),
                tuple(number[source] for source in operation.sources),
                operation.channels,
                operation.density,
                float(operation.multiply_adds * _area(operation)),
                float(sum(map(_bytes, (operation, *operation.sources)))),
                None if reach is None else ceil(reach),
            )
        )
    return rows


def cost(program: Program) -> Cost:
    """What a frame costs."""
    rows = explain(program)
    return Cost(sum(row.multiply_adds for row in rows), sum(row.bytes_moved for row in rows), len(rows))


def _area(operation: Operation) -> Fraction:
    rows, columns = operation.density
    return rows * columns


def _bytes(value: Operation) -> Fraction:
    size = value.group.format.dtype.itemsize if isinstance(value, Planes) else BYTES
    return value.channels * _area(value) * size


def _reach(operation: Operation, before: Sequence[Fraction | None]) -> Fraction | None:
    """The reach of a result, in luma samples, from those of its sources: the largest over both axes and sides."""
    if operation.window is not None or None in before:
        return None
    if not operation.sources:
        return Fraction(0)
    need = operation.needs(NO_MARGIN)
    rows, columns = operation.source.density
    own = max(need.top / rows, need.bottom / rows, need.left / columns, need.right / columns, Fraction(0))
    return own + max(reach for reach in before if reach is not None)
