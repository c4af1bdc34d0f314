"""The plain network in PyTorch, which what is faster is tested against. It takes every checkpoint, also where nothing else does."""

from collections.abc import Iterator
from importlib import import_module

from ..base import Backend, Request, Session
from ..options import Options


class ReferenceBackend(Backend[Options]):
    """PyTorch in float32, on a processor or an NVIDIA card."""

    name = "reference"
    title = "PyTorch, the plain network"
    preference = 10
    devices = ("cuda", "cpu")
    chosen_devices = devices
    precisions = ("f32",)
    defaults = {"device": "`cuda` where PyTorch finds a card, else `cpu`", "num_streams": "2", "precision": "f32"}  # noqa: RUF012
    packages = ("torch",)
    remedy = "a faster backend, 'openvino' or 'torch',"

    def import_runtime(self) -> None:
        import_module(".session", __package__)

    def import_hint(self, error: ImportError) -> str:
        return "pip install 'vs_paragonsr2[reference]' brings PyTorch" if error.name == "torch" else ""

    def default_device(self) -> str:
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def default_streams(self, device: str) -> int:
        """Two: one frame's copies and single-threaded parts go on beside the other's arithmetic."""
        return 2

    def device_name(self, options: Options) -> str:
        from ..pytorch.devices import device_names

        return device_names(options)

    def list_devices(self) -> Iterator[str]:
        import torch

        yield from (f"cuda {index}: {torch.cuda.get_device_name(index)}" for index in range(torch.cuda.device_count()))
        yield "cpu"

    def open_session(self, request: Request[Options]) -> Session[None]:
        from .session import open_session

        return open_session(request)


BACKEND = ReferenceBackend()
