"""Realtime's block in checkpoint versions 7 and 8: hardswish on both sides of the depthwise convolution."""

from typing import TYPE_CHECKING

from ...program.operations import Activation, Operation, Sum
from ..folding import Shapes, Tensors, convolved, layer
from ..variant import LegacyBlock

if TYPE_CHECKING:
    from .legacy_block import LegacyNanoBlock


def _shapes(channels: int, version: int) -> Shapes:
    hidden = 2 * channels
    return layer("net.0", hidden, channels, 1, 1) | layer("net.2", hidden, 1, 3, 3) | layer("net.4", channels, hidden, 1, 1)


def _fold(x: Operation, tensors: Tensors, version: int) -> Operation:
    hidden = Activation(sources=(convolved(x, tensors, "net.0"),), kind="hardswish")
    hidden = Activation(sources=(convolved(hidden, tensors, "net.2"),), kind="hardswish")
    return Sum(sources=(x, convolved(hidden, tensors, "net.4")))


def _block(channels: int, version: int) -> "LegacyNanoBlock":
    from .legacy_block import LegacyNanoBlock

    return LegacyNanoBlock(channels)


LEGACY = LegacyBlock(alpha=0.35, shapes=_shapes, fold=_fold, block=_block)
