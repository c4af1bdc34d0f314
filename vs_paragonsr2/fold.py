"""Exact algebra: network and colour become the shortest equal graph.

All that is linear is multiplied out once, in float64, in place of for every frame:

* YUV -> RGB and the scale of integer samples go into ``conv_in``;
* LayerScale goes into the convolution before it (:mod:`.body`);
* the last upsampling convolution, pixel shuffle, ``conv_out``, ``detail_gain``, RGB -> YUV, the reduction of chroma and the scale
  of samples become one convolution before the only pixel shuffle, with as many outputs as the planes have samples there;
* chroma in, base path and chroma out become one filter of each plane alone, since the base path does the same to each colour
  channel and so commutes with the matrix.

What is left is equal to the plain route in real arithmetic wherever the network's zero padding is out of reach. Versions 7 and 8 at
4x and 8x keep the stages between which they are not linear.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from .body import Stage, stages, upsampling_convolutions, without_row_padding
from .colour import (
    Array,
    ClipSpec,
    PlaneFormat,
    chroma_downsampler,
    chroma_upsampler,
    rgb_to_yuv,
    sample_scale,
    siting_offsets,
    yuv_to_rgb,
)
from .errors import ParagonSR2Error
from .network import LegacyParagonSR2, Network
from .network.magic_kernel import MagicKernelBase
from .polyphase import IDENTITY, PlaneFilter, Polyphase, downsampling, fir, nearest, plane_filter, upsampling


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """A strided convolution before a pixel shuffle, float64."""

    weight: Tensor
    """(planes, vertical phases, horizontal phases, inputs, rows, columns)."""
    bias: Tensor
    """(planes, vertical phases, horizontal phases)."""
    first: tuple[int, int]
    """Of the taps, relative to the first input pixel of an output cell."""
    step: tuple[int, int]
    """Input pixels of a cell."""

    @property
    def taps(self) -> tuple[int, int]:
        """Rows and columns of inputs that a cell is made of."""
        rows, columns = self.weight.shape[-2:]
        return rows, columns

    @property
    def phases(self) -> tuple[int, int]:
        """Outputs of a cell for each plane."""
        rows, columns = self.bias.shape[1:]
        return rows, columns

    def grouped(self, cells: tuple[int, int]) -> "Convolution":
        """The same convolution, whose cell is so many (rows, columns) of this one's."""
        planes, rows, columns, inputs, height, width = self.weight.shape
        (down, across), (y, x) = cells, self.step
        weight = self.weight.new_zeros(
            planes, rows * down, columns * across, inputs, height + (down - 1) * y, width + (across - 1) * x
        )
        for i in range(down):
            for j in range(across):
                part = weight[:, i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
                part[..., i * y : i * y + height, j * x : j * x + width] = self.weight
        return Convolution(weight, self.bias.repeat(1, down, across), self.first, (y * down, x * across))


@dataclass(frozen=True, slots=True, eq=False)
class PlaneGroup:
    """Planes of the same size and meaning: luma; both of chroma; R, G and B."""

    planes: slice
    base: PlaneFilter
    """From the source's planes to the target's, the base path between."""
    gain: float
    """Target samples for a fed one, apart from ``base``, ..."""
    offset: float
    """... and what is added behind it."""
    tail: Convolution
    """From the features that ``stages`` leave to the detail of the target's planes, in target samples / ``detail_unit``."""


@dataclass(frozen=True, slots=True, eq=False)
class Folded:
    """The shortest graph for one network and one kind of clip."""

    feeds: list[tuple[float, float]]
    """For each source plane (zero, unit): what is fed is (sample - zero) * unit."""
    chroma: PlaneFilter | None
    """From the source's chroma to its luma's positions, where they differ."""
    head: nn.Conv2d
    """``conv_in`` from the fed planes at luma's positions. Padded with zeros, RGB's black, if the body sees the whole picture."""
    stages: list[Stage]
    groups: list[PlaneGroup]
    detail_unit: float


@torch.no_grad()
def fold(network: Network, spec: ClipSpec, *, centred: bool = False, detail_unit: float = 1.0, band: bool = False) -> Folded:
    """Multiply out all that is linear.

    Args:
        network: any variant, scale and version, any dtype; it is left as it is.
        spec: of the clip; source and target of one colour family, the target larger by the network's scale.
        centred: whether samples are brought to -0.5..0.5 before they are fed, in place of by the weights: a dtype of few digits has
            the more of them for what is left. A network that sees the whole picture pads it with zeros, RGB's black, and is always
            fed 0..1 (chroma -0.5..0.5).
        detail_unit: target samples for what the tails give as 1, so that a narrow dtype can hold it.
        band: whether head and stages are for bands of rows: they pad the columns alone.

    Raises:
        ParagonSR2Error: sizes or colour families disagree with each other or with the network's scale, or the base path's filters
            are not the same for each colour channel.
    """
    _check(network, spec)
    network = deepcopy(network).double().eval()
    source, target, colour = spec.source, spec.target, spec.colour
    scales = sample_scale(source, colour)
    # How what is fed depends on nominal values: it is value * scale + offset.
    if network.window is not None:
        fed_scales = [(1.0, 0.0)] * len(scales)
    elif centred:
        fed_scales = [(1.0, 0.0 if plane and source.family == "YUV" else -0.5) for plane in range(len(scales))]
    else:
        fed_scales = scales
    feeds = [
        ((offset / scale - fed_offset / fed_scale) * scale, fed_scale / scale)
        for (scale, offset), (fed_scale, fed_offset) in zip(scales, fed_scales, strict=True)
    ]
    to_rgb, from_rgb = _matrices(spec)
    enlarge, reduce = _chroma_filters(spec)
    slices = [slice(0, 1), slice(1, 3)] if source.family == "YUV" else [slice(0, len(scales))]
    groups = []
    for planes in slices:
        chroma = planes.start == 1
        into, out = (enlarge, reduce) if chroma else ((IDENTITY, IDENTITY), (IDENTITY, IDENTITY))
        terms = []
        for weight, axes in _base_terms(_base_of(network)):
            vertical, horizontal = (a.then(b).then(c) for a, b, c in zip(into, axes, out, strict=True))
            terms.append((weight, vertical, horizontal))
        base = plane_filter(terms)
        fed_scale, fed_offset = fed_scales[planes.start]
        scale, offset = sample_scale(target, colour)[planes.start]
        gain = scale / fed_scale
        # Every phase of the base path has the same gain at DC, 1, up to the rounding of the stored taps.
        dc = float(base.dense()[0, 0].sum())
        tail = fold_tail(network, torch.from_numpy(from_rgb[planes] * scale / detail_unit), out)
        phases = _phases_at_once(tail, base, target.shapes[planes.start])
        base = base.grouped((phases[0] // base.phases[0], phases[1] // base.phases[1]))
        tail = tail.grouped((phases[0] // tail.phases[0], phases[1] // tail.phases[1]))
        groups.append(PlaneGroup(planes, base, gain, offset - gain * fed_offset * dc, tail))
    head = _head(network, torch.from_numpy(to_rgb), fed_scales)
    return Folded(
        feeds,
        plane_filter([(1.0, *enlarge)]) if max(source.ratios) > 1 else None,
        without_row_padding(head) if band else head,
        stages(network, band),
        groups,
        detail_unit,
    )


LANES = 16
"""Of a vector of AVX-512, or of a row of a matrix unit: a convolution of fewer outputs leaves the others empty."""


def _phases_at_once(tail: Convolution, base: PlaneFilter, shape: tuple[int, int]) -> tuple[int, int]:
    """Outputs (rows, columns) of each plane for one cell of tail and base alike, such that the tail takes the least time.

    More of them fill the lanes, of which a tail of 4 or 2 outputs leaves most empty; but the kernel of a cell grows with it, zeros
    in it. (Measured on a CPU with AVX-512, F = 16: luma's 5x5 tail takes 3 to 10 times less as 4x4 outputs.)
    """
    least = [int(np.lcm(a, b)) for a, b in zip(tail.phases, base.phases, strict=True)]
    choices = [[n for n in (side, 2, 4, 8) if n % side == 0 and length % n == 0] for side, length in zip(least, shape, strict=True)]

    def cost(phases: tuple[int, ...]) -> float:
        """Lanes times taps for each output."""
        cells = [count // own for count, own in zip(phases, tail.phases, strict=True)]
        taps = [n + (count - 1) * step for n, count, step in zip(tail.taps, cells, tail.step, strict=True)]
        outputs = tail.bias.shape[0] * phases[0] * phases[1]
        return -(-outputs // LANES) * LANES * taps[0] * taps[1] / outputs

    rows, columns = min(product(*choices), key=cost)
    return rows, columns


def _check(network: Network, spec: ClipSpec) -> None:
    source, target = spec.source, spec.target
    if source.family != target.family:
        raise ParagonSR2Error(f"target is {target.family}: expected the source's colour family, {source.family}")
    size, expected = (target.width, target.height), (source.width * network.scale, source.height * network.scale)
    if size != expected:
        raise ParagonSR2Error(f"target is {size[0]}x{size[1]}: expected {expected[0]}x{expected[1]}, the source {network.scale}x")
    for name, fmt in (("source", source), ("target", target)):
        if fmt.height % fmt.ratios[0] or fmt.width % fmt.ratios[1]:
            raise ParagonSR2Error(
                f"{name} is {fmt.width}x{fmt.height}: expected multiples of {fmt.ratios[1]}x{fmt.ratios[0]} for its chroma"
            )


def _matrices(spec: ClipSpec) -> tuple[Array, Array]:
    """(3, planes) from the source's planes to RGB, and (planes, 3) back."""
    matrix = spec.colour.matrix
    if spec.source.family == "RGB":
        return np.eye(3), np.eye(3)
    if spec.source.family == "GRAY":
        return np.ones((3, 1)), rgb_to_yuv(matrix)[:1]
    return yuv_to_rgb(matrix), rgb_to_yuv(matrix)


def _chroma_filters(spec: ClipSpec) -> tuple[tuple[Polyphase, Polyphase], tuple[Polyphase, Polyphase]]:
    """(vertical, horizontal) from the source's chroma to luma's positions, and from those to the target's chroma."""

    def axes(fmt: PlaneFormat) -> list[tuple[int, float]]:
        return list(zip(fmt.ratios, siting_offsets(spec.colour.siting, fmt.ratios), strict=True))

    rows, columns = (upsampling(chroma_upsampler(*axis)) for axis in axes(spec.source))
    rows_back, columns_back = (downsampling(chroma_downsampler(*axis), axis[0]) for axis in axes(spec.target))
    return (rows, columns), (rows_back, columns_back)


def _base_of(network: Network) -> MagicKernelBase:
    return network.base_upsampler if isinstance(network, LegacyParagonSR2) else network.base


def _base_terms(base: MagicKernelBase) -> list[tuple[float, tuple[Polyphase, Polyphase]]]:
    """The base path as a sum of (weight, (vertical, horizontal)); the low-pass makes a second term."""
    low_pass, blur = (_separable(part) for part in base.filters())
    enlarge = tuple(nearest(base.scale).then(axis) for axis in blur)
    low, high = tuple(a.then(b) for a, b in zip(low_pass, enlarge, strict=True)), enlarge
    if base.alpha <= 0:
        return [(1.0, (high[0], high[1]))]
    return [(1 - base.alpha, (high[0], high[1])), (base.alpha, (low[0], low[1]))]


def _separable(module: nn.Module) -> tuple[Polyphase, Polyphase]:
    """(vertical, horizontal) of the base path's two convolutions."""
    found: dict[bool, Polyphase] = {}
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            taps = part.weight.detach().flatten(1)
            if not torch.equal(taps, taps[:1].expand_as(taps)):
                raise ParagonSR2Error("the base path's filters differ between R, G and B: expected the same for all three")
            found[part.kernel_size[0] > 1] = fir(taps[0].numpy())
    return found[True], found[False]


def _head(network: Network, to_rgb: Tensor, scales: Sequence[tuple[float, float]]) -> nn.Conv2d:
    """``conv_in`` from planes at the scales of samples.

    Chroma comes upsampled: that costs 25 multiply-adds a pixel. Multiplied out too, each chroma sample would feed 5x5 kernels in
    four phases, and the head would cost twice as much and need a shuffle of all features; luma by space-to-depth, four times
    as much.
    """
    conv = network.conv_in
    scale, offset = torch.tensor(scales, dtype=torch.float64).T
    weight = torch.einsum("fcyx,cp->fpyx", conv.weight.detach(), to_rgb) / scale[:, None, None]
    assert conv.bias is not None
    bias = conv.bias.detach() - torch.einsum("fpyx,p->f", weight, offset)
    head = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1, dtype=torch.float64)
    head.load_state_dict({"weight": weight, "bias": bias})
    return head


def fold_tail(network: Network, from_rgb: Tensor, reduce: tuple[Polyphase, Polyphase]) -> Convolution:
    """The last upsampling convolution and all behind it, for planes that are rows of ``from_rgb`` reduced.

    In the network's dtype; gradients reach its parameters.
    """
    if isinstance(network, LegacyParagonSR2):
        up, out, _ = upsampling_convolutions(network)[-1]
        gain, factor = network.global_detail_gain, network.scale if network.scale <= 3 else 2
    else:
        first = network.up[0]
        assert isinstance(first, nn.Conv2d)
        up, out, gain, factor = first, network.conv_out, network.detail_gain, network.scale
    assert up.bias is not None and out.bias is not None
    # A pixel shuffle's input channels are (middle, row in the cell, column in the cell).
    up_weight = up.weight.unflatten(0, (-1, factor, factor))
    up_bias = up.bias.unflatten(0, (-1, factor, factor))
    out_weight = gain * torch.einsum("pc,cmyx->pmyx", from_rgb, out.weight)
    rows, columns = (_behind_shuffle(axis, factor) for axis in reduce)
    # p planes, i j phases, m middle channels, e f cells, q r phases of the shuffle, n inputs, y x taps of up, a b taps of out.
    behind = torch.einsum("pmab,iaeq,jbfr->pijefmqr", out_weight, rows.taps.to(out_weight), columns.taps.to(out_weight))
    products = torch.einsum("pijefmqr,mqrnyx->pijnefyx", behind, up_weight)
    cells, kernel = products.shape[4:6], up_weight.shape[-2:]
    weight = products.new_zeros(*products.shape[:4], cells[0] + kernel[0] - 1, cells[1] + kernel[1] - 1)
    for y in range(kernel[0]):
        for x in range(kernel[1]):
            weight[..., y : y + cells[0], x : x + cells[1]] += products[..., y, x]
    bias = torch.einsum("pijefmqr,mqr->pij", behind, up_bias)
    bias = bias + (gain * from_rgb @ out.bias)[:, None, None]
    centre = (rows.first - kernel[0] // 2, columns.first - kernel[1] // 2)
    return Convolution(weight, bias, centre, (rows.step, columns.step))


@dataclass(frozen=True, slots=True, eq=False)
class _BehindShuffle:
    """One axis of what lies behind a pixel shuffle: a 3-tap convolution at the high resolution, then a reduction."""

    taps: Tensor
    """(phases, tap of the convolution, cell, phase of the shuffle): what of the reduction falls there."""
    first: int
    """The first cell, relative to that of the first output."""
    step: int
    """Cells of the shuffle for one of the output."""


def _behind_shuffle(reduce: Polyphase, factor: int) -> _BehindShuffle:
    assert reduce.phases == 1
    # Outputs after which both grids begin anew: 3 for 2 cells where 3x is reduced by 2.
    step = int(np.lcm(reduce.step, factor)) // factor
    phases = step * factor // reduce.step
    reach = [reduce.first - 1, reduce.step * (phases - 1) + reduce.first + reduce.taps.shape[1]]
    first, last = (position // factor for position in reach)
    taps = torch.zeros(phases, 3, last - first + 1, factor, dtype=torch.float64)
    for phase in range(phases):
        for t, weight in enumerate(reduce.taps[0]):
            for tap in range(3):
                cell, within = divmod(reduce.step * phase + reduce.first + t + tap - 1, factor)
                taps[phase, tap, cell - first, within] += float(weight)
    return _BehindShuffle(taps, first, step)
