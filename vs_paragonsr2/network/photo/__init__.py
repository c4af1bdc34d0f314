"""Photo: a normalised inverted bottleneck and window attention, which share one LayerScale."""

from ...program.operations import Operation, Sum
from ..attention import WINDOW, attended, attention_shapes
from ..folding import Shapes, Tensors, bottleneck, layer, layer_scale, normalised, rms_norm
from ..variant import Variant


def _shapes(channels: int, attention: bool, with_layer_scale: bool) -> Shapes:
    hidden = 2 * channels
    found = rms_norm("norm", channels) | layer("conv1", hidden, channels, 1, 1) | layer("dw", hidden, 1, 3, 3)
    found |= layer("conv2", channels, hidden, 1, 1) | layer_scale("scale", channels)
    return found | (rms_norm("attn_norm", channels) | attention_shapes("attn", channels) if attention else {})


def _fold(x: Operation, tensors: Tensors, shifted: bool) -> Operation:
    x = bottleneck(x, normalised(x, tensors, "norm"), tensors, "scale")
    if "attn.qkv.weight" not in tensors:
        return x
    return Sum(sources=(x, attended(normalised(x, tensors, "attn_norm"), tensors, "attn", "scale", shifted)))


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
)
