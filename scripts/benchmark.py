"""Time the OpenVINO backend against vs-mlrt's OpenVINO plugin: vspipe on a real clip to nowhere, in turn, medians.

    python scripts/benchmark.py [--models realtime CHECKPOINT] [--clip CLIP] [--json FILE]
    python scripts/benchmark.py stages --help
    python scripts/benchmark.py playback --help

The peer runs in an environment of its own, which is set up where it is missing, with RGBS by resize.Bicubic and back as its users
write it, at the best of several numbers of streams: on the ONNX of the plain network, and on that of our folded one for RGB, where
what is left is the way of a frame and YUV. Ours runs as upscale() chooses. Processor time is that of all threads of vspipe, its
start apart; other programs that run change it less than frames per second.

``stages`` says where a frame's time goes, and how near it is to the limit of the machine; ``playback`` plays against a clock. They
need the extra ``export``.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

import filelock
from bootstrap import BIN, ROOT, SUFFIX
from rich.console import Console
from rich.table import Table

MODULES = ("playback", "stages")
"""Other benchmarks, each with a ``main(line)``, that are imported when they are asked for: this one has to stay small in memory."""

PEER = ROOT / ".venv-peer"
PEER_PACKAGES = ("vapoursynth", "vapoursynth-bestsource", "vapoursynth-mlrt-ov")

CLIP = ROOT / "tests/clips/flower_960x540.mp4"

SOURCE = """
import vapoursynth as vs
clip = vs.core.bs.VideoSource({clip!r}, showprogress=False)
clip = clip.std.SetFrameProps(_Matrix=clip.get_frame(0).props["_Matrix"] if clip.get_frame(0).props["_Matrix"] != 2 else 6)
clip = clip + clip.std.FlipHorizontal() + clip.std.FlipVertical() + clip.std.Turn180()  # no frame twice: repeats cost us nothing
if clip.num_frames < {frames}:
    raise ValueError(f"--frames is {frames}: the clip and its mirror images have {{clip.num_frames}}")
clip = clip[:{frames}]
"""
OURS = """
from vs_paragonsr2 import upscale
upscale(clip, {model!r}, backend="openvino", precision={precision!r}).set_output()
"""
THEIRS = """
rgb = clip.resize.Bicubic(format=vs.RGBS)
config = lambda: dict(INFERENCE_PRECISION_HINT={precision!r})
rgb = vs.core.ov.Model([rgb], {onnx!r}, device="CPU", num_streams={streams}, config=config)
rgb.resize.Bicubic(format=clip.format.id, matrix=clip.get_frame(0).props["_Matrix"]).set_output()
"""


@dataclass(frozen=True)
class Run:
    """One run of vspipe."""

    frames: int
    fps: float
    """Without the start."""
    processor: float
    """Seconds that all threads worked, with the start."""
    peak_mib: float
    """The largest amount of memory that the process had."""


@dataclass(frozen=True)
class Program:
    """Who upscales: its script, and where its vspipe is."""

    name: str
    bin_folder: Path
    script: str
    streams: int | None = None
    """None where it chooses."""


@dataclass(frozen=True)
class Measured:
    """One program's runs of the rounds."""

    program: str
    streams: int | None
    start: Run
    """A short one, whose frames cost as much and whose start does too."""
    runs: list[Run]

    def median(self, of: Callable[[Run], float]) -> float:
        """Over the rounds."""
        return statistics.median(map(of, self.runs))

    def milliseconds(self, run: Run) -> float:
        """Processor time for a frame of a run."""
        return 1000 * (run.processor - self.start.processor) / (run.frames - self.start.frames)


@dataclass(frozen=True)
class Result:
    """One model in one precision: ours first, then the peer's."""

    model: str
    precision: str
    programs: list[Measured]

    def fps_ratio(self, peer: Measured) -> float:
        """How many times faster ours is: median of the ratios of neighbouring runs."""
        return statistics.median(a.fps / b.fps for a, b in zip(self.programs[0].runs, peer.runs, strict=True))

    def processor_ratio(self, peer: Measured) -> float:
        """How many times less processor time ours takes, likewise."""
        ours = self.programs[0]
        return statistics.median(peer.milliseconds(b) / ours.milliseconds(a) for a, b in zip(ours.runs, peer.runs, strict=True))


def main() -> None:
    if sys.argv[1:2] and sys.argv[1] in MODULES:
        import_module(sys.argv[1]).main(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["realtime"], help="names of shipped models, or checkpoints")
    parser.add_argument("--precisions", nargs="+", default=["f32", "bf16"])
    parser.add_argument("--clip", type=Path, default=CLIP, help="of at least a quarter as many frames: mirrored three times")
    parser.add_argument("--frames", type=int, default=100, help="8 or more (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.frames < 8:
        parser.error(f"argument --frames: is {arguments.frames}: expected 8 or more, of which the start's are subtracted")
    fault = set_up_peer()
    if fault:
        sys.exit(f"benchmark: the peer cannot be set up in {PEER}, so there is nothing to compare with:\n{fault}")
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for model in map(checkpoint, arguments.models):
            onnx = [export(model, graph, Path(folder)) for graph in ("plain", "folded")]
            results += [compare(model, precision, onnx, arguments, Path(folder)) for precision in arguments.precisions]
    show(results, arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps([figures(result) for result in results], indent=1) + "\n")


def checkpoint(model: str) -> str:
    """A model as any folder's programs find it."""
    return str(Path(model).resolve()) if Path(model).suffix else model


def set_up_peer() -> str | None:
    """Make the peer's environment where it is missing, one process at a time; what went wrong, if anything did."""
    try:
        with filelock.FileLock(f"{PEER}.lock"):
            return _set_up_peer()
    except OSError as error:
        return str(error)


def _set_up_peer() -> str | None:
    python, vapoursynth = (PEER / BIN.name / f"{name}{SUFFIX}" for name in ("python", "vapoursynth"))
    commands = [[python, "-m", "pip", "install", "--quiet", *PEER_PACKAGES], [vapoursynth, "config"]]
    if not python.exists():
        commands.insert(0, [Path(sys.executable), "-m", "venv", PEER])
    for command in commands:
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stdout + done.stderr
    return None


def export(model: str, graph: str, folder: Path) -> Path:
    """The ONNX of a model's graph, of RGB at any size."""
    onnx = folder / f"{Path(model).stem}_{graph}.onnx"
    # In a process of its own: a child's peak memory is never less than what its parent had when it was started.
    command = [sys.executable, str(ROOT / "scripts/export_onnx.py"), model, "--graph", graph, "--out", str(onnx)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"benchmark: {model}: its {graph} ONNX cannot be made:\n{done.stderr}")
    return onnx


def compare(model: str, precision: str, onnx: Sequence[Path], arguments: argparse.Namespace, folder: Path) -> Result:
    """All in turn, after short runs of each that warm the caches, choose the peer's streams, and say what the start costs."""
    source = SOURCE.format(clip=str(arguments.clip.resolve()), frames=arguments.frames)
    cores = os.cpu_count() or 1
    candidates = [[Program("upscale", BIN, source + OURS.format(model=model, precision=precision))]]
    for name, path in zip(("vs-mlrt", "vs-mlrt, folded"), onnx, strict=True):
        scripts = {n: source + THEIRS.format(onnx=str(path), precision=precision, streams=n) for n in sorted({1, 2, cores})}
        candidates.append([Program(name, PEER / BIN.name, script, n) for n, script in scripts.items()])
    few = max(4, arguments.frames // 8)
    programs = [best_of(several, few, folder) for several in candidates]
    starts = [run(program, few, folder) for program in programs]
    rounds = [[run(program, arguments.frames, folder) for program in programs] for _ in range(arguments.rounds)]
    measured = [
        Measured(program.name, program.streams, start, list(runs))
        for program, start, runs in zip(programs, starts, zip(*rounds, strict=True), strict=True)
    ]
    return Result(model, precision, measured)


def best_of(programs: Sequence[Program], frames: int, folder: Path) -> Program:
    """The program that is fastest over so many frames."""
    fps = [run(program, frames, folder).fps for program in programs]
    return programs[fps.index(max(fps))]


def run(program: Program, frames: int, folder: Path) -> Run:
    """Run vspipe over the first frames of a script."""
    path = folder / "script.vpy"
    path.write_text(program.script)
    command = [str(program.bin_folder / f"vspipe{SUFFIX}"), "-e", str(frames - 1), str(path), "."]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    found = re.search(r"Output \d+ frames in [\d.]+ seconds \(([\d.]+) fps\)", said)
    if process.returncode or not found:
        sys.exit(f"benchmark: {program.name}: vspipe ended with {process.returncode}:\n{said}")
    return Run(frames, float(found[1]), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def figures(result: Result) -> dict[str, object]:
    """A result with the medians and ratios that its table shows."""
    programs = [
        {
            **asdict(measured),
            "fps": measured.median(lambda run: run.fps),
            "processor_ms": measured.median(measured.milliseconds),
            "peak_mib": measured.median(lambda run: run.peak_mib),
            "fps_ratio": result.fps_ratio(measured),
            "processor_ratio": result.processor_ratio(measured),
        }
        for measured in result.programs
    ]
    return {"model": result.model, "precision": result.precision, "programs": programs}


def show(results: Sequence[Result], arguments: argparse.Namespace) -> None:
    title = f"{arguments.clip.name}, {arguments.frames} frames, medians of {arguments.rounds} rounds in turn"
    table = Table(title=title, caption="times: what ours is faster by, and what it takes less of")
    for column in ("model", "precision", "program", "streams", "fps", "times", "processor ms a frame", "times", "MiB"):
        table.add_column(column, justify="left" if column in ("model", "precision", "program") else "right")
    for result in results:
        for measured in result.programs:
            fps, mib = measured.median(lambda run: run.fps), measured.median(lambda run: run.peak_mib)
            table.add_row(
                *(Path(result.model).stem, result.precision, measured.program, str(measured.streams or "own")),
                *(f"{fps:.2f}", f"{result.fps_ratio(measured):.2f}"),
                *(f"{measured.median(measured.milliseconds):.1f}", f"{result.processor_ratio(measured):.2f}", f"{mib:.0f}"),
            )
        table.add_section()
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
