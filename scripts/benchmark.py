"""Time the OpenVINO backend against vs-mlrt's OpenVINO plugin: vspipe on a real clip to nowhere, in turn, medians.

    python scripts/benchmark.py [--models realtime CHECKPOINT] [--clip CLIP] [--json FILE]
    python scripts/benchmark.py playback ...    against a clock: see scripts/playback.py

The peer runs in an environment of its own, which is set up where it is missing, on the ONNX of the plain network, with RGBS by
resize.Bicubic and back as its users write it, at the better of one and two streams. Needs the extra ``export``.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from bootstrap import BIN, ROOT, SUFFIX
from rich.console import Console
from rich.table import Table

PEER = ROOT / ".venv-peer"
PEER_PACKAGES = ("vapoursynth", "vapoursynth-bestsource", "vapoursynth-mlrt-ov")

SOURCE = """
import vapoursynth as vs
clip = vs.core.bs.VideoSource({clip!r}, showprogress=False)
clip = clip.std.SetFrameProps(_Matrix=clip.get_frame(0).props["_Matrix"] if clip.get_frame(0).props["_Matrix"] != 2 else 6)
clip = clip.std.Loop(1 + {frames} // clip.num_frames)[:{frames}]
"""
OURS = """
from vs_paragonsr2 import upscale
upscale(clip, {model!r}, backend="openvino", precision={precision!r}, num_streams={streams}).set_output()
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

    fps: float
    peak_mib: float
    """The largest amount of memory that the process had."""


@dataclass(frozen=True)
class Result:
    """One model in one precision."""

    model: str
    precision: str
    ours: list[Run]
    theirs: list[Run]

    @property
    def ratio(self) -> float:
        """Median of the ratios of neighbouring runs."""
        return statistics.median(a.fps / b.fps for a, b in zip(self.ours, self.theirs, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["realtime"], help="names of shipped models, or checkpoints")
    parser.add_argument("--precisions", nargs="+", default=["f32", "bf16"])
    parser.add_argument("--clip", type=Path, default=ROOT / "tests/clips/flower_960x540.mp4", help="repeated if it is too short")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    fault = set_up_peer()
    if fault:
        sys.exit(f"benchmark: the peer cannot be set up in {PEER}, so there is nothing to compare with:\n{fault}")
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for model in arguments.models:
            onnx = Path(folder) / f"{Path(model).stem}.onnx"
            # In a process of its own: a child's peak memory is never less than what its parent had when it was started.
            command = [sys.executable, str(ROOT / "scripts/export_onnx.py"), model, "--out", str(onnx)]
            subprocess.run(command, check=True, capture_output=True)
            results += [compare(model, onnx, precision, arguments, Path(folder)) for precision in arguments.precisions]
    show(results, arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps([{**asdict(r), "ratio": r.ratio} for r in results], indent=1) + "\n")


def set_up_peer() -> str | None:
    """Make the peer's environment where it is missing; what went wrong, if anything did."""
    python = PEER / BIN.name / f"python{SUFFIX}"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", PEER], check=True)
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", *PEER_PACKAGES], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        command = [str(PEER / BIN.name / f"vapoursynth{SUFFIX}"), "config"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else None


def compare(model: str, onnx: Path, precision: str, arguments: argparse.Namespace, folder: Path) -> Result:
    """Both in turn, after a short run of each that warms the caches and chooses the streams."""
    source = SOURCE.format(clip=str(arguments.clip.resolve()), frames=arguments.frames)
    ours = [OURS.format(model=model, precision=precision, streams=n) for n in (1, 2)]
    theirs = [THEIRS.format(onnx=str(onnx), precision=precision, streams=n) for n in (1, 2)]
    best = []
    for bin_folder, scripts in ((BIN, ours), (PEER / BIN.name, theirs)):
        warm = [run(bin_folder, source + script, max(4, arguments.frames // 8), folder).fps for script in scripts]
        best.append(source + scripts[warm.index(max(warm))])
    rounds = [
        (run(BIN, best[0], arguments.frames, folder), run(PEER / BIN.name, best[1], arguments.frames, folder))
        for _ in range(arguments.rounds)
    ]
    return Result(model, precision, [a for a, _ in rounds], [b for _, b in rounds])


def run(bin_folder: Path, script: str, frames: int, folder: Path) -> Run:
    """Run vspipe over the first frames of a script."""
    path = folder / "script.vpy"
    path.write_text(script)
    command = [str(bin_folder / f"vspipe{SUFFIX}"), "-e", str(frames - 1), str(path), "."]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    found = re.search(r"Output \d+ frames in [\d.]+ seconds \(([\d.]+) fps\)", said)
    if process.returncode or not found:
        sys.exit(f"benchmark: vspipe ended with {process.returncode}:\n{said}")
    return Run(float(found[1]), usage.ru_maxrss / 1024)


def show(results: list[Result], arguments: argparse.Namespace) -> None:
    table = Table(title=f"{arguments.clip.name}, {arguments.frames} frames, medians of {arguments.rounds} rounds in turn")
    for column in ("model", "precision", "fps", "peer fps", "ratio", "MiB", "peer MiB"):
        table.add_column(column, justify="left" if column in ("model", "precision") else "right")
    for r in results:
        (fps, mib), (peer_fps, peer_mib) = (
            (statistics.median(x.fps for x in runs), statistics.median(x.peak_mib for x in runs)) for runs in (r.ours, r.theirs)
        )
        table.add_row(
            Path(r.model).stem, r.precision, f"{fps:.2f}", f"{peer_fps:.2f}", f"{r.ratio:.2f}", f"{mib:.0f}", f"{peer_mib:.0f}"
        )
    Console().print(table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["playback"]:
        from playback import main as play

        play(sys.argv[2:])
    else:
        main()
