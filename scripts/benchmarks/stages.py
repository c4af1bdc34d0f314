"""Where the time of a frame goes on a CPU, and how near it is to the arithmetic limit of the machine.

Everything is processor time of all threads of the process together. The graph runs on one thread here; its layers have OpenVINO's
own names and counters, scaled to what the graph took. The limit is the program's multiply-adds at the rate at which the same
runtime multiplies large matrices on one thread in the same precision.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import vapoursynth as vs

from vs_paragonsr2 import upscale
from vs_paragonsr2.backends import Request, load_backend
from vs_paragonsr2.backends.base import Plane
from vs_paragonsr2.backends.openvino import OpenVINOOptions
from vs_paragonsr2.backends.openvino.lowering import lower
from vs_paragonsr2.backends.openvino.session import BandProgram, OpenVINOSession, geometry_of
from vs_paragonsr2.checkpoints import load_checkpoint
from vs_paragonsr2.checkpoints.models import find_model
from vs_paragonsr2.clip.colorimetry import ColorimetryReader, plane_format
from vs_paragonsr2.clip.frames import planes_of
from vs_paragonsr2.program.bands import priming
from vs_paragonsr2.program.colour import ClipSpec
from vs_paragonsr2.program.explain import cost
from vs_paragonsr2.program.fold import fold

from .comparison import checkpoint
from .harness import exhaust, in_turn, report, spent
from .processes import SOURCE

# isort: split
# After our backend, which keeps it from reporting its use to its makers.
import openvino as ov
from openvino import opset15 as opset

SIDE = 1024
"""Rows and columns of the matrices whose product measures the limit: far more arithmetic than memory."""


@dataclass(frozen=True)
class Layer:
    """The graph's parts of one kind, in a frame."""

    kind: str
    executions: int
    milliseconds: float


@dataclass(frozen=True)
class Stages:
    """One model in one precision: medians of milliseconds of processor time for a frame."""

    model: str
    precision: str
    whole: float
    """The filter on the clip, without writing anything."""
    decode: float
    """The clip alone."""
    padding: float
    """Copying the frame's planes into ones with their surroundings."""
    graph: float
    """Inference."""
    copies: float
    """The work between inferences: handing over bands, and copying results that are not rows of the frame."""
    layers: tuple[Layer, ...]
    """What ``graph`` consists of, the longest first."""
    multiply_adds: float
    """The network's program for a frame."""
    attainable: float
    """Multiply-adds a second in a large matrix product on one thread."""

    @property
    def rest(self) -> float:
        """VapourSynth, Python, and what the graph loses where several frames are computed at once."""
        return self.whole - self.decode - self.padding - self.graph - self.copies

    @property
    def limit(self) -> float:
        """Milliseconds for the multiply-adds alone."""
        return 1000 * self.multiply_adds / self.attainable


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    model: str
    precision: str
    stage: str
    milliseconds: float
    percent: float


def lines(stages: Stages) -> list[Line]:
    """The table of one model in one precision."""
    arithmetic = f"{stages.multiply_adds / 1e9:.2f}e9 multiply-adds at {stages.attainable / 1e9:.1f}e9/s a core"
    listed = [
        ("decode", stages.decode),
        ("padding", stages.padding),
        ("graph", stages.graph),
        *((f"  {layer.executions:4} {layer.kind}", layer.milliseconds) for layer in stages.layers),
        ("copies out", stages.copies),
        ("VapourSynth, Python, threads", stages.rest),
        ("whole", stages.whole),
        (arithmetic, stages.limit),
    ]
    return [Line(stages.model, stages.precision, name, ms, 100 * ms / stages.whole) for name, ms in listed]


@dataclass
class Frame:
    """What one frame took in a session, in seconds."""

    padding: float = 0
    graph: float = 0
    copies: float = 0
    layers: list[list[tuple[str, float]]] = field(default_factory=list)
    """For each inference, (kind, seconds on the clock) of each layer that was executed, in order."""


class CountedRequest:
    """An inference request that says when it ran, and for how long."""

    def __init__(self, request: Any, frame: Frame) -> None:
        self.request, self.frame = request, frame
        self.first: float | None = None
        self.reading = 0.0
        """Seconds that reading the counters took."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.request, name)

    def infer(self, **options: Any) -> None:
        begin = time.process_time()
        self.first = self.first or begin
        self.request.infer(**options)
        end = time.process_time()
        self.frame.graph += end - begin
        executed = [info for info in self.request.profiling_info if info.status == ov.ProfilingInfo.Status.EXECUTED]
        self.frame.layers.append([(f"{x.node_type}, {x.exec_type}", x.real_time.total_seconds()) for x in executed])
        self.reading += time.process_time() - end


class CountedSession(OpenVINOSession):
    """A session that notes its frames' stages, for a graph that was compiled with counters."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.noted: list[Frame] = []

    def _run(self, slot: Any, planes: Sequence[Plane], out: Sequence[Plane]) -> None:
        request, frame = slot.request, Frame()
        slot.request = counted = CountedRequest(request, frame)
        begin = time.process_time()
        super()._run(slot, planes, out)
        end = time.process_time()
        slot.request = request
        assert counted.first is not None
        frame.padding = counted.first - begin
        frame.copies = end - counted.first - frame.graph - counted.reading
        self.noted.append(frame)


def run(arguments: argparse.Namespace) -> None:
    """Measure each precision, and report."""
    model, clip = checkpoint(arguments.model), arguments.clip.resolve()
    found = [measure(model, precision, clip, arguments.frames, arguments.rounds) for precision in arguments.precisions]
    title = f"{clip.name}: milliseconds of processor time for a frame"
    report(title, found, arguments.json, [line for stages in found for line in lines(stages)])


def measure(model: str, precision: str, path: Path, frames: int, rounds: int) -> Stages:
    """Decode, upscale and run the session on the same frames, in turn.

    Args:
        model: name of a shipped model, or path of a checkpoint.
        precision: ``"f32"`` or ``"bf16"``.
        path: the clip.
        frames: how many of its frames.
        rounds: how often each is done and counted.
    """

    def source() -> vs.VideoNode:
        # Anew each time: VapourSynth and BestSource keep what they have made.
        names: dict[str, Any] = {}
        exec(SOURCE.format(clip=str(path), frames=frames), names)
        return names["clip"]

    def upscaled() -> vs.VideoNode:
        return upscale(source(), model, backend="openvino", precision=precision)

    clip = source()
    planes = [[plane.copy() for plane in planes_of(frame)] for frame in clip.frames(close=True)]
    request = request_for(clip, model, precision)
    session, product = counted_session(request, precision), matrix_product(precision)
    out = [np.empty(shape, request.spec.target.dtype) for shape in request.spec.target.shapes]

    def run_session() -> float:
        for each in planes:
            session.run(each, out)
        return 0.0

    works: list[Callable[[], float]] = [
        lambda: spent(partial(exhaust, source())).processor / frames,
        lambda: spent(partial(exhaust, upscaled())).processor / frames,
        run_session,
        lambda: min(spent(product).processor for _ in range(5)),
    ]
    in_turn(works, 1)  # so that the session's first frames do not count either
    session.noted.clear()
    decodes, wholes, _, products = in_turn(works, rounds)
    padding, graph, copies = (
        1000 * statistics.median(getattr(frame, name) for frame in session.noted) for name in ("padding", "graph", "copies")
    )
    return Stages(
        Path(model).stem,
        precision,
        whole=1000 * statistics.median(wholes),
        decode=1000 * statistics.median(decodes),
        padding=padding,
        graph=graph,
        copies=copies,
        layers=by_kind(session.noted, graph),
        multiply_adds=multiply_adds(request),
        attainable=SIDE**3 / min(products),
    )


def request_for(clip: vs.VideoNode, model: str, precision: str) -> Request[OpenVINOOptions]:
    """What upscale() asks of its backend, with one stream."""
    found = find_model(model, None)
    source = plane_format(clip.format, clip.width, clip.height)
    target = replace(source, width=source.width * found.scale, height=source.height * found.scale)
    reader = ColorimetryReader.for_clip(source, matrix=None, color_range=None, chroma_location=None)
    with clip.get_frame(0) as frame:
        spec = ClipSpec(source, target, reader.read(frame.props))
    options = load_backend("openvino").settle({"device": "CPU", "num_streams": 1, "precision": precision}, 1)
    return Request(found, spec, options, "openvino")


def counted_session(request: Request[OpenVINOOptions], precision: str) -> CountedSession:
    """The backend's session, its graph on one thread and with counters."""
    geometry = geometry_of(request, centred=precision != "f32")
    graph = ov.Core().compile_model(lower(geometry, precision), "CPU", one_thread(precision) | {"PERF_COUNT": "YES"})
    bands = BandProgram([graph], geometry.program.spec.source.height, priming(geometry), geometry.source_margin)
    return CountedSession(request.spec, bands, request.num_streams)


def one_thread(precision: str) -> dict[str, str]:
    """OpenVINO's settings for a graph on one thread."""
    return {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": "1"}


def matrix_product(precision: str) -> Callable[[], object]:
    """A product of two large matrices on one thread, ready to run."""
    values = np.random.default_rng(0).standard_normal((SIDE, SIDE)).astype(np.float32)
    left = opset.parameter(values.shape, np.float32)
    model = ov.Model([opset.matmul(left, opset.constant(values), False, False)], [left])
    request = ov.Core().compile_model(model, "CPU", one_thread(precision)).create_infer_request()
    request.set_input_tensor(ov.Tensor(values))
    return request.infer


def multiply_adds(request: Request[OpenVINOOptions]) -> float:
    """Multiply-adds of the network's program for a frame, without its surroundings."""
    spec = request.spec
    program = fold(load_checkpoint(request.model.path).parts, spec)
    return cost(program).multiply_adds * spec.source.width * spec.source.height


def by_kind(frames: Sequence[Frame], graph: float) -> tuple[Layer, ...]:
    """The kinds of layers of a frame, the longest first; together they take the ``graph`` milliseconds."""
    bands = [band for frame in frames for band in frame.layers]
    of_bands: dict[str, list[list[float]]] = {}
    for number, band in enumerate(bands):
        for kind, seconds in band:
            of_bands.setdefault(kind, [[] for _ in bands])[number].append(seconds)
    # The clock also runs while other programs do, which a kind's median does not notice.
    medians = {kind: statistics.median(map(sum, times)) for kind, times in of_bands.items()}
    scale = graph / sum(medians.values())
    kinds = [Layer(kind, sum(map(len, times)) // len(frames), scale * medians[kind]) for kind, times in of_bands.items()]
    return tuple(sorted(kinds, key=lambda layer: -layer.milliseconds))
