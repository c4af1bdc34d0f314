"""What a frame costs before and after folding, for each variant and scale, counted and not timed."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from vs_paragonsr2.backends.reference.session import ReferenceSession
from vs_paragonsr2.checkpoints.network import Network
from vs_paragonsr2.network import SCALES, VARIANTS, LegacyParagonSR2, ParagonSR2, describe
from vs_paragonsr2.program.colour import ClipSpec, Colorimetry, Matrix, PlaneFormat, Range, Siting
from vs_paragonsr2.program.explain import Cost, cost
from vs_paragonsr2.program.fold import fold

from .harness import report


@dataclass(frozen=True)
class Row:
    """One network, for each input pixel: first by PyTorch from planes to planes, then by its program."""

    network: str
    scale: str
    multiply_adds: float
    folded_multiply_adds: float
    multiply_adds_ratio: float
    bytes_moved: float
    folded_bytes_moved: float
    bytes_moved_ratio: float
    operations: int
    folded_operations: int


class Counter(TorchDispatchMode):
    """Counts what PyTorch computes and moves meanwhile.

    Each operation but a view reads its inputs and weights and writes its output once. Element-wise arithmetic is no multiply-add.
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
            # The registry's formula ignores groups.
            self.multiply_adds += out.numel() * prod(args[1].shape[1:])
        elif func.overloadpacket in flop_registry:
            self.multiply_adds += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=out) // 2
        return out


def count(work: Callable[[], object], pixels: int = 1) -> Cost:
    """What work on the ``meta`` device, where nothing is computed, would cost for each of so many pixels."""
    with torch.no_grad(), Counter() as counter:
        work()
    return Cost(counter.multiply_adds / pixels, counter.bytes_moved / pixels, counter.operations)


def run(arguments: argparse.Namespace) -> None:
    """Count, and report."""
    width, height = arguments.size
    rows = [row(name, network, width, height) for name, network in networks()]
    title = f"YUV420P8, {width}x{height}, float32, for each input pixel; folded: without surroundings, attention is one operation"
    report(title, rows, arguments.json)


def networks() -> Iterator[tuple[str, Network]]:
    """A network of each variant and scale, by name; of the old versions, those variants that can be folded."""
    for name in VARIANTS:
        for scale in SCALES:
            yield name, ParagonSR2(name, scale)
    for version in (7, 8):
        for legacy in ("realtime", "stream"):
            for scale in SCALES:
                yield f"{legacy} version {version}", LegacyParagonSR2(legacy, scale, version)


def row(name: str, network: Network, width: int, height: int) -> Row:
    """The costs of one network for a clip of 8-bit 4:2:0."""
    scale = network.scale
    source = PlaneFormat("YUV", 8, False, 1, 1, width, height)
    target = PlaneFormat("YUV", 8, False, 1, 1, width * scale, height * scale)
    spec = ClipSpec(source, target, Colorimetry(Matrix.BT709, Range.LIMITED, Siting.LEFT))
    after, before = folded(network, spec), plain(network, spec)
    return Row(
        *(name, f"{scale}x"),
        *(before.multiply_adds, after.multiply_adds, before.multiply_adds / after.multiply_adds),
        *(before.bytes_moved, after.bytes_moved, before.bytes_moved / after.bytes_moved),
        *(before.operations, after.operations),
    )


def plain(network: Network, spec: ClipSpec) -> Cost:
    """The cost of the reference backend, from planes to planes before they are rounded to integers. The network is moved away."""
    session = ReferenceSession(network.eval().to("meta"), spec, torch.device("meta"), 1)
    # The session takes arrays, and has them on its device at once.
    planes = [np.zeros(shape, spec.source.dtype) for shape in spec.source.shapes]
    return count(lambda: session.from_rgb(network(session.to_rgb(planes))), spec.source.width * spec.source.height)


def folded(network: Network, spec: ClipSpec) -> Cost:
    """The cost of the network's program."""
    tensors = {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}
    description = describe({name: tensor.shape for name, tensor in tensors.items()}, network.variant)
    return cost(fold(description.parts(tensors, network.alpha), spec))
