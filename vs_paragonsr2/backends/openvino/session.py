"""Programs compiled by OpenVINO, and their bands computed by its infer requests."""

import io
import os
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from queue import Empty
from threading import Condition
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from ...checkpoints.load import parts_of
from ...checkpoints.models import Model, sees_whole_picture
from ...program.bands import band_rows, in_bands, largest_overlap, priming
from ...program.colour import ClipSpec, PlaneFormat
from ...program.fold import fold
from ...program.geometry import Geometry, place
from ...program.operations import Margin
from ...program.tiling import check_side, tile_spec, unit
from ...support.processors import cores, gains_by_bf16
from ..base import NonFiniteError, Plane, Request, Session, check_scale
from ..switch import SwitchingSession
from ..tiles import Padding, place_cells
from . import OpenVINOOptions, find_device
from .lowering import lower
from .shared_frame import SharedFrame

WHOLE_STREAMS = 2
"""The most frames computed at once on a CPU by a network with attention, each layer of which writes up to a GiB at 1080p."""

# oneDNN, which OpenVINO computes with on a CPU, keeps 1,024 kernels that it has compiled: those of ten sizes of a clip and more.
# It looks at this when it compiles the first one. (Measured over 130 sizes of Stream: the process has 320 MiB, not 430.)
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")

BAND_ROWS = 32
"""Luma rows of a band at most: what a layer writes is still in the processor's cache when the next one reads it."""

DEEP_BAND_ROWS = 128
"""Luma rows of a band at most for versions 7 and 8, whose deep parts would compute a quarter of fewer rows again for every band."""


def open_session(request: Request[OpenVINOOptions]) -> "OpenVINOSession | SwitchingSession":
    """Compile the program; in f16 one that f32 replaces where its numbers overflow.

    Raises ParagonSR2Error for an absent device or a bad checkpoint.
    """
    core = ov.Core()
    options = request.options
    device = find_device(core, request.device, options.device_index[0])
    precision = options.precision or default_precision(device, request.spec.target, request.model)
    streams = request.num_streams
    if device.startswith("CPU") and sees_whole_picture(request.model):
        streams = min(streams, WHOLE_STREAMS)
    programs, config = _programs(device, streams)
    config["INFERENCE_PRECISION_HINT"] = precision
    geometry = geometry_of(request, centred=precision != "f32")
    compiled = core.compile_model(lower(geometry, precision), device, config)
    copies = [compiled, *_copies(core, compiled, device, config, programs - 1)]
    band_program = BandProgram(copies, geometry.program.spec.source.height, priming(geometry), geometry.source_margin)
    session = OpenVINOSession(request.spec, band_program, streams)
    if precision != "f16":
        return session
    in_f32 = replace(request, options=replace(options, precision="f32"))
    return SwitchingSession(session, request.num_streams, exact=partial(open_session, in_f32))


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


def geometry_of(request: Request[OpenVINOOptions], *, centred: bool) -> Geometry:
    """The geometry of the program for one band of rows; a network that sees the whole picture has one band.

    Raises ParagonSR2Error for a bad checkpoint.
    """
    network, spec = parts_of(request.model.path, request.model.sha256, request.alpha), request.spec
    check_scale(network.scale, spec)
    asked = request.options.tile_size[0] if request.options.tile_size else 0
    check_side("high", asked, unit(spec)[0])
    for most in (BAND_ROWS, DEEP_BAND_ROWS):
        rows = band_rows(spec, min(asked or most, most))
        program = fold(network, tile_spec(spec, (rows, spec.source.width)), centred=centred)
        if program.windows:
            return place(fold(network, spec, centred=centred), padded=True)
        if largest_overlap(program) <= most // 4:
            break
    return place(in_bands(program), padded=True, zero_padded=(False, True))


def _copies(core: ov.Core, compiled: ov.CompiledModel, device: str, config: dict[str, str], count: int) -> list[ov.CompiledModel]:
    """So many copies of a compiled program. A copy takes a fifth of the time that compiling it again would take."""
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
class BandProgram:
    """A program for one band of rows; a network that sees the whole picture has one band."""

    compiled: list[ov.CompiledModel]
    """One compiled program for each stream, or a single one that has several streams."""
    rows: int
    """Luma rows of a band."""
    priming: int
    """Bands to run before the first one."""
    margin: Margin
    """Luma samples that a band reads beyond its own on each side."""


@dataclass(slots=True)
class _Slot:
    """What one frame in flight has for itself."""

    request: ov.InferRequest
    padded: list[NDArray[np.generic]]
    """The planes that come, padded so far that every band finds what it reads."""
    reads: list[list[ov.Tensor]]
    """For each band, what it reads of them."""
    cells: list[NDArray[np.generic]]
    """A band of each group of the target's planes: (cells of the rows, cells of the columns, planes * rows * columns of a cell)."""


class OpenVINOSession(Session[_Slot]):
    """Bands of a frame, one inference each, from a padded copy of the planes; cells go from there into the frame."""

    def __init__(self, spec: ClipSpec, program: BandProgram, streams: int) -> None:
        source, target = spec.source, spec.target
        self.program = program
        self.bands = -(-source.height // program.rows)
        top, left, bottom, right = program.margin
        below = self.bands * program.rows - source.height
        self.padding = Padding(spec, Margin(program.priming * program.rows + top, left, below + bottom, right))
        self._ratios = [plane.ratios[0] for plane in spec.input_planes]
        outputs = [tuple(output.shape)[1:] for output in program.compiled[0].outputs]
        shapes = [shape for shape in outputs if shape]
        self._is_watched = len(shapes) < len(outputs)

        def slot(compiled: ov.CompiledModel) -> _Slot:
            shaped = zip(spec.input_planes, self.padding.shapes, strict=True)
            padded = [np.empty(shape, plane.format.dtype) for plane, shape in shaped]
            reads = [self._reads(padded, band) for band in range(program.priming + self.bands)]
            cells = [np.empty(shape, target.dtype) for shape in shapes]
            infer = compiled.create_infer_request()
            for index, own in enumerate(cells):
                infer.set_output_tensor(index, _tensor(own))
            return _Slot(infer, padded, reads, cells)

        super().__init__(spec, [slot(compiled) for compiled in islice(cycle(program.compiled), streams)])
        self._frames: list[SharedFrame[_Slot]] = []
        self._news = Condition()
        self._told = 0

    def _reads(self, padded: Sequence[NDArray[np.generic]], band: int) -> list[ov.Tensor]:
        """What a band reads of the padded planes; counted from the first one that primes."""
        first = band * self.program.rows
        last, _ = self.program.margin.around(first + self.program.rows, 0)
        return [_tensor(plane[first // rows : last // rows]) for plane, rows in zip(padded, self._ratios, strict=True)]

    def _run(self, slot: _Slot, planes: Sequence[Plane], out: Sequence[Plane]) -> None:
        self.padding.on_host(planes, slot.padded)
        frame = SharedFrame(self.bands, self.program.priming, partial(self._run_band, slot.reads, out))
        self._frames.append(frame)
        self._tell()
        try:
            frame.run(slot)
        finally:
            self._frames.remove(frame)

    def _give_back(self, slot: _Slot) -> None:
        super()._give_back(slot)
        self._tell()

    def _tell(self) -> None:
        """Wake those who wait in ``help_until``: there may be something to take over, or nothing more to wait for."""
        with self._news:
            self._told += 1
            self._news.notify_all()

    def help_until(self, done: Future[Any]) -> None:
        done.add_done_callback(lambda _: self._tell())
        while not done.done():
            told = self._told
            if not self._help():
                with self._news:
                    # What can be taken over grows less while a frame is computed: only a new frame or a free slot is news.
                    self._news.wait_for(lambda: done.done() or self._told != told)  # noqa: B023 (it is waited for right here)

    def _help(self) -> bool:
        """Compute bands of another thread's frame; False where there is no free slot or no band to take over."""
        try:
            slot = self._slots.get_nowait()
        except Empty:
            return False
        try:
            return any(frame.help(slot) for frame in tuple(self._frames))
        finally:
            super()._give_back(slot)

    def _run_band(self, reads: Sequence[list[ov.Tensor]], out: Sequence[Plane], slot: _Slot, band: int, primes: bool) -> None:
        """Compute a band from what it reads with a slot, which may be another one's; where it only primes, into nothing."""
        rows = self.program.rows
        for index, tensor in enumerate(reads[band + self.program.priming]):
            slot.request.set_input_tensor(index, tensor)
        slot.request.infer(share_outputs=True)  # what it returns is not looked at, and would be a copy of all outputs
        if primes:
            return
        if self._is_watched and not np.isfinite(slot.request.get_output_tensor(len(slot.cells)).data):
            raise NonFiniteError
        for group, cells in zip(self.spec.target.groups, slot.cells, strict=True):
            begin = band * rows * self.spec.scale // group.ratios[0]
            place_cells(cells, [out[index][begin:] for index in group.indices])


def _tensor(samples: NDArray[np.generic]) -> ov.Tensor:
    """A tensor over the memory of an array, axes of length 1 before its own; uint16's bits go as int16, which runtimes know."""
    samples = samples.view(np.int16) if samples.dtype == np.uint16 else samples
    return ov.Tensor(samples[(None,) * (4 - samples.ndim)], shared_memory=True)
