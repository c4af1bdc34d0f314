"""Measure what tiles cost where a network sees the whole picture: Photo and Pro in tiles against the same picture in one piece.

    python scripts/tile_loss.py CHECKPOINT ... --data PICTURES [--pictures 2] [--side 288]

Tiles are those that the sessions for NVIDIA's cards take where memory is short: the picture's sides halved, aligned to the
attention windows, with the border of the whole picture about each. On the CPU in float32, in 8-bit RGB.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console

from vs_paragonsr2.backends.base import Plane
from vs_paragonsr2.backends.pytorch import alignment, sizes_of
from vs_paragonsr2.backends.pytorch.devices import lane_on
from vs_paragonsr2.backends.pytorch.lanes import FrameLane, LanesSession
from vs_paragonsr2.backends.pytorch.modules import ProgramModule
from vs_paragonsr2.backends.tiles import Layout
from vs_paragonsr2.checkpoints import load_checkpoint
from vs_paragonsr2.evaluation.metrics import Picture, psnr_luma
from vs_paragonsr2.program.colour import ClipSpec, Colorimetry, Matrix, PlaneFormat, Range, Siting
from vs_paragonsr2.program.fold import fold
from vs_paragonsr2.program.parts import NetworkParts
from vs_paragonsr2.program.tiling import tile_spec

CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--data", type=Path, required=True, help="a folder of pictures, which are what is upscaled")
    parser.add_argument("--pictures", type=int, default=2)
    parser.add_argument("--side", type=int, default=288, help="of the square that is cut out of the middle of a picture")
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.data.glob("*.png") if not path.stem.endswith("_hr"))[: arguments.pictures]
    if not paths:
        sys.exit(f"tile_loss: --data is {arguments.data}: expected a folder with pictures, NAME.png")
    console = Console(stderr=True)
    for checkpoint in arguments.checkpoints:
        network = load_checkpoint(checkpoint).parts
        for path in paths:
            with Image.open(path) as picture:
                samples = middle(np.asarray(picture.convert("RGB")), arguments.side)
            for tile, result in in_tiles(network, samples):
                if tile is None:
                    whole = result
                    continue
                off = np.abs(result.astype(int) - whole)
                found = f"{psnr_luma(result, whole, 0):.2f} dB luma PSNR, codes off by {off.mean():.3f}, {off.max()} at worst"
                console.print(f"{checkpoint.stem}, {path.stem}, tiles of {tile}: {found}", highlight=False)


def middle(picture: Picture, side: int) -> Picture:
    """A square out of the middle, or what there is of it."""
    top, left = (max(length - side, 0) // 2 for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def in_tiles(network: NetworkParts, picture: Picture) -> Iterator[tuple[str | None, Picture]]:
    """The picture (H, W, 3) enlarged in one piece, then in tiles of half, a quarter and an eighth of its sides, and their size."""
    height, width, _ = picture.shape
    source, target = (PlaneFormat("RGB", 8, False, 0, 0, width * k, height * k) for k in (1, network.scale))
    spec = ClipSpec(source, target, Colorimetry(Matrix.BT709, Range.FULL, Siting.LEFT))
    planes: Sequence[Plane] = list(np.moveaxis(picture, 2, 0))
    for size in islice(sizes_of(spec, network), 0, 7, 2):
        module = ProgramModule(fold(network, tile_spec(spec, size)), padded=True)
        layout = Layout(spec, size, module.halo, alignment(module.program))

        def make(device: torch.device, layout: Layout = layout, module: ProgramModule = module) -> FrameLane:
            return FrameLane(lane_on(device), layout, module)

        out: list[Plane] = [np.empty(shape, np.uint8) for shape in target.shapes]
        LanesSession(layout, make, [CPU]).run(planes, out)
        yield (f"{size[1]}x{size[0]}" if len(layout.parts) > 1 else None), np.stack(out, 2)


if __name__ == "__main__":
    main()
