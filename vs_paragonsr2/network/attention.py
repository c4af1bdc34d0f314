"""Window attention as Photo and Pro have it: its tensors and its fold. NumPy alone."""

import numpy as np

from ..program.operations import Operation, WindowAttention
from .folding import Shapes, Tensors, layer

HEADS = 4

WINDOW = 16
"""Side of a window in pixels."""


def attention_shapes(name: str, channels: int) -> Shapes:
    """Of the layers' tensors."""
    return layer(f"{name}.qkv", 3 * channels, channels) | layer(f"{name}.proj", channels, channels)


def attended(x: Operation, tensors: Tensors, name: str, scale: str, shifted: bool) -> WindowAttention:
    """The attention that a checkpoint has under a name, with the LayerScale behind it."""
    channels = x.channels
    qkv, bias = tensors[f"{name}.qkv.weight"], tensors[f"{name}.qkv.bias"]
    # The root that softmax's argument is divided by goes into the queries.
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
