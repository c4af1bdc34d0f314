"""Where the samples of tiles and bands lie within planes, and how planes are padded."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..program.colour import ClipSpec, PlaneGroup
from ..program.operations import Margin
from ..program.tiling import tile_places
from .base import Plane

type Slices = tuple[slice, slice]


class Padding:
    """The planes that a session is given, each padded by repeating its edges.

    Who pads is a backend's decision. The host does for OpenVINO, which computes in its memory (:meth:`on_host`). For the slots of
    PyTorch and TensorRT the device does: it gathers the padded planes from those that were uploaded (:meth:`indices`).

    Args:
        spec: of the frame.
        margin: luma samples that are added on each side, whole samples of every plane.

    Attributes:
        shapes: (rows, columns) of each padded plane, in the order of ``spec.input_planes``.
    """

    def __init__(self, spec: ClipSpec, margin: Margin) -> None:
        self._planes = spec.input_planes
        self._margins = [margin.over(*plane.ratios) for plane in self._planes]
        self.shapes = [own.around(*plane.shape) for own, plane in zip(self._margins, self._planes, strict=True)]

    def on_host(self, planes: Sequence[Plane], padded: Sequence[NDArray[np.generic]]) -> None:
        """Copy planes into arrays of ``shapes``, and repeat the edges there."""
        for plane, larger, margin in zip(planes, padded, self._margins, strict=True):
            replicate(plane, larger, margin)

    def indices(self) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """For each plane, which of its (rows, columns) the rows and columns of the padded plane repeat."""
        return [_repeated(plane, margin) for plane, margin in zip(self._planes, self._margins, strict=True)]


def replicate(plane: Plane, padded: NDArray[np.generic], margin: Margin) -> None:
    """Copy a plane into a larger one with a margin of so many samples around it, and repeat the plane's edges there."""
    (top, left, _, _), (height, width) = margin, plane.shape
    padded[top : top + height, left : left + width] = plane
    padded[top : top + height, :left] = plane[:, :1]
    padded[top : top + height, left + width :] = plane[:, -1:]
    padded[:top] = padded[top]
    padded[top + height :] = padded[top + height - 1]


def _repeated(plane: PlaneGroup, margin: Margin) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    height, width = plane.shape
    rows = np.arange(-margin.top, height + margin.bottom).clip(0, height - 1)
    columns = np.arange(-margin.left, width + margin.right).clip(0, width - 1)
    return rows, columns


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
class Tile:
    """A tile."""

    source: Sequence[Slices]
    """For each padded plane the (rows, columns) that the tile reads, with its margin."""
    target: Sequence[Slices]
    """For each plane of the target the (rows, columns) that the tile gives."""


class Layout:
    """A frame that is computed in tiles of one size. A device pads its planes as a whole, and cuts the tiles from them.

    Args:
        spec: of the frame.
        size: (rows, columns) of a tile, as :func:`~..program.tiling.tile_size` has it.
        margin: luma samples that a tile needs on each side: the ``source_margin`` of its program's geometry.
        align: of which the tiles' places are multiples, as :func:`~..program.tiling.tile_places` has it.

    Attributes:
        padding: of the frame's planes, so far that the outermost tiles find their margin.
        tiles: the tiles, row by row.
    """

    def __init__(self, spec: ClipSpec, size: tuple[int, int], margin: Margin, align: tuple[int, int] = (1, 1)) -> None:
        self.spec = spec
        self.size = size
        self.padding = Padding(spec, margin)
        read, written = margin.around(*size), (size[0] * spec.scale, size[1] * spec.scale)
        self.tiles = [
            Tile(
                [_slices((row, column), read, plane.ratios) for plane in spec.input_planes],
                [_slices((row * spec.scale, column * spec.scale), written, plane.ratios) for plane in spec.target.planes],
            )
            for row, column in tile_places(spec, size, align)
        ]


def _slices(place: tuple[int, int], size: tuple[int, int], ratios: tuple[int, int]) -> Slices:
    """(rows, columns) of a plane from a place on; place and size are in luma samples."""
    rows, columns = (
        slice(begin // ratio, (begin + length) // ratio) for begin, length, ratio in zip(place, size, ratios, strict=True)
    )
    return rows, columns
