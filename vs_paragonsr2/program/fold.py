"""Exact algebra: network and colour become the shortest equal program.

All that is linear is multiplied out once, in float64, in place of for every frame:

* YUV -> RGB and the scale of integer samples go into the head;
* LayerScale goes into the convolution before it (``network/``);
* the last upsampling convolution, pixel shuffle, ``conv_out``, ``detail_gain``, RGB -> YUV, the reduction of chroma and the scale
  of samples become one convolution before the only pixel shuffle, with as many outputs as the planes have samples there
  (:mod:`.tails`);
* chroma in, base path and chroma out become one filter of each plane alone, since the base path does the same to each colour
  channel and so commutes with the matrix.

What is left is equal to the plain route in real arithmetic wherever the network's zero padding is out of reach. Versions 7 and 8 at
4x and 8x keep the stages between which they are not linear.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ..support.errors import ParagonSR2Error
from .colour import (
    Array,
    ClipSpec,
    PlaneGroup,
    chroma_downsampler,
    chroma_upsampler,
    rgb_to_yuv,
    sample_scale,
    siting_offsets,
    yuv_to_rgb,
)
from .operations import Affine, Concatenation, Convolution, Operation, Planes, Resample, Round, Shuffle, Sum
from .parts import Layer, NetworkParts
from .polyphase import PlaneFilter, Polyphase, downsampling, fir, nearest, plane_filter, upsampling
from .program import Program
from .tails import Tail, fold_tail

type Axes = tuple[Polyphase, Polyphase]
"""Filters of the rows and of the columns."""

LANES = 16
"""Numbers in a vector of AVX-512, or in a row of a matrix unit: a convolution of fewer outputs leaves the other places empty."""


@dataclass(frozen=True, slots=True)
class PlanesPath:
    """What becomes of one group of planes outside the network."""

    source: PlaneGroup
    target: PlaneGroup
    enlarge: Axes
    """From the source's planes to luma's positions."""
    reduce: Axes
    """From luma's positions to the target's planes."""
    fed: tuple[float, float]
    """(scale, offset) of the numbers that are fed to head and base path: value * scale + offset, as :func:`sample_scale` has it."""


def fold(network: NetworkParts, spec: ClipSpec, *, centred: bool = False, detail_unit: float = 1.0) -> Program:
    """Multiply out all that is linear.

    Args:
        network: any variant, scale and version.
        spec: of the clip or of a part of it; source and target of one colour family, the target larger by the network's scale.
        centred: whether samples are brought to -0.5..0.5 before they are used, in place of by the weights: a dtype of few digits
            has the more of them for what is left. A network that sees the whole picture pads it with zeros, RGB's black, and is
            always given 0..1 (chroma -0.5..0.5).
        detail_unit: target samples for what the tails give as 1, so that a narrow dtype can hold it.

    Returns:
        The program, one output for luma, one for both planes of chroma; or one for R, G and B.

    Raises:
        ParagonSR2Error: sizes or colour families disagree with each other or with the network's scale.
    """
    _check(network.scale, spec)
    paths = _paths(spec, centred)
    pictures, features = _features(network, spec, paths)
    if Program(spec, (features,)).windows:
        paths = [replace(path, fed=(1.0, 0.0)) for path in paths]
        pictures, features = _features(network, spec, paths)
    outputs = [_output(network, spec, path, planes, features, detail_unit) for path, planes in zip(paths, pictures, strict=True)]
    return Program(spec, tuple(outputs))


def _paths(spec: ClipSpec, centred: bool) -> list[PlanesPath]:
    """What becomes of each group of planes; the filters of planes that have luma's size do nothing."""

    def axes(planes: PlaneGroup) -> list[tuple[int, float]]:
        return list(zip(planes.ratios, siting_offsets(spec.colour.siting, planes.ratios), strict=True))

    paths = []
    for source, target in zip(spec.source.groups, spec.target.groups, strict=True):
        rows, columns = (upsampling(chroma_upsampler(*axis)) for axis in axes(source))
        rows_back, columns_back = (downsampling(chroma_downsampler(*axis), axis[0]) for axis in axes(target))
        fed = (1.0, 0.0 if source.is_chroma else -0.5) if centred else sample_scale(source, spec.colour)
        paths.append(PlanesPath(source, target, (rows, columns), (rows_back, columns_back), fed))
    return paths


def _features(network: NetworkParts, spec: ClipSpec, paths: Sequence[PlanesPath]) -> tuple[list[Operation], Operation]:
    """The frame's planes, group by group, and the features that the body makes of them, or in temporal mode of the averages."""
    count = len(spec.source.planes)
    pictures = [
        [_fed_planes(path, spec, group, count * i) for path, group in zip(paths, fmt.groups, strict=True)]
        for i, fmt in enumerate(spec.inputs)
    ]
    learned = [_at_luma(planes, path) for planes, path in zip(pictures[-1], paths, strict=True)]
    return pictures[0], network.body(_head(network.head, spec, learned, paths))


def _fed_planes(path: PlanesPath, spec: ClipSpec, group: PlaneGroup, first: int) -> Operation:
    """A picture's planes as the numbers that are fed to head and base path: the very codes, where those are fed.

    ``group`` is the path's group in this picture, whose planes are counted from ``first``.
    """
    planes = Planes(group=group, indices=tuple(first + index for index in group.indices))
    scale, offset = sample_scale(path.source, spec.colour)
    zero = np.full(len(group.indices), offset - path.fed[1] * scale / path.fed[0])
    unit = np.full(len(group.indices), path.fed[0] / scale)
    return Affine(sources=(planes,), zero=zero, unit=unit) if zero.any() or (unit != 1).any() else planes


def _at_luma(planes: Operation, path: PlanesPath) -> Operation:
    """Planes enlarged to luma's size."""
    if max(path.source.ratios) == 1:
        return planes
    enlarge = plane_filter([(1.0, *path.enlarge)])
    return Shuffle(sources=(Resample(sources=(planes,), filter=enlarge),), factor=enlarge.phases)


def _head(head: Layer, spec: ClipSpec, planes: Sequence[Operation], paths: Sequence[PlanesPath]) -> Operation:
    """The head, from the numbers that are fed to it.

    Chroma comes upsampled: that costs 25 multiply-adds a pixel. Multiplied out too, each chroma sample would feed 5x5 kernels in
    four phases, and the head would cost twice as much and need a shuffle of all features; luma by space-to-depth, four times
    as much.
    """
    to_rgb, _ = _matrices(spec)
    scale, offset = np.array([path.fed for path in paths for _ in path.source.indices]).T
    weight = np.einsum("fcyx,cp->fpyx", head.weight, to_rgb) / scale[:, None, None]
    bias = head.bias - np.einsum("fpyx,p->f", weight, offset)
    source = planes[0] if len(planes) == 1 else Concatenation(sources=tuple(planes))
    return Convolution(sources=(source,), weight=weight, bias=bias, first=(-1, -1))


def _output(
    network: NetworkParts,
    spec: ClipSpec,
    path: PlanesPath,
    planes: Operation,
    features: Operation,
    detail_unit: float,
) -> Operation:
    """One group of the target's planes: base path and tail, summed, rounded, and taken out of cells."""
    target = spec.target
    scale, offset = sample_scale(path.target, spec.colour)
    gain = scale / path.fed[0]
    base = _base(network, path)
    # Every phase of the base path has the same gain at DC, 1, up to the rounding of the stored taps.
    dc = float(base.dense()[0, 0].sum())
    _, from_rgb = _matrices(spec)
    tail = fold_tail(network, from_rgb[path.target.indices] * scale / detail_unit, path.reduce)
    phases = _phases_at_once(tail, base, path.target.shape)
    base = base.grouped((phases[0] // base.phases[0], phases[1] // base.phases[1])).times(gain)
    tail = tail.grouped((phases[0] // tail.phases[0], phases[1] // tail.phases[1]))
    detail: Operation = tail.convolution(features)
    if detail_unit != 1:
        channels = detail.channels
        detail = Affine(sources=(detail,), zero=np.zeros(channels), unit=np.full(channels, detail_unit))
    out: Operation = Sum(sources=(Resample(sources=(planes,), filter=base, bias=offset - gain * path.fed[1] * dc), detail))
    if not target.is_float:
        out = Round(sources=(out,), peak=(1 << target.bits) - 1)
    return Shuffle(sources=(out,), factor=phases) if phases != (1, 1) else out


def _base(network: NetworkParts, path: PlanesPath) -> PlaneFilter:
    """From the source's planes to the target's, the base path between; its low-pass makes a second term."""
    enlarge = tuple(nearest(network.scale).then(fir(taps)) for taps in network.blur)
    low = tuple(fir(taps).then(axis) for taps, axis in zip(network.low_pass, enlarge, strict=True))
    terms = [(1.0, enlarge)] if network.alpha <= 0 else [(1 - network.alpha, enlarge), (network.alpha, low)]
    found = []
    for weight, axes in terms:
        rows, columns = (a.then(b).then(c) for a, b, c in zip(path.enlarge, axes, path.reduce, strict=True))
        found.append((weight, rows, columns))
    return plane_filter(found)


def _phases_at_once(tail: Tail, base: PlaneFilter, shape: tuple[int, int]) -> tuple[int, int]:
    """Outputs (rows, columns) of each plane for one cell of tail and base alike, such that the tail takes the least time.

    More of them fill the lanes, of which a tail of 4 or 2 outputs leaves most empty; but the kernel of a cell grows, and has more
    zeros. (Measured on a CPU with AVX-512, F = 16: luma's 5x5 tail takes 3 to 10 times less as 4x4 outputs.)
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


def _check(scale: int, spec: ClipSpec) -> None:
    source, target = spec.source, spec.target
    if source.family != target.family:
        raise ParagonSR2Error(f"target is {target.family}: expected the source's colour family, {source.family}")
    size, expected = (target.width, target.height), (source.width * scale, source.height * scale)
    if size != expected:
        raise ParagonSR2Error(f"target is {size[0]}x{size[1]}: expected {expected[0]}x{expected[1]}, the source {scale}x")
    for name, fmt in (("source", source), ("target", target)):
        rows, columns = fmt.chroma_ratios
        if fmt.height % rows or fmt.width % columns:
            raise ParagonSR2Error(f"{name} is {fmt.width}x{fmt.height}: expected multiples of {columns}x{rows} for its chroma")


def _matrices(spec: ClipSpec) -> tuple[Array, Array]:
    """(3, planes) from the source's planes to RGB, and (planes, 3) back."""
    matrix = spec.colour.matrix
    if spec.source.family == "RGB":
        return np.eye(3), np.eye(3)
    if spec.source.family == "GRAY":
        return np.ones((3, 1)), rgb_to_yuv(matrix)[:1]
    return yuv_to_rgb(matrix), rgb_to_yuv(matrix)
