"""Planes to planes: one exportable module with static shapes and no data-dependent control flow, the same for all backends.

    PlanesGraph:  memory's integers ─► widen ─► PlanesCore ─► narrow ─► memory's integers

What is between the casts, :class:`PlanesCore`, is float32 in and out; a backend that cannot express the casts takes the core and
puts its own around it.
"""

from collections.abc import Sequence
from math import prod
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from .colour import ClipSpec, PlaneFormat
from .errors import ParagonSR2Error
from .fold import fold
from .network import Network
from .stencil import About, PlanePath, Size, need_of, reach_of
from .tiling import border, unit

Dither = Literal["none", "ordered"]

BAYER = 8
"""Side of the pattern of ordered dither in target samples; tiles that begin at multiples of it have no seams."""


class PlanesGraph(nn.Module):
    """The planes of a frame of the source to those of the target.

    ``forward`` takes one tensor (1, 1, height, width) a plane of ``spec.inputs`` and returns a tuple of the like for the target.
    Their dtypes are :func:`seam_dtype` of the formats: uint8 for 8 bits; int16 for 9 to 16 bits, the very bits of the frame's
    unsigned samples (``view(np.int16)``), so that nothing is copied and no runtime has to know uint16; half and float as they are.

    Args:
        network: any variant, scale and version, in eval mode; left as it is.
        spec: of the clip, with the sizes of whole planes, or of one tile without its halo.
        dtype: of the learned path: float32, float16 or bfloat16. The base path and the last sum, which decide the lower bits, are
            float32 always; with float64 everything is float64.
        dither: how integers are rounded: ``"none"``, to the nearest, or ``"ordered"``.
        padded: whether the planes that come have ``halo`` samples of their surroundings about them already (chroma in proportion).
            Otherwise they are replicated at their edges in here.

    Attributes:
        halo: luma samples of the source that an output needs above and below, and to the left and the right: exactly the
            receptive field, rounded up to whole chroma samples.

    Raises:
        ParagonSR2Error: formats, sizes or scale disagree, or an argument is outside the values above.
    """

    def __init__(
        self,
        network: Network,
        spec: ClipSpec,
        *,
        dtype: torch.dtype = torch.float32,
        dither: Dither = "none",
        padded: bool = False,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.core = PlanesCore(network, spec, dtype=dtype, dither=dither, padded=padded)
        self.halo = self.core.halo

    def forward(self, *planes: Tensor) -> tuple[Tensor, ...]:
        samples = self.core.groups(*self.samples(planes))
        # Planes that come out of one convolution are taken apart last, when they are narrow.
        return tuple(plane for group in samples for plane in narrow(group, self.spec.target).split(1, 1))

    def samples(self, planes: Sequence[Tensor]) -> list[Tensor]:
        """The planes that ``forward`` takes as numbers."""
        return [widen(plane, fmt, self.core.wide) for plane, fmt in zip(planes, input_formats(self.spec), strict=True)]


def input_formats(spec: ClipSpec) -> list[PlaneFormat]:
    """The format of each plane that a session is given."""
    return [fmt for fmt in spec.inputs for _ in fmt.shapes]


def seam_dtype(fmt: PlaneFormat) -> torch.dtype:
    """What PlanesGraph takes or gives for samples of a format."""
    if fmt.is_float:
        return torch.float16 if fmt.bits == 16 else torch.float32
    return torch.uint8 if fmt.bits == 8 else torch.int16


def widen(plane: Tensor, fmt: PlaneFormat, wide: torch.dtype) -> Tensor:
    """Samples as they lie in memory, in :func:`seam_dtype`, as numbers."""
    samples = plane.to(wide)
    if not fmt.is_float and fmt.bits == 16:
        samples = torch.where(samples < 0, samples + 65536, samples)
    return samples


def rounded(samples: Tensor, fmt: PlaneFormat) -> Tensor:
    """Samples to the nearest that the format has, where it has integers."""
    return samples if fmt.is_float else samples.round().clamp(0, (1 << fmt.bits) - 1)


def narrow(samples: Tensor, fmt: PlaneFormat) -> Tensor:
    """Rounded and clamped numbers as samples in :func:`seam_dtype`."""
    if not fmt.is_float and fmt.bits == 16:
        # Not left to the cast: what one does with numbers out of its range differs from runtime to runtime.
        samples = torch.where(samples > 32767, samples - 65536, samples)
    return samples.to(seam_dtype(fmt))


class PlanesCore(nn.Module):
    """PlanesGraph between the casts: float32 samples, in codes for integers, to rounded and clamped ones.

    Arguments, attributes and errors are those of :class:`PlanesGraph`.
    """

    def __init__(
        self, network: Network, spec: ClipSpec, *, dtype: torch.dtype, dither: Dither = "none", padded: bool = False
    ) -> None:
        super().__init__()
        source, target = spec.source, spec.target
        _check(dtype, dither, target)
        self.target = target
        self.dtype = dtype
        self.wide = torch.float64 if dtype is torch.float64 else torch.float32
        coarse = dtype in (torch.float16, torch.bfloat16)
        # Raw samples save a pass over the planes. But bfloat16 keeps one more digit of samples about zero; and float16 has too
        # few small numbers for weights that are divided by the range of samples, and none for 65,535: so the tails count in
        # steps of 8-bit samples.
        detail_unit = float(1 << (target.bits - 8)) if coarse and not target.is_float else 1.0
        folded = fold(network, spec, centred=coarse, detail_unit=detail_unit)

        # From the tails back to the planes: how many pixels about the picture have to be right at each stage.
        margin: Size = np.stack([reach_of(group.tail) for group in folded.groups]).max(0)
        for stage in reversed(folded.stages):
            margin = -(-margin // stage.factor) + stage.radius
        # A network that sees the whole picture gets the border that its zeros and windows ask for; the head reaches one further.
        margin = margin + 1 if network.window is None else np.array([border(network, spec)] * 2)
        resolution = prod(stage.factor for stage in folded.stages)

        size = np.array([source.height, source.width])
        parts = [
            (group, folded.chroma, np.array(source.ratios)) if group.planes.start == 1 else (group, None, np.array((1, 1)))
            for group in folded.groups
        ]
        # Chroma of a network that sees the whole picture is replicated once more within tiles: its border is a rule.
        head = About(margin, margin)
        needs = [np.max(need_of(*part, head), 0) for part in parts]
        reach = margin if network.window else np.max([need * part[2] for need, part in zip(needs, parts, strict=True)], 0)
        units = np.array(unit(spec))
        halo = -(-reach // units) * units
        self.halo = (int(halo[0]), int(halo[1]))
        given = halo if padded else 0 * halo
        paths = [
            PlanePath(
                *part,
                given // part[2],
                np.maximum(need - given // part[2], 0),
                size=size,
                head=head,
                left=margin * resolution,
                resolution=resolution,
                detail_unit=detail_unit,
            )
            for need, part in zip(needs, parts, strict=True)
        ]
        self.feeds = folded.feeds
        self.temporal = spec.temporal
        self.slices = [group.planes for group in folded.groups]
        self.paths: list[PlanePath] = paths
        self.registered = nn.ModuleList(paths).to(self.wide)
        self.head = folded.head.to(dtype)
        self.stages = nn.Sequential(*folded.stages).to(dtype)
        for path in paths:
            path.tail.to(dtype)
        self.dither = dither == "ordered"
        self.pattern: Tensor
        self.register_buffer("pattern", bayer().to(self.wide), persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, *planes: Tensor) -> tuple[Tensor, ...]:
        return tuple(plane for group in self.groups(*planes) for plane in group.split(1, 1))

    def groups(self, *planes: Tensor) -> list[Tensor]:
        """The same with the planes that belong together in one tensor: (1, planes, height, width) each."""
        return [self.quantise(samples) for samples in self.sums(*planes)]

    def sums(self, *planes: Tensor) -> list[Tensor]:
        """The groups' samples before they are rounded and clamped."""
        count = len(self.feeds)
        groups = self._surrounded(planes[:count])
        averages = self._surrounded(planes[count:]) if self.temporal else groups
        pictures = [path.at_luma(group) for path, group in zip(self.paths, averages, strict=True)]
        features = self.stages(self.head(torch.cat(pictures, 1).to(self.dtype)))
        return [path(group, features) for path, group in zip(self.paths, groups, strict=True)]

    def _surrounded(self, planes: Sequence[Tensor]) -> list[Tensor]:
        """The groups of one picture as they are fed, with what is about them."""
        fed = as_fed(planes, self.feeds)
        return [path.surround(torch.cat(fed[part], 1)) for part, path in zip(self.slices, self.paths, strict=True)]

    def quantise(self, samples: Tensor) -> Tensor:
        """Round and clamp samples where they are integers."""
        if self.dither and not self.target.is_float:
            height, width = samples.shape[2:]
            pattern = self.pattern.repeat(1, 1, -(-height // BAYER), -(-width // BAYER))
            samples = samples + pattern[:, :, :height, :width]
        return rounded(samples, self.target)


def as_fed(planes: Sequence[Tensor], feeds: Sequence[tuple[float, float]]) -> list[Tensor]:
    """Samples in the scales that a folded graph is fed: (sample - zero) * unit for each plane's (zero, unit)."""
    return [plane if feed == (0.0, 1.0) else (plane - feed[0]) * feed[1] for plane, feed in zip(planes, feeds, strict=True)]


def bayer(side: int = BAYER) -> Tensor:
    """(1, 1, side, side), a power of two: the thresholds of ordered dither, whose mean is 0 (B. E. Bayer, 1973).

    With a side of 8, -63/128 to 63/128 in steps of 1/64.
    """
    pattern = torch.zeros(1, 1)
    while len(pattern) < side:
        rows = torch.cat((4 * pattern, 4 * pattern + 2), 1), torch.cat((4 * pattern + 3, 4 * pattern + 1), 1)
        pattern = torch.cat(rows)
    return ((pattern + 0.5) / side**2 - 0.5)[None, None]


def _check(dtype: torch.dtype, dither: str, target: PlaneFormat) -> None:
    if dtype not in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        raise ParagonSR2Error(f"dtype is {dtype}: expected torch.float32, float16, bfloat16 or float64")
    if dither not in ("none", "ordered"):
        raise ParagonSR2Error(f"dither is {dither!r}: expected 'none' or 'ordered'")
    if dither == "ordered" and target.is_float:
        raise ParagonSR2Error("dither is 'ordered' for a target of floats: expected 'none', since nothing is rounded there")
