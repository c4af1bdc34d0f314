"""What load_network accepts, and what it makes of it."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from conftest import golden
from fuzz.files import Tensors, saved_tensors

from vs_paragonsr2 import ParagonSR2Error, load_network


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    return safetensors.torch.load_file(golden("realtime_x2"))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
@pytest.mark.parametrize(
    "wrap", ["", "params", "params_ema", "module", "params_ema+module", "orig_mod+module", "state_dict", "both"]
)
def test_wrappings(tmp_path: Path, tensors: Tensors, suffix: str, wrap: str) -> None:
    prefix = {"module": "module.", "params_ema+module": "module.", "orig_mod+module": "_orig_mod.module."}.get(wrap, "")
    inside = {f"{prefix}{k}": v for k, v in tensors.items()}
    path = tmp_path / f"a{suffix}"
    tree: dict[str, object] = dict(inside)
    if wrap == "both":  # the averaged weights are the ones to take
        tree = {"params": {k: torch.zeros_like(v) for k, v in tensors.items()}, "params_ema": tensors, "iter": 5}
    elif wrap not in ("", "module", "orig_mod+module"):
        tree = {wrap.split("+")[0]: inside}
    if suffix == ".safetensors":
        flat = {
            (f"{k}.{name}" if name else k): t
            for k, v in tree.items()
            if not isinstance(v, int)
            for name, t in (v.items() if isinstance(v, dict) else [("", v)])
        }
        saved_tensors(flat, path)
    else:
        torch.save(tree, path)
    network = load_network(path)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, tensors[name])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_float32(tmp_path: Path, tensors: Tensors, dtype: torch.dtype) -> None:
    network = load_network(saved_tensors({k: v.to(dtype) for k, v in tensors.items()}, tmp_path / "a.safetensors"))
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_alpha_comes_from_argument_metadata_or_default(tmp_path: Path, tensors: Tensors) -> None:
    assert load_network(golden("realtime_x2")).alpha == 0.3
    assert load_network(golden("realtime_x2_alpha0")).alpha == 0.0
    assert load_network(golden("realtime_x2_alpha0"), alpha=0.25).alpha == 0.25
    assert load_network(golden("v7_realtime_x2")).alpha == 0.35
    assert load_network(golden("v8_stream_x2"), alpha=3.0).alpha == 1.0  # clamped, as versions 7 and 8 had it
    said = saved_tensors(
        tensors, tmp_path / "a.safetensors", kwargs=json.dumps({"upsampler_alpha": 0.5, "use_checkpointing": True})
    )
    assert load_network(said).alpha == 0.5


@pytest.mark.parametrize("alpha", [-0.1, float("nan"), float("inf"), "0.3", True, 10**400])
def test_refuses_nonsense_for_alpha(alpha: object) -> None:
    with pytest.raises(ParagonSR2Error, match="alpha is .*: expected a number from 0 to 100"):
        load_network(golden("realtime_x2"), alpha=alpha)


@pytest.mark.parametrize(
    "kwargs",
    ["{", "[1]", "[" * 100_000, "1" * 5000, '{"upsampler_alpha": "much"}', '{"upsampler_alpha": -1}'],
    ids=["broken", "list", "deep", "digits", "text", "negative"],
)
def test_refuses_nonsense_in_the_metadata(tmp_path: Path, tensors: Tensors, kwargs: str) -> None:
    with pytest.raises(ParagonSR2Error, match="metadata"):
        load_network(saved_tensors(tensors, tmp_path / "a.safetensors", kwargs=kwargs))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_defaults_of_torch_change_nothing(dtype: torch.dtype) -> None:
    torch.set_default_dtype(dtype)
    try:
        network = load_network(golden("realtime_x2"))
    finally:
        torch.set_default_dtype(torch.float32)
    assert {p.dtype for p in network.parameters()} == {torch.float32}
