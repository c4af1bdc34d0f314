"""What load_network accepts, detects and refuses."""

import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from conftest import golden
from torch import Tensor

from vs_paragonsr2 import ParagonSR2Error, load_network
from vs_paragonsr2.checkpoints import archive as archive_room
from vs_paragonsr2.network import SCALES, VARIANTS, LegacyParagonSR2, ParagonSR2, describe
from vs_paragonsr2.support import arguments as arguments_room

type Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    return safetensors.torch.load_file(golden("realtime_x2"))


def saved(tensors: Tensors, path: Path, **metadata: str) -> Path:
    safetensors.torch.save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata or None)
    return path


@pytest.mark.parametrize(
    ("name", "variant", "scale", "version"),
    [
        ("realtime_x2", "realtime", 2, 11),
        ("realtime_x4", "realtime", 4, 11),
        ("stream_x2", "stream", 2, 11),
        ("v10_realtime_x2", "realtime", 2, 10),
        ("v10_stream_x2", "stream", 2, 10),
        ("v8_realtime_x2", "realtime", 2, 8),
        ("v8_stream_x2", "stream", 2, 8),
        ("v7_realtime_x2", "realtime", 2, 7),
        ("v7_stream_x2", "stream", 2, 7),
    ],
)
def test_detects_what_a_golden_file_is(name: str, variant: str, scale: int, version: int) -> None:
    network = load_network(str(golden(name)))
    assert (network.variant, network.scale, network.version) == (variant, scale, version)
    assert not network.training
    assert isinstance(network.version, int)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_detects_every_variant_and_scale(tmp_path: Path, variant: str, scale: int) -> None:
    path = saved(ParagonSR2(variant, scale).state_dict(), tmp_path / "a.safetensors")
    network = load_network(path)
    assert (network.variant, network.scale, network.version) == (variant, scale, 11)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("version", [7, 8])
@pytest.mark.parametrize("variant", ["realtime", "stream"])
def test_detects_every_legacy_scale(tmp_path: Path, variant: str, version: int, scale: int) -> None:
    source = LegacyParagonSR2(variant, scale, version, content_processor=variant == "stream")
    network = load_network(saved(source.state_dict(), tmp_path / "a.safetensors"))
    assert (network.variant, network.scale, network.version) == (variant, scale, version)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_a_network_consists_of_is_known_without_pytorch(variant: str, attention: bool, scale: int) -> None:
    for version in (10, 11):
        network = ParagonSR2(variant, scale, export_safe=not attention, version=version)
        shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        description = describe(shapes, "file")
        assert description.shapes() == shapes
        assert description.sees_whole_picture == (network.window is not None)
        assert (description.variant, description.scale) == (variant, scale)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("version", [7, 8])
@pytest.mark.parametrize("variant", ["realtime", "stream"])
def test_what_an_older_network_consists_of_is_known_without_pytorch(variant: str, version: int, scale: int) -> None:
    for analyzer in (False, True):
        network = LegacyParagonSR2(variant, scale, version, content_processor=analyzer)
        shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        description = describe(shapes, "file")
        assert description.shapes() == shapes
        assert (description.variant, description.version, description.scale) == (variant, version, scale)
        assert not description.sees_whole_picture


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
        saved(flat, path)
    else:
        torch.save(tree, path)
    network = load_network(path)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, tensors[name])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_float32(tmp_path: Path, tensors: Tensors, dtype: torch.dtype) -> None:
    network = load_network(saved({k: v.to(dtype) for k, v in tensors.items()}, tmp_path / "a.safetensors"))
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_alpha_comes_from_argument_metadata_or_default(tmp_path: Path, tensors: Tensors) -> None:
    assert load_network(golden("realtime_x2")).alpha == 0.3
    assert load_network(golden("realtime_x2_alpha0")).alpha == 0.0
    assert load_network(golden("realtime_x2_alpha0"), alpha=0.25).alpha == 0.25
    assert load_network(golden("v7_realtime_x2")).alpha == 0.35
    assert load_network(golden("v8_stream_x2"), alpha=3.0).alpha == 1.0  # clamped, as versions 7 and 8 had it
    said = saved(tensors, tmp_path / "a.safetensors", kwargs=json.dumps({"upsampler_alpha": 0.5, "use_checkpointing": True}))
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
        load_network(saved(tensors, tmp_path / "a.safetensors", kwargs=kwargs))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("conv_mid.bias"), r"realtime 2x, version 11 .*lacks 1 \(conv_mid.bias\)"),
        (lambda t: t.pop("base.blur.kernel"), r"lacks 1 \(base.blur.kernel\)"),
        (lambda t: t.pop("up.0.weight"), "lacks up.0.weight"),
        (lambda t: t.update(extra=torch.zeros(1)), r"adds 1 \(extra\)"),
        (lambda t: t.update({"body.0.blocks.3.dw.bias": torch.zeros(32)}), "adds 1"),
        (lambda t: t["conv_in.weight"].view(-1)[0].fill_(float("nan")), "conv_in.weight has values that are not finite"),
        (lambda t: t["conv_out.bias"].fill_(float("inf")), "conv_out.bias has values that are not finite"),
        (lambda t: t.update({"conv_in.weight": torch.zeros(16, 3, 5, 5)}), r"\(16, 3, 5, 5\); .* has \(16, 3, 3, 3\)"),
        (lambda t: t.update({"up.0.weight": torch.zeros(80, 16, 3, 3)}), "expected 64, 144, 256, 1024 output channels"),
        (lambda t: t.update({"conv_in.bias": torch.zeros(16, dtype=torch.int32)}), "expected dense floating-point"),
    ],
)
def test_refuses_missing_extra_and_distorted_tensors(
    tmp_path: Path, tensors: Tensors, change: Callable[[Tensors], object], said: str
) -> None:
    changed = {k: v.clone() for k, v in tensors.items()}
    change(changed)
    with pytest.raises(ParagonSR2Error, match=said):
        load_network(saved(changed, tmp_path / "a.safetensors"))


def test_refuses_the_same_weights_under_two_names(tmp_path: Path, tensors: Tensors) -> None:
    twice = {**tensors, **{f"module.{k}": v.clone() for k, v in tensors.items()}}
    with pytest.raises(ParagonSR2Error, match=r"adds \d+ \(module"):
        load_network(saved(twice, tmp_path / "a.safetensors"))


def test_refuses_a_program(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Identity()).save(tmp_path / "a.pt")
    with pytest.raises(ParagonSR2Error, match="a TorchScript program; expected the weights alone"):
        load_network(tmp_path / "a.pt")


def test_refuses_another_architecture(tmp_path: Path) -> None:
    other = {"conv_first.weight": torch.zeros(64, 3, 3, 3), "conv_last.weight": torch.zeros(3, 64, 3, 3)}
    with pytest.raises(ParagonSR2Error, match=r"not a ParagonSR2 checkpoint. It has conv_first.*expected conv_in.weight"):
        load_network(saved(other, tmp_path / "a.safetensors"))


def test_refuses_a_block_of_no_variant(tmp_path: Path, tensors: Tensors) -> None:
    other = {name.replace("body.0.blocks.0.dw", "body.0.blocks.0.dwconv"): tensor for name, tensor in tensors.items()}
    with pytest.raises(ParagonSR2Error, match=r"body.0.blocks.0 has conv1.bias, .* no block of realtime, stream, photo, pro"):
        load_network(saved(other, tmp_path / "a.safetensors"))


def test_refuses_photo_of_the_old_versions(tmp_path: Path) -> None:
    old = {
        "conv_in.weight": torch.zeros(64, 3, 3, 3),
        "base_upsampler.sharpen.conv_h.weight": torch.zeros(3, 1, 1, 7),
        "base_upsampler.sharpen.source_kernel": torch.zeros(7),
    }
    with pytest.raises(ParagonSR2Error, match="Photo checkpoint of version 8.*version 9 or later"):
        load_network(saved(old, tmp_path / "a.safetensors"))


def test_refuses_a_truncated_file(tmp_path: Path, tensors: Tensors) -> None:
    whole = golden("realtime_x2").read_bytes()
    torch.save(tensors, tmp_path / "whole.pth")
    pickled = (tmp_path / "whole.pth").read_bytes()
    for name, data in (("a.safetensors", whole), ("a.pth", pickled)):
        for length in (0, 4, 100, len(data) // 2, len(data) - 1):
            path = tmp_path / name
            path.write_bytes(data[:length])
            with pytest.raises(ParagonSR2Error, match="truncated|damaged"):
                load_network(path)


def test_refuses_a_header_that_claims_more_than_there_is(tmp_path: Path) -> None:
    header = json.dumps({"conv_in.weight": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ParagonSR2Error, match="truncated, or no safetensors file"):
        load_network(path)


def test_refuses_a_tensor_that_is_larger_than_its_storage(tmp_path: Path, tensors: Tensors) -> None:
    """A tensor of stride 0 takes no room in the file, and terabytes once it is copied."""
    torch.save({**tensors, "conv_in.bias": torch.zeros(1).expand(2**42)}, tmp_path / "a.pth")
    with pytest.raises(ParagonSR2Error, match="larger than its storage"):
        load_network(tmp_path / "a.pth")


class RunsCode:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.trace,)


def test_runs_nothing_from_a_pickle(tmp_path: Path, tensors: Tensors) -> None:
    trace = tmp_path / "trace"
    torch.save({"params": tensors, "other": RunsCode(trace)}, tmp_path / "zip.pth")
    with pytest.raises(ParagonSR2Error, match="nothing of it was run"):
        load_network(tmp_path / "zip.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(RunsCode(trace)))
    with pytest.raises(ParagonSR2Error, match="not written by torch.save"):
        load_network(tmp_path / "bare.pth")
    assert not trace.exists()
    torch.load(tmp_path / "zip.pth", weights_only=False)
    assert trace.exists()  # it would have run


class FillsMemory:
    def __reduce__(self) -> tuple[object, ...]:
        return bytearray, (10**12,)


def test_what_a_pickle_may_name_is_checked_before_it_is_loaded(tmp_path: Path, tensors: Tensors) -> None:
    """PyTorch's own loader lets a bytearray of any size pass."""
    torch.save({**tensors, "more": FillsMemory()}, tmp_path / "a.pth")
    with pytest.raises(ParagonSR2Error, match="other than tensors .*bytearray"):
        load_network(tmp_path / "a.pth")


def test_dictionaries_within_themselves_come_to_an_end(tmp_path: Path, tensors: Tensors) -> None:
    endless: dict[str, object] = {}
    endless["self"] = endless
    wide: dict[str, object] = {"end": torch.zeros(1)}
    for _ in range(60):
        wide = {"a": wide, "b": wide}
    for tree in (endless, wide):
        torch.save(tree, tmp_path / "a.pth")
        with pytest.raises(ParagonSR2Error, match="within themselves, or deeper or more than in any checkpoint"):
            load_network(tmp_path / "a.pth")


def test_refuses_tensors_without_values(tmp_path: Path, tensors: Tensors) -> None:
    torch.save({**tensors, "conv_in.bias": torch.zeros(16, device="meta")}, tmp_path / "a.pth")
    with pytest.raises(ParagonSR2Error, match="other than tensors|on meta; expected"):
        load_network(tmp_path / "a.pth")


def test_refuses_what_is_no_regular_file(tmp_path: Path) -> None:
    (tmp_path / "zero.pth").symlink_to("/dev/zero")
    (tmp_path / "folder.safetensors").mkdir()
    with (tmp_path / "large.pth").open("wb") as file:
        file.truncate(40 * 2**30)  # takes no room
    for name, said in (("zero.pth", "regular"), ("folder.safetensors", "regular"), ("large.pth", "40960 MiB, and no ParagonSR2")):
        with pytest.raises(ParagonSR2Error, match=f"path is .*{name}.*{said}"):
            load_network(tmp_path / name)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_defaults_of_torch_change_nothing(dtype: torch.dtype) -> None:
    torch.set_default_dtype(dtype)
    try:
        network = load_network(golden("realtime_x2"))
    finally:
        torch.set_default_dtype(torch.float32)
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_refuses_what_could_unpack_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for room in (arguments_room, archive_room):
        monkeypatch.setattr(room, "MAX_CHECKPOINT_BYTES", 100_000)
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(10_000_000))
    with pytest.raises(ParagonSR2Error, match="compressed or encrypted"):
        load_network(tmp_path / "a.pth")
    (tmp_path / "b.safetensors").write_bytes(bytes(200_000))
    with pytest.raises(ParagonSR2Error, match="no ParagonSR2 checkpoint is larger"):
        load_network(tmp_path / "b.safetensors")


def test_refuses_no_file_and_other_suffixes(tmp_path: Path) -> None:
    with pytest.raises(ParagonSR2Error, match="path is .*there is no such file"):
        load_network(tmp_path / "none.safetensors")
    (tmp_path / "a.onnx").write_bytes(b"onnx")
    with pytest.raises(ParagonSR2Error, match="ends in .safetensors, .pth or .pt"):
        load_network(tmp_path / "a.onnx")
    for path in (None, 3, "nul\0.pth", "long" * 5000 + ".pth"):
        with pytest.raises(ParagonSR2Error, match="path is .*(there is no such file|expected the path of a checkpoint)"):
            load_network(path)
    with pytest.raises(ParagonSR2Error, match="attention_mode is 'fast'"):
        load_network(golden("realtime_x2"), attention_mode="fast")
