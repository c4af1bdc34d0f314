"""PlanesGraph on OpenVINO: the fast backend where there is no CUDA device.

The compiled graph is kept on disk. A process that finds it there imports neither PyTorch nor anything that needs it.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from ..cache import entry_path, load_or_make
from ..colour import PlaneFormat
from ..errors import ParagonSR2Error
from ..tiling import Tile, tile_size, tile_spec, tiles
from .base import Options, Plane, Request, Session

PRECISIONS = ("f32", "bf16", "f16")

STRIP_SAMPLES = 2**20
"""Luma samples of a strip, about: what one inference holds in memory stays the same from 1080p to 8K."""


def default_device() -> str:
    """``"CPU"``; OpenVINO's ``"GPU"`` and ``"NPU"`` are there to be asked for."""
    return "CPU"


def default_precision(device: str) -> str:
    """What is fastest with the same picture: bf16 where a CPU has matrix units for it, f16 on other devices, else f32.

    A CPU that has bf16 in its vector units alone (AVX512_BF16 without AMX) runs these small convolutions slower in bf16 than in f32.
    """
    if device != "CPU":
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
    precision = options.precision or default_precision(options.device)
    if precision not in PRECISIONS:
        raise ParagonSR2Error(f"precision is {precision!r}: expected one of {', '.join(map(repr, PRECISIONS))}, or None to choose")
    size = tile_size(request.spec, _tile(request))
    config = {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": str(options.num_streams)}
    path = entry_path(
        "blob",
        *(ov.__version__, core.get_property(device, "FULL_DEVICE_NAME"), sorted(config.items())),
        *(request.model.sha256, options.alpha, request.spec, size),
    )

    def load(data: bytes) -> tuple[ov.CompiledModel, tuple[int, int]]:
        halo = (int.from_bytes(data[:4], "little"), int.from_bytes(data[4:8], "little"))
        return core.import_model(data[8:], device, config), halo

    def make() -> tuple[tuple[ov.CompiledModel, tuple[int, int]], bytes]:
        model, halo = _convert(request, size)
        compiled = core.compile_model(model, device, config)
        head = halo[0].to_bytes(4, "little") + halo[1].to_bytes(4, "little")
        return (compiled, halo), head + _exported(compiled)

    compiled, halo = load_or_make(path, load, make)
    return OpenVINOSession(request, compiled, size, halo)


def _device(core: ov.Core, options: Options) -> str:
    """OpenVINO's name of the device, as ``"CPU"`` or ``"GPU.1"``. Raises ParagonSR2Error where it is not there."""
    there = core.available_devices
    kinds = sorted({name.split(".")[0] for name in there})
    if options.device not in kinds:
        raise ParagonSR2Error(f"device is {options.device!r}: OpenVINO finds {', '.join(map(repr, kinds))} here")
    own = [name for name in there if name.split(".")[0] == options.device]
    if options.device_index >= len(own):
        raise ParagonSR2Error(f"device_index is {options.device_index}: there are {len(own)} of {options.device!r}, counted from 0")
    return own[options.device_index]


def _tile(request: Request) -> tuple[int, int]:
    """The largest tile (rows, columns): strips of the picture's width, whose samples lie together in memory."""
    rows = max(64, STRIP_SAMPLES // request.spec.source.width)
    return (rows // 4 * 4 if rows < request.spec.source.height else 0, 0)


def _convert(request: Request, size: tuple[int, int]) -> tuple[ov.Model, tuple[int, int]]:
    """The graph for one tile, and the halo that it needs. This alone needs PyTorch."""
    import torch

    from ..checkpoint import load_network
    from ..graph import PlanesGraph, seam_dtype

    network = load_network(request.model.path, alpha=request.options.alpha)
    scale = request.spec.target.width // request.spec.source.width
    if network.scale != scale:
        raise ParagonSR2Error(f"scale is {scale}: the checkpoint's own is {network.scale}")
    if network.window is not None:
        size = (request.spec.source.height, request.spec.source.width)
    spec = tile_spec(request.spec, size)
    graph = PlanesGraph(network, spec, padded=True)
    ratios = [(1, 1), spec.source.ratios, spec.source.ratios]
    example = tuple(
        torch.zeros(1, 1, height + 2 * graph.halo[0] // rows, width + 2 * graph.halo[1] // columns, dtype=seam_dtype(spec.source))
        for (height, width), (rows, columns) in zip(spec.source.shapes, ratios, strict=False)
    )
    with torch.no_grad():
        program = torch.export.export(graph, example, strict=True)
    return ov.convert_model(program, input=[tuple(plane.shape) for plane in example]), graph.halo


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

    def __init__(self, request: Request, compiled: ov.CompiledModel, size: tuple[int, int], halo: tuple[int, int]) -> None:
        spec, part = request.spec, tile_spec(request.spec, size)
        self.halo = halo
        self.tiles: list[Tile] = tiles(spec, size, halo)
        self.ratios = _ratios(spec.source)
        self.target_ratios = _ratios(spec.target)

        def slot() -> _Slot:
            padded = [
                np.empty((height + 2 * halo[0] // rows, width + 2 * halo[1] // columns), spec.source.dtype)
                for (height, width), (rows, columns) in zip(spec.source.shapes, self.ratios, strict=True)
            ]
            return _Slot(compiled.create_infer_request(), padded, [np.empty(shape, spec.target.dtype) for shape in part.target.shapes])

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


def _exported(compiled: ov.CompiledModel) -> bytes:
    """The compiled graph as the device's own import takes it."""
    stream = io.BytesIO()
    compiled.export_model(stream)
    return stream.getvalue()
