"""Engines from the very graph that the session compiles, built by TensorRT for RTX, which needs no card for it."""

import re
from pathlib import Path

import pytest
import torch
from card import stand_in
from plain import make_spec, module_of, random_network

from vs_paragonsr2.backends.pytorch.modules import narrow, widen
from vs_paragonsr2.backends.tensorrt import engines
from vs_paragonsr2.backends.tensorrt.engines import (
    SETTINGS,
    EngineModule,
    build_engine,
    engine_dtype,
    installed_runtime,
    register_cast,
)
from vs_paragonsr2.program.operations import Round
from vs_paragonsr2.support.errors import ParagonSR2Error

CPU = torch.device("cpu")
GRAPHS = [(name, scale, bits) for name in ("realtime", "stream") for scale in (2, 4) for bits in (8, 10)]
GRAPHS += [("photo", 2, 8), ("photo", 2, 10)]


@pytest.fixture(autouse=True)
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch)


def engine_graph(
    name: str, scale: int, bits: int, *, to_bits: int | None = None, blocks: int | None = None, temporal: bool = False
) -> EngineModule:
    spec = make_spec(scale, (32, 48), bits=bits, to_bits=to_bits, temporal=temporal)
    return EngineModule(module_of(random_network(name, scale, blocks), spec, torch.float16, padded=True), CPU)


@pytest.mark.parametrize(("name", "scale", "bits"), GRAPHS)
def test_tensorrt_builds_an_engine(name: str, scale: int, bits: int, capfd: pytest.CaptureFixture[str]) -> None:
    engine = build_engine(engine_graph(name, scale, bits))
    # A learned weight takes two bytes; the folded tails are larger than what they are made of.
    assert len(engine) > 2 * sum(p.numel() for key, p in random_network(name, scale).named_parameters() if "body" in key)
    assert capfd.readouterr().out == ""  # stdout belongs to the video


@pytest.mark.parametrize("bits", [8, 10])
def test_tensorrt_builds_an_engine_that_reads_averages(bits: int) -> None:
    graph = engine_graph("realtime", 2, bits, blocks=1, temporal=True)
    assert [plane.dtype for plane in graph.example()] == [engine_dtype(graph.sources[0])] * 3 + [torch.float32] * 3
    assert build_engine(graph)


@pytest.mark.parametrize(("name", "scale", "bits"), GRAPHS)
def test_the_partitioner_leaves_nothing_to_pytorch(name: str, scale: int, bits: int, tmp_path: Path) -> None:
    import torch_tensorrt

    graph = engine_graph(name, scale, bits, blocks=2)
    register_cast()
    with torch.no_grad():
        program = torch.export.export(graph, graph.example(), strict=False)
    report = tmp_path / "report"
    torch_tensorrt.dynamo.compile(program, arg_inputs=list(graph.example()), dryrun=str(report), **SETTINGS)
    said = report.read_text(encoding="utf-8")
    total, supported = re.search(r"consists of (\d+) Total Operators, of which (\d+) operators are supported", said).groups()  # type: ignore[union-attr]
    assert total == supported
    assert re.findall(r"TRT Engine #(\d+)", said) == ["1"]
    assert "set to run in Torch" not in said
    # Samples cross the engine's border as they lie in memory, or as float32 where TensorRT has no such integers.
    kind = str(engine_dtype(graph.sources[0])).removeprefix("torch.")
    assert kind == ("uint8" if bits == 8 else "float32")
    lines = [line for line in said.splitlines() if "Engine Inputs" in line or "Engine Outputs" in line]
    assert [line.count(f"@{kind}") for line in lines] == [3, 3]


@pytest.mark.parametrize(("bits", "to_bits"), [(8, None), (10, None), (16, None), (8, 10), (10, 8)])
def test_the_engine_with_its_casts_is_the_program(bits: int, to_bits: int | None) -> None:
    graph = engine_graph("realtime", 2, bits, to_bits=to_bits, blocks=1)
    planes = [torch.randint(0, 255, plane.shape).to(torch.uint8 if bits == 8 else torch.int16) for plane in graph.example()]
    expected = graph.module(*planes)
    given = planes if bits == 8 else [widen(plane, graph.sources[0], torch.float32) for plane in planes]
    found = graph(*given)
    assert all(plane.dtype is engine_dtype(graph.target) for plane in found)
    if graph.target.bits > 8:
        found = tuple(narrow(plane, graph.target) for plane in found)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_what_no_converter_takes_is_refused() -> None:
    """An operator that no converter takes is refused: an engine is whole, or there is none."""
    graph = engine_graph("realtime", 2, 8, blocks=0)
    for step in graph.module.steps:
        if isinstance(step.operation, Round):
            step.compute = lambda samples: torch.special.bessel_j0(samples)  # type: ignore[method-assign, assignment]
    with pytest.raises(ParagonSR2Error, match="Torch-TensorRT made no engine of the program"):
        build_engine(graph)


def test_the_runtime_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = installed_runtime()
    assert (runtime.package, runtime.module) == ("torch-tensorrt-rtx", "tensorrt_rtx")
    assert runtime.name.startswith("TensorRT for RTX 1.")
    monkeypatch.setattr(engines, "PACKAGES", {"torch-tensorrt-rtx": "no_such_module"})
    with pytest.raises(ParagonSR2Error, match="torch-tensorrt-rtx is there, and its runtime no_such_module is not"):
        installed_runtime()
    monkeypatch.setattr(engines, "PACKAGES", {"no-such-package": "tensorrt"})
    with pytest.raises(ParagonSR2Error, match="expected no-such-package to be installed"):
        installed_runtime()
