"""Programs as one TensorRT engine each, on NVIDIA cards. While an engine is built, PyTorch serves."""

from ..pytorch import TorchBackend


class TensorRTBackend(TorchBackend):
    """TensorRT, or TensorRT for RTX, through Torch-TensorRT: whichever of the two packages is installed is taken."""

    name = "tensorrt"
    title = "TensorRT"
    preference = 40
    devices = ("cuda",)
    defaults = {  # noqa: RUF012
        "device": "`cuda`",
        "num_streams": "4",
        "precision": "f16, f32 where that overflows",
        "tile_size": "the whole picture where it fits",
    }
    packages = ("torch", "torch-tensorrt", "torch-tensorrt-rtx")
    extras = ("tensorrt-rtx", "tensorrt")
    cache_kinds = ("engine", "kernels")


BACKEND = TensorRTBackend()
