"""Bands of rows as a transformation of a program: what an operation needs of the rows above, the band above has left for it.

A picture that is cut into tiles computes each halo again, and a halo is as deep as the whole network: 58 rows of Stream for a strip
of any height. Here only the few rows that the next part of the body reaches back are kept, so that bands can be as low as a
processor's cache asks for. There is no recursion in it: a row depends on the rows within the receptive field and on no others.
"""

from collections.abc import Iterator, Sequence
from math import ceil, lcm

from ..support.errors import ParagonSR2Error
from .colour import ClipSpec
from .geometry import Geometry, place, spread, surroundings
from .graph import Program
from .operations import NO_MARGIN, Keep, Operation
from .tiling import unit

AGAIN_SHARE = 4
"""The head computes rows again where they are no more than one in so many: to put kept rows before a band is to copy all of it.

(Measured for Realtime on one core, bands of 20 rows, f32: 5.4 ns a pixel to keep 2 rows, and 1.7 to compute them again.)
"""


def in_bands(program: Program) -> Program:
    """The program for one band of rows after the other, ``program.spec`` being that of a band.

    A picture is computed from its top downwards. A :class:`~.operations.Keep` stands wherever all that follows goes through one
    value and reaches above and below it.

    Raises:
        ParagonSR2Error: the program sees the whole picture.
    """
    if program.windows:
        raise ParagonSR2Error("the network sees the whole picture, which is not cut into bands: expected realtime or stream")
    begins = set()
    for begin, part in _parts(program):
        reach = _reach(begin, part)
        again = begin in program.heads and reach * AGAIN_SHARE <= program.spec.source.height
        if reach and not again:
            begins.add(begin)
    return program.rewritten(lambda operation, same: Keep(sources=(same,)) if operation in begins else same)


def place_band(program: Program) -> Geometry:
    """The geometry of a program for bands: rows as they are needed, and columns with zeros about them."""
    pads = (False, True)
    return place(program, given=surroundings(program, place(program, pads=pads).margins), pads=pads)


def priming(program: Program, geometry: Geometry) -> int:
    """How many bands have to be run before the first one, for their kept rows."""
    kept = sum(geometry.kept(x) / x.density[0] for x in program.operations if isinstance(x, Keep))
    return ceil(kept / program.spec.source.height)


def longest_reach(program: Program) -> int:
    """The most rows that a part of the body needs besides its own, which it computes again in every band."""
    return max(_reach(*part) for part in _parts(program))


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
    begin, furthest = 0, 0  # the last operation that reads something before the one that is looked at
    for index, operation in enumerate(body):
        if index and furthest <= index:
            yield body[begin], body[begin + 1 : index + 1]
            begin = index
        furthest = max([furthest, *(number[user] for user in program.consumers[operation] if user in number)])


def _reach(begin: Operation, part: Sequence[Operation]) -> int:
    """Rows of a value that a row of what a part of the body makes of it needs besides its own."""
    margins = dict.fromkeys(part, NO_MARGIN)
    for operation in reversed(part):
        spread(operation, margins)
    return margins[begin].top + margins[begin].bottom
