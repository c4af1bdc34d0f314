"""How a picture is cut into tiles, and the border that the plain route runs a network with, which folded programs are tested by."""

from dataclasses import replace
from math import gcd, lcm
from typing import Any, Protocol

from ..support.errors import ParagonSR2Error
from .colour import ClipSpec, PlaneFormat


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

    A side of 0 is the picture's own: ``(64, 0)`` makes strips of 64 rows. :func:`tile_places` says what ``align`` is.

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
        ParagonSR2Error: ``size`` is none of the above.
    """
    picture, units = _size(spec.source), unit(spec)
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


def _size(fmt: PlaneFormat) -> tuple[int, int]:
    return fmt.height, fmt.width


def _resized(fmt: PlaneFormat, size: tuple[int, int]) -> PlaneFormat:
    return PlaneFormat(fmt.family, fmt.bits, fmt.is_float, fmt.subsampling_w, fmt.subsampling_h, size[1], size[0])
