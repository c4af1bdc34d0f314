"""Pro: a normalised inverted bottleneck, channel attention, window attention and a dictionary of tokens."""

from typing import TYPE_CHECKING

from ...program.colour import Array
from ...program.operations import ChannelAttention, Operation, Softmax, Sum
from ..attention import WINDOW, attended, attention_shapes
from ..folding import Shapes, Tensors, bottleneck, convolve, layer, layer_scale, normalised, rms_norm
from ..variant import BlockOptions, Variant

if TYPE_CHECKING:
    from .block import ProBlock

REDUCTION = 16
"""How many times fewer channels the hidden layer of channel attention has."""

TOKENS = 64
"""Number of tokens in the dictionary."""

WIDTH = 16
"""Number of channels of a query and of a key."""


def _shapes(options: BlockOptions) -> Shapes:
    channels = options.channels
    hidden, reduced = 2 * channels, channels // REDUCTION
    found = rms_norm("norm1", channels) | layer("conv1", hidden, channels, 1, 1) | layer("dw", hidden, 1, 3, 3)
    found |= layer("conv2", channels, hidden, 1, 1) | layer_scale("scale1", channels) | layer_scale("scale2", channels)
    found |= layer("channel_attn.fc.0", reduced, channels, bias=False) | layer("channel_attn.fc.2", channels, reduced, bias=False)
    if options.attention:
        found |= rms_norm("norm3", channels) | attention_shapes("window_attn", channels) | layer_scale("scale3", channels)
    found |= rms_norm("norm4", channels) | {"token_ca.token_dict": (1, TOKENS, channels)} | layer_scale("scale4", channels)
    found |= layer("token_ca.q_proj", WIDTH, channels) | layer("token_ca.k_proj", WIDTH, channels)
    return found | layer("token_ca.v_proj", channels, channels) | layer("token_ca.out_proj", channels, channels)


def _fold(x: Operation, tensors: Tensors, shifted: bool) -> Operation:
    x = bottleneck(x, normalised(x, tensors, "norm1"), tensors, "scale1")
    x = ChannelAttention(
        sources=(x,),
        reduce=tensors["channel_attn.fc.0.weight"],
        expand=tensors["channel_attn.fc.2.weight"],
        gain=tensors["scale2.gamma"].flatten(),
        side=WINDOW,
    )
    if "window_attn.qkv.weight" in tensors:
        x = Sum(sources=(x, attended(normalised(x, tensors, "norm3"), tensors, "window_attn", "scale3", shifted)))
    return Sum(sources=(x, _looked_up(normalised(x, tensors, "norm4"), tensors)))


def _looked_up(x: Operation, tensors: Tensors) -> Operation:
    """Attention from each pixel to the tokens. All but softmax is linear, and keys and values are the same for every pixel."""
    token = tensors["token_ca.token_dict"][0]

    def projected(name: str) -> tuple[Array, Array]:
        return tensors[f"token_ca.{name}.weight"], tensors[f"token_ca.{name}.bias"]

    (to_query, query_bias), (to_key, key_bias), (to_value, value_bias) = map(projected, ("q_proj", "k_proj", "v_proj"))
    out, out_bias = projected("out_proj")
    gamma = tensors["scale4.gamma"].flatten()
    keys = (token @ to_key.T + key_bias) / WIDTH**0.5
    values = (out @ (token @ to_value.T + value_bias).T) * gamma[:, None]
    scores = convolve(x, (keys @ to_query)[:, :, None, None], keys @ query_bias)
    return convolve(Softmax(sources=(scores,)), values[:, :, None, None], out_bias * gamma)


def _block(options: BlockOptions) -> "ProBlock":
    from .block import ProBlock

    return ProBlock(options)


VARIANT = Variant(
    name="pro",
    features=64,
    groups=6,
    blocks=6,
    detail_gain=0.1,
    alpha=0.4,
    window=WINDOW,
    always_sees_whole=True,
    recognises=lambda names: "token_ca.token_dict" in names,
    shapes=_shapes,
    fold=_fold,
    block=_block,
)
