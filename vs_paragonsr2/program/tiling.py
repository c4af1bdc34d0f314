"""How a picture is cut into tiles: their sizes, and their places in the picture."""

from dataclasses import replace
from math import gcd, lcm

from ..support.errors import ParagonSR2Error
from .colour import ClipSpec


def unit(spec: ClipSpec) -> tuple[int, int]:
    """Luma samples of the source, (rows, columns), that make whole samples of every plane of source and target.

    Sides and places of tiles are multiples of it.
    """
    ratios = zip(spec.source.chroma_ratios, spec.target.chroma_ratios, strict=True)
    rows, columns = (lcm(source, target // gcd(spec.scale, target)) for source, target in ratios)
    return rows, columns


def check_side(name: str, asked: int, least: int) -> None:
    """Raise ParagonSR2Error where a tile was asked for that is too low or narrow (``name`` is "high" or "wide")."""
    if asked and asked < least:
        raise ParagonSR2Error(f"tile_size is {asked} {name}: expected 0, for the picture's own, or {least} or more")


def tile_size(spec: ClipSpec, most: tuple[int, int], align: tuple[int, int] = (1, 1)) -> tuple[int, int]:
    """The size (rows, columns) of equal tiles no larger than ``most`` that cover the picture with little overlap.

    A side of 0 is the picture's own: ``(64, 0)`` makes strips of 64 rows. :func:`tile_places` says what ``align`` is.

    Raises:
        ParagonSR2Error: a side is less than a chroma sample, or than tiles at multiples of ``align`` can be.
    """
    sides = []
    axes = zip(("high", "wide"), most, spec.source.size, unit(spec), align, strict=True)
    for name, asked, length, step, window in axes:
        least = min(window + length % window, length) if window > step else step
        check_side(name, asked, least)
        side = min(asked // step * step or length, length)
        count = -(-length // side)
        even, aligned = -(-length // (count * step)) * step, length - -(-(length - side) // window) * window
        sides.append(even if window <= step else aligned)
    return sides[0], sides[1]


def tile_spec(spec: ClipSpec, size: tuple[int, int]) -> ClipSpec:
    """What a session for one tile of ``size`` (rows, columns), its margin not counted, is made for."""
    rows, columns = size
    target = replace(spec.target, height=rows * spec.scale, width=columns * spec.scale)
    return replace(spec, source=replace(spec.source, height=rows, width=columns), target=target)


def tile_places(spec: ClipSpec, size: tuple[int, int], align: tuple[int, int] = (1, 1)) -> list[tuple[int, int]]:
    """Cut a picture into tiles of one size, so that one session serves them all.

    Where the size does not divide the picture, the last tiles begin earlier and overlap the ones before; what they have in
    common is the same in both, unless the network has attention windows.

    Args:
        spec: of the whole picture.
        size: of a tile, (rows, columns), as :func:`tile_size` has it: multiples of :func:`unit`, no larger than the picture.
        align: (rows, columns) of which the places of tiles are multiples, and what the picture exceeds ``size`` by: the side of
            attention windows, so that those of tiles are those of the picture.

    Returns:
        (row, column) of the source's luma where each tile begins, row by row.

    Raises:
        ParagonSR2Error: tiles of ``size`` cannot be placed so.
    """
    picture, units = spec.source.size, unit(spec)
    fits = all(side % step == 0 and step <= side <= most for side, step, most in zip(size, units, picture, strict=True))
    if not fits:
        raise ParagonSR2Error(f"size is {size} (rows, columns): expected multiples of {units} up to {picture}")
    if any((length - side) % step or side < min(step, length) for length, side, step in zip(picture, size, align, strict=True)):
        raise ParagonSR2Error(f"size is {size} (rows, columns): expected {picture} less multiples of {align}")
    rows, columns = (_axis(*axis) for axis in zip(picture, size, align, strict=True))
    return [(row, column) for row in rows for column in columns]


def _axis(length: int, size: int, align: int) -> list[int]:
    """Where tiles begin along one axis."""
    step = max(size // align * align, 1)
    return [min(place, length - size) for place in range(0, length - size + step, step)]
