"""``vs-paragonsr2 doctor``: what is installed, what is chosen, and what this machine can play in real time.

The speeds are measured through the filter itself, on generated frames of 8-bit 4:2:0, and kept for ``model="auto"``.
"""

import argparse
import platform
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from ..backends import backends, find_backend
from ..checkpoints.models import find_model, shipped_models
from ..clip.speed import AUTO, MEASURED, Speed, keep_speed, known_speed, runtime_packages, verdict, version_of
from ..support.arguments import number, whole_number
from ..support.cache_folder import cache_folder
from ..support.errors import ParagonSR2Error
from ..support.processors import processors
from .backends import devices

if TYPE_CHECKING:
    import vapoursynth as vs

TIMED = 640, 360
"""Width and height of the frames that are timed."""

SIZES = ((640, 360), (854, 480), (960, 540), (1280, 720), (1920, 1080))
RATES = (24, 30, 60)


def add_to(words: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the word."""
    text = "what is installed, what is chosen, and what this machine can play"
    parser = words.add_parser("doctor", help=text, description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of measurement in all, default 10")
    for name in ("backend", "device", "precision"):
        parser.add_argument(f"--{name}", help="as in upscale(); what is measured so, model='auto' knows so")
    parser.add_argument("--num-streams", type=int, help="likewise")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure and say. Raises ParagonSR2Error for what upscale() refuses."""
    console = Console(highlight=False)
    seconds = number("--seconds", arguments.seconds, 0.1)
    backend = arguments.backend
    given: dict[str, object] = {name: value for name in MEASURED if (value := getattr(arguments, name)) is not None}
    if "num_streams" in given:
        whole_number("--num-streams", given["num_streams"], 1)
    if backend is not None:
        find_backend(backend)
    shipped = sorted(shipped_models())
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        ("versions", ", ".join(versions())),
        ("processors", str(len(processors()))),
        ("backends", "\n".join(f"{name}: {devices(backend)}" for name, backend in backends().items())),
        ("cache", str(cache_folder())),
        ("models", ", ".join(f"{name} {scale}x" for name, scale in shipped)),
    ):
        facts.add_row(name, value)
    console.print(facts)
    timed = [(name, scale) for name, scale in shipped if name in AUTO]
    said: list[str] = []
    for name, scale in timed:
        with console.status(f"{name} {scale}x"):
            speed = measured(name, scale, backend, given, seconds / len(timed), said)
        keep_speed(find_model(name, scale), backend, given, speed)
        if said:
            console.print(*said, sep="\n", soft_wrap=True)
            said.clear()
        console.print(playable(f"\n{name} {scale}x", speed))
    if any(known_speed(find_model(*model), backend, given) is None for model in timed):
        console.print(f"{cache_folder()} cannot be written, so that model='auto' will not know of this")


def versions() -> Iterator[str]:
    """The versions of what decides the speed, the package itself first."""
    yield f"Python {platform.python_version()}"
    for package in ("vs_paragonsr2", "vapoursynth", *runtime_packages()):
        if version := version_of(package):
            yield f"{package} {version}"


def measured(name: str, scale: int, backend: str | None, given: Mapping[str, object], seconds: float, said: list[str]) -> Speed:
    """The speed of a model through the filter, measured for about so many seconds; what the filter logs goes to ``said``."""
    # Here, since the other words of the command do without.
    import vapoursynth as vs

    from ..clip.upscale import upscale

    def hear(kind: object, message: str) -> None:
        if message.startswith("upscale: "):
            said.append(message.removeprefix("upscale: "))

    handle = vs.core.add_log_handler(hear)
    try:
        clip = upscale(moving(*TIMED), name, scale=scale, backend=backend, wait=True, **given)  # type: ignore[arg-type]
        at_once = vs.core.num_threads
        elapsed(clip, 0, at_once)  # the first frames, whose memory is new to the process, do not count
        trial = elapsed(clip, at_once, at_once) / at_once
        count = max(at_once, round(seconds / trial) - 2 * at_once)
        return Speed(TIMED[0] * TIMED[1] * count / elapsed(clip, 2 * at_once, count))
    except vs.Error as error:
        raise ParagonSR2Error(f"{name} {scale}x: {error}") from error
    finally:
        vs.core.remove_log_handler(handle)


def moving(width: int, height: int) -> "vs.VideoNode":
    """Frames without end, of which no two in a row are the same: what is repeated need not be computed."""
    import vapoursynth as vs

    grey = vs.core.std.BlankClip(format=vs.YUV420P8, width=width, height=height, length=1, keep=True)
    different = vs.core.std.Splice([grey.std.BlankClip(color=[luma, 128, 128], keep=True) for luma in range(16, 236)])
    return different.std.SetFrameProps(_Matrix=6).std.Loop()  # what is likely at this size, so that one session does


def elapsed(clip: "vs.VideoNode", first: int, count: int) -> float:
    """Seconds that some frames take, as many asked for at once as VapourSynth has threads."""
    began = time.perf_counter()
    for _ in clip[first : first + count].frames(close=True):
        pass
    return time.perf_counter() - began


def playable(title: str, speed: Speed) -> Table:
    """What can be played, in plain words."""
    table = Table(title=title, title_justify="left")
    for column in ("clip", *(f"at {rate} fps" for rate in RATES)):
        table.add_column(column)
    for size in SIZES:
        table.add_row("{}x{}".format(*size), *(verdict(speed.busy(*size, rate), rate) for rate in RATES))
    return table
