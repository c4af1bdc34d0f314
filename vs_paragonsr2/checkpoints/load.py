"""From a file to a network's tensors: read them, recognise variant, scale and version, and verify every one of them.

A checkpoint is data from strangers. Nothing in it is executed, its size is checked before memory is allocated for it, and a
checkpoint is returned only after every tensor has been found right.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network.description import Description, describe
from ..program.parts import NetworkParts
from ..support.arguments import ALPHA_RANGE, MAX_CHECKPOINT_BYTES, checkpoint_file, is_alpha, shown
from ..support.errors import ParagonSR2Error
from .pickled import read_pickled

MAX_TENSORS = 20_000
"""Most tensors that a file may hold. The largest network has under two thousand, and training programs keep several copies."""

MAX_DEPTH = 4
"""How many dictionaries may lie within each other."""

WRAPPINGS = ("params_ema.", "params.", "state_dict.", "model.")
"""What training programs put before the names of the weights; the preferred one comes first."""

PREFIXES = ("module.", "_orig_mod.")
"""What ``DataParallel`` and ``torch.compile`` put before every name."""

SUFFIXES = (".safetensors", ".pth", ".pt")
"""How the names of checkpoints end."""

type Numbers = NDArray[np.generic]


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A network's weights, all of them checked."""

    description: Description
    alpha: float
    """Blend of the base path's low-pass."""
    tensors: Mapping[str, NDArray[np.float32]]

    @property
    def parts(self) -> NetworkParts:
        """The network's parts for :func:`~..program.fold.fold`. Raises ParagonSR2Error for what cannot be folded."""
        return self.description.parts({name: tensor.astype(np.float64) for name, tensor in self.tensors.items()}, self.alpha)


def load_checkpoint(path: str | os.PathLike[str], alpha: float | None = None) -> Checkpoint:
    """Load a checkpoint of any version.

    Args:
        path: a ``.safetensors`` file, or a ``.pth`` or ``.pt`` file of tensors alone. The weights may be wrapped in
            ``params_ema``, ``params``, ``state_dict``, ``model`` or ``module``.
        alpha: blend of the base path's low-pass, from 0 to 100. It is not a tensor: None takes it from the file's metadata, and
            where they do not say it, the default of the variant and version.

    Raises:
        ParagonSR2Error: the file cannot be read or is of another architecture, or a tensor is missing, unknown, of another shape
            or type, or not finite.
    """
    if not isinstance(path, str | os.PathLike):
        raise ParagonSR2Error(f"path is {path!r}: expected the path of a checkpoint")
    path = checkpoint_file("path", path)
    tensors, metadata = _read(path)
    if alpha is None:
        alpha = _alpha_in(metadata, path)
    elif not is_alpha(alpha):
        raise ParagonSR2Error(f"alpha is {alpha!r}: expected {ALPHA_RANGE}")
    description = describe({name: tensor.shape for name, tensor in tensors.items()}, path)
    alpha = description.default_alpha if alpha is None else float(alpha)
    return Checkpoint(description, alpha, _verified(tensors, description, path))


@lru_cache(maxsize=4)
def checkpoint_of(path: Path, sha256: str, alpha: float | None) -> Checkpoint:
    """The checkpoint at a path, kept for the next script; ``sha256`` tells whether the file is still the same.

    Raises ParagonSR2Error as :func:`load_checkpoint` does.
    """
    return load_checkpoint(path, alpha)


@lru_cache(maxsize=4)
def parts_of(path: Path, sha256: str, alpha: float | None) -> NetworkParts:
    """The parts of the checkpoint at a path, kept for sessions that differ only in the clip.

    Raises ParagonSR2Error as :func:`load_checkpoint` does, and for what cannot be folded.
    """
    checkpoint = checkpoint_of(path, sha256, alpha)
    try:
        return checkpoint.parts
    except ParagonSR2Error as error:
        raise ParagonSR2Error(f"{path}: {error}") from error


@lru_cache(maxsize=64)
def description_of(path: Path, sha256: str) -> Description:
    """Which network the checkpoint at a path is of; ``sha256`` tells whether the file is still the same.

    Of a safetensors file only the header is read: whether the tensors are right is seen when it is loaded.

    Raises ParagonSR2Error for a file that cannot be read, or is not of a ParagonSR2 network.
    """
    if path.suffix != ".safetensors":
        return checkpoint_of(path, sha256, None).description  # which has to read all of it, and is kept
    import safetensors  # here, since the check of an NVIDIA card runs where there are only PyTorch and NumPy

    try:
        with safetensors.safe_open(path, "numpy") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118  it is not a dict
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ParagonSR2Error(f"{path}: truncated, or no safetensors file ({error})") from error
    return describe(_unwrapped(shapes), path)


def _read(path: Path) -> tuple[dict[str, Numbers], dict[str, str]]:
    """The tensors of a file under their bare names, and its metadata."""
    if path.suffix == ".safetensors":
        tree, metadata = _read_safetensors(path)
    elif path.suffix in SUFFIXES:
        tree, metadata = read_pickled(path), {}
    else:
        raise ParagonSR2Error(f"{path}: expected a checkpoint that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    tensors = dict(islice(_flatten(tree), MAX_TENSORS + 1))
    if len(tensors) > MAX_TENSORS:
        raise ParagonSR2Error(f"{path}: holds more than {MAX_TENSORS:,} tensors, and no checkpoint of ours has a tenth of that")
    return _unwrapped(tensors), metadata


DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1"}
"""NumPy's type for each type of safetensors' tensors, as their values lie in the file."""


def _read_safetensors(path: Path) -> tuple[dict[str, Numbers], dict[str, str]]:
    """The tensors of a file, with bfloat16 as float32, and its metadata. The file is read once."""
    import safetensors

    try:
        with path.open("rb") as file:
            content = file.read(MAX_CHECKPOINT_BYTES + 1)  # it may have grown since its size was checked
        if len(content) > MAX_CHECKPOINT_BYTES:
            raise ValueError(f"it has grown beyond {MAX_CHECKPOINT_BYTES >> 20} MiB")
        found = {name: _array(name, entry) for name, entry in safetensors.deserialize(content)}  # type: ignore[no-untyped-call]
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return found, header.get("__metadata__") or {}
    except (safetensors.SafetensorError, OSError, ValueError, RecursionError) as error:
        raise ParagonSR2Error(f"{path}: truncated, or no safetensors file ({error})") from error


def _array(name: str, entry: Mapping[str, Any]) -> Numbers:
    if entry["dtype"] not in DTYPES:
        raise ValueError(f"{shown(name)} is {entry['dtype']}; expected dense floating-point weights")
    array: Numbers = np.frombuffer(entry["data"], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    if entry["dtype"] == "BF16":  # the upper half of a float32
        return np.asarray(array.astype(np.uint32) << 16).view(np.float32)
    return array


def _unwrapped[T](tensors: Mapping[str, T]) -> dict[str, T]:
    """The tensors, or their shapes, under the names that the network has for them."""
    found = dict(tensors)
    for wrapping in WRAPPINGS:
        inside = {name.removeprefix(wrapping): t for name, t in found.items() if name.startswith(wrapping)}
        found = inside or found
    while found and (prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in found)), None)):
        found = {name.removeprefix(prefix): t for name, t in found.items()}
    return found


def _flatten(tree: object, prefix: str = "") -> Iterator[tuple[str, Numbers]]:
    """The arrays of nested dictionaries under dotted names."""
    if isinstance(tree, dict) and prefix.count(".") < MAX_DEPTH:
        for key, value in tree.items():
            if isinstance(value, np.ndarray):
                yield f"{prefix}{key}", value
            else:
                yield from _flatten(value, f"{prefix}{key}.")


def _alpha_in(metadata: Mapping[str, str], path: Path) -> float | None:
    """``upsampler_alpha`` from the metadata's ``kwargs``, or None where they do not say it."""
    try:
        kwargs = json.loads(metadata.get("kwargs", "{}"))
    except (ValueError, RecursionError) as error:
        begin = metadata["kwargs"][:80]
        raise ParagonSR2Error(f"{path}: the metadata's kwargs are {begin!r}: expected a JSON object") from error
    if not isinstance(kwargs, dict):
        raise ParagonSR2Error(f"{path}: the metadata's kwargs are {kwargs!r}: expected a JSON object")
    alpha = kwargs.get("upsampler_alpha")
    if alpha is not None and not is_alpha(alpha):
        raise ParagonSR2Error(f"{path}: upsampler_alpha in the metadata is {alpha!r}: expected {ALPHA_RANGE}")
    return alpha


def _verified(tensors: Mapping[str, Numbers], description: Description, path: Path) -> dict[str, NDArray[np.float32]]:
    """The tensors in float32. Raises ParagonSR2Error where a name, shape, type or value is not one that the network can have."""
    expected = description.shapes()
    missing, extra = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or extra:
        found = " and ".join(
            f"{verb} {len(names)} ({', '.join(map(shown, names[:3]))}{', ...' if len(names) > 3 else ''})"
            for verb, names in (("lacks", missing), ("adds", extra))
            if names
        )
        raise ParagonSR2Error(f"{path}: {description} by its form, which has {len(expected)} tensors, but the file {found}")
    right = {}
    for name, tensor in tensors.items():
        if tensor.shape != expected[name]:
            raise ParagonSR2Error(f"{path}: {name} has the shape {tensor.shape}; {description} has {expected[name]}")
        if not np.issubdtype(tensor.dtype, np.floating):
            raise ParagonSR2Error(f"{path}: {name} is {tensor.dtype}; expected dense floating-point weights")
        with np.errstate(over="ignore"):
            right[name] = tensor.astype(np.float32)
        if not np.isfinite(right[name]).all():
            raise ParagonSR2Error(f"{path}: {name} has values that are not finite; a trained checkpoint has none")
    return right
