"""Write a network as ONNX, and check the file with ONNX Runtime against PyTorch.

    python scripts/export_onnx.py realtime --out realtime_2x.onnx
    python scripts/export_onnx.py realtime --graph planes --size 1920x1080 --format YUV420P10 --out planes.onnx

For programs that run ONNX models themselves; this package needs none. Three graphs:

plain   (1, 3, H, W) RGB, 0..1, to (1, 3, H * scale, W * scale): the network as it was trained, any height and width of 2 or more
folded  the same in less time, and with repeated edges in place of darkened ones
planes  the planes of a frame to the larger ones, of one size and format: uint8; int16 with the bits of 9 to 16-bit samples; floats

A file must give what PyTorch gives in float64, for something like a picture, and for white noise as nearly as PyTorch itself does
in the file's precision. Needs the extra ``export``.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
import vapoursynth as vs
from numpy.typing import NDArray
from torch import Tensor, nn

from vs_paragonsr2.backends.pytorch.modules import ProgramModule, program_for, seam_dtype
from vs_paragonsr2.checkpoints import load_checkpoint
from vs_paragonsr2.checkpoints.models import find_model
from vs_paragonsr2.checkpoints.network import Network, load_network
from vs_paragonsr2.clip.colorimetry import ColorimetryReader, plane_format
from vs_paragonsr2.program.colour import ClipSpec, Colorimetry, Matrix, PlaneFormat, Range, Siting
from vs_paragonsr2.program.parts import NetworkParts
from vs_paragonsr2.support.errors import ParagonSR2Error

Samples = NDArray[np.float64]

type Graphs = Callable[[torch.dtype], nn.Module]
"""Makes a graph in the precision that is asked for."""

TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2}
"""Of nominal values, for what is like a picture."""

NOISE_FACTOR = 8
"""How many times PyTorch's own error a file may have on noise, which can drive features so far that float32 itself is coarse."""

SIZES = ((48, 64), (33, 47), (21, 70))
"""(height, width) of the pictures that an RGB graph is checked with; the first one is what it is exported with."""


def main(line: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="name of a shipped model, or a checkpoint")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--graph", choices=("plain", "folded", "planes"), default="plain")
    parser.add_argument("--scale", type=int, help="of a shipped model; its smallest otherwise")
    parser.add_argument("--half", action="store_true", help="float16: weights and RGB; of planes, what is learned")
    planes = parser.add_argument_group("planes")
    planes.add_argument("--size", default="1920x1080", help="WIDTHxHEIGHT of the source (default: %(default)s)")
    planes.add_argument("--format", default="YUV420P8", help="VapourSynth's name of it (default: %(default)s)")
    for name in ("matrix", "color-range", "chroma-location"):
        planes.add_argument(f"--{name}", help="as of upscale(); its default otherwise")
    arguments = parser.parse_args(line)
    dtype = torch.float16 if arguments.half else torch.float32
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of packages that nothing here needs
    try:
        path = find_model(arguments.model, arguments.scale).path
        network = load_checkpoint(path).parts
        if arguments.scale not in (None, network.scale):
            raise ParagonSR2Error(f"--scale is {arguments.scale}: the checkpoint's own is {network.scale}")
        match arguments.graph:
            case "plain":
                error = export_rgb(partial(plain, load_network(path)), arguments.out, dtype)
            case "folded":
                error = export_rgb(partial(RGBModule, network), arguments.out, dtype)
            case _:
                error = export_planes(network, clip_spec(network.scale, arguments), arguments.out, dtype)
    except ParagonSR2Error as fault:
        sys.exit(f"export_onnx: {fault}")
    print(f"{arguments.out}: differs from PyTorch by at most {error:.1e}")


def clip_spec(scale: int, arguments: argparse.Namespace) -> ClipSpec:
    """What the arguments for planes say. Raises ParagonSR2Error where they say nothing that there is."""
    width, _, height = arguments.size.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ParagonSR2Error(f"size is {arguments.size!r}: expected WIDTHxHEIGHT, as 1920x1080")
    fmt = getattr(vs, arguments.format, None)
    if not isinstance(fmt, vs.PresetVideoFormat):
        raise ParagonSR2Error(f"format is {arguments.format!r}: expected a name such as YUV420P8")
    source = plane_format(vs.core.get_video_format(fmt), int(width), int(height))
    reader = ColorimetryReader.for_clip(
        source, matrix=arguments.matrix, color_range=arguments.color_range, chroma_location=arguments.chroma_location
    )
    return ClipSpec(source, replace(source, width=source.width * scale, height=source.height * scale), reader.read({}))


def plain(network: Network, dtype: torch.dtype) -> nn.Module:
    """A network as it was trained; it is left as it is."""
    return deepcopy(network).to(dtype).requires_grad_(False)


class RGBModule(nn.Module):
    """A network's program as (1, 3, H, W) RGB, nominally 0..1, to (1, 3, H * scale, W * scale), the edges repeated within.

    Nothing depends on H and W, which an exporter may leave open. ``dtype`` is that of features and of what comes and goes; samples
    are float32 within, and float64 where all is.
    """

    def __init__(self, network: NetworkParts, dtype: torch.dtype) -> None:
        super().__init__()
        # A picture of one pixel, so that each pixel is a cell of its own.
        source, target = (PlaneFormat("RGB", 32, True, 0, 0, side, side) for side in (1, network.scale))
        spec = ClipSpec(source, target, Colorimetry(Matrix.BT709, Range.FULL, Siting.LEFT))
        self.module = ProgramModule(program_for(network, spec, dtype), dtype=dtype)
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        (rgb,) = self.module.groups(x.to(self.module.wide).split(1, 1))
        return rgb.to(self.dtype)


def export_rgb(graphs: Graphs, out: Path, dtype: torch.dtype) -> float:
    """Write a graph for RGB of any size and return its largest difference from PyTorch in float64 on pictures.

    Raises ParagonSR2Error where the file does not give PyTorch's picture.
    """
    exact, graph = graphs(torch.float64), graphs(dtype)
    sides = {2: torch.export.Dim("height", min=2, max=16384), 3: torch.export.Dim("width", min=2, max=16384)}
    pictures = [picture(*size) for size in SIZES]
    write(graph, [pictures[0].to(dtype)], out, ["input"], ["output"], sides)
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])

    def errors(x: Tensor) -> tuple[float, float]:
        expected = exact(x.double()).numpy()
        found = session.run(None, {"input": x.to(dtype).numpy()})[0]
        return largest(found - expected), largest(graph(x.to(dtype)).numpy() - expected)

    return _checked(out, [errors(x) for x in pictures], errors(noise(*SIZES[0])), TOLERANCE[dtype])


def export_planes(network: NetworkParts, spec: ClipSpec, out: Path, dtype: torch.dtype) -> float:
    """Write a network's program for one kind of clip and return its largest difference from PyTorch in float64 on a picture, in
    nominal values.

    Raises ParagonSR2Error where the file does not give PyTorch's picture.
    """
    exact, graph = (ProgramModule(program_for(network, spec, kind), dtype=kind) for kind in (torch.float64, dtype))
    names = [f"{way}{index}" for way in ("input", "output") for index in range(len(spec.source.shapes))]
    inputs = names[: len(spec.source.shapes)]
    like_picture, like_noise = (planes_of(make, spec.source) for make in (picture, noise))
    write(graph, like_picture, out, inputs, names[len(inputs) :], None)
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    peak = 1 if spec.target.is_float else (1 << spec.target.bits) - 1

    def errors(planes: Sequence[Tensor]) -> tuple[float, float]:
        expected = [numbers(plane.numpy()) for plane in exact(*planes)]
        found = session.run(None, {name: plane.numpy() for name, plane in zip(inputs, planes, strict=True)})
        own = [plane.numpy() for plane in graph(*planes)]

        def error(some: Sequence[NDArray[np.generic]]) -> float:
            return max(largest(numbers(a) - b) for a, b in zip(some, expected, strict=True)) / peak

        return error(found), error(own)

    coarse = torch.float16 if spec.target.dtype == np.float16 else dtype
    # Where a sample is a hair from a half, it may be the next one.
    tolerance = max(TOLERANCE[coarse], 0 if spec.target.is_float else 1 / peak)
    return _checked(out, [errors(like_picture)], errors(like_noise), tolerance)


def write(
    graph: nn.Module,
    examples: Sequence[Tensor],
    out: Path,
    inputs: list[str],
    outputs: list[str],
    sides: dict[int, torch.export.Dim] | None,
) -> None:
    """Export a graph by examples of what it takes; ``sides`` are the axes whose length is open."""
    with torch.no_grad():
        program = torch.onnx.export(
            graph.eval(),
            tuple(examples),
            dynamo=True,
            dynamic_shapes=(sides,) if sides else None,
            input_names=inputs,
            output_names=outputs,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    program.save(out)


def numbers(samples: NDArray[np.generic]) -> Samples:
    """Samples as they lie in memory, int16 for the bits of unsigned ones, as float64."""
    return (samples.view(np.uint16) if samples.dtype == np.int16 else samples).astype(np.float64)


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    """(1, 3, height, width), 0..1: detail of all sizes, the larger the stronger, as pictures have it, and a bar with hard edges."""
    generator = torch.Generator().manual_seed(seed)
    octaves = [torch.rand(1, 3, max(2, height >> k), max(2, width >> k), generator=generator) for k in range(6)]
    x = sum(F.interpolate(2**k * octave, (height, width), mode="bicubic") for k, octave in enumerate(octaves))
    assert isinstance(x, Tensor)
    x = (x - x.amin()) / (x.amax() - x.amin())
    x[:, :, height // 3 : height // 2, width // 4 :] = 1
    return x


def noise(height: int, width: int, seed: int = 0) -> Tensor:
    """(1, 3, height, width), uniform in 0..1."""
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def planes_of(make: Callable[[int, int, int], Tensor], fmt: PlaneFormat) -> list[Tensor]:
    """Planes of a format by :func:`picture` or :func:`noise`. Chroma is weak: few colours with a strong one are colours of RGB."""
    planes = []
    for plane, shape in enumerate(fmt.shapes):
        chroma = plane > 0 and fmt.family == "YUV"
        values = (make(*shape, plane)[:, :1] - 0.5) * (0.2 if chroma else 0.8) + (0 if chroma and fmt.is_float else 0.5)
        if not fmt.is_float:
            codes = (values * ((1 << fmt.bits) - 1)).round().numpy().astype(fmt.dtype)
            values = torch.from_numpy(codes.view(np.int16) if fmt.bits > 8 else codes)
        planes.append(values.to(seam_dtype(fmt)))
    return planes


def largest(differences: Samples) -> float:
    """The largest of them without their signs; nan where one is."""
    return float(np.abs(differences).max())


def _checked(out: Path, pictures: Sequence[tuple[float, float]], noise: tuple[float, float], tolerance: float) -> float:
    """The largest error on pictures, from errors of (the file, PyTorch in its precision) on each of them and on noise.

    Where noise overflows the precision in PyTorch itself, its error is no number, and a file may give what it likes.

    Raises ParagonSR2Error where one is more than allowed.
    """
    error = max(found for found, _ in pictures)
    limits = [("a picture", error, tolerance)]
    found, own = noise
    if np.isfinite(own):
        limits.append(("noise", found, max(tolerance, NOISE_FACTOR * own)))
    for what, value, most in limits:
        if not value <= most:
            raise ParagonSR2Error(f"{out}: differs from PyTorch on {what} by {value}: expected at most {most}")
    return error


if __name__ == "__main__":
    main()
