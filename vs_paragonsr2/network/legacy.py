"""Checkpoint versions 7 and 8, which have other layers around their blocks and other names for them.

The blocks themselves are in the variants' folders. NumPy alone.
"""

from dataclasses import dataclass

import numpy as np

from ..program.operations import Activation, Concatenation, Operation, Product, Shuffle, Sum
from .folding import Shapes, Tensors, convolve, convolved, layer, prefixed, under
from .variant import LegacyBlock, Variant

VERSIONS = (7, 8)

SLOPE = 0.1
"""Slope of the leaky ReLUs below zero."""


@dataclass(frozen=True, slots=True)
class Legacy:
    """What a checkpoint of version 7 or 8 holds."""

    variant: Variant
    version: int
    scale: int
    has_content_processor: bool
    """Whether there is a map of detail."""

    @property
    def block(self) -> LegacyBlock:
        """The variant's block in these versions."""
        if self.variant.legacy is None:
            raise ValueError(f"variant is {self.variant.name}: expected one that versions 7 and 8 have")
        return self.variant.legacy

    @property
    def stages(self) -> int:
        """Number of stages of the upsampler at 4x and 8x, each of which doubles the size; 0 for an upsampler in a single step."""
        return {4: 2, 8: 3}.get(self.scale, 0)

    def shapes(self) -> Shapes:
        """The shapes of all tensors except the base path's, by name."""
        f = self.variant.features
        block, fusion = self.block.shapes(f, self.version), _fusion_shapes(f)
        found: Shapes = {"global_detail_gain": ()} | layer("conv_in", f, 3, 3, 3)
        for group in range(self.variant.groups):
            for index in range(self.variant.blocks):
                found |= prefixed(f"body.{group}.blocks.{index}", block)
            found |= layer(f"body.{group}.mid_conv", f, f, 3, 3) | prefixed(f"body.{group}.mscf", fusion)
        found |= layer("conv_fuse", f, f, 3, 3) | layer("conv_out", 3, f, 3, 3)
        if self.has_content_processor:
            found |= prefixed("content_processor.analyzer", _analyzer_shapes(f))
        if not self.stages:
            return found | layer("detail_upsampler.up_conv", f * self.scale**2, f, 3, 3)
        for stage in range(self.stages):
            found |= layer(f"detail_upsampler.stages.{3 * stage}.up_conv", f * 4, f, 3, 3)
            if stage:
                found |= layer(f"detail_upsampler.stages.{3 * stage - 2}", f, f, 3, 3)
        return found

    def fold(self, x: Operation, tensors: Tensors) -> Operation:
        """All operations between ``conv_in`` and the last convolution before the last pixel shuffle.

        The convolution behind an earlier shuffle stays there. Before the shuffle it would be 5x5, and cost 100 multiply-adds for
        each pair of channels instead of 72.
        """
        for group in range(_count(tensors, "body")):
            part = under(tensors, f"body.{group}")
            inner = x
            for index in range(_count(part, "blocks")):
                inner = self.block.fold(inner, under(part, f"blocks.{index}"), self.version)
            x = Sum(sources=(x, _fused_scales(convolved(inner, part, "mid_conv"), under(part, "mscf"))))
        # b + conv_fuse(b) is one convolution.
        weight = tensors["conv_fuse.weight"].copy()
        weight[:, :, 1, 1] += np.eye(len(weight))
        x = convolve(x, weight, tensors["conv_fuse.bias"])
        if self.has_content_processor:
            x = Product(sources=(x, _detail_map(x, under(tensors, "content_processor.analyzer"))))
        for stage in range(self.stages - 1):
            part = under(tensors, "detail_upsampler.stages")
            gain = self.detail_factor if not stage else 1.0
            up = convolve(x, gain * part[f"{3 * stage}.up_conv.weight"], part[f"{3 * stage}.up_conv.bias"])
            shuffled = Shuffle(sources=(up,), factor=(2, 2))
            x = Activation(sources=(convolved(shuffled, part, f"{3 * stage + 1}"),), kind="leaky_relu", slope=SLOPE)
        return x

    @property
    def detail_factor(self) -> float:
        """The factor that the result of :meth:`fold` lacks: the map of detail goes from 0 to 2, and ``fold`` has half of it."""
        return 2.0 if self.has_content_processor else 1.0


def _fusion_shapes(features: int) -> Shapes:
    f = features
    found = layer("p1", f, f, 1, 1) | layer("p3", f, 1, 3, 3) | layer("p5", f, 1, 5, 5)
    return found | layer("attn.0", f, 3 * f, 1, 1) | layer("attn.2", f, f, 1, 1) | layer("proj", f, f, 1, 1)


def _analyzer_shapes(features: int) -> Shapes:
    hidden = max(8, features // 4)
    found = layer("0", hidden, features, 3, 3) | layer("2", hidden, 1, 5, 5)
    return found | layer("3", hidden, hidden, 1, 1) | layer("5", 1, hidden, 3, 3)


def _count(tensors: Tensors, name: str) -> int:
    """How many numbered parts there are under a name."""
    return len({rest.split(".")[0] for rest in under(tensors, name)})


def _fused_scales(z: Operation, tensors: Tensors) -> Operation:
    """1x1, 3x3 and 5x5 views of the features decide how much of each channel passes."""
    views = Concatenation(sources=tuple(convolved(z, tensors, name) for name in ("p1", "p3", "p5")))
    hidden = Activation(sources=(convolved(views, tensors, "attn.0"),), kind="leaky_relu")
    passes = Activation(sources=(convolved(hidden, tensors, "attn.2"),), kind="sigmoid")
    return convolved(Product(sources=(z, passes)), tensors, "proj")


def _detail_map(d: Operation, tensors: Tensors) -> Operation:
    """Half of how much detail is to be added to each pixel."""
    x: Operation = Activation(sources=(convolved(d, tensors, "0"),), kind="leaky_relu", slope=SLOPE)
    x = convolved(convolved(x, tensors, "2"), tensors, "3")
    x = convolved(Activation(sources=(x,), kind="leaky_relu", slope=SLOPE), tensors, "5")
    return Activation(sources=(x,), kind="sigmoid")
