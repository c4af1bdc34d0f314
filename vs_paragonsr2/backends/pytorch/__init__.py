"""Programs in PyTorch, on NVIDIA cards: what runs at once, everywhere, and serves while TensorRT builds an engine."""

import ctypes
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import ClassVar, cast

from ..base import AnySession, Backend, Request
from ..options import Options, flag, option, positive, tile_sides


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchOptions(Options):
    """What sessions of PyTorch and TensorRT can be asked for."""

    # Hardware
    memory_limit: int | None = option("MiB of each CUDA device that a session may take", positive)
    tile_size: tuple[int, int] | None = option("(width, height) of the source, or one number, computed at once at most", tile_sides)

    # Compilation
    torch_compile: bool = option("whether PyTorch's compiler is tried too, and taken where it is faster", flag, False)


@cache
def _has_driver() -> bool:
    """Whether NVIDIA's driver is installed. It is looked for once: a player runs its script again at each seek."""
    try:
        ctypes.CDLL("nvcuda" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def missing_cuda(device: str | None) -> str | None:
    """What this machine lacks for CUDA, in words.

    PyTorch, which takes a second to import, is not asked where NVIDIA's driver is not installed.
    """
    if device is not None and device.lower() == "cpu":
        return None
    if not _has_driver():
        return "there is no CUDA device"
    try:
        import torch
    except ImportError as error:
        return f"there is an NVIDIA driver, but PyTorch cannot be imported ({error}); {_brings_pytorch('cuda')}"
    return None if torch.cuda.is_available() else "there is no CUDA device"


def _brings_pytorch(*extras: str) -> str:
    """What to install where PyTorch is missing, for the end of a message."""
    return " or ".join(f"pip install 'vs_paragonsr2[{extra}]'" for extra in extras) + " brings PyTorch"


class TorchBackend(Backend[TorchOptions]):
    """PyTorch on CUDA devices. On a CPU, which has to be asked for, it is the same without a recording.

    TensorRT's backend extends it: sessions are opened by the module ``session`` beside the class.
    """

    name = "torch"
    title = "PyTorch"
    preference = 30
    devices: ClassVar[tuple[str, ...]] = ("cuda", "cpu")
    chosen_devices = ("cuda",)
    several_devices = True
    precisions = ("f16", "bf16", "f32")
    options_type = TorchOptions
    defaults = {  # noqa: RUF012
        "device": "`cuda`",
        "num_streams": "4",
        "precision": "f16 on `cuda`, f32 where that overflows and on `cpu`",
        "tile_size": "the whole picture where it fits",
    }
    packages: ClassVar[tuple[str, ...]] = ("torch",)
    extras: ClassVar[tuple[str, ...]] = ("cuda",)
    """The extras of this package that bring what the backend runs on."""

    def missing(self, device: str | None) -> str | None:
        return missing_cuda(device)

    def import_runtime(self) -> None:
        self._session_module()

    def _session_module(self) -> ModuleType:
        return import_module(".session", type(self).__module__)

    def import_hint(self, error: ImportError) -> str:
        return _brings_pytorch(*self.extras) if error.name == "torch" else ""

    def default_streams(self, device: str) -> int:
        """Four: copying a frame on the host takes longer than computing it on a fast card, so that one card wants several slots."""
        return 4

    def device_name(self, options: TorchOptions) -> str:
        from .devices import device_names

        return device_names(options)

    def list_devices(self) -> Iterator[str]:
        lack = missing_cuda(None)
        if lack is not None:
            yield lack
            return
        import torch

        for index in range(torch.cuda.device_count()):
            yield f"cuda {index}: {torch.cuda.get_device_name(index)}"

    def open_session(self, request: Request[TorchOptions]) -> AnySession:
        return cast(AnySession, self._session_module().open_session(request))


BACKEND = TorchBackend()
