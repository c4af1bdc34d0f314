"""The tensors and the fold of window attention as Photo and Pro have it. NumPy alone."""

import numpy as np

from ..program.operations import Operation, WindowAttention
from .folding import Shapes, Tensors, layer

HEADS = 4
"""Number of attention heads, among which the channels are divided."""

WINDOW = 16
"""Side of a window in pixels, of the source."""


def attention_shapes(name: str, channels: int) -> Shapes:
    """The shapes of the tensors of the attention under a name."""
    return layer(f"{name}.qkv", 3 * channels, channels) | layer(f"{name}.proj", channels, channels)


def attended(x: Operation, tensors: Tensors, name: str, scale: str, shifted: bool) -> WindowAttention:
    """The attention that a checkpoint has under a name, times the LayerScale that it has under another."""
    channels = x.channels
    qkv, bias = tensors[f"{name}.qkv.weight"], tensors[f"{name}.qkv.bias"]
    # The square root that the argument of softmax is divided by is put into the queries.
    root = np.where(np.arange(3 * channels) < channels, (channels // HEADS) ** -0.5, 1.0)
    gamma = tensors[f"{scale}.gamma"].flatten()
    return WindowAttention(
        sources=(x,),
        qkv=qkv * root[:, None],
        qkv_bias=bias * root,
        proj=tensors[f"{name}.proj.weight"] * gamma[:, None],
        proj_bias=tensors[f"{name}.proj.bias"] * gamma,
        heads=HEADS,
        side=WINDOW,
        shift=WINDOW // 2 if shifted else 0,
    )
