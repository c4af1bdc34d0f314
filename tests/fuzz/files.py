"""Checkpoints, archives and pickles made by hand."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

type Tensors = dict[str, Tensor]


def saved_tensors(tensors: Tensors, path: Path, **metadata: str) -> Path:
    """A safetensors file."""
    safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata or None)
    return path


def saved(path: Path, tree: object, **options: Any) -> Path:
    """A file of torch.save."""
    torch.save(tree, path, **options)
    return path


def packed(path: Path, *members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """An archive of members, as Python writes it."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members:
            file.writestr(name, data)
    return path


def unpacked(path: Path) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as file:
        return [(name, file.read(name)) for name in file.namelist()]


def number(value: int) -> bytes:
    return b"\x8a\x10" + value.to_bytes(16, "little", signed=True)


def numbers(*values: int) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(
    count: int, offset: int, shape: tuple[int, ...], steps: tuple[int, ...], key: bytes = b"0", kind: bytes = b"Float"
) -> bytes:
    """The opcodes that make a tensor."""
    storage = b"(\x8c\x07storagectorch\n%sStorage\n\x8c%c%s\x8c\x03cpu%stQ" % (kind, len(key), key, number(count))
    view = number(offset) + numbers(*shape) + numbers(*steps)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + view + b"\x89}tR"


def made(path: Path, opcodes: bytes, *others: tuple[str, bytes]) -> Path:
    """An archive of a pickle; ``data/0`` holds six values in float32."""
    stored = ("a/data/0", np.arange(6, dtype="<f4").tobytes())
    return packed(path, ("a/data.pkl", b"\x80\x02" + opcodes + b"."), *(others or [stored]))
