"""Photo: a normalised inverted bottleneck and window attention, which share one LayerScale."""

from typing import TYPE_CHECKING

from ...program.operations import Operation, Sum
from ..attention import WINDOW, attended, attention_shapes
from ..folding import Shapes, Tensors, bottleneck, layer, layer_scale, normalised, rms_norm
from ..variant import BlockOptions, Variant

if TYPE_CHECKING:
    from .block import PhotoBlock


def _shapes(options: BlockOptions) -> Shapes:
    channels, hidden = options.channels, 2 * options.channels
    found = rms_norm("norm", channels) | layer("conv1", hidden, channels, 1, 1) | layer("dw", hidden, 1, 3, 3)
    found |= layer("conv2", channels, hidden, 1, 1) | layer_scale("scale", channels)
    return found | (rms_norm("attn_norm", channels) | attention_shapes("attn", channels) if options.attention else {})


def _fold(x: Operation, tensors: Tensors, shifted: bool) -> Operation:
    x = bottleneck(x, normalised(x, tensors, "norm"), tensors, "scale")
    if "attn.qkv.weight" not in tensors:
        return x
    return Sum(sources=(x, attended(normalised(x, tensors, "attn_norm"), tensors, "attn", "scale", shifted)))


def _block(options: BlockOptions) -> "PhotoBlock":
    from .block import PhotoBlock

    return PhotoBlock(options)


VARIANT = Variant(
    name="photo",
    features=64,
    groups=4,
    blocks=4,
    detail_gain=0.1,
    alpha=0.4,
    window=WINDOW,
    recognises=lambda names: {"norm.scale", "dw.weight"} <= names,
    shapes=_shapes,
    fold=_fold,
    block=_block,
    legacy_fault="whose published code does not run outside one attention mode",
)
