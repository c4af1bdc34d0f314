"""The learned body with valid convolutions: no layer pads, each output is exact, and a picture shrinks by the radius.

A picture is padded once, while it is narrow planes, in place of once a layer, while it is many features; and what a layer
computes beyond the picture is what the next ones need, no more.
"""

from collections.abc import Iterator
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .network import LegacyParagonSR2, Network
from .network.blocks import FLOAT16_MAX, LayerScale, NanoBlock, PhotoBlock, ProBlock, StreamBlock, at_least_float32
from .network.legacy import (
    ContentProcessor,
    LegacyGroup,
    LegacyNanoBlock,
    LegacyStreamBlock,
    MultiScaleFusion,
    ShuffleStage,
    SplitContext,
)


class Stage(nn.Module):
    """A part of the body: (N, C, H, W) to (N, C, factor * (H - 2 * radius), factor * (W - 2 * radius))."""

    radius: int = 0
    factor: int = 1


def crop(x: Tensor, by: int) -> Tensor:
    """Take ``by`` pixels off each side."""
    return x[:, :, by:-by, by:-by] if by else x


def valid[T: nn.Module](module: T) -> T:
    """A copy whose convolutions do not pad."""
    module = deepcopy(module)
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.padding = (0, 0)
    return module


def scaled[T: nn.Conv2d | nn.Linear](layer: T, gain: Tensor) -> T:
    """A copy with each output channel multiplied by its gain, any shape of as many numbers or of one."""
    layer = deepcopy(layer)
    gain = gain.detach().flatten()
    layer.weight.data *= gain.reshape(-1, *[1] * (layer.weight.dim() - 1))
    if layer.bias is not None:
        layer.bias.data *= gain
    return layer


def _with_layer_scale(layer: nn.Conv2d, scale: nn.Module) -> nn.Conv2d:
    return scaled(layer, scale.gamma) if isinstance(scale, LayerScale) else deepcopy(layer)


class Nano(Stage):
    """NanoBlock with LayerScale in ``conv2``."""

    radius = NanoBlock.radius

    def __init__(self, block: NanoBlock) -> None:
        super().__init__()
        self.conv1, self.dw = valid(block.conv1), valid(block.dw)
        self.conv2 = _with_layer_scale(block.conv2, block.scale)

    def forward(self, x: Tensor) -> Tensor:
        return crop(x, 1) + self.conv2(F.gelu(self.dw(self.conv1(x))))


class Stream(Stage):
    """StreamBlock with LayerScale in ``out``."""

    radius = StreamBlock.radius

    def __init__(self, block: StreamBlock) -> None:
        super().__init__()
        self.dw1, self.dw3 = valid(block.dw1), valid(block.dw3)
        self.fuse, self.proj, self.gate = valid(block.fuse), valid(block.proj), valid(block.gate)
        self.out = _with_layer_scale(block.out, block.scale)
        self.guarded = block.guarded

    def forward(self, x: Tensor) -> Tensor:
        context = self.fuse(torch.cat((self.dw1(crop(x, 2)), self.dw3(x)), 1))
        a, b = self.gate(self.proj(context)).chunk(2, 1)
        if self.guarded:
            product = at_least_float32(a) * at_least_float32(b)
            product = product.clamp(-FLOAT16_MAX, FLOAT16_MAX).to(a.dtype)
        else:
            product = a * b
        return crop(x, 4) + self.out(product)


class LegacyNano(Stage):
    """LegacyNanoBlock."""

    radius = LegacyNanoBlock.radius

    def __init__(self, block: LegacyNanoBlock) -> None:
        super().__init__()
        self.net = valid(block.net)

    def forward(self, x: Tensor) -> Tensor:
        return crop(x, 1) + self.net(x)


class Context(Stage):
    """SplitContext; the channels that reach less far are cropped first."""

    radius = SplitContext.radius

    def __init__(self, context: SplitContext) -> None:
        super().__init__()
        self.split = context.split
        self.square, self.row, self.column = map(valid, (context.dwconv_hw, context.dwconv_w, context.dwconv_h))

    def forward(self, x: Tensor) -> Tensor:
        r = self.radius
        same, square, row, column = torch.split(x, self.split, 1)
        parts = (crop(same, r), self.square(crop(square, r - 1)), self.row(row[:, :, r:-r]), self.column(column[..., r:-r]))
        return torch.cat(parts, 1)


class LegacyStream(Stage):
    """LegacyStreamBlock."""

    def __init__(self, block: LegacyStreamBlock) -> None:
        super().__init__()
        self.radius = block.radius
        self.context = Context(block.context) if isinstance(block.context, SplitContext) else valid(block.context)
        self.proj_in, self.dw_gate, self.proj_out = map(valid, (block.proj_in, block.dw_gate, block.proj_out))

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.dw_gate(self.proj_in(self.context(x))).chunk(2, 1)
        return crop(x, self.radius) + self.proj_out(a * b)


class Fusion(Stage):
    """MultiScaleFusion."""

    radius = MultiScaleFusion.radius

    def __init__(self, fusion: MultiScaleFusion) -> None:
        super().__init__()
        self.p1, self.p3, self.p5, self.proj = map(valid, (fusion.p1, fusion.p3, fusion.p5, fusion.proj))
        self.attn = valid(fusion.attn)

    def forward(self, z: Tensor) -> Tensor:
        centre = crop(z, 2)
        weights = self.attn(torch.cat((self.p1(centre), self.p3(crop(z, 1)), self.p5(z)), 1))
        return self.proj(centre * weights)


class Group(Stage):
    """LegacyGroup."""

    def __init__(self, group: LegacyGroup) -> None:
        super().__init__()
        blocks = [LegacyNano(b) if isinstance(b, LegacyNanoBlock) else LegacyStream(b) for b in _legacy_blocks(group)]
        self.radius = sum(block.radius for block in blocks) + group.radius
        self.inner = nn.Sequential(*blocks, valid(group.mid_conv), Fusion(group.mscf))

    def forward(self, x: Tensor) -> Tensor:
        return crop(x, self.radius) + self.inner(x)


class Content(Stage):
    """ContentProcessor."""

    radius = ContentProcessor.radius

    def __init__(self, processor: ContentProcessor) -> None:
        super().__init__()
        self.analyzer = valid(processor.analyzer)

    def forward(self, d: Tensor) -> Tensor:
        return crop(d, self.radius) * 2 * torch.sigmoid(self.analyzer(d))


class Plain(Stage):
    """A convolution, an activation where there is one, and a pixel shuffle where the factor is above 1."""

    def __init__(self, convolution: nn.Conv2d, activation: nn.Module | None = None, factor: int = 1) -> None:
        super().__init__()
        self.radius, self.factor = convolution.kernel_size[0] // 2, factor
        self.convolution = valid(convolution)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(x)
        if self.activation is not None:
            x = self.activation(x)
        return F.pixel_shuffle(x, self.factor) if self.factor > 1 else x


class Whole(Stage):
    """The body of a network that sees the whole picture, with its own padding, and LayerScale where a linear layer takes it."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = deepcopy(body)
        for block in self.body.modules():
            if isinstance(block, PhotoBlock):
                attention = block.attn.proj if block.attn is not None else None
                _absorb(block, "scale", block.conv2, attention)
            elif isinstance(block, ProBlock):
                _absorb(block, "scale1", block.conv2)
                if block.window_attn is not None:
                    _absorb(block, "scale3", block.window_attn.proj)
                _absorb(block, "scale4", block.token_ca.out_proj)
        for part in self.body.modules():
            if getattr(part, "mode", None) == "flex":  # the same numbers, and a trace can follow
                part.mode = "sdpa"

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def _absorb(block: nn.Module, name: str, *layers: nn.Conv2d | nn.Linear | None) -> None:
    """Move a LayerScale into the layers before it."""
    gain = block.get_submodule(name).get_parameter("gamma")
    for layer in layers:
        if layer is not None:
            layer.load_state_dict(scaled(layer, gain).state_dict())
    setattr(block, name, nn.Identity())


def stages(network: Network) -> list[Stage]:
    """All between ``conv_in`` and the last convolution before the last pixel shuffle, in order."""
    if isinstance(network, LegacyParagonSR2):
        return list(_legacy_stages(network))
    middle = Plain(network.conv_mid)
    if network.window is not None:
        # Zeros about the picture are part of what such a body computes, but what follows it is exact without them.
        return [Whole(network.body), middle]
    blocks: list[Stage] = []
    for block in network.blocks():
        assert isinstance(block, NanoBlock | StreamBlock)
        blocks.append(Nano(block) if isinstance(block, NanoBlock) else Stream(block))
    return [*blocks, middle]


def _legacy_stages(network: LegacyParagonSR2) -> Iterator[Stage]:
    for group in network.body.modules():
        if isinstance(group, LegacyGroup):
            yield Group(group)
    # b + conv_fuse(b) is one convolution.
    fuse = deepcopy(network.conv_fuse)
    fuse.weight.data[:, :, 1, 1] += torch.eye(fuse.weight.shape[0], dtype=fuse.weight.dtype)
    yield Plain(fuse)
    if network.content_processor is not None:
        yield Content(network.content_processor)
    # The convolution behind an earlier shuffle stays there: one before the shuffle would be 5x5 and cost 100 multiply-adds
    # for each pair of channels in place of 72.
    *earlier, _ = upsampling_convolutions(network)
    for shuffled, convolution, activation in earlier:
        yield Plain(shuffled, factor=2)
        yield Plain(convolution, activation)


def upsampling_convolutions(network: LegacyParagonSR2) -> list[tuple[nn.Conv2d, nn.Conv2d, nn.Module | None]]:
    """Each ``up_conv`` with the convolution and the activation behind its shuffle."""
    upsampler = network.detail_upsampler
    if isinstance(upsampler, ShuffleStage):
        return [(upsampler.up_conv, network.conv_out, None)]
    parts = list(upsampler.stages)
    found = []
    for i in range(0, len(parts), 3):
        stage, convolution, activation = (*parts[i:], network.conv_out, None)[:3]
        assert isinstance(stage, ShuffleStage) and isinstance(convolution, nn.Conv2d)
        found.append((stage.up_conv, convolution, activation))
    return found


def _legacy_blocks(group: LegacyGroup) -> list[LegacyNanoBlock | LegacyStreamBlock]:
    return [block for block in group.blocks if isinstance(block, LegacyNanoBlock | LegacyStreamBlock)]
