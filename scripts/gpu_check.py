"""Check and time the sessions for NVIDIA's cards on the card that is here, in under eight minutes, without a network.

    python scripts/gpu_check.py [--quick] [--out benchmarks] [--device cpu]

Needs PyTorch and numpy; safetensors for the weights that ship, in place of which random ones take the same time; VapourSynth for
frames through the filter, and Torch-TensorRT for its engines. What is not installed is left out. ``--device cpu --quick`` goes
through the same parts on CPU tensors; no figure of it says anything of a card.

Three tables. ``correctness``: each session against the plain network in float64. ``device``: milliseconds of one frame and of its
stages alone, each as a CUDA graph, and what they come to of what was measured of the card: ``up_share`` and ``down_share`` of the
bus, ``arithmetic_share`` of the rate of half-precision products, ``traffic_share`` of the card's copies. For the latter two,
multiply-adds and bytes are counted operation by operation: what fuses operations moves fewer bytes, and may pass 1. ``frames``:
those a second with so many lanes, ``fps`` of the session alone and ``filter_fps`` through VapourSynth; ``host_share`` is how much
of a lane's time goes into the copies on the host. ``naive`` is what the field does: RGB floats up, the plain network in half
precision, RGB floats down, and wait, frame by frame; ratios are to that.
"""

import argparse
import json
import math
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from vs_paragonsr2.backends import Options, Request, load_backend  # noqa: E402
from vs_paragonsr2.backends.base import Plane  # noqa: E402
from vs_paragonsr2.backends.pytorch.devices import Lane, driver_version, lane_on  # noqa: E402
from vs_paragonsr2.backends.pytorch.lanes import LanesSession  # noqa: E402
from vs_paragonsr2.backends.pytorch.modules import program_for  # noqa: E402
from vs_paragonsr2.backends.reference import ReferenceSession  # noqa: E402
from vs_paragonsr2.backends.switch import SwitchingSession, test_picture  # noqa: E402
from vs_paragonsr2.checkpoints import load_checkpoint  # noqa: E402
from vs_paragonsr2.checkpoints.models import Model, find_model  # noqa: E402
from vs_paragonsr2.checkpoints.network import load_network  # noqa: E402
from vs_paragonsr2.network import VARIANTS, ParagonSR2  # noqa: E402
from vs_paragonsr2.program.colour import ClipSpec, Colorimetry, Matrix, PlaneFormat, Range, Siting  # noqa: E402
from vs_paragonsr2.program.geometry import place  # noqa: E402
from vs_paragonsr2.program.graph import Program  # noqa: E402
from vs_paragonsr2.program.tiling import tile_spec  # noqa: E402
from vs_paragonsr2.support.errors import ParagonSR2Error  # noqa: E402

TIMED = ("realtime", "stream")
"""Variants that are timed; the others, of which a frame takes long, are checked unless it is to be quick."""

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
    """At most, where they take little time."""
    backends: tuple[str, ...]
    deadline: float
    quick: bool

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
    path = arguments.out / f"{re.sub(r'[^A-Za-z0-9]+', '-', found['card']['name']).strip('-')}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    for title in ("correctness", "device", "frames"):
        sys.stderr.write(f"\n{title}\n{table(found[title])}\n")
    sys.stderr.write(f"\n{json.dumps(found['card'])}\n{json.dumps(found['ceilings'])}\n{path}\n")
    if not all(row.get("right", True) for row in found["correctness"]):
        sys.exit("gpu_check: a session is not right, or did not open")


def plan_of(device: str, quick: bool) -> Plan:
    """All of it, or little enough for a test."""
    backends = ("torch", *(("tensorrt",) if device == "cuda" and find_spec("torch_tensorrt") else ()))
    deadline = time.monotonic() + SECONDS
    if quick:
        return Plan(device, ((32, 48),), (24, 32), (1, 2), 6, backends, deadline, quick)
    return Plan(device, ((720, 1280), (1080, 1920)), (96, 128), (1, 2, 3, 4, 6, 8), 300, backends, deadline, quick)


def models(folder: Path) -> dict[str, Model]:
    """All variants at 2x: what ships and can be read, or else random weights, which take the same time."""
    found: dict[str, Model] = {}
    for name in VARIANTS:
        try:
            found[name] = find_model(name if find_spec("safetensors") else folder / "none.pth", 2)
        except ParagonSR2Error:
            torch.manual_seed(0)
            path = folder / f"{name}.pth"
            torch.save(ParagonSR2(name, 2).state_dict(), path)
            found[name] = find_model(path, 2)
    return found


def check(plan: Plan, which: dict[str, Model]) -> Row:
    """Correctness first, then the tables; what there was no time for says so. The variants that are not timed come last."""
    # TensorRT may take most of a minute for an engine: what is timed gets half of the time, and the rest what is left.
    half = replace(plan, deadline=plan.deadline - SECONDS / 2)
    correctness = [row for name in TIMED for row in errors(half, name, which[name])]
    limits = ceilings(torch.device(plan.device), plan.quick)
    found: Row = {"card": card_facts(plan.device), "ceilings": limits, "correctness": correctness, "device": [], "frames": []}
    for name in TIMED:
        for size in plan.sizes:
            for table_name, row in times(plan, name, which[name], size, limits):
                found[table_name].append(row)
    for name in which if not plan.quick else ():
        if name not in TIMED:
            correctness.extend(errors(plan, name, which[name]))
    return found


def card_facts(device: str) -> Row:
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
    for bits in (8, 10) if name in TIMED else (8,):
        spec = clip_spec(plan.checked, bits)
        planes, exact = test_picture(spec), blank(spec)
        ReferenceSession(load_network(model.path).double(), spec, torch.device("cpu"), 1, np.float64).run(planes, exact)
        for backend in plan.backends:
            for precision in ("f32", "f16"):
                row: Row = {"model": name, "backend": backend, "precision": precision, "bits": bits}
                if plan.is_late:
                    yield {**row, "fault": "no time left"}
                    continue
                try:
                    out = blank(spec)
                    opened(plan, backend, model, spec, precision=precision).run(planes, out)
                except Exception as error:
                    yield {**row, "right": False, "fault": fault_of(error)}
                    continue
                off = np.concatenate([np.abs(a.astype(float) - b).ravel() for a, b in zip(out, exact, strict=True)])
                off /= 1 << (bits - 8)
                yield {**row, "mean": float(off.mean()), "worst": float(off.max()), "right": bool(off.max() <= 1)}


def ceilings(device: torch.device, quick: bool) -> Row:
    """Measured: copies within the device and over the bus in GB/s, products of half-precision matrices in TFLOP/s."""
    n, side = (1 << 20, 128) if quick else (1 << 28, 8192)
    a, b = (torch.empty(n, dtype=torch.uint8, device=device) for _ in range(2))
    host = lane_on(device).host((n,), torch.uint8)
    x = torch.randn(side, side, device=device).half()
    return {
        "copy": 2 * n / milliseconds(device, lambda: b.copy_(a)) / 1e6,
        "up": n / milliseconds(device, lambda: a.copy_(host, non_blocking=True)) / 1e6,
        "down": n / milliseconds(device, lambda: host.copy_(a, non_blocking=True)) / 1e6,
        "half_tflops": 2 * side**3 / milliseconds(device, lambda: x @ x) / 1e9,
    }


def milliseconds(device: torch.device, work: Callable[[], object], runs: int = 10) -> float:
    """The median of some runs, by events; on a CPU by the clock."""
    taken = []
    for _ in range(runs + 3):
        if device.type == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            work()
            end.record()
            end.synchronize()
            taken.append(begin.elapsed_time(end))
        else:
            began = time.perf_counter()
            work()
            taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken[3:])


def times(plan: Plan, name: str, model: Model, size: tuple[int, int], limits: Row) -> Iterable[tuple[str, Row]]:
    """Rows for the tables ``device`` and ``frames``: the naive way, and each session with each number of lanes."""
    spec = clip_spec(size)
    row: Row = {"model": name, "source": f"{size[1]}x{size[0]}"}
    if plan.is_late:
        yield "frames", {**row, "fault": "no time left"}
        return
    try:
        naive = naive_way(plan, model, spec)
    except Exception as error:  # it has no tiles
        naive = {"fault": fault_of(error)}
    yield "device", {**row, "way": "naive", **{key: value for key, value in naive.items() if key != "fps"}}
    yield "frames", {**row, "way": "naive", **{key: value for key, value in naive.items() if key in ("fps", "fault")}}
    for backend in plan.backends:
        row["way"] = backend
        if plan.is_late:
            yield "frames", {**row, "fault": "no time left"}
            continue
        try:
            session = lanes_of(opened(plan, backend, model, spec))
            device = device_times(session, model, limits)
            ratio = {"ratio": naive["device_ms"] / device["device_ms"]} if "device_ms" in naive else {}
            yield "device", {**row, **device, **ratio}
            session = lanes_of(opened(plan, backend, model, spec, max(plan.lanes)))
            for lanes in plan.lanes:
                if plan.is_late:
                    yield "frames", {**row, "lanes": lanes, "fault": "no time left"}
                    continue
                if len(session.layout.parts) > device["tiles"]:  # fewer lanes do with larger tiles
                    session = lanes_of(opened(plan, backend, model, spec, lanes))
                timed = frame_rates(plan, session, lanes, device["device_ms"])
                ratio = {"ratio": timed.get("filter_fps", timed["fps"]) / naive["fps"]} if "fps" in naive else {}
                yield "frames", {**row, "lanes": lanes, **timed, **ratio}
        except Exception as error:
            yield "frames", {**row, "fault": fault_of(error)}


def fault_of(error: Exception) -> str:
    """In one short line."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def lanes_of(session: SwitchingSession) -> LanesSession:
    """Who serves."""
    assert isinstance(session.current, LanesSession)
    return session.current


def device_times(session: LanesSession, model: Model, limits: Row) -> Row:
    """Of one frame on the device, whole and in stages, and how near each comes to what was measured of the card."""
    lane, spec, layout = session.lanes[0], session.spec, session.layout
    lane.take_in(test_picture(spec))
    results: list[torch.Tensor] = []

    def compute() -> None:
        results[:] = lane.compute()

    stages: dict[str, tuple[Lane, float]] = {}
    for name, work in (("up", lane.upload), ("compute", compute), ("down", lambda: lane.download(results))):
        queue = lane_on(lane.lane.device)
        queue.record(work)
        stages[name] = queue, queue.milliseconds(20)  # the queue keeps what its recording wrote
    up, compute_ms, down = (ms for _, ms in stages.values())
    program = program_for(load_checkpoint(model.path).parts, tile_spec(spec, layout.size), torch.float16)
    (multiply_adds, bytes_moved), tiles = tile_cost(program), len(layout.parts)
    up_bytes, down_bytes = (
        sum(math.prod(shape) for shape in shapes) * np.dtype(fmt.dtype).itemsize
        for shapes, fmt in ((layout.source_shapes, spec.source), (spec.target.shapes, spec.target))
    )
    return {
        "tiles": tiles,
        "mib": session.device_bytes / 2**20,
        "device_ms": lane.lane.milliseconds(20),
        "up_ms": up,
        "up_share": up_bytes / up / 1e6 / limits["up"],
        "compute_ms": compute_ms,
        "arithmetic_share": 2 * multiply_adds * tiles / compute_ms / 1e9 / limits["half_tflops"],
        "traffic_share": bytes_moved * tiles / compute_ms / 1e6 / limits["copy"],
        "down_ms": down,
        "down_share": down_bytes / down / 1e6 / limits["down"],
    }


def tile_cost(program: Program) -> tuple[int, int]:
    """Multiply-adds and bytes of a tile with all that is made about it, features in half precision: every operation reads its
    sources and writes its result once.
    """
    geometry = place(program, pads=(True, True))
    area = {operation: math.prod(geometry.size(operation, program.spec)) for operation in program.operations}
    size = {value: value.channels * area[value] * (4 if value.holds_samples else 2) for value in program.operations}
    return (
        sum(operation.multiply_adds * area[operation] for operation in program.operations),
        sum(size[value] for operation in program.operations for value in (operation, *operation.sources)),
    )


def frame_rates(plan: Plan, session: LanesSession, lanes: int, device_ms: float) -> Row:
    """Frames per second through some of a session's lanes, the host's part in them, and their memory."""
    some, spec, mib = iter(session.lanes), session.spec, session.device_bytes / 2**20 * lanes / len(session.lanes)
    session = LanesSession(session.layout, lambda device: next(some), [lane.lane.device for lane in session.lanes[:lanes]])
    frames = max(2 * lanes, min(plan.frames, int(1500 / device_ms)))
    planes, out, lane = test_picture(spec), blank(spec), session.lanes[0]
    began = time.perf_counter()
    for _ in range(5):
        lane.take_in(planes)
        lane.hand_out(out)
    timed: Row = {"tiles": len(session.layout.parts), "mib": mib, "host_ms": (time.perf_counter() - began) / 5 * 1000}
    timed["fps"] = frames_per_second(frames, session, lanes)
    timed["host_share"] = timed["host_ms"] / 1000 * timed["fps"] / lanes
    if find_spec("vapoursynth"):
        timed["filter_fps"] = filter_fps(frames, session, lanes)
    return timed


def frames_per_second(frames: int, session: LanesSession, threads: int) -> float:
    """As VapourSynth's threads ask for them, into planes of their own."""
    planes, mine = test_picture(session.spec), threading.local()

    def one(_: int) -> None:
        if not hasattr(mine, "out"):
            mine.out = blank(session.spec)
        session.run(planes, mine.out)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(threads * 4)))
        began = time.perf_counter()
        list(pool.map(one, range(frames)))
        return frames / (time.perf_counter() - began)


def filter_fps(frames: int, session: LanesSession, lanes: int) -> float:
    """Through VapourSynth and the filter's own lanes, from a clip that costs nothing, with the session that is open."""
    import vapoursynth as vs

    from vs_paragonsr2.clip.frames import new_frame, planes_of
    from vs_paragonsr2.clip.upscaler import in_lanes

    spec = session.spec
    source = vs.core.std.BlankClip(format=vs.YUV420P8, width=spec.source.width, height=spec.source.height, length=frames, keep=True)

    class Opened:
        watch = nullcontext()

        def frame(self, n: int, frame: vs.VideoFrame) -> vs.VideoFrame:
            out = new_frame(source.format, spec.target.width, spec.target.height, props_from=frame)
            session.run(planes_of(frame), planes_of(out))
            return out

    lanes = min(lanes, vs.core.num_threads)
    clip = in_lanes(source, spec.target, source.format, Opened(), lanes)  # type: ignore[arg-type]
    began = time.perf_counter()
    for frame in clip.frames(prefetch=2 * lanes, close=True):
        del frame
    return frames / (time.perf_counter() - began)


def naive_way(plan: Plan, model: Model, spec: ClipSpec) -> Row:
    """RGB floats up, the plain network in half precision (on a CPU in single), RGB floats down, and wait, frame by frame."""
    device = torch.device(plan.device)
    dtype = torch.float16 if plan.device == "cuda" else torch.float32
    if plan.device == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    network = load_network(model.path).to(device, dtype)
    rgb = np.random.default_rng(0).random((3, spec.source.height, spec.source.width), np.float32)
    out = np.empty((3, spec.target.height, spec.target.width), np.float32)

    @torch.inference_mode()
    def one() -> None:
        result = network(torch.from_numpy(rgb)[None].to(device).to(dtype))
        out[...] = result[0].float().cpu().numpy()

    device_ms = milliseconds(device, one, 5)
    x = torch.from_numpy(rgb)[None].to(device).to(dtype)
    compute_ms = milliseconds(device, torch.inference_mode()(lambda: network(x)), 5)
    frames = max(3, min(plan.frames, int(1500 / device_ms)))
    began = time.perf_counter()
    for _ in range(frames):
        one()
    fps = frames / (time.perf_counter() - began)
    mib = (torch.cuda.max_memory_allocated(device) - before) / 2**20 if plan.device == "cuda" else 0.0
    return {"mib": mib, "device_ms": device_ms, "compute_ms": compute_ms, "fps": fps}


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
