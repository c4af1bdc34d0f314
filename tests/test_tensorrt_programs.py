"""Engines as slots' programs, on a stand-in for TensorRT that computes an engine's graph from and to the addresses it is given."""

import ctypes
import sys
import threading
from contextlib import nullcontext
from math import prod
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from card import stand_in
from conftest import golden
from plain import make_spec, module_of
from torch import Tensor

from vs_paragonsr2 import load_network
from vs_paragonsr2.backends.base import Plane
from vs_paragonsr2.backends.pytorch.devices import UNDISTURBED, CPUQueue
from vs_paragonsr2.backends.pytorch.modules import ProgramModule
from vs_paragonsr2.backends.pytorch.slots import FrameSlot, TorchSession
from vs_paragonsr2.backends.switch import test_picture as picture_of
from vs_paragonsr2.backends.tensorrt import engines
from vs_paragonsr2.backends.tensorrt.engines import Engine, EngineError, EngineModule, Runtime, build_engine, engine_dtype
from vs_paragonsr2.backends.tiles import Layout
from vs_paragonsr2.program.colour import ClipSpec
from vs_paragonsr2.program.tiling import tile_spec
from vs_paragonsr2.support.errors import ParagonSR2Error

CPU = torch.device("cpu")
RUNTIME = Runtime("torch-tensorrt-rtx", "0", "stand_in_tensorrt", "0")
ALIGNMENT = 64
"""What PyTorch keeps to on a CPU; on a card it is more than TensorRT asks for."""


class StandInContext:
    """An execution context: what it reads and writes is known by address alone."""

    def __init__(self, engine: "StandInEngine") -> None:
        self.engine = engine
        self.addresses: dict[str, int] = {}

    def is_stream_capturable(self, stream: int) -> bool:
        return self.engine.capturable

    def set_tensor_address(self, name: str, address: int) -> None:
        assert address % ALIGNMENT == 0
        self.addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        graph = self.engine.graph
        given = [self.at(f"planes_{index}", fmt) for index, fmt in enumerate(graph.sources)]
        for index, plane in enumerate(graph(*given)):
            self.at(f"output{index}", graph.target).copy_(plane)
        self.engine.kernels += b"kernel"
        return True

    def at(self, name: str, fmt: Any) -> Tensor:
        shape, dtype = self.engine.shapes[name], engine_dtype(fmt)
        memory = (ctypes.c_uint8 * (prod(shape) * dtype.itemsize)).from_address(self.addresses[name])
        return torch.frombuffer(memory, dtype=dtype).reshape(shape)


class StandInEngine:
    """An engine; it lists its tensors in no good order. It is its own runtime configuration and cache of kernels."""

    def __init__(self, graph: EngineModule) -> None:
        self.graph = graph
        self.capturable = True
        self.kernels = b""
        shapes = [*graph.source_shapes, *graph.target.shapes]
        names = [f"planes_{i}" for i in range(3)] + [f"output{i}" for i in range(3)]
        self.shapes = {name: (1, 1, *shape) for name, shape in zip(names, shapes, strict=True)}
        self.num_io_tensors = len(names)
        self.get_tensor_name = [names[i] for i in (4, 2, 0, 5, 3, 1)].__getitem__
        self.get_tensor_shape = self.shapes.__getitem__

    def get_tensor_mode(self, name: str) -> str:
        return "input" if name.startswith("planes") else "output"

    def create_runtime_config(self) -> "StandInEngine":
        return self

    def create_runtime_cache(self) -> "StandInEngine":
        return self

    def set_runtime_cache(self, kernels: "StandInEngine") -> None:
        assert kernels is self

    def create_execution_context(self, config: "StandInEngine") -> StandInContext:
        assert config is self
        return StandInContext(self)

    def deserialize(self, kernels: bytes) -> bool:
        return kernels == b"of this card"

    def serialize(self) -> bytes:
        return self.kernels


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[bytes, StandInEngine]:
    """The engines that the stand-in takes, by their bytes."""
    known: dict[bytes, StandInEngine] = {}
    trt: Any = ModuleType(RUNTIME.module)
    trt.ILogger = type("ILogger", (), {"INTERNAL_ERROR": 0, "ERROR": 1, "WARNING": 2})
    trt.TensorIOMode = SimpleNamespace(INPUT="input")
    trt.IRuntimeCache = StandInEngine
    trt.Runtime = lambda logger: SimpleNamespace(deserialize_cuda_engine=known.get)
    monkeypatch.setitem(sys.modules, RUNTIME.module, trt)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=7))
    monkeypatch.setattr(engines, "ALIGNMENT", ALIGNMENT)
    return known


def program_module(spec: ClipSpec) -> ProgramModule:
    return module_of(load_network(golden("realtime_x2")), spec, padded=True)


@pytest.mark.parametrize("size", [(48, 40), (16, 40), (16, 20)])
@pytest.mark.parametrize(("bits", "to_bits"), [(8, None), (10, None), (16, None), (8, 10)])
def test_an_engine_is_given_its_planes_and_gives_its_own(
    bits: int, to_bits: int | None, size: tuple[int, int], made: dict[bytes, StandInEngine]
) -> None:
    spec = make_spec(2, (48, 40), bits=bits, to_bits=to_bits)
    graph = program_module(tile_spec(spec, size))
    layout = Layout(spec, size, graph.geometry.source_margin)
    engine_graph = EngineModule(graph, CPU)
    made[b"engine"] = StandInEngine(engine_graph)
    engine = Engine(b"engine", engine_graph, RUNTIME)
    results = []
    for program in (engine.program(), graph):
        session = TorchSession(layout, lambda device, program=program: FrameSlot(CPUQueue(device), layout, program), [CPU])  # type: ignore[misc]
        out: list[Plane] = [np.empty(shape, spec.target.dtype) for shape in spec.target.shapes]
        session.run(picture_of(spec), out)
        results.append(out)
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


def test_kernels_are_shared_by_programs_and_given_out_where_they_are_new(made: dict[bytes, StandInEngine]) -> None:
    graph = EngineModule(program_module(make_spec(2, (8, 8))), CPU)
    for kernels, given in ((None, b"kernelkernel"), (b"of another card", b"kernelkernel"), (b"of this card", None)):
        made[b"engine"] = StandInEngine(graph)
        engine = Engine(b"engine", graph, RUNTIME, kernels)
        for program in (engine.program(), engine.program()):
            program(*graph.example())
        assert engine.new_kernels() == given


def test_what_cannot_be_recorded_is_not_tried(made: dict[bytes, StandInEngine]) -> None:
    graph = EngineModule(program_module(make_spec(2, (8, 8))), CPU)
    made[b"engine"] = StandInEngine(graph)
    made[b"engine"].capturable = False
    with pytest.raises(ParagonSR2Error, match="cannot record this engine in a CUDA graph: expected 'torch'"):
        Engine(b"engine", graph, RUNTIME).program()(*graph.example())


def test_an_engine_for_other_planes_and_one_that_is_none_are_refused(made: dict[bytes, StandInEngine]) -> None:
    graph = EngineModule(program_module(make_spec(2, (8, 8))), CPU)
    made[b"engine"] = StandInEngine(EngineModule(program_module(make_spec(2, (8, 12))), CPU))
    with pytest.raises(EngineError, match="the engine is for planes of"):
        Engine(b"engine", graph, RUNTIME)
    with pytest.raises(EngineError, match="does not take the engine"):
        Engine(b"none", graph, RUNTIME)


def test_torch_tensorrt_names_planes_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planes of chroma have one shape, so that their names alone tell them apart."""
    stand_in(monkeypatch)
    from torch_tensorrt.dynamo.conversion._TRTInterpreter import TRTInterpreter

    found: list[tuple[list[str], list[str]]] = []
    run = TRTInterpreter.run

    def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = run(self, *args, **kwargs)
        found.append((list(result.input_names), list(result.output_names)))
        return result

    monkeypatch.setattr(TRTInterpreter, "run", noted)
    build_engine(EngineModule(program_module(make_spec(2, (16, 16))), CPU))
    ((inputs, outputs),) = found
    for names in (inputs, outputs):
        assert len(names) == 3 and sorted(names, key=engines._natural) == names
        assert len({tuple(engines._natural(name)) for name in names}) == 3


def test_nothing_is_recorded_while_an_engine_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch_tensorrt

    free: list[bool] = []

    def convert(program: object, **settings: Any) -> bytes:
        thread = threading.Thread(target=lambda: free.append(UNDISTURBED.acquire(blocking=False)))
        thread.start()
        thread.join()
        return b"engine"

    stand_in(monkeypatch)
    monkeypatch.setattr(torch_tensorrt.dynamo, "convert_exported_program_to_serialized_trt_engine", convert)
    assert build_engine(EngineModule(program_module(make_spec(2, (8, 8))), CPU)) == b"engine"
    assert free == [False]
    assert UNDISTURBED.acquire(blocking=False)
    UNDISTURBED.release()
