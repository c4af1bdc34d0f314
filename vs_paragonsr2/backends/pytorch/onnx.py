"""Networks and programs as ONNX, for programs that run ONNX models themselves; nothing in this package needs such a file.

ONNX Runtime runs each file once, and PyTorch in float64 says what it must give: for something like a picture to within
:data:`TOLERANCE`, for white noise as nearly as PyTorch itself does in the file's precision.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import onnxruntime
import onnxscript  # noqa: F401 (torch.onnx imports it late; where it is missing, that is said before anything is computed)
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ...checkpoints.network import Network
from ...program.colour import ClipSpec, Colorimetry, Matrix, PlaneFormat, Range, Siting
from ...program.parts import NetworkParts
from ...support.errors import ParagonSR2Error
from .modules import ProgramModule, program_for, storage_dtype

Samples = NDArray[np.float64]

type Graphs = Callable[[torch.dtype], nn.Module]
"""A function that makes a graph in the precision that is asked for."""

TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2}
"""The largest error that a file may have on what is like a picture, in nominal values, where white is 1."""

NOISE_FACTOR = 8
"""A file's error on noise may be this many times PyTorch's own: noise can drive features so far that float32 itself is coarse."""

SIZES = ((48, 64), (33, 47), (21, 70))
"""(height, width) of the pictures that an RGB graph is checked with; it is exported by the first of them."""


def plain(network: Network, dtype: torch.dtype) -> nn.Module:
    """A copy of a network as it was trained, in a precision."""
    return deepcopy(network).to(dtype).requires_grad_(False)


class RGBModule(nn.Module):
    """A network's program from (1, 3, H, W) RGB, nominally 0..1, to (1, 3, H * scale, W * scale); it repeats the edges itself.

    Nothing depends on H and W, which an exporter may leave open. ``dtype`` is the type of features and of what comes and goes.
    Samples are float32 inside, and float64 where everything is.
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
    """Write a graph for RGB of any size.

    Returns:
        The file's largest difference from PyTorch in float64 on pictures, in nominal values.

    Raises:
        ParagonSR2Error: the file does not give PyTorch's picture.
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
    """Write a network's program for one kind of clip.

    Returns:
        The file's largest difference from PyTorch in float64 on a picture, in nominal values.

    Raises:
        ParagonSR2Error: the file does not give PyTorch's picture.
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
    """Export a graph by examples of what it takes. ``sides`` names the axes whose length is open."""
    out.parent.mkdir(parents=True, exist_ok=True)
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
    """Samples as float64, from how they lie in memory: int16 has the bits of unsigned ones."""
    return (samples.view(np.uint16) if samples.dtype == np.int16 else samples).astype(np.float64)


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    """(1, 3, height, width), 0..1: detail of all sizes, stronger where it is larger, as in pictures, and a bar with hard edges."""
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
    """Planes of a format, made by :func:`picture` or :func:`noise`. Their chroma is weak: few strong colours exist in RGB."""
    planes = []
    for number, plane in enumerate(fmt.planes):
        values = (make(*plane.shape, number)[:, :1] - 0.5) * (0.2 if plane.is_chroma else 0.8)
        values = values + (0 if plane.is_chroma and fmt.is_float else 0.5)
        if not fmt.is_float:
            codes = (values * ((1 << fmt.bits) - 1)).round().numpy().astype(fmt.dtype)
            values = torch.from_numpy(codes.view(np.int16) if fmt.bits > 8 else codes)
        planes.append(values.to(storage_dtype(fmt)))
    return planes


def largest(differences: Samples) -> float:
    """The largest absolute value; nan where there is a nan."""
    return float(np.abs(differences).max())


def _checked(out: Path, pictures: Sequence[tuple[float, float]], noise: tuple[float, float], tolerance: float) -> float:
    """Compare errors with what is allowed.

    Args:
        out: the file, for the message.
        pictures: errors of (the file, PyTorch in the file's precision) on each picture.
        noise: the same on noise. Where noise overflows the precision in PyTorch itself, its error is no finite number, and the
            file may give what it likes.
        tolerance: the largest error allowed on pictures.

    Returns:
        The file's largest error on pictures.

    Raises:
        ParagonSR2Error: an error is larger than allowed.
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
