"""What read_pickled makes of files of torch.save."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzz.files import made, packed, saved, tensor, unpacked
from fuzz.verdicts import refused, same
from torch import nn

from vs_paragonsr2.checkpoints.pickled import read_pickled

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
DTYPES += [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2, bias=False))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_is_read_as_pytorch_has_it(tmp_path: Path, dtype: torch.dtype) -> None:
    values = torch.tensor([[0, 1, 2.75], [3, 1e-3, 127]]).to(dtype)
    tree: dict[str, object] = {"matrix": values, "scalar": values[1, 2], "none": values[:0], "turned": values.T}
    if dtype.is_floating_point:
        tree["model"] = network().to(dtype).state_dict()
    same(read_pickled(saved(tmp_path / "a.pth", tree)), tree)


def test_bfloat16_becomes_float32_exactly(tmp_path: Path) -> None:
    every = torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16)
    read = read_pickled(saved(tmp_path / "a.pth", every))
    assert read.dtype == np.float32
    assert read.tobytes() == every.float().numpy().tobytes()


def test_views_of_one_storage_are_copies_of_what_they_view(tmp_path: Path) -> None:
    memory = torch.arange(24.0)
    views = [memory, memory[5:9], memory[1::3], memory[24:], memory[3], memory.view(4, 6)[1:3, 2:5]]
    views += [memory.view(2, 3, 4).permute(2, 0, 1), memory[:1].expand(1, 1), memory.as_strided((1, 4), (99, 2))]
    views += [torch.zeros(8)[:2].expand(3, 2), torch.zeros(0, 3)]
    path = saved(tmp_path / "a.pth", views)
    assert sum(name.startswith("a/data/") for name, _ in unpacked(path)) == 3
    read = read_pickled(path)
    same(read, views)
    read[0][:] = -1
    same(read[1:], views[1:])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_training_programs_save_is_read_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    model = network()
    optimiser = torch.optim.AdamW(model.parameters())
    sum(parameter.square().sum() for parameter in model.parameters()).backward()
    optimiser.step()
    weights = model.state_dict()
    assert weights._metadata
    tree = {"params_ema": weights, "params": weights, "epoch": 3, "state": optimiser.state_dict()}
    tree["one"] = nn.Parameter(torch.ones(2))
    tree["numbers"] = [1.5, None, True, False, "é\n", -1, 300, 70_000, -(2**40), 2**100]
    tree["containers"] = [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}, {7: {}}]
    same(read_pickled(saved(tmp_path / "ä b.pth", tree, pickle_protocol=protocol)), tree)


def test_the_order_of_bytes_is_that_of_the_archive(tmp_path: Path) -> None:
    tree = [torch.arange(5).to(dtype) for dtype in DTYPES]
    members = dict(unpacked(saved(tmp_path / "a.pth", tree)))
    for key, values in enumerate(tree):
        stored = np.frombuffer(members[f"a/data/{key}"], f"u{values.itemsize}")
        members[f"a/data/{key}"] = stored.byteswap().tobytes()
    path = tmp_path / "b.pth"
    same(read_pickled(packed(path, *{**members, "a/byteorder": b"big"}.items())), tree)
    same(read_pickled(path), torch.load(path))
    refused(packed(path, *{**members, "a/byteorder": b"middle"}.items()), "a byte order that is neither little nor big")


def test_needs_no_pytorch(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"a": torch.ones(2)})
    program = "import sys, pathlib; sys.modules['torch'] = None; from vs_paragonsr2.checkpoints.pickled import read_pickled; "
    program += f"print(read_pickled(pathlib.Path({str(path)!r})))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
    assert run.stdout == "{'a': array([1., 1.], dtype=float32)}\n"


def test_what_pytorch_leaves_unused_may_be_any_number(tmp_path: Path) -> None:
    views = tensor(6, 1, (2, 2), (2, 1)) + tensor(6, 5, (1, 1), (99, 99)) + tensor(6, 9, (0, 2), (99, 99))
    views += tensor(6, 2, (2, 2), (0, 1))
    read = read_pickled(made(tmp_path / "a.pth", b"\x95" + b"\xff" * 8 + b"(" + views + b"t"))
    assert [array.tolist() for array in read] == [[[1, 2], [3, 4]], [[5]], [], [[2, 3], [2, 3]]]
