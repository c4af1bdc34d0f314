"""What is about an engine: the file it is kept in, who builds it, who serves meanwhile.

The engines here are doubles, since loading one takes a card: files like those of engines, and the graph itself for a program.
"""

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import vapoursynth as vs
from conftest import golden, request_of
from plain import make_spec
from route import clip_of, equal, noise, planes_at

import vs_paragonsr2.backends.pytorch.session as pytorch_session
import vs_paragonsr2.backends.tensorrt.session as tensorrt_session
from vs_paragonsr2 import ParagonSR2Error, upscale
from vs_paragonsr2.backends import Request
from vs_paragonsr2.backends.pytorch import TorchOptions
from vs_paragonsr2.backends.pytorch.modules import narrow, storage_dtype, widen
from vs_paragonsr2.backends.sessions import SESSIONS
from vs_paragonsr2.backends.switch import SwitchingSession
from vs_paragonsr2.backends.tensorrt import engines
from vs_paragonsr2.backends.tensorrt.engines import EngineError, EngineModule, Runtime
from vs_paragonsr2.checkpoints.models import find_model
from vs_paragonsr2.clip.log import log_once
from vs_paragonsr2.support import cache, cache_folder

MODEL = golden("realtime_x2")
RUNTIME = Runtime("torch-tensorrt-rtx", "2.14.0", "tensorrt_rtx", "1.6")
DEVICE = torch.device("cuda", 0)


class Double:
    """In place of what a card does: an engine's program, how long building takes, and what the runtime refuses."""

    def __init__(self) -> None:
        self.built: list[tuple[int, int]] = []
        self.ready = threading.Event()
        self.ready.set()
        self.faults: list[Exception] = []
        self.refused = 0
        self.kernels: list[bytes | None] = []

    def build(self, graph: EngineModule) -> bytes:
        assert self.ready.wait(60)
        if self.faults:
            raise self.faults.pop()
        self.built.append((graph.sources[0].height, graph.sources[0].width))
        return b"engine"

    def load(self, data: bytes, graph: EngineModule, runtime: Runtime, kernels: bytes | None) -> "DoubleEngine":
        assert data == b"engine"
        self.kernels.append(kernels)
        if self.refused:
            self.refused -= 1
            raise EngineError("refused")
        return DoubleEngine(graph, None if kernels else b"kernels")


class DoubleEngine:
    def __init__(self, graph: EngineModule, kernels: bytes | None) -> None:
        self.graph = graph
        self.kernels = kernels

    def program(self) -> Any:
        return lambda *planes: through_engine(self.graph, planes)

    def new_kernels(self) -> bytes | None:
        return self.kernels


def through_engine(graph: EngineModule, planes: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    """The graph with the casts that are kept out of an engine."""
    planes = tuple(
        widen(plane, fmt, torch.float32) if storage_dtype(fmt) is torch.int16 else plane
        for plane, fmt in zip(planes, graph.sources, strict=True)
    )
    found = graph(*planes)
    return [narrow(plane, graph.target) for plane in found] if graph.target.bits > 8 else list(found)


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Double]:
    """Sessions for ``"cuda"`` on the CPU, with an empty cache."""
    double = Double()
    for module in (tensorrt_session, pytorch_session):
        monkeypatch.setattr(module, "torch_devices", lambda *_: [torch.device("cpu")])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "stand-in")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 9))
    monkeypatch.setattr(tensorrt_session, "build_engine", double.build)
    monkeypatch.setattr(tensorrt_session, "Engine", double.load)
    monkeypatch.setenv(cache_folder.FOLDER_VARIABLE, str(tmp_path / "cache"))
    SESSIONS.clear()
    yield double
    double.ready.set()
    for thread in threading.enumerate():
        if thread.name.startswith("build TensorRT"):
            thread.join()
    SESSIONS.clear()


def request(**options: object) -> Request[TorchOptions]:
    return request_of("tensorrt", find_model(MODEL, 2), make_spec(2, (128, 128)), **options)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What VapourSynth's log gets."""
    log_once.cache_clear()
    messages: list[str] = []
    handle = vs.core.add_log_handler(lambda kind, message: messages.append(message))
    yield messages
    vs.core.remove_log_handler(handle)


@pytest.mark.parametrize(("fmt", "temporal"), [(vs.YUV420P8, 0), (vs.YUV420P10, 0), (vs.YUV420P10, 3)])
def test_pytorch_serves_until_the_engine_takes_over(double: Double, fmt: int, temporal: int, logged: list[str]) -> None:
    clip = clip_of(noise(8, fmt=fmt), fmt, _SceneChangePrev=0)
    way = {"precision": "f16", "temporal": temporal}
    alone = upscale(clip, MODEL, backend="torch", device="cpu", **way)
    expected = [planes_at(alone, n) for n in range(8)]
    SESSIONS.clear()
    double.ready.clear()
    served = upscale(clip, MODEL, backend="tensorrt", **way)
    (session,) = (future.result() for future in SESSIONS._sessions.values())
    assert isinstance(session, SwitchingSession)
    first = session.current
    assert all(equal(planes_at(served, n), expected[n]) for n in range(4))
    assert session.current is first
    assert any("is being built; the first frames come another way" in message for message in logged)
    double.ready.set()
    (thread,) = (t for t in threading.enumerate() if t.name.startswith("build TensorRT"))
    thread.join()
    assert session.current is not first
    assert all(equal(planes_at(served, n), expected[n]) for n in range(4, 8))  # the double computes the very graph
    assert any("takes over after" in message for message in logged)


def test_an_engine_on_disk_serves_at_once(double: Double) -> None:
    first = tensorrt_session.open_session(request(wait=True))
    assert double.built == [(128, 128)]
    again = tensorrt_session.open_session(request())
    assert double.built == [(128, 128)]
    (path,) = cache_folder.cache_folder().glob("*.engine")
    path.write_bytes(path.read_bytes()[:-1])
    double.ready.clear()
    served = tensorrt_session.open_session(request())  # and is not waited for where it is damaged
    assert "is being built" in next(served.take_notes())
    assert [type(s.current).__name__ for s in (first, again)] == ["TorchSession"] * 2
    assert "TensorRT for RTX" in next(again.take_notes())


def test_kernels_for_the_card_are_kept_and_brought_along(double: Double) -> None:
    for _ in range(2):
        tensorrt_session.open_session(request(wait=True))
    assert double.kernels == [None, b"kernels"]
    (kept,) = cache_folder.cache_folder().glob("*.kernels")
    kept.write_bytes(kept.read_bytes()[:-1])
    tensorrt_session.open_session(request(wait=True))
    assert double.kernels[2:] == [None]
    assert cache.load_kept(kept, bytes) == b"kernels"  # written anew
    assert {entry.kind for entry in cache_folder.entries(cache_folder.cache_folder())} == {"engine", "kernels"}
    assert len(cache_folder.entries(cache_folder.cache_folder())) == 2


def test_an_engine_that_the_runtime_refuses_is_built_again_once(double: Double) -> None:
    tensorrt_session.open_session(request(wait=True))
    double.refused = 1
    tensorrt_session.open_session(request(wait=True))
    assert len(double.built) == 2
    double.refused = 2
    with pytest.raises(ParagonSR2Error, match="refused"):
        tensorrt_session.open_session(request(wait=True))


def test_out_of_memory_while_building_makes_tiles_smaller(double: Double) -> None:
    double.faults = [torch.OutOfMemoryError("CUDA out of memory")]
    session = tensorrt_session.open_session(request(wait=True))
    assert double.built == [(64, 128)]
    assert next(session.take_notes()).startswith("tiles of 128x64, since larger ones do not fit")


def test_an_engine_that_cannot_be_built_leaves_pytorch_serving(double: Double) -> None:
    double.faults = [ParagonSR2Error("no converter for aten.roll")]
    clip = clip_of(noise(2), vs.YUV420P8)
    result = planes_at(upscale(clip, MODEL, backend="tensorrt", precision="f32"))
    assert equal(result, planes_at(upscale(clip, MODEL, backend="torch", device="cpu")))


def test_the_key_holds_all_that_decides_an_engine(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = request()

    def path(what: Request = asked, precision: str = "f16", size: tuple[int, int] = (64, 64), runtime: Runtime = RUNTIME) -> Path:
        return tensorrt_session.engine_path(what, size, precision, runtime, DEVICE)

    paths = [
        path(),
        path(precision="f32"),
        path(size=(32, 64)),
        path(replace(asked, model=replace(asked.model, sha256="other"))),
        path(replace(asked, spec=make_spec(2, (128, 128), bits=10))),
        path(replace(asked, alpha=0.5)),
        path(runtime=replace(RUNTIME, package="torch-tensorrt")),
        path(runtime=replace(RUNTIME, package_version="2.15.0")),
        path(runtime=replace(RUNTIME, version="1.7")),
    ]
    changes = [
        (torch.cuda, "get_device_name", lambda device: "another card"),
        (torch.cuda, "get_device_capability", lambda device: (9, 0)),
        (tensorrt_session, "driver_version", lambda: "600.1"),
        (torch, "__version__", "3.0"),
        (cache, "code_digest", lambda *_: "another version of the code"),
        (tensorrt_session, "SETTINGS", {**engines.SETTINGS, "optimization_level": 5}),
    ]
    for where, name, value in changes:
        with monkeypatch.context() as patch:
            patch.setattr(where, name, value)
            paths.append(path())
    assert len(set(paths)) == len(paths)
    assert path() == paths[0]
    assert path(replace(asked, options=replace(asked.options, num_streams=7, wait=True))) == paths[0]


BUILDER = """
import sys, time
from pathlib import Path
from vs_paragonsr2.backends.tensorrt import session as tensorrt_session
from vs_paragonsr2.clip.log import log_once
folder = Path(sys.argv[1])

def build(graph):
    with (folder / "built").open("a") as file:
        file.write("x")
    time.sleep(0.5)
    return b"engine" * 1000

tensorrt_session.build_engine = build
tensorrt_session.Engine = lambda data, graph, runtime, kernels: data
assert tensorrt_session.load_engine(folder / "key.engine", None, None) == b"engine" * 1000
"""


def test_players_that_start_together_build_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILDER, str(tmp_path)]
    players = [subprocess.Popen(command) for _ in range(3)]
    assert [player.wait(120) for player in players] == [0, 0, 0]
    assert (tmp_path / "built").read_text(encoding="utf-8") == "x"
    entry = tmp_path / "key.engine"
    entry.write_bytes(entry.read_bytes()[:100])
    subprocess.run(command, check=True)
    assert (tmp_path / "built").read_text(encoding="utf-8") == "xx"
    assert cache.load_kept(entry, bytes) == b"engine" * 1000


def test_a_player_that_is_killed_while_it_builds_does_no_harm(tmp_path: Path) -> None:
    slow = BUILDER.replace("time.sleep(0.5)", "print('building', flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", slow, str(tmp_path)], stdout=subprocess.PIPE) as player:
        assert player.stdout is not None and player.stdout.readline() == b"building\n"
        player.kill()
    subprocess.run([sys.executable, "-c", BUILDER, str(tmp_path)], check=True, timeout=60)
    assert cache.load_kept(tmp_path / "key.engine", bytes) == b"engine" * 1000
