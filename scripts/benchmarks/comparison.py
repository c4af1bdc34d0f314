"""upscale() against vs-mlrt's OpenVINO plugin, or against another checkout of this project."""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bootstrap import BIN, ROOT

from . import peer
from .harness import report
from .processes import SOURCE, UPSCALE, Measured, Program, measure


@dataclass(frozen=True)
class Comparison:
    """Programs on one model in one precision, this checkout's first. Ratios say how many times better that one is."""

    model: str
    precision: str
    programs: list[Measured]

    @property
    def fps_ratios(self) -> list[float]:
        """The first program's median of frames a second by each program's."""
        return [self.programs[0].fps / each.fps for each in self.programs]

    @property
    def processor_ratios(self) -> list[float]:
        """Each program's median of processor time by the first one's."""
        return [each.processor_ms / self.programs[0].processor_ms for each in self.programs]


@dataclass(frozen=True)
class Line:
    """A line of the table: one program."""

    model: str
    precision: str
    program: str
    streams: str
    fps: float
    fps_ratio: float
    processor_ms: float
    """Processor time of a frame, in milliseconds."""
    processor_ratio: float
    peak_mib: float


def lines(compared: Comparison) -> list[Line]:
    """The table of one model in one precision."""
    ratios = zip(compared.programs, compared.fps_ratios, compared.processor_ratios, strict=True)
    return [
        Line(
            *(compared.model, compared.precision, each.name, str(each.streams or "own")),
            fps=each.fps,
            fps_ratio=fps_ratio,
            processor_ms=each.processor_ms,
            processor_ratio=processor_ratio,
            peak_mib=each.peak_mib,
        )
        for each, fps_ratio, processor_ratio in ratios
    ]


def run(arguments: argparse.Namespace) -> None:
    """Compare, and report."""
    if not arguments.against and (fault := peer.set_up()):
        sys.exit(f"benchmark: the peer cannot be set up in {peer.PEER}, so there is nothing to compare with:\n{fault}")
    with tempfile.TemporaryDirectory() as folder:
        found = [one for model in map(checkpoint, arguments.models) for one in compare(model, arguments, Path(folder))]
    shown = [line for one in found for line in lines(one)]
    title = f"{arguments.clip.name}, {arguments.frames} frames, medians of {arguments.rounds} rounds in turn"
    report(f"{title}; ratios: how many times better the first one is", found, arguments.json, shown)


def checkpoint(model: str) -> str:
    """A model as programs in any folder find it."""
    return str(Path(model).resolve()) if Path(model).suffix else model


def compare(model: str, arguments: argparse.Namespace, folder: Path) -> Iterator[Comparison]:
    """One model in each precision, by this checkout and by whatever it is compared with."""
    graphs = {} if arguments.against else {graph: peer.export(model, graph, folder) for graph in peer.GRAPHS}
    source = SOURCE.format(clip=str(arguments.clip.resolve()), frames=arguments.frames)
    for precision in arguments.precisions:
        candidates = [[ours("upscale", ROOT, source, model, precision)]]
        if arguments.against:
            candidates.append([ours(str(arguments.against), arguments.against.resolve(), source, model, precision)])
        candidates += [peer.programs(source, graph, onnx, precision) for graph, onnx in graphs.items()]
        measured = measure(candidates, arguments.frames, arguments.rounds, folder)
        yield Comparison(Path(model).stem, precision, measured)


def ours(name: str, checkout: Path, source: str, model: str, precision: str) -> Program:
    """upscale() of a checkout. All checkouts run in the environment of this one, with the packages that are there."""
    return Program(name, BIN, source + UPSCALE.format(checkout=str(checkout), model=model, precision=precision))
