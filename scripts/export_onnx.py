"""Write a network as ONNX, and check the file with ONNX Runtime against PyTorch.

    python scripts/export_onnx.py realtime --out realtime_2x.onnx
    python scripts/export_onnx.py realtime --graph planes --size 1920x1080 --format YUV420P10 --out planes.onnx

For programs that run ONNX models themselves; this package needs none. Three graphs:

plain   (1, 3, H, W) RGB, 0..1, to (1, 3, H * scale, W * scale): the network as it was trained, any height and width of 2 or more
folded  the same in less time, and with replicated edges in place of darkened ones
planes  the planes of a frame to the larger ones, of one size and format: uint8; int16 with the bits of 9 to 16-bit samples; floats

Needs the extra ``export``.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import vapoursynth as vs
from numpy.typing import NDArray
from torch import Tensor, nn

from vs_paragonsr2.checkpoint import load_network
from vs_paragonsr2.clipspec import ColorimetryReader, plane_format
from vs_paragonsr2.colour import ClipSpec, PlaneFormat
from vs_paragonsr2.errors import ParagonSR2Error
from vs_paragonsr2.graph import PlanesGraph, seam_dtype
from vs_paragonsr2.network import Network
from vs_paragonsr2.rgb import RGBGraph
from vs_paragonsr2.weights import find_model

Samples = NDArray[np.float64]

TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2}
"""Of nominal values."""

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
        network = load_network(find_model(arguments.model, arguments.scale).path)
        if arguments.graph == "planes":
            error = export_planes(network, clip_spec(network.scale, arguments), arguments.out, dtype)
        else:
            error = export_rgb(network, arguments.out, dtype, folded=arguments.graph == "folded")
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


def export_rgb(network: Network, out: Path, dtype: torch.dtype, *, folded: bool) -> float:
    """Write a network for RGB of any size and return its largest difference from PyTorch in float32.

    Raises ParagonSR2Error where the file does not give PyTorch's picture.
    """
    exact = RGBGraph(network) if folded else network
    pictures = [torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)) for size in SIZES]
    with torch.no_grad():
        expected = [numbers(exact(picture).numpy()) for picture in pictures]
    inputs = [picture.to(dtype) for picture in pictures]
    sides = {2: torch.export.Dim("height", min=2, max=16384), 3: torch.export.Dim("width", min=2, max=16384)}
    write(RGBGraph(network, dtype) if folded else deepcopy(network).to(dtype), inputs[:1], out, ["input"], ["output"], sides)
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    found = [numbers(session.run(None, {"input": x.numpy()})[0]) for x in inputs]
    return _checked(out, found, expected, TOLERANCE[dtype])


def export_planes(network: Network, spec: ClipSpec, out: Path, dtype: torch.dtype) -> float:
    """Write PlanesGraph for one kind of clip and return its largest difference from PyTorch in float32, in nominal values.

    Raises ParagonSR2Error where the file does not give PyTorch's picture.
    """
    planes = [_noise(shape, spec.source) for shape in spec.source.shapes]
    expected = [numbers(plane.numpy()) for plane in PlanesGraph(network, spec)(*planes)]
    names = [f"{way}{index}" for way in ("input", "output") for index in range(len(planes))]
    inputs = names[: len(planes)]
    write(PlanesGraph(network, spec, dtype=dtype), planes, out, inputs, names[len(planes) :], None)
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    found = session.run(None, {name: plane.numpy() for name, plane in zip(inputs, planes, strict=True)})
    peak = 1 if spec.target.is_float else (1 << spec.target.bits) - 1
    coarse = torch.float16 if spec.target.dtype == np.float16 else dtype
    # Where a sample is a hair from a half, it may be the next one.
    tolerance = max(TOLERANCE[coarse], 0 if spec.target.is_float else 1 / peak)
    return _checked(out, [numbers(samples) / peak for samples in found], [samples / peak for samples in expected], tolerance)


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


def _noise(shape: tuple[int, int], fmt: PlaneFormat) -> Tensor:
    dtype = seam_dtype(fmt)
    if fmt.is_float:
        return torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    samples = np.random.default_rng(0).integers(1 << fmt.bits, size=(1, 1, *shape), dtype=np.uint16)
    return torch.from_numpy(samples.view(np.int16) if dtype is torch.int16 else samples.astype(np.uint8))


def _checked(out: Path, found: Sequence[Samples], expected: Sequence[Samples], tolerance: float) -> float:
    """The largest difference. Raises ParagonSR2Error where it is more than the tolerance."""
    error = max(float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True))
    if not error <= tolerance:
        raise ParagonSR2Error(f"{out}: differs from PyTorch by {error}: expected at most {tolerance}")
    return error


if __name__ == "__main__":
    main()
