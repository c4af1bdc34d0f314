"""What tiles cost where a network sees the whole picture: Photo and Pro in tiles against the same picture in one piece.

Tiles are those that the sessions for NVIDIA's cards take where memory is short: the picture's sides halved, aligned to the
attention windows, each with its surroundings out of the whole picture. They are computed on the CPU in float32, in 8-bit RGB.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vs_paragonsr2.backends.base import Plane
from vs_paragonsr2.backends.pytorch.devices import queue_on
from vs_paragonsr2.backends.pytorch.modules import ProgramModule
from vs_paragonsr2.backends.pytorch.session import alignment, sizes_of
from vs_paragonsr2.backends.pytorch.slots import FrameSlot, TorchSession
from vs_paragonsr2.backends.tiles import Layout
from vs_paragonsr2.checkpoints import load_checkpoint
from vs_paragonsr2.evaluation.metrics import Picture, psnr_luma
from vs_paragonsr2.program.colour import ClipSpec, Colorimetry, Matrix, PlaneFormat, Range, Siting
from vs_paragonsr2.program.fold import fold
from vs_paragonsr2.program.parts import NetworkParts
from vs_paragonsr2.program.tiling import tile_spec

from .harness import report

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Row:
    """A picture in tiles of one size, against the same picture in one piece."""

    checkpoint: str
    picture: str
    tile: str
    """WIDTHxHEIGHT of the source."""
    psnr: float
    """Luma PSNR in dB."""
    mean_codes: float
    """By how many codes of 8 bits a sample is off, in the mean."""
    worst_codes: int


def run(arguments: argparse.Namespace) -> None:
    """Compare, and report."""
    paths = pictures_of(arguments.data)[: arguments.pictures]
    rows = [row for checkpoint in arguments.checkpoints for path in paths for row in compare(checkpoint, path, arguments.side)]
    report(f"squares of {arguments.side}x{arguments.side}, in tiles against one piece", rows, arguments.json)


def pictures_of(folder: Path) -> list[Path]:
    """The pictures of a folder that are to be enlarged."""
    return sorted(path for path in folder.glob("*.png") if not path.stem.endswith("_hr"))


def compare(checkpoint: Path, path: Path, side: int) -> Iterator[Row]:
    """Rows for the tiles of one picture."""
    with Image.open(path) as picture:
        samples = middle(np.asarray(picture.convert("RGB")), side)
    whole, *tiled = in_tiles(load_checkpoint(checkpoint).parts, samples)
    for tile, result in tiled:
        off = np.abs(result.astype(int) - whole[1])
        yield Row(checkpoint.stem, path.stem, tile, psnr_luma(result, whole[1], 0), float(off.mean()), int(off.max()))


def middle(picture: Picture, side: int) -> Picture:
    """A square out of the middle, or as much of it as there is."""
    top, left = (max(length - side, 0) // 2 for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def in_tiles(network: NetworkParts, picture: Picture) -> Iterator[tuple[str, Picture]]:
    """The picture (H, W, 3) enlarged in one piece, then in tiles of a half, a quarter and an eighth of its sides.

    Yields:
        WIDTHxHEIGHT of the piece or of a tile, and the enlarged picture.
    """
    height, width, _ = picture.shape
    source, target = (PlaneFormat("RGB", 8, False, 0, 0, width * k, height * k) for k in (1, network.scale))
    spec = ClipSpec(source, target, Colorimetry(Matrix.BT709, Range.FULL, Siting.LEFT))
    planes: Sequence[Plane] = list(np.moveaxis(picture, 2, 0))
    for size in islice(sizes_of(spec, network), 0, 7, 2):
        module = ProgramModule(fold(network, tile_spec(spec, size)), padded=True)
        layout = Layout(spec, size, module.geometry.source_margin, alignment(module.program))

        def make(device: torch.device, layout: Layout = layout, module: ProgramModule = module) -> FrameSlot:
            return FrameSlot(queue_on(device), layout, module)

        out: list[Plane] = [np.empty(shape, np.uint8) for shape in target.shapes]
        TorchSession(layout, make, [CPU]).run(planes, out)
        yield f"{size[1]}x{size[0]}", np.stack(out, 2)
