"""One file a runtime. A runtime is imported when its backend is asked for, and not before."""

import ctypes
import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import Protocol, cast

from ..support.errors import ParagonSR2Error
from .base import Options, Request, Session

# OpenVINO's converter starts a process that reports its use to its makers, unless the module for it is missing when OpenVINO is
# imported, whoever imports it in this process. A filter in a player neither starts processes nor reports.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


class Backend(Protocol):
    """What the module of a backend has."""

    def default_device(self) -> str:
        """The kind of device that the backend takes when nobody says which."""
        ...

    def device_name(self, options: Options) -> str:
        """What the maker calls the device of the options, whose kind is said. Raises ParagonSR2Error where it is not there."""
        ...

    def default_streams(self, device: str) -> int:
        """Frames in flight at once on a kind of device where nobody says how many."""
        ...

    def open_session(self, request: Request) -> Session:  # type: ignore[type-arg]
        """Make a session ready to run. Raises ParagonSR2Error for what the user can mend."""
        ...


BACKENDS = ("tensorrt", "torch", "openvino", "reference")
"""Names of the backends, the fastest first."""

PYTORCH_EXTRAS = {"tensorrt": ("tensorrt-rtx", "tensorrt"), "torch": ("cuda",), "reference": ("reference",)}
"""The extras of this package that bring PyTorch, and what else a backend runs on."""


def candidates(device: str | None) -> tuple[list[str], str]:
    """The backends to try in turn on a kind of device (None for any), and why others are not among them."""
    if device is not None:
        return (["tensorrt", "torch", "reference"], "") if device.lower() == "cuda" else (["openvino", "reference"], "")
    try:
        if _has_cuda():
            return list(BACKENDS), ""
        why = "there is no CUDA device"
    except ImportError as error:
        why = f"there is an NVIDIA driver, but PyTorch cannot be imported ({error}){_pytorch_from('cuda')}"
    return ["openvino", "reference"], why


def _has_cuda() -> bool:
    """Whether PyTorch finds a CUDA device; without NVIDIA's driver it is not even imported, which takes a second.

    Raises ImportError where the driver is there and PyTorch is not.
    """
    try:
        ctypes.CDLL("nvcuda" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    import torch

    return torch.cuda.is_available()


def load_backend(name: str) -> Backend:
    """Import the module of a backend. Raises ParagonSR2Error for a name that is none, or a runtime that is not installed."""
    if name not in BACKENDS:
        raise ParagonSR2Error(f"backend is {name!r}: expected one of {', '.join(map(repr, BACKENDS))}, or None to choose")
    try:
        return cast(Backend, import_module(f".{'pytorch' if name == 'torch' else name}", __package__))
    except ImportError as error:
        hint = _foreign_openvino() if name == "openvino" else ""
        if error.name == "torch":
            hint = _pytorch_from(*PYTORCH_EXTRAS[name])
        raise ParagonSR2Error(f"backend is {name!r}, which cannot be imported here ({error}){hint}") from error


def _pytorch_from(*extras: str) -> str:
    """What to do where PyTorch is missing, for the end of a message. (pip leaves the installed package as it is.)"""
    return "; " + " or ".join(f"pip install 'vs_paragonsr2[{extra}]'" for extra in extras) + " brings PyTorch"


def _foreign_openvino() -> str:
    """What clashes with the Python package of OpenVINO, if it is that.

    Two libraries of one minor version have one name and cannot live in a process. A plugin's is there first: VapourSynth loads it
    with the core.
    """
    try:
        package = metadata.distribution("openvino")
        mapped = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except (metadata.PackageNotFoundError, OSError):  # not installed, or a system without that list
        return ""
    paths = {line.split(maxsplit=5)[5] for line in mapped if "/libopenvino.so" in line}
    own = str(package.locate_file("openvino"))
    others = sorted(path for path in paths if not path.startswith(own))
    if not others:
        return ""
    return (
        f"; the Python package openvino {package.version} clashes with {others[0]}, which a VapourSynth plugin has loaded: remove "
        "the plugin, or install the version of openvino that this package asks for"
    )


__all__ = ["BACKENDS", "Backend", "Options", "Request", "Session", "candidates", "load_backend"]
