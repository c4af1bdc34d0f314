"""Tensors from the storages of a PyTorch archive, as NumPy arrays."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..support.arguments import MAX_CHECKPOINT_BYTES
from ..support.errors import ParagonSR2Error

MAX_DIMENSIONS = 8
"""Most dimensions that a tensor may have."""

STORAGES = {
    "torch.FloatStorage": ("f4", np.float32),
    "torch.DoubleStorage": ("f8", np.float64),
    "torch.HalfStorage": ("f2", np.float16),
    "torch.BFloat16Storage": ("u2", np.float32),  # its upper half
    "torch.LongStorage": ("i8", np.int64),
    "torch.IntStorage": ("i4", np.int32),
    "torch.ShortStorage": ("i2", np.int16),
    "torch.CharStorage": ("i1", np.int8),
    "torch.ByteStorage": ("u1", np.uint8),
    "torch.BoolStorage": ("u1", np.bool_),
}
"""How the values of each kind of storage lie in the file, and the type that they have in arrays."""


def damaged(why: str) -> ParagonSR2Error:
    """The error for what torch.save would not have written."""
    return ParagonSR2Error(f"damaged, or no PyTorch checkpoint ({why})")


@dataclass(frozen=True, slots=True)
class Storage:
    """Memory that tensors view: its bytes in the file, the type of its values there and in arrays, and their number."""

    data: memoryview
    stored: np.dtype[Any]
    given: np.dtype[Any]
    count: int


class Storages:
    """The storages of one archive. All tensors made from them may have as many bytes as a checkpoint, at least 4 for each value."""

    def __init__(self, members: dict[str, memoryview], folder: str) -> None:
        self._members, self._folder = members, folder
        order = members.get(f"{folder}byteorder", b"little")  # older versions of PyTorch do not say it
        if order not in (b"little", b"big"):
            raise damaged("a byte order that is neither little nor big")
        self._order = "<" if order == b"little" else ">"
        self._bytes_left = MAX_CHECKPOINT_BYTES

    def storage(self, kind: str, key: str, count: int) -> Storage:
        """The storage of one kind in the member ``key``. Raises ParagonSR2Error where it does not have ``count`` values."""
        stored, given = np.dtype(self._order + STORAGES[kind][0]), np.dtype(STORAGES[kind][1])
        data = self._members.get(f"{self._folder}data/{key}")
        if data is None or len(data) // stored.itemsize != count:
            raise damaged("a storage is not there, or has another size")
        return Storage(data, stored, given, count)

    def tensor(self, storage: Storage, offset: Any, shape: tuple[Any, ...], steps: tuple[Any, ...]) -> NDArray[Any]:
        """A copy of the tensor that starts at the value ``offset`` of a storage; ``steps`` are its strides, in values.

        Raises ParagonSR2Error where these are not numbers of values, or the tensor reaches beyond its storage or is larger.
        """
        whole = all(type(number) is int and number >= 0 for number in (offset, *shape, *steps))
        if not whole or not len(shape) == len(steps) <= MAX_DIMENSIONS:
            raise damaged("a tensor has no shape")
        count = math.prod(shape)
        # Where there is nothing to step over, PyTorch leaves any number.
        offset, steps = offset if count else 0, tuple(s if count and n > 1 else 0 for n, s in zip(shape, steps, strict=True))
        last = offset + sum(step * (length - 1) for length, step in zip(shape, steps, strict=True))
        # Where one length is 0, the others are bounded as well, since NumPy multiplies them.
        if count > storage.count or (count and last >= storage.count) or math.prod(n or 1 for n in shape) > MAX_CHECKPOINT_BYTES:
            raise damaged("a tensor is larger than its storage")
        self._bytes_left -= count * max(storage.given.itemsize, 4)
        if self._bytes_left < 0:
            raise ParagonSR2Error(f"its tensors take more than the {MAX_CHECKPOINT_BYTES >> 20} MiB of a checkpoint")
        width = storage.stored.itemsize
        return _copy(np.ndarray(shape, storage.stored, storage.data, offset * width, [s * width for s in steps]), storage.given)


def _copy(view: NDArray[Any], given: np.dtype[Any]) -> NDArray[Any]:
    if view.dtype.kind == given.kind or given == np.bool_:
        return view.astype(given, order="C")
    copy = np.empty(view.shape, given)
    np.left_shift(view, 16, out=copy.view(np.uint32), dtype=np.uint32)  # bfloat16
    return copy
