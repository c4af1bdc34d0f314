"""Small networks with random weights, and the plain route in float64: the network and the colour conversion by the book."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vs_paragonsr2.backends.pytorch.modules import ProgramModule, program_for
from vs_paragonsr2.backends.reference.session import apply_matrix, downsample, padding, upsample
from vs_paragonsr2.checkpoints.network import Network
from vs_paragonsr2.network import Description, LegacyParagonSR2, ParagonSR2
from vs_paragonsr2.network.legacy_network import LegacyGroup
from vs_paragonsr2.network.paragonsr2 import BlockGroup
from vs_paragonsr2.program.colour import (
    ClipSpec,
    Colorimetry,
    ColourFamily,
    Matrix,
    PlaneFormat,
    Range,
    Siting,
    chroma_downsampler,
    chroma_upsampler,
    rgb_to_yuv,
    sample_scale,
    siting_offsets,
    yuv_to_rgb,
)
from vs_paragonsr2.program.fold import fold
from vs_paragonsr2.program.interpreter import run
from vs_paragonsr2.program.operations import Round
from vs_paragonsr2.program.parts import NetworkParts
from vs_paragonsr2.program.program import Program

SUBSAMPLINGS = {"444": (0, 0), "422": (1, 0), "420": (1, 1), "440": (0, 1), "411": (2, 0), "410": (2, 2)}

NETWORKS = {
    "realtime": lambda scale: ParagonSR2("realtime", scale),
    "stream": lambda scale: ParagonSR2("stream", scale, upsampler_alpha=0.25),
    "realtime 10": lambda scale: ParagonSR2("realtime", scale, version=10, upsampler_alpha=0.0),
    "stream 10": lambda scale: ParagonSR2("stream", scale, version=10),
    "realtime 8": lambda scale: LegacyParagonSR2("realtime", scale, 8),
    "stream 8": lambda scale: LegacyParagonSR2("stream", scale, 8, content_processor=True),
    "realtime 7": lambda scale: LegacyParagonSR2("realtime", scale, 7, upsampler_alpha=0.0),
    "stream 7": lambda scale: LegacyParagonSR2("stream", scale, 7, content_processor=scale == 8),
    "photo": lambda scale: ParagonSR2("photo", scale),
    "photo without attention": lambda scale: ParagonSR2("photo", scale, export_safe=True),
    "pro": lambda scale: ParagonSR2("pro", scale),
    "pro without attention": lambda scale: ParagonSR2("pro", scale, export_safe=True),
}


def random_network(name: str, scale: int, blocks: int | None = None, seed: int = 0) -> Network:
    """A network with random weights everywhere but in the base path, of the usual depth or of a few blocks in one group."""
    torch.manual_seed(seed)
    network: Network = NETWORKS[name](scale)
    if blocks is not None:
        network.body = network.body[: 1 if blocks else 0]
        for group in network.body:
            if isinstance(group, BlockGroup | LegacyGroup):
                group.blocks = group.blocks[:blocks]
    for key, parameter in network.named_parameters():
        if key.startswith("base"):
            continue
        if key.endswith("gamma"):
            parameter.data.uniform_(0.2, 0.6)
        else:
            parameter.data.normal_(0, 0.6 / max(1, parameter[0].numel() if parameter.dim() > 1 else 4) ** 0.5)
    gain = network.global_detail_gain if isinstance(network, LegacyParagonSR2) else network.detail_gain
    gain.data.fill_(0.4)
    return network.eval().requires_grad_(False)


def make_spec(
    scale: int,
    size: tuple[int, int],
    family: ColourFamily = "YUV",
    subsampling: str = "420",
    bits: int = 8,
    *,
    is_float: bool = False,
    to_bits: int | None = None,
    to_subsampling: str | None = None,
    matrix: Matrix = Matrix.BT709,
    range_: Range = Range.LIMITED,
    siting: Siting = Siting.LEFT,
    temporal: bool = False,
) -> ClipSpec:
    """What a session for pictures of ``size`` (rows, columns) is made for."""
    height, width = size
    into, out = SUBSAMPLINGS[subsampling], SUBSAMPLINGS[to_subsampling or subsampling]
    if family != "YUV":
        into = out = (0, 0)
    to_float = is_float if to_bits is None else to_bits == 32
    source = PlaneFormat(family, bits, is_float, *into, width, height)
    target = PlaneFormat(family, to_bits or bits, to_float, *out, width * scale, height * scale)
    return ClipSpec(source, target, Colorimetry(matrix, range_, siting), temporal)


def random_samples(fmt: PlaneFormat, seed: int = 0) -> list[Tensor]:
    """(1, 1, H, W) a plane, float64: codes over the whole range, or nominal values."""
    torch.manual_seed(seed)
    planes = []
    for plane in fmt.planes:
        if fmt.is_float:
            planes.append(torch.rand(1, 1, *plane.shape, dtype=torch.float64) - (0.5 if plane.is_chroma else 0))
        else:
            planes.append(torch.randint(1 << fmt.bits, (1, 1, *plane.shape)).double())
    return planes


def random_inputs(spec: ClipSpec) -> list[Tensor]:
    """``random_samples`` of all planes that a session is given; averages lie between the codes."""
    frame = random_samples(spec.source)
    if not spec.temporal:
        return frame
    return frame + [0.7 * plane + 0.3 * other for plane, other in zip(random_samples(spec.source, 1), frame, strict=True)]


def plain_route(network: nn.Module, spec: ClipSpec, planes: Sequence[Tensor]) -> list[Tensor]:
    """The planes of the target, not rounded, in float64, from a network in float64."""
    target, colour = spec.target, spec.colour
    count = len(spec.source.shapes)
    picture = network(*(plain_rgb(network, spec, planes[i : i + count]) for i in range(0, len(planes), count)))
    if target.family != "RGB":
        picture = apply_matrix(rgb_to_yuv(colour.matrix)[:count], picture)
    values = list(picture.split(1, 1))
    if target.family == "YUV":
        for axis, place in enumerate(chroma_places(target, colour)):
            values[1:] = [downsample(plane, chroma_downsampler(*place), place[0], axis) for plane in values[1:]]
    out = []
    for value, group in zip(values, target.planes, strict=True):
        (scale, offset), (height, width) = sample_scale(group, colour), group.shape
        top, left = (value.shape[2] - height) // 2, (value.shape[3] - width) // 2
        out.append(value[:, :, top : top + height, left : left + width] * scale + offset)
    return out


def plain_rgb(network: nn.Module, spec: ClipSpec, planes: Sequence[Tensor]) -> Tensor:
    """What a network is given: the planes of one picture as RGB, the edges replicated."""
    source, colour = spec.source, spec.colour
    values = []
    for plane, group in zip(planes, source.planes, strict=True):
        scale, offset = sample_scale(group, colour)
        rows, columns = (padding(network, spec) // ratio for ratio in group.ratios)  # type: ignore[arg-type]
        values.append(F.pad((plane - offset) / scale, (columns, columns, rows, rows), mode="replicate"))
    if source.family == "YUV":
        for axis, place in enumerate(chroma_places(source, colour)):
            values[1:] = [upsample(plane, chroma_upsampler(*place), axis) for plane in values[1:]]
    picture = torch.cat(values, 1).expand(-1, 3, -1, -1)
    if source.family == "YUV":
        picture = apply_matrix(yuv_to_rgb(colour.matrix), picture)
    return picture


def chroma_places(fmt: PlaneFormat, colour: Colorimetry) -> list[tuple[int, float]]:
    """For the rows and the columns: luma samples for one sample of chroma, and the position of the first one in luma samples."""
    return list(zip(fmt.chroma_ratios, siting_offsets(colour.siting, fmt.chroma_ratios), strict=True))


def parts_of(network: Network) -> NetworkParts:
    """A network's own weights as what is folded, without a file between."""
    legacy = isinstance(network, LegacyParagonSR2)
    analyzer = legacy and network.content_processor is not None
    description = Description(network.variant, network.version, network.scale, has_content_processor=analyzer)
    return description.parts({name: tensor.double().numpy() for name, tensor in network.state_dict().items()}, network.alpha)


def module_of(network: Network, spec: ClipSpec, dtype: torch.dtype = torch.float32, *, padded: bool = False) -> ProgramModule:
    """The network's program in PyTorch."""
    return ProgramModule(program_for(parts_of(network), spec, dtype), dtype=dtype, padded=padded)


def unrounded(program: Program) -> Program:
    """The program without the rounding at its end."""
    return program.rewritten(lambda operation, same: same.source if isinstance(operation, Round) else same)


def folded_route(network: Network, spec: ClipSpec, planes: Sequence[Tensor]) -> list[Tensor]:
    """The planes of the target, not rounded, in float64, from the network's program, operation by operation in NumPy."""
    found = run(unrounded(fold(parts_of(network), spec)), [plane[0, 0].numpy() for plane in planes])
    return [torch.from_numpy(np.ascontiguousarray(plane))[None, None] for plane in found]


def sums(module: ProgramModule, planes: Sequence[Tensor]) -> list[Tensor]:
    """The target's planes, one tensor each, before they are rounded and clamped."""
    return [plane for group in module.groups(planes, rounds=False) for plane in group.split(1, 1)]
