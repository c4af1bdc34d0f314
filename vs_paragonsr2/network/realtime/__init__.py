"""Realtime (Nano): an inverted bottleneck with GELU."""

from typing import TYPE_CHECKING

from ...program.operations import Operation
from ..folding import Shapes, Tensors, bottleneck, layer, layer_scale
from ..variant import BlockOptions, Variant
from .legacy import LEGACY

if TYPE_CHECKING:
    from .block import NanoBlock


def _shapes(options: BlockOptions) -> Shapes:
    channels, hidden = options.channels, 2 * options.channels
    found = layer("conv1", hidden, channels, 1, 1) | layer("dw", hidden, 1, 3, 3) | layer("conv2", channels, hidden, 1, 1)
    return found | (layer_scale("scale", channels) if options.version == 11 else {})


def _fold(x: Operation, tensors: Tensors, shifted: bool) -> Operation:
    return bottleneck(x, x, tensors, "scale")


def _block(options: BlockOptions) -> "NanoBlock":
    from .block import NanoBlock

    return NanoBlock(options)


VARIANT = Variant(
    name="realtime",
    features=16,
    groups=1,
    blocks=3,
    detail_gain=0.05,
    alpha=0.3,
    recognises=lambda names: {"conv1.weight", "dw.weight"} <= names and not any("norm" in name for name in names),
    shapes=_shapes,
    fold=_fold,
    block=_block,
    legacy=LEGACY,
)
