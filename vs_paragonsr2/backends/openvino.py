"""PlanesGraph on OpenVINO: the fast backend where there is no CUDA device.

The compiled graph is kept on disk. A process that finds it there imports neither PyTorch nor anything that needs it.
"""

import io
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import cycle, islice
from pathlib import Path
from queue import Empty

import numpy as np
from numpy.typing import NDArray

from ..cache import entry_path, load_or_make
from ..colour import PlaneFormat
from ..errors import ParagonSR2Error
from .base import NonFiniteError, Options, Plane, Request, Session, check_scale
from .planes import input_ratios, plane_ratios, replicate
from .processors import cores
from .sharing import SharedFrame
from .switch import SwitchingSession

# OpenVINO's converter starts a process that reports its use to its makers, unless the module for it is missing. A filter in a
# player neither starts processes nor reports.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402
from openvino import opset15 as opset  # noqa: E402
from openvino.passes import MakeStateful, Manager  # noqa: E402

PRECISIONS = ("f32", "bf16", "f16")

BAND_ROWS = 32
"""Luma rows of a band at most: what a layer writes is still in the processor's cache when the next one reads it."""

LEGACY_BAND_ROWS = 128
"""The same for versions 7 and 8, whose deep stages compute their rims again for every band."""


MOST_STREAMS = 16
"""Frames at once on a CPU at most, each of which takes memory; where there are more cores, each stream has several."""


def default_device() -> str:
    """``"CPU"``; OpenVINO's ``"GPU"`` and ``"NPU"`` are there to be asked for."""
    return "CPU"


def device_name(options: Options) -> str:
    """What the maker calls the device, as a processor's model. Raises ParagonSR2Error for an absent one."""
    core = ov.Core()
    return str(core.get_property(_device(core, options), "FULL_DEVICE_NAME"))


def default_streams(device: str) -> int:
    """Frames in flight at once: on a CPU one for each core, on other devices two, the copies of one beside the other's arithmetic.

    A stream of one thread waits for nobody. (Measured on two cores: two streams of a thread take 0.6 times the processor time of
    one of two threads, and a tenth of its time where other programs work too.)
    """
    return min(cores(), MOST_STREAMS) if device.upper().startswith("CPU") else 2


def default_precision(device: str, target: PlaneFormat) -> str:
    """What is fastest with the same picture: of 8 bits, f16 on other devices than CPUs, and bf16 on CPUs that have it (AVX512_BF16
    or AMX); else f32, since bands of colour are worse than waiting. An NPU has f16 alone.
    """
    if device.startswith("NPU"):
        return "f16"
    if target.bits > 8:
        return "f32"
    if not device.startswith("CPU"):
        return "f16"
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        flags = ""
    return "bf16" if "avx512_bf16" in flags or "amx_bf16" in flags else "f32"


def open_session(request: Request) -> "OpenVINOSession | SwitchingSession":
    """Compile the graph, or take it from the disk; in f16 one that f32 replaces where its numbers overflow.

    Raises ParagonSR2Error for an absent device or a bad checkpoint.
    """
    core = ov.Core()
    options = request.options
    device = _device(core, options)
    precision = options.precision or default_precision(device, request.spec.target)
    if precision not in PRECISIONS:
        raise ParagonSR2Error(f"precision is {precision!r}: expected one of {', '.join(map(repr, PRECISIONS))}, or None to choose")
    programs, config = _programs(device, options.num_streams)
    config["INFERENCE_PRECISION_HINT"] = precision
    path = entry_path(
        "blob",
        *(ov.__version__, core.get_property(device, "FULL_DEVICE_NAME"), sorted(config.items())),
        *(request.model.sha256, options.alpha, request.spec),
    )

    def load(data: bytes) -> _Compiled:
        geometry, blob = np.frombuffer(data[:GEOMETRY_BYTES], "<u4").tolist(), data[GEOMETRY_BYTES:]
        return _Compiled([core.import_model(blob, device, config) for _ in range(programs)], *geometry)

    def make() -> tuple[_Compiled, bytes]:
        model, geometry = convert(request, precision)
        stream = io.BytesIO()
        core.compile_model(model, device, config).export_model(stream)
        data = np.array(geometry, "<u4").tobytes() + stream.getvalue()
        return load(data), data

    session = OpenVINOSession(request, load_or_make(path, load, make))
    if precision != "f16":
        return session
    in_f32 = replace(request, options=replace(options, precision="f32"))
    return SwitchingSession(session, options.num_streams, exact=partial(open_session, in_f32))


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


GEOMETRY_BYTES = 24
"""Before a compiled graph on disk: the numbers of ``_Compiled``, four bytes each."""


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A graph for one band of rows, all in luma samples; a network that sees the whole picture has one band."""

    graphs: list[ov.CompiledModel]
    """The same one for each stream, or one that has several."""
    rows: int
    priming: int
    """Bands to run before the first one."""
    above: int
    """Rows that come with a band, ..."""
    below: int
    left: int
    """... and columns."""
    right: int


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


def convert(request: Request, precision: str) -> tuple[ov.Model, tuple[int, ...]]:
    """The graph for one band, and the numbers of its :class:`_Compiled`. This alone needs PyTorch."""
    import torch

    from ..bands import BandGraph, band_rows
    from ..checkpoint import load_network
    from ..graph import PlanesGraph, seam_dtype
    from ..network import LegacyParagonSR2

    network, spec = load_network(request.model.path, alpha=request.options.alpha), request.spec
    check_scale(network.scale, spec)
    if network.window is None:
        most = LEGACY_BAND_ROWS if isinstance(network, LegacyParagonSR2) else BAND_ROWS
        bands = BandGraph(network, spec, band_rows(spec, most), centred=precision != "f32")
        graph: torch.nn.Module = bands
        geometry = (bands.spec.source.height, bands.priming, bands.before[0], bands.after[0], bands.before[1], bands.after[1])
        kept = bands.kept_shapes
    elif network.variant == "pro":
        raise ParagonSR2Error("backend is 'openvino', which takes many minutes to compile a Pro model: expected 'reference'")
    else:
        whole = PlanesGraph(network, spec, padded=True)
        graph, (rows, columns), kept = whole, whole.halo, []
        geometry = (spec.source.height, 0, rows, rows, columns, columns)
    rows, _, above, below, left, right = geometry
    example = [
        torch.zeros(1, 1, *shape, dtype=seam_dtype(fmt))
        for fmt in spec.inputs
        for shape in _plane_shapes(fmt, rows + above + below, spec.source.width + left + right)
    ]
    example += [torch.zeros(shape) for shape in kept]
    with torch.no_grad():
        program = torch.export.export(graph, tuple(example), strict=True)
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)  # it tells everybody, with stack traces, which decompositions PyTorch has given up
        try:
            model = ov.convert_model(program, input=[tuple(tensor.shape) for tensor in example])
        finally:
            logging.disable(before)
    _keep_inside(model, len(kept))
    if precision == "f16":  # bf16 reaches as far as f32
        _watch(model)
    return model, geometry


def _keep_inside(model: ov.Model, count: int) -> None:
    """Make the last inputs and outputs variables of the inference request, which stay with it from band to band."""
    pairs = {}
    for i, (given, left) in enumerate(zip(model.inputs[-count:], model.outputs[-count:], strict=True) if count else ()):
        given.get_tensor().set_names({f"kept{i}"})
        left.get_tensor().set_names({f"left{i}"})
        pairs[f"kept{i}"] = f"left{i}"
    if pairs:
        manager = Manager()
        manager.register_pass(MakeStateful(pairs))
        manager.run_passes(model)


def _watch(model: ov.Model) -> None:
    """Add an output behind the planes': 0, or no number where a sample is not finite. Once samples are rounded, nobody can tell."""
    rounded = [op for op in model.get_ops() if op.get_type_name() == "Round"]
    flags = []
    for op in rounded or model.get_results():
        samples = op.input_value(0)
        nothing = opset.multiply(samples, opset.constant(0, samples.get_element_type()))
        flags.append(opset.reduce_sum(nothing, [0, 1, 2, 3]))
    model.add_results([opset.result(reduce(opset.add, flags))])


@dataclass(slots=True)
class _Slot:
    """What one frame in flight has for itself."""

    request: ov.InferRequest
    padded: list[NDArray[np.generic]]
    """The planes that come and what bands read about them."""
    reads: list[list[ov.Tensor]]
    """For each band, what it reads of them."""
    band: list[NDArray[np.generic]]
    """A band of each group of the target's planes, (planes, height, width), for those that are no rows of the frame."""


class OpenVINOSession(Session[_Slot]):
    """Bands of a frame, one inference each, from a padded copy of the planes straight into the frame."""

    def __init__(self, request: Request, compiled: _Compiled) -> None:
        source, target = request.spec.source, request.spec.target
        self.compiled = compiled
        self.scale = target.height // source.height
        self.bands = -(-source.height // compiled.rows)
        height = (compiled.priming + self.bands) * compiled.rows + compiled.above + compiled.below
        width = source.width + compiled.left + compiled.right
        self.ratios, self.target_ratios = input_ratios(request.spec), plane_ratios(target)
        # Planes of one size may come out together: taking them apart is faster on the way into the frame.
        outputs = [tuple(output.shape)[1:] for output in compiled.graphs[0].outputs]
        shapes = [shape for shape in outputs if shape]
        self._is_watched = len(shapes) < len(outputs)
        ends = np.cumsum([shape[0] for shape in shapes]).tolist()
        self.groups = [slice(end - shape[0], end) for end, shape in zip(ends, shapes, strict=True)]

        def slot(graph: ov.CompiledModel) -> _Slot:
            padded = [np.empty(shape, fmt.dtype) for fmt in request.spec.inputs for shape in _plane_shapes(fmt, height, width)]
            reads = [self._reads(padded, band) for band in range(compiled.priming + self.bands)]
            return _Slot(graph.create_infer_request(), padded, reads, [np.empty(shape, target.dtype) for shape in shapes])

        graphs = islice(cycle(compiled.graphs), request.options.num_streams)
        super().__init__(request.spec, [slot(graph) for graph in graphs])
        self._frames: list[SharedFrame[_Slot]] = []

    def _reads(self, padded: Sequence[NDArray[np.generic]], band: int) -> list[ov.Tensor]:
        """What a band reads of the padded planes; counted from the first one that primes."""
        first = band * self.compiled.rows
        last = first + self.compiled.above + self.compiled.rows + self.compiled.below
        return [_tensor(plane[first // rows : last // rows]) for plane, (rows, _) in zip(padded, self.ratios, strict=True)]

    def _run(self, slot: _Slot, planes: Sequence[Plane], out: Sequence[Plane]) -> None:
        top = self.compiled.priming * self.compiled.rows + self.compiled.above
        for plane, padded, (rows, columns) in zip(planes, slot.padded, self.ratios, strict=True):
            replicate(plane, padded, top // rows, self.compiled.left // columns)
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
        copies: list[tuple[Plane, Plane]] = []
        for index, (group, own) in enumerate(zip(self.groups, slot.band, strict=True)):
            begin = band * rows * self.scale // self.target_ratios[group.start][0]
            parts = [] if primes else [plane[begin : begin + own.shape[1]] for plane in out[group]]
            straight = len(parts) == 1 and parts[0].shape == own.shape[1:] and parts[0].flags.c_contiguous
            slot.request.set_output_tensor(index, _tensor(parts[0] if straight else own))
            if parts and not straight:
                copies += zip(parts, own, strict=True)
        slot.request.infer(share_outputs=True)  # what it returns is not looked at, and would be a copy of all outputs
        if self._is_watched and not primes and not np.isfinite(slot.request.get_output_tensor(len(self.groups)).data):
            raise NonFiniteError
        for part, samples in copies:
            part[...] = samples[: len(part)]


def _plane_shapes(fmt: PlaneFormat, height: int, width: int) -> list[tuple[int, int]]:
    """Height and width of each plane of a picture with so many luma samples."""
    return [(height // rows, width // columns) for rows, columns in plane_ratios(fmt)]


def _tensor(samples: NDArray[np.generic]) -> ov.Tensor:
    """A tensor (1, planes, height, width) over the memory of planes; no runtime knows uint16, so its bits go as int16."""
    samples = samples.view(np.int16) if samples.dtype == np.uint16 else samples
    return ov.Tensor(samples.reshape(1, -1, *samples.shape[-2:]), shared_memory=True)
