"""Engines from the very graph that the session compiles, built by TensorRT for RTX, which needs no card for it."""

import pytest
import torch
from card import stand_in
from plain import make_spec, random_network

from vs_paragonsr2.backends.engines import EngineGraph, build_engine
from vs_paragonsr2.graph import PlanesGraph

CPU = torch.device("cpu")
GRAPHS = [(name, scale, bits) for name in ("realtime", "stream") for scale in (2, 4) for bits in (8, 10)]


@pytest.fixture(autouse=True)
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch)


def engine_graph(name: str, scale: int, bits: int, to_bits: int | None = None) -> EngineGraph:
    spec = make_spec(scale, (32, 48), bits=bits, to_bits=to_bits)
    return EngineGraph(PlanesGraph(random_network(name, scale), spec, dtype=torch.float16, padded=True), CPU)


@pytest.mark.parametrize(("name", "scale", "bits"), [*GRAPHS, ("photo", 2, 8), ("photo", 2, 10)])
def test_tensorrt_builds_one_engine(name: str, scale: int, bits: int, capfd: pytest.CaptureFixture[str]) -> None:
    engine = build_engine(engine_graph(name, scale, bits))
    assert len(engine) > 2 * sum(p.numel() for p in random_network(name, scale).parameters()) / 4
    assert capfd.readouterr().out == ""
