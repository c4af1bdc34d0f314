"""The learned body as stages, with all that is linear in it folded.

Layers keep their zero padding. The zeros spoil a rim as wide as the receptive field, and the picture is given so much more about
it that the rim is cropped once, by the tails. Without padding each residual would need a crop of its own, a copy of all
features, to save a few rows and columns of arithmetic.
"""

from collections.abc import Iterator
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .network import LegacyParagonSR2, Network
from .network.blocks import LayerScale, NanoBlock, PhotoBlock, ProBlock, StreamBlock, WindowAttention
from .network.legacy import LegacyGroup, LegacyNanoBlock, LegacyStreamBlock, ShuffleStage


class Stage(nn.Module):
    """A part of the body: (N, C, H, W) to (N, C, factor * H, factor * W), right but for ``radius`` input pixels at the borders.

    Within a band of rows it gives those alone that are right: factor * (H - 2 * radius) rows.
    """

    def __init__(self, part: nn.Module, radius: int, factor: int = 1, spoilt: int = 0) -> None:
        super().__init__()
        self.part = part
        self.radius = radius
        self.factor = factor
        self.spoilt = spoilt
        """Rows above and below that the part gives though they are not right."""

    def forward(self, x: Tensor) -> Tensor:
        x = without_rows(self.part(x), self.spoilt)
        return F.pixel_shuffle(x, self.factor) if self.factor > 1 else x


def without_rows(x: Tensor, count: int) -> Tensor:
    """(N, C, H, W) without so many rows above and below."""
    return x[:, :, count:-count] if count else x


def without_row_padding(conv: nn.Conv2d) -> nn.Conv2d:
    """The convolution padded at the columns alone: from H rows those that are right."""
    conv = deepcopy(conv)
    assert isinstance(conv.padding, tuple)
    conv.padding = (0, conv.padding[1])
    return conv


class InvertedBottleneck(nn.Module):
    """NanoBlock within a band of rows.

    conv1 and dw stay two layers. One 3x3 convolution in their place would cost 4,608 multiply-adds a pixel, not 800. (Measured on
    one core with AVX-512, OpenVINO, F = 16: 83 against 20 ns a pixel in float32, 43 against 14 in bfloat16.)
    """

    def __init__(self, block: NanoBlock) -> None:
        super().__init__()
        self.conv1, self.dw, self.conv2 = block.conv1, without_row_padding(block.dw), block.conv2

    def forward(self, x: Tensor) -> Tensor:
        return without_rows(x, 1) + self.conv2(F.gelu(self.dw(self.conv1(x))))


class SplitStream(nn.Module):
    """StreamBlock without its concatenation and its split, both of which copy all features: the layers about them are split.

    With ``band`` it gives the rows alone that are right.
    """

    def __init__(self, block: StreamBlock, band: bool = False) -> None:
        super().__init__()
        self.band = band
        self.dw1, self.dw3 = block.dw1, block.dw3
        self.fuse1, self.fuse3 = _part(block.fuse, inputs=0), _part(block.fuse, inputs=1)
        self.fuse3.bias = None  # it is in fuse1
        self.proj_a, self.proj_b = _part(block.proj, outputs=0), _part(block.proj, outputs=1)
        self.gate_a, self.gate_b = _part(block.gate, outputs=0), _part(block.gate, outputs=1)
        self.out = block.out
        self.product = block.product
        if band:
            self.dw1, self.dw3, self.gate_a, self.gate_b = map(without_row_padding, (self.dw1, self.dw3, self.gate_a, self.gate_b))

    def forward(self, x: Tensor) -> Tensor:
        context = self.fuse1(self.dw1(self._without(x, 2))) + self.fuse3(self.dw3(x))
        a, b = self.gate_a(self.proj_a(context)), self.gate_b(self.proj_b(context))
        return self._without(x, 4) + self.out(self.product(a, b))

    def _without(self, x: Tensor, rows: int) -> Tensor:
        return without_rows(x, rows) if self.band else x


def _part(layer: nn.Conv2d, *, inputs: int | None = None, outputs: int | None = None) -> nn.Conv2d:
    """The first (0) or second (1) half of a layer's inputs or outputs as a layer of its own."""
    layer = deepcopy(layer)
    weight, bias = layer.weight.data, layer.bias
    if inputs is not None:
        weight = weight.chunk(2, 1)[inputs]
        layer.in_channels //= 2
    if outputs is not None:
        assert bias is not None
        weight, bias = weight.chunk(2, 0)[outputs], nn.Parameter(bias.data.chunk(2)[outputs].clone())
        layer.out_channels //= 2
        if layer.groups > 1:
            layer.groups //= 2
            layer.in_channels //= 2
    layer.weight, layer.bias = nn.Parameter(weight.clone()), bias
    return layer


def stages(network: Network, band: bool = False) -> list[Stage]:
    """All between ``conv_in`` and the last convolution before the last pixel shuffle, in order.

    The network is left as it is. With ``band``, which no network with attention windows can have, stages are made for bands of
    rows, and as short as they come.
    """
    network = deepcopy(network)
    if isinstance(network, LegacyParagonSR2):
        found = list(_legacy_stages(network))
        for stage in found if band else []:
            stage.spoilt = stage.radius
        return found
    blocks = [*network.blocks()]
    for block in blocks:
        _fold_layer_scale(block)
    if band:
        return [*(_for_band(block) for block in blocks), Stage(without_row_padding(network.conv_mid), 1)]
    body = (SplitStream(block) if isinstance(block, StreamBlock) else block for block in blocks)
    return [Stage(nn.Sequential(*body), sum(block.radius for block in blocks)), Stage(network.conv_mid, 1)]


def _for_band(block: NanoBlock | StreamBlock | PhotoBlock | ProBlock) -> Stage:
    if isinstance(block, StreamBlock):
        return Stage(SplitStream(block, band=True), block.radius)
    assert isinstance(block, NanoBlock), "other blocks see the whole picture"
    return Stage(InvertedBottleneck(block), block.radius)


def _fold_layer_scale(block: NanoBlock | StreamBlock | PhotoBlock | ProBlock) -> None:
    """Move every LayerScale into the linear layer before it; behind channel attention there is none."""
    if isinstance(block, NanoBlock):
        _absorb(block, "scale", block.conv2)
    elif isinstance(block, StreamBlock):
        _absorb(block, "scale", block.out)
    elif isinstance(block, PhotoBlock):
        _absorb(block, "scale", block.conv2, *([block.attn.proj] if block.attn is not None else []))
    else:
        _absorb(block, "scale1", block.conv2)
        if block.window_attn is not None:
            _absorb(block, "scale3", block.window_attn.proj)
        _absorb(block, "scale4", block.token_ca.out_proj)
    for part in block.modules():
        if isinstance(part, WindowAttention):
            part.mode = "sdpa"  # flex attention gives the same numbers, and cannot be traced


def _absorb(block: nn.Module, name: str, *layers: nn.Conv2d | nn.Linear) -> None:
    scale = block.get_submodule(name)
    if not isinstance(scale, LayerScale):
        return
    gain = scale.gamma.detach().flatten()
    for layer in layers:
        layer.weight.data *= gain.reshape(-1, *[1] * (layer.weight.dim() - 1))
        if layer.bias is not None:
            layer.bias.data *= gain
    setattr(block, name, nn.Identity())


def _legacy_stages(network: LegacyParagonSR2) -> Iterator[Stage]:
    for group in network.body.modules():
        if isinstance(group, LegacyGroup):
            blocks = sum(b.radius for b in group.blocks.modules() if isinstance(b, LegacyNanoBlock | LegacyStreamBlock))
            yield Stage(group, blocks + group.radius)
    # b + conv_fuse(b) is one convolution.
    fuse = network.conv_fuse
    fuse.weight.data[:, :, 1, 1] += torch.eye(fuse.weight.shape[0], dtype=fuse.weight.dtype)
    yield Stage(fuse, 1)
    if network.content_processor is not None:
        yield Stage(network.content_processor, network.content_processor.radius)
    # The convolution behind an earlier shuffle stays there: one before the shuffle would be 5x5 and cost 100 multiply-adds
    # for each pair of channels in place of 72.
    *earlier, _ = upsampling_convolutions(network)
    for shuffled, convolution, activation in earlier:
        yield Stage(shuffled, 1, factor=2)
        yield Stage(nn.Sequential(convolution, activation or nn.Identity()), 1)


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
