"""Programs as one TensorRT engine each, on NVIDIA cards. While an engine is built, PyTorch serves."""

from collections.abc import Iterator
from importlib import import_module

from ..base import AnySession, Backend, Request
from ..pytorch import TorchOptions, missing_cuda


class TensorRTBackend(Backend[TorchOptions]):
    """TensorRT, or TensorRT for RTX, through Torch-TensorRT: whichever of the two packages is installed is taken."""

    name = "tensorrt"
    title = "TensorRT"
    preference = 40
    devices = chosen_devices = ("cuda",)
    several_devices = True
    precisions = ("f16", "bf16", "f32")
    options_type = TorchOptions
    defaults = {  # noqa: RUF012
        "device": "`cuda`",
        "num_streams": "4",
        "precision": "f16, f32 where that overflows",
        "tile_size": "the whole picture where it fits",
    }
    packages = ("torch", "torch-tensorrt", "torch-tensorrt-rtx")
    cache_kinds = ("engine", "kernels")

    def missing(self, device: str | None) -> str | None:
        return missing_cuda(device)

    def import_runtime(self) -> None:
        import_module(".session", __package__)

    def import_hint(self, error: ImportError) -> str:
        extras = " or ".join(f"pip install 'vs_paragonsr2[{extra}]'" for extra in ("tensorrt-rtx", "tensorrt"))
        return f"{extras} brings PyTorch" if error.name == "torch" else ""

    def default_streams(self, device: str) -> int:
        """Four, as for PyTorch."""
        return 4

    def device_name(self, options: TorchOptions) -> str:
        from ..pytorch.devices import device_names

        return device_names(options)

    def list_devices(self) -> Iterator[str]:
        from ..pytorch import BACKEND as PYTORCH

        yield from PYTORCH.list_devices()

    def open_session(self, request: Request[TorchOptions]) -> AnySession:
        from .session import open_session

        return open_session(request)


BACKEND = TensorRTBackend()
