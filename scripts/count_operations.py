"""Count what a frame costs before and after folding, for each variant and scale.

python scripts/count_operations.py
"""

import argparse

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from vs_paragonsr2.backends.reference import ReferenceSession
from vs_paragonsr2.colour import ClipSpec, Colorimetry, Matrix, PlaneFormat, Range, Siting
from vs_paragonsr2.graph import PlanesGraph, seam_dtype
from vs_paragonsr2.network import SCALES, VARIANTS, LegacyParagonSR2, Network, ParagonSR2
from vs_paragonsr2.operations import Operations, count


class PlainRoute(nn.Module):
    """The reference backend as a module: planes to planes, before they are rounded to integers in memory."""

    def __init__(self, network: Network, spec: ClipSpec) -> None:
        super().__init__()
        self.network = network
        self.session = ReferenceSession(network, spec, torch.device("meta"), 1)

    def forward(self, *planes: Tensor) -> list[Tensor]:
        # The session takes arrays; it has them on its device, where nothing is computed, at once.
        samples = [np.zeros(plane.shape[2:], np.uint8) for plane in planes]
        return self.session.from_rgb(self.network(self.session.to_rgb(samples)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1920)
    parser.add_argument("--height", type=int, default=1080)
    arguments = parser.parse_args()
    size = (arguments.width, arguments.height)
    table = Table(title=f"YUV420P8, {size[0]}x{size[1]}, float32, for each input pixel")
    for column in ("network", "scale", "multiply-adds", "folded", "", "bytes moved", "folded", "", "operators", "folded"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for name in VARIANTS:
        for scale in SCALES:
            table.add_row(name, f"{scale}x", *row(ParagonSR2(name, scale), *size))
    table.add_section()
    for version in (7, 8):
        for legacy in ("realtime", "stream"):
            for scale in SCALES:
                network = LegacyParagonSR2(legacy, scale, version)
                table.add_row(f"{legacy} version {version}", f"{scale}x", *row(network, *size))
    Console(width=120).print(table)


def row(network: Network, width: int, height: int) -> list[str]:
    """The numbers of one network as the table has them."""
    before, after = before_and_after(network, width, height)
    pixels = width * height
    cells = []
    for name in ("multiply_adds", "bytes_moved"):
        plain, folded = getattr(before, name) / pixels, getattr(after, name) / pixels
        cells += [f"{plain:,.0f}", f"{folded:,.0f}", f"{plain / folded:.2f}x"]
    return [*cells, f"{before.operators}", f"{after.operators}"]


def before_and_after(network: Network, width: int, height: int) -> tuple[Operations, Operations]:
    """Of the plain route and of the folded graph for an 8-bit 4:2:0 clip, from and to its planes as numbers."""
    source = PlaneFormat("YUV", 8, False, 1, 1, width, height)
    target = PlaneFormat("YUV", 8, False, 1, 1, width * network.scale, height * network.scale)
    spec = ClipSpec(source, target, Colorimetry(Matrix.BT709, Range.LIMITED, Siting.LEFT))
    planes = [torch.empty(1, 1, *shape, dtype=seam_dtype(source)) for shape in source.shapes]
    graph = PlanesGraph(network, spec).eval()
    return count(PlainRoute(network, spec).eval(), *planes), count(graph, *planes)


if __name__ == "__main__":
    main()
