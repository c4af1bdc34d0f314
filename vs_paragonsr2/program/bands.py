"""Bands of rows as a transformation of a program: what an operation needs of the rows above, the band above has kept for it.

A picture that is cut into tiles computes each halo again, and a halo is as deep as the whole network: 58 rows of Stream for a strip
of any height. A band instead keeps the few rows of each part of the body that the band below needs again, so that bands can be as
low as a processor's cache asks for. There is no recursion in it: a row depends on the rows within the halo and on no others. So a
few bands above, of which nothing else is used, are all that has to run before the first band: they prime it.
"""

from collections.abc import Iterator, Sequence
from math import ceil, lcm

from ..support.errors import ParagonSR2Error
from .colour import ClipSpec
from .geometry import Geometry, add_needs
from .operations import NO_MARGIN, Keep, Operation
from .program import Program
from .tiling import unit

AGAIN_SHARE = 4
"""Where at most one row in so many overlaps, the head computes it again: to keep it would copy the whole band.

(Measured for Realtime on one core, bands of 20 rows, f32: 5.4 ns a pixel to keep 2 rows, and 1.7 to compute them again.)
"""


def in_bands(program: Program) -> Program:
    """The program for one band of rows after the other, ``program.spec`` being that of a band.

    A picture is computed from its top downwards. A :class:`~.operations.Keep` stands wherever all that follows goes through one
    value of which neighbouring bands need some rows in common.

    Raises:
        ParagonSR2Error: the program sees the whole picture.
    """
    if program.windows:
        raise ParagonSR2Error("the network sees the whole picture, which is not cut into bands: expected realtime or stream")
    begins = set()
    for begin, part in _parts(program):
        overlap = _overlap(begin, part)
        again = begin in program.heads and overlap * AGAIN_SHARE <= program.spec.source.height
        if overlap and not again:
            begins.add(begin)
    return program.rewritten(lambda operation, same: Keep(sources=(same,)) if operation in begins else same)


def priming(geometry: Geometry) -> int:
    """How many bands have to run before the first one, so that all kept rows that it reads are there."""
    program = geometry.program
    kept = sum(geometry.kept(x) / x.density[0] for x in program.operations if isinstance(x, Keep))
    return ceil(kept / program.spec.source.height)


def largest_overlap(program: Program) -> int:
    """The most rows in common that neighbouring bands need of what a part of the body reads; within the part both compute them."""
    return max(_overlap(*part) for part in _parts(program))


def band_rows(spec: ClipSpec, most: int) -> int:
    """Luma rows of bands, ``most`` at most and half of it at least, that overshoot the picture's height by little.

    They are such that the tails' 4x4 outputs divide a band wherever that is possible.
    """
    least, height = unit(spec)[0], spec.source.height
    step = lcm(least, 4)
    sizes = [rows for rows in range(step, most + 1, step) if 2 * rows >= most] or [most // least * least]
    return min(sizes, key=lambda rows: (-(-height // rows) * rows, -rows))


def _parts(program: Program) -> Iterator[tuple[Operation, list[Operation]]]:
    """The body cut wherever all that follows goes through one value: that value, and the operations up to the next one."""
    body = [operation for operation in program.operations if not operation.holds_samples]
    number = {operation: index for index, operation in enumerate(body)}
    begin, furthest = 0, 0  # the last operation that reads something before the current one
    for index, operation in enumerate(body):
        if index and furthest <= index:
            yield body[begin], body[begin + 1 : index + 1]
            begin = index
        furthest = max([furthest, *(number[user] for user in program.consumers[operation] if user in number)])


def _overlap(begin: Operation, part: Sequence[Operation]) -> int:
    """Rows in common that neighbouring bands need of a value, for what a part of the body makes of it."""
    margins = dict.fromkeys(part, NO_MARGIN)
    for operation in reversed(part):
        add_needs(operation, margins)
    return margins[begin].top + margins[begin].bottom
