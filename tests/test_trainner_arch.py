"""The arch file for traiNNer-redux, without traiNNer and beside a stand-in for its registry."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from bootstrap import ROOT
from conftest import golden

from vs_paragonsr2 import load_network

ARCH = ROOT / "scripts/trainner/paragonsr2_arch.py"
NAMES = ["paragonsr2_realtime", "paragonsr2_stream", "paragonsr2_photo", "paragonsr2_pro"]

STAND_IN = """
class Registry(dict):
    def register(self):
        def add(function):
            assert function.__name__ not in self
            self[function.__name__] = function
            return function
        return add

ARCH_REGISTRY = Registry()
"""


def run(folder: Path, program: str) -> list[str]:
    """Words printed by a program in an interpreter of its own, with the arch file and the folder on its path."""
    paths = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(ARCH.parent)!r}, {str(ROOT)!r}]\n"
    return subprocess.run([sys.executable, "-c", paths + program], check=True, capture_output=True, encoding="utf-8").stdout.split()


def test_networks_are_registered_beside_a_stand_in_for_trainner(tmp_path: Path) -> None:
    package = tmp_path / "traiNNer/utils"
    package.mkdir(parents=True)
    (package / "registry.py").write_text(STAND_IN, encoding="utf-8")
    # As build_network of traiNNer calls them.
    program = """
import paragonsr2_arch
from traiNNer.utils.registry import ARCH_REGISTRY
for name, make in ARCH_REGISTRY.items():
    print(name, make(upsampler_alpha=0.0, scale=2).variant)
"""
    printed = run(tmp_path, program)
    assert printed == [word for name in NAMES for word in (name, name.removeprefix("paragonsr2_"))]


def test_plain_pytorch_without_trainner(tmp_path: Path) -> None:
    program = "import paragonsr2_arch as a; print(*(n for n in dir(a) if n.startswith('paragonsr2_')), 'traiNNer' in sys.modules)"
    assert run(tmp_path, program) == [*sorted(NAMES), "False"]


@pytest.mark.parametrize("name", ["realtime_x2_alpha0", "stream_x2"])
def test_a_checkpoint_loads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ARCH.parent)
    import paragonsr2_arch

    source = load_network(golden(name))
    network = getattr(paragonsr2_arch, f"paragonsr2_{source.variant}")(scale=2, upsampler_alpha=source.alpha, detail_gain=0.7)
    assert network.detail_gain.item() == pytest.approx(0.7)
    network.load_state_dict(source.state_dict(), strict=True)
    low = torch.rand(1, 3, 8, 8)
    assert torch.equal(network(low), source(low))
