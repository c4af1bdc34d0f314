"""Checkpoint versions 7 and 8, which compute something else under other names (Realtime and Stream only)."""

from dataclasses import dataclass

import numpy as np

from ...program.operations import Activation, Channels, Concatenation, Operation, Product, Shuffle, Sum
from ..folding import Shapes, Tensors, convolve, convolved, layer, prefixed, under
from ..realtime import VARIANT as REALTIME
from ..stream import VARIANT as STREAM
from ..stream import gated

VERSIONS = (7, 8)

VARIANTS = {variant.name: variant for variant in (REALTIME, STREAM)}

DEFAULT_ALPHA = {"realtime": 0.35, "stream": 0.0}

SLOPE = 0.1
"""Of the leaky ReLUs."""


@dataclass(frozen=True, slots=True)
class Legacy:
    """What is in a checkpoint of version 7 or 8."""

    variant: str
    version: int
    scale: int
    has_content_processor: bool

    @property
    def stages(self) -> int:
        """Of the upsampler at 4x and 8x; 0 for one in a single step."""
        return {4: 2, 8: 3}.get(self.scale, 0)

    def shapes(self) -> Shapes:
        """Of all its tensors but the base path's."""
        f, hidden = VARIANTS[self.variant].features, 2 * VARIANTS[self.variant].features
        if self.variant == "realtime":
            block = layer("net.0", hidden, f, 1, 1) | layer("net.2", hidden, 1, 3, 3) | layer("net.4", f, hidden, 1, 1)
        else:
            block = (
                layer("proj_in", 2 * hidden, f, 1, 1) | layer("dw_gate", 2 * hidden, 1, 3, 3) | layer("proj_out", f, hidden, 1, 1)
            )
            if self.version == 7:
                block |= layer("context", f, 1, 3, 3)
            else:
                g = f // 8
                block |= layer("context.dwconv_hw", g, 1, 3, 3) | layer("context.dwconv_w", g, 1, 1, 21)
                block |= layer("context.dwconv_h", g, 1, 21, 1)
        fusion = layer("p1", f, f, 1, 1) | layer("p3", f, 1, 3, 3) | layer("p5", f, 1, 5, 5)
        fusion |= layer("attn.0", f, 3 * f, 1, 1) | layer("attn.2", f, f, 1, 1) | layer("proj", f, f, 1, 1)
        found: Shapes = {"global_detail_gain": ()} | layer("conv_in", f, 3, 3, 3)
        for group in range(VARIANTS[self.variant].groups):
            for index in range(VARIANTS[self.variant].blocks):
                found |= prefixed(f"body.{group}.blocks.{index}", block)
            found |= layer(f"body.{group}.mid_conv", f, f, 3, 3) | prefixed(f"body.{group}.mscf", fusion)
        found |= layer("conv_fuse", f, f, 3, 3) | layer("conv_out", 3, f, 3, 3)
        if self.has_content_processor:
            h = max(8, f // 4)
            analyzer = layer("0", h, f, 3, 3) | layer("2", h, 1, 5, 5) | layer("3", h, h, 1, 1) | layer("5", 1, h, 3, 3)
            found |= prefixed("content_processor.analyzer", analyzer)
        if not self.stages:
            return found | layer("detail_upsampler.up_conv", f * self.scale**2, f, 3, 3)
        for stage in range(self.stages):
            found |= layer(f"detail_upsampler.stages.{3 * stage}.up_conv", f * 4, f, 3, 3)
            if stage:
                found |= layer(f"detail_upsampler.stages.{3 * stage - 2}", f, f, 3, 3)
        return found

    def fold(self, x: Operation, tensors: Tensors) -> Operation:
        """All between ``conv_in`` and the last convolution before the last pixel shuffle.

        The convolution behind an earlier shuffle stays there: one before the shuffle would be 5x5 and cost 100 multiply-adds for
        each pair of channels in place of 72.
        """
        for group in range(_count(tensors, "body")):
            part = under(tensors, f"body.{group}")
            inner = x
            for index in range(_count(part, "blocks")):
                inner = self._block(inner, under(part, f"blocks.{index}"))
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
        """What the features that :meth:`fold` makes of the body are to be multiplied by: the map of detail goes to 2."""
        return 2.0 if self.has_content_processor else 1.0

    def _block(self, x: Operation, tensors: Tensors) -> Operation:
        if self.variant == "realtime":
            hidden = Activation(sources=(convolved(x, tensors, "net.0"),), kind="hardswish")
            hidden = Activation(sources=(convolved(hidden, tensors, "net.2"),), kind="hardswish")
            return Sum(sources=(x, convolved(hidden, tensors, "net.4")))
        context: Operation = convolved(x, tensors, "context") if self.version == 7 else _split_context(x, under(tensors, "context"))
        return Sum(sources=(x, convolved(gated(context, tensors, "proj_in", "dw_gate", None), tensors, "proj_out")))


def _count(tensors: Tensors, name: str) -> int:
    """How many parts are numbered under a name."""
    return len({rest.split(".")[0] for rest in under(tensors, name)})


def _split_context(x: Operation, tensors: Tensors) -> Operation:
    """Some channels pass, three groups are filtered 3x3, 1x21 and 21x1."""
    g = x.channels // 8
    starts = [x.channels - 3 * g, x.channels - 2 * g, x.channels - g]
    parts: list[Operation] = [Channels(sources=(x,), start=0, count=starts[0])]
    for start, name in zip(starts, ("dwconv_hw", "dwconv_w", "dwconv_h"), strict=True):
        parts.append(convolved(Channels(sources=(x,), start=start, count=g), tensors, name))
    return Concatenation(sources=tuple(parts))


def _fused_scales(z: Operation, tensors: Tensors) -> Operation:
    """1x1, 3x3 and 5x5 views of the features decide how much of each channel passes."""
    views = Concatenation(sources=tuple(convolved(z, tensors, name) for name in ("p1", "p3", "p5")))
    hidden = Activation(sources=(convolved(views, tensors, "attn.0"),), kind="leaky_relu")
    passes = Activation(sources=(convolved(hidden, tensors, "attn.2"),), kind="sigmoid")
    return convolved(Product(sources=(z, passes)), tensors, "proj")


def _detail_map(d: Operation, tensors: Tensors) -> Operation:
    """Half of how much detail to add to each pixel."""
    x: Operation = Activation(sources=(convolved(d, tensors, "0"),), kind="leaky_relu", slope=SLOPE)
    x = convolved(convolved(x, tensors, "2"), tensors, "3")
    x = convolved(Activation(sources=(x,), kind="leaky_relu", slope=SLOPE), tensors, "5")
    return Activation(sources=(x,), kind="sigmoid")
