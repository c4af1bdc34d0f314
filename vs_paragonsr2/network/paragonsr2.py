"""The network in PyTorch as it is trained today (checkpoint version 11), and as it was in versions 9 and 10."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .block import Block
from .description import Description
from .magic_kernel import MagicKernelBase
from .variant import SCALES, AttentionMode, BlockOptions
from .variants import VARIANTS


class BlockGroup(nn.Module):
    """Blocks one after the other, without a skip connection around them."""

    def __init__(self, blocks: list[Block], use_checkpointing: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.use_checkpointing = use_checkpointing

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            if self.use_checkpointing and self.training and torch.is_grad_enabled():
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        return x


class ParagonSR2(nn.Module):
    """The dual-path network: (N, 3, H, W) RGB, nominally 0..1, to (N, 3, H * scale, W * scale).

    Args:
        variant: one of ``VARIANTS``.
        scale: 2, 3, 4 or 8.
        upsampler_alpha: blend of the base path's low-pass; None takes the variant's default.
        attention_mode: ``"sdpa"``, ``"flex"`` (the same numbers through PyTorch's flex attention, which has no backward pass on a
            CPU and cannot be traced) or None, which leaves window attention and its weights out. Variants without window attention
            ignore it.
        export_safe: True is the same as ``attention_mode=None``.
        use_checkpointing: True recomputes each block in the backward pass, which trades time for memory.
        version: 11, or 10 for the blocks of versions 9 and 10.

    Raises:
        ValueError: an argument is outside the values above.
    """

    def __init__(
        self,
        variant: str,
        scale: int = 2,
        *,
        upsampler_alpha: float | None = None,
        attention_mode: AttentionMode | None = "sdpa",
        export_safe: bool = False,
        use_checkpointing: bool = False,
        version: int = 11,
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f"variant is {variant!r}: expected one of {', '.join(VARIANTS)}")
        if scale not in SCALES:
            raise ValueError(f"scale is {scale!r}: expected one of {', '.join(map(str, SCALES))}")
        if attention_mode not in ("sdpa", "flex", None):
            raise ValueError(f"attention_mode is {attention_mode!r}: expected 'sdpa', 'flex' or None")
        if version not in (10, 11):
            raise ValueError(f"version is {version!r}: expected 11, or 10 for the blocks of versions 9 and 10")
        spec = VARIANTS[variant]
        f = spec.features
        attention = None if export_safe or spec.window is None else attention_mode
        self.description = Description(variant, version, scale, has_attention=attention is not None)
        self.variant, self.scale, self.version = variant, scale, version
        self.window = self.description.window
        self.use_checkpointing = use_checkpointing
        self.base = MagicKernelBase(scale, self.description.default_alpha if upsampler_alpha is None else upsampler_alpha)
        self.conv_in = nn.Conv2d(3, f, 3, padding=1)

        def block(index: int) -> Block:
            return spec.block(BlockOptions(channels=f, version=version, attention=attention, shifted=index % 2 == 1))

        self.body = nn.Sequential(
            *(
                BlockGroup([block(group * spec.blocks + i) for i in range(spec.blocks)], use_checkpointing)
                for group in range(spec.groups)
            )
        )
        self.conv_mid = nn.Conv2d(f, f, 3, padding=1)
        self.up = nn.Sequential(nn.Conv2d(f, f * scale * scale, 3, padding=1), nn.PixelShuffle(scale))
        self.conv_out = nn.Conv2d(f, 3, 3, padding=1)
        self.detail_gain = nn.Parameter(torch.tensor(spec.detail_gain))

    @property
    def alpha(self) -> float:
        """Blend of the base path's low-pass."""
        return self.base.alpha

    @property
    def radius(self) -> int:
        """How far an output pixel sees through the convolutions, in input pixels.

        Networks that see the whole picture see further, through window attention or channel attention.
        """
        around = 4  # conv_in, conv_mid and up see one pixel each; conv_out sees an output pixel, which is part of an input pixel
        return max(sum(block.radius for block in self.blocks()) + around, self.base.radius)

    def blocks(self) -> list[Block]:
        """All blocks in their order."""
        return [module for module in self.body.modules() if isinstance(module, Block)]

    def detail(self, features: Tensor) -> Tensor:
        """The learned path from ``conv_in``'s output (N, C, H, W) to the picture's detail (N, 3, H * scale, W * scale)."""
        return self.detail_gain * self.conv_out(self.up(self.conv_mid(self.body(features))))

    def forward(self, x: Tensor, averages: Tensor | None = None) -> Tensor:
        """In the published video mode the learned path reads ``averages`` of earlier frames, shaped as ``x``, instead of ``x``."""
        return self.base(x) + self.detail(self.conv_in(x if averages is None else averages))
