"""Count what a frame costs before and after folding, for each variant and scale.

python scripts/count_operations.py
"""

import argparse
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from vs_paragonsr2.backends.reference import ReferenceSession
from vs_paragonsr2.checkpoints.network import Network
from vs_paragonsr2.network import SCALES, VARIANTS, LegacyParagonSR2, ParagonSR2, describe
from vs_paragonsr2.program.colour import ClipSpec, Colorimetry, Matrix, PlaneFormat, Range, Siting
from vs_paragonsr2.program.explain import Cost, cost
from vs_paragonsr2.program.fold import fold


class Counter(TorchDispatchMode):
    """Counts what PyTorch computes and moves meanwhile: each operation, views apart, reads its inputs and its weights and writes
    its output once; element-wise arithmetic is no multiply-add.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.multiply_adds = self.bytes_moved = self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func._schema.returns and func._schema.returns[0].alias_info is not None:
            return out  # a view
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
        self.bytes_moved += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        self.operations += 1
        if func is torch.ops.aten.convolution.default:
            # The formula of the registry does not know of groups.
            self.multiply_adds += out.numel() * prod(args[1].shape[1:])
        elif func.overloadpacket in flop_registry:
            self.multiply_adds += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=out) // 2
        return out


def count(work: Callable[[], object], pixels: int = 1) -> Cost:
    """What work on the ``meta`` device, where nothing is computed, would cost, for each of so many pixels."""
    with torch.no_grad(), Counter() as counter:
        work()
    return Cost(counter.multiply_adds / pixels, counter.bytes_moved / pixels, counter.operations)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1920)
    parser.add_argument("--height", type=int, default=1080)
    arguments = parser.parse_args()
    size = (arguments.width, arguments.height)
    title = f"YUV420P8, {size[0]}x{size[1]}, float32, for each input pixel"
    table = Table(title=title, caption="folded: without a border about the picture; attention is one operation")
    for column in ("network", "scale", "multiply-adds", "folded", "", "bytes moved", "folded", "", "operations", "folded"):
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
    """The numbers of one network, for an 8-bit 4:2:0 clip, as the table has them."""
    source = PlaneFormat("YUV", 8, False, 1, 1, width, height)
    target = PlaneFormat("YUV", 8, False, 1, 1, width * network.scale, height * network.scale)
    spec = ClipSpec(source, target, Colorimetry(Matrix.BT709, Range.LIMITED, Siting.LEFT))
    after, before = folded(network, spec), plain(network, spec)
    cells = []
    for old, new in ((before.multiply_adds, after.multiply_adds), (before.bytes_moved, after.bytes_moved)):
        cells += [f"{old:,.0f}", f"{new:,.0f}", f"{old / new:.2f}x"]
    return [*cells, f"{before.operations}", f"{after.operations}"]


def plain(network: Network, spec: ClipSpec) -> Cost:
    """Of the reference backend, from planes to planes before they are rounded to integers in memory. The network is moved away."""
    session = ReferenceSession(network.eval().to("meta"), spec, torch.device("meta"), 1)
    # The session takes arrays; it has them on its device at once.
    planes = [np.zeros(shape, spec.source.dtype) for shape in spec.source.shapes]
    return count(lambda: session.from_rgb(network(session.to_rgb(planes))), spec.source.width * spec.source.height)


def folded(network: Network, spec: ClipSpec) -> Cost:
    """Of the network's program."""
    tensors = {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}
    description = describe({name: tensor.shape for name, tensor in tensors.items()}, network.variant)
    return cost(fold(description.parts(tensors, network.alpha), spec))


if __name__ == "__main__":
    main()
