"""The folded graph for one band of rows after the other: what a layer needs of the rows before, it keeps.

A picture that is cut into tiles computes each halo again, and a halo is as deep as the whole network: 58 rows of Stream for a strip
of any height. Here only the few rows that the next layer reaches back are kept, so that bands can be as low as a processor's
cache asks for. There is no recursion in it: a row depends on the rows within the receptive field and on no others.

    rows come ──► head ──► stage ──► ... ──► stage ──► tails ──► rows of the target, ``lag`` luma rows behind
                       ▲keeps 2 r     ▲keeps 2 r    ▲keeps what the taps span
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn

from .colour import ClipSpec
from .errors import ParagonSR2Error
from .fold import fold
from .graph import as_fed, input_formats, narrow, rounded, widen
from .network import Network
from .stencil import About, PlanePath, need_of, reach_of
from .tiling import tile_spec, unit

AGAIN_SHARE = 4
"""The head computes rows again where they are no more than one in so many: to put kept rows before a band is to copy all of it.

(Measured for Realtime on one core, bands of 20 rows, f32: 5.4 ns a pixel to keep 2 rows, and 1.7 to compute them again.)
"""


class BandGraph(nn.Module):
    """The planes of a band, and what the band above it left, to the target's planes of a band and what is left for the next.

    ``forward(*planes, *kept)`` takes a tensor (1, 1, height, width) a plane of ``spec.inputs``, of :func:`seam_dtype`, and tensors
    of ``kept_shapes``, float32 or, with ``wide``, float64. It returns the target's planes, those that one convolution gives in one
    tensor, and the tensors for the next band. What they hold before a picture's first band does not matter.

    Planes come as cells, (1, cells of the rows, cells of the columns, planes * rows * columns of a cell), as a convolution with
    its channels last leaves them: to copy cells into a frame costs a host less than to shuffle pixels costs a runtime.

    Band i is the source's luma rows ``i * rows`` to ``(i + 1) * rows``. Its planes begin ``before`` luma samples above and to the
    left of it and end ``after`` below and to the right (chroma in proportion). Bands ``-priming`` to -1 fill what is kept, and the
    samples that they return are to be thrown away.

    Args:
        network: any variant without attention windows, in eval mode; left as it is.
        spec: of the whole picture.
        rows: luma rows of a band, a multiple of :func:`unit`'s.
        wide: whether to compute in float64.
        centred: as :func:`fold` has it, for runtimes that compute in a dtype of few digits; no filter of planes is in two layers
            then, between which they would round.

    Raises:
        ParagonSR2Error: the network has attention windows, or ``rows`` is none of the above.
    """

    def __init__(self, network: Network, spec: ClipSpec, rows: int, *, wide: bool = False, centred: bool = False) -> None:
        super().__init__()
        units = np.array(unit(spec))
        if network.window is not None:
            raise ParagonSR2Error(f"variant is {network.variant!r}, which sees the whole picture: expected 'realtime' or 'stream'")
        if rows < 1 or rows % units[0]:
            raise ParagonSR2Error(f"rows is {rows}: expected a multiple of {units[0]}")
        self.spec = tile_spec(spec, (rows, spec.source.width))
        self.dtype = torch.float64 if wide else torch.float32
        folded = fold(network, self.spec, centred=centred, band=True)
        groups, resolution = folded.groups, math.prod(stage.factor for stage in folded.stages)
        ratios = [np.array(spec.source.ratios if group.planes.start == 1 else (1, 1)) for group in groups]

        # Rows that the head computes again for the first stage, which then keeps none.
        again = 2 * folded.stages[0].radius
        again = again if again * AGAIN_SHARE <= rows else 0
        # How far the tails reach up and down from a row, and by how many luma rows the stages' results trail what goes into them.
        reach, sideways = np.stack([reach_of(group.tail) for group in groups]).max(0).tolist()
        trail = _trail([(stage.radius, stage.factor) for stage in folded.stages])
        lag = math.ceil((trail + Fraction(reach, resolution)) / int(units[0])) * int(units[0])
        ahead = int((lag - trail) * resolution)
        self.priming = math.ceil((lag + trail + Fraction(reach, resolution) - again) / rows)
        for stage in reversed(folded.stages):
            sideways = -(-sideways // stage.factor) + stage.radius
        sideways += 1

        head = About(np.array([1 - lag + again, sideways]), np.array([1 + lag, sideways]))
        chroma = [folded.chroma if group.planes.start == 1 else None for group in groups]
        needs = [need_of(*part, head) for part in zip(groups, chroma, ratios, strict=True)]
        before, after = (
            -(-np.max([side * ratio for side, ratio in zip(sides, ratios, strict=True)], 0) // units) * units
            for sides in zip(*needs, strict=True)
        )
        self.before: tuple[int, int] = tuple(before.tolist())
        self.after: tuple[int, int] = tuple(after.tolist())
        self.paths = [
            PlanePath(
                *part,
                before // part[2],
                np.zeros(2, np.int64),
                size=np.array([rows, spec.source.width]),
                head=head,
                left=np.array([reach, sideways * resolution]),
                resolution=resolution,
                detail_unit=folded.detail_unit,
                dense=centred,
            )
            for part in zip(groups, chroma, ratios, strict=True)
        ]
        self.feeds = folded.feeds
        self.slices = [group.planes for group in groups]
        self.registered = nn.ModuleList(self.paths)
        self.head = folded.head
        self.stages = nn.ModuleList(folded.stages)
        keeps = [*(2 * stage.radius for stage in folded.stages), reach + ahead]
        keeps[0] -= again
        factors = np.cumprod([1, *(stage.factor for stage in folded.stages)]).tolist()
        width = spec.source.width + 2 * sideways
        self.kept_shapes = [
            (1, folded.head.out_channels, count, width * factor) for count, factor in zip(keeps, factors, strict=True) if count
        ]
        self.to(self.dtype).requires_grad_(False).eval()

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        target, formats = self.spec.target, input_formats(self.spec)
        count = len(formats)
        planes = [widen(plane, fmt, self.dtype) for plane, fmt in zip(tensors[:count], formats, strict=True)]
        cells, left = self.cells(planes, tensors[count:])
        return *(narrow(rounded(group, target), target).permute(0, 2, 3, 1) for group in cells), *left

    def cells(self, planes: Sequence[Tensor], kept: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """The groups' samples before they are rounded and clamped, from samples as numbers, channels second; and what is kept."""
        count = len(self.spec.source.shapes)
        groups = self._groups(planes[:count])
        averages = self._groups(planes[count:]) if self.spec.temporal else groups
        x = self.head(torch.cat([path.at_luma(group) for path, group in zip(self.paths, averages, strict=True)], 1))
        left = []
        for stage, earlier in zip([*self.stages, nn.Identity()], [None, *kept][-len(self.stages) - 1 :], strict=True):
            if earlier is not None:
                x = torch.cat((earlier, x), 2)
                left.append(x[:, :, -earlier.shape[2] :])
            x = stage(x)
        return [path.cells(group, x) for path, group in zip(self.paths, groups, strict=True)], left

    def _groups(self, planes: Sequence[Tensor]) -> list[Tensor]:
        planes = as_fed(planes, self.feeds)
        return [torch.cat([*planes[part]], 1) for part in self.slices]


def band_rows(spec: ClipSpec, most: int) -> int:
    """Luma rows of bands, ``most`` at most and half of it at least, that overshoot the picture's height by little.

    They are such that the tails' 4x4 outputs divide a band wherever that is possible.
    """
    step = math.lcm(unit(spec)[0], 4)
    height = spec.source.height
    sizes = [rows for rows in range(step, most + 1, step) if 2 * rows >= most] or [most // unit(spec)[0] * unit(spec)[0]]
    return min(sizes, key=lambda rows: (-(-height // rows) * rows, -rows))


def _trail(stages: list[tuple[int, int]]) -> Fraction:
    """The sum of the stages' (radius, factor) in rows of the first one's input."""
    rows, resolution = Fraction(), 1
    for radius, factor in stages:
        rows += Fraction(radius, resolution)
        resolution *= factor
    return rows
