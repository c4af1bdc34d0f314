"""Programs that upscale a clip, run by vspipe in processes of their own, in turn."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bootstrap import SUFFIX

from .harness import in_turn, median

SOURCE = """
import vapoursynth as vs
clip = vs.core.bs.VideoSource({clip!r}, showprogress=False)
clip = clip.std.SetFrameProps(_Matrix=clip.get_frame(0).props["_Matrix"] if clip.get_frame(0).props["_Matrix"] != 2 else 6)
clip = clip + clip.std.FlipHorizontal() + clip.std.FlipVertical() + clip.std.Turn180()  # no frame twice: repeats cost us nothing
if clip.num_frames < {frames}:
    raise ValueError(f"--frames is {frames}: the clip and its mirror images have {{clip.num_frames}}")
clip = clip[:{frames}]
"""
"""The beginning of every script: a clip of distinct frames."""

UPSCALE = """
import sys
sys.path.insert(0, {checkout!r})
import vs_paragonsr2
assert vs_paragonsr2.__file__.startswith({checkout!r}), vs_paragonsr2.__file__
vs_paragonsr2.upscale(clip, {model!r}, backend="openvino", precision={precision!r}).set_output()
"""
"""The rest of the script of a checkout of this project."""


@dataclass(frozen=True)
class Program:
    """Who upscales: the script, and the folder with the vspipe that runs it."""

    name: str
    bin_folder: Path
    script: str
    streams: int | None = None
    """Frames at once; None where the program chooses."""


@dataclass(frozen=True)
class Run:
    """One run of vspipe."""

    frames: int
    fps: float
    """Frames a second, not counting the start."""
    processor: float
    """Seconds that all threads worked, counting the start."""
    peak_mib: float
    """The largest amount of memory that the process had."""


@dataclass(frozen=True)
class Measured:
    """One program's runs."""

    name: str
    streams: int | None
    """Frames at once; None where the program chooses."""
    start: Run
    """A short run: its start and each of its frames cost what those of the long runs do."""
    runs: list[Run]

    @property
    def fps(self) -> float:
        """Median over the runs."""
        return median(self.runs, lambda run: run.fps)

    @property
    def processor_ms(self) -> float:
        """Processor time of a frame, not counting the start, in milliseconds; median over the runs."""
        return median(self.runs, self._milliseconds)

    @property
    def peak_mib(self) -> float:
        """Median over the runs."""
        return median(self.runs, lambda run: run.peak_mib)

    def _milliseconds(self, run: Run) -> float:
        return 1000 * (run.processor - self.start.processor) / (run.frames - self.start.frames)


def measure(candidates: Sequence[Sequence[Program]], frames: int, rounds: int, folder: Path) -> list[Measured]:
    """Run programs in turn, after short runs of each: one that warms the caches, and one that says what the start costs.

    Args:
        candidates: several programs for each place, of which the fastest one in a short run takes part.
        frames: how many frames a run has, 8 or more.
        rounds: how often each program runs.
        folder: where their scripts are written.
    """
    few = max(4, frames // 8)
    programs = [best_of(several, few, folder) for several in candidates]
    for program in programs:
        run(program, few, folder)
    starts = [run(program, few, folder) for program in programs]
    works: list[Callable[[], Run]] = [lambda program=program: run(program, frames, folder) for program in programs]  # type: ignore[misc]
    found = in_turn(works, rounds)
    return [
        Measured(program.name, program.streams, start, runs) for program, start, runs in zip(programs, starts, found, strict=True)
    ]


def best_of(programs: Sequence[Program], frames: int, folder: Path) -> Program:
    """The program that is fastest over so many frames; nothing is run to choose among one."""
    if len(programs) == 1:
        return programs[0]
    fps = [run(program, frames, folder).fps for program in programs]
    return programs[fps.index(max(fps))]


def run(program: Program, frames: int, folder: Path) -> Run:
    """Run vspipe over the first frames of a program's script. It ends the process with a message where vspipe fails."""
    if sys.platform == "win32":
        sys.exit("benchmark: Windows does not tell what a process has used; the words stages and playback run there")
    path = folder / "script.vpy"
    path.write_text(program.script, encoding="utf-8")
    command = [str(program.bin_folder / f"vspipe{SUFFIX}"), "-e", str(frames - 1), str(path), "."]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8", errors="replace") as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    found = re.search(r"Output \d+ frames in [\d.]+ seconds \(([\d.]+) fps\)", said)
    if process.returncode or not found:
        sys.exit(f"benchmark: {program.name}: vspipe ended with {process.returncode}:\n{said}")
    kibibytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)  # macOS counts bytes
    return Run(frames, float(found[1]), usage.ru_utime + usage.ru_stime, kibibytes / 1024)
