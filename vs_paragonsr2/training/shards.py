"""Tar shards of lossless pictures: an index of where each picture lies, and a bounded memory for those that were read last."""

import io
import tarfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..evaluation.metrics import Picture
from ..evaluation.pairs import SUFFIXES, reduce_bicubic
from ..support.errors import ParagonSR2Error


def find_shards(roots: list[Path]) -> list[Path]:
    """The tar files that ``roots`` are or contain, sorted. Raises ParagonSR2Error where one of them neither is nor contains one."""
    shards = []
    for root in roots:
        found = [root] if root.is_file() else list(root.glob("*.tar"))
        if not found:
            raise ParagonSR2Error(f"dataroot_gt is {', '.join(map(str, roots))}: no .tar shard is at {root}")
        shards += found
    return sorted(shards)


class Tile(NamedTuple):
    """A picture of the training data at both resolutions."""

    low: Picture
    high: Picture
    """The picture itself, ``scale`` times as large as ``low``."""


class _Place(NamedTuple):
    """Where the bytes of a picture lie."""

    shard: Path
    name: str
    offset: int
    size: int

    def read(self) -> Image.Image:
        """The picture, not decoded yet. Raises ParagonSR2Error where the bytes are not a picture."""
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        try:
            return Image.open(io.BytesIO(data))
        except OSError as error:
            raise ParagonSR2Error(f"{self.shard}: {self.name} is damaged, or no WebP or PNG picture ({error})") from error


class Tiles:
    """The pictures in the shards that have at least ``side`` pixels on each side, numbered in the order of the shards.

    A picture is read and decoded when it is asked for. Those used last stay in memory, up to ``memory_bytes``, which changes
    nothing but the speed. Pictures are cropped to multiples of ``scale``.

    Raises ParagonSR2Error where no picture is large enough, a picture is damaged, or a shard is not a tar file.
    """

    def __init__(self, shards: list[Path], *, scale: int, side: int, memory_bytes: int) -> None:
        self.scale, self.memory_bytes = scale, memory_bytes
        self.places = [place for shard in shards for place in _index(shard, side)]
        if not self.places:
            raise ParagonSR2Error(f"no picture in {len(shards)} shards is as large as {side}, which lq_size or frame_size asks for")
        self._kept: OrderedDict[int, Tile] = OrderedDict()
        self._kept_bytes = 0

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Tile:
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        tile = self._decode(self.places[index])
        self._kept[index] = tile
        self._kept_bytes += _size(tile)
        while self._kept_bytes > self.memory_bytes:
            self._kept_bytes -= _size(self._kept.popitem(last=False)[1])
        return tile

    def _decode(self, place: _Place) -> Tile:
        try:
            with place.read() as picture:
                high = np.asarray(picture.convert("RGB"))
        except OSError as error:
            raise ParagonSR2Error(f"{place.shard}: {place.name} is damaged ({error})") from error
        height, width = (side - side % self.scale for side in high.shape[:2])
        high = np.ascontiguousarray(high[:height, :width])
        return Tile(reduce_bicubic(high, self.scale), high)


def _index(shard: Path, side: int) -> Iterator[_Place]:
    """The places of those pictures in a tar file that are large enough. Only their headers are decoded."""
    try:
        with tarfile.open(shard) as tar:
            members = [m for m in tar if m.isreg() and m.name.endswith(SUFFIXES)]
    except tarfile.TarError as error:
        raise ParagonSR2Error(f"{shard}: truncated, or no tar file ({error})") from error
    for member in members:
        place = _Place(shard, member.name, member.offset_data, member.size)
        with place.read() as picture:
            if min(picture.size) >= side:
                yield place


def _size(tile: Tile) -> int:
    return tile.low.nbytes + tile.high.nbytes
