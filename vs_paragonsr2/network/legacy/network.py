"""Checkpoint versions 7 and 8, which compute something else under other names (realtime and stream only)."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from ..description import BINOMIAL, HALF_BAND
from ..layers import depthwise
from ..magic_kernel import MagicKernelBase, row_and_column_filters
from ..variant import SCALES
from . import DEFAULT_ALPHA, VARIANTS


class LegacyFilter(nn.Module):
    """The base path's separable filter under its old names; only version 8 has the buffer."""

    def __init__(self, taps: tuple[float, ...], buffer: bool) -> None:
        super().__init__()
        if buffer:
            self.register_buffer("source_kernel", torch.tensor(taps))
        self.conv_h, self.conv_v = row_and_column_filters(taps)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_v(self.conv_h(x))


class LegacyBase(MagicKernelBase):
    """The base path of versions 7 and 8: today's arithmetic under the old names, alpha clamped to 0..1."""

    def __init__(self, scale: int, alpha: float, version: int) -> None:
        self.version = version
        super().__init__(scale, min(max(alpha, 0.0), 1.0))

    def add_filters(self) -> None:
        self.sharpen = LegacyFilter(HALF_BAND, buffer=self.version == 8)
        self.resample_conv = LegacyFilter(BINOMIAL, buffer=self.version == 8)

    def filters(self) -> tuple[nn.Module, nn.Module]:
        return self.sharpen, self.resample_conv


class LegacyNanoBlock(nn.Module):
    """Realtime's block of versions 7 and 8: hardswish on both sides of the depthwise convolution."""

    radius: ClassVar[int] = 1

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = 2 * channels
        self.net = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.Hardswish(), depthwise(hidden), nn.Hardswish(), nn.Conv2d(hidden, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)


class SplitContext(nn.Module):
    """Version 8's context: some channels pass, three groups are filtered 3x3, 1x21 and 21x1."""

    radius: ClassVar[int] = 10

    def __init__(self, channels: int) -> None:
        super().__init__()
        g = channels // 8
        self.split = [channels - 3 * g, g, g, g]
        self.dwconv_hw = depthwise(g)
        self.dwconv_w = nn.Conv2d(g, g, (1, 21), padding=(0, 10), groups=g)
        self.dwconv_h = nn.Conv2d(g, g, (21, 1), padding=(10, 0), groups=g)

    def forward(self, x: Tensor) -> Tensor:
        same, square, row, column = torch.split(x, self.split, 1)
        return torch.cat((same, self.dwconv_hw(square), self.dwconv_w(row), self.dwconv_h(column)), 1)


class LegacyStreamBlock(nn.Module):
    """Stream's block of versions 7 (a 3x3 context) and 8 (a split one)."""

    def __init__(self, channels: int, version: int) -> None:
        super().__init__()
        hidden = 2 * channels
        self.context = depthwise(channels) if version == 7 else SplitContext(channels)
        self.radius = 1 + (1 if version == 7 else SplitContext.radius)
        self.proj_in = nn.Conv2d(channels, 2 * hidden, 1)
        self.dw_gate = depthwise(2 * hidden)
        self.proj_out = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.dw_gate(self.proj_in(self.context(x))).chunk(2, 1)
        return x + self.proj_out(a * b)


class MultiScaleFusion(nn.Module):
    """``mscf``: 1x1, 3x3 and 5x5 views of the features decide how much of each channel passes."""

    radius: ClassVar[int] = 2

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.p1 = nn.Conv2d(channels, channels, 1)
        self.p3 = depthwise(channels)
        self.p5 = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.attn = nn.Sequential(nn.Conv2d(3 * channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, channels, 1), nn.Sigmoid())
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, z: Tensor) -> Tensor:
        return self.proj(z * self.attn(torch.cat((self.p1(z), self.p3(z), self.p5(z)), 1)))


class LegacyGroup(nn.Module):
    """Blocks, a 3x3 convolution and the multi-scale fusion, with a skip around them all."""

    radius: ClassVar[int] = 1 + MultiScaleFusion.radius  # beyond the blocks' own

    def __init__(self, blocks: list[nn.Module], channels: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.mid_conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.mscf = MultiScaleFusion(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mscf(self.mid_conv(self.blocks(x)))


class ContentProcessor(nn.Module):
    """Stream's map of how much detail to add, 0 to 2 for each pixel."""

    radius: ClassVar[int] = 4

    def __init__(self, channels: int) -> None:
        super().__init__()
        h = max(8, channels // 4)
        self.analyzer = nn.Sequential(
            nn.Conv2d(channels, h, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(h, h, 5, padding=2, groups=h),
            nn.Conv2d(h, h, 1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(h, 1, 3, padding=1),
        )

    def forward(self, d: Tensor) -> Tensor:
        return d * 2 * torch.sigmoid(self.analyzer(d))


class ShuffleStage(nn.Module):
    """A 3x3 convolution and a pixel shuffle."""

    def __init__(self, channels: int, scale: int) -> None:
        super().__init__()
        self.up_conv = nn.Conv2d(channels, channels * scale * scale, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.shuffle(self.up_conv(x))


class StagedUpsampler(nn.Module):
    """4x and 8x in steps of two, with a convolution and a leaky ReLU between the steps."""

    def __init__(self, channels: int, scale: int) -> None:
        super().__init__()
        stages: list[nn.Module] = [ShuffleStage(channels, 2)]
        for _ in range(1 if scale == 4 else 2):
            stages += [nn.Conv2d(channels, channels, 3, padding=1), nn.LeakyReLU(0.1), ShuffleStage(channels, 2)]
        self.stages = nn.Sequential(*stages)

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(x)


class LegacyParagonSR2(nn.Module):
    """Versions 7 and 8: (N, 3, H, W) RGB, nominally 0..1, to (N, 3, H * scale, W * scale).

    Args:
        variant: ``"realtime"`` or ``"stream"``.
        scale: 2, 3, 4 or 8.
        version: 7 or 8.
        upsampler_alpha: blend of the base path's low-pass, clamped to 0..1; None takes the version's default.
        content_processor: whether the checkpoint has ``content_processor.analyzer``.

    Raises:
        ValueError: an argument is outside the values above.
    """

    window: ClassVar[None] = None

    def __init__(
        self,
        variant: str,
        scale: int,
        version: int,
        *,
        upsampler_alpha: float | None = None,
        content_processor: bool = False,
    ) -> None:
        super().__init__()
        if variant not in DEFAULT_ALPHA:
            raise ValueError(f"variant is {variant!r}: versions 7 and 8 have {' and '.join(DEFAULT_ALPHA)} here")
        if scale not in SCALES:
            raise ValueError(f"scale is {scale!r}: expected one of {', '.join(map(str, SCALES))}")
        if version not in (7, 8):
            raise ValueError(f"version is {version!r}: expected 7 or 8")
        spec = VARIANTS[variant]
        f = spec.features
        self.variant = variant
        self.scale = scale
        self.version = version
        alpha = DEFAULT_ALPHA[variant] if upsampler_alpha is None else upsampler_alpha
        self.base_upsampler = LegacyBase(scale, alpha, version)
        self.conv_in = nn.Conv2d(3, f, 3, padding=1)

        def block() -> LegacyNanoBlock | LegacyStreamBlock:
            return LegacyNanoBlock(f) if variant == "realtime" else LegacyStreamBlock(f, version)

        groups = [LegacyGroup([block() for _ in range(spec.blocks)], f) for _ in range(spec.groups)]
        self.body = nn.Sequential(*groups)
        self.conv_fuse = nn.Conv2d(f, f, 3, padding=1)
        self.content_processor = ContentProcessor(f) if content_processor else None
        self.detail_upsampler = ShuffleStage(f, scale) if scale <= 3 else StagedUpsampler(f, scale)
        self.conv_out = nn.Conv2d(f, 3, 3, padding=1)
        self.global_detail_gain = nn.Parameter(torch.tensor(spec.detail_gain))

    @property
    def alpha(self) -> float:
        """Blend of the base path's low-pass."""
        return self.base_upsampler.alpha

    @property
    def radius(self) -> int:
        """How far an output pixel sees, in input pixels."""
        parts = self.body.modules()
        body = sum(m.radius for m in parts if isinstance(m, LegacyNanoBlock | LegacyStreamBlock | LegacyGroup))
        content = self.content_processor.radius if self.content_processor is not None else 0
        # conv_in, conv_fuse and the first up_conv reach a pixel each; what follows at higher resolutions reaches
        # conv_out alone at 2x and 3x: 1/2 and 1/3; at 4x 1/2 + 1/2 + 1/4; at 8x 1/2 + 1/2 + 1/4 + 1/4 + 1/8.
        upsampler = 1 if self.scale <= 3 else 2
        return max(body + content + 3 + upsampler, self.base_upsampler.radius)

    def detail(self, features: Tensor) -> Tensor:
        """The learned path from ``conv_in``'s output (N, F, H, W) to the picture's detail (N, 3, H * scale, W * scale)."""
        b = self.body(features)
        d = self.conv_fuse(b) + b
        if self.content_processor is not None:
            d = self.content_processor(d)
        return self.global_detail_gain * self.conv_out(self.detail_upsampler(d))

    def forward(self, x: Tensor, averages: Tensor | None = None) -> Tensor:
        return self.base_upsampler(x) + self.detail(self.conv_in(x if averages is None else averages))
