"""What load_network refuses, and that it executes nothing."""

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
from fuzz.files import Tensors, saved_tensors

from vs_paragonsr2 import ParagonSR2Error, load_network
from vs_paragonsr2.checkpoints import archive
from vs_paragonsr2.support import arguments


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    return safetensors.torch.load_file(golden("realtime_x2"))


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
        load_network(saved_tensors(changed, tmp_path / "a.safetensors"))


def test_refuses_the_same_weights_under_two_names(tmp_path: Path, tensors: Tensors) -> None:
    twice = {**tensors, **{f"module.{k}": v.clone() for k, v in tensors.items()}}
    with pytest.raises(ParagonSR2Error, match=r"adds \d+ \(module"):
        load_network(saved_tensors(twice, tmp_path / "a.safetensors"))


def test_refuses_a_program(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Identity()).save(tmp_path / "a.pt")
    with pytest.raises(ParagonSR2Error, match="a TorchScript program; expected the weights alone"):
        load_network(tmp_path / "a.pt")


def test_refuses_another_architecture(tmp_path: Path) -> None:
    other = {"conv_first.weight": torch.zeros(64, 3, 3, 3), "conv_last.weight": torch.zeros(3, 64, 3, 3)}
    with pytest.raises(ParagonSR2Error, match=r"not a ParagonSR2 checkpoint. It has conv_first.*expected conv_in.weight"):
        load_network(saved_tensors(other, tmp_path / "a.safetensors"))


def test_refuses_a_block_of_no_variant(tmp_path: Path, tensors: Tensors) -> None:
    other = {name.replace("body.0.blocks.0.dw", "body.0.blocks.0.dwconv"): tensor for name, tensor in tensors.items()}
    with pytest.raises(ParagonSR2Error, match=r"body.0.blocks.0 has conv1.bias, .* no block of realtime, stream, photo, pro"):
        load_network(saved_tensors(other, tmp_path / "a.safetensors"))


def test_refuses_photo_of_the_old_versions(tmp_path: Path) -> None:
    old = {
        "conv_in.weight": torch.zeros(64, 3, 3, 3),
        "base_upsampler.sharpen.conv_h.weight": torch.zeros(3, 1, 1, 7),
        "base_upsampler.sharpen.source_kernel": torch.zeros(7),
    }
    with pytest.raises(ParagonSR2Error, match="Photo checkpoint of version 8.*version 9 or later"):
        load_network(saved_tensors(old, tmp_path / "a.safetensors"))


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
    """A tensor of stride 0 takes no space in the file, and terabytes once it is copied."""
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
        file.truncate(40 * 2**30)  # takes no space on the disk
    for name, said in (("zero.pth", "regular"), ("folder.safetensors", "regular"), ("large.pth", "40960 MiB, and no ParagonSR2")):
        with pytest.raises(ParagonSR2Error, match=f"path is .*{name}.*{said}"):
            load_network(tmp_path / name)


def test_refuses_what_could_unpack_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (arguments, archive):
        monkeypatch.setattr(module, "MAX_CHECKPOINT_BYTES", 100_000)
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", bytes(10_000_000))
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
