"""The PyTorch backend on CPU tensors: slots, tiles and what goes wrong. Only the recording of CUDA graphs is left out here."""

import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs
from conftest import golden, random_planes, request_of
from plain import make_spec, module_of, parts_of, random_network
from route import clip_of, equal, noise, planes_at
from test_modules import smooth_samples
from test_route import assert_same
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import vs_paragonsr2.backends.pytorch.session as pytorch_session
from vs_paragonsr2 import ParagonSR2Error, backends, upscale
from vs_paragonsr2.backends import Request, switch
from vs_paragonsr2.backends.base import Plane, Session
from vs_paragonsr2.backends.pytorch import TorchOptions, slots
from vs_paragonsr2.backends.pytorch.devices import CPUQueue, Queue, is_lost, is_out_of_memory
from vs_paragonsr2.backends.pytorch.modules import ProgramModule, storage_dtype
from vs_paragonsr2.backends.sessions import SESSIONS
from vs_paragonsr2.backends.tiles import Layout
from vs_paragonsr2.checkpoints.models import find_model
from vs_paragonsr2.program.colour import ClipSpec
from vs_paragonsr2.program.tiling import tile_spec

MODEL = golden("realtime_x2")
CPU = torch.device("cpu")
SPEC = make_spec(2, (48, 40))
"""Three tiles of 16 rows; the halo is wider than half of one."""


def request(spec: ClipSpec = SPEC, **options: object) -> Request[TorchOptions]:
    return request_of("torch", find_model(MODEL, 2), spec, device="cpu", **options)


def result_of(session: Session, planes: list[Plane]) -> list[Plane]:  # type: ignore[type-arg]
    out: list[Plane] = [np.empty(shape, session.spec.target.dtype) for shape in session.spec.target.shapes]
    session.run(planes, out)
    return out


@pytest.mark.parametrize("fmt", [vs.YUV420P8, vs.YUV422P10, vs.YUV420P16, vs.YUV444PS, vs.RGB24, vs.GRAY8])
def test_every_kind_of_sample_equals_the_reference(fmt: int) -> None:
    clip = clip_of([random_planes(fmt, 48, 36)], fmt)
    fast = upscale(clip, MODEL, backend="torch", device="cpu")
    assert_same(planes_at(fast), planes_at(upscale(clip, MODEL, backend="reference", device="cpu")), fmt)


@pytest.mark.parametrize("backend", ["torch", "tensorrt"])
def test_without_a_card_it_is_refused(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    SESSIONS.clear()
    with pytest.raises(vs.Error, match="device is 'cuda' and device_index 0, but PyTorch finds 0 CUDA devices here"):
        upscale(clip_of(noise(1), vs.YUV420P8), MODEL, backend=backend)


@pytest.mark.parametrize(
    "spec",
    [SPEC, make_spec(3, (48, 40), subsampling="422", bits=10), make_spec(2, (50, 40)), make_spec(2, (48, 40), temporal=True)],
)
def test_tiles_have_no_seams(spec: ClipSpec) -> None:
    network = random_network("realtime", spec.target.height // spec.source.height)
    planes = switch.test_picture(spec)
    results = []
    for size in ((spec.source.height, 40), (16, 40), (16, 20)):
        graph = module_of(network, tile_spec(spec, size), padded=True)
        layout = Layout(spec, size, graph.geometry.source_margin)

        def make(device: torch.device, layout: Layout = layout, graph: ProgramModule = graph) -> slots.FrameSlot:
            return slots.FrameSlot(CPUQueue(device), layout, graph)

        results.append(result_of(slots.TorchSession(layout, make, [CPU]), planes))
    for tiled in results[1:]:
        for a, b in zip(tiled, results[0], strict=True):
            off = np.abs(a.astype(int) - b.astype(int))
            assert off.max() <= 1
            assert np.mean(off == 0) > 0.99  # another size, another order of sums


@pytest.mark.parametrize(
    ("name", "asked", "expected"),
    [
        ("realtime", (0, 0), (48, 40)),
        ("realtime", (17, 0), (16, 40)),
        ("realtime", (30, 24), (24, 20)),
        ("photo", (30, 24), (16, 24)),
    ],
)
def test_the_largest_tiles_are_those_that_were_asked_for(name: str, asked: tuple[int, int], expected: tuple[int, int]) -> None:
    assert next(pytorch_session.sizes_of(SPEC, parts_of(random_network(name, 2, blocks=1)), asked)) == expected


def test_tiles_that_were_asked_for_give_the_whole_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class SeenLayout(Layout):
        def __init__(self, spec: ClipSpec, size: tuple[int, int], *rest: tuple[int, int]) -> None:
            made.append(size)
            super().__init__(spec, size, *rest)

    monkeypatch.setattr(pytorch_session, "Layout", SeenLayout)
    planes = switch.test_picture(SPEC)
    tiled, whole = (
        result_of(pytorch_session.open_in_precision(request(tile_size=most), [CPU], "f32"), planes) for most in ((17, 24), (0, 0))
    )
    assert made == [(16, 20), (48, 40)]
    for a, b in zip(tiled, whole, strict=True):
        assert np.abs(a.astype(int) - b.astype(int)).max() <= 1


def test_aligned_windows_lose_less() -> None:
    """Tiles of one block of Photo, whose windows are not shifted, against the whole."""
    network, spec = random_network("photo", 2, blocks=1), make_spec(2, (72, 24))
    planes = smooth_samples(spec.source)
    results = []
    for rows, align in ((72, 16), (40, 16), (36, 2)):
        graph = module_of(network, tile_spec(spec, (rows, 24)), padded=True)
        layout = Layout(spec, (rows, 24), graph.geometry.source_margin, (align, align))
        session = slots.TorchSession(
            layout, lambda d, layout=layout, graph=graph: slots.FrameSlot(CPUQueue(d), layout, graph), [CPU]
        )  # type: ignore[misc]
        results.append(np.concatenate([plane.ravel() for plane in result_of(session, planes)]).astype(int))
    whole, aligned, astray = results
    assert 10 * np.abs(aligned - whole).mean() < np.abs(astray - whole).mean()


def test_a_compiler_that_fails_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """A double of the timing, which takes a card."""

    def milliseconds(form: pytorch_session.Form, *_: object) -> float:
        if form.compiled:
            raise RuntimeError("no C compiler\nhints")
        return 1.0 if form.channels_last else 2.0

    monkeypatch.setattr(pytorch_session, "_milliseconds", milliseconds)
    notes: list[str] = []
    card = torch.device("cuda", 0)
    assert pytorch_session.fastest_form(None, None, card, True, notes) == pytorch_session.Form(channels_last=True)  # type: ignore[arg-type]
    assert notes == ["PyTorch's compiler is not taken: RuntimeError: no C compiler"] * 2
    monkeypatch.setattr(pytorch_session, "_milliseconds", lambda form, *_: 1.0 if form.compiled else 2.0)
    assert pytorch_session.fastest_form(None, None, card, True, notes).compiled  # type: ignore[arg-type]


class HostTraffic(TorchDispatchMode):
    """Fails where a graph takes anything from the host or asks for a number: nothing of the like can be recorded."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        found = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, torch.Tensor)]
        assert all(tensor.device.type == "meta" for tensor in found), func
        assert func is not torch.ops.aten._local_scalar_dense.default
        return out


@pytest.mark.parametrize("bits", [8, 10, 16])
@pytest.mark.parametrize("name", ["realtime", "stream", "photo", "pro", "realtime 7", "stream 8"])
def test_nothing_in_a_graph_comes_from_the_host(name: str, bits: int) -> None:
    spec = make_spec(2, (16, 16), bits=bits)
    graph = module_of(random_network(name, 2, blocks=2), spec, torch.float16, padded=True).to("meta")
    shapes = graph.geometry.input_shapes
    with torch.no_grad(), HostTraffic():
        graph(*(torch.empty(1, 1, *shape, dtype=storage_dtype(spec.source), device="meta") for shape in shapes))


class FailingLane(CPUQueue):
    """A double of a device that fails on cue."""

    fault: Callable[[], Exception | None] = staticmethod(lambda: None)

    def launch(self) -> None:
        if fault := type(self).fault():
            raise fault
        super().launch()


def test_out_of_memory_makes_tiles_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = make_spec(2, (256, 128))
    planes = smooth_samples(spec.source)
    whole = result_of(pytorch_session.open_session(request(spec)), planes)
    faults: list[Exception] = [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUDA error: out of memory\nhints")]

    def queue_on(device: torch.device) -> Queue:
        if faults:
            raise faults.pop()
        return CPUQueue(device)

    monkeypatch.setattr(pytorch_session, "queue_on", queue_on)
    session = pytorch_session.open_session(request(spec))
    (note,) = session.take_notes()
    assert note.startswith("tiles of 128x64, since larger ones do not fit into the device's memory")
    for a, b in zip(result_of(session, planes), whole, strict=True):
        assert np.abs(a.astype(int) - b.astype(int)).max() <= 1


def test_a_budget_of_memory_makes_tiles_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """A double of a device that says how much of it is taken: as much as the samples of a session's tiles."""
    taken = 0

    class Counting(slots.FrameSlot):
        def __init__(self, queue: Queue, layout: Layout, program: slots.TileProgram) -> None:
            nonlocal taken
            part = layout.tiles[0].source[0]
            taken += (part[0].stop - part[0].start) * (part[1].stop - part[1].start) << 10
            super().__init__(queue, layout, program)

    monkeypatch.setattr(pytorch_session, "FrameSlot", Counting)
    monkeypatch.setattr(slots, "used_bytes", lambda device: taken)
    session = pytorch_session.open_session(request(make_spec(2, (256, 128)), memory_limit=30))
    assert len(session.current.layout.tiles) == 2  # type: ignore[attr-defined]
    assert 0 < session.device_bytes <= 30 << 20
    with pytest.raises(ParagonSR2Error, match="memory_limit is 3 MiB: too little even for the smallest tiles .*MiB were taken"):
        pytorch_session.open_session(request(make_spec(2, (256, 128)), memory_limit=3))


def test_a_lost_device_is_an_error_and_no_frame_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytorch_session, "queue_on", FailingLane)
    session, planes = pytorch_session.open_session(request()), smooth_samples(SPEC.source)
    result_of(session, planes)
    calls = []

    def lost() -> Exception:
        calls.append(1)
        return RuntimeError("CUDA error: unspecified launch failure\nCompile with ...")

    monkeypatch.setattr(FailingLane, "fault", staticmethod(lost))
    for _ in range(2):
        with pytest.raises(ParagonSR2Error, match=r"CUDA device was lost, .* \(CUDA error: unspecified launch failure\)"):
            result_of(session, planes)
    assert len(calls) == 1
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory")) and not is_lost(RuntimeError("CUDA error: out of memory"))


def test_what_half_precision_does_not_hold_is_computed_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_network("realtime", 2)
    network.conv_in.weight.data *= 1e5
    network.conv_mid.weight.data *= 1e-5
    monkeypatch.setattr(pytorch_session, "parts_of", lambda *_: parts_of(network))
    planes = smooth_samples(SPEC.source)
    session = pytorch_session.open_session(request(precision="f16"))
    exact = result_of(pytorch_session.open_session(request(precision="f32")), planes)
    for _ in range(2):
        assert equal(result_of(session, planes), exact)
    assert list(session.take_notes()) == ["half precision does not hold this model's numbers: float32 takes its place"]


def test_half_precision_is_looked_at_in_the_first_frames_only(monkeypatch: pytest.MonkeyPatch) -> None:
    session, planes = pytorch_session.open_session(request(precision="f16")), smooth_samples(SPEC.source)
    looked = []
    monkeypatch.setattr(slots.FrameSlot, "passes", lambda self, check: looked.append(check([])) or True)
    monkeypatch.setattr(session.current, "_check", lambda planes: True)
    for _ in range(slots.CHECKED_FRAMES + 4):
        result_of(session, planes)
    assert len(looked) == slots.CHECKED_FRAMES


def test_frames_in_flight_do_not_mix() -> None:
    session = pytorch_session.open_session(request(num_streams=3))
    frames = [[np.full(shape, 20 * n, np.uint8) for shape in SPEC.source.shapes] for n in range(12)]
    alone = [result_of(session, planes) for planes in frames]
    with ThreadPoolExecutor(6) as pool:
        assert all(map(equal, pool.map(lambda planes: result_of(session, planes), frames), alone))


def test_memory_is_given_back_once_nobody_has_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """A double of a queue that, as on a card, keeps what it has recorded and not who asked for it."""

    class Forgetful(CPUQueue):
        def record(self, work: Callable[[], None]) -> None:
            work()

    monkeypatch.setattr(pytorch_session, "queue_on", Forgetful)
    session = pytorch_session.open_session(request(num_streams=2))
    held = [weakref.ref(slot) for slot in session.current.slots]  # type: ignore[attr-defined]
    left: list[int] = []
    monkeypatch.setattr(slots, "give_back", lambda: left.append(sum(slot() is not None for slot in held)))
    session.take_over(pytorch_session.open_session(request()).current, "another one")
    assert left == [0]


def test_lanes_are_spread_over_devices() -> None:
    a, b = torch.device("cuda", 0), torch.device("cuda", 1)
    assert slots.slot_devices([a, b], 5) == [a, b, a, b, a]
    assert slots.slot_devices([a, b], 1) == [a, b]


@pytest.mark.parametrize(("size", "step", "least"), [((1080, 1920), (2, 2), 64), ((16, 16), (2, 2), 64), ((90, 70), (16, 16), 16)])
def test_smaller_tiles_end(size: tuple[int, int], step: tuple[int, int], least: int) -> None:
    found = list(slots.smaller_sizes(size, step, least))
    assert found[0] == size
    assert all(a[0] * a[1] > b[0] * b[1] for a, b in pairwise(found))
    assert all(side % unit == whole % unit for tile in found for side, unit, whole in zip(tile, step, size, strict=True))


def test_cuda_backends_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vs_paragonsr2.backends.pytorch.missing_cuda", lambda device: None)
    assert backends.candidates(None)[0] == ["tensorrt", "torch", "openvino", "reference"]
    assert backends.candidates("cuda")[0] == ["tensorrt", "torch", "reference"]


def test_a_card_that_does_not_answer_is_done_without_and_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that is there, without a card that works: all that is asked of it fails."""
    monkeypatch.setattr("vs_paragonsr2.backends.pytorch.missing_cuda", lambda device: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    SESSIONS.clear()
    logged: list[str] = []
    handle = vs.core.add_log_handler(lambda kind, message: logged.append(message))
    try:
        upscale(clip_of(noise(1, width=22, height=14), vs.YUV420P8), MODEL).get_frame(0)
    finally:
        vs.core.remove_log_handler(handle)
    (line,) = (message for message in logged if "upscale: backend 'openvino'" in message)
    assert "not 'tensorrt': device is 'cuda'" in line and "not 'torch': device is 'cuda'" in line
