"""How much of a picture's surroundings an output needs, and how a picture is cut into tiles with as much about them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd, lcm
from typing import Any, Protocol

from .colour import ClipSpec, PlaneFormat
from .errors import ParagonSR2Error


class Upsampler(Protocol):
    """What a frame can be run through, as our networks: (1, 3, H, W) RGB to (1, 3, H * scale, W * scale)."""

    @property
    def scale(self) -> int:
        """Factor on each side."""

    @property
    def radius(self) -> int:
        """How far an output pixel sees, in input pixels."""

    @property
    def window(self) -> int | None:
        """Side of the attention windows in pixels; None for a finite receptive field."""

    def __call__(self, rgb: Any, /) -> Any:
        """Both tensors are float32, nominally 0..1."""


def border(network: Upsampler, spec: ClipSpec) -> int:
    """Luma samples to replicate on each side of a frame before it is run, and to crop afterwards (times the scale).

    It covers the receptive field of the network and the filter that reduces chroma behind it, and is a multiple of the source's
    and target's chroma ratios. Networks with attention windows see the whole picture: theirs is a multiple of the window that
    covers the receptive field of the convolutions.
    """
    source, target = spec.source, spec.target
    reach = network.radius
    if target.family == "YUV":
        reach += -(-2 * max(target.ratios) // network.scale)
    multiple = max(network.window or 1, *source.ratios, *target.ratios)
    return -(-reach // multiple) * multiple


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Samples of a plane: rows ``top`` to ``top + height``, columns ``left`` to ``left + width``."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """To index a plane (height, width) with."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def of_plane(self, ratios: tuple[int, int]) -> "Rectangle":
        """The same part of the picture in a plane with one sample for ``ratios`` of luma (rows, columns)."""
        rows, columns = ratios
        return Rectangle(self.top // rows, self.left // columns, self.height // rows, self.width // columns)


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of the picture that is computed at once. All are in luma samples and multiples of the planes' chroma ratios."""

    source: Rectangle
    """What to read: the tile and as much of its halo as lies within the picture."""
    pads: tuple[tuple[int, int], tuple[int, int]]
    """((above, below), (left, right)): the rest of the halo, for which the picture's edge is repeated."""
    target: Rectangle
    """What to write, of the target's luma."""

    def source_of(self, ratios: tuple[int, int]) -> tuple[Rectangle, tuple[tuple[int, int], tuple[int, int]]]:
        """``source`` and ``pads`` in a plane with one sample for ``ratios`` of luma (rows, columns)."""
        (above, below), (left, right) = self.pads
        rows, columns = ratios
        return self.source.of_plane(ratios), ((above // rows, below // rows), (left // columns, right // columns))


def unit(spec: ClipSpec) -> tuple[int, int]:
    """Luma samples of the source, (rows, columns), that make whole chroma samples: sides and places of tiles are multiples."""
    scale = spec.target.height // spec.source.height
    rows, columns = (
        lcm(ratio, reduced // gcd(scale, reduced)) for ratio, reduced in zip(spec.source.ratios, spec.target.ratios, strict=True)
    )
    return rows, columns


def check_side(name: str, asked: int, least: int) -> None:
    """Raise ParagonSR2Error where a tile was asked for that is too low or narrow (``name`` is "high" or "wide")."""
    if asked and asked < least:
        raise ParagonSR2Error(f"tile_size is {asked} {name}: expected 0, for the picture's own, or {least} or more")


def tile_size(spec: ClipSpec, most: tuple[int, int], align: tuple[int, int] = (1, 1)) -> tuple[int, int]:
    """The size (rows, columns) of equal tiles no larger than ``most`` that cover the picture with little overlap.

    A side of 0 is the picture's own: ``(64, 0)`` makes strips of 64 rows. ``align``, as :func:`tiles` has it, can make them less.

    Raises:
        ParagonSR2Error: a side is less than a chroma sample, or than tiles at multiples of ``align`` can be.
    """
    sides = []
    axes = zip(("high", "wide"), most, _size(spec.source), unit(spec), align, strict=True)
    for name, asked, length, step, window in axes:
        least = min(window + length % window, length) if window > step else step
        check_side(name, asked, least)
        side = min(asked // step * step or length, length)
        count = -(-length // side)
        even, aligned = -(-length // (count * step)) * step, length - -(-(length - side) // window) * window
        sides.append(even if window <= step else aligned)
    return sides[0], sides[1]


def tile_spec(spec: ClipSpec, size: tuple[int, int]) -> ClipSpec:
    """What a session for one tile of ``size`` (rows, columns) is made for, its halo apart."""
    scale = spec.target.height // spec.source.height
    target = _resized(spec.target, (size[0] * scale, size[1] * scale))
    return replace(spec, source=_resized(spec.source, size), target=target)


def tiles(spec: ClipSpec, size: tuple[int, int], halo: tuple[int, int], align: tuple[int, int] = (1, 1)) -> list[Tile]:
    """Cut a picture into tiles of one size, so that one session serves them all.

    Where the size does not divide the picture, the last tiles begin earlier and overlap the ones before; what they have in
    common is the same in both, unless the network has attention windows.

    Args:
        spec: of the whole picture.
        size: of a tile, (rows, columns), as :func:`tile_size` has it: multiples of :func:`unit`, no larger than the picture.
        halo: luma samples (rows, columns) about a tile that its outputs need; multiples of :func:`unit`.
        align: (rows, columns) of which the places of tiles are multiples, and what the picture exceeds ``size`` by: the side of
            attention windows, so that those of tiles are those of the picture.

    Returns:
        The tiles in the order of the rows.

    Raises:
        ParagonSR2Error: ``size`` or ``halo`` is none of the above.
    """
    picture, units = _size(spec.source), unit(spec)
    for what, pair, smallest, largest in (("size", size, units, picture), ("halo", halo, (0, 0), None)):
        fits = all(side % step == 0 and side >= least for side, step, least in zip(pair, units, smallest, strict=True))
        if not fits or (largest and (size[0] > picture[0] or size[1] > picture[1])):
            limit = f" up to {picture}" if largest else " or 0"
            raise ParagonSR2Error(f"{what} is {pair} (rows, columns): expected multiples of {units}{limit}")
    if any((length - side) % step or side < min(step, length) for length, side, step in zip(picture, size, align, strict=True)):
        raise ParagonSR2Error(f"size is {size} (rows, columns): expected {picture} less multiples of {align}")
    scale = spec.target.height // spec.source.height
    rows, columns = (_axis(*axis) for axis in zip(picture, size, halo, align, strict=True))
    return [
        Tile(
            Rectangle(top, left, height, width),
            (above_below, left_right),
            Rectangle(y * scale, x * scale, size[0] * scale, size[1] * scale),
        )
        for y, top, height, above_below in rows
        for x, left, width, left_right in columns
    ]


def _axis(length: int, size: int, halo: int, align: int) -> Sequence[tuple[int, int, int, tuple[int, int]]]:
    """Along one axis, for each tile: its begin, begin and length of what it reads, and what is repeated before and behind."""
    found = []
    step = max(size // align * align, 1)
    for place in range(0, length - size + step, step):
        begin = min(place, length - size)
        first, last = max(begin - halo, 0), min(begin + size + halo, length)
        found.append((begin, first, last - first, (first - (begin - halo), begin + size + halo - last)))
    return found


def _size(fmt: PlaneFormat) -> tuple[int, int]:
    return fmt.height, fmt.width


def _resized(fmt: PlaneFormat, size: tuple[int, int]) -> PlaneFormat:
    return PlaneFormat(fmt.family, fmt.bits, fmt.is_float, fmt.subsampling_w, fmt.subsampling_h, size[1], size[0])
