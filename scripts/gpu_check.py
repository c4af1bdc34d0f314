"""Check and time the sessions for NVIDIA's cards on the card that is here, in under eight minutes, without a network.

    python scripts/gpu_check.py [--quick] [--out benchmarks] [--device cpu]

Needs PyTorch, numpy and safetensors; VapourSynth for frames through the filter, and Torch-TensorRT for its engines, where they are
installed. ``--device cpu --quick`` goes through the same parts on CPU tensors; no figure of it says anything of a card.
"""

import argparse
import json
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from vs_paragonsr2.backends import Options, Request, Session, load_backend  # noqa: E402
from vs_paragonsr2.backends.base import Plane  # noqa: E402
from vs_paragonsr2.backends.devices import CUDALane, driver_version  # noqa: E402
from vs_paragonsr2.backends.lanes import LanesSession  # noqa: E402
from vs_paragonsr2.backends.reference import ReferenceSession  # noqa: E402
from vs_paragonsr2.backends.switch import SwitchingSession, test_picture  # noqa: E402
from vs_paragonsr2.checkpoint import load_network  # noqa: E402
from vs_paragonsr2.colour import ClipSpec, Colorimetry, Matrix, PlaneFormat, Range, Siting  # noqa: E402
from vs_paragonsr2.errors import ParagonSR2Error  # noqa: E402
from vs_paragonsr2.network import ParagonSR2  # noqa: E402
from vs_paragonsr2.weights import Model, find_model  # noqa: E402

SECONDS = 420
"""After which nothing new is begun."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What is gone through."""

    device: str
    sizes: tuple[tuple[int, int], ...]
    """(height, width) that are timed."""
    checked: tuple[int, int]
    """(height, width) that are compared."""
    lanes: tuple[int, ...]
    frames: int
    backends: tuple[str, ...]
    deadline: float

    @property
    def is_late(self) -> bool:
        return time.monotonic() > self.deadline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="small pictures, few frames")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu_check: PyTorch finds no CUDA device here; --device cpu --quick only shows that the check itself works")
    plan = plan_of(arguments.device, arguments.quick)
    with tempfile.TemporaryDirectory() as folder:
        found = check(plan, models(Path(folder)))
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"{re.sub(r'[^A-Za-z0-9]+', '-', found['device']['name']).strip('-')}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    for title in ("correctness", "speed"):
        sys.stderr.write(f"\n{title}\n{table(found[title])}\n")
    sys.stderr.write(f"\n{json.dumps(found['device'])}\n{json.dumps(found['ceilings'])}\n{path}\n")
    if not all(row.get("right", False) for row in found["correctness"]):
        sys.exit("gpu_check: a session is not right, or did not open")


def plan_of(device: str, quick: bool) -> Plan:
    """All of it, or little enough for a test."""
    backends = ("torch", *(("tensorrt",) if device == "cuda" and find_spec("torch_tensorrt") else ()))
    deadline = time.monotonic() + SECONDS
    if quick:
        return Plan(device, ((32, 48),), (24, 32), (2,), 6, backends, deadline)
    return Plan(device, ((720, 1280), (1080, 1920)), (96, 128), (1, 2, 4, 8), 300, backends, deadline)


def models(folder: Path) -> dict[str, Model]:
    """Realtime and Stream at 2x: what ships, or else random weights, which take the same time."""
    found = {}
    for name in ("realtime", "stream"):
        try:
            found[name] = find_model(name, 2)
        except ParagonSR2Error:
            torch.manual_seed(0)
            path = folder / f"{name}.pth"
            torch.save(ParagonSR2(name, 2).state_dict(), path)
            found[name] = find_model(path, 2)
    return found


def check(plan: Plan, which: dict[str, Model]) -> Row:
    """Correctness first, then the tables; what there was no time for says so."""
    correctness = [row for name, model in which.items() for row in errors(plan, name, model)]
    limits = ceilings(torch.device(plan.device))
    speed = [row for name, model in which.items() for size in plan.sizes for row in times(plan, name, model, size, limits)]
    return {"device": device_facts(plan.device), "ceilings": limits, "correctness": correctness, "speed": speed}


def device_facts(device: str) -> Row:
    """What ran it."""
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    return {"name": name, "driver": driver_version(), "torch": torch.__version__, "cuda": torch.version.cuda}


def clip_spec(size: tuple[int, int], bits: int = 8) -> ClipSpec:
    """YUV 4:2:0, BT.709, enlarged twice."""
    height, width = size
    source = PlaneFormat("YUV", bits, False, 1, 1, width, height)
    target = PlaneFormat("YUV", bits, False, 1, 1, 2 * width, 2 * height)
    return ClipSpec(source, target, Colorimetry(Matrix.BT709, Range.LIMITED, Siting.LEFT))


def opened(
    plan: Plan, backend: str, model: Model, spec: ClipSpec, streams: int = 1, precision: str | None = None
) -> SwitchingSession:
    """A session of a backend, its engine built."""
    options = Options(backend=backend, device=plan.device, num_streams=streams, precision=precision, wait=True)
    session = load_backend(backend).open_session(Request(model, spec, options))
    assert isinstance(session, SwitchingSession)
    return session


def blank(spec: ClipSpec) -> list[Plane]:
    return [np.zeros(shape, spec.target.dtype) for shape in spec.target.shapes]


def errors(plan: Plan, name: str, model: Model) -> Iterable[Row]:
    """Each session in each precision against the plain network in float64, in steps of 8 bits."""
    for bits in (8, 10):
        spec = clip_spec(plan.checked, bits)
        planes, exact = test_picture(spec), blank(spec)
        ReferenceSession(load_network(model.path).double(), spec, torch.device("cpu"), 1, np.float64).run(planes, exact)
        for backend in plan.backends:
            for precision in ("f32", "f16"):
                row: Row = {"model": name, "backend": backend, "precision": precision, "bits": bits}
                try:
                    out = blank(spec)
                    opened(plan, backend, model, spec, precision=precision).run(planes, out)
                except Exception as error:
                    yield {**row, "right": False, "fault": f"{type(error).__name__}: {error}"[:200]}
                    continue
                off = np.concatenate([np.abs(a.astype(float) - b).ravel() for a, b in zip(out, exact, strict=True)])
                off /= 1 << (bits - 8)
                yield {**row, "mean": float(off.mean()), "worst": float(off.max()), "right": bool(off.max() <= 1)}


def ceilings(device: torch.device) -> Row:
    """Measured: copies within the device and over the bus in GB/s, products of half-precision matrices in TFLOP/s."""
    if device.type != "cuda":
        return {}
    n = 1 << 28
    a, b = (torch.empty(n, dtype=torch.uint8, device=device) for _ in range(2))
    host = torch.empty(n, dtype=torch.uint8, pin_memory=True)
    x = torch.randn(8192, 8192, dtype=torch.float16, device=device)
    return {
        "copy": 2 * n / _milliseconds(lambda: b.copy_(a)) / 1e6,
        "up": n / _milliseconds(lambda: a.copy_(host, non_blocking=True)) / 1e6,
        "down": n / _milliseconds(lambda: host.copy_(a, non_blocking=True)) / 1e6,
        "half_tflops": 2 * 8192**3 / _milliseconds(lambda: x @ x) / 1e9,
    }


def _milliseconds(work: Callable[[], object], runs: int = 10) -> float:
    """The median of some runs, by events."""
    taken = []
    for _ in range(runs + 3):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        taken.append(begin.elapsed_time(end))
    return statistics.median(taken[3:])


def times(plan: Plan, name: str, model: Model, size: tuple[int, int], limits: Row) -> Iterable[Row]:
    """A row for the naive way, and one for each session and number of lanes."""
    spec = clip_spec(size)
    row: Row = {"model": name, "source": f"{size[1]}x{size[0]}"}
    if plan.is_late:
        yield {**row, "fault": "no time left"}
        return
    naive = naive_fps(plan, model, spec)
    yield {**row, "way": "naive", "fps": naive}
    for backend in plan.backends:
        for lanes in plan.lanes:
            if plan.is_late:
                yield {**row, "way": backend, "lanes": lanes, "fault": "no time left"}
                continue
            try:
                session = opened(plan, backend, model, spec, lanes)
                timed = timed_session(plan, session, spec, limits)
            except Exception as error:
                yield {**row, "way": backend, "lanes": lanes, "fault": f"{type(error).__name__}: {error}"[:200]}
                continue
            yield {**row, "way": backend, "lanes": lanes, **timed, "ratio": timed["fps"] / naive}


def timed_session(plan: Plan, session: SwitchingSession, spec: ClipSpec, limits: Row) -> Row:
    """Of one session: the device's time, the host's, frames per second through the session and its memory."""
    inner = session.current
    assert isinstance(inner, LanesSession)
    lane, planes, out = inner.lanes[0], test_picture(spec), blank(spec)
    timed: Row = {"tiles": len(inner.layout.parts), "mib": session.device_bytes / 2**20}
    if isinstance(lane.lane, CUDALane):
        timed["device_ms"] = lane.lane.milliseconds(20)
        up, down = (sum(plane.nbytes for plane in group) for group in (planes, out))
        timed["bus_share"] = (up / limits["up"] + down / limits["down"]) / 1e6 / timed["device_ms"]
    began = time.perf_counter()
    for _ in range(5):
        lane.take_in(planes)
        lane.hand_out(out)
    timed["host_ms"] = (time.perf_counter() - began) / 5 * 1000
    timed["fps"] = frames_per_second(plan, session, spec, len(inner.lanes))
    timed["host_share"] = timed["host_ms"] / 1000 * timed["fps"] / len(inner.lanes)
    if find_spec("vapoursynth"):
        timed["filter_fps"] = filter_fps(plan, session, spec, len(inner.lanes))
    return timed


def frames_per_second(plan: Plan, session: Session, spec: ClipSpec, threads: int) -> float:  # type: ignore[type-arg]
    """As VapourSynth's threads ask for them, into planes of their own."""
    planes, mine = test_picture(spec), threading.local()

    def one(_: int) -> None:
        if not hasattr(mine, "out"):
            mine.out = blank(spec)
        session.run(planes, mine.out)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(threads * 4)))
        began = time.perf_counter()
        list(pool.map(one, range(plan.frames)))
        return plan.frames / (time.perf_counter() - began)


def filter_fps(plan: Plan, session: SwitchingSession, spec: ClipSpec, lanes: int) -> float:
    """Through VapourSynth and the filter's own lanes, from a clip that costs nothing, with the session that is open."""
    import vapoursynth as vs

    from vs_paragonsr2.filter import _in_lanes
    from vs_paragonsr2.frames import new_frame, planes_of

    source = vs.core.std.BlankClip(
        format=vs.YUV420P8, width=spec.source.width, height=spec.source.height, length=plan.frames, keep=True
    )

    class Opened:
        def frame(self, n: int, frame: vs.VideoFrame) -> vs.VideoFrame:
            out = new_frame(source.format, spec.target.width, spec.target.height, props_from=frame)
            session.run(planes_of(frame), planes_of(out))
            return out

    lanes = min(lanes, plan.frames, vs.core.num_threads)
    clip = _in_lanes(source, spec.target, source.format, Opened(), lanes)  # type: ignore[arg-type]
    began = time.perf_counter()
    for frame in clip.frames(prefetch=2 * lanes, close=True):
        del frame
    return plan.frames / (time.perf_counter() - began)


def naive_fps(plan: Plan, model: Model, spec: ClipSpec) -> float:
    """As the field does it: RGB floats up, the plain network in half precision, RGB floats down, and wait, frame by frame."""
    dtype = torch.float16 if plan.device == "cuda" else torch.float32
    network = load_network(model.path).to(plan.device, dtype)
    rgb = np.random.default_rng(0).random((3, spec.source.height, spec.source.width), np.float32)
    out = np.empty((3, spec.target.height, spec.target.width), np.float32)

    @torch.inference_mode()
    def one() -> None:
        result = network(torch.from_numpy(rgb)[None].to(plan.device).to(dtype))
        out[...] = result[0].float().cpu().numpy()

    frames = max(3, plan.frames // 10)
    for _ in range(3):
        one()
    began = time.perf_counter()
    for _ in range(frames):
        one()
    return frames / (time.perf_counter() - began)


def table(rows: list[Row]) -> str:
    """Columns as wide as what is in them."""
    columns = list(dict.fromkeys(key for row in rows for key in row))

    def shown(value: object) -> str:
        return f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)

    cells = [columns, *([shown(row.get(key)) for key in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


if __name__ == "__main__":
    main()
