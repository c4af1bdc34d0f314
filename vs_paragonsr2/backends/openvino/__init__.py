"""OpenVINO: the fast backend where there is no CUDA device. Nothing of it is kept on disk, since all is compiled in no time."""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice
from math import prod
from pathlib import Path
from queue import Empty

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from ...checkpoints.load import parts_of
from ...checkpoints.models import Model, sees_whole_picture
from ...program.bands import band_rows, in_bands, longest_reach, place_band, priming
from ...program.colour import ClipSpec, PlaneFormat
from ...program.fold import fold
from ...program.geometry import Geometry, halo, place
from ...program.graph import Program
from ...program.operations import Margin
from ...program.tiling import check_side, tile_spec, unit
from ...support.errors import ParagonSR2Error
from ...support.processors import cores, gains_by_bf16
from ..base import NonFiniteError, Options, Plane, Request, Session, check_scale
from ..switch import SwitchingSession
from ..tiles import input_ratios, place_cells, plane_ratios, plane_shapes, replicate
from .lowering import lower
from .shared_frame import SharedFrame

PRECISIONS = ("f32", "bf16", "f16")

MOST_STREAMS = 16
"""Frames at once on a CPU at most, each of which takes memory; where there are more cores, each stream has several."""

WHOLE_STREAMS = 2
"""The same for a network with attention, which has no bands: at 1080p each of its layers writes up to a GiB."""


# oneDNN, which OpenVINO computes with on a CPU, keeps 1,024 kernels that it has compiled: those of ten sizes of a clip and more.
# It looks at this when it compiles the first one. (Measured over 130 sizes of Stream: the process has 320 MiB, not 430.)
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")

BAND_ROWS = 32
"""Luma rows of a band at most: what a layer writes is still in the processor's cache when the next one reads it."""

DEEP_BAND_ROWS = 128
"""The same for versions 7 and 8, whose deep parts compute more than a quarter of so few rows again for every band."""


def default_device() -> str:
    """``"CPU"``; OpenVINO's ``"GPU"`` and ``"NPU"`` are there to be asked for."""
    return "CPU"


def device_name(options: Options) -> str:
    """What the maker calls the device, as a processor's model. Raises ParagonSR2Error for an absent one."""
    core = ov.Core()
    return str(core.get_property(_device(core, options), "FULL_DEVICE_NAME"))


def default_streams(device: str) -> int:
    """Frames in flight at once: on a CPU one for each core, on other devices two, the copies of one beside the other's arithmetic.

    A stream of one thread waits for nobody. (Measured on two cores, f32: where nothing else runs, two streams of a thread take the
    processor time of one of two threads; but in two of five runs the latter took nearly twice as much.)
    """
    return min(cores(), MOST_STREAMS) if device.upper().startswith("CPU") else 2


def default_precision(device: str, target: PlaneFormat, model: Model) -> str:
    """What is fastest with the same picture: of 8 bits, f16 on other devices than CPUs, and bf16 on CPUs that gain by it; else f32,
    since bands of colour are worse than waiting, and of a network with attention bf16 has one sample in forty off by more than a
    code. An NPU has f16 alone.
    """
    if device.startswith("NPU"):
        return "f16"
    if target.bits > 8:
        return "f32"
    if not device.startswith("CPU"):
        return "f16"
    return "bf16" if gains_by_bf16(Path("/")) and not sees_whole_picture(model) else "f32"


def open_session(request: Request) -> "OpenVINOSession | SwitchingSession":
    """Compile the program; in f16 one that f32 replaces where its numbers overflow.

    Raises ParagonSR2Error for an absent device or a bad checkpoint.
    """
    core = ov.Core()
    options = request.options
    device = _device(core, options)
    precision = options.precision or default_precision(device, request.spec.target, request.model)
    if precision not in PRECISIONS:
        raise ParagonSR2Error(f"precision is {precision!r}: expected one of {', '.join(map(repr, PRECISIONS))}, or None to choose")
    streams = options.num_streams
    if device.startswith("CPU") and sees_whole_picture(request.model):
        streams = min(streams, WHOLE_STREAMS)
    programs, config = _programs(device, streams)
    config["INFERENCE_PRECISION_HINT"] = precision
    program, geometry = program_of(request, centred=precision != "f32")
    compiled = core.compile_model(lower(program, geometry, precision), device, config)
    graphs = [compiled, *_copies(core, compiled, device, config, programs - 1)]
    bands = Bands(graphs, program.spec.source.height, priming(program, geometry), geometry.given)
    session = OpenVINOSession(request.spec, bands, streams)
    if precision != "f16":
        return session
    in_f32 = replace(request, options=replace(options, precision="f32"))
    return SwitchingSession(session, options.num_streams, exact=partial(open_session, in_f32))


def program_of(request: Request, *, centred: bool) -> tuple[Program, Geometry]:
    """The program for one band of rows, and its geometry; a network that sees the whole picture has one band.

    Raises ParagonSR2Error for a bad checkpoint.
    """
    network, spec = parts_of(request.model.path, request.model.sha256, request.options.alpha), request.spec
    check_scale(network.scale, spec)
    asked = request.options.tile_size[0]
    check_side("high", asked, unit(spec)[0])
    for most in (BAND_ROWS, DEEP_BAND_ROWS):
        rows = band_rows(spec, min(asked or most, most))
        program = fold(network, tile_spec(spec, (rows, spec.source.width)), centred=centred)
        if program.windows:
            program = fold(network, spec, centred=centred)
            rows, columns = halo(program)
            return program, place(program, given=Margin(rows, columns, rows, columns))
        if longest_reach(program) <= most // 4:
            break
    banded = in_bands(program)
    return banded, place_band(banded)


def _copies(core: ov.Core, compiled: ov.CompiledModel, device: str, config: dict[str, str], count: int) -> list[ov.CompiledModel]:
    """The same program again so many times, which costs a fifth of compiling it again."""
    if not count:
        return []
    stream = io.BytesIO()
    compiled.export_model(stream)
    return [core.import_model(stream.getvalue(), device, config) for _ in range(count)]


def _programs(device: str, num_streams: int) -> tuple[int, dict[str, str]]:
    """How many programs share the frames, and how each is to be compiled.

    On a CPU each stream has a program of its own, with its share of the cores: a program of one thread runs in the thread that
    calls it, where one of several streams hands every band of rows over to a thread of its own and waits (5% of a frame's time).
    """
    if not device.startswith("CPU"):
        return 1, {"NUM_STREAMS": str(num_streams)}
    threads = max(1, cores() // num_streams)
    # Each program would pin its threads to the same first cores.
    return num_streams, {"NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": str(threads), "ENABLE_CPU_PINNING": "NO"}


@dataclass(frozen=True, slots=True)
class Bands:
    """A program for one band of rows; a network that sees the whole picture has one band."""

    graphs: list[ov.CompiledModel]
    """The same one for each stream, or one that has several."""
    rows: int
    """Luma rows of a band."""
    priming: int
    """Bands to run before the first one."""
    about: Margin
    """Luma samples that come with a band on each side."""


def _device(core: ov.Core, options: Options) -> str:
    """OpenVINO's name of the device, as ``"CPU"`` or ``"GPU.1"``. Raises ParagonSR2Error where it is not there."""
    there = core.available_devices
    kinds = sorted({name.split(".")[0] for name in there})
    own = [name for name in there if name.split(".")[0] == options.device.upper()]
    if not own:
        raise ParagonSR2Error(f"device is {options.device!r}: OpenVINO finds {', '.join(map(repr, kinds))} here")
    index = options.only_device()
    if index >= len(own):
        raise ParagonSR2Error(f"device_index is {index}: there are {len(own)} of {options.device!r}, counted from 0")
    return own[index]


@dataclass(slots=True)
class _Slot:
    """What one frame in flight has for itself."""

    request: ov.InferRequest
    padded: list[NDArray[np.generic]]
    """The planes that come and what bands read about them."""
    reads: list[list[ov.Tensor]]
    """For each band, what it reads of them."""
    cells: list[NDArray[np.generic]]
    """A band of each group of the target's planes: (cells of the rows, cells of the columns, planes * rows * columns of a cell)."""


class OpenVINOSession(Session[_Slot]):
    """Bands of a frame, one inference each, from a padded copy of the planes; cells go from there into the frame."""

    def __init__(self, spec: ClipSpec, bands: Bands, streams: int) -> None:
        source, target = spec.source, spec.target
        self.compiled = bands
        self.scale = target.height // source.height
        self.bands = -(-source.height // bands.rows)
        height = (bands.priming + self.bands) * bands.rows + bands.about.top + bands.about.bottom
        width = source.width + bands.about.left + bands.about.right
        self.ratios, self.target_ratios = input_ratios(spec), plane_ratios(target)
        outputs = [tuple(output.shape)[1:] for output in bands.graphs[0].outputs]
        shapes = [shape for shape in outputs if shape]
        self._is_watched = len(shapes) < len(outputs)
        # An output has one plane or several of one size: as many as its samples make.
        sizes = [height * width for height, width in plane_shapes(target, bands.rows * self.scale, target.width)]
        self.groups: list[slice] = []
        for shape in shapes:
            begin = self.groups[-1].stop if self.groups else 0
            self.groups.append(slice(begin, begin + prod(shape) // sizes[begin]))

        def slot(graph: ov.CompiledModel) -> _Slot:
            padded = [np.empty(shape, fmt.dtype) for fmt in spec.inputs for shape in plane_shapes(fmt, height, width)]
            reads = [self._reads(padded, band) for band in range(bands.priming + self.bands)]
            cells = [np.empty(shape, target.dtype) for shape in shapes]
            infer = graph.create_infer_request()
            for index, own in enumerate(cells):
                infer.set_output_tensor(index, _tensor(own))
            return _Slot(infer, padded, reads, cells)

        graphs = islice(cycle(bands.graphs), streams)
        super().__init__(spec, [slot(graph) for graph in graphs])
        self._frames: list[SharedFrame[_Slot]] = []

    def _reads(self, padded: Sequence[NDArray[np.generic]], band: int) -> list[ov.Tensor]:
        """What a band reads of the padded planes; counted from the first one that primes."""
        first = band * self.compiled.rows
        last = first + self.compiled.about.top + self.compiled.rows + self.compiled.about.bottom
        return [_tensor(plane[first // rows : last // rows]) for plane, (rows, _) in zip(padded, self.ratios, strict=True)]

    def _run(self, slot: _Slot, planes: Sequence[Plane], out: Sequence[Plane]) -> None:
        top = self.compiled.priming * self.compiled.rows + self.compiled.about.top
        for plane, padded, (rows, columns) in zip(planes, slot.padded, self.ratios, strict=True):
            replicate(plane, padded, top // rows, self.compiled.about.left // columns)
        frame = SharedFrame(self.bands, self.compiled.priming, partial(self._run_band, slot.reads, out))
        self._frames.append(frame)
        try:
            frame.run(slot)
        finally:
            self._frames.remove(frame)

    def help(self) -> bool:
        try:
            slot = self._slots.get_nowait()
        except Empty:
            return False
        try:
            return any(frame.help(slot) for frame in tuple(self._frames))
        finally:
            self._slots.put(slot)

    def _run_band(self, reads: Sequence[list[ov.Tensor]], out: Sequence[Plane], slot: _Slot, band: int, primes: bool) -> None:
        """Compute a band from what it reads with a slot, which may be another one's; where it only primes, into nothing."""
        rows = self.compiled.rows
        for index, tensor in enumerate(reads[band + self.compiled.priming]):
            slot.request.set_input_tensor(index, tensor)
        slot.request.infer(share_outputs=True)  # what it returns is not looked at, and would be a copy of all outputs
        if primes:
            return
        if self._is_watched and not np.isfinite(slot.request.get_output_tensor(len(self.groups)).data):
            raise NonFiniteError
        for group, cells in zip(self.groups, slot.cells, strict=True):
            begin = band * rows * self.scale // self.target_ratios[group.start][0]
            place_cells(cells, [plane[begin:] for plane in out[group]])


def _tensor(samples: NDArray[np.generic]) -> ov.Tensor:
    """A tensor over the memory of an array, axes of length 1 before its own; uint16's bits go as int16, which runtimes know."""
    samples = samples.view(np.int16) if samples.dtype == np.uint16 else samples
    return ov.Tensor(samples[(None,) * (4 - samples.ndim)], shared_memory=True)
