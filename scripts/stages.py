"""Where the time of a frame goes on a CPU, and how near it is to the arithmetic limit of the machine.

    python scripts/benchmark.py stages [--model realtime] [--precisions f32 bf16] [--clip CLIP] [--frames 20] [--json FILE]

All is processor time, of all threads of the process together, in medians of rounds in turn. The graph runs on one thread here; its
layers have OpenVINO's own names and counters, scaled to what the graph took. The limit is that of the program's multiply-adds at
the rate at which the same runtime multiplies large matrices on one thread in the same precision. Needs the extra ``source``.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import vapoursynth as vs
from benchmark import CLIP, SOURCE, checkpoint
from rich.console import Console
from rich.table import Table

from vs_paragonsr2 import upscale
from vs_paragonsr2.backends import Options, Request
from vs_paragonsr2.backends.base import Plane
from vs_paragonsr2.backends.openvino import Bands, OpenVINOSession, program_of
from vs_paragonsr2.backends.openvino.lowering import lower
from vs_paragonsr2.checkpoints import load_checkpoint
from vs_paragonsr2.checkpoints.models import find_model
from vs_paragonsr2.clip.colorimetry import ColorimetryReader, plane_format
from vs_paragonsr2.clip.frames import planes_of
from vs_paragonsr2.program.bands import priming
from vs_paragonsr2.program.colour import ClipSpec
from vs_paragonsr2.program.explain import cost
from vs_paragonsr2.program.fold import fold

# isort: split
# Behind our backend, which keeps it from reporting its use to its makers.
import openvino as ov
from openvino import opset15 as opset

SIDE = 1024
"""Of the matrices whose product measures the limit: far more arithmetic than memory."""


@dataclass(frozen=True)
class Stages:
    """Of one model in one precision; milliseconds of processor time for a frame, medians."""

    model: str
    precision: str
    whole: float
    """The filter on the clip, nothing written."""
    decode: float
    """The clip alone."""
    padding: float
    """From the frame's planes to ones with their surroundings."""
    graph: float
    """Inference."""
    copies: float
    """Between inferences: handing over bands, and copying those that are no rows of the frame."""
    layers: dict[str, tuple[int, float]]
    """The graph's parts by kind: executions and milliseconds."""
    multiply_adds: float
    """Of the network's program, for a frame."""
    attainable: float
    """Multiply-adds a second of a large matrix product on one thread."""

    @property
    def rest(self) -> float:
        """VapourSynth, Python, and what the graph loses where several frames are computed at once."""
        return self.whole - self.decode - self.padding - self.graph - self.copies

    @property
    def limit(self) -> float:
        """Milliseconds for the multiply-adds alone."""
        return 1000 * self.multiply_adds / self.attainable


@dataclass
class Frame:
    """What one frame took in a session, seconds."""

    padding: float = 0
    graph: float = 0
    copies: float = 0
    layers: list[list[tuple[str, float]]] = field(default_factory=list)
    """For each inference (kind, seconds on the clock) of what was executed, in order."""


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
        self.frames: list[Frame] = []

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
        self.frames.append(frame)


def main(line: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="benchmark.py stages", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="realtime", help="name of a shipped model, or a checkpoint")
    parser.add_argument("--precisions", nargs="+", choices=("f32", "bf16"), default=["f32", "bf16"])
    parser.add_argument("--clip", type=Path, default=CLIP, help="repeated if it is too short")
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(line)
    found = [measure(checkpoint(arguments.model), precision, arguments) for precision in arguments.precisions]
    for stages in found:
        show(stages, arguments)
    if arguments.json:
        listed = [{**asdict(stages), "rest": stages.rest, "limit": stages.limit} for stages in found]
        arguments.json.write_text(json.dumps(listed, indent=1) + "\n")


def measure(model: str, precision: str, arguments: argparse.Namespace) -> Stages:
    """Decode, upscale and run the session on the same frames, in turn."""

    def source() -> vs.VideoNode:
        # Anew each time: VapourSynth and BestSource keep what they have made.
        names: dict[str, Any] = {}
        exec(SOURCE.format(clip=str(arguments.clip.resolve()), frames=arguments.frames), names)
        return names["clip"]

    clip = source()
    frames = [[plane.copy() for plane in planes_of(frame)] for frame in clip.frames(close=True)]
    request = request_for(clip, model, precision)
    session, product = counted_session(request, precision), matrix_product(precision)
    out = [np.empty(shape, request.spec.target.dtype) for shape in request.spec.target.shapes]
    decodes: list[float] = []
    wholes: list[float] = []
    products: list[float] = []
    for number in range(1 + arguments.rounds):
        if number == 1:  # the first one was to warm up
            for found in (session.frames, decodes, wholes, products):
                found.clear()
        for clip, spent in (
            (source(), decodes),
            (upscale(source(), model, backend="openvino", precision=precision), wholes),
        ):
            spent.append(processor_time(partial(exhaust, clip)) / len(frames))
        for planes in frames:
            session.run(planes, out)
        products += [processor_time(product) for _ in range(5)]
    milliseconds = {
        name: 1000 * statistics.median(getattr(frame, name) for frame in session.frames) for name in ("padding", "graph", "copies")
    }
    return Stages(
        Path(model).stem,
        precision,
        whole=1000 * statistics.median(wholes),
        decode=1000 * statistics.median(decodes),
        **milliseconds,
        layers=by_kind(session.frames, milliseconds["graph"]),
        multiply_adds=multiply_adds(request),
        attainable=SIDE**3 / min(products),
    )


def exhaust(clip: vs.VideoNode) -> None:
    """Ask for all frames."""
    for _ in clip.frames(close=True):
        pass


def processor_time(work: Callable[[], object]) -> float:
    """Seconds that all threads of the process worked."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def request_for(clip: vs.VideoNode, model: str, precision: str) -> Request:
    """What upscale() asks for, with one stream."""
    found = find_model(model, None)
    source = plane_format(clip.format, clip.width, clip.height)
    target = replace(source, width=source.width * found.scale, height=source.height * found.scale)
    reader = ColorimetryReader.for_clip(source, matrix=None, color_range=None, chroma_location=None)
    with clip.get_frame(0) as frame:
        spec = ClipSpec(source, target, reader.read(frame.props))
    return Request(found, spec, Options(backend="openvino", device="CPU", num_streams=1, precision=precision))


def counted_session(request: Request, precision: str) -> CountedSession:
    """The backend's session, its graph on one thread and with counters."""
    program, geometry = program_of(request, centred=precision != "f32")
    graph = ov.Core().compile_model(lower(program, geometry, precision), "CPU", one_thread(precision) | {"PERF_COUNT": "YES"})
    bands = Bands([graph], program.spec.source.height, priming(program, geometry), geometry.given)
    return CountedSession(request.spec, bands, request.options.num_streams)


def one_thread(precision: str) -> dict[str, str]:
    """OpenVINO's settings for it."""
    return {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": "1"}


def matrix_product(precision: str) -> Callable[[], object]:
    """A product of two large matrices on one thread, ready to run."""
    values = np.random.default_rng(0).standard_normal((SIDE, SIDE)).astype(np.float32)
    left = opset.parameter(values.shape, np.float32)
    model = ov.Model([opset.matmul(left, opset.constant(values), False, False)], [left])
    request = ov.Core().compile_model(model, "CPU", one_thread(precision)).create_infer_request()
    request.set_input_tensor(ov.Tensor(values))
    return request.infer


def multiply_adds(request: Request) -> float:
    """Of the network's program for a frame, without what is about it."""
    spec = request.spec
    program = fold(load_checkpoint(request.model.path).parts, spec)
    return cost(program).multiply_adds * spec.source.width * spec.source.height


def by_kind(frames: Sequence[Frame], graph: float) -> dict[str, tuple[int, float]]:
    """Executions and milliseconds of a frame by kind of layer, the largest first; together they make the graph's."""
    bands = [band for frame in frames for band in frame.layers]
    of_bands: dict[str, list[list[float]]] = {}
    for number, band in enumerate(bands):
        for kind, seconds in band:
            of_bands.setdefault(kind, [[] for _ in bands])[number].append(seconds)
    # The clock also runs while other programs do: a kind's median does not know of it.
    medians = {kind: statistics.median(map(sum, times)) for kind, times in of_bands.items()}
    scale = graph / sum(medians.values())
    kinds = {kind: (sum(map(len, times)) // len(frames), scale * medians[kind]) for kind, times in of_bands.items()}
    return dict(sorted(kinds.items(), key=lambda item: -item[1][1]))


def show(stages: Stages, arguments: argparse.Namespace) -> None:
    title = f"{stages.model}, {stages.precision}, {arguments.clip.name}: processor time for a frame"
    table = Table("stage", title=title)
    for column in ("ms", "share"):
        table.add_column(column, justify="right")

    def row(name: str, milliseconds: float) -> None:
        table.add_row(name, f"{milliseconds:.2f}", f"{milliseconds / stages.whole:.1%}")

    row("decode", stages.decode)
    row("padding", stages.padding)
    row("graph", stages.graph)
    for kind, (executions, milliseconds) in stages.layers.items():
        row(f"  {executions:4} {kind}", milliseconds)
    row("copies out", stages.copies)
    row("VapourSynth, Python, threads", stages.rest)
    table.add_section()
    row("whole", stages.whole)
    row(f"{stages.multiply_adds / 1e9:.2f}e9 multiply-adds at {stages.attainable / 1e9:.1f}e9/s a core", stages.limit)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
