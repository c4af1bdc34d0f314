"""Stream's block in checkpoint versions 7 (a 3x3 context) and 8 (a split context)."""

from typing import TYPE_CHECKING

from ...program.operations import Channels, Concatenation, Operation, Sum
from ..folding import Shapes, Tensors, convolved, layer, product_of_halves, under
from ..variant import LegacyBlock

if TYPE_CHECKING:
    from .legacy_block import LegacyStreamBlock


def _shapes(channels: int, version: int) -> Shapes:
    hidden = 2 * channels
    found = layer("proj_in", 2 * hidden, channels, 1, 1) | layer("dw_gate", 2 * hidden, 1, 3, 3)
    found |= layer("proj_out", channels, hidden, 1, 1)
    if version == 7:
        return found | layer("context", channels, 1, 3, 3)
    part = channels // 8
    found |= layer("context.dwconv_hw", part, 1, 3, 3) | layer("context.dwconv_w", part, 1, 1, 21)
    return found | layer("context.dwconv_h", part, 1, 21, 1)


def _fold(x: Operation, tensors: Tensors, version: int) -> Operation:
    context: Operation = convolved(x, tensors, "context") if version == 7 else _split_context(x, under(tensors, "context"))
    return Sum(sources=(x, convolved(product_of_halves(context, tensors, "proj_in", "dw_gate", None), tensors, "proj_out")))


def _split_context(x: Operation, tensors: Tensors) -> Operation:
    """Five eighths of the channels pass as they are; the other three are filtered 3x3, 1x21 and 21x1."""
    part = x.channels // 8
    starts = [x.channels - 3 * part, x.channels - 2 * part, x.channels - part]
    parts: list[Operation] = [Channels(sources=(x,), start=0, count=starts[0])]
    for start, name in zip(starts, ("dwconv_hw", "dwconv_w", "dwconv_h"), strict=True):
        parts.append(convolved(Channels(sources=(x,), start=start, count=part), tensors, name))
    return Concatenation(sources=tuple(parts))


def _block(channels: int, version: int) -> "LegacyStreamBlock":
    from .legacy_block import LegacyStreamBlock

    return LegacyStreamBlock(channels, version)


LEGACY = LegacyBlock(alpha=0.0, shapes=_shapes, fold=_fold, block=_block)
