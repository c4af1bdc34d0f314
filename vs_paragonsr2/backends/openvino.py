"""PlanesGraph on OpenVINO: the fast backend where there is no CUDA device.

The compiled graph is kept on disk. A process that finds it there imports neither PyTorch nor anything that needs it.
"""

import io
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..cache import entry_path, load_or_make
from ..colour import PlaneFormat
from ..errors import ParagonSR2Error
from ..tiling import Tile, tile_size, tile_spec, tiles
from .base import Options, Plane, Request, Session, check_scale

# OpenVINO's converter starts a process that reports its use to its makers, unless the module for it is missing. A filter in a
# player neither starts processes nor reports.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402

PRECISIONS = ("f32", "bf16", "f16")

STRIP_ROWS = 128
"""Luma rows of a strip at most. What an inference writes and reads again stays nearer to the processor, and it takes the same
memory however high the picture is; every strip computes its halo again, so much less would not pay."""


def default_device() -> str:
    """``"CPU"``; OpenVINO's ``"GPU"`` and ``"NPU"`` are there to be asked for."""
    return "CPU"


def default_precision(device: str) -> str:
    """What is fastest with the same picture: bf16 where a CPU has matrix units for it, f16 on other devices, else f32.

    A CPU that has bf16 in its vector units alone (AVX512_BF16 without AMX) runs these small convolutions slower in bf16.
    """
    if not device.startswith("CPU"):
        return "f16"
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        flags = ""
    return "bf16" if "amx_bf16" in flags else "f32"


def open_session(request: Request) -> "OpenVINOSession":
    """Compile the graph, or take it from the disk. Raises ParagonSR2Error for an absent device or a bad checkpoint."""
    core = ov.Core()
    options = request.options
    device = _device(core, options)
    precision = options.precision or default_precision(device)
    if precision not in PRECISIONS:
        raise ParagonSR2Error(f"precision is {precision!r}: expected one of {', '.join(map(repr, PRECISIONS))}, or None to choose")
    config = {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": str(options.num_streams)}
    path = entry_path(
        "blob",
        *(ov.__version__, core.get_property(device, "FULL_DEVICE_NAME"), sorted(config.items())),
        *(request.model.sha256, options.alpha, request.spec),
    )

    def load(data: bytes) -> _Compiled:
        rows, columns, *halo = np.frombuffer(data[:GEOMETRY_BYTES], "<u4").tolist()
        return _Compiled(core.import_model(data[GEOMETRY_BYTES:], device, config), (rows, columns), (halo[0], halo[1]))

    def make() -> tuple[_Compiled, bytes]:
        model, size, halo = _convert(request)
        compiled = core.compile_model(model, device, config)
        stream = io.BytesIO()
        compiled.export_model(stream)
        return _Compiled(compiled, size, halo), np.array((*size, *halo), "<u4").tobytes() + stream.getvalue()

    return OpenVINOSession(request, load_or_make(path, load, make))


GEOMETRY_BYTES = 16
"""Before a compiled graph on disk: rows and columns of its tile, rows and columns of its halo, four bytes each."""


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A graph for one tile."""

    graph: ov.CompiledModel
    size: tuple[int, int]
    """Luma rows and columns, the halo apart."""
    halo: tuple[int, int]
    """Luma rows above and below, columns to the left and the right."""


def _device(core: ov.Core, options: Options) -> str:
    """OpenVINO's name of the device, as ``"CPU"`` or ``"GPU.1"``. Raises ParagonSR2Error where it is not there."""
    there = core.available_devices
    kinds = sorted({name.split(".")[0] for name in there})
    own = [name for name in there if name.split(".")[0] == options.device.upper()]
    if not own:
        raise ParagonSR2Error(f"device is {options.device!r}: OpenVINO finds {', '.join(map(repr, kinds))} here")
    if options.device_index >= len(own):
        raise ParagonSR2Error(f"device_index is {options.device_index}: there are {len(own)} of {options.device!r}, counted from 0")
    return own[options.device_index]


def _convert(request: Request) -> tuple[ov.Model, tuple[int, int], tuple[int, int]]:
    """The graph for one tile, the tile's size and its halo. This alone needs PyTorch."""
    import torch

    from ..checkpoint import load_network
    from ..graph import PlanesGraph, seam_dtype

    network = load_network(request.model.path, alpha=request.options.alpha)
    check_scale(network.scale, request.spec)
    if network.variant == "pro":
        raise ParagonSR2Error("backend is 'openvino', which takes many minutes to compile a Pro model: expected 'reference'")
    # Strips have the picture's width, so that their samples lie together in memory. Photo and pro see the whole picture.
    size = tile_size(request.spec, (STRIP_ROWS if network.window is None else 0, 0))
    spec = tile_spec(request.spec, size)
    graph = PlanesGraph(network, spec, padded=True)
    dtype = seam_dtype(spec.source)
    example = tuple(torch.zeros(1, 1, *shape, dtype=dtype) for shape in _padded_shapes(spec.source, graph.halo))
    with torch.no_grad():
        program = torch.export.export(graph, example, strict=True)
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)  # it tells everybody, with stack traces, which decompositions PyTorch has given up
        try:
            model = ov.convert_model(program, input=[tuple(plane.shape) for plane in example])
        finally:
            logging.disable(before)
    return model, size, graph.halo


@dataclass(slots=True)
class _Slot:
    """What one frame in flight has for itself."""

    request: ov.InferRequest
    padded: list[NDArray[np.generic]]
    """The source's planes with the halo about them; a strip with its halo is a run of rows."""
    results: list[NDArray[np.generic]]
    """A tile's planes, for frames whose rows do not lie close to each other."""


class OpenVINOSession(Session[_Slot]):
    """Tiles of a frame, one inference each, from a padded copy of the planes straight into the frame."""

    def __init__(self, request: Request, compiled: _Compiled) -> None:
        spec, part, halo = request.spec, tile_spec(request.spec, compiled.size), compiled.halo
        self.halo = halo
        self.tiles: list[Tile] = tiles(spec, compiled.size, halo)
        self.ratios = _ratios(spec.source)
        self.target_ratios = _ratios(spec.target)

        def slot() -> _Slot:
            padded = [np.empty(shape, spec.source.dtype) for shape in _padded_shapes(spec.source, halo)]
            results = [np.empty(shape, spec.target.dtype) for shape in part.target.shapes]
            return _Slot(compiled.graph.create_infer_request(), padded, results)

        super().__init__(spec, [slot() for _ in range(request.options.num_streams)])

    def _run(self, slot: _Slot, planes: Sequence[Plane], out: Sequence[Plane]) -> None:
        for plane, padded, (rows, columns) in zip(planes, slot.padded, self.ratios, strict=True):
            _replicate(plane, padded, self.halo[0] // rows, self.halo[1] // columns)
        for tile in self.tiles:
            self._run_tile(slot, tile, out)

    def _run_tile(self, slot: _Slot, tile: Tile, out: Sequence[Plane]) -> None:
        top, left = tile.source.top - tile.pads[0][0], tile.source.left - tile.pads[1][0]
        for index, (padded, (rows, columns)) in enumerate(zip(slot.padded, self.ratios, strict=True)):
            shape = slot.request.get_input_tensor(index).shape
            y, x = (top + self.halo[0]) // rows, (left + self.halo[1]) // columns
            part = padded[y : y + shape[2], x : x + shape[3]]
            slot.request.set_input_tensor(index, _tensor(np.ascontiguousarray(part)))
        targets = []
        for index, (plane, ratios, own) in enumerate(zip(out, self.target_ratios, slot.results, strict=True)):
            target = plane[tile.target.of_plane(ratios).slices]
            result = target if target.flags.c_contiguous else own
            slot.request.set_output_tensor(index, _tensor(result))
            targets.append((target, result))
        slot.request.infer()
        for target, result in targets:
            if result is not target:
                target[...] = result


def _ratios(fmt: PlaneFormat) -> list[tuple[int, int]]:
    return [(1, 1), fmt.ratios, fmt.ratios][: len(fmt.shapes)]


def _padded_shapes(fmt: PlaneFormat, halo: tuple[int, int]) -> list[tuple[int, int]]:
    """Height and width of each plane with the halo, of luma samples, on each side."""
    return [
        (height + 2 * halo[0] // rows, width + 2 * halo[1] // columns)
        for (height, width), (rows, columns) in zip(fmt.shapes, _ratios(fmt), strict=True)
    ]


def _tensor(samples: NDArray[np.generic]) -> ov.Tensor:
    """A tensor (1, 1, height, width) over the array's memory; no runtime knows uint16, so its bits go as int16."""
    return ov.Tensor((samples.view(np.int16) if samples.dtype == np.uint16 else samples)[None, None], shared_memory=True)


def _replicate(plane: Plane, padded: NDArray[np.generic], rows: int, columns: int) -> None:
    """Copy a plane into the middle of a larger one and repeat its edges."""
    height, width = plane.shape
    padded[rows : rows + height, columns : columns + width] = plane
    padded[rows : rows + height, :columns] = plane[:, :1]
    padded[rows : rows + height, columns + width :] = plane[:, -1:]
    padded[:rows] = padded[rows]
    padded[rows + height :] = padded[rows + height - 1]
