"""The network of checkpoint versions 7 and 8 in PyTorch."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from .block import ResidualBlock
from .description import BINOMIAL, HALF_BAND, Description
from .layers import depthwise
from .legacy import SLOPE, VERSIONS
from .magic_kernel import MagicKernelBase, row_and_column_filters
from .variant import SCALES
from .variants import VARIANTS


class LegacyFilter(nn.Module):
    """The base path's separable filter under its old names. Only version 8 has the buffer."""

    def __init__(self, taps: tuple[float, ...], buffer: bool) -> None:
        super().__init__()
        if buffer:
            self.register_buffer("source_kernel", torch.tensor(taps))
        self.conv_h, self.conv_v = row_and_column_filters(taps)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_v(self.conv_h(x))


class LegacyBase(MagicKernelBase):
    """The base path of versions 7 and 8: today's arithmetic under the old names, with alpha clamped to 0..1."""

    def __init__(self, scale: int, alpha: float, version: int) -> None:
        self.version = version
        super().__init__(scale, min(max(alpha, 0.0), 1.0))

    def add_filters(self) -> None:
        self.sharpen = LegacyFilter(HALF_BAND, buffer=self.version == 8)
        self.resample_conv = LegacyFilter(BINOMIAL, buffer=self.version == 8)

    def filters(self) -> tuple[nn.Module, nn.Module]:
        return self.sharpen, self.resample_conv


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
    """Blocks, a 3x3 convolution and the multi-scale fusion, with a skip connection around them all."""

    def __init__(self, blocks: list[ResidualBlock], channels: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.mid_conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.mscf = MultiScaleFusion(channels)

    @property
    def radius(self) -> int:
        """How far an output sees, in pixels."""
        return sum(block.radius for block in self.blocks if isinstance(block, ResidualBlock)) + 1 + self.mscf.radius

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mscf(self.mid_conv(self.blocks(x)))


class ContentProcessor(nn.Module):
    """Multiplies the features by a map of how much detail to add, which is 0 to 2 for each pixel."""

    radius: ClassVar[int] = 4

    def __init__(self, channels: int) -> None:
        super().__init__()
        h = max(8, channels // 4)
        self.analyzer = nn.Sequential(
            nn.Conv2d(channels, h, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(h, h, 5, padding=2, groups=h),
            nn.Conv2d(h, h, 1),
            nn.LeakyReLU(SLOPE),
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
    """4x and 8x upsampling in steps of two, with a convolution and a leaky ReLU between the steps."""

    def __init__(self, channels: int, scale: int) -> None:
        super().__init__()
        stages: list[nn.Module] = [ShuffleStage(channels, 2)]
        for _ in range(1 if scale == 4 else 2):
            stages += [nn.Conv2d(channels, channels, 3, padding=1), nn.LeakyReLU(SLOPE), ShuffleStage(channels, 2)]
        self.stages = nn.Sequential(*stages)

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(x)


class LegacyParagonSR2(nn.Module):
    """Versions 7 and 8: (N, 3, H, W) RGB, nominally 0..1, to (N, 3, H * scale, W * scale).

    Args:
        variant: the name of a variant that these versions have: ``"realtime"`` or ``"stream"``.
        scale: 2, 3, 4 or 8.
        version: 7 or 8.
        upsampler_alpha: blend of the base path's low-pass, clamped to 0..1; None takes the version's default.
        content_processor: whether the checkpoint has ``content_processor.analyzer``.

    Raises:
        ValueError: an argument is outside the values above.
    """

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
        spec = VARIANTS.get(variant)
        if spec is None or spec.legacy is None:
            known = [name for name, other in VARIANTS.items() if other.legacy]
            raise ValueError(f"variant is {variant!r}: versions 7 and 8 have {' and '.join(known)} here")
        if scale not in SCALES:
            raise ValueError(f"scale is {scale!r}: expected one of {', '.join(map(str, SCALES))}")
        if version not in VERSIONS:
            raise ValueError(f"version is {version!r}: expected {' or '.join(map(str, VERSIONS))}")
        self.description = Description(variant, version, scale, has_content_processor=content_processor)
        self.variant, self.scale, self.version = variant, scale, version
        self.window = self.description.window
        f, make_block = spec.features, spec.legacy.block
        alpha = self.description.default_alpha if upsampler_alpha is None else upsampler_alpha
        self.base_upsampler = LegacyBase(scale, alpha, version)
        self.conv_in = nn.Conv2d(3, f, 3, padding=1)
        groups = [LegacyGroup([make_block(f, version) for _ in range(spec.blocks)], f) for _ in range(spec.groups)]
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
        body = sum(group.radius for group in self.body if isinstance(group, LegacyGroup))
        content = self.content_processor.radius if self.content_processor is not None else 0
        # conv_in, conv_fuse and the first up_conv see one pixel further each. What follows at higher resolutions:
        # at 2x and 3x conv_out alone, 1/2 and 1/3; at 4x 1/2 + 1/2 + 1/4; at 8x 1/2 + 1/2 + 1/4 + 1/4 + 1/8.
        upsampler = 1 if self.scale <= 3 else 2
        return max(body + content + 3 + upsampler, self.base_upsampler.radius)

    def detail(self, features: Tensor) -> Tensor:
        """The learned path from ``conv_in``'s output (N, C, H, W) to the picture's detail (N, 3, H * scale, W * scale)."""
        b = self.body(features)
        d = self.conv_fuse(b) + b
        if self.content_processor is not None:
            d = self.content_processor(d)
        return self.global_detail_gain * self.conv_out(self.detail_upsampler(d))

    def forward(self, x: Tensor, averages: Tensor | None = None) -> Tensor:
        """In the published video mode the learned path reads ``averages`` of earlier frames, shaped as ``x``, instead of ``x``."""
        return self.base_upsampler(x) + self.detail(self.conv_in(x if averages is None else averages))
