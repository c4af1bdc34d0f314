"""Where the samples of tiles lie within frames of planes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..program.colour import ClipSpec, PlaneFormat
from ..program.tiling import tile_places
from .base import Plane

type Slices = tuple[slice, slice]


def input_ratios(spec: ClipSpec) -> list[tuple[int, int]]:
    """``plane_ratios`` of all planes that a session is given."""
    return [ratios for fmt in spec.inputs for ratios in plane_ratios(fmt)]


def plane_ratios(fmt: PlaneFormat) -> list[tuple[int, int]]:
    """Luma samples (rows, columns) for a sample of each plane."""
    return [(1, 1), fmt.ratios, fmt.ratios][: len(fmt.shapes)]


def plane_shapes(fmt: PlaneFormat, height: int, width: int) -> list[tuple[int, int]]:
    """Height and width of each plane of a picture with so many luma samples."""
    return [(height // rows, width // columns) for rows, columns in plane_ratios(fmt)]


def padded_shapes(fmt: PlaneFormat, halo: tuple[int, int]) -> list[tuple[int, int]]:
    """Height and width of each plane with the halo, of luma samples, on each side."""
    return plane_shapes(fmt, fmt.height + 2 * halo[0], fmt.width + 2 * halo[1])


def replicate(plane: Plane, padded: NDArray[np.generic], rows: int, columns: int) -> None:
    """Copy a plane into the middle of a larger one and repeat its edges."""
    height, width = plane.shape
    padded[rows : rows + height, columns : columns + width] = plane
    padded[rows : rows + height, :columns] = plane[:, :1]
    padded[rows : rows + height, columns + width :] = plane[:, -1:]
    padded[:rows] = padded[rows]
    padded[rows + height :] = padded[rows + height - 1]


def place_cells(cells: NDArray[np.generic], planes: Sequence[Plane]) -> None:
    """Copy (cells of the rows, cells of the columns, planes * rows * columns of a cell) into the planes' upper rows.

    All columns of a cell go as one item. What the planes have no rows for is left out.
    """
    down, across, samples = cells.shape
    columns = planes[0].shape[1] // across
    rows = samples // (len(planes) * columns)
    items = cells.view(f"V{columns * cells.itemsize}")
    for index in range(len(planes) * rows):
        plane, row = planes[index // rows], index % rows
        part = plane[row : down * rows : rows].view(items.dtype)
        part[...] = items[: len(part), :, index]


@dataclass(frozen=True, slots=True)
class Part:
    """A tile: what it reads of the padded planes, with its halo, and what it writes of the target's."""

    source: Sequence[Slices]
    target: Sequence[Slices]


class Layout:
    """A frame that is computed in tiles of one size.

    Args:
        spec: of the frame.
        size: (rows, columns) of a tile, as :func:`~..program.tiling.tile_size` has it.
        halo: luma samples (rows, columns) about a tile.
        align: of which the tiles' places are multiples, as :func:`~..program.tiling.tile_places` has it.
    """

    def __init__(self, spec: ClipSpec, size: tuple[int, int], halo: tuple[int, int], align: tuple[int, int] = (1, 1)) -> None:
        self.spec = spec
        self.size = size
        self.source_shapes = [shape for fmt in spec.inputs for shape in padded_shapes(fmt, halo)]
        """Of the planes that come, with the halo about the whole frame."""
        self.margins = [(halo[0] // rows, halo[1] // columns) for rows, columns in input_ratios(spec)]
        """(rows, columns) of each plane's halo."""
        scale = spec.target.height // spec.source.height
        read = size[0] + 2 * halo[0], size[1] + 2 * halo[1]
        written = size[0] * scale, size[1] * scale
        self.parts = [
            Part(
                [_slices(place, read, ratios) for ratios in input_ratios(spec)],
                [_slices((place[0] * scale, place[1] * scale), written, ratios) for ratios in plane_ratios(spec.target)],
            )
            for place in tile_places(spec, size, align)
        ]
        """The tiles, row by row."""

    def surround(self, planes: Sequence[Plane], padded: Sequence[NDArray[np.generic]]) -> None:
        """Copy the planes that come into padded ones."""
        for plane, room, margin in zip(planes, padded, self.margins, strict=True):
            replicate(plane, room, *margin)


def _slices(place: tuple[int, int], size: tuple[int, int], ratios: tuple[int, int]) -> Slices:
    """Rows and columns of a plane from a place on, given in luma samples."""
    rows, columns = (
        slice(begin // ratio, (begin + length) // ratio) for begin, length, ratio in zip(place, size, ratios, strict=True)
    )
    return rows, columns
